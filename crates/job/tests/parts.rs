//! Parts in every format: the bytes of each kind of value.

mod common;

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::builder::{Float32Builder, ListBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Int64Type};
use arrow_array::{
    Array, ArrayRef, BooleanArray, FixedSizeListArray, Float32Array, Float64Array, Int32Array,
    Int64Array, RecordBatch, RecordBatchOptions, StringArray, StructArray,
};
use arrow_schema::{DataType, Field, Schema};
use common::{FORMATS, job, read_columns, record};
use proptest::prelude::*;
use shoal_job::format::OutputFormat;
use shoal_job::part::{PartWriter, count_rows};
use shoal_job::plan::{Request, plan};
use shoal_job::spec::Job;
use shoal_job::{Cancel, Cell, Record, RunDir};

fn records(count: usize) -> Vec<Record> {
    (0..count)
        .map(|row| record(Cell::Json(row.to_string()), &[]))
        .collect()
}

fn part(job: &Job, records: Vec<Record>, rows: RecordBatch) -> Vec<u8> {
    let mut writer = PartWriter::new(job);
    writer.push(records, rows).unwrap();
    writer.finish().unwrap()
}

fn text(part: Vec<u8>) -> String {
    String::from_utf8(part).unwrap()
}

fn column(array: impl Array + 'static) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable([("x", Arc::new(array) as ArrayRef, true)]).unwrap()
}

/// The values of a task's column as CSV and as JSON Lines.
fn values(rows: &RecordBatch) -> (Vec<String>, Vec<String>) {
    let write = |format| {
        text(part(
            &job(format, rows, &[]),
            records(rows.num_rows()),
            rows.clone(),
        ))
    };
    let csv = write(OutputFormat::Csv);
    let csv = csv.lines().skip(1);
    let json = write(OutputFormat::Jsonl);
    let json = json.lines().map(|line| {
        let value = line.split_once("\"x\":").unwrap().1;
        value.strip_suffix('}').unwrap().to_owned()
    });
    (
        csv.map(|line| line.split_once(',').unwrap().1.to_owned())
            .collect(),
        json.collect(),
    )
}

#[test]
fn numbers_have_the_fewest_digits_that_round_trip() {
    let singles = [
        0.955_902_6,
        1e-7,
        1e16,
        6e-39,
        0.0,
        -0.0,
        1.0,
        1e7,
        1e20,
        0.1,
        1e-5,
        16_777_216.0,
    ];
    let (csv, json) = values(&column(Float32Array::from(singles.to_vec())));
    assert_eq!(csv[..2], ["0.9559026", "1e-7"]);
    let expected = singles.map(|value| serde_json::to_string(&value).unwrap());
    assert_eq!(csv, expected);
    assert_eq!(json, expected);
    let doubles = [0.1, 1e-7, 1e300, 5e-324, 123_456_789.125];
    let (csv, json) = values(&column(Float64Array::from(doubles.to_vec())));
    let expected = doubles.map(|value| serde_json::to_string(&value).unwrap());
    assert_eq!(csv, expected);
    assert_eq!(json, expected);
}

#[test]
fn non_finite_numbers_are_null_in_json_and_words_in_csv() {
    let values_of = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
    let (csv, json) = values(&column(Float32Array::from(values_of.to_vec())));
    assert_eq!(csv, ["NaN", "inf", "-inf"]);
    assert_eq!(json, ["null", "null", "null"]);
    let (csv, json) = values(&column(Float64Array::from(
        values_of.map(f64::from).to_vec(),
    )));
    assert_eq!(csv, ["NaN", "inf", "-inf"]);
    assert_eq!(json, ["null", "null", "null"]);
}

#[test]
fn nulls_are_explicit_in_json_and_empty_in_csv() {
    let arrays: [(ArrayRef, &str, &str); 5] = [
        (
            Arc::new(StringArray::from(vec![None, Some("a,\"b")])),
            "\"a,\"\"b\"",
            "\"a,\\\"b\"",
        ),
        (Arc::new(Int32Array::from(vec![None, Some(-7)])), "-7", "-7"),
        (
            Arc::new(Int64Array::from(vec![None, Some(i64::MIN)])),
            "-9223372036854775808",
            "-9223372036854775808",
        ),
        (
            Arc::new(BooleanArray::from(vec![None, Some(true)])),
            "true",
            "true",
        ),
        (
            Arc::new(Float32Array::from(vec![None, Some(0.5)])),
            "0.5",
            "0.5",
        ),
    ];
    for (array, in_csv, in_json) in arrays {
        let rows = RecordBatch::try_from_iter_with_nullable([("x", array, true)]).unwrap();
        let (csv, json) = values(&rows);
        assert_eq!(csv, ["", in_csv]);
        assert_eq!(json, ["null", in_json]);
    }
}

