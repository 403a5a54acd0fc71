//! Delimited text and encodings as people have them: each file gives the records that it has, or says what is wrong.

use serde_json::{Value, json};

use crate::formats::summary;
use crate::support::{Bench, repository, tiny};

/// Runs on `inputs` with several batch sizes. Returns id and text of the results, the dead letters, and the summary.
fn read(
    bench: &Bench,
    inputs: &[&str],
    options: &[&str],
) -> (Vec<(String, String)>, Vec<Value>, Value) {
    let mut all = Vec::new();
    for batch_size in ["1", "2", "1000"] {
        let fixed = [
            "-o",
            "out.jsonl",
            "--fresh",
            "--run-dir",
            "run",
            "--batch-size",
            batch_size,
        ];
        let mut args = [inputs, options, &fixed].concat();
        if !options.contains(&"--keep-columns") {
            args.extend(["--text-column", "text", "--keep-columns", "text"]);
        }
        let summary = summary(bench, &args);
        let lines = |text: String| -> Vec<Value> {
            let lines = text.lines();
            lines
                .map(|line| serde_json::from_str(line).unwrap())
                .collect()
        };
        let shown = |value: &Value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let results: Vec<_> = lines(bench.text("out.jsonl"))
            .iter()
            .map(|row| {
                let kept = row
                    .as_object()
                    .unwrap()
                    .iter()
                    .find(|(name, _)| !["id", "label", "score"].contains(&name.as_str()));
                (shown(&row["id"]), shown(kept.unwrap().1))
            })
            .collect();
        let failed = match summary["failed_file"].as_str() {
            Some(path) => lines(std::fs::read_to_string(path).unwrap()),
            None => Vec::new(),
        };
        assert_eq!(
            summary["records"],
            results.len() + failed.len(),
            "{inputs:?}"
        );
        all.push((results, failed, summary));
    }
    let last = all.pop().unwrap();
    for (results, failed, _) in &all {
        assert_eq!((results, failed), (&last.0, &last.1), "{inputs:?}");
    }
    last
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    let pairs = expected.iter();
    pairs
        .map(|(id, text)| ((*id).to_owned(), (*text).to_owned()))
        .collect()
}

fn notes(summary: &Value) -> String {
    summary["notes"].to_string()
}

#[test]
fn other_delimiters_are_detected_and_reported() {
    let bench = Bench::new();
    for (name, content, reported) in [
        (
            "a.csv",
            "id;text\na;one, two\nb;\"three; four\"\n",
            "semicolon",
        ),
        (
            "b.csv",
            "id|text\na|one, two\nb|three; four\n",
            "vertical bar",
        ),
        (
            "c.csv",
            "id\ttext\na\tone, two\nb\t\"three; four\"\n",
            "tab",
        ),
        ("d.tsv", "id,text\na,\"one, two\"\nb,three; four\n", "comma"),
        (
            "e.csv",
            "sep=;\r\nid;text\r\na;one, two\r\nb;\"three; four\"\r\n",
            "semicolon",
        ),
        (
            "f.csv",
            "id, text\na, \"one, two\"\nb, three; four\n",
            "spaces",
        ),
    ] {
        bench.write(name, content);
        let (results, failed, summary) = read(&bench, &[name], &[]);
        assert_eq!(
            results,
            pairs(&[("a", "one, two"), ("b", "three; four")]),
            "{name}"
        );
        assert!(failed.is_empty(), "{name}: {failed:?}");
        assert!(notes(&summary).contains(reported), "{name}: {summary}");
    }
    // A delimiter that is given is not reported.
    bench.write("g.csv", "id~text\na~one, two\n");
    let (results, _, summary) = read(&bench, &["g.csv"], &["--delimiter", "~"]);
    assert_eq!(results, pairs(&[("a", "one, two")]));
    assert_eq!(summary["notes"], Value::Null);
}

