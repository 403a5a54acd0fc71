//! Ranges of rows of Arrow IPC files, across record batches and files.

mod common;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{
    Array, ArrayRef, BinaryArray, DictionaryArray, Int64Array, LargeStringArray, RecordBatch,
    StringArray, StringViewArray,
};
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use arrow_schema::{DataType, Field, Schema};
use common::{Bench, check};
use proptest::prelude::*;
use shoal_job::Row;

/// Rows with consecutive ids, starting at `first`.
fn rows(first: i64, texts: &ArrayRef) -> RecordBatch {
    let ids = Int64Array::from_iter_values((first..).take(texts.len()));
    RecordBatch::try_from_iter([
        ("other", Arc::new(ids.clone()) as ArrayRef),
        ("text", texts.clone()),
        ("id", Arc::new(ids)),
    ])
    .unwrap()
}

/// Writes consecutive ids, starting at `first`, and these texts in record batches of `size` rows.
fn write(
    path: &Path,
    first: i64,
    texts: &ArrayRef,
    size: usize,
    compression: Option<CompressionType>,
) {
    let rows = rows(first, texts);
    let options = IpcWriteOptions::default()
        .try_with_compression(compression)
        .unwrap();
    let file = File::create(path).unwrap();
    let mut writer = FileWriter::try_new_with_options(file, &rows.schema(), options).unwrap();
    for start in (0..rows.num_rows()).step_by(size) {
        let length = size.min(rows.num_rows() - start);
        writer.write(&rows.slice(start, length)).unwrap();
    }
    writer.finish().unwrap();
}

fn texts(range: std::ops::Range<i64>) -> ArrayRef {
    Arc::new(
        range
            .map(|row| Some(format!("text {row}")))
            .collect::<StringArray>(),
    )
}

fn text_of(row: &Row) -> Option<&str> {
    row.content.as_ref().ok()?.inputs[0].as_text()
}

#[test]
fn ranges_span_record_batches_and_files() {
    let bench = Bench::new();
    let (first, second) = (bench.path("a.arrow"), bench.path("b.feather"));
    write(&first, 0, &texts(0..230), 100, None);
    write(&second, 230, &texts(230..300), 7, None);
    bench.check_ranges(&first, &second);
}

#[test]
fn columns_may_be_in_any_order_in_the_file() {
    let bench = Bench::new();
    let path = bench.path("order.arrow");
    let rows = rows(0, &texts(0..5)).project(&[2, 1]).unwrap();
    let mut writer = FileWriter::try_new(File::create(&path).unwrap(), &rows.schema()).unwrap();
    writer.write(&rows).unwrap();
    writer.finish().unwrap();
    check(&bench.read(&[&path], 2).1, 5);
}

#[test]
fn more_files_than_cached_indexes_are_read() {
    let bench = Bench::new();
    let paths: Vec<_> = (0..9)
        .map(|number| {
            let path = bench.path(&format!("{number}.arrow"));
            write(
                &path,
                number * 5,
                &texts(number * 5..number * 5 + 5),
                2,
                None,
            );
            path
        })
        .collect();
    let paths: Vec<_> = paths.iter().map(|path| path.as_path()).collect();
    check(&bench.read(&paths, 3).1, 45);
}

#[test]
fn every_kind_of_string_column_is_read() {
    let bench = Bench::new();
    let path = bench.path("in.arrow");
    let all = || (0..20).map(|row| format!("text {row}"));
    let dictionary: DictionaryArray<Int32Type> = all()
        .collect::<Vec<_>>()
        .iter()
        .map(|text| Some(text.as_str()))
        .collect();
    let arrays: [ArrayRef; 5] = [
        Arc::new(StringArray::from_iter_values(all())),
        Arc::new(LargeStringArray::from_iter_values(all())),
        Arc::new(StringViewArray::from_iter_values(all())),
        Arc::new(BinaryArray::from_iter_values(all())),
        Arc::new(dictionary),
    ];
    let codecs = [
        None,
        Some(CompressionType::ZSTD),
        Some(CompressionType::LZ4_FRAME),
    ];
    for array in arrays {
        for compression in codecs {
            write(&path, 0, &array, 8, compression);
            check(&bench.read(&[&path], 3).1, 20);
        }
    }
}

#[test]
fn an_empty_file_has_no_batches() {
    let bench = Bench::new();
    let path = bench.path("in.arrow");
    // Without a record batch, and with one that has no rows.
    for batches in [0, 1] {
        let rows = rows(0, &texts(0..0));
        let mut writer = FileWriter::try_new(File::create(&path).unwrap(), &rows.schema()).unwrap();
        for _ in 0..batches {
            writer.write(&rows).unwrap();
        }
        writer.finish().unwrap();
        let (job, found) = bench.read(&[&path], 3);
        assert_eq!((job.records, job.batches, found.len()), (0, 0, 0));
    }
}

