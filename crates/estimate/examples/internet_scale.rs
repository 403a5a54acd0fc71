//! Simulates a billion records in four million batches on 10,000 Lambda environments, and measures
//! how long the simulation takes.
//!
//! ```sh
//! cargo run --release -p shoal-estimate --example internet_scale
//! ```

use std::time::Instant;

use shoal_estimate::simulate::{
    BatchPool, ColdStart, Failures, Ramp, Sample, Scenario, ScenarioError, Speculation, Stragglers,
    simulate,
};

const RECORDS: u64 = 1_000_000_000;
const BATCH_SIZE: u64 = 250;

fn main() -> Result<(), ScenarioError> {
    // Ten thousand records with exponentially distributed times, 4 ms on average.
    let mut rng = fastrand::Rng::with_seed(1);
    let sample: Vec<f64> = (0..10_000)
        .map(|_| 0.004 * -(1.0 - rng.f64()).ln())
        .collect();

    let began = Instant::now();
    let pool = BatchPool::sampled(
        &Sample {
            seconds: &sample,
            group: 1,
            records: RECORDS,
            seed: 1,
        },
        BATCH_SIZE,
    );
    let pooled = began.elapsed();
    let scenario = Scenario {
        batches: pool.batches(),
        environments: 10_000,
        ramp: Some(Ramp::LAMBDA),
        client_seconds: 0.000_05,
        setup_seconds: 2.0,
        call_seconds: 0.01,
        cold: ColdStart {
            place_seconds: 0.2,
            init_seconds: 0.05,
        },
        failures: Failures {
            share: 0.001,
            ..Failures::default()
        },
        stragglers: Stragglers {
            share: 0.01,
            factor: 10.0,
        },
        timeout_seconds: Some(900.0),
        billing_step_ms: 1.0,
        seed: 1,
        ..Scenario::default()
    };
    println!(
        "{RECORDS} records in {} batches: pool created in {:.3} s",
        pool.batches(),
        pooled.as_secs_f64()
    );
    for (name, speculation) in [
        ("without second attempts", None),
        ("with second attempts", Some(Speculation::default())),
    ] {
        let began = Instant::now();
        let scenario = Scenario {
            speculation,
            ..scenario
        };
        let outcome = simulate(&scenario, |batch| pool.seconds(batch), |_| ())?;
        let seconds = began.elapsed().as_secs_f64();
        println!("{name}: simulated in {seconds:.3} s\n{outcome:#?}");
    }
    Ok(())
}
