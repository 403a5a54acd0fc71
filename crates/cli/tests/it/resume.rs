//! A run that was stopped resumes and produces the same output as an undisturbed run.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::{Bench, Random, describe, files_in, interrupt, jsonl, signal, tiny_model};

const RECORDS: usize = 3000;
const KILLS: usize = 25;

/// A bench with an input that has two bad lines.
fn bench() -> Bench {
    let bench = Bench::new();
    let mut input = jsonl(RECORDS);
    input.push_str("{\"id\":\"bad1\"}\nnot json\n");
    input.push_str(&jsonl(10).replace("\"r", "\"s"));
    bench.write("input.jsonl", input);
    bench
}

fn command(bench: &Bench, run_dir: &str, output: &str) -> Command {
    let mut command = bench.shoal(["run", "input.jsonl", "-o", output, "--run-dir", run_dir]);
    command.args([
        "--batch-size",
        "20",
        "--concurrency",
        "2",
        "--keep-columns",
        "stars",
        "--json",
        "--quiet",
    ]);
    command.arg("--model").arg(tiny_model());
    command
}

/// Runs the command, which must succeed, and returns the summary.
fn finish(mut command: Command) -> serde_json::Value {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", describe(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Waits until the run directory contains `parts` parts, then spins for a random time, so that kills hit every step of a
/// batch. Returns `false` if the command exits first.
fn wait(child: &mut Child, run: &Path, parts: usize, random: &mut Random) -> bool {
    loop {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        if files_in(&run.join("parts")) >= parts {
            for _ in 0..random.below(2_000_000) {
                std::hint::spin_loop();
            }
            return true;
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_run_killed_at_any_time_resumes_with_byte_identical_output() {
    let bench = bench();
    let whole = finish(command(&bench, "whole", "whole.csv"));
    assert_eq!(whole["records"], RECORDS + 12);
    assert_eq!(whole["failed"], 2);
    assert_eq!(whole["results"], RECORDS + 10);
    let batches = whole["batches"].as_u64().unwrap() as usize;
    let (expected, letters) = (bench.read("whole.csv"), bench.read("whole/failed.jsonl"));

    let mut killed = 0;
    let mut seed = 0;
    while killed < KILLS {
        seed += 1;
        assert!(
            seed < 10 * KILLS as u64,
            "runs end before they can be killed"
        );
        let mut random = Random::new(seed);
        let run_dir = format!("run{seed}");
        let parts = random.below(batches + 1);
        let mut child = command(&bench, &run_dir, "killed.csv")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let alive = wait(&mut child, &bench.path(&run_dir), parts, &mut random);
        child.kill().unwrap(); // SIGKILL
        let status = child.wait().unwrap();
        if !alive || status.success() {
            continue;
        }
        killed += 1;
        let summary = finish(command(&bench, &run_dir, "killed.csv"));
        let case = format!("seed {seed}, killed after {parts} parts: {summary}");
        assert_eq!(bench.read("killed.csv"), expected, "{case}");
        assert_eq!(
            bench.read(&format!("{run_dir}/failed.jsonl")),
            letters,
            "{case}"
        );
        assert_eq!(
            summary["results"].as_u64().unwrap() + summary["failed"].as_u64().unwrap(),
            RECORDS as u64 + 12
        );
        // Finished batches are not processed again.
        let receipts = summary["reused_batches"].as_u64().unwrap() as usize;
        assert!(receipts + 2 >= parts.min(batches), "{case}");
        std::fs::remove_file(bench.path("killed.csv")).unwrap();
    }
    let strays = std::fs::read_dir(bench.path(""))
        .unwrap()
        .filter(|entry| {
            entry
                .as_ref()
                .unwrap()
                .file_name()
                .to_string_lossy()
                .contains(".tmp")
        })
        .count();
    assert_eq!(strays, 0, "temporary outputs remain");
}

#[test]
#[cfg(unix)]
fn ctrl_c_stops_the_run_and_resume_completes_it() {
    let bench = bench();
    finish(command(&bench, "whole", "whole.csv"));
    let mut child = command(&bench, "run", "stopped.csv")
        .stdout(Stdio::null())
        .stderr(File::create(bench.path("stderr")).unwrap())
        .spawn()
        .unwrap();
    assert!(wait(&mut child, &bench.path("run"), 3, &mut Random::new(1)));
    interrupt(&child);
    assert_eq!(
        child.wait().unwrap().code(),
        Some(130),
        "{}",
        bench.text("stderr")
    );
    assert!(
        bench.text("stderr").contains("shoal resume run"),
        "{}",
        bench.text("stderr")
    );
    assert!(!bench.path("stopped.csv").exists());

    let status = bench.ok(["status", "run", "--json"]);
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["state"], "unfinished");
    assert!(status["batches_done"].as_u64().unwrap() >= 1);

    let resumed = bench.ok(["resume", "run", "--json", "--quiet"]);
    let resumed: serde_json::Value = serde_json::from_slice(&resumed.stdout).unwrap();
    assert_eq!(resumed["reused_batches"], status["batches_done"]);
    assert_eq!(bench.read("stopped.csv"), bench.read("whole.csv"));
    let status = bench.ok(["status", "run", "--json"]);
    assert!(
        String::from_utf8(status.stdout)
            .unwrap()
            .contains("\"finished\"")
    );
}

#[test]
fn a_changed_job_is_refused_with_the_reason_and_nothing_is_lost() {
    let bench = bench();
    // The first bad record stops the run, so that it is unfinished.
    let start = |extra: &[&str]| {
        let mut command = command(&bench, "run", "labels.csv");
        command.args(["--on-error", "fail"]).args(extra);
        let output = command.output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    assert_eq!(start(&[]).0, Some(7));
    let receipts = files_in(&bench.path("run/receipts"));
    assert!(receipts > 0);

    let refused = |extra: &[&str], reason: &str| {
        let (code, message) = start(extra);
        assert_eq!(code, Some(6), "{message}");
        assert!(message.contains(reason), "{message}");
        assert_eq!(files_in(&bench.path("run/receipts")), receipts);
    };
    refused(&["--max-tokens", "9"], "max-tokens was 64, is 9");
    refused(
        &["--scores", "--text-column", "text"],
        "scores was not set, is true",
    );

    let input = bench.text("input.jsonl");
    bench.write("input.jsonl", input.replacen("good", "fine", 1));
    refused(&[], "input.jsonl changed: its content is different");
    bench.write("input.jsonl", format!("{input}\n"));
    refused(&[], "input.jsonl changed: it had");

    // A file that was rewritten with the same content is the same input.
    bench.write("input.jsonl", &input);
    assert_eq!(start(&[]).0, Some(7));

    let other = crate::support::repository("crates/encoder/tests/fixtures/bert-f32");
    let mut command = bench.shoal(["run", "input.jsonl", "-o", "labels.csv", "--run-dir", "run"]);
    command
        .args(["--batch-size", "20", "--keep-columns", "stars", "--model"])
        .arg(other);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(6), "{}", describe(&output));
    assert!(String::from_utf8_lossy(&output.stderr).contains("the model was"));

    // `--fresh` starts over.
    let summary = finish({
        let mut command = self::command(&bench, "run", "labels.csv");
        command.arg("--fresh");
        command
    });
    assert_eq!(summary["reused_batches"], 0);
}

#[test]
fn the_same_command_finds_its_run_again() {
    let bench = bench();
    let run = |extra: &[&str]| {
        let mut command = bench.shoal([
            "run",
            "input.jsonl",
            "-o",
            "labels.csv",
            "--json",
            "--quiet",
            "--model",
        ]);
        command.arg(tiny_model()).args(extra);
        finish(command)
    };
    let first = run(&[]);
    assert_eq!(first["reused_batches"], 0);
    let again = run(&[]);
    assert_eq!(again["run"], first["run"]);
    assert_eq!(again["reused_batches"], first["batches"]);
    // A finished run keeps its directory, and another job with the same output gets a new one.
    let other = run(&["--scores"]);
    assert_eq!(
        other["run"].as_str().unwrap(),
        format!("{}-2", first["run"].as_str().unwrap())
    );
    let listed = bench.ok(["runs", "--json"]);
    assert_eq!(String::from_utf8(listed.stdout).unwrap().lines().count(), 2);
}

#[test]
fn standard_input_is_identified_by_its_content() {
    let bench = bench();
    let run = |content: &str| {
        let path = bench.write("piped", content);
        let mut command = bench.shoal([
            "run",
            "-",
            "-o",
            "labels.jsonl",
            "--json",
            "--quiet",
            "--model",
        ]);
        command.arg(tiny_model()).stdin(File::open(path).unwrap());
        finish(command)
    };
    let first = run(&jsonl(100));
    let again = run(&jsonl(100));
    assert_eq!(
        (&again["run"], &again["reused_batches"]),
        (&first["run"], &first["batches"])
    );
    let other = run(&jsonl(101));
    assert_ne!(other["run"], first["run"]);
    assert_eq!(other["results"], 101);
}

#[test]
fn batches_with_lost_or_damaged_parts_are_processed_again() {
    let bench = bench();
    finish(command(&bench, "run", "labels.csv"));
    let expected = bench.read("labels.csv");
    let part = bench.path("run/parts/00000003.csv");
    let content = std::fs::read(&part).unwrap();
    std::fs::write(&part, &content[..content.len() / 2]).unwrap();
    std::fs::remove_file(bench.path("run/parts/00000007.csv")).unwrap();
    std::fs::write(bench.path("run/receipts/00000009.json"), b"{\"batch\":").unwrap();
    let summary = finish(command(&bench, "run", "labels.csv"));
    assert_eq!(bench.read("labels.csv"), expected);
    // The torn receipt is detected at the start, the parts when they are verified. None of the batches counts as reused.
    assert_eq!(
        summary["reused_batches"].as_u64().unwrap() + 3,
        summary["batches"].as_u64().unwrap()
    );
}

#[test]
fn two_processes_cannot_use_one_run() {
    let bench = bench();
    for attempt in 0..20 {
        let run_dir = format!("run{attempt}");
        let mut first = command(&bench, &run_dir, "labels.csv")
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        if wait(&mut first, &bench.path(&run_dir), 1, &mut Random::new(1)) {
            signal("STOP", &first);
        }
        if first.try_wait().unwrap().is_some() {
            continue; // it ended before it could be stopped
        }
        let second = command(&bench, &run_dir, "labels.csv").output().unwrap();
        assert_eq!(second.status.code(), Some(6), "{}", describe(&second));
        assert!(String::from_utf8_lossy(&second.stderr).contains("another shoal process"));
        signal("CONT", &first);
        assert!(first.wait().unwrap().success());
        return;
    }
    panic!("every run ended before it could be stopped");
}

#[test]
fn a_folder_with_other_files_is_not_used_as_the_run_directory() {
    let bench = bench();
    bench.write("home/precious.txt", "keep me");
    for extra in [&[][..], &["--fresh"]] {
        let output = command(&bench, "home", "labels.csv")
            .args(extra)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", describe(&output));
    }
    assert_eq!(bench.text("home/precious.txt"), "keep me");
    assert!(
        bench
            .fails(6, ["runs", "--remove", "home"])
            .contains("not a run directory")
    );
    assert_eq!(bench.text("home/precious.txt"), "keep me");
}
