//! Values that are kept, in types that the tables of `tables.rs` do not have.

mod common;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::builder::{Int32Builder, ListBuilder, ListViewBuilder};
use arrow_array::types::{Int16Type, Int32Type};
use arrow_array::{
    ArrayRef, Date64Array, DictionaryArray, Float32Array, Float64Array, Int8Array, Int32Array,
    Int64Array, IntervalDayTimeArray, IntervalMonthDayNanoArray, ListArray, NullArray, RecordBatch,
    RunArray, StringArray, StructArray, Time32SecondArray, TimestampMillisecondArray,
    TimestampSecondArray, UInt32Array, UnionArray,
};
use arrow_buffer::{IntervalDayTime, IntervalMonthDayNano, OffsetBuffer};
use arrow_cast::cast;
use arrow_ipc::writer::FileWriter;
use arrow_schema::{DataType, Field, TimeUnit, UnionFields};
use arrow_select::take::take;
use common::{Bench, read_columns, write};
use parquet::arrow::ArrowWriter;
use parquet::data_type::{
    ByteArray, ByteArrayType, DataType as PhysicalType, FixedLenByteArrayType, Int32Type as Int32,
    Int96, Int96Type,
};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use shoal_job::Record;
use shoal_job::format::OutputFormat;

/// Writes a file with three texts and the column `kept`.
fn file(bench: &Bench, name: &str, kept: ArrayRef) -> PathBuf {
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["a"; kept.len()]));
    let rows =
        RecordBatch::try_from_iter_with_nullable([("text", texts, true), ("kept", kept, true)])
            .unwrap();
    let path = bench.path(name);
    let out = File::create(&path).unwrap();
    if name.ends_with("parquet") {
        let mut writer = ArrowWriter::try_new(out, rows.schema(), None).unwrap();
        writer.write(&rows).unwrap();
        writer.close().unwrap();
    } else {
        let mut writer = FileWriter::try_new(out, &rows.schema()).unwrap();
        writer.write(&rows).unwrap();
        writer.finish().unwrap();
    }
    path
}

/// The records of `inputs` with the column `kept`.
fn records(bench: &Bench, inputs: &[&Path], format: OutputFormat) -> (shoal_job::Job, Vec<Record>) {
    let (job, rows) = bench.carry(inputs, &["kept"], format, 2).unwrap();
    let records = rows.into_iter().map(|row| row.content.unwrap());
    (job, records.collect())
}

/// The column `kept` as the lines of a JSON Lines output have it.
fn json(bench: &Bench, inputs: &[&Path]) -> Vec<String> {
    let (_, records) = records(bench, inputs, OutputFormat::Jsonl);
    let json = records.iter().map(|record| {
        let mut json = Vec::new();
        record.kept[0].write_json(&mut json);
        String::from_utf8(json).unwrap()
    });
    json.collect()
}

/// The column `kept` of a typed output.
fn typed(bench: &Bench, inputs: &[&Path], format: OutputFormat) -> ArrayRef {
    let (job, records) = records(bench, inputs, format);
    let rows = read_columns(format, write(&job, &records));
    assert_eq!(rows.len(), 1);
    rows[0].column_by_name("kept").unwrap().clone()
}

const TYPED: [OutputFormat; 2] = [OutputFormat::Parquet, OutputFormat::Arrow];

