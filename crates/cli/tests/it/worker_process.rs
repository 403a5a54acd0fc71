//! Worker processes, some of which are killed.

use std::process::{Command, Stdio};

use crate::support::{ManyBatches, copy_shoal, describe, failures, summary, wait_for_receipts};

#[test]
fn processes_write_the_same_output_as_threads() {
    let job = ManyBatches::new(300, 20);
    let done = summary(job.run("run", &["--backend", "process", "--concurrency", "3"]));
    assert_eq!(
        (&done["records"], &done["failed"]),
        (&302.into(), &2.into())
    );
    job.check("run");
    assert!(failures(&job.bench.path("run")).is_empty());
}

/// A renamed command starts its own executable as the worker, not another `shoal`.
#[test]
#[cfg(unix)]
fn a_renamed_command_starts_itself() {
    let job = ManyBatches::new(100, 20);
    let renamed = job.bench.path("shoal-next");
    copy_shoal(&renamed);
    let as_built = job.run("run", &["--backend", "process"]);
    let mut run = Command::new(&renamed);
    run.args(as_built.get_args())
        .current_dir(as_built.get_current_dir().unwrap())
        .env_clear()
        .envs(
            as_built
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .env("PATH", "/nowhere");
    summary(run);
    job.check("run");
}

#[test]
#[cfg(target_os = "linux")]
fn a_killed_process_counts_as_an_attempt() {
    let job = ManyBatches::new(6000, 20);
    let mut run = job
        .run("run", &["--backend", "process", "--concurrency", "2"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let folder = job.bench.path("run");
    wait_for_receipts(&mut run, &folder);
    let victim = children(run.id())[0];
    let killed = Command::new("sh")
        .args(["-c", &format!("kill -KILL {victim}")])
        .status()
        .unwrap();
    assert!(killed.success());
    let end = run.wait_with_output().unwrap();
    assert!(end.status.success(), "{}", describe(&end));
    assert_eq!(failures(&folder), [("crashed".to_owned(), true)]);
    job.check("run");
}

#[test]
fn calls_that_run_out_of_time_end_within_a_batch() {
    // One batch has more work than any machine can do before the time that a function reserves for writing.
    let job = ManyBatches::new(60_000, 100_000);
    let options = ["--backend", "process", "--timeout", "2"];
    let done = summary(job.run("run", &options));
    assert_eq!(
        (&done["records"], &done["batches"]),
        (&60_002.into(), &1.into())
    );
    job.check("run");
    let receipts = crate::support::files_in(&job.bench.path("run/receipts"));
    assert!(receipts > 1, "{receipts}");
}

#[test]
fn lines_are_answered_until_the_input_ends() {
    let job = ManyBatches::new(20, 20);
    let run = job.bench.path("local");
    let lines = [
        "nonsense".to_owned(),
        invocation(run.to_str().unwrap(), 0),
        invocation("/nowhere", 0),
    ];
    job.bench.write("lines", lines.join("\n"));
    let output = job
        .bench
        .shoal(["worker", "--stdio"])
        .stdin(std::fs::File::open(job.bench.path("lines")).unwrap())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", describe(&output));
    let answers = String::from_utf8(output.stdout).unwrap();
    let answers: Vec<serde_json::Value> = answers
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(answers.len(), 3);
    assert_eq!(answers[0]["failure"]["kind"], "refused");
    // The batch is already finished, so its first receipt is returned.
    assert_eq!(answers[1]["receipt"]["records"], 20, "{}", answers[1]);
    assert_eq!(answers[2]["failure"]["kind"], "storage");
}

/// The line of an invocation for a planned batch of a run.
fn invocation(run: &str, batch: usize) -> String {
    let plan = std::fs::read_to_string(format!("{run}/batches.jsonl"));
    let batch = match &plan {
        Ok(plan) => plan.lines().nth(batch).unwrap(),
        Err(_) => r#"{"index":0,"records":1,"slices":[]}"#,
    };
    format!(r#"{{"run":{run:?},"batch":{batch},"attempt":1}}"#)
}

/// The child processes of `parent`.
fn children(parent: u32) -> Vec<u32> {
    let parent_of = |process: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // The process name before it may contain anything.
        let fields = stat.rsplit_once(')')?.1;
        fields.split_whitespace().nth(1)?.parse::<u32>().ok()
    };
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
        .filter(|process| parent_of(*process) == Some(parent))
        .collect()
}