#[test]
fn one_column_of_prose_is_not_cut() {
    let bench = Bench::new();
    bench.write(
        "in.csv",
        "text\nGood, but long\nBad; \"awful\"\n\"Said \"\"no\"\", twice\"\n",
    );
    let (results, failed, summary) = read(&bench, &["in.csv"], &[]);
    assert_eq!(
        results,
        pairs(&[
            ("0", "Good, but long"),
            ("1", "Bad; \"awful\""),
            ("2", "Said \"no\", twice")
        ])
    );
    assert!(failed.is_empty());
    assert!(notes(&summary).contains("one column"), "{summary}");
}

#[test]
fn dialects_are_read_as_given() {
    let bench = Bench::new();
    bench.write(
        "a.csv",
        "id,text\nc1,\"called \\\"it\\\", and\"\nc2,\"\\\"awful\\\"\"\nc3,plain\n",
    );
    let (results, _, _) = read(&bench, &["a.csv"], &["--escape", "\\"]);
    assert_eq!(
        results,
        pairs(&[
            ("c1", "called \"it\", and"),
            ("c2", "\"awful\""),
            ("c3", "plain")
        ])
    );
    // Without it, rows are bad rather than wrong.
    let (results, failed, _) = read(&bench, &["a.csv"], &[]);
    assert_eq!(results, pairs(&[("c3", "plain")]));
    let reasons: Vec<_> = failed
        .iter()
        .map(|letter| letter["reason"].as_str().unwrap())
        .collect();
    assert!(
        reasons
            .iter()
            .all(|reason| reason.contains("escape character")),
        "{reasons:?}"
    );

    bench.write("b.csv", "id,text\na,'one, two'\nb,\"\n");
    let (results, _, _) = read(&bench, &["b.csv"], &["--quote", "'"]);
    assert_eq!(results, pairs(&[("a", "one, two"), ("b", "\"")]));
    bench.write("c.tsv", "id\ttext\na\t\"one\ttwo\"\n");
    let (results, _, _) = read(&bench, &["c.tsv"], &["--quote", "\""]);
    assert_eq!(results, pairs(&[("a", "one\ttwo")]));

    bench.write("d.csv", "0,\"one, two\"\n1,three\n");
    let options = [
        "--no-header",
        "--text-column",
        "column_2",
        "--keep-columns",
        "column_1,column_2",
    ];
    let (results, _, _) = read(&bench, &["d.csv"], &options);
    assert_eq!(results.len(), 2);
    // Otherwise the first record is taken for names, which is reported.
    let first = summary(
        &bench,
        &["d.csv", "-o", "out.csv", "--text-column", "one, two"],
    );
    assert!(notes(&first).contains("looks like a record"), "{first}");
    let twice = ["a.csv", "-o", "out.csv", "--delimiter", "\""];
    let message = bench.fails(2, ["run", "--model", tiny()].iter().chain(&twice));
    assert!(
        message.contains("both the delimiter and the quote"),
        "{message}"
    );
    let none = [
        "run",
        "--model",
        tiny(),
        "-o",
        "out.csv",
        "--delimiter",
        ";",
    ];
    let sample = repository("examples/reviews.parquet").display().to_string();
    let message = bench.fails(2, none.iter().chain(&[sample.as_str()]));
    assert!(message.contains("CSV and TSV only"), "{message}");
}

#[test]
fn columns_that_are_not_used_may_have_the_same_name() {
    let bench = Bench::new();
    bench.write("in.csv", "id,text,notes,notes,,\na,one,x,y,,\n");
    let (results, _, _) = read(&bench, &["in.csv"], &[]);
    assert_eq!(results, pairs(&[("a", "one")]));
    let kept = [
        "run",
        "in.csv",
        "-o",
        "x.csv",
        "--text-column",
        "text",
        "--keep-columns",
        "notes",
    ];
    let message = bench.fails(3, kept);
    assert!(
        message.contains("two columns are called \"notes\""),
        "{message}"
    );
}

/// `text` in UTF-16 with the byte order of `bytes`, and a byte-order mark if `mark`.
fn wide(text: &str, mark: bool, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
    let mark = mark.then_some(0xfeff);
    let units = mark.into_iter().chain(text.encode_utf16());
    units.flat_map(bytes).collect()
}

