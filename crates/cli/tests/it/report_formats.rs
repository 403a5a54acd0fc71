//! The name of a report or a comparison decides its format.

use crate::errors::USAGE;
use crate::support::{Bench, jsonl, tiny};

/// How a file of each ending starts.
const FORMATS: [(&str, &str); 4] = [
    ("html", "<!doctype html>"),
    ("json", "{"),
    ("csv", ""),
    ("md", "# "),
];

/// Writes `name` in every format by `command -o`, and checks that other names are refused before any work.
fn check(bench: &Bench, command: &[&str]) {
    for (ending, start) in FORMATS {
        let name = format!("page.{}", ending.to_uppercase());
        for name in [format!("page.{ending}"), name] {
            bench.ok([command, &["-o", &name]].concat());
            let text = bench.text(&name);
            assert!(text.starts_with(start), "{command:?} {name}: {text}");
            assert_eq!(
                ending == "csv",
                text.lines().all(|line| line.contains(',')),
                "{text}"
            );
        }
    }
    bench.ok([command, &["-o", "page.txt", "--format", "csv"]].concat());
    assert!(bench.text("page.txt").contains(','));
    for (args, says) in [
        (&["-o", "page.pdf"][..], ".html, .json, .csv or .md"),
        (&["-o", "page"], ".html, .json, .csv or .md"),
        (
            &["-o", "other.html", "--format", "csv"],
            "leave out --format",
        ),
        (
            &["-o", "new.csv", "--format", "page"],
            "html, json, csv, markdown",
        ),
    ] {
        let message = bench.fails(USAGE, [command, args].concat());
        assert!(message.contains(says), "{args:?}: {message}");
        assert!(!bench.path(args[1]).exists(), "{args:?}");
    }
}

#[test]
fn the_ending_decides_the_format_of_reports_and_comparisons() {
    let bench = Bench::new();
    bench.write("in.jsonl", jsonl(12));
    bench.ok([
        "run",
        "in.jsonl",
        "-o",
        "out.csv",
        "--run-dir",
        "mine",
        "--model",
        tiny(),
    ]);
    check(&bench, &["report", "mine"]);
    check(
        &bench,
        &[
            "compare",
            "in.jsonl",
            "--batch-sizes",
            "6",
            "--model",
            tiny(),
            "--quiet",
        ],
    );
    let page = bench.ok(["report", "mine", "-o", "-"]).stdout;
    assert!(page.starts_with(b"<!doctype html>"));
}
