//! Measures the overhead of the lambda backend: wall time, CPU time and memory of this process for no-op calls to a
//! simulated Lambda.
//!
//!     cargo run --release -p shoal-aws --example client_load -- CALLS CONCURRENCY [CALL_MS [COLD_MS [LIMIT]]]
//!
//! prints one line of JSON. `LIMIT` is the concurrency limit of the platform: if it is below `CONCURRENCY`, calls are
//! throttled. Memory is the peak resident size, after the first hundredth of the calls and at the end.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use cpu_time::ProcessTime;
use shoal_aws::Lambda;
use shoal_aws::config::Config;
use shoal_dispatch::{Backend, RetryPolicy, Work};
use shoal_job::wire::FailureKind;
use shoal_job::{Batch, Cancel, Event, RunDir};
use simulated_lambda::{Settings, Simulator};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    simulated_lambda::serve_if_asked();
    let numbers: Vec<u64> = std::env::args()
        .skip(1)
        .map(|argument| argument.parse())
        .collect::<Result<_, _>>()?;
    let number = |index: usize, default: u64| numbers.get(index).copied().unwrap_or(default);
    let (calls, concurrency) = (number(0, 1000), number(1, 1000) as usize);
    let settings = Settings {
        call_ms: number(2, 0),
        cold_ms: number(3, 0),
        concurrency: number(4, 1000) as usize,
        ramp: None,
    };
    let simulator = Simulator::start(&settings)?;
    let folder = tempfile::tempdir()?;
    let run = RunDir::create(folder.path())?;
    let batches = (0..calls).map(|index| {
        Cow::Owned(Batch {
            index,
            records: 50,
            ..Batch::default()
        })
    });
    let cancel = Cancel::new();
    let work = Work {
        run: &run,
        batches: batches.collect(),
        is_suspect: false,
        retry: RetryPolicy::default(),
        timeout: Some(Duration::from_secs(900)),
        stop_on_bad_record: false,
        speculation: None,
        budget: None,
        cancel: &cancel,
    };
    let lambda = Lambda::new(config(simulator.url()), "no-op", concurrency);
    let (mut finished, mut throttled, mut failed, mut early) = (0, 0, 0, None);
    let (started, cpu) = (Instant::now(), ProcessTime::now());
    lambda.run(&work, &mut |event| match event {
        Event::Finished { .. } => {
            finished += 1;
            if finished == calls / 100 {
                early = peak_mib();
            }
        }
        Event::Failed {
            kind: FailureKind::Throttled,
            ..
        } => throttled += 1,
        Event::Failed { .. } => failed += 1,
        _ => {}
    })?;
    let (wall, cpu) = (started.elapsed().as_secs_f64(), cpu.elapsed().as_secs_f64());
    println!(
        "{}",
        serde_json::json!({
            "calls": calls,
            "concurrency": concurrency,
            "platform": settings,
            "finished": finished,
            "throttled": throttled,
            "failed": failed,
            "wall_seconds": wall,
            "client_cpu_seconds": cpu,
            "client_cpu_us_per_call": cpu * 1e6 / calls as f64,
            "peak_mib_early": early,
            "peak_mib": peak_mib(),
        })
    );
    Ok(())
}

fn config(url: &str) -> Config {
    Config::of_emulator("us-east-1", url)
}

/// The peak resident memory of this process in MiB, if the system reports it.
fn peak_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024)
}
