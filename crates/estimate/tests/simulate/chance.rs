//! Random runs compared with their expected values, at fixed seeds, within four standard
//! deviations.

use shoal_estimate::simulate::{End, Failures, Scenario, Stragglers};

use crate::run_scenario;

const BATCHES: usize = 20_000;

#[track_caller]
fn assert_near(found: f64, expected: f64, deviation: f64) {
    assert!(
        (found - expected).abs() < 4.0 * deviation,
        "{found}, expected {expected} ± {deviation}"
    );
}

/// With failure probability p and k attempts, a batch is called (1 - p^k) / (1 - p) times on
/// average and lost with probability p^k.
#[test]
fn calls_follow_a_truncated_geometric_distribution() {
    let count = BATCHES as f64;
    for (share, attempts) in [(0.3_f64, 3_u32), (0.05, 2), (0.9, 5)] {
        let scenario = Scenario {
            environments: 50,
            failures: Failures {
                share,
                attempts,
                ..Failures::default()
            },
            seed: 11,
            ..Scenario::default()
        };
        let (outcome, spans) = run_scenario(scenario, &[1.0; BATCHES]);
        let lost = share.powi(attempts as i32);
        // P(calls ≥ n) = p^(n-1). The mean is the sum of these probabilities, and the mean square
        // is the sum of (2n - 1) times them.
        let at_least = |n: u32| share.powi(n as i32 - 1);
        let mean: f64 = (1..=attempts).map(at_least).sum();
        let square: f64 = (1..=attempts)
            .map(|n| (2.0 * f64::from(n) - 1.0) * at_least(n))
            .sum();
        assert!((mean - (1.0 - lost) / (1.0 - share)).abs() < 1e-12);
        let deviation = (count * (square - mean * mean)).sqrt();
        assert_near(outcome.invocations as f64, count * mean, deviation);
        assert_near(
            outcome.lost as f64,
            count * lost,
            (count * lost * (1.0 - lost)).sqrt(),
        );
        // A failure is uniformly distributed in a second of work: mean 1/2, variance 1/12.
        let failed: Vec<f64> = spans
            .iter()
            .filter(|span| matches!(span.end_kind, End::Retry | End::Lost))
            .map(|span| span.work_seconds)
            .collect();
        let failures = failed.len() as f64;
        assert_near(
            failed.iter().sum(),
            failures / 2.0,
            (failures / 12.0).sqrt(),
        );
    }
}

/// Delays before attempts 2, 3, 4 … are uniformly distributed up to 1, 2, 4 … s, but at most 3 s.
#[test]
fn delays_have_full_jitter() {
    let scenario = Scenario {
        environments: BATCHES as u64,
        failures: Failures {
            share: 1.0,
            attempts: 5,
            delay_seconds: 1.0,
            longest_delay_seconds: 3.0,
        },
        ..Scenario::default()
    };
    let (_, spans) = run_scenario(scenario, &[0.0; BATCHES]);
    let mut last_ends = vec![0.0; BATCHES];
    let mut waits = vec![Vec::new(); 6];
    for span in &spans {
        waits[span.attempt as usize].push(span.start - last_ends[span.batch as usize]);
        last_ends[span.batch as usize] = span.end;
    }
    for (attempt, bound) in [(2, 1.0), (3, 2.0), (4, 3.0), (5, 3.0)] {
        let waits = &waits[attempt];
        let count = waits.len() as f64;
        assert!(waits.iter().all(|&wait| wait <= bound));
        assert_near(
            waits.iter().sum::<f64>() / count,
            bound / 2.0,
            bound / (12.0 * count).sqrt(),
        );
    }
}

/// If a share s of calls takes f times as long, the total is 1 + s (f - 1) times as long.
#[test]
fn stragglers_increase_the_time_by_their_share() {
    let (share, factor) = (0.1, 5.0);
    let scenario = Scenario {
        environments: 10,
        stragglers: Stragglers { share, factor },
        seed: 3,
        ..Scenario::default()
    };
    let (outcome, spans) = run_scenario(scenario, &[1.0; BATCHES]);
    let count = BATCHES as f64;
    let stragglers = spans
        .iter()
        .filter(|span| span.work_seconds == factor)
        .count() as f64;
    let deviation = (count * share * (1.0 - share)).sqrt();
    assert_near(stragglers, count * share, deviation);
    assert_near(
        outcome.function_seconds,
        count * (1.0 + share * (factor - 1.0)),
        deviation * (factor - 1.0),
    );
}

/// Failures and stragglers are the same for every number of environments, and differ for another
/// seed.
#[test]
fn random_events_depend_on_the_seed_but_not_on_the_order() {
    let scenario = |environments, seed| Scenario {
        environments,
        failures: Failures {
            share: 0.2,
            ..Failures::default()
        },
        stragglers: Stragglers {
            share: 0.1,
            factor: 3.0,
        },
        seed,
        ..Scenario::default()
    };
    let events = |environments, seed| {
        let (_, spans) = run_scenario(scenario(environments, seed), &[1.0; 500]);
        let mut events: Vec<_> = spans
            .iter()
            .map(|span| {
                (
                    span.batch,
                    span.attempt,
                    span.work_seconds.to_bits(),
                    span.end_kind == End::Done,
                )
            })
            .collect();
        events.sort_unstable();
        events
    };
    assert_eq!(events(1, 5), events(64, 5));
    assert_ne!(events(1, 5), events(1, 6));
}
