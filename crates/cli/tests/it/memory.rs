//! Memory usage depends neither on the size of the input nor on the number of batches.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::process::Stdio;

use crate::support::{Bench, tiny_model};

const ROWS: u32 = 2_000_000;
/// The memory limit, about 20 MiB of which are the program itself.
const LIMIT_MIB: u64 = 64;

/// The peak resident memory of a running process in KiB, as reported by the kernel.
#[cfg(target_os = "linux")]
fn peak_kib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[test]
#[cfg(target_os = "linux")]
fn two_million_rows_stay_below_the_memory_limit() {
    let bench = Bench::new();
    let mut file = BufWriter::new(File::create(bench.path("rows.jsonl")).unwrap());
    for row in 0..ROWS {
        writeln!(file, "{{\"id\":{row},\"text\":\"good film {}\"}}", row % 10).unwrap();
    }
    file.into_inner().unwrap();
    let model = tiny_model();
    let mut child = bench
        .shoal([
            "run",
            "rows.jsonl",
            "-o",
            "labels.csv",
            "--concurrency",
            "2",
            "--batch-size",
            "50",
            "--json",
        ])
        .arg("--quiet")
        .arg("--model")
        .arg(model)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut peak = 0;
    // The peak never decreases, so the last value before the exit is the result.
    while child.try_wait().unwrap().is_none() {
        peak = peak_kib(child.id()).unwrap_or(peak).max(peak);
        std::thread::yield_now();
    }
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["results"], ROWS);
    let labels = File::open(bench.path("labels.csv")).unwrap();
    let rows = std::io::BufRead::lines(std::io::BufReader::new(labels)).count();
    assert_eq!(rows as u32, ROWS + 1);
    println!("peak: {} MiB of {LIMIT_MIB}", peak / 1024);
    assert!(
        peak > 0 && peak / 1024 < LIMIT_MIB,
        "the peak was {} MiB",
        peak / 1024
    );
}
