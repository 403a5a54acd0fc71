//! The help of every command equals the files in `tests/it/help`, on a screen of 80 columns.
//!
//! `SHOAL_GOLDEN_WRITE=1` writes the files instead. Read the difference then.

use std::path::Path;

use crate::errors::USAGE;
use crate::support::{Bench, repository};

/// What `shoal ARGUMENTS` prints.
fn printed(bench: &Bench, arguments: &[&str]) -> String {
    let mut command = bench.shoal(arguments);
    let output = command.env("COLUMNS", "80").output().unwrap();
    assert!(output.status.success(), "{arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The names of the subcommands in a help.
fn subcommands(help: &str) -> Vec<String> {
    let list = help.split_once("\nCommands:\n").map(|(_, list)| list);
    let lines = list.unwrap_or_default().lines();
    // Lines that continue a description are indented further.
    let names = lines
        .take_while(|line| !line.is_empty())
        .filter_map(|line| {
            let line = line.strip_prefix("  ")?;
            line.split(' ').next().filter(|name| !name.is_empty())
        });
    names
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

/// Compares the help of a command and of its subcommands with their files.
fn check(bench: &Bench, words: &[&str], folder: &Path) {
    let short = printed(bench, &[words, &["-h"]].concat());
    let long = printed(bench, &[words, &["--help"]].concat());
    let name = [&["shoal"], words].concat().join("-");
    let shown = [&["shoal"], words].concat().join(" ");
    let found = format!("$ {shown} -h\n{short}\n$ {shown} --help\n{long}");
    let path = folder.join(format!("{name}.txt"));
    if std::env::var_os("SHOAL_GOLDEN_WRITE").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "{} differs: {found}", path.display());
    for one in subcommands(&short) {
        check(bench, &[words, &[one.as_str()]].concat(), folder);
    }
}

#[cfg(all(feature = "aws", feature = "otel"))]
#[test]
fn the_help_is_as_written() {
    let folder = repository("crates/cli/tests/it/help");
    check(&Bench::new(), &[], &folder);
}

#[test]
fn a_file_in_place_of_a_command_is_processed_by_run() {
    let bench = Bench::new();
    bench.write("data", "text\nx\n");
    let tip = |words: &[&str]| {
        let message = bench.fails(USAGE, words);
        let tip = message.split_once("to process it: ");
        let tip = tip.map(|(_, tip)| tip.lines().next().unwrap().to_owned());
        tip.unwrap_or_else(|| panic!("{message}"))
    };
    for (words, command) in [
        (&["reviews.csv"][..], "shoal run reviews.csv -o labels.csv"),
        (&["data", "-o", "out.csv"], "shoal run data -o out.csv"),
        (
            &["s3://b/*.jsonl", "--output=o.csv"],
            "shoal run 's3://b/*.jsonl' --output=o.csv",
        ),
        (
            &["my reviews.csv"],
            "shoal run 'my reviews.csv' -o labels.csv",
        ),
    ] {
        assert_eq!(tip(words), command);
    }
    let message = bench.fails(USAGE, ["rum"]);
    assert!(
        message.contains("'run'") && !message.contains("process it"),
        "{message}"
    );
}

#[test]
fn an_error_about_a_value_says_what_a_valid_one_is() {
    let bench = Bench::new();
    for (words, says) in [
        (
            &["run", "--batch-size", "many"][..],
            "it is not a whole number, such as 50",
        ),
        (
            &["run", "--batch-size", "-1"],
            "it is not a whole number, such as 50",
        ),
        (
            &["run", "--batch-size", "99999999999999999999"],
            "it is too large",
        ),
        (&["run", "--batches-at-once", "0"], "it must be at least 1"),
        (
            &["run", "--max-cost", "cheap"],
            "it is not a number, such as 0.5",
        ),
        (&["run", "--max-time", "soon"], "such as 90s, 5m or 2h"),
        (&["run", "--precision", "int4"], "f32, int8"),
        (&["run", "--fresh=maybe"], "true, false"),
        (&["run", "--backend", "cloud"], "local, process, http"),
        (&["run", "--format", "xml"], "csv"),
        (&["run", "--task", "swim"], "classify"),
        (&["run", "--delimiter", "comma,"], "semicolon"),
        (&["run", "--encoding", "utf8000"], "such as utf-8"),
        (&["run", "--machine", "spot"], "such as spot=0.085:4"),
        (&["run", "--tolerated-failures", "200"], "from 0 to 100"),
        (&["run", "--log-level", "loud"], "error, warn, info"),
        (&["worker", "--http", "here"], "such as 127.0.0.1:8080"),
        (&["worker", "--concurrency", "0"], "1..=65535"),
        (&["export", "moon", "RUN"], "k8s, slurm, aws-batch"),
        (&["completions", "sh"], "bash"),
    ] {
        let message = bench.fails(USAGE, words);
        assert!(message.contains(says), "{words:?}: {message}");
    }
}
