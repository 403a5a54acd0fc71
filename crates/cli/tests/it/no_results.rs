//! Runs in which no record has a result.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::support::{Bench, describe, jsonl, tiny};

/// The exit code.
const NO_RESULTS: i32 = 10;

fn run<'a>(input: &'a str, options: &[&'a str]) -> Vec<&'a str> {
    let args = [
        "run",
        input,
        "-o",
        "out.csv",
        "--run-dir",
        "run",
        "--model",
        tiny(),
        "--text-column",
        "text",
    ];
    args.iter().chain(options).copied().collect()
}

#[test]
fn a_run_without_results_keeps_its_files_and_fails() {
    let bench = Bench::new();
    bench.write("latin.csv", b"id,text\na,Tr\xe8s\nb,\xe9t\xe9\n");
    bench.write("comma.csv", "id,text\na,x,\nb,y,\n");
    bench.write(
        "list.jsonl",
        "{\"id\":1,\"text\":[\"x\"]}\n{\"id\":2,\"text\":[\"y\"]}\n",
    );
    for (input, hint) in [
        ("latin.csv", "--encoding"),
        ("comma.csv", "--delimiter"),
        ("list.jsonl", "--text-column"),
    ] {
        let output = bench
            .shoal(run(input, &["--fresh", "--json"]))
            .output()
            .unwrap();
        let shown = describe(&output);
        assert_eq!(output.status.code(), Some(NO_RESULTS), "{shown}");
        let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
        let counts = ["records", "results", "failed"].map(|name| summary[name].clone());
        assert_eq!(counts, [2, 0, 2].map(Value::from));
        assert!(
            shown.contains("none of the 2 records has a result"),
            "{shown}"
        );
        assert!(
            shown.contains(hint) && shown.contains("failed.jsonl"),
            "{shown}"
        );
        assert!(!shown.contains("--on-error skip"), "{shown}");
        assert_eq!(bench.text("out.csv"), "id,label,score\n");
        assert_eq!(bench.text("run/failed.jsonl").lines().count(), 2);
        // The commands that finish the run again say it again.
        for command in ["resume", "collect"] {
            std::fs::remove_file(bench.path("out.csv")).unwrap();
            let message = bench.fails(NO_RESULTS, [command, "run"]);
            assert!(
                message.contains("none of the 2 records has a result"),
                "{message}"
            );
            assert_eq!(bench.text("out.csv"), "id,label,score\n");
        }
        bench.fails(NO_RESULTS, run(input, &[]));
        bench.fails(NO_RESULTS, run(input, &["--fresh", "--on-error", "skip"]));
        bench.fails(NO_RESULTS, run(input, &["--fresh", "--on-error", "keep"]));
        assert_eq!(bench.text("out.csv").lines().count(), 3);
    }
}

#[test]
fn one_result_is_enough() {
    let bench = Bench::new();
    bench.write(
        "in.jsonl",
        "{\"id\":1}\n{\"id\":2}\n{\"id\":3,\"text\":\"x\"}\n",
    );
    bench.ok(run("in.jsonl", &[]));
    bench.write("in.csv", "id,text\n");
    bench.ok(run("in.csv", &["--fresh"]));
}

/// `bad` records without a text, then `good` ones.
fn mixed(bad: usize, good: usize) -> String {
    let mut text = String::new();
    for id in 0..bad {
        writeln!(text, "{}", json!({ "id": id })).unwrap();
    }
    text + &jsonl(good)
}

#[test]
fn a_run_stops_if_none_of_its_first_records_has_a_result() {
    let bench = Bench::new();
    bench.write("in.jsonl", mixed(1000, 1500));
    // The same for every batch size, concurrency and backend: the first 1,000 records decide.
    for options in [
        &["--batch-size", "50"][..],
        &["--batch-size", "1000", "--concurrency", "1"],
        &["--batch-size", "40", "--backend", "process"],
    ] {
        let options = [options, &["--fresh"]].concat();
        let message = bench.fails(NO_RESULTS, run("in.jsonl", &options));
        assert!(
            message.contains("stopped: none of the first 1,000 records has a result"),
            "{message}"
        );
        assert!(
            message.contains("`shoal resume run --on-error skip`"),
            "{message}"
        );
        assert!(!bench.path("out.csv").exists());
        let letters = bench.text("run/failed.jsonl");
        assert!(letters.lines().count() >= 1000);
    }
    // It stops again.
    bench.fails(NO_RESULTS, ["resume", "run"]);
    assert!(!bench.path("out.csv").exists());
    bench.ok(["resume", "run", "--on-error", "skip"]);
    assert_eq!(bench.text("out.csv").lines().count(), 1501);
    assert_eq!(bench.text("run/failed.jsonl").lines().count(), 1000);
    let resumed = bench.text("out.csv");
    bench.ok(run("in.jsonl", &["--fresh", "--on-error", "skip"]));
    assert_eq!(bench.text("out.csv"), resumed);
    bench.write("in.jsonl", mixed(999, 1500));
    bench.ok(run("in.jsonl", &["--fresh"]));
}

#[test]
fn the_first_records_may_be_in_several_windows() {
    let bench = Bench::new();
    bench.write("in.jsonl", mixed(1000, 500));
    let windows = [
        "--batches-at-once",
        "64",
        "--concurrency",
        "1",
        "--batch-size",
        "5",
        "--fresh",
    ];
    let message = bench.fails(NO_RESULTS, run("in.jsonl", &windows));
    assert!(
        message.contains("stopped: none of the first 1,000"),
        "{message}"
    );
    bench.write("in.jsonl", mixed(1, 1) + &mixed(1000, 500));
    bench.ok(run("in.jsonl", &windows));
}

#[test]
fn a_run_that_stopped_does_not_block_one_with_other_options() {
    let bench = Bench::new();
    let mut input = String::new();
    for id in 0..1500 {
        writeln!(input, "{}", json!({ "id": id, "text": id, "body": "fine" })).unwrap();
    }
    bench.write("in.jsonl", input);
    let run = |column: &'static str| {
        [
            "run",
            "in.jsonl",
            "-o",
            "out.csv",
            "--model",
            tiny(),
            "--text-column",
            column,
        ]
    };
    let message = bench.fails(NO_RESULTS, run("text"));
    assert!(
        message.contains("not a string but a number") && message.contains("--text-column"),
        "{message}"
    );
    bench.ok(run("body"));
    assert_eq!(bench.text("out.csv").lines().count(), 1501);
}

