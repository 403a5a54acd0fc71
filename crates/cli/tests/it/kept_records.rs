//! `--on-error keep`: the output has a row for each record, in order.

use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};

use crate::support::{Bench, jsonl, repository, tiny};

/// Runs the tiny model on `input` with `--on-error keep`, and returns the summary.
fn keep(bench: &Bench, input: &str, output: &str, options: &[&str]) -> Value {
    let args = [
        "run",
        input,
        "-o",
        output,
        "--on-error",
        "keep",
        "--fresh",
        "--json",
        "--quiet",
        "--model",
        tiny(),
        "--text-column",
        "text",
    ];
    let output = bench.ok(args.iter().chain(options));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn lines(text: &str) -> Vec<Value> {
    let lines = text.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().unwrap()
}

const BAD: &str = "{\"id\":1,\"text\":\"good\",\"n\":10,\"error\":\"own\"}\n{\"id\":2,\"text\":null,\"n\":20}\n\
    {\"id\":3,\"n\":30}\nnot json\n{\"id\":5,\"text\":\"also good\",\"n\":50}\n{\"id\":6,\"text\":[\"x\"],\"n\":60}\n";

#[test]
fn every_record_has_a_row_in_its_place() {
    let bench = Bench::new();
    bench.write("in.jsonl", BAD);
    for size in ["1", "2", "100"] {
        let options = ["--keep-columns", "n,error", "--batch-size", size];
        let summary = keep(&bench, "in.jsonl", "out.jsonl", &options);
        let counts = ["records", "results", "failed"].map(|name| summary[name].clone());
        assert_eq!(counts, [6, 2, 4].map(Value::from));
        let rows = lines(&bench.text("out.jsonl"));
        let ids: Vec<_> = rows.iter().map(|row| row["id"].clone()).collect();
        assert_eq!(
            ids,
            [
                json!(1),
                json!(2),
                json!(3),
                Value::Null,
                json!(5),
                json!(6)
            ]
        );
        let kept: Vec<_> = rows.iter().map(|row| row["n"].clone()).collect();
        assert_eq!(
            kept,
            [
                json!(10),
                json!(20),
                json!(30),
                Value::Null,
                json!(50),
                json!(60)
            ]
        );
        assert_eq!(rows[0]["input_error"], "own");
        for (row, reason) in [
            (1, "the text is null"),
            (2, "missing"),
            (3, "not a JSON object"),
            (5, "an array"),
        ] {
            let error = rows[row]["error"].as_str().unwrap();
            assert!(error.contains(reason), "{error}");
            assert_eq!(
                (&rows[row]["label"], &rows[row]["score"]),
                (&Value::Null, &Value::Null)
            );
        }
        for row in [0, 4] {
            assert_eq!(rows[row]["error"], Value::Null);
            assert!(rows[row]["label"].is_string() && rows[row]["score"].is_number());
        }
        // The dead letters are written too.
        let letters = std::fs::read_to_string(summary["failed_file"].as_str().unwrap()).unwrap();
        assert_eq!(letters.lines().count(), 4);
    }
}

/// The rows of a Parquet file as one batch.
fn parquet(path: &Path) -> RecordBatch {
    let file = std::fs::File::open(path).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)
        .unwrap()
        .build()
        .unwrap();
    let mut batches: Vec<_> = reader.map(Result::unwrap).collect();
    assert_eq!(batches.len(), 1, "few rows are one batch");
    batches.remove(0)
}