fn strings(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

#[test]
fn timestamps_of_unknown_zones_are_shown_in_utc() {
    let bench = Bench::new();
    let seconds = TimestampSecondArray::from(vec![Some(0), None, Some(1)]);
    let kept: ArrayRef = Arc::new(seconds.with_timezone("Mars/Olympus"));
    let path = file(&bench, "a.arrow", kept.clone());
    let expected = [
        "\"1970-01-01T00:00:00Z\"",
        "null",
        "\"1970-01-01T00:00:01Z\"",
    ];
    assert_eq!(json(&bench, &[&path]), expected);
    assert_eq!(&typed(&bench, &[&path], OutputFormat::Arrow), &kept);
    let parquet = typed(&bench, &[&path], OutputFormat::Parquet);
    let zone = Some("Mars/Olympus".into());
    let expected = DataType::Timestamp(TimeUnit::Millisecond, zone);
    assert_eq!(parquet.data_type(), &expected);
}

#[test]
fn times_beyond_the_calendar_are_numbers() {
    let bench = Bench::new();
    let kept = TimestampMillisecondArray::from(vec![i64::MAX, 0]);
    let path = file(&bench, "a.parquet", Arc::new(kept.with_timezone("UTC")));
    let expected = ["\"9223372036854775807\"", "\"1970-01-01T00:00:00Z\""];
    assert_eq!(json(&bench, &[&path]), expected);
    for format in TYPED {
        let kept = TimestampMillisecondArray::from(vec![i64::MAX, 0]).with_timezone("UTC");
        assert_eq!(typed(&bench, &[&path], format).as_ref(), &kept);
    }
}

/// A row with a value that the output cannot hold is bad; the others are written, however batches are cut.
#[test]
fn a_value_that_the_output_cannot_hold_is_a_bad_record() {
    let bench = Bench::new();
    let seconds = || TimestampSecondArray::from(vec![1, i64::MAX, i64::MIN, 2]);
    let zoned: ArrayRef = Arc::new(seconds().with_timezone("UTC"));
    let item = Arc::new(Field::new_list_field(zoned.data_type().clone(), true));
    let lengths = OffsetBuffer::from_lengths([1; 4]);
    let lists: ArrayRef = Arc::new(ListArray::new(item, lengths, zoned.clone(), None));
    let days = Date64Array::from(vec![0, i64::MAX, i64::MIN, 86_400_000]);
    let times = Time32SecondArray::from(vec![1, i32::MAX, i32::MIN, 2]);
    let cases: [(ArrayRef, &str); 4] = [
        (zoned, "9223372036854775807"),
        (lists, "[\"9223372036854775807\"]"),
        (Arc::new(days), "9223372036854775807"),
        (Arc::new(times), "2147483647"),
    ];
    for (number, (kept, shown)) in cases.into_iter().enumerate() {
        let path = file(&bench, &format!("{number}.arrow"), kept.clone());
        assert_eq!(&typed(&bench, &[&path], OutputFormat::Arrow), &kept);
        assert_eq!(
            json(&bench, &[&path])[1].trim_matches('"'),
            shown.trim_matches('"')
        );
        for batch_size in [1, 3, 4] {
            let parquet = OutputFormat::Parquet;
            let (job, rows) = bench
                .carry(&[&path], &["kept"], parquet, batch_size)
                .unwrap();
            let (good, bad): (Vec<_>, Vec<_>) =
                rows.into_iter().partition(|row| row.content.is_ok());
            let places: Vec<_> = bad.iter().map(|row| row.place).collect();
            assert_eq!(places, [1, 2]);
            for row in bad {
                let bad = row.content.unwrap_err();
                let reason =
                    "column \"kept\" has a value that does not fit its type in the output, ";
                assert!(bad.reason.starts_with(reason), "{}", bad.reason);
                assert_eq!(bad.id.as_text(), Some(row.row.to_string().as_str()));
            }
            let good: Vec<_> = good.into_iter().map(|row| row.content.unwrap()).collect();
            let written = &read_columns(parquet, write(&job, &good))[0];
            let written = written.column_by_name("kept").unwrap();
            let expected = take(&kept, &UInt32Array::from(vec![0, 3]), None).unwrap();
            assert_eq!(written, &cast(&expected, written.data_type()).unwrap());
        }
    }
}

#[test]
fn encodings_are_read_as_their_values() {
    let bench = Bench::new();
    let runs = RunArray::<Int16Type>::from_iter([Some("x"), Some("x"), None]);
    let mut views = ListViewBuilder::new(Int32Builder::new());
    views.append_value([Some(1), None]);
    views.append_null();
    views.append_value([]);
    let mut lists = ListBuilder::new(Int32Builder::new());
    lists.append_value([Some(1), None]);
    lists.append_null();
    lists.append_value([]);
    let words: DictionaryArray<Int32Type> = [Some("red"), None, Some("red")].into_iter().collect();
    let item = |data_type: &DataType| Arc::new(Field::new_list_field(data_type.clone(), true));
    let nested = |values: ArrayRef| -> ArrayRef {
        let offsets = OffsetBuffer::from_lengths([2, 0, 1]);
        Arc::new(ListArray::new(
            item(values.data_type()),
            offsets,
            values,
            None,
        ))
    };
    let plain: ArrayRef = Arc::new(StringArray::from(vec![Some("red"), None, Some("red")]));
    let cases: [(ArrayRef, ArrayRef, [&str; 3]); 3] = [
        (
            Arc::new(runs),
            Arc::new(StringArray::from(vec![Some("x"), Some("x"), None])),
            ["\"x\"", "\"x\"", "null"],
        ),
        (
            Arc::new(views.finish()),
            Arc::new(lists.finish()),
            ["[1,null]", "null", "[]"],
        ),
        (
            nested(Arc::new(words)),
            nested(plain),
            ["[\"red\",null]", "[]", "[\"red\"]"],
        ),
    ];
    for (number, (kept, values, shown)) in cases.into_iter().enumerate() {
        let path = file(&bench, &format!("{number}.arrow"), kept);
        assert_eq!(json(&bench, &[&path]), shown);
        for format in TYPED {
            assert_eq!(
                &typed(&bench, &[&path], format),
                &values,
                "{number} {format:?}"
            );
        }
    }
}

#[test]
fn types_that_an_output_lacks_become_text() {
    let bench = Bench::new();
    let fields: UnionFields = [
        (0, Arc::new(Field::new("number", DataType::Int32, true))),
        (1, Arc::new(Field::new("word", DataType::Utf8, true))),
    ]
    .into_iter()
    .collect();
    let children: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from(vec![Some(7), None])),
        strings(&["x"]),
    ];
    let offsets = Some(vec![0, 0, 1].into());
    let union = UnionArray::try_new(fields, vec![0, 1, 0].into(), offsets, children).unwrap();
    let path = file(&bench, "union.arrow", Arc::new(union));
    assert_eq!(json(&bench, &[&path]), ["7", "\"x\"", "null"]);
    for format in TYPED {
        let expected = StringArray::from(vec![Some("7"), Some("\"x\""), None]);
        assert_eq!(typed(&bench, &[&path], format).as_ref(), &expected);
    }
    let interval = IntervalMonthDayNano::new(14, 3, 1_500_000_000);
    let interval: ArrayRef = Arc::new(IntervalMonthDayNanoArray::from(vec![Some(interval), None]));
    let path = file(&bench, "interval.arrow", interval.clone());
    let shown = "14 mons 3 days 1.500000000 secs";
    assert_eq!(
        json(&bench, &[&path]),
        [format!("\"{shown}\""), "null".into()]
    );
    let expected = StringArray::from(vec![Some(shown), None]);
    assert_eq!(
        typed(&bench, &[&path], OutputFormat::Parquet).as_ref(),
        &expected
    );
    assert_eq!(&typed(&bench, &[&path], OutputFormat::Arrow), &interval);
    let days: ArrayRef = Arc::new(IntervalDayTimeArray::from(vec![IntervalDayTime::new(
        2, 500,
    )]));
    let path = file(&bench, "days.arrow", days.clone());
    for format in TYPED {
        assert_eq!(&typed(&bench, &[&path], format), &days);
    }
}