#[test]
fn ids_and_carried_values_are_written_as_in_the_source() {
    let rows = column(StringArray::from(vec!["ü\n"; 4]));
    let cells = [
        record(
            Cell::Json("1.50e3".into()),
            &[Cell::Json("[1, {\"a\":  null}]".into())],
        ),
        record(
            Cell::Text("1.50e3".into()),
            &[Cell::Text("tab\t\"quoted\", \u{1}".into())],
        ),
        record(Cell::Null, &[Cell::Null]),
        record(
            Cell::Text(String::new()),
            &[Cell::Json("123456789012345678901".into())],
        ),
    ];
    let write = |format| {
        let job = job(format, &rows, &[DataType::Utf8]);
        text(part(&job, cells.to_vec(), rows.clone()))
    };
    assert_eq!(
        write(OutputFormat::Jsonl),
        "{\"id\":1.50e3,\"x\":\"ü\\n\",\"kept0\":[1, {\"a\":  null}]}\n\
         {\"id\":\"1.50e3\",\"x\":\"ü\\n\",\"kept0\":\"tab\\t\\\"quoted\\\", \\u0001\"}\n\
         {\"id\":null,\"x\":\"ü\\n\",\"kept0\":null}\n\
         {\"id\":\"\",\"x\":\"ü\\n\",\"kept0\":123456789012345678901}\n"
    );
    let mut expected = csv::Writer::from_writer(Vec::new());
    expected.write_record(["id", "x", "kept0"]).unwrap();
    for record in &cells {
        let cell = |cell: &Cell| cell.as_text().unwrap_or_default().to_owned();
        expected
            .write_record([cell(&record.id), "ü\n".into(), cell(&record.kept[0])])
            .unwrap();
    }
    assert_eq!(
        write(OutputFormat::Csv).into_bytes(),
        expected.into_inner().unwrap()
    );
}

#[test]
fn a_part_without_rows_is_a_complete_file() {
    let rows = column(Float32Array::from(Vec::<f32>::new()));
    for format in FORMATS {
        let job = job(format, &rows, &[DataType::Int64]);
        for pushes in 0..3 {
            let mut writer = PartWriter::new(&job);
            for _ in 0..pushes {
                writer.push(Vec::new(), rows.clone()).unwrap();
            }
            let part = writer.finish().unwrap();
            assert_eq!(count_rows(format, &part), Some(0), "{format:?}");
            match format {
                OutputFormat::Csv => assert_eq!(part, b"id,x,kept0\n"),
                OutputFormat::Jsonl => assert!(part.is_empty()),
                _ => {}
            }
        }
    }
}

#[test]
fn a_function_may_have_no_columns() {
    let options = RecordBatchOptions::new().with_row_count(Some(2));
    let rows =
        RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options).unwrap();
    for format in FORMATS {
        let job = job(format, &rows, &[]);
        let ids = [record(Cell::Null, &[]), record(Cell::Text("a".into()), &[])];
        let part = part(&job, ids.to_vec(), rows.clone());
        assert_eq!(count_rows(format, &part), Some(2));
        match format {
            OutputFormat::Csv => assert_eq!(text(part), "id\n\"\"\na\n"),
            OutputFormat::Jsonl => assert_eq!(text(part), "{\"id\":null}\n{\"id\":\"a\"}\n"),
            _ => {}
        }
    }
}

#[test]
fn rows_that_do_not_match_the_job_are_refused() {
    let rows = column(Float32Array::from(vec![1.0]));
    for format in FORMATS {
        let job = job(format, &rows, &[]);
        let push = |count, rows| PartWriter::new(&job).push(records(count), rows);
        assert!(push(1, rows.clone()).is_ok());
        assert!(push(2, rows.clone()).is_err());
        assert!(push(1, column(Int64Array::from(vec![1]))).is_err());
        let two = RecordBatch::try_from_iter([
            ("x", rows.column(0).clone()),
            ("y", rows.column(0).clone()),
        ]);
        assert!(push(1, two.unwrap()).is_err());
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        let none = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options);
        assert!(push(1, none.unwrap()).is_err());
    }
}