#[test]
fn the_rows_are_the_same_in_every_output_format() {
    let bench = Bench::new();
    bench.write("in.jsonl", BAD);
    let options = ["--keep-columns", "n", "--scores", "--batch-size", "2"];
    keep(&bench, "in.jsonl", "out.jsonl", &options);
    let expected = lines(&bench.text("out.jsonl"));
    keep(&bench, "in.jsonl", "out.csv", &options);
    let csv = bench.text("out.csv");
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let names: Vec<_> = expected[0].as_object().unwrap().keys().cloned().collect();
    let mut header: Vec<_> = reader
        .headers()
        .unwrap()
        .iter()
        .map(str::to_owned)
        .collect();
    assert_eq!(header[..4], ["id", "label", "score", "score_label A"]);
    assert_eq!(header[header.len() - 2..], ["error", "n"]);
    header.sort();
    assert_eq!(header, names);
    let rows: Vec<std::collections::BTreeMap<String, String>> =
        reader.deserialize().map(Result::unwrap).collect();
    assert_eq!(rows.len(), expected.len());
    for (row, expected) in rows.iter().zip(&expected) {
        for (name, value) in expected.as_object().unwrap() {
            let text = match value {
                Value::Null => String::new(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            assert_eq!(row[name], text, "{name}");
        }
    }
    keep(&bench, "in.jsonl", "out.parquet", &options);
    let rows = parquet(&bench.path("out.parquet"));
    assert_eq!(rows.num_rows(), expected.len());
    for (index, expected) in expected.iter().enumerate() {
        let text = |name: &str| {
            let column = rows.column_by_name(name).unwrap().as_string::<i32>();
            column
                .is_valid(index)
                .then(|| column.value(index).to_owned())
        };
        assert_eq!(json!(text("error")), expected["error"]);
        assert_eq!(json!(text("label")), expected["label"]);
        for name in ["id", "n"] {
            let column = rows
                .column_by_name(name)
                .unwrap()
                .as_primitive::<Int64Type>();
            let value = column.is_valid(index).then(|| column.value(index));
            assert_eq!(json!(value), expected[name], "{name}");
        }
        assert_eq!(
            rows.column_by_name("score").unwrap().is_null(index),
            expected["score"].is_null()
        );
    }
    // A folder of parts has the same rows, and its parts do not depend on the other records.
    keep(
        &bench,
        "in.jsonl",
        "parts/",
        &[&options[..], &["--format", "jsonl"]].concat(),
    );
    let mut parts: Vec<_> = std::fs::read_dir(bench.path("parts"))
        .unwrap()
        .map(|part| part.unwrap().path())
        .collect();
    parts.sort();
    assert_eq!(parts.len(), 3);
    let joined: String = parts
        .iter()
        .map(|part| std::fs::read_to_string(part).unwrap())
        .collect();
    assert_eq!(lines(&joined), expected);
}

#[test]
fn every_input_format_keeps_its_bad_records() {
    let bench = Bench::new();
    bench.write(
        "in.csv",
        b"id,text,n\na,fine,1\nb,,2\nc\nd,x\xff,4\ne,end,5\nf,\"open,6\n",
    );
    keep(&bench, "in.csv", "out.jsonl", &["--keep-columns", "n"]);
    let rows = lines(&bench.text("out.jsonl"));
    let ids: Vec<_> = rows.iter().map(|row| row["id"].clone()).collect();
    assert_eq!(
        ids,
        [
            json!("a"),
            json!("b"),
            json!("c"),
            json!("d"),
            json!("e"),
            json!("f")
        ]
    );
    let kept: Vec<_> = rows.iter().map(|row| row["n"].clone()).collect();
    assert_eq!(
        kept,
        [
            json!("1"),
            json!("2"),
            Value::Null,
            json!("4"),
            json!("5"),
            Value::Null
        ]
    );
    let errors = rows.iter().map(|row| row["error"].is_string());
    assert!(errors.eq([false, true, true, true, false, true]));

    let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, Some("b")]));
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![7, 8, 9]));
    let input =
        RecordBatch::try_from_iter_with_nullable([("text", texts, true), ("n", numbers, true)])
            .unwrap();
    let file = std::fs::File::create(bench.path("in.parquet")).unwrap();
    let mut writer = ArrowWriter::try_new(file, input.schema(), None).unwrap();
    writer.write(&input).unwrap();
    writer.close().unwrap();
    keep(
        &bench,
        "in.parquet",
        "out.parquet",
        &["--keep-columns", "n"],
    );
    let rows = parquet(&bench.path("out.parquet"));
    let column = |name: &str| rows.column_by_name(name).unwrap().clone();
    assert_eq!(
        *column("n").as_primitive::<Int64Type>(),
        Int64Array::from(vec![7, 8, 9])
    );
    assert_eq!(
        *column("id").as_primitive::<Int64Type>(),
        Int64Array::from(vec![0, 1, 2])
    );
    assert_eq!(
        *column("error").as_string::<i32>(),
        StringArray::from(vec![None, Some("the text is null"), None])
    );

    bench.write("texts/neg/0.txt", "awful");
    bench.write("texts/neg/1.txt", b"aw\xfful");
    bench.write("texts/pos/0.txt", "great");
    keep(&bench, "texts", "out.jsonl", &["--keep-columns", "label"]);
    let rows = lines(&bench.text("out.jsonl"));
    let ids: Vec<_> = rows.iter().map(|row| row["id"].clone()).collect();
    assert_eq!(ids, ["neg/0", "neg/1", "pos/0"]);
    assert_eq!(rows[1]["input_label"], "negative");
    assert_eq!(rows[1]["error"], "the text is not valid UTF-8");
}

