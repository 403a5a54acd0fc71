//! Memory usage depends neither on the size of the input nor on the number of batches.
#![cfg(target_os = "linux")]

use std::fs::File;
use std::io::{BufWriter, Write};
use std::process::Stdio;

use crate::support::{Bench, tiny};

/// The memory in MiB by which half a million rows may exceed twenty thousand.
const MORE_MIB: u64 = 12;

/// The peak resident memory of a running process in KiB, as reported by the kernel.
fn peak_kib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// The peak in MiB of a run over `rows`.
fn peak_mib(rows: u32) -> u64 {
    let bench = Bench::new();
    let mut file = BufWriter::new(File::create(bench.path("rows.jsonl")).unwrap());
    for row in 0..rows {
        writeln!(file, "{{\"id\":{row},\"text\":\"good film {}\"}}", row % 10).unwrap();
    }
    file.into_inner().unwrap();
    let args =
        "run rows.jsonl -o labels.csv --concurrency 2 --batch-size 50 --json --quiet --model";
    let mut child = bench
        .shoal(args.split(' ').chain([tiny()]))
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
    assert_eq!(summary["results"], rows);
    let labels = File::open(bench.path("labels.csv")).unwrap();
    let lines = std::io::BufRead::lines(std::io::BufReader::new(labels)).count();
    assert_eq!(lines as u32, rows + 1);
    assert!(peak > 0);
    peak / 1024
}

#[test]
fn half_a_million_rows_take_no_more_memory_than_twenty_thousand() {
    let (few, many) = (peak_mib(20_000), peak_mib(500_000));
    println!("{few} MiB, {many} MiB");
    assert!(many < few + MORE_MIB, "{few} MiB became {many} MiB");
}
