//! The command for the fault-injection campaign.
//!
//! ```text
//! cargo run --release -p chaos -- --seeds 10000 --master 1
//! cargo run --release -p chaos -- --replay SEED
//! ```

use std::io::{IsTerminal, Write};
use std::num::NonZero;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use chaos::{Campaign, run, seed_of};
use clap::Parser;

/// Runs jobs with injected faults, and checks that no record is lost or duplicated and that the output is byte-identical to
/// that of an undisturbed run. Exits with 1 if a run fails this check.
#[derive(Parser)]
struct Arguments {
    /// The number of runs
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// The seed from which the seeds of the runs are derived
    #[arg(long, default_value_t = 1)]
    master: u64,
    /// The number of concurrent runs [default: the number of cores]
    #[arg(long)]
    threads: Option<NonZero<usize>>,
    /// Replay the run of one seed and print every step
    #[arg(long, conflicts_with_all = ["seeds", "master", "threads"])]
    replay: Option<u64>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // Panics are reported with the seed of their run.
    std::panic::set_hook(Box::new(|_| {}));
    let campaign = match arguments.replay {
        Some(seed) => {
            let mut campaign = Campaign::default();
            let report = run(seed, true);
            println!("digest {}", report.digest);
            if let Some(violation) = &report.violation {
                println!("violation: {violation}");
            }
            campaign.add(&report);
            campaign
        }
        None => all(&arguments),
    };
    print!("{campaign}");
    if campaign.violations() == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Runs the campaign on several threads.
fn all(arguments: &Arguments) -> Campaign {
    let Arguments { seeds, master, .. } = *arguments;
    let cores = || thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
    let threads = arguments.threads.unwrap_or_else(cores).get();
    let campaign = Mutex::new(Campaign::default());
    let next = AtomicU64::new(0);
    let started = Instant::now();
    let is_watched = std::io::stderr().is_terminal();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= seeds {
                        break;
                    }
                    let report = run(seed_of(master, number), false);
                    let mut campaign = campaign
                        .lock()
                        .expect("no thread panics with the lock held");
                    campaign.add(&report);
                    if let Some(violation) = &report.violation {
                        println!("seed {}: {violation}", report.seed);
                        println!(
                            "  to replay it: cargo run --release -p chaos -- --replay {}",
                            report.seed
                        );
                    }
                    if is_watched && number.is_multiple_of(100) {
                        eprint!("\r{number} of {seeds} runs");
                        let _ = std::io::stderr().flush();
                    }
                }
            });
        }
    });
    if is_watched {
        eprintln!();
    }
    println!(
        "{seeds} runs of master seed {master} on {threads} threads in {:.0} s\n",
        started.elapsed().as_secs_f64()
    );
    campaign
        .into_inner()
        .expect("no thread panics with the lock held")
}
