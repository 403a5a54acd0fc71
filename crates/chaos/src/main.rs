//! The fault campaign as a command.
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

use chaos::{Campaign, Stock, run, seed_of};
use clap::Parser;

/// Runs jobs in a world that goes wrong, and checks that nothing is lost, nothing is there twice, and the output has the
/// bytes of an undisturbed run. Ends with 1 where one does not hold.
#[derive(Parser)]
struct Arguments {
    /// Runs of the campaign.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// What the seeds of the runs are made of.
    #[arg(long, default_value_t = 1)]
    master: u64,
    /// Runs at a time; as many as there are cores, where it is not said.
    #[arg(long)]
    threads: Option<NonZero<usize>>,
    /// Prints every step of the run of one seed.
    #[arg(long, conflicts_with_all = ["seeds", "master", "threads"])]
    replay: Option<u64>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // What actors panic with is told with the seed of their run.
    std::panic::set_hook(Box::new(|_| {}));
    let stock = Stock::new();
    let campaign = match arguments.replay {
        Some(seed) => {
            let mut campaign = Campaign::default();
            let report = run(&stock, seed, true);
            println!("digest {}", report.digest);
            if let Some(breach) = &report.breach {
                println!("breach: {breach}");
            }
            campaign.add(&report);
            campaign
        }
        None => all(&stock, &arguments),
    };
    print!("{campaign}");
    if campaign.breaches() == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Runs the campaign on threads.
fn all(stock: &Stock, arguments: &Arguments) -> Campaign {
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
                    let report = run(stock, seed_of(master, number), false);
                    let mut campaign = campaign.lock().expect("nobody panics with it");
                    campaign.add(&report);
                    if let Some(breach) = &report.breach {
                        println!("seed {}: {breach}", report.seed);
                        println!(
                            "  again, step by step: cargo run --release -p chaos -- --replay {}",
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
    campaign.into_inner().expect("nobody panics with it")
}