/// The planner sees no values of lines that are not UTF-8, so they do not widen the types of columns.
#[test]
fn the_type_of_a_column_holds_the_values_of_bad_records() {
    let bench = Bench::new();
    let mut input = b"{\"id\":1,\"text\":\"a\",\"n\":1}\n".to_vec();
    input.extend(b"{\"id\":\"two\",\"text\":\"x\xff\",\"n\":\"two\"}\n");
    input.extend(b"{\"id\":3,\"text\":\"x\xff\",\"n\":3}\n");
    bench.write("in.jsonl", input);
    keep(&bench, "in.jsonl", "out.parquet", &["--keep-columns", "n"]);
    let rows = parquet(&bench.path("out.parquet"));
    for name in ["id", "n"] {
        let column = rows.column_by_name(name).unwrap().as_string::<i32>();
        let values: Vec<_> = column.iter().flatten().collect();
        assert_eq!(values[1], "two", "{name}");
        assert_eq!((values[0], values[2]), ("1", "3"), "{name}");
    }
}

#[test]
fn embeddings_of_bad_records_are_null() {
    let bench = Bench::new();
    bench.write("in.jsonl", BAD);
    let model = repository("crates/encoder/tests/fixtures/embedding/mean-normalize-saved");
    for (output, rows) in [("out.jsonl", 6), ("out.parquet", 6), ("out.arrow", 6)] {
        let model = model.display().to_string();
        let args = [
            "run",
            "in.jsonl",
            "-o",
            output,
            "--on-error",
            "keep",
            "--text-column",
            "text",
            "--model",
            &model,
            "--batch-size",
            "2",
        ];
        bench.ok(args);
        let nulls: Vec<bool> = match output {
            "out.jsonl" => {
                let rows = lines(&bench.text(output));
                rows.iter().map(|row| row["embedding"].is_null()).collect()
            }
            "out.parquet" => {
                let rows = parquet(&bench.path(output));
                let vectors = rows.column_by_name("embedding").unwrap();
                (0..rows.num_rows())
                    .map(|row| vectors.is_null(row))
                    .collect()
            }
            _ => {
                // Read by shoal itself: the texts of the output's column `error`.
                let args = [
                    "run",
                    output,
                    "-o",
                    "again.jsonl",
                    "--on-error",
                    "keep",
                    "--text-column",
                    "error",
                    "--model",
                    tiny(),
                ];
                bench.ok(args);
                lines(&bench.text("again.jsonl"))
                    .iter()
                    .map(|row| !row["label"].is_null())
                    .collect()
            }
        };
        assert_eq!(nulls, [false, true, true, true, false, true], "{output}");
        assert_eq!(nulls.len(), rows);
    }
}

#[test]
fn keeping_bad_records_is_a_parameter_of_the_run() {
    let bench = Bench::new();
    bench.write("in.jsonl", jsonl(20) + "{\"id\":\"bad\"}\n");
    let run = |options: &[&str]| {
        let args = [
            "run",
            "in.jsonl",
            "-o",
            "out.jsonl",
            "--run-dir",
            "run",
            "--model",
            tiny(),
        ];
        bench.shoal(args.iter().chain(options)).output().unwrap()
    };
    assert!(run(&["--on-error", "keep"]).status.success());
    let kept = bench.text("out.jsonl");
    assert_eq!(kept.lines().count(), 21);
    let other = run(&[]);
    assert_eq!(other.status.code(), Some(6));
    let message = String::from_utf8_lossy(&other.stderr).into_owned();
    assert!(
        message.contains("error-column was true, is false") && message.contains("(--on-error)"),
        "{message}"
    );
    // Other commands keep what the run was planned with.
    std::fs::remove_file(bench.path("out.jsonl")).unwrap();
    bench.ok(["resume", "run"]);
    assert_eq!(bench.text("out.jsonl"), kept);
    bench.ok(["collect", "run", "-o", "copy.jsonl"]);
    assert_eq!(bench.text("copy.jsonl"), kept);

    bench.ok([
        "run",
        "in.jsonl",
        "-o",
        "skip.jsonl",
        "--run-dir",
        "skip",
        "--model",
        tiny(),
    ]);
    let message = bench.fails(2, ["resume", "skip", "--on-error", "keep"]);
    assert!(
        message.contains("planned without bad records") && message.contains("--on-error"),
        "{message}"
    );
    let rows = |name: &str| -> Vec<Value> {
        let mut rows = lines(&bench.text(name));
        rows.retain(|row| row["label"].is_string());
        for row in &mut rows {
            row.as_object_mut().unwrap().remove("error");
        }
        rows
    };
    assert_eq!(rows("skip.jsonl"), rows("out.jsonl"));
}
