//! Runs that are processed in several windows produce the same output as runs in one window.

use std::process::Command;

use serde_json::Value;

use crate::support::{ManyBatches, describe, summary};

/// The minimum number of batches in a window, with one call at a time.
const WINDOW: u64 = 64;

fn events(job: &ManyBatches, run: &str) -> Vec<Value> {
    let log = job.bench.text(&format!("{run}/events.jsonl"));
    let parse = |line| serde_json::from_str::<Value>(line).unwrap();
    log.lines().map(parse).collect()
}

fn in_windows(job: &ManyBatches, name: &str, options: &[&str]) -> Command {
    let small = ["--concurrency", "1", "--batches-at-once", "1"];
    job.run(name, &[small.as_slice(), options].concat())
}

/// Removes times and paths, which differ.
fn without_times(mut summary: Value) -> Value {
    let fields = summary.as_object_mut().unwrap();
    for name in [
        "run",
        "run_dir",
        "output",
        "failed_file",
        "concurrency",
        "seconds",
        "dispatch_seconds",
        "records_per_second",
        "function_ms",
        "report",
    ] {
        assert!(fields.remove(name).is_some(), "{name}");
    }
    summary
}

#[test]
fn windows_do_not_change_the_output() {
    let job = ManyBatches::new(1000, 5);
    let whole = summary(job.run("whole", &[]));
    assert!(whole["report"].is_string());
    for backend in ["local", "process"] {
        let name = &format!("by-{backend}");
        let done = summary(in_windows(&job, name, &["--backend", backend]));
        job.check(name);
        assert!(done["report"].is_null() && done["not_accounted"].is_null());
        assert_eq!(without_times(done), without_times(whole.clone()));
        let letters = |run: &str| job.bench.text(&format!("{run}/failed.jsonl"));
        assert_eq!(letters(name), letters("whole"));
        // One start for all windows; each window is verified.
        let events = events(&job, name);
        let count = |name| events.iter().filter(|event| event["event"] == name).count();
        assert_eq!((count("started"), count("completed")), (1, 1));
        let verified = events.iter().filter(|event| event["event"] == "verifying");
        let verified: Vec<_> = verified.map(|event| event["parts"].as_u64()).collect();
        let last = 201 % WINDOW;
        assert_eq!(verified, [WINDOW, WINDOW, WINDOW, last].map(Some));
    }
    // `shoal report` writes the page.
    let page = job.bench.ok(["report", "by-local", "--format", "json"]);
    let page: Value = serde_json::from_slice(&page.stdout).unwrap();
    assert_eq!(page["summary"]["finished_batches"], 201);
    let status = job.bench.ok(["status", "by-local", "--json"]);
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(
        (&status["batches_done"], &status["state"]),
        (&201.into(), &"finished".into())
    );
}

/// A part of a finished window is lost, and another window was never processed.
#[test]
fn open_batches_are_found_in_every_window() {
    let job = ManyBatches::new(1000, 5);
    summary(in_windows(&job, "run", &[]));
    let run = job.bench.path("run");
    std::fs::remove_file(run.join("parts/00000070.csv")).unwrap();
    for batch in 128..192 {
        std::fs::remove_file(run.join(format!("receipts/{batch:08}.json"))).unwrap();
    }
    std::fs::remove_file(job.bench.path("run.csv")).unwrap();
    let done = summary(in_windows(&job, "run", &[]));
    job.check("run");
    assert_eq!(done["reused_batches"], 201 - 64 - 1);
    assert_eq!(done["records"], 1002);
    let events = events(&job, "run");
    let again = |event: &&Value| event["event"] == "started";
    let again = events.iter().filter(again).nth(1).unwrap();
    // The lost part is detected later.
    assert_eq!(again["reused_batches"], 201 - 64);
    // Nothing else is processed again.
    let calls = events.iter().filter(|event| event["event"] == "dispatched");
    assert_eq!(calls.count(), 201 + 64 + 1);
}

#[test]
fn damage_in_a_later_window_of_the_batch_table_is_detected() {
    let job = ManyBatches::new(1000, 5);
    summary(in_windows(&job, "run", &[]));
    let table = job.bench.text("run/batches.jsonl");
    let cut: String = table
        .lines()
        .take(150)
        .map(|line| format!("{line}\n"))
        .collect();
    job.bench.write("run/batches.jsonl", cut);
    let before = job.bench.read("run.csv");
    let output = in_windows(&job, "run", &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(6), "{}", describe(&output));
    assert!(
        describe(&output).contains("150 batches of 750 records"),
        "{}",
        describe(&output)
    );
    assert_eq!(job.bench.read("run.csv"), before);
}
