//! A record's label and score are bit-identical for every batch size, concurrency and order.

use std::collections::BTreeMap;
use std::path::Path;

use crate::support::{Bench, Random, jsonl, repository, tiny_model};

/// The row of each record, by id.
fn results(bench: &Bench, input: &Path, args: &[&str]) -> BTreeMap<String, String> {
    let input = input.to_str().unwrap();
    let output = bench.ok(["run", input, "-o", "-", "--fresh", "--scores", "--quiet"]
        .iter()
        .chain(args));
    let lines = String::from_utf8(output.stdout).unwrap();
    let by_id: BTreeMap<_, _> = lines
        .lines()
        .map(|line| {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            (row["id"].as_str().unwrap().to_owned(), line.to_owned())
        })
        .collect();
    assert_eq!(by_id.len(), lines.lines().count(), "an id occurs twice");
    by_id
}

/// Compares every batch size and concurrency, and a shuffled input, with a single batch.
fn check(bench: &Bench, input: &str, model: Option<&Path>, batch_sizes: &[&str], engine: &[&str]) {
    let path = bench.write("input.jsonl", input);
    let model = model.map(|model| model.to_str().unwrap());
    let model: Vec<_> = model.iter().flat_map(|model| ["--model", model]).collect();
    let run = |path: &Path, batch_size: &str, concurrency: &str| {
        let cut = ["--batch-size", batch_size, "--concurrency", concurrency];
        results(bench, path, &[&model[..], &cut, engine].concat())
    };
    let expected = run(&path, "1000000", "1");
    assert_eq!(expected.len(), input.lines().count());
    for batch_size in batch_sizes {
        for concurrency in ["1", "2"] {
            let found = run(&path, batch_size, concurrency);
            assert_eq!(
                found, expected,
                "batches of {batch_size}, {concurrency} at a time"
            );
        }
    }
    let mut lines: Vec<_> = input.lines().collect();
    let mut random = Random::new(1);
    for index in (1..lines.len()).rev() {
        lines.swap(index, random.below(index + 1));
    }
    let shuffled = bench.write("shuffled.jsonl", lines.join("\n"));
    assert_eq!(run(&shuffled, batch_sizes[0], "2"), expected, "shuffled");
}

#[test]
fn the_bundled_model_gives_the_same_results_at_every_batch_size() {
    let sample = std::fs::read_to_string(repository("examples/reviews.jsonl")).unwrap();
    check(&Bench::new(), &sample, None, &["7", "1"], &[]);
}

#[test]
fn a_small_model_gives_the_same_results_at_every_batch_size() {
    let model = tiny_model();
    for precision in ["int8", "f32"] {
        check(
            &Bench::new(),
            &jsonl(1000),
            Some(&model),
            &["7", "1", "50", "333"],
            &["--precision", precision],
        );
    }
}