#[test]
fn a_carried_value_that_does_not_fit_its_type_is_an_error() {
    let rows = column(Float32Array::from(vec![1.0]));
    for format in [OutputFormat::Parquet, OutputFormat::Arrow] {
        let job = job(format, &rows, &[DataType::Int64]);
        let record = record(Cell::Null, &[Cell::Text("seven".into())]);
        let error = PartWriter::new(&job).push(vec![record], rows.clone());
        assert!(error.unwrap_err().to_string().contains("seven"));
    }
}

/// A list, a vector and structs in a list.
fn nested() -> RecordBatch {
    let mut list = ListBuilder::new(Float32Builder::new());
    list.append_value([Some(0.5), None, Some(f32::NAN), Some(1e-7)]);
    list.append_null();
    list.append_value([]);
    let vector = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(
        [[0.25, -0.0], [1e16, 0.1], [2.0, 3.0]].map(|values| Some(values.map(Some))),
        2,
    );
    let entity = StructArray::from(vec![
        (
            Arc::new(Field::new("start", DataType::Int64, false)),
            Arc::new(Int64Array::from(vec![1, 2, 3])) as ArrayRef,
        ),
        (
            Arc::new(Field::new("label", DataType::Utf8, true)),
            Arc::new(StringArray::from(vec![Some("ä"), None, Some("c")])) as ArrayRef,
        ),
    ]);
    RecordBatch::try_from_iter([
        ("list", Arc::new(list.finish()) as ArrayRef),
        ("vector", Arc::new(vector)),
        ("entity", Arc::new(entity)),
    ])
    .unwrap()
}

#[test]
fn nested_columns_are_json_arrays_and_objects() {
    let rows = nested();
    let job = job(OutputFormat::Jsonl, &rows, &[]);
    assert_eq!(
        text(part(&job, records(3), rows)),
        "{\"id\":0,\"list\":[0.5,null,null,1e-7],\"vector\":[0.25,-0.0],\"entity\":{\"start\":1,\"label\":\"ä\"}}\n\
         {\"id\":1,\"list\":null,\"vector\":[1e+16,0.1],\"entity\":{\"start\":2,\"label\":null}}\n\
         {\"id\":2,\"list\":[],\"vector\":[2.0,3.0],\"entity\":{\"start\":3,\"label\":\"c\"}}\n"
    );
}

#[test]
fn csv_refuses_nested_columns_when_the_job_is_planned() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in.csv");
    std::fs::write(&input, "text\na\n").unwrap();
    for (index, kind) in [(0, "lists"), (1, "lists"), (2, "structs")] {
        let rows = nested().project(&[index]).unwrap();
        let planned = |format| {
            let run = tempfile::tempdir().unwrap();
            let job = job(format, &rows, &[]);
            let request = Request {
                inputs: &[input.display().to_string()],
                spool: None,
                function: job.function,
                parameters: job.parameters,
                output: "-",
                version: "test",
                inputs_at: None,
            };
            let run = RunDir::create(&run.path().join("run")).unwrap();
            plan(&request, &run, &Cancel::new(), &mut |_| {})
        };
        let error = planned(OutputFormat::Csv).unwrap_err().to_string();
        assert!(error.contains(kind), "{error}");
        assert!(error.contains("use jsonl, parquet or arrow"), "{error}");
        for format in &FORMATS[1..] {
            assert!(planned(*format).is_ok());
        }
    }
}

#[test]
fn columnar_parts_keep_the_types() {
    let rows = nested();
    for format in [OutputFormat::Parquet, OutputFormat::Arrow] {
        let kept = [DataType::Int64, DataType::Boolean];
        let job = job(format, &rows, &kept);
        let records = (0..3)
            .map(|row| {
                let flag = if row == 1 {
                    Cell::Null
                } else {
                    Cell::Json("true".into())
                };
                record(
                    Cell::Text(format!("id {row}")),
                    &[Cell::Json(row.to_string()), flag],
                )
            })
            .collect();
        let part = part(&job, records, rows.clone());
        assert_eq!(count_rows(format, &part), Some(3));
        // A truncated file is not a complete part.
        for length in 0..part.len() {
            assert_eq!(count_rows(format, &part[..length]), None);
        }
        let found = read_columns(format, part);
        assert_eq!(found.len(), 1);
        let found = &found[0];
        assert_eq!(
            found.schema().fields(),
            shoal_job::part::schema(&job).fields()
        );
        for name in ["list", "vector", "entity"] {
            assert_eq!(found.column_by_name(name), rows.column_by_name(name));
        }
        assert_eq!(found.column(0).as_string::<i32>().value(2), "id 2");
        assert_eq!(
            found.column(4).as_primitive::<Int64Type>().values(),
            &[0, 1, 2]
        );
        assert!(found.column(5).is_null(1));
    }
}

