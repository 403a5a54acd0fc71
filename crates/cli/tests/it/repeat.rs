//! The command that a report gives to repeat its run: run by a shell from another folder, it writes the same bytes.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::{Bench, describe, repository, summary, tiny_model};
use crate::worker_http::{LISTEN, Worker};

/// A bench with an input in several formats, the tiny model, and a packed copy of it.
fn bench() -> Bench {
    let bench = Bench::new();
    let (mut csv, mut tsv) = (String::new(), String::new());
    for (separator, text) in [(',', &mut csv), ('\t', &mut tsv)] {
        text.push_str(&["key", "review", "gold", "it's a $col"].join(&separator.to_string()));
        text.push('\n');
        for row in 0..23 {
            let words = ["good", "bad", "film"][row % 3].repeat(row % 5 + 1);
            let gold = if row % 2 == 0 { "label A" } else { "label B" };
            let row = [&format!("k{row}"), &words, gold, &row.to_string()].map(String::from);
            text.push_str(&row.join(&separator.to_string()));
            text.push('\n');
        }
    }
    bench.write("in/some reviews.csv", &csv);
    bench.write("in/reviews.txt", &tsv);
    bench.write("elsewhere/x", "");
    bench
}

/// Output files and their content, of a file or a folder.
fn content(path: &Path) -> Vec<(String, Vec<u8>)> {
    if path.is_file() {
        return vec![(String::new(), std::fs::read(path).unwrap())];
    }
    let mut files: Vec<_> = std::fs::read_dir(path)
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()))
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, std::fs::read(entry.path()).unwrap())
        })
        .collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

/// Runs the arguments, then the command of the report, and compares the output with that of the first run.
fn check(bench: &Bench, arguments: &[&str], output: &str) {
    check_with(bench, Vec::new(), arguments, output);
}

/// The same with further variables.
fn check_with(bench: &Bench, variables: Vec<(&str, String)>, arguments: &[&str], output: &str) {
    let shoal = |arguments: &[&str]| {
        let mut command = bench.shoal(arguments);
        command.envs(variables.clone());
        command
    };
    let mut run = shoal(&["run"]);
    run.args(arguments)
        .args(["--json", "--quiet", "-o", output]);
    let run = run.output().unwrap();
    assert!(run.status.success(), "{arguments:?}: {}", describe(&run));
    let told: Value = serde_json::from_slice(&run.stdout).unwrap();
    let name = told["run_dir"].as_str().unwrap();
    let report = shoal(&["report", name, "--format", "json"]);
    let report: Value = summary(report);
    let command = report["command"].as_str().unwrap().to_owned();
    let page = shoal(&["report", name, "-o", "-"]).output().unwrap().stdout;
    let page = String::from_utf8(page).unwrap();
    let escaped = command.replace('&', "&amp;").replace('\'', "&#39;");
    assert!(
        page.contains(&command) || page.contains(&escaped),
        "{command} is not on the page"
    );

    let path = bench.path(output);
    let first = content(&path);
    if path.is_dir() {
        std::fs::remove_dir_all(&path).unwrap();
    } else {
        std::fs::remove_file(&path).unwrap();
    }
    let mut shell = shoal(&[]);
    let environment: Vec<_> = shell
        .get_envs()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
        .collect();
    let program = Path::new(shell.get_program()).parent().unwrap().to_owned();
    shell = Command::new("sh");
    let paths = std::env::join_paths(
        std::iter::once(program).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    let repeated = shell
        .args(["-c", &command])
        .env_clear()
        .envs(environment)
        .env("PATH", paths.unwrap())
        .current_dir(bench.path("elsewhere"))
        .output()
        .unwrap();
    assert!(
        repeated.status.success(),
        "{command}: {}",
        describe(&repeated)
    );
    assert!(content(&path) == first, "{command} writes something else");
}

#[test]
fn the_command_of_a_report_repeats_its_run() {
    let bench = bench();
    let model = tiny_model().display().to_string();
    let csv = ["in/some reviews.csv", "--model", &model];
    let columns = [
        "--text-column",
        "review",
        "--id-column",
        "key",
        "--label-column",
        "gold",
        "--keep-columns",
        "gold,it's a $col",
    ];
    let with = |more: &[&'static str]| [&csv[..], &columns, more].concat();
    check(&bench, &with(&[]), "plain.csv");
    check(&bench, &with(&["--format", "parquet"]), "out/");
    check(
        &bench,
        &with(&["--scores", "--precision", "f32", "--isa", "portable"]),
        "scores.jsonl",
    );
    check(
        &bench,
        &with(&[
            "--batch-size",
            "4",
            "--concurrency",
            "3",
            "--max-tokens",
            "8",
            "--backend",
            "process",
            "--machine",
            "desk=0.1:2",
            "--max-cost",
            "9",
            "--run-dir",
            "my run",
            "--cache-dir",
            "cache",
            "--max-time",
            "1h",
            "--speculation-budget",
            "0",
            "--on-error",
            "skip",
        ]),
        "process.csv",
    );
    let tsv = ["in/reviews.txt", "--input-format", "tsv", "--model", &model];
    check(&bench, &[&tsv[..], &columns].concat(), "of_tsv.csv");
    check(&bench, &with(&["--auto"]), "auto.csv");
    // Options of the file count as flags do.
    bench.write("shoal.toml", "batch-size = 5\nscores = true\n");
    check(&bench, &with(&[]), "file.csv");
}

#[test]
fn a_multi_label_run_is_repeated_with_its_threshold() {
    let bench = bench();
    let model = repository("crates/encoder/tests/fixtures/bert-cased-multi");
    let arguments = [
        "in/some reviews.csv",
        "--text-column",
        "review",
        "--model",
        model.to_str().unwrap(),
        "--threshold",
        "0.3",
    ];
    check(&bench, &arguments, "labels.csv");
}

#[test]
fn a_run_on_http_workers_is_repeated_on_them() {
    let bench = bench();
    let model = tiny_model().display().to_string();
    let worker = Worker::start(&mut bench.shoal(LISTEN));
    let arguments = [
        "in/some reviews.csv",
        "--text-column",
        "review",
        "--model",
        &model,
        "--backend",
        "http",
        "--url",
        &worker.url,
        "--timeout",
        "60",
        "--batch-size",
        "5",
    ];
    check(&bench, &arguments, "labels.csv");
}

#[test]
fn a_run_in_an_object_store_is_repeated_there() {
    let bench = bench();
    let model = tiny_model().display().to_string();
    let cloud = shoal_testing::Ministack::start();
    cloud.python("import boto3; boto3.client('s3').create_bucket(Bucket='lake')");
    let arguments = [
        "in/some reviews.csv",
        "--text-column",
        "review",
        "--model",
        &model,
        "--store",
        "s3://lake/shoal",
    ];
    let variables = cloud.variables().into_iter().collect();
    check_with(&bench, variables, &arguments, "labels.csv");
}
