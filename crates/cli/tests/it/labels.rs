//! Gold labels of every kind and format, and what a run says about them.

use std::path::Path;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int8Array, RecordBatch, StringArray,
    types::Int32Type,
};
use parquet::arrow::ArrowWriter;
use serde_json::{Value, json};

use crate::support::{Bench, describe, repository};

/// Two positive and two negative texts.
const TEXTS: [&str; 4] = [
    "A warm and clever film, I loved it",
    "Dull, noisy and far too long",
    "The cast is great",
    "I want my money back",
];

/// Runs the bundled model, which must succeed. Returns its summary as JSON and as text.
fn run(bench: &Bench, input: &str) -> (Value, String) {
    let args = [
        "run",
        input,
        "-o",
        "out.csv",
        "--run-dir",
        "run",
        "--fresh",
        "--text-column",
        "text",
        "--label-column",
        "label",
        "--precision",
        "f32",
        "--batch-size",
        "3",
    ];
    let json = bench.ok(args.iter().copied().chain(["--json", "--quiet"]));
    let text = bench.ok(args);
    (
        serde_json::from_slice(&json.stdout).unwrap(),
        String::from_utf8(text.stderr).unwrap(),
    )
}

fn write_parquet(path: &Path, labels: ArrayRef) {
    let texts: ArrayRef = Arc::new(StringArray::from(TEXTS.to_vec()));
    let rows =
        RecordBatch::try_from_iter_with_nullable([("text", texts, true), ("label", labels, true)]);
    let rows = rows.unwrap();
    let mut writer =
        ArrowWriter::try_new(std::fs::File::create(path).unwrap(), rows.schema(), None);
    let writer = writer.as_mut().unwrap();
    writer.write(&rows).unwrap();
    writer.finish().unwrap();
}

/// `text` and `label` as CSV and TSV with these labels, and as JSON Lines.
fn write_text(bench: &Bench, labels: [Value; 4]) -> [&'static str; 3] {
    let rows = || TEXTS.iter().zip(&labels);
    for (name, separator) in [("in.csv", b','), ("in.tsv", b'\t')] {
        let mut writer = csv::WriterBuilder::new();
        let mut writer = writer.delimiter(separator).from_writer(Vec::new());
        writer.write_record(["text", "label"]).unwrap();
        for (text, label) in rows() {
            let label = match label {
                Value::String(label) => label.clone(),
                label => label.to_string(),
            };
            writer.write_record([*text, &label]).unwrap();
        }
        bench.write(name, writer.into_inner().unwrap());
    }
    let lines = rows().map(|(text, label)| format!("{}\n", json!({"text": text, "label": label})));
    bench.write("in.jsonl", lines.collect::<String>());
    ["in.csv", "in.tsv", "in.jsonl"]
}

#[test]
fn whole_floats_booleans_ids_and_padded_names_match() {
    let bench = Bench::new();
    let check = |input: &str| {
        let (summary, text) = run(&bench, input);
        let accuracy = &summary["accuracy"];
        assert_eq!(
            (&accuracy["right"], &accuracy["of"]),
            (&4.into(), &4.into()),
            "{text}"
        );
        assert_eq!(summary["unknown_labels"], Value::Null);
        assert!(
            text.contains("100.00 % (4 of 4)") && !text.contains("warning"),
            "{text}"
        );
    };
    for labels in [
        [json!(1), json!(0), json!(1), json!(0)],
        [json!(1.0), json!(0.0), json!(1.0), json!(0.0)],
        [json!("1.0"), json!(" 0"), json!("1"), json!("0.0")],
        [json!(true), json!(false), json!(true), json!(false)],
        [json!("True"), json!("FALSE"), json!("true"), json!("false")],
        [
            json!(" positive"),
            json!("Negative "),
            json!("POSITIVE"),
            json!("negative"),
        ],
        [
            json!("LABEL_1"),
            json!("label_0"),
            json!("LABEL_1"),
            json!("LABEL_0"),
        ],
    ] {
        for input in write_text(&bench, labels) {
            check(input);
        }
    }
    let names = ["positive", "negative", "positive", "negative"];
    let columns: [ArrayRef; 5] = [
        Arc::new(Float64Array::from(vec![1.0, 0.0, 1.0, 0.0])),
        Arc::new(BooleanArray::from(vec![true, false, true, false])),
        Arc::new(Int8Array::from(vec![1, 0, 1, 0])),
        Arc::new(StringArray::from(names.to_vec())),
        Arc::new(names.into_iter().collect::<DictionaryArray<Int32Type>>()),
    ];
    for labels in columns {
        write_parquet(&bench.path("in.parquet"), labels);
        check("in.parquet");
    }
}

