//! Nested columns, and inputs that are not what their name says, from files, URLs and standard input.

use std::fs::File;
use std::path::PathBuf;

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use serde_json::{Value, json};

use crate::server::{Response, Server};
use crate::support::{Bench, describe, repository, tiny};

const INPUT: i32 = 3;

fn fixture(name: &str) -> PathBuf {
    repository("crates/job/tests/fixtures/nested_and_compressed").join(name)
}

/// The rows of a run that writes JSON Lines.
fn rows(bench: &Bench, args: &[&str]) -> Vec<Value> {
    let run = [
        "run",
        "-o",
        "-",
        "--format",
        "jsonl",
        "--fresh",
        "--quiet",
        "--model",
        tiny(),
    ];
    let output = bench.ok([&run[..], args].concat());
    let lines = String::from_utf8(output.stdout).unwrap();
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn nested_columns_give_the_results_of_plain_ones() {
    let bench = Bench::new();
    let (mut plain, mut nested) = (String::new(), String::new());
    for (id, text) in [("a1", "A warm film"), ("a2", "Dull, noisy"), ("a3", "")] {
        plain += &format!("{}\n", json!({ "id": id, "text": text, "label": "x" }));
        let body = json!({ "turns": [{ "content": text }], "key": id, "gold": "x" });
        nested += &format!("{}\n", json!({ "body": body, "other": "text" }));
    }
    bench.write("plain.jsonl", plain);
    bench.write("nested.jsonl", nested);
    let expected = rows(&bench, &["plain.jsonl", "--text-column", "text"]);
    let columns = [
        "--text-column",
        "body.turns.0.content",
        "--id-column",
        "body.key",
        "--label-column",
        "body.gold",
        "--keep-columns",
        "body.key,body.turns",
    ];
    let mut found = rows(&bench, &[&["nested.jsonl"], &columns[..]].concat());
    for row in &mut found {
        let row = row.as_object_mut().unwrap();
        assert_eq!(row.remove("body.key").as_ref(), row.get("id"));
        assert!(row.remove("body.turns").unwrap()[0]["content"].is_string());
    }
    assert_eq!(found, expected);
}

#[test]
fn a_kept_nested_column_keeps_its_type() {
    let bench = Bench::new();
    let lines = "{\"text\":\"x\",\"a\":{\"n\":1}}\n{\"text\":\"y\",\"a\":{\"n\":NaN}}\n{\"text\":\"z\",\"a\":null}\n";
    bench.write("in.jsonl", lines);
    let run = [
        "run",
        "in.jsonl",
        "--model",
        tiny(),
        "--keep-columns",
        "a.n",
        "-o",
    ];
    bench.ok([&run[..], &["out.parquet"]].concat());
    let reader = SerializedFileReader::new(File::open(bench.path("out.parquet")).unwrap()).unwrap();
    let values = reader.get_row_iter(None).unwrap().map(|row| {
        let row = row.unwrap();
        let mut columns = row.get_column_iter();
        columns.find(|(name, _)| *name == "a.n").unwrap().1.clone()
    });
    let values: Vec<_> = values.collect();
    assert_eq!(
        (&values[0], &values[2]),
        (&Field::Double(1.0), &Field::Null)
    );
    assert!(matches!(values[1], Field::Double(value) if value.is_nan()));
    let kept = rows(&bench, &["in.jsonl", "--keep-columns", "a.n"]);
    let kept: Vec<_> = kept.iter().map(|row| &row["a.n"]).collect();
    assert_eq!(kept, [&json!(1), &json!("NaN"), &Value::Null]);
}

#[test]
fn a_label_that_is_not_a_number_is_a_dead_letter() {
    let bench = Bench::new();
    bench.write(
        "in.jsonl",
        "{\"text\":\"x\",\"gold\":\"a\"}\n{\"text\":\"y\",\"gold\":NaN}\n",
    );
    let run = [
        "run",
        "in.jsonl",
        "-o",
        "out.csv",
        "--run-dir",
        "run",
        "--model",
        tiny(),
    ];
    bench.ok([
        &run[..],
        &["--text-column", "text", "--label-column", "gold"],
    ]
    .concat());
    let letter: Value = serde_json::from_str(bench.text("run/failed.jsonl").trim()).unwrap();
    assert_eq!(letter["line"], 2);
    assert_eq!(
        letter["reason"],
        "the label is NaN, which is not a JSON value"
    );
}

#[test]
fn errors_about_paths_and_layouts_name_what_to_do() {
    let bench = Bench::new();
    bench.write("in.jsonl", "{\"text\":\"x\",\"review\":{\"body\":\"y\"}}\n");
    let message = bench.fails(
        INPUT,
        [
            "run",
            "in.jsonl",
            "-o",
            "out.csv",
            "--text-column",
            "review.text",
        ],
    );
    for word in [
        "\"review.text\" for the text",
        "the fields of \"review\" are body",
        "--text-column",
    ] {
        assert!(message.contains(word), "{word:?} is not in: {message}");
    }
    bench.write("array.json", "[{\"text\":\"x\"}]");
    let message = bench.fails(INPUT, ["run", "array.json", "-o", "out.csv"]);
    assert!(message.contains("jq -c '.[]' "), "{message}");
    let array = File::open(bench.path("array.json")).unwrap();
    let output = bench
        .shoal(["run", "-", "-o", "out.csv"])
        .stdin(array)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(INPUT), "{}", describe(&output));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(
        message.contains("`jq -c '.[]'` before it reaches standard input"),
        "{message}"
    );
    assert!(!bench.path("out.csv").exists());
}

#[test]
fn compressed_content_is_recognized_on_standard_input_and_behind_urls() {
    let bench = Bench::new();
    let names = [
        "zeros.gz",
        "junk.gz",
        "zeros_between.gz",
        "long.zst",
        "frames.zst",
    ];
    let server = Server::new(|request, _| {
        let name = request
            .path
            .trim_start_matches('/')
            .trim_end_matches(".jsonl");
        match std::fs::read(fixture(name)) {
            Ok(content) => Response {
                status: "200 OK",
                headers: String::new(),
                content,
            },
            Err(_) => Response::not_found(),
        }
    });
    for name in names {
        let path = fixture(name);
        let run = [
            "run",
            "-",
            "-o",
            "-",
            "--fresh",
            "--quiet",
            "--model",
            tiny(),
        ];
        let output = bench
            .shoal(run)
            .stdin(File::open(&path).unwrap())
            .output()
            .unwrap();
        assert!(output.status.success(), "{name}: {}", describe(&output));
        assert_eq!(output.stdout.split(|b| *b == b'\n').count(), 201, "{name}");
        let url = format!("{}/{name}.jsonl", server.url());
        assert_eq!(rows(&bench, &[&url]).len(), 200, "{name}");
    }
}