fn any_rows() -> impl Strategy<Value = (RecordBatch, Vec<Cell>)> {
    let cell = prop_oneof![
        Just(Cell::Null),
        ".{0,8}".prop_map(Cell::Text),
        any::<i64>().prop_map(|number| Cell::Json(number.to_string())),
        ".{0,8}".prop_map(|text| Cell::Json(serde_json::json!([text, {"a": null}]).to_string())),
    ];
    let row = (
        prop::option::of(".{0,8}"),
        prop::option::of(any::<f32>()),
        any::<f64>(),
        any::<i64>(),
        prop::collection::vec(any::<f32>(), 0..4),
        cell,
    );
    prop::collection::vec(row, 0..20).prop_map(|rows| {
        let lists = rows.iter().map(|row| Some(row.4.iter().copied().map(Some)));
        let columns: [(&str, ArrayRef, bool); 5] = [
            (
                "text",
                Arc::new(
                    rows.iter()
                        .map(|row| row.0.clone())
                        .collect::<StringArray>(),
                ),
                true,
            ),
            (
                "single",
                Arc::new(rows.iter().map(|row| row.1).collect::<Float32Array>()),
                true,
            ),
            (
                "double",
                Arc::new(rows.iter().map(|row| Some(row.2)).collect::<Float64Array>()),
                true,
            ),
            (
                "int",
                Arc::new(rows.iter().map(|row| Some(row.3)).collect::<Int64Array>()),
                true,
            ),
            (
                "list",
                Arc::new(arrow_array::ListArray::from_iter_primitive::<
                    Float32Type,
                    _,
                    _,
                >(lists)),
                true,
            ),
        ];
        let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
        (batch, rows.into_iter().map(|row| row.5).collect())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn json_lines_parse_to_the_same_values((rows, cells) in any_rows()) {
        let job = job(OutputFormat::Jsonl, &rows, &[DataType::Utf8]);
        let records = cells.iter().map(|cell| record(cell.clone(), std::slice::from_ref(cell)));
        let part = part(&job, records.collect(), rows.clone());
        prop_assert_eq!(count_rows(OutputFormat::Jsonl, &part), Some(cells.len() as u64));
        let part = text(part);
        prop_assert_eq!(part.lines().count(), cells.len());
        for (row, (line, cell)) in part.lines().zip(&cells).enumerate() {
            let raw: HashMap<&str, &serde_json::value::RawValue> = serde_json::from_str(line).unwrap();
            prop_assert_eq!(raw.len(), 7);
            let mut expected = Vec::new();
            cell.write_json(&mut expected);
            prop_assert_eq!(raw["id"].get().as_bytes(), expected.as_slice());
            prop_assert_eq!(raw["kept0"].get().as_bytes(), expected.as_slice());
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            let text = rows.column(0).as_string::<i32>();
            prop_assert_eq!(value["text"].as_str(), text.is_valid(row).then(|| text.value(row)));
            let single = rows.column(1).as_primitive::<Float32Type>();
            let single = single.is_valid(row).then(|| single.value(row)).filter(|value| value.is_finite());
            prop_assert_eq!(value["single"].as_f64().map(|value| value as f32), single);
            let double = rows.column(2).as_primitive::<arrow_array::types::Float64Type>().value(row);
            prop_assert_eq!(value["double"].as_f64(), Some(double).filter(|value| value.is_finite()));
            prop_assert_eq!(value["int"].as_i64(), Some(rows.column(3).as_primitive::<Int64Type>().value(row)));
            let list = rows.column(4).as_list::<i32>().value(row);
            let list: Vec<_> = list.as_primitive::<Float32Type>().values().iter()
                .map(|value| Some(*value).filter(|value| value.is_finite())).collect();
            let found: Vec<_> = value["list"].as_array().unwrap().iter()
                .map(|value| value.as_f64().map(|value| value as f32)).collect();
            prop_assert_eq!(found, list);
        }
    }
}
