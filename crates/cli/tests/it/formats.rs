//! The same records give the same results in every input format, and the same rows in every output format.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use serde_json::{Value, json};

use crate::support::{Bench, describe, jsonl, repository, tiny};

/// The number of records in `aclImdb/`, which are the first ones of the sample.
const FEW: usize = 20;

fn sample(name: &str) -> String {
    repository(&format!("examples/{name}"))
        .display()
        .to_string()
}

/// A small random multi-label model with seven labels. The labels of a text are joined by `;`.
fn multi_label_model() -> String {
    repository("crates/encoder/tests/fixtures/bert-cased-multi")
        .display()
        .to_string()
}

/// Runs with the output on standard output, and returns its rows.
fn rows_from(bench: &Bench, stdin: Option<&Path>, args: &[&str]) -> Vec<Value> {
    let mut command = bench.shoal(["run", "-o", "-", "--fresh", "--quiet"]);
    command.args(args);
    if let Some(path) = stdin {
        command.stdin(File::open(path).unwrap());
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", describe(&output));
    assert!(output.stderr.is_empty(), "{args:?}: {}", describe(&output));
    let lines = String::from_utf8(output.stdout).unwrap();
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn rows(bench: &Bench, args: &[&str]) -> Vec<Value> {
    rows_from(bench, None, args)
}

fn tiny_rows(bench: &Bench, args: &[&str]) -> Vec<Value> {
    let model = tiny();
    rows(bench, &[&["--model", model], args].concat())
}

/// Runs the tiny model and returns the summary.
pub(crate) fn summary(bench: &Bench, args: &[&str]) -> Value {
    let model = tiny();
    let output = bench.ok([&["run", "--json", "--quiet", "--model", model], args].concat());
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The first records of the sample, as JSON Lines.
fn few() -> String {
    let all = std::fs::read_to_string(sample("reviews.jsonl")).unwrap();
    all.split_inclusive('\n').take(FEW).collect()
}

/// The records of [`few`] with this separator.
fn few_delimited(separator: u8) -> Vec<u8> {
    let mut writer = csv::WriterBuilder::new()
        .delimiter(separator)
        .from_writer(Vec::new());
    writer.write_record(["id", "text"]).unwrap();
    for line in few().lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        writer
            .write_record([row["id"].as_str().unwrap(), row["text"].as_str().unwrap()])
            .unwrap();
    }
    writer.into_inner().unwrap()
}

/// The rows of a Parquet file, as JSON.
fn parquet_rows(path: &Path) -> Vec<Value> {
    let reader = SerializedFileReader::new(File::open(path).unwrap()).unwrap();
    let rows = reader.get_row_iter(None).unwrap();
    rows.map(|row| {
        let row = row.unwrap();
        let cells = row.get_column_iter().map(|(name, field)| {
            let value = match field {
                Field::Null => Value::Null,
                Field::Bool(value) => json!(value),
                Field::Int(value) => json!(value),
                Field::Long(value) => json!(value),
                Field::Float(value) => json!(value),
                Field::Double(value) => json!(value),
                Field::Str(value) => json!(value),
                other => panic!("column {name} contains {other:?}"),
            };
            (name.clone(), value)
        });
        Value::Object(cells.collect())
    })
    .collect()
}

/// The rows of a CSV file, with all values as strings.
fn csv_rows(content: &[u8]) -> Vec<BTreeMap<String, String>> {
    let mut reader = csv::Reader::from_reader(content);
    reader.deserialize().map(|row| row.unwrap()).collect()
}

/// A row with its values as in CSV.
fn as_text(row: &Value) -> BTreeMap<String, String> {
    let cells = row.as_object().unwrap().iter();
    cells
        .map(|(name, value)| {
            let text = match value {
                Value::Null => String::new(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            (name.clone(), text)
        })
        .collect()
}

#[test]
fn the_bundled_model_gives_the_same_results_for_every_format() {
    let bench = Bench::new();
    bench.write("few.jsonl", few());
    bench.write("few.csv", few_delimited(b','));
    bench.write("few.tsv", few_delimited(b'\t'));
    let expected = rows(&bench, &["few.jsonl", "--text-column", "text"]);
    assert_eq!(expected.len(), FEW);
    let right = std::iter::zip(&expected, few().lines())
        .filter(|(row, line)| {
            let record: Value = serde_json::from_str(line).unwrap();
            let [predicted, gold] = [row, &record].map(|row| row["label"].as_str().unwrap());
            predicted.eq_ignore_ascii_case(gold)
        })
        .count();
    assert!(right >= FEW * 8 / 10, "{right} of {FEW} labels are right");
    assert_eq!(rows(&bench, &["few.csv"]), expected);
    assert_eq!(rows(&bench, &["few.tsv", "--quote", "\""]), expected);
    // The folder's ids are paths: pos/0_10 is r001. Its files are read in the order of their names.
    let found = rows(&bench, &[&sample("aclImdb")]);
    assert_eq!(found.len(), FEW);
    for row in found {
        let id = row["id"].as_str().unwrap();
        let index: usize = id
            .split(['/', '_'])
            .nth(1)
            .and_then(|i| i.parse().ok())
            .unwrap();
        for column in ["label", "score"] {
            assert_eq!(row[column], expected[index][column], "{id}");
        }
    }
}

#[test]
fn every_file_of_the_sample_holds_the_same_records() {
    let bench = Bench::new();
    // The texts are kept in the output to compare all of them: the tiny model reads only the first tokens.
    let columns = [
        "--text-column",
        "text",
        "--keep-columns",
        "text,label,title",
        "--scores",
    ];
    let run = |stdin: Option<&str>, inputs: &[&str]| {
        let model = tiny();
        let mut args = [inputs, &["--model", model], &columns[..]].concat();
        let names = stdin.iter().chain(inputs);
        if names.into_iter().any(|name| name.ends_with(".tsv")) {
            // Its texts contain line breaks.
            args.extend(["--quote", "\""]);
        }
        rows_from(&bench, stdin.map(Path::new), &args)
    };
    let expected = run(None, &[&sample("reviews.jsonl")]);
    assert_eq!(expected.len(), 200);
    let source = std::fs::read_to_string(sample("reviews.jsonl")).unwrap();
    for (row, line) in std::iter::zip(&expected, source.lines()) {
        let record: Value = serde_json::from_str(line).unwrap();
        assert_eq!(row["id"], record["id"]);
        assert_eq!(row["text"], record["text"]);
        assert_eq!(row["input_label"], record["label"]);
    }
    let forms = [
        "reviews.csv",
        "reviews.tsv",
        "reviews.csv.gz",
        "reviews.jsonl.zst",
        "reviews.parquet",
    ];
    for name in forms {
        assert_eq!(run(None, &[&sample(name)]), expected, "{name}");
    }
    for name in ["reviews.jsonl"].iter().chain(&forms) {
        assert_eq!(run(Some(&sample(name)), &["-"]), expected, "{name} piped");
    }
    // Several inputs are read in the given order, whatever their format.
    let twice = run(None, &[&sample("reviews.tsv"), &sample("reviews.jsonl")]);
    assert_eq!(twice, [&expected[..], &expected].concat());
}

#[test]
fn patterns_are_expanded_in_order_and_rows_are_numbered_across_files() {
    let bench = Bench::new();
    bench.write("data/b.csv", "text\nthird\nfourth\n");
    bench.write("data/a.csv", "text\nfirst\nsecond\n");
    bench.write("data/c [x].csv", "text\nfifth\n");
    let found = tiny_rows(
        &bench,
        &[
            "data/*.csv",
            "data/c [x].csv",
            "--text-column",
            "text",
            "--keep-columns",
            "text",
        ],
    );
    let texts: Vec<_> = found
        .iter()
        .map(|row| row["text"].as_str().unwrap())
        .collect();
    assert_eq!(
        texts,
        ["first", "second", "third", "fourth", "fifth", "fifth"]
    );
    let numbers: Vec<_> = found
        .iter()
        .map(|row| row["id"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, [0, 1, 2, 3, 4, 5]);
}

#[test]
fn every_output_holds_the_same_rows() {
    let bench = Bench::new();
    bench.write("in.jsonl", jsonl(130));
    let options = [
        "in.jsonl",
        "--scores",
        "--keep-columns",
        "stars",
        "--batch-size",
        "40",
    ];
    let expected = tiny_rows(&bench, &options);
    assert_eq!(expected.len(), 130);
    assert!(expected[0]["stars"].is_u64());
    assert_eq!(
        expected[0].as_object().unwrap().len(),
        6,
        "id, label, score, two scores, stars: {}",
        expected[0]
    );
    for row in &expected {
        let [a, b] = ["score_label A", "score_label B"].map(|name| row[name].as_f64().unwrap());
        assert!((a + b - 1.0).abs() < 1e-5, "{row}");
        let label = if a >= b { "label A" } else { "label B" };
        assert_eq!(row["label"], label, "{row}");
        assert_eq!(row["score"].as_f64(), Some(a.max(b)), "{row}");
    }
    let texts: Vec<_> = expected.iter().map(as_text).collect();
    let write = |output: &str, extra: &[&str]| {
        let found = summary(&bench, &[&options[..], &["-o", output], extra].concat());
        assert_eq!(found["results"], 130, "{output}");
        assert_eq!(found["batches"], 4, "{output}");
    };

    write("out.jsonl", &[]);
    let lines: Vec<Value> = bench
        .text("out.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines, expected);

    write("out.csv", &[]);
    assert!(
        bench
            .text("out.csv")
            .starts_with("id,label,score,score_label A,score_label B,stars\n")
    );
    assert_eq!(csv_rows(&bench.read("out.csv")), texts);

    // Scores have single precision, so they are compared as `f32`.
    let single = |row: &Value| {
        let mut row = row.clone();
        for (name, value) in row.as_object_mut().unwrap() {
            if name.starts_with("score") {
                *value = json!(value.as_f64().unwrap() as f32);
            }
        }
        row
    };
    let singles: Vec<_> = expected.iter().map(single).collect();
    write("out.parquet", &[]);
    assert_eq!(parquet_rows(&bench.path("out.parquet")), singles);

    let parts = |folder: &str| {
        let mut paths: Vec<_> = std::fs::read_dir(bench.path(folder))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        paths.sort();
        assert_eq!(paths.len(), 4, "{folder}");
        paths
    };
    write("folder/", &["--format", "parquet"]);
    let found: Vec<_> = parts("folder")
        .iter()
        .flat_map(|path| parquet_rows(path))
        .collect();
    assert_eq!(found, singles);
    write("csvs/", &["--format", "csv"]);
    let found: Vec<_> = parts("csvs")
        .iter()
        .flat_map(|path| csv_rows(&std::fs::read(path).unwrap()))
        .collect();
    assert_eq!(found, texts);
    // An output folder of an earlier run is replaced completely.
    write("csvs/", &["--format", "jsonl"]);
    assert!(
        parts("csvs")
            .iter()
            .all(|path| path.extension().unwrap() == "jsonl")
    );
}

#[test]
fn kept_columns_keep_their_types_in_parquet() {
    let bench = Bench::new();
    let lines = [
        json!({"id": 7, "text": "a", "int": 1, "float": 1.5, "bool": true, "mixed": 1, "label": "x"}),
        json!({"id": 8, "text": "b", "int": null, "float": 2, "bool": false, "mixed": "two", "label": "y"}),
        json!({"id": 9, "text": "c", "int": -3, "float": -0.25, "bool": null, "mixed": [3], "label": null}),
    ];
    bench.write(
        "in.jsonl",
        lines.map(|line| line.to_string() + "\n").concat(),
    );
    let keep = "int,float,bool,mixed,label";
    let check = |input: &str, output: &str, keep: &str, label: &str| {
        summary(
            &bench,
            &[
                input,
                "-o",
                output,
                "--text-column",
                "text",
                "--keep-columns",
                keep,
            ],
        );
        let found = parquet_rows(&bench.path(output));
        for (index, (int, float, bool, mixed, gold)) in [
            (json!(1), 1.5, json!(true), "1", json!("x")),
            (Value::Null, 2.0, json!(false), "two", json!("y")),
            (json!(-3), -0.25, Value::Null, "[3]", Value::Null),
        ]
        .into_iter()
        .enumerate()
        {
            let row = &found[index];
            assert_eq!(row["id"], json!(7 + index), "{row}");
            assert_eq!(row["int"], int, "{row}");
            assert_eq!(row["float"], json!(float), "{row}");
            assert_eq!(row["bool"], bool, "{row}");
            assert_eq!(row["mixed"], json!(mixed), "{row}");
            assert_eq!(row[label], gold, "{row}");
        }
    };
    check(
        "in.jsonl",
        "out.parquet",
        &format!("{keep},text"),
        "input_label",
    );
    // The output can be read as an input, with the same types.
    check(
        "out.parquet",
        "again.parquet",
        "int,float,bool,mixed,input_label",
        "input_label",
    );

    // Another file with only nulls does not change a type; one with other values does.
    bench.write("nulls.jsonl", "{\"id\":10,\"text\":\"d\",\"int\":null}\n");
    bench.write(
        "words.jsonl",
        "{\"id\":11,\"text\":\"e\",\"int\":\"many\"}\n",
    );
    let args = [
        "-o",
        "types.parquet",
        "--text-column",
        "text",
        "--keep-columns",
        "int",
    ];
    for (inputs, expected) in [
        (&["in.jsonl", "nulls.jsonl"][..], json!([1, null, -3, null])),
        (
            &["in.jsonl", "words.jsonl", "nulls.jsonl"],
            json!(["1", null, "-3", "many", null]),
        ),
    ] {
        summary(&bench, &[inputs, &args].concat());
        let ints: Vec<_> = parquet_rows(&bench.path("types.parquet"))
            .iter()
            .map(|row| row["int"].clone())
            .collect();
        assert_eq!(Value::from(ints), expected, "{inputs:?}");
    }

    // Columns of the sample have types in Parquet, and none in CSV.
    let args = ["--text-column", "text", "--keep-columns", "stars"];
    for (name, is_int) in [("reviews.parquet", true), ("reviews.csv", false)] {
        summary(
            &bench,
            &[&[&sample(name), "-o", "stars.parquet"], &args[..]].concat(),
        );
        let found = parquet_rows(&bench.path("stars.parquet"));
        assert_eq!(found.len(), 200, "{name}");
        assert!(
            found
                .iter()
                .all(|row| row["stars"].is_i64() == is_int && row["stars"].is_string() != is_int),
            "{name}"
        );
    }
}

#[test]
fn the_id_is_the_named_column_or_id_or_the_row_number() {
    let bench = Bench::new();
    bench.write("in.csv", "id,key,text\n1,a,x\n,b,y\n");
    let id = |args: &[&str]| -> Vec<Value> {
        let args = [&["in.csv", "--text-column", "text"], args].concat();
        let rows = tiny_rows(&bench, &args);
        rows.iter().map(|row| row["id"].clone()).collect()
    };
    assert_eq!(id(&[]), [json!("1"), Value::Null]);
    assert_eq!(id(&["--id-column", "key"]), [json!("a"), json!("b")]);
    bench.write("in.csv", "key,text\na,x\nb,y\n");
    assert_eq!(id(&[]), [json!(0), json!(1)]);
}

#[test]
fn accuracy_and_a_confusion_table_are_computed_from_gold_labels() {
    let bench = Bench::new();
    // Of every three records, the first has the predicted label as its gold label, the second the other label, and the
    // third none.
    bench.write("in.jsonl", jsonl(30));
    let mut gold = String::new();
    let predicted = tiny_rows(&bench, &["in.jsonl"]);
    let mut expected = BTreeMap::<(String, String), u64>::new();
    for (index, (row, line)) in std::iter::zip(&predicted, jsonl(30).lines()).enumerate() {
        let label = row["label"].as_str().unwrap();
        let other = if label == "label A" {
            "label B"
        } else {
            "label A"
        };
        let mut record: Value = serde_json::from_str(line).unwrap();
        record["gold"] = match index % 3 {
            // Label names are compared case-insensitively, and a number is the index of a label.
            0 if label == "label A" => json!(0),
            0 => json!("LABEL b"),
            1 => json!(other),
            _ => Value::Null,
        };
        let key = match index % 3 {
            0 => label,
            1 => other,
            _ => "",
        };
        if !key.is_empty() {
            *expected.entry((key.into(), label.into())).or_default() += 1;
        }
        gold += &format!("{record}\n");
    }
    bench.write("gold.jsonl", gold);
    let args = ["gold.jsonl", "-o", "out.csv", "--text-column", "text"];
    let found = summary(
        &bench,
        &[&args[..], &["--label-column", "gold", "--batch-size", "7"]].concat(),
    );
    let accuracy = &found["accuracy"];
    assert_eq!(accuracy["right"], 10, "{accuracy}");
    assert_eq!(accuracy["of"], 20, "{accuracy}");
    assert_eq!(accuracy["share"], 0.5, "{accuracy}");
    for ((gold, label), count) in expected {
        assert_eq!(accuracy["confusion"][&gold][&label], count, "{accuracy}");
    }
    let found = summary(&bench, &[&args[..], &["--fresh"]].concat());
    assert_eq!(found["accuracy"], Value::Null);
}

#[test]
fn truncated_texts_are_counted() {
    let bench = Bench::new();
    // Each letter is one token, and there are two special tokens.
    let lines: String = (1..=20)
        .map(|length| format!("{{\"text\":\"{}\"}}\n", vec!["a"; length].join(" ")))
        .collect();
    bench.write("in.jsonl", lines);
    let count = |max: &str| {
        let found = summary(
            &bench,
            &["in.jsonl", "-o", "out.csv", "--fresh", "--max-tokens", max],
        );
        ["truncated", "tokens", "max_tokens"].map(|key| found[key].as_u64().unwrap())
    };
    assert_eq!(count("64"), [0, (1..=20).sum::<u64>() + 40, 64]);
    // Texts of 1 to 8 letters fit.
    assert_eq!(count("10"), [12, (1..=8).sum::<u64>() + 16 + 12 * 10, 10]);
}

#[test]
fn several_labels_are_joined() {
    let bench = Bench::new();
    bench.write("in.jsonl", jsonl(40));
    let model = multi_label_model();
    let run = |extra: &[&str]| {
        rows(
            &bench,
            &[&["in.jsonl", "--model", &model, "--scores"], extra].concat(),
        )
    };
    for (threshold, extra) in [
        (0.5, &[][..]),
        (0.45, &["--threshold", "0.45"]),
        (0.0, &["--threshold", "0"]),
        (1.0, &["--threshold", "1"]),
    ] {
        for row in run(extra) {
            let scores = "ABCDEFG".chars().map(|letter| {
                let label = format!("label {letter}");
                let score = row[format!("score_{label}")].as_f64().unwrap();
                (label, score)
            });
            let highest = scores.clone().map(|(_, score)| score).fold(0.0, f64::max);
            let labels: Vec<_> = scores
                .filter(|(_, score)| *score >= threshold)
                .map(|(label, _)| label)
                .collect();
            assert_eq!(row["label"], labels.join(";"), "at {threshold}: {row}");
            assert_eq!(row["score"], highest, "{row}");
        }
    }
    let seen: Vec<_> = run(&[])
        .iter()
        .map(|row| row["label"].as_str().unwrap().matches(';').count())
        .collect();
    assert!(seen.iter().any(|count| *count > 0), "{seen:?}");
}
