//! The task `embed` computes the same vectors as sentence-transformers.

use serde_json::Value;

use crate::support::{Bench, repository};

const MODELS: &str = "crates/encoder/tests/fixtures/embedding";

fn model(name: &str) -> String {
    repository(MODELS).join(name).to_str().unwrap().to_owned()
}

/// Writes the texts of the reference as JSON Lines. Returns the reference.
fn texts(bench: &Bench) -> Value {
    let reference = std::fs::read(repository(MODELS).join("expected.json")).unwrap();
    let reference: Value = serde_json::from_slice(&reference).unwrap();
    let texts = reference["texts"].as_array().unwrap();
    let lines = texts.iter().enumerate();
    let lines =
        lines.map(|(id, text)| format!("{}\n", serde_json::json!({"id": id, "text": text})));
    bench.write("texts.jsonl", lines.collect::<String>());
    reference
}

fn vectors(output: &str) -> Vec<Vec<f64>> {
    let rows = output
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    rows.map(|row| {
        let vector = row["embedding"].as_array().unwrap();
        vector.iter().map(|value| value.as_f64().unwrap()).collect()
    })
    .collect()
}

/// Compares every call of the reference, with prompts, dimensions and normalization as options of the command.
#[test]
fn embeddings_equal_those_of_sentence_transformers() {
    let bench = Bench::new();
    let reference = texts(&bench);
    let cases = [
        "mean-normalize-saved",
        "dense-tanh-saved",
        "prompts-default-old",
        "truncate-saved",
    ];
    let mut compared = 0;
    for case in reference["cases"].as_array().unwrap() {
        let name = case["model"].as_str().unwrap();
        if !cases.contains(&name) {
            continue;
        }
        for call in case["calls"].as_array().unwrap() {
            let model = model(name);
            let mut args: Vec<String> = ["run", "texts.jsonl", "-o", "out.jsonl", "--fresh"]
                .map(String::from)
                .into();
            args.extend(["--precision", "f32", "--model", &model].map(String::from));
            if call["normalize_embeddings"] == true {
                args.push("--normalize".into());
            }
            if let Some(dimensions) = call["truncate_dim"].as_u64() {
                args.push(format!("--dimensions={dimensions}"));
            }
            for (key, option) in [("prompt_name", "--prompt-name"), ("prompt", "--prompt")] {
                if let Some(value) = call[key].as_str() {
                    args.push(format!("{option}={value}"));
                }
            }
            bench.ok(&args);
            let found = vectors(&bench.text("out.jsonl"));
            for record in call["records"].as_array().unwrap() {
                let row = record["text"].as_u64().unwrap() as usize;
                let expected = record["embedding"].as_array().unwrap();
                assert_eq!(found[row].len(), expected.len(), "{args:?}");
                for (found, expected) in found[row].iter().zip(expected) {
                    let expected = expected.as_f64().unwrap();
                    assert!(
                        (found - expected).abs() <= 1e-5,
                        "{args:?}: {found} {expected}"
                    );
                }
                compared += 1;
            }
        }
    }
    assert!(compared > 60, "{compared}");
}

#[test]
fn embeddings_are_bit_identical_for_every_batch_size() {
    let bench = Bench::new();
    texts(&bench);
    let lines = bench.text("texts.jsonl").repeat(8);
    bench.write("in.jsonl", &lines);
    let mut reversed: Vec<_> = lines.lines().rev().collect();
    reversed.push("");
    bench.write("reversed.jsonl", reversed.join("\n"));
    for name in ["cls-old", "all-old"] {
        let model = model(name);
        for precision in ["f32", "int8"] {
            let run = |input: &str, output: &str, batch_size: &str, concurrency: &str| {
                bench.ok([
                    "run",
                    input,
                    "-o",
                    output,
                    "--fresh",
                    "--model",
                    &model,
                    "--precision",
                    precision,
                    "--batch-size",
                    batch_size,
                    "--concurrency",
                    concurrency,
                ]);
            };
            for format in ["jsonl", "parquet", "arrow"] {
                run("in.jsonl", &format!("expected.{format}"), "1000", "1");
                for (batch_size, concurrency) in [("1", "2"), ("7", "2"), ("50", "1")] {
                    let output = format!("out.{format}");
                    run("in.jsonl", &output, batch_size, concurrency);
                    let expected = bench.read(&format!("expected.{format}"));
                    assert!(
                        bench.read(&output) == expected,
                        "{name} {precision} {format} {batch_size}"
                    );
                }
            }
            run("reversed.jsonl", "reversed-out.jsonl", "9", "2");
            let mut reversed = vectors(&bench.text("reversed-out.jsonl"));
            reversed.reverse();
            assert!(
                reversed == vectors(&bench.text("expected.jsonl")),
                "{name} {precision}"
            );
        }
    }
}

#[test]
fn options_of_other_tasks_are_refused() {
    let bench = Bench::new();
    texts(&bench);
    let (embeds, labels) = (model("cls-old"), "bundled");
    let fails = |model: &str, more: &[&str], words: &[&str]| {
        let args = [&["run", "texts.jsonl", "--model", model][..], more].concat();
        let message = bench.fails(2, args);
        for word in words {
            assert!(message.contains(word), "{word:?} is not in: {message}");
        }
    };
    // CSV has one value per field, so it cannot contain vectors.
    fails(
        &embeds,
        &["-o", "out.csv"],
        &["embedding", "jsonl", "parquet", "arrow"],
    );
    let out = ["-o", "out.jsonl"];
    let with = |more: &[&'static str]| [&out[..], more].concat();
    fails(&embeds, &with(&["--scores"]), &["scores", "embed"]);
    fails(
        &embeds,
        &with(&["--label-column", "id"]),
        &["label", "text"],
    );
    fails(&embeds, &with(&["--prompt-name", "nope"]), &["nope"]);
    fails(
        labels,
        &with(&["--dimensions", "8"]),
        &["dimensions", "classify"],
    );
    fails(
        labels,
        &with(&["--task", "translation"]),
        &["classify", "embed"],
    );
    // The names of Hugging Face pipelines are accepted.
    let args = [
        "run",
        "texts.jsonl",
        "-o",
        "out.jsonl",
        "--task",
        "feature-extraction",
        "--model",
    ];
    bench.ok([&args[..], &[&embeds]].concat());
}
