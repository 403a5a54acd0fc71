//! Array workers, which determine their share by their index.

use std::path::Path;
use std::process::Command;

use crate::support::{ManyBatches, describe, summary};

/// A run that is planned for array workers.
fn planned() -> ManyBatches {
    let job = ManyBatches::new(300, 20);
    let output = job
        .run("run", &["--backend", "array", "--detach"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", describe(&output));
    assert!(!job.bench.path("run.csv").exists());
    job
}

/// Collects the run, which must not process any batch again.
fn collect(job: &ManyBatches) {
    let done = summary(job.bench.shoal(["resume", "run", "--json", "--quiet"]));
    assert_eq!(done["reused_batches"], 16);
    assert_eq!(done["failed"], 2);
    job.check("run");
}

#[test]
fn shares_may_be_processed_in_any_order_and_repeatedly() {
    let job = planned();
    for (index, says) in [
        ("2", "100 records"),
        ("0", "in 6 of 6 batches; done before: 0"),
        ("1", "in 5 of 5 batches"),
        (
            "0",
            "0 records (0 failed) in 0 of 6 batches; done before: 6",
        ),
    ] {
        let worker = ["worker", "--run", "run", "--of", "3", "--index", index];
        let printed = String::from_utf8(job.bench.ok(worker).stderr).unwrap();
        assert!(printed.contains(says), "{printed}");
    }
    collect(&job);
}

#[test]
fn the_worker_index_comes_from_the_platform_or_a_flag() {
    let job = planned();
    let message = job.bench.fails(2, ["worker", "--run", "run"]);
    assert!(message.contains("--index and --of"), "{message}");
    let worker = job
        .bench
        .shoal(["worker", "--run", "run"])
        .env("AWS_BATCH_JOB_ARRAY_INDEX", "4")
        .env("AWS_BATCH_JOB_ARRAY_SIZE", "5")
        .output()
        .unwrap();
    let printed = describe(&worker);
    assert!(printed.contains("worker 4 of 5"), "{printed}");
    assert!(printed.contains("in 3 of 3 batches"), "{printed}");
}

#[test]
fn the_slurm_script_completes_the_run() {
    let job = planned();
    job.bench
        .ok(["export", "slurm", "run", "--workers", "3", "-o", "run.sh"]);
    let shell = |arguments: &[&str]| {
        let program = Path::new(env!("CARGO_BIN_EXE_shoal")).parent().unwrap();
        let path = std::env::join_paths(
            std::iter::once(program.to_owned())
                .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
        );
        let mut command = Command::new("sh");
        command
            .args(arguments)
            .current_dir(job.bench.path(""))
            .env_clear()
            .env("PATH", path.unwrap())
            .env("HOME", job.bench.path("home"));
        command
    };
    assert!(shell(&["-n", "run.sh"]).status().unwrap().success());
    for index in ["1", "2", "0"] {
        let output = shell(&["run.sh"])
            .env("SLURM_ARRAY_TASK_ID", index)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", describe(&output));
    }
    // Without an index, the script fails.
    assert!(!shell(&["run.sh"]).output().unwrap().status.success());
    collect(&job);
}

#[test]
fn runs_on_this_machine_are_not_exported_to_containers() {
    let job = planned();
    let export = ["export", "k8s", "run", "--workers", "3", "--image", "shoal"];
    let message = job.bench.fails(2, export);
    assert!(message.contains("--store"), "{message}");
    let message = job
        .bench
        .fails(2, ["export", "slurm", "run", "--workers", "17"]);
    assert!(message.contains("16 batches"), "{message}");
}