#[test]
fn types_of_several_files_are_widened() {
    let bench = Bench::new();
    let mut number = 0;
    let mut kept = |arrays: [ArrayRef; 2]| {
        number += 1;
        let [first, second] = arrays;
        let first = file(&bench, &format!("{number}-a.parquet"), first);
        let second = file(&bench, &format!("{number}-b.arrow"), second);
        TYPED.map(|format| typed(&bench, &[&first, &second], format))
    };
    let cases: [([ArrayRef; 2], ArrayRef); 6] = [
        (
            [
                Arc::new(Int32Array::from(vec![1])),
                Arc::new(Int64Array::from(vec![Some(1 << 40), None])),
            ],
            Arc::new(Int64Array::from(vec![Some(1), Some(1 << 40), None])),
        ),
        (
            // The number itself, not its shortest digits.
            [
                Arc::new(Float32Array::from(vec![0.1])),
                Arc::new(Float64Array::from(vec![0.1])),
            ],
            Arc::new(Float64Array::from(vec![f64::from(0.1f32), 0.1])),
        ),
        (
            [
                Arc::new(Int8Array::from(vec![1])),
                Arc::new(Float32Array::from(vec![f32::NAN])),
            ],
            Arc::new(Float32Array::from(vec![1.0, f32::NAN])),
        ),
        (
            [
                Arc::new(Int64Array::from(vec![i64::MAX])),
                Arc::new(Float64Array::from(vec![0.5])),
            ],
            strings(&["9223372036854775807", "0.5"]),
        ),
        (
            [
                Arc::new(NullArray::new(1)),
                Arc::new(Int8Array::from(vec![1])),
            ],
            Arc::new(Int8Array::from(vec![None, Some(1)])),
        ),
        (
            [
                Arc::new(TimestampSecondArray::from(vec![0]).with_timezone("UTC")),
                Arc::new(TimestampSecondArray::from(vec![0])),
            ],
            strings(&["1970-01-01T00:00:00Z", "1970-01-01T00:00:00"]),
        ),
    ];
    for (arrays, expected) in cases {
        for found in kept(arrays) {
            assert_eq!(&found, &expected);
        }
    }
    // The first file has no value of the column.
    let none = file(&bench, "none.parquet", Arc::new(NullArray::new(1)));
    let structs = StructArray::from(vec![(
        Arc::new(Field::new("k", DataType::Int32, true)),
        Arc::new(Int32Array::from(vec![Some(1), None])) as ArrayRef,
    )]);
    let some = file(&bench, "some.parquet", Arc::new(structs));
    assert_eq!(
        json(&bench, &[&none, &some]),
        ["null", "{\"k\":1}", "{\"k\":null}"]
    );
    for format in TYPED {
        let found = typed(&bench, &[&none, &some], format);
        assert!(found.is_null(0) && found.is_valid(1) && found.is_valid(2));
        assert!(matches!(found.data_type(), DataType::Struct(_)));
    }
    assert_eq!(
        typed(&bench, &[&none], OutputFormat::Parquet).data_type(),
        &DataType::Null
    );
}

