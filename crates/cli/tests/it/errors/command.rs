//! Flags, settings, signals, and the messages of the command.

use super::*;

#[test]
fn invalid_flags_are_refused() {
    let bench = Bench::new();
    bench.write("in.csv", "text,gold\nx,label A\n");
    let usage = |args: &[&str], word: &str| {
        let args = [
            &["run", "in.csv", "--model", tiny(), "--text-column", "text"],
            args,
        ]
        .concat();
        let message = bench.fails(USAGE, &args);
        assert!(message.contains(word), "{word:?} is not in: {message}");
        assert!(!bench.path("out.csv").exists());
    };
    let out = ["-o", "out.csv"];
    let with = |args: &[&'static str]| [&out[..], args].concat();
    usage(&[], "-o labels.csv");
    usage(&["-o", ""], "empty");
    usage(&with(&[""]), "no name");
    usage(
        &with(&["--batch-size", "99999999999999999999"]),
        "99999999999999999999",
    );
    usage(&["-o", "-", "--json"], "--json");
    usage(&with(&["--threshold", "0.3"]), "multi-label");
    usage(&with(&["--batch-size", "0"]), "--batch-size");
    usage(&with(&["--concurrency", "0"]), "--concurrency");
    usage(&with(&["--batch-size", "-1"]), "-1");
    usage(&with(&["--batch-size", "many"]), "many");
    usage(&with(&["--max-tokens", "1"]), "2 to 64");
    usage(&with(&["--max-tokens", "65"]), "2 to 64");
    usage(&with(&["--format", "xml"]), "xml");
    usage(&with(&["--on-error", "panic"]), "panic");
    usage(&with(&["--no-such-flag"]), "--no-such-flag");
    usage(&with(&["--keep-columns", "gold,gold"]), "twice");
    usage(&with(&["--run-dir", "https://host/run"]), "are read-only");
    assert!(bench.fails(USAGE, ["run"]).contains("INPUT"));
    assert!(bench.fails(USAGE, ["swim"]).contains("swim"));
    let multi = repository("crates/encoder/tests/fixtures/bert-cased-multi");
    let multi = multi.to_str().unwrap();
    let multi = [
        "run",
        "in.csv",
        "-o",
        "out.csv",
        "--text-column",
        "text",
        "--model",
        multi,
    ];
    let fails = |args: &[&str]| bench.fails(USAGE, [&multi[..], args].concat());
    assert!(fails(&["--threshold", "1.5"]).contains("from 0 to 1 (--threshold)"));
    assert!(fails(&["--threshold", "NaN"]).contains("from 0 to 1 (--threshold)"));
    assert!(fails(&["--label-column", "gold"]).contains("the label column"));
}

#[test]
fn flags_override_variables_and_variables_override_the_file() {
    let bench = Bench::new();
    bench.write("in.jsonl", jsonl(60));
    bench.write(
        "shoal.toml",
        format!(
            "batch-size = 30\njson = true\nquiet = true\noutput = 'out.csv'\nmodel = '{}'\n",
            tiny()
        ),
    );
    let batches = |variable: Option<&str>, flags: &[&str]| {
        let mut command = bench.shoal(["run", "in.jsonl", "--fresh"]);
        command.args(flags);
        if let Some(size) = variable {
            command.env("SHOAL_BATCH_SIZE", size);
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", describe(&output));
        let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
        summary["batches"].as_u64().unwrap()
    };
    assert_eq!(batches(None, &[]), 2);
    assert_eq!(batches(Some("20"), &[]), 3);
    assert_eq!(batches(Some("20"), &["--batch-size", "10"]), 6);
    bench.write(
        "other.toml",
        format!(
            "batch-size = 15\njson = true\nquiet = true\noutput = 'out.csv'\nmodel = '{}'\n",
            tiny()
        ),
    );
    assert_eq!(batches(None, &["--config", "other.toml"]), 4);

    for (content, word) in [
        ("batchsize = 3\n", "batchsize"),
        ("batch-size = 'x'\n", "batch-size"),
        ("= 3\n", "shoal.toml"),
    ] {
        bench.write("shoal.toml", content);
        let message = bench.fails(USAGE, ["run", "in.jsonl", "-o", "new.csv"]);
        assert!(message.contains(word), "{message}");
        assert!(!bench.path("new.csv").exists());
    }
    let message = bench.fails(
        USAGE,
        ["run", "in.jsonl", "-o", "o.csv", "--config", "no.toml"],
    );
    assert!(message.contains("no.toml"), "{message}");
    let mut command = bench.shoal(["run", "in.jsonl", "-o", "new.csv"]);
    std::fs::remove_file(bench.path("shoal.toml")).unwrap();
    let output = command.env("SHOAL_BATCH_SIZE", "x").output().unwrap();
    assert_eq!(output.status.code(), Some(USAGE), "{}", describe(&output));
}

#[test]
fn a_closed_output_pipe_is_not_an_error() {
    let bench = Bench::new();
    bench.write("in.jsonl", jsonl(5000));
    let mut child = bench
        .shoal(["run", "in.jsonl", "-o", "-", "--quiet", "--model", tiny()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut reader = BufReader::with_capacity(64, child.stdout.take().unwrap());
    reader.read_line(&mut line).unwrap();
    assert!(line.contains("\"r0\""), "{line}");
    drop(reader);
    let mut message = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut message)
        .unwrap();
    assert_eq!(
        (child.wait().unwrap().code(), message.as_str()),
        (Some(0), "")
    );

    // The reader closes the pipe before the first byte.
    for args in [
        &["completions", "bash"][..],
        &["man"],
        &["runs"],
        &["runs", "--json"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = bench.shoal(args).stdout(writer).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", describe(&output));
        assert!(output.stderr.is_empty(), "{args:?}: {}", describe(&output));
    }
}

#[test]
#[cfg(unix)]
fn ctrl_c_ends_the_wait_for_standard_input() {
    let bench = Bench::new();
    let mut child = bench
        .shoal(["run", "-", "-o", "out.csv", "--model", tiny()])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Standard input stays open, so that only the signal can end the wait.
    let stdin = child.stdin.take().unwrap();
    let spool = bench.path("data/shoal/spool");
    let copies = || std::fs::read_dir(&spool).map_or(0, Iterator::count);
    while copies() == 0 {
        assert!(
            child.try_wait().unwrap().is_none(),
            "the command exited too early"
        );
        std::thread::yield_now();
    }
    crate::support::interrupt(&child);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", describe(&output));
    assert_eq!(copies(), 0, "the copy was not deleted");
    drop(stdin);
}

#[test]
fn a_run_that_could_not_be_planned_is_not_listed() {
    let bench = Bench::new();
    bench.write("in.csv", "text\nx\n");
    run_fails(
        &bench,
        INPUT,
        &["in.csv", "-o", "out.csv", "--text-column", "no"],
    );
    run_fails(&bench, STORAGE, &["in.csv", "-o", "nowhere/out.csv"]);
    assert!(bench.ok(["runs", "--json"]).stdout.is_empty());
}

#[test]
fn the_summary_is_printed_unless_quiet() {
    let bench = Bench::new();
    bench.write("in.jsonl", jsonl(20));
    let run = |args: &[&str]| {
        bench.ok([
            &[
                "run",
                "in.jsonl",
                "-o",
                "out.csv",
                "--fresh",
                "--model",
                tiny(),
            ],
            args,
        ]
        .concat())
    };
    let output = run(&["--quiet"]);
    assert_eq!(
        (output.stdout.len(), output.stderr.len()),
        (0, 0),
        "{}",
        describe(&output)
    );
    let output = run(&[]);
    assert!(output.stdout.is_empty(), "{}", describe(&output));
    let text = String::from_utf8(output.stderr).unwrap();
    for word in [
        "out.csv",
        "records    20\n",
        "tokens",
        "records/s",
        "model",
        "run",
    ] {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
    assert!(!text.contains('\x1b') && !text.contains('\r'), "{text}");
}

#[test]
fn completions_and_man_pages_are_printed() {
    let bench = Bench::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = bench.ok(["completions", shell]);
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(
            script.contains("shoal") && script.contains("batch-size"),
            "{shell}: {script}"
        );
    }
    assert!(bench.fails(USAGE, ["completions", "dos"]).contains("dos"));
    let page = String::from_utf8(bench.ok(["man"]).stdout).unwrap();
    assert!(
        page.contains(".TH shoal") && page.contains("Exit codes"),
        "{page}"
    );
    bench.write("pages/x", "");
    bench.ok(["man", "pages"]);
    assert!(bench.text("pages/shoal-run.1").contains("batch"));
    assert!(bench.fails(STORAGE, ["man", "nowhere"]).contains("nowhere"));
}

#[test]
fn the_error_names_the_missing_run() {
    let bench = Bench::new();
    for args in [
        &["status", "nothing"][..],
        &["resume", "nothing"],
        &["runs", "--remove", "nothing"],
        &["status", "../nothing"],
    ] {
        let message = bench.fails(RUN, args);
        assert!(message.contains("nothing"), "{args:?}: {message}");
    }
    let output = bench.ok(["runs"]);
    assert!(output.stdout.is_empty());
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("no runs yet")
    );
    assert!(bench.ok(["runs", "--json"]).stdout.is_empty());
}

#[test]
fn runs_are_listed_shown_and_removed() {
    let bench = Bench::new();
    bench.write("some reviews.jsonl", jsonl(20));
    let output = bench.ok([
        "run",
        "some reviews.jsonl",
        "-o",
        "out.csv",
        "--json",
        "--quiet",
        "--model",
        tiny(),
    ]);
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    let name = summary["run"].as_str().unwrap();
    let text = |args: &[&str]| String::from_utf8(bench.ok(args).stdout).unwrap();
    let listed = text(&["runs"]);
    assert!(
        listed.contains(name) && listed.contains("finished"),
        "{listed}"
    );
    let status = text(&["status", name]);
    for word in [name, "finished", "20", "some reviews.jsonl", "out.csv"] {
        assert!(status.contains(word), "{word:?} is not in: {status}");
    }
    let status: Value = serde_json::from_str(&text(&["status", name, "--json"])).unwrap();
    assert_eq!(
        (&status["state"], &status["records_done"]),
        (&json!("finished"), &json!(20))
    );
    // Resuming a finished run collects its output again.
    std::fs::rename(bench.path("out.csv"), bench.path("first.csv")).unwrap();
    bench.ok(["resume", name, "--quiet"]);
    assert_eq!(bench.read("out.csv"), bench.read("first.csv"));
    bench.ok(["resume", name, "--quiet", "-o", "elsewhere.csv"]);
    assert_eq!(bench.read("elsewhere.csv"), bench.read("first.csv"));
    assert!(
        bench
            .fails(USAGE, ["resume", name, "-o", "x.jsonl"])
            .contains("csv")
    );
    bench.ok(["runs", "--remove", name]);
    assert!(bench.fails(RUN, ["status", name]).contains(name));
    assert!(bench.path("out.csv").exists());
}