#[test]
fn unknown_labels_are_a_warning_and_no_number() {
    let bench = Bench::new();
    let labels = ["pos", "neg", "LABEL_1", "Negative"];
    for input in write_text(&bench, labels.map(Value::from)) {
        let (summary, text) = run(&bench, input);
        let accuracy = &summary["accuracy"];
        assert_eq!(
            (&accuracy["right"], &accuracy["of"]),
            (&2.into(), &2.into()),
            "{text}"
        );
        let unknown = json!({"records": 2, "examples": [["neg", 1], ["pos", 1]]});
        assert_eq!(summary["unknown_labels"], unknown);
        for part in [
            "100.00 % (2 of 2)",
            "2 records have",
            "\"neg\" (1), \"pos\" (1)",
            "NEGATIVE, POSITIVE",
        ] {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
    }
    for input in write_text(&bench, [json!("a"), json!("b"), json!(7), json!(0.5)]) {
        let (summary, text) = run(&bench, input);
        assert_eq!(summary["accuracy"], Value::Null);
        assert_eq!(summary["unknown_labels"]["records"], 4);
        assert!(
            text.contains("4 records have a gold label that the model does not have"),
            "{text}"
        );
        assert!(!text.contains("0.00 %"), "{text}");
    }
    let report = bench.ok(["report", "run", "--format", "markdown", "-o", "-"]);
    let report = describe(&report);
    assert!(report.contains("4 records have a gold label"), "{report}");
}

#[test]
fn null_and_blank_labels_are_no_labels() {
    let bench = Bench::new();
    for input in write_text(&bench, [json!(1), json!(""), json!("  "), json!("NaN")]) {
        let (summary, text) = run(&bench, input);
        assert_eq!(summary["accuracy"]["of"], 1, "{text}");
        assert_eq!(summary["unknown_labels"], Value::Null, "{text}");
    }
    let labels = Float64Array::from(vec![Some(1.0), None, Some(f64::NAN), Some(0.0)]);
    write_parquet(&bench.path("in.parquet"), Arc::new(labels));
    let (summary, text) = run(&bench, "in.parquet");
    assert_eq!(summary["accuracy"]["of"], 2, "{text}");
    let labels = Float64Array::from(vec![None; 4]);
    write_parquet(&bench.path("in.parquet"), Arc::new(labels));
    let (_, text) = run(&bench, "in.parquet");
    assert!(text.contains("no record has a gold label"), "{text}");
}

#[test]
fn scores_do_not_depend_on_batches_and_are_in_the_report() {
    let bench = Bench::new();
    let mut lines = String::new();
    for number in 0..60 {
        let text = TEXTS[number % 4];
        // A third are wrong, and some are unknown.
        let label = match number % 9 {
            0 => json!(format!("label {number}\u{1b}[31m")),
            1..=3 => json!((number + 1) % 2 == 0),
            _ => json!(number % 2 == 0),
        };
        lines += &format!("{}\n", json!({"id": number, "text": text, "label": label}));
    }
    bench.write("in.jsonl", lines);
    let summary = |size: &str| -> Value {
        let args = [
            "run",
            "in.jsonl",
            "-o",
            "out.csv",
            "--run-dir",
            "run",
            "--fresh",
            "--text-column",
            "text",
            "--label-column",
            "label",
            "--precision",
            "f32",
            "--batch-size",
            size,
            "--json",
            "--quiet",
        ];
        serde_json::from_slice(&bench.ok(args).stdout).unwrap()
    };
    let whole = summary("60");
    for size in ["1", "7", "59"] {
        let found = summary(size);
        assert_eq!(found["accuracy"], whole["accuracy"], "{size}");
        assert_eq!(found["unknown_labels"], whole["unknown_labels"], "{size}");
    }
    assert_eq!(whole["unknown_labels"]["records"], 7);
    assert_eq!(whole["accuracy"]["of"], 53);
    assert_eq!(whole["accuracy"]["labels"][0]["label"], "NEGATIVE");
    for score in ["precision", "recall", "f1"] {
        assert!(whole["accuracy"]["macro"][score].as_f64().unwrap() > 0.5);
    }
    let page = bench.ok(["report", "run", "-o", "-"]).stdout;
    let page = String::from_utf8(page).unwrap();
    assert!(page.contains("Scores by label") && page.contains("7 records have a gold label"));
    assert!(!page.contains('\u{1b}'));
}

#[test]
fn models_without_one_label_say_why_they_take_no_labels() {
    let bench = Bench::new();
    bench.write("in.csv", "text,label\na,x\n");
    for (model, gives) in [
        ("bert-cased-multi", "any number of labels"),
        ("distilbert-regression", "a number"),
    ] {
        let model = repository("crates/encoder/tests/fixtures").join(model);
        let model = model.to_str().unwrap();
        let input = ["in.csv", "--label-column", "label", "--model", model];
        for command in [
            &["run", "-o", "out.csv"][..],
            &["plan", "--backend", "local"],
        ] {
            let message = bench.fails(2, command.iter().chain(&input));
            for part in ["the label column", gives, "(--label-column)"] {
                assert!(message.contains(part), "{part:?} is not in: {message}");
            }
        }
        bench.ok([
            "run",
            "in.csv",
            "-o",
            "out.csv",
            "--model",
            model,
            "--keep-columns",
            "label",
        ]);
    }
}