#[test]
fn encodings_are_converted() {
    let bench = Bench::new();
    let table = "id,text\na,Très “bon” 😀\nb,\"two\nlines\"\n";
    let lines =
        "{\"id\":\"a\",\"text\":\"Très “bon” 😀\"}\n{\"id\":\"b\",\"text\":\"two\\nlines\"}\n";
    let expected = pairs(&[("a", "Très “bon” 😀"), ("b", "two\nlines")]);
    for (extension, text) in [("csv", table), ("jsonl", lines)] {
        for (encoding, content) in [
            (None, wide(text, true, u16::to_le_bytes)),
            (None, wide(text, true, u16::to_be_bytes)),
            (Some("utf-16le"), wide(text, false, u16::to_le_bytes)),
            (Some("UTF-16BE"), wide(text, false, u16::to_be_bytes)),
            (Some("latin1"), format!("\u{feff}{text}").into_bytes()),
        ] {
            let name = format!("in.{extension}");
            let packed = format!("in.{extension}.zst");
            bench.write(&packed, zstd::encode_all(&*content, 1).unwrap());
            bench.write(&name, content);
            let options = encoding.map_or(vec![], |encoding| vec!["--encoding", encoding]);
            for input in [&name, &packed] {
                let (results, failed, _) = read(&bench, &[input], &options);
                assert_eq!(results, expected, "{input} {encoding:?}");
                assert!(failed.is_empty());
            }
        }
    }
    let latin = b"id,text\na,Tr\xe8s \x93bon\x94\n";
    bench.write("in.csv", latin);
    let options = ["--encoding", "windows-1252", "--backend", "process"];
    let (results, _, summary) = read(&bench, &["in.csv"], &options);
    assert_eq!(results, pairs(&[("a", "Très “bon”")]));
    assert!(
        notes(&summary).contains("read as windows-1252"),
        "{summary}"
    );
    // Without it, the reason is given in one sentence.
    bench.write("in.csv", [&latin[..], b"b,plain\n"].concat());
    let (results, failed, summary) = read(&bench, &["in.csv"], &[]);
    assert_eq!((results.len(), failed.len()), (1, 1));
    assert!(notes(&summary).contains("may be Windows-1252"), "{summary}");

    std::fs::create_dir(bench.path("folder")).unwrap();
    bench.write("folder/a.txt", b"Tr\xe8s \x93bon\x94");
    bench.write("folder/b.txt", wide("Très “bon”", true, u16::to_le_bytes));
    let (results, _, _) = read(&bench, &["folder"], &["--encoding", "cp1252"]);
    assert_eq!(results, pairs(&[("a", "Très “bon”"), ("b", "Très “bon”")]));
}

#[test]
fn malformed_text_is_a_dead_letter_that_names_the_encoding() {
    let bench = Bench::new();
    let mut content = wide("id,text\na,good\nb,half ", true, u16::to_le_bytes);
    content.extend([0x3d, 0xd8]);
    content.extend(wide("\nc,fine\n", false, u16::to_le_bytes));
    bench.write("in.csv", content);
    bench.write("b.csv", b"id,text\nd,\x93\xfa\x96\x7b\ne,\xfc\n");
    let (results, failed, _) = read(&bench, &["in.csv"], &[]);
    assert_eq!(results, pairs(&[("a", "good"), ("c", "fine")]));
    assert_eq!(failed[0]["reason"], "the text is not valid UTF-16LE");
    let (results, failed, _) = read(&bench, &["b.csv"], &["--encoding", "shift-jis"]);
    assert_eq!(results, pairs(&[("d", "日本")]));
    assert_eq!(failed[0]["reason"], "the text is not valid Shift_JIS");
}

