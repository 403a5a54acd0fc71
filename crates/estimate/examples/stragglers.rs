//! Simulates how second attempts mitigate stragglers. All batches run at once or in waves, and a
//! share of the calls takes 5 or 20 times as long as the others.
//!
//! ```sh
//! cargo run --release -p shoal-estimate --example stragglers
//! ```

use shoal_estimate::simulate::{
    BatchPool, ColdStart, End, Outcome, Ramp, Sample, Scenario, ScenarioError, Speculation,
    Stragglers, simulate,
};
use shoal_estimate::{Architecture, Basis, Prices, Usage, limits};

/// Runs per configuration, with different seeds.
const RUNS: u64 = 20;
const BATCH_SIZE: u64 = 500;
const MEMORY_GB: f64 = 1769.0 / 1024.0;

/// Means over runs, except for the last field. Quantiles are of the time from a batch's first call
/// to its end.
#[derive(Default)]
struct Row {
    p50: f64,
    p99: f64,
    p999: f64,
    longest: f64,
    makespan: f64,
    usd: f64,
    second_share: f64,
    won: f64,
    second_attempts: f64,
    /// The highest share of the cost for second attempts in any run.
    highest_share: f64,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let prices = Prices::aws();
    // Ten thousand records with exponentially distributed times, 4 ms on average.
    let mut rng = fastrand::Rng::with_seed(1);
    let sample: Vec<f64> = (0..10_000)
        .map(|_| 0.004 * -(1.0 - rng.f64()).ln())
        .collect();
    println!(
        "Batches of {BATCH_SIZE} records, 2 s of work. Means of {RUNS} runs; quantiles of the seconds from a batch's first call to its end."
    );
    println!(
        "The budget for second attempts is {} of the billed time of first attempts.",
        percent(Speculation::default().budget)
    );
    for (batches, environments) in [(1_000, 1_000), (10_000, 1_000)] {
        println!("\n{batches} batches on {environments} environments\n");
        println!(
            "| slow calls | slowdown | second attempts allowed | p50 | p99 | p99.9 | longest | makespan | USD | share of second attempts (highest in a run) | second attempts | completed first |"
        );
        println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
        for share in [0.001, 0.005, 0.01, 0.02] {
            for factor in [5.0, 20.0] {
                for speculation in [None, Some(Speculation::default())] {
                    let mut row = Row::default();
                    for seed in 0..RUNS {
                        let pool = BatchPool::sampled(
                            &Sample {
                                seconds: &sample,
                                group: 1,
                                records: batches * BATCH_SIZE,
                                seed,
                            },
                            BATCH_SIZE,
                        );
                        let scenario = Scenario {
                            environments,
                            stragglers: Stragglers { share, factor },
                            speculation,
                            seed,
                            ..lambda(pool.batches())
                        };
                        let (outcome, seconds) = run_scenario(&scenario, &pool)?;
                        row.add(&outcome, &seconds, usd(&outcome, &prices)?);
                    }
                    row.print(share, factor, speculation.is_some());
                }
            }
        }
    }
    Ok(())
}

fn lambda(batches: u64) -> Scenario {
    Scenario {
        batches,
        ramp: Some(Ramp::LAMBDA),
        client_seconds: 0.000_05,
        call_seconds: 0.01,
        cold: ColdStart {
            place_seconds: 0.2,
            init_seconds: 0.05,
        },
        timeout_seconds: Some(f64::from(*limits::TIMEOUT.end())),
        billing_step_ms: 1.0,
        ..Scenario::default()
    }
}

/// The outcome, and the sorted seconds from each batch's first call to its end.
fn run_scenario(
    scenario: &Scenario,
    pool: &BatchPool,
) -> Result<(Outcome, Vec<f64>), ScenarioError> {
    let mut starts = vec![f64::INFINITY; scenario.batches as usize];
    let mut ends = starts.clone();
    let outcome = simulate(
        scenario,
        |batch| pool.seconds(batch),
        |span| {
            let batch = span.batch as usize;
            starts[batch] = starts[batch].min(span.start);
            if span.end_kind == End::Done {
                ends[batch] = ends[batch].min(span.end);
            }
        },
    )?;
    let mut seconds: Vec<f64> = ends
        .iter()
        .zip(starts)
        .map(|(end, start)| end - start)
        .collect();
    seconds.sort_by(f64::total_cmp);
    Ok((outcome, seconds))
}

fn usd(outcome: &Outcome, prices: &Prices) -> Result<f64, Box<dyn std::error::Error>> {
    let usage = Usage {
        compute_gb_s: (outcome.billed_ms - outcome.init_ms) / 1e3 * MEMORY_GB,
        init_gb_s: outcome.init_ms / 1e3 * MEMORY_GB,
        requests: outcome.invocations as f64,
        ..Usage::none("us-east-1", Architecture::X86, Basis::Predicted)
    };
    Ok(usage.bill(prices)?.usd())
}

impl Row {
    fn add(&mut self, outcome: &Outcome, seconds: &[f64], usd: f64) {
        // Nearest-rank quantile.
        let quantile = |share: f64| seconds[(share * seconds.len() as f64).ceil() as usize - 1];
        let share = outcome.second_billed_ms / outcome.billed_ms;
        self.highest_share = self.highest_share.max(share);
        for (sum, value) in [
            (&mut self.p50, quantile(0.5)),
            (&mut self.p99, quantile(0.99)),
            (&mut self.p999, quantile(0.999)),
            (&mut self.longest, quantile(1.0)),
            (&mut self.makespan, outcome.seconds),
            (&mut self.usd, usd),
            (&mut self.second_share, share),
            (&mut self.second_attempts, outcome.second_attempts as f64),
            (&mut self.won, outcome.second_won as f64),
        ] {
            *sum += value / RUNS as f64;
        }
    }

    fn print(&self, share: f64, factor: f64, is_allowed: bool) {
        let Self {
            p50,
            p99,
            p999,
            longest,
            makespan,
            usd,
            second_share,
            won,
            second_attempts,
            highest_share,
        } = self;
        let (slow, second_share, highest_share) = (
            percent(share),
            percent(*second_share),
            percent(*highest_share),
        );
        let allowed = if is_allowed { "yes" } else { "no" };
        println!(
            "| {slow} | {factor} | {allowed} | {p50:.2} | {p99:.2} | {p999:.2} | {longest:.2} | {makespan:.2} | {usd:.4} | {second_share} ({highest_share}) | {second_attempts:.1} | {won:.1} |"
        );
    }
}

fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}
