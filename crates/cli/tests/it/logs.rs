//! The logs of commands and workers.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{Bench, ManyBatches, describe, summary, tiny_model};
use crate::worker_http::{LISTEN, Worker};

/// The lines of a log, each of which must be JSON with a time, a level and a target.
pub(crate) fn lines(log: &[u8]) -> Vec<Value> {
    let lines = objects(log);
    for line in &lines {
        for name in ["timestamp", "level", "target"] {
            assert!(line[name].is_string(), "{line}");
        }
        assert!(line["fields"]["message"].is_string(), "{line}");
    }
    lines
}

/// Parses JSON Lines.
pub(crate) fn objects(lines: &[u8]) -> Vec<Value> {
    let lines = String::from_utf8_lossy(lines);
    let objects = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line:?}")));
    objects.collect()
}

/// The lines with this message.
fn saying<'a>(lines: &'a [Value], message: &str) -> Vec<&'a Value> {
    let all = lines.iter().map(|line| &line["fields"]);
    all.filter(|fields| fields["message"] == message).collect()
}

fn json(command: &mut Command, level: &str) -> Vec<Value> {
    let output = command
        .args(["--log-format", "json", "--log-level", level])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", describe(&output));
    lines(&output.stderr)
}

#[test]
fn a_run_logs_its_steps_as_json_and_nothing_by_default() {
    let job = ManyBatches::new(60, 20);
    let info = json(&mut job.run("info", &[]), "info");
    for message in ["planned", "started", "completed"] {
        assert_eq!(saying(&info, message).len(), 1, "{message}");
    }
    let calls = saying(&info, "invocation");
    assert_eq!(calls.len(), 4);
    let records: u64 = calls
        .iter()
        .map(|call| call["records"].as_u64().unwrap())
        .sum();
    assert_eq!(records, 62);
    for call in calls {
        assert_eq!(
            (&call["outcome"], &call["attempt"]),
            (&"done".into(), &1.into())
        );
        assert!(call["run"].as_str().unwrap().ends_with("/info"), "{call}");
        assert!(call["ms"].as_f64().unwrap() > 0.0, "{call}");
    }
    let debug = json(&mut job.run("debug", &[]), "debug");
    assert_eq!(saying(&debug, "dispatched").len(), 4);
    assert_eq!(saying(&debug, "finished").len(), 4);
    assert_eq!(json(&mut job.run("warn", &[]), "warn"), [Value::Null; 0]);
    let quiet = job.run("quiet", &[]).output().unwrap();
    assert!(quiet.stderr.is_empty(), "{}", describe(&quiet));
    // No log line contains the text of a record.
    let texts = job.texts();
    for line in info.iter().chain(&debug) {
        let line = line.to_string();
        assert!(!texts.iter().any(|text| line.contains(text)), "{line}");
    }
}

#[test]
fn errors_are_log_lines_with_their_exit_code() {
    let bench = Bench::new();
    let output = bench
        .shoal(["run", "missing.csv", "-o", "out.csv"])
        .env("SHOAL_LOG_FORMAT", "json")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    let lines = lines(&output.stderr);
    let last = lines.last().unwrap();
    assert_eq!(
        (&last["level"], &last["fields"]["exit_code"]),
        (&"ERROR".into(), &3.into())
    );
    let wrong = bench.fails(2, ["runs", "--log-level", "loud"]);
    assert!(wrong.contains("error, warn, info, debug, trace"), "{wrong}");
}

#[test]
fn a_worker_logs_a_line_per_invocation() {
    let job = ManyBatches::new(60, 20);
    let log = job.bench.path("log");
    let worker =
        Worker::start_logging(job.bench.shoal(LISTEN).args(["--log-format", "json"]), &log);
    summary(job.run("run", &["--backend", "http", "--url", &worker.url]));
    let answer = worker.post("", &crate::worker_http::invocation("/nowhere"));
    assert_eq!(answer.kind(), "storage");
    drop(worker);
    let lines = lines(&std::fs::read(&log).unwrap());
    let calls = saying(&lines, "invocation");
    let of = |outcome: &str| calls.iter().filter(|c| c["outcome"] == outcome).count();
    assert_eq!((of("done"), of("storage")), (4, 1), "{calls:?}");
    // A worker of an array job logs as text by default.
    let plan = job
        .run("array", &["--backend", "array", "--detach"])
        .output()
        .unwrap();
    assert!(plan.status.success(), "{}", describe(&plan));
    let share = [
        "worker", "--run", "array", "--index", "0", "--of", "1", "--model",
    ];
    let share = job
        .bench
        .shoal(share)
        .arg(tiny_model())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(share.status.success(), "{}", describe(&share));
    let printed = String::from_utf8(share.stderr).unwrap();
    let calls: Vec<_> = printed
        .lines()
        .filter(|line| line.contains("INFO shoal::worker: invocation"))
        .collect();
    assert_eq!(calls.len(), 4, "{printed}");
    assert!(
        calls[0].contains("outcome=\"done\"") && calls[0].contains("ms="),
        "{printed}"
    );
}