#[test]
fn an_array_worker_that_completes_such_a_run_fails() {
    let bench = Bench::new();
    bench.write("in.jsonl", "{\"text\":null}\n".repeat(8));
    bench.ok(run(
        "in.jsonl",
        &["--backend", "array", "--detach", "--batch-size", "2"],
    ));
    let worker = |index: &'static str| ["worker", "--run", "run", "--of", "2", "--index", index];
    // The other share may have results.
    bench.ok(worker("1"));
    let message = bench.fails(NO_RESULTS, worker("0"));
    assert!(
        message.contains("none of the 8 records has a result"),
        "{message}"
    );
    assert_eq!(bench.text("run/failed.jsonl").lines().count(), 8);
}

#[test]
fn data_reaches_no_terminal_unescaped() {
    let bench = Bench::new();
    let hostile = "\u{1b}]0;x\u{7}\u{9b}31m\u{202e}";
    bench.write(
        "in.jsonl",
        format!(
            "{}\n{}\n",
            json!({ "id": hostile }),
            json!({ "id": 2, "text": "x", "label": hostile })
        ),
    );
    let is_clean = |text: &[u8]| {
        let text = String::from_utf8(text.to_vec()).unwrap();
        let hostile = ['\u{1b}', '\u{7}', '\u{9b}', '\u{202e}'];
        assert!(!text.contains(hostile), "{text:?}");
        text
    };
    let options = ["--label-column", "label", "--fresh"];
    let text = is_clean(&bench.ok(run("in.jsonl", &options)).stderr);
    assert!(
        text.contains("gold label that the model does not have"),
        "{text}"
    );
    let json = bench.ok(run(
        "in.jsonl",
        &[&options[..], &["--json", "--quiet"]].concat(),
    ));
    let summary: Value = serde_json::from_str(&is_clean(&json.stdout)).unwrap();
    assert_eq!(summary["unknown_labels"]["examples"][0][0], hostile);
    let failed = bench.fails(7, run("in.jsonl", &["--fresh", "--on-error", "fail"]));
    assert!(
        is_clean(failed.as_bytes()).contains("the text is missing"),
        "{failed}"
    );
    for command in [&["status", "run"][..], &["report", "run", "-o", "-"]] {
        is_clean(&bench.ok(command).stdout);
    }
}
