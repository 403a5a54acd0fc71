//! Plans for tests and samples.

use shoal_estimate::simulate::ColdStart;
use shoal_estimate::{
    Architecture, Basis, Bill, BillItem, Calibration, ColdStartEffect, Confidence, Constraints,
    Estimate, Plan, Point, Precision, Target, Work, Workload, choose, pareto,
};

fn estimate(
    place: &str,
    memory_mb: Option<u32>,
    batch_size: u64,
    seconds: f64,
    usd: f64,
) -> Estimate {
    Estimate {
        place: place.into(),
        batch_size,
        batches: 1_000 / batch_size,
        concurrency: 10,
        memory_mb,
        architecture: Architecture::X86,
        seconds,
        function_seconds: seconds,
        longest_batch_seconds: 1.0,
        peak_concurrency: 10,
        cold_starts: 10,
        bill: Bill {
            provider: "aws".into(),
            date: "2026-11-24".into(),
            region: Some("us-east-1".into()),
            items: vec![BillItem {
                name: "compute".into(),
                quantity: usd / 2e-5,
                unit: "GB-s".into(),
                usd,
                basis: Basis::Predicted,
                usd_per_unit: 2e-5,
                confidence: Confidence::Documented,
                source: "https://example.com/prices".into(),
            }],
        },
        basis: Basis::Predicted,
        broken: Vec::new(),
    }
}

/// A plan of 1,000 records on this machine or on Lambda, in two batch sizes and two memory sizes.
pub(crate) fn plan(deadline_seconds: Option<f64>) -> Plan {
    let mut estimates = vec![estimate("local", None, 50, 90.0, 0.0)];
    for (memory_mb, slowdown) in [(512, 3.455), (1_769, 1.0)] {
        for batch_size in [50, 250] {
            let seconds = batch_size as f64 * 0.1 * slowdown + 0.5;
            let usd = 0.01 + 1.0 / batch_size as f64;
            estimates.push(estimate(
                "lambda",
                Some(memory_mb),
                batch_size,
                seconds,
                usd,
            ));
        }
    }
    estimates.push(Estimate {
        broken: vec!["a batch takes 1000 s, Lambda allows 900 s".into()],
        ..estimate("lambda", Some(512), 1_000, 1_000.0, 0.01)
    });
    let constraints = Constraints {
        deadline_seconds,
        max_usd: None,
    };
    let choice = choose(&estimates, constraints);
    let effect = |seconds, usd| ColdStartEffect {
        cold: ColdStart::LAMBDA,
        seconds,
        usd,
    };
    let is_function = choice.index.is_some_and(|index| index > 0);
    Plan {
        inputs: vec!["reviews.csv".into()],
        model: "bundled".into(),
        precision: Precision::Int8,
        workload: Workload {
            records: 1_000,
            read: 1_000,
            ..Workload::default()
        },
        tokens: 250_000.0,
        work: Work {
            seconds: 100.0,
            sampling_error: 0.0,
        },
        calibrations: vec![Calibration {
            version: Calibration::VERSION,
            shoal: "0.1.0".into(),
            model: "bundled".into(),
            fingerprint: "f".into(),
            precision: Precision::Int8,
            isa: Target::Avx2,
            architecture: Architecture::X86,
            machine: "a CPU".into(),
            unix_seconds: 0,
            points: vec![Point {
                tokens: 512,
                seconds: 0.2,
            }],
            ratio: 1.0,
            records: 56,
            spread: 0.02,
            invocation_seconds: 0.0,
            init_seconds: 0.03,
            memory_bytes: 60_000_000,
            side_by_side: Vec::new(),
            platform: None,
        }],
        prices_date: "2026-11-24".into(),
        region: "us-east-1".into(),
        pareto: pareto(&estimates),
        constraints,
        choice,
        cold_starts: is_function.then(|| [effect(5.1, 0.02), effect(6.0, 0.04)]),
        break_even: Vec::new(),
        assumptions: vec!["this machine costs nothing".into()],
        estimates,
        command: "shoal plan reviews.csv".into(),
    }
}