/// Writes a Parquet file with the columns `text` and `kept` of one row, and without a schema of Arrow.
fn physical<T: PhysicalType>(path: &Path, kept: &str, values: &[T::T], levels: Option<&[i16]>) {
    let schema = format!("message m {{ required binary text (UTF8); {kept} }}");
    let schema = Arc::new(parse_message_type(&schema).unwrap());
    let out = File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(out, schema, Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let texts = column.typed::<ByteArrayType>();
    texts
        .write_batch(&[ByteArray::from("a")], None, None)
        .unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let repetition: Option<Vec<i16>> =
        levels.map(|levels| (0..levels.len()).map(|at| i16::from(at > 0)).collect());
    column
        .typed::<T>()
        .write_batch(values, levels, repetition.as_deref())
        .unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
}

#[test]
fn files_of_old_writers_are_read() {
    let bench = Bench::new();
    let path = bench.path("old.parquet");
    // Lists of two levels.
    for kept in [
        "required group kept (LIST) { repeated int32 array; }",
        "required group kept (LIST) { repeated int32 element; }",
        "repeated int32 kept;",
    ] {
        physical::<Int32>(&path, kept, &[1, 2], Some(&[1, 1]));
        assert_eq!(json(&bench, &[&path]), ["[1,2]"], "{kept}");
    }
    // 1970-01-02T00:00:00.000000005
    let mut int96 = Int96::new();
    int96.set_data(5, 0, 2_440_589);
    physical::<Int96Type>(&path, "required int96 kept;", &[int96], None);
    assert_eq!(
        json(&bench, &[&path]),
        ["\"1970-01-02T00:00:00.000000005\""]
    );
    // Decimals in every physical type.
    let expected = ["\"-1.23\""];
    physical::<Int32>(&path, "required int32 kept (DECIMAL(5,2));", &[-123], None);
    assert_eq!(json(&bench, &[&path]), expected);
    physical::<parquet::data_type::Int64Type>(
        &path,
        "required int64 kept (DECIMAL(15,2));",
        &[-123],
        None,
    );
    assert_eq!(json(&bench, &[&path]), expected);
    physical::<ByteArrayType>(
        &path,
        "required binary kept (DECIMAL(20,2));",
        &[vec![0xff, 0x85].into()],
        None,
    );
    assert_eq!(json(&bench, &[&path]), expected);
    physical::<FixedLenByteArrayType>(
        &path,
        "required fixed_len_byte_array(9) kept (DECIMAL(20,2));",
        &[ByteArray::from([&[0xff; 8][..], &[0x85]].concat()).into()],
        None,
    );
    assert_eq!(json(&bench, &[&path]), expected);
    // A UUID without the schema of Arrow, as DuckDB writes it.
    physical::<FixedLenByteArrayType>(
        &path,
        "required fixed_len_byte_array(16) kept (UUID);",
        &[ByteArray::from((0..16).collect::<Vec<u8>>()).into()],
        None,
    );
    assert_eq!(
        json(&bench, &[&path]),
        ["\"00010203-0405-0607-0809-0a0b0c0d0e0f\""]
    );
}

#[test]
fn the_type_in_an_error_is_that_of_the_file() {
    let bench = Bench::new();
    let stars: DictionaryArray<Int32Type> =
        DictionaryArray::new(vec![0, 1].into(), Arc::new(Int64Array::from(vec![1, 2])));
    let rows = RecordBatch::try_from_iter([("text", Arc::new(stars) as ArrayRef)]).unwrap();
    let path = bench.path("a.arrow");
    let mut writer = FileWriter::try_new(File::create(&path).unwrap(), &rows.schema()).unwrap();
    writer.write(&rows).unwrap();
    writer.finish().unwrap();
    let error = bench.plan(&[&path], 2).unwrap_err().to_string();
    let says = "column \"text\" has type Dictionary(Int32, Int64), not strings";
    assert!(error.contains(says), "{error}");
}

#[test]
fn folders_in_the_path_are_columns() {
    let bench = Bench::new();
    let place = |folder: &str, name: &str| {
        let folder = bench.path("data").join(folder);
        std::fs::create_dir_all(&folder).unwrap();
        folder.join(name)
    };
    // A column of the file has precedence.
    let csv = place("kept=en/year=2020", "a.csv");
    std::fs::write(&csv, "text,year\ngood,x\n").unwrap();
    let jsonl = place("kept=pt%20BR/year=2021", "b.jsonl");
    std::fs::write(&jsonl, "{\"text\":\"good\"}\n{\"text\":null}\n").unwrap();
    let none = place("kept=__HIVE_DEFAULT_PARTITION__/year=007", "c.parquet");
    std::fs::copy(file(&bench, "c.parquet", strings(&["own"])), &none).unwrap();
    let arrow = place("kept=de/year=", "d.arrow");
    let texts = RecordBatch::try_from_iter([("text", strings(&["a", "b"]))]).unwrap();
    let mut writer = FileWriter::try_new(File::create(&arrow).unwrap(), &texts.schema()).unwrap();
    writer.write(&texts).unwrap();
    writer.finish().unwrap();
    // A glob finds the files in this order.
    let pattern = bench.path("data/*/*/*");
    let (job, rows) = bench
        .carry(&[&pattern], &["kept", "year"], OutputFormat::Parquet, 2)
        .unwrap();
    let found: Vec<_> = rows
        .iter()
        .map(|row| {
            row.content
                .as_ref()
                .ok()
                .map(|record| texts_of(&record.kept))
        })
        .collect();
    let of = |lang: &str, year: &str| Some(vec![lang.to_owned(), year.to_owned()]);
    assert_eq!(
        found,
        [
            of("own", "007"),
            of("de", ""),
            of("de", ""),
            of("en", "x"),
            of("pt BR", "2021"),
            None
        ]
    );
    let types = job.columns.kept.iter().map(|kept| kept.data_type.clone());
    assert_eq!(types.collect::<Vec<_>>(), [DataType::Utf8, DataType::Utf8]);
    // A path is not a column unless it is named, and a file without it is refused.
    assert!(bench.plan(&[&pattern], 2).is_ok());
    let other = bench.path("other.csv");
    std::fs::write(&other, "text\ngood\n").unwrap();
    let error = bench.carry(&[&csv, &other], &["kept"], OutputFormat::Csv, 2);
    let error = error.unwrap_err().to_string();
    assert!(error.contains("no column \"kept\""), "{error}");
}

fn texts_of(cells: &[shoal_job::Cell]) -> Vec<String> {
    let text = |cell: &shoal_job::Cell| cell.as_text().unwrap_or("null").to_owned();
    cells.iter().map(text).collect()
}
