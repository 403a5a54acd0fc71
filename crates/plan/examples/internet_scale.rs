//! Plays a billion records in 4 million batches over 10,000 environments, and tells how long that took:
//! `cargo run --release -p shoal-plan --example internet_scale`.

use std::time::Instant;

use shoal_plan::simulate::{BatchPool, ColdStart, Failures, Ramp, Scenario, Stragglers, simulate};

fn main() {
    let started = Instant::now();
    // Records of 5 to 100 ms, as reviews are.
    let sample: Vec<f64> = (0..10_000)
        .map(|n| 0.005 + 0.095 * f64::from(n % 1000) / 1000.0)
        .collect();
    let pool = BatchPool::new(&sample, 1_000_000_000, 250);
    let scenario = Scenario {
        batches: pool.batches(),
        environments: 10_000,
        ramp: Some(Ramp {
            start: 1_000,
            step: 1_000,
            every_seconds: 10.0,
        }),
        client_seconds: 0.000_13,
        call_seconds: 0.02,
        cold: ColdStart {
            place_seconds: 0.25,
            init_seconds: 0.02,
        },
        failures: Failures {
            share: 0.001,
            attempts: 3,
            delay_seconds: 0.2,
            longest_delay_seconds: 20.0,
        },
        stragglers: Stragglers {
            share: 0.01,
            factor: 3.0,
        },
        timeout_seconds: Some(900.0),
        billing_step_ms: 1.0,
        ..Scenario::default()
    };
    let outcome =
        simulate(&scenario, |batch| pool.seconds(batch), |_| {}).expect("the scenario makes sense");
    println!("{outcome:#?}");
    println!(
        "played {} batches in {:.2} s",
        scenario.batches,
        started.elapsed().as_secs_f64()
    );
}
