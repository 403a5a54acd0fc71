//! Small runs, compared exactly: nearly all times are sums of powers of two, which floating point
//! adds exactly.

use shoal_estimate::simulate::{ColdStart, End, Failures, Ramp, Scenario, Stragglers};

use crate::run_scenario;

/// `(batch, environment, start, end)` of every call.
fn calls(scenario: Scenario, work: &[f64]) -> Vec<(u64, u64, f64, f64)> {
    let (_, spans) = run_scenario(scenario, work);
    spans
        .iter()
        .map(|span| (span.batch, span.environment, span.start, span.end))
        .collect()
}

/// Two environments, three batches of 2, 1 and 3 s, cold starts of 0.5 s billed and 0.25 s not
/// billed, calls of 0.25 s. The second environment becomes free first and gets the third batch,
/// warm.
#[test]
fn two_environments_and_three_batches() {
    let scenario = Scenario {
        environments: 2,
        call_seconds: 0.25,
        cold: ColdStart {
            place_seconds: 0.25,
            init_seconds: 0.5,
        },
        billing_step_ms: 1.0,
        ..Scenario::default()
    };
    let (outcome, spans) = run_scenario(scenario, &[2.0, 1.0, 3.0]);
    assert_eq!(
        calls(scenario, &[2.0, 1.0, 3.0]),
        [(0, 0, 0.0, 3.0), (1, 1, 0.0, 2.0), (2, 1, 2.0, 5.25)]
    );
    let costs: Vec<_> = spans
        .iter()
        .map(|span| {
            (
                span.cold,
                span.init_seconds,
                span.work_seconds,
                span.billed_ms,
            )
        })
        .collect();
    assert_eq!(
        costs,
        [
            (true, 0.5, 2.0, 2500.0),
            (true, 0.5, 1.0, 1500.0),
            (false, 0.0, 3.0, 3000.0)
        ]
    );
    assert_eq!(outcome.seconds, 5.25);
    assert_eq!((outcome.billed_ms, outcome.init_ms), (7000.0, 1000.0));
    assert_eq!(outcome.function_seconds, 7.0);
    // 3, 2 and 3.25 s from call to response.
    assert_eq!(
        (outcome.batch_seconds, outcome.longest_batch_seconds),
        (8.25, 3.25)
    );
    assert_eq!(
        (
            outcome.invocations,
            outcome.cold_starts,
            outcome.peak_concurrency
        ),
        (3, 2, 2)
    );
}

/// The first two of three calls have completed when the fourth is due: it gets the lower
/// environment, not a new one.
#[test]
fn the_lowest_free_environment_is_taken() {
    let scenario = Scenario {
        environments: 4,
        client_seconds: 1.0,
        ..Scenario::default()
    };
    // The client takes a second per call, before the work begins.
    assert_eq!(
        calls(scenario, &[2.0, 1.0, 8.0, 1.0, 1.0]),
        [
            (0, 0, 0.0, 3.0),
            (1, 1, 1.0, 3.0),
            (2, 2, 2.0, 11.0),
            (3, 0, 3.0, 5.0),
            (4, 1, 4.0, 6.0)
        ]
    );
}

#[test]
fn one_environment_is_monolithic() {
    let scenario = Scenario {
        setup_seconds: 0.5,
        call_seconds: 0.25,
        ..Scenario::default()
    };
    assert_eq!(
        calls(scenario, &[1.0, 2.0, 4.0]),
        [(0, 0, 0.5, 1.75), (1, 0, 1.75, 4.0), (2, 0, 4.0, 8.25)]
    );
}