#[test]
fn empty_parts_are_skipped_with_a_note() {
    let bench = Bench::new();
    for (name, content) in [("a", ""), ("c", " \r\n\n"), ("d", "\u{feff}")] {
        bench.write(&format!("{name}.csv"), content);
        bench.write(&format!("{name}.jsonl"), content);
    }
    bench.write("e.parquet", "");
    bench.write("b.csv", "id,text\nx,good\n");
    bench.write("b.jsonl", "{\"id\":\"y\",\"text\":\"fine\"}\n");
    let inputs = [
        "a.csv",
        "b.csv",
        "c.csv",
        "d.csv",
        "e.parquet",
        "a.jsonl",
        "b.jsonl",
        "c.jsonl",
    ];
    let (results, failed, summary) = read(&bench, &inputs, &[]);
    assert_eq!(results, pairs(&[("x", "good"), ("y", "fine")]));
    assert!(failed.is_empty());
    let notes = notes(&summary);
    assert!(
        notes.contains("a.csv and 5 more: it is empty and is skipped"),
        "{notes}"
    );
    for input in ["a.csv", "c.csv", "e.parquet", "d.jsonl"] {
        let message = bench.fails(3, ["run", input, "-o", "x.csv", "--model", tiny()]);
        assert!(message.contains("there are no records in it"), "{message}");
    }
    // A header without records is an output without rows.
    bench.write("header.csv", "id,text\n");
    let empty = summary_of_header(&bench);
    assert!(empty["notes"].to_string().contains("no records"), "{empty}");
}

fn summary_of_header(bench: &Bench) -> Value {
    let found = summary(bench, &["header.csv", "-o", "header.jsonl", "--fresh"]);
    assert_eq!(bench.text("header.jsonl"), "");
    found
}

#[test]
fn the_doctor_shows_what_a_run_would_read() {
    let bench = Bench::new();
    bench.write(
        "in.csv",
        format!(
            "id;text;stars\na;\"one, two \u{1b}[2J\nlines\";3\nb;{};4\nc\n",
            "long ".repeat(50)
        ),
    );
    let args = ["doctor", "in.csv", "--model", tiny(), "--id-column", "id"];
    let text = bench.ok(args).stdout;
    let text = String::from_utf8(text).unwrap();
    for part in [
        "csv, encoding UTF-8, delimiter semicolon, quote \", escape none",
        "a semicolon (;)",
        "one, two \\u{1b}[2J\\nlines",
        "row 3 would fail: the row has 1 column, the header has 3",
        "…",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    assert!(!text.contains('\u{1b}'));
    let json = bench.ok(args.iter().chain(&["--json"])).stdout;
    let diagnosis: Value = serde_json::from_slice(&json).unwrap();
    let input = &diagnosis["inputs"][0];
    assert_eq!(input["dialect"]["delimiter"], ";");
    assert_eq!(
        input["columns"],
        json!([
            { "name": "id", "data_type": "text", "uses": ["id"] },
            { "name": "text", "data_type": "text", "uses": ["text"] },
            { "name": "stars", "data_type": "numbers or other values", "uses": [] },
        ])
    );
    // It helps most where the columns cannot be found.
    let args = [
        "doctor",
        "in.csv",
        "--model",
        tiny(),
        "--text-column",
        "body",
    ];
    let output = bench.shoal(args).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(
        text.contains("no column \"body\"") && text.contains("one, two"),
        "{text}"
    );
    let sample = repository("examples/reviews.parquet").display().to_string();
    let output = bench.ok(["doctor", &sample, "--model", tiny()]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("parquet\n") && text.contains("Int64"),
        "{text}"
    );
}

#[test]
fn what_was_detected_is_said_once() {
    let bench = Bench::new();
    let rows: String = (0..20).map(|row| format!("{row};good, bad\n")).collect();
    bench.write("in.csv", format!("id;text\n{rows}"));
    let count = |args: &[&str]| {
        let output = bench.ok(args.iter().chain(&["--model", tiny()]));
        let printed = String::from_utf8(output.stderr).unwrap();
        printed.matches("separated by a semicolon").count()
    };
    assert_eq!(count(&["run", "in.csv", "-o", "out.csv"]), 1);
    assert_eq!(count(&["run", "in.csv", "-o", "auto.csv", "--auto"]), 1);
    assert_eq!(count(&["compare", "in.csv", "--batch-sizes", "5,10"]), 1);
    assert_eq!(count(&["run", "in.csv", "-o", "q.csv", "--quiet"]), 0);
}