#[test]
fn a_record_batch_cannot_have_more_rows_than_bytes() {
    const ROWS: i64 = 1_234;
    let bench = Bench::new();
    let path = bench.path("in.arrow");
    write(&path, 0, &texts(0..ROWS), ROWS as usize, None);
    let mut content = std::fs::read(&path).unwrap();
    // The lengths of the record batch and of its columns.
    let lengths: Vec<_> = (0..content.len() - 8)
        .filter(|at| content[*at..].starts_with(&ROWS.to_le_bytes()))
        .collect();
    for at in lengths {
        content[at..at + 8].copy_from_slice(&1_000_000_i64.to_le_bytes());
    }
    std::fs::write(&path, content).unwrap();
    let error = bench.plan(&[&path], 1).unwrap_err();
    assert!(error.to_string().contains("more rows than"), "{error}");
}

/// A small compressed file may have millions of rows, but then its columns have them too.
#[test]
fn a_record_batch_has_as_many_rows_as_its_columns() {
    const ROWS: i64 = 1_234;
    let bench = Bench::new();
    let path = bench.path("in.arrow");
    let compression = Some(CompressionType::LZ4_FRAME);
    write(&path, 0, &texts(0..ROWS), ROWS as usize, compression);
    let sound = std::fs::read(&path).unwrap();
    let lengths: Vec<_> = (0..sound.len() - 8)
        .filter(|at| sound[*at..].starts_with(&ROWS.to_le_bytes()))
        .collect();
    // Those of the record batch and of its three columns.
    assert_eq!(lengths.len(), 4);
    for at in lengths {
        let mut content = sound.clone();
        content[at..at + 8].copy_from_slice(&1_000_000_i64.to_le_bytes());
        std::fs::write(&path, content).unwrap();
        let error = bench.plan(&[&path], 1).unwrap_err();
        let expected = "a column has another number of rows";
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn nulls_and_invalid_utf8_are_bad_records() {
    let bench = Bench::new();
    let path = bench.path("in.arrow");
    // A binary column may contain any bytes.
    let values: [Option<&[u8]>; 6] = [
        Some(b"a"),
        None,
        Some(b"\xff"),
        Some(b"\xf0\x9f"),
        Some(b"\x98\x80"),
        Some("ü".as_bytes()),
    ];
    let bytes = BinaryArray::from_iter(values);
    let schema = Schema::new(vec![Field::new("text", DataType::Binary, true)]);
    let batch = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(bytes)]).unwrap();
    let mut writer = FileWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    std::fs::write(&path, writer.into_inner().unwrap()).unwrap();
    for batch_size in [1, 2, 5, 100] {
        let (_, found) = bench.read(&[&path], batch_size);
        let texts: Vec<_> = found.iter().map(text_of).collect();
        assert_eq!(texts, [Some("a"), None, None, None, None, Some("ü")]);
        let reason = |row: usize| found[row].content.as_ref().unwrap_err().reason.clone();
        assert_eq!(reason(1), "the text is null");
        assert!(reason(2).contains("not valid UTF-8"));
        let places: Vec<_> = found.iter().map(|row| row.place).collect();
        assert_eq!(places, [0, 1, 2, 3, 4, 5]);
    }
}

#[test]
fn other_file_types_are_refused_with_a_reason() {
    let bench = Bench::new();
    let path = bench.path("in.arrow");
    let rows = rows(0, &texts(0..3));
    let mut stream = StreamWriter::try_new(Vec::new(), &rows.schema()).unwrap();
    stream.write(&rows).unwrap();
    let stream = stream.into_inner().unwrap();
    write(&path, 0, &texts(0..3), 2, None);
    let whole = std::fs::read(&path).unwrap();
    let cases: [(&[u8], &str); 6] = [
        (&stream, "it is an Arrow IPC stream"),
        (b"FEA1\0\0\0\0", "Feather version 1"),
        (b"PAR1\0\0\0\0", "Parquet file cannot be read"),
        (b"", "there are no records"),
        (b"ARROW1", "truncated"),
        (&whole[..whole.len() - 1], "truncated"),
    ];
    for (content, says) in cases {
        std::fs::write(&path, content).unwrap();
        let error = bench.plan(&[&path], 2).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_split_gives_the_same_rows(
        texts in prop::collection::vec(prop::option::of(".{0,12}"), 0..90),
        size in 1_usize..40,
        batch_size in 1_u64..40,
        compressed: bool,
    ) {
        let bench = Bench::new();
        let path = bench.path("in.arrow");
        let compression = compressed.then_some(CompressionType::ZSTD);
        let array: ArrayRef = Arc::new(StringArray::from_iter(&texts));
        write(&path, 0, &array, size, compression);
        let (_, found) = bench.read(&[&path], batch_size);
        let found: Vec<_> = found.iter().map(|row| text_of(row).map(str::to_owned)).collect();
        prop_assert_eq!(found, texts);
    }
}