/// Batches of 2 and 1 s with a time limit of 1.5 s: the remainder starts before the next batch.
#[test]
fn a_remainder_starts_before_the_next_batch() {
    let scenario = Scenario {
        timeout_seconds: Some(1.5),
        ..Scenario::default()
    };
    let (outcome, spans) = run_scenario(scenario, &[2.0, 1.0]);
    let seen: Vec<_> = spans
        .iter()
        .map(|span| {
            (
                span.batch,
                span.attempt,
                span.start,
                span.end,
                span.end_kind,
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            (0, 1, 0.0, 1.5, End::TimedOut),
            (0, 1, 1.5, 2.0, End::Done),
            (1, 1, 2.0, 3.0, End::Done)
        ]
    );
    assert_eq!((outcome.timed_out, outcome.function_seconds), (1, 3.0));
    assert_eq!(outcome.batch_seconds, 3.0);
}

/// A straggler that takes 4 s for 1 s of work does a quarter of the work in each second.
#[test]
fn a_straggler_that_times_out_has_done_less_work() {
    let scenario = Scenario {
        stragglers: Stragglers {
            share: 1.0,
            factor: 4.0,
        },
        timeout_seconds: Some(1.0),
        ..Scenario::default()
    };
    let (outcome, _) = run_scenario(scenario, &[1.0]);
    assert_eq!((outcome.seconds, outcome.invocations), (4.0, 4));
}

/// Placement and initialization do not count towards the time limit.
#[test]
fn a_cold_start_does_not_count_towards_the_time_limit() {
    let scenario = Scenario {
        cold: ColdStart {
            place_seconds: 1.0,
            init_seconds: 1.0,
        },
        timeout_seconds: Some(1.0),
        ..Scenario::default()
    };
    assert_eq!(calls(scenario, &[1.0]), [(0, 0, 0.0, 3.0)]);
}

/// Every attempt fails, without delays: the batch is lost after three attempts, and the next one
/// starts in the same environment.
#[test]
fn a_batch_is_lost_when_its_attempts_are_exhausted() {
    let scenario = Scenario {
        failures: Failures {
            share: 1.0,
            attempts: 3,
            delay_seconds: 0.0,
            longest_delay_seconds: 0.0,
        },
        ..Scenario::default()
    };
    let (outcome, spans) = run_scenario(scenario, &[1.0, 1.0]);
    let seen: Vec<_> = spans
        .iter()
        .map(|span| (span.batch, span.attempt, span.environment, span.end_kind))
        .collect();
    assert_eq!(
        seen,
        [
            (0, 1, 0, End::Retry),
            (0, 2, 0, End::Retry),
            (0, 3, 0, End::Lost),
            (1, 1, 0, End::Retry),
            (1, 2, 0, End::Retry),
            (1, 3, 0, End::Lost)
        ]
    );
    assert_eq!(
        (
            outcome.invocations,
            outcome.failed,
            outcome.lost,
            outcome.cold_starts
        ),
        (6, 6, 2, 1)
    );
}

#[test]
fn billed_time_is_rounded_up_per_call() {
    let scenario = |billing_step_ms| Scenario {
        billing_step_ms,
        ..Scenario::default()
    };
    assert_eq!(
        run_scenario(scenario(100.0), &[0.101, 0.1, 0.0])
            .0
            .billed_ms,
        300.0
    );
    assert_eq!(
        run_scenario(scenario(0.0), &[0.25, 0.000_5]).0.billed_ms,
        250.5
    );
    // 0.1 + 0.2 is slightly above 0.3 in floating point, which must not be billed.
    let cold = ColdStart {
        place_seconds: 0.0,
        init_seconds: 0.1,
    };
    assert_eq!(
        run_scenario(
            Scenario {
                cold,
                ..scenario(1.0)
            },
            &[0.2]
        )
        .0
        .billed_ms,
        300.0
    );
}

/// 5 environments at once and 5 more each second after the first call: 30 calls of 10 s start in
/// groups of five.
#[test]
fn environments_follow_the_ramp() {
    let scenario = Scenario {
        environments: 100,
        ramp: Some(Ramp {
            start: 5,
            step: 5,
            every_seconds: 1.0,
        }),
        setup_seconds: 0.75,
        ..Scenario::default()
    };
    let (outcome, spans) = run_scenario(scenario, &[10.0; 30]);
    for (number, span) in spans.iter().enumerate() {
        assert_eq!(span.start, 0.75 + (number / 5) as f64);
    }
    assert_eq!((outcome.seconds, outcome.cold_starts), (15.75, 30));
}

/// A child starts every half second. The remainder of the first batch belongs to its child and
/// starts immediately.
#[test]
fn remainders_are_not_rate_limited() {
    let scenario = Scenario {
        environments: 4,
        starts_per_second: Some(2.0),
        timeout_seconds: Some(0.25),
        ..Scenario::default()
    };
    assert_eq!(
        calls(scenario, &[0.5, 0.25, 0.25]),
        [
            (0, 0, 0.0, 0.25),
            (0, 0, 0.25, 0.5),
            (1, 0, 0.5, 0.75),
            (2, 0, 1.0, 1.25)
        ]
    );
}

#[test]
fn an_empty_run_takes_its_setup_time() {
    let scenario = Scenario {
        setup_seconds: 2.0,
        ..Scenario::default()
    };
    let (outcome, spans) = run_scenario(scenario, &[]);
    assert_eq!(
        (outcome.seconds, outcome.invocations, spans.len()),
        (2.0, 0, 0)
    );
    assert_eq!(run_scenario(scenario, &[0.0, 0.0]).0.seconds, 2.0);
}
