//! Small runs, to the last digit: all times are sums of powers of two, which floating point adds exactly.

use shoal_estimate::simulate::{ColdStart, End, Failures, Ramp, Scenario, Stragglers};

use crate::play;

/// `(batch, environment, start, end)` of every call.
fn places(scenario: Scenario, work: &[f64]) -> Vec<(u64, u64, f64, f64)> {
    let (_, spans) = play(scenario, work);
    spans
        .iter()
        .map(|span| (span.batch, span.environment, span.start, span.end))
        .collect()
}

/// Two environments, three batches of 2, 1 and 3 s, cold starts of 0.5 s that are billed and 0.25 s that are not, calls of
/// 0.25 s: the second environment is free first, and takes the third batch warm.
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
    let (outcome, spans) = play(scenario, &[2.0, 1.0, 3.0]);
    assert_eq!(
        places(scenario, &[2.0, 1.0, 3.0]),
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
    // 3, 2 and 3.25 s from call to answer.
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

/// Three calls at once, and the first two are back when the fourth is due: it takes the lower environment, and no new one.
#[test]
fn the_lowest_free_environment_is_taken() {
    let scenario = Scenario {
        environments: 4,
        client_seconds: 1.0,
        ..Scenario::default()
    };
    // Each call takes a second of the client before its work.
    assert_eq!(
        places(scenario, &[2.0, 1.0, 8.0, 1.0, 1.0]),
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
        places(scenario, &[1.0, 2.0, 4.0]),
        [(0, 0, 0.5, 1.75), (1, 0, 1.75, 4.0), (2, 0, 4.0, 8.25)]
    );
}

/// Batches of 2 and 1 s where a call may work 1.5 s: the rest goes before the next batch.
#[test]
fn what_runs_out_of_time_goes_on_first() {
    let scenario = Scenario {
        timeout_seconds: Some(1.5),
        ..Scenario::default()
    };
    let (outcome, spans) = play(scenario, &[2.0, 1.0]);
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
            (0, 1, 0.0, 1.5, End::Rest),
            (0, 1, 1.5, 2.0, End::Done),
            (1, 1, 2.0, 3.0, End::Done)
        ]
    );
    assert_eq!((outcome.rests, outcome.function_seconds), (1, 3.0));
    assert_eq!(outcome.batch_seconds, 3.0);
}

/// A straggler of 4 s for 1 s of work does a quarter of the work in each second.
#[test]
fn a_straggler_that_runs_out_of_time_did_less() {
    let scenario = Scenario {
        stragglers: Stragglers {
            share: 1.0,
            factor: 4.0,
        },
        timeout_seconds: Some(1.0),
        ..Scenario::default()
    };
    let (outcome, _) = play(scenario, &[1.0]);
    assert_eq!((outcome.seconds, outcome.invocations), (4.0, 4));
}

/// The way to a new environment is a part of no function's time limit.
#[test]
fn a_cold_start_takes_nothing_of_the_time_limit() {
    let scenario = Scenario {
        cold: ColdStart {
            place_seconds: 1.0,
            init_seconds: 1.0,
        },
        timeout_seconds: Some(1.0),
        ..Scenario::default()
    };
    assert_eq!(places(scenario, &[1.0]), [(0, 0, 0.0, 3.0)]);
}

/// An attempt that always fails, with no wait: three, and the batch is lost; the next one goes on, in the same environment.
#[test]
fn a_batch_is_lost_when_its_attempts_are_used_up() {
    let scenario = Scenario {
        failures: Failures {
            share: 1.0,
            attempts: 3,
            delay_seconds: 0.0,
            longest_delay_seconds: 0.0,
        },
        ..Scenario::default()
    };
    let (outcome, spans) = play(scenario, &[1.0, 1.0]);
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
fn billed_time_is_rounded_up_call_by_call() {
    let scenario = |billing_step_ms| Scenario {
        billing_step_ms,
        ..Scenario::default()
    };
    assert_eq!(play(scenario(100.0), &[0.101, 0.1, 0.0]).0.billed_ms, 300.0);
    assert_eq!(play(scenario(0.0), &[0.25, 0.000_5]).0.billed_ms, 250.5);
    // 0.1 + 0.2 is a hair above 0.3 in floating point, which nobody is billed for.
    let cold = ColdStart {
        place_seconds: 0.0,
        init_seconds: 0.1,
    };
    assert_eq!(
        play(
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

/// 5 environments at once and 5 more each second after the first call: 30 calls of 10 s start by fives.
#[test]
fn environments_come_by_the_ramp() {
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
    let (outcome, spans) = play(scenario, &[10.0; 30]);
    for (number, span) in spans.iter().enumerate() {
        assert_eq!(span.start, 0.75 + (number / 5) as f64);
    }
    assert_eq!((outcome.seconds, outcome.cold_starts), (15.75, 30));
}

/// Children start every half second; the rest of the first is none that is started, and does not wait.
#[test]
fn rests_are_no_starts() {
    let scenario = Scenario {
        environments: 4,
        starts_per_second: Some(2.0),
        timeout_seconds: Some(0.25),
        ..Scenario::default()
    };
    assert_eq!(
        places(scenario, &[0.5, 0.25, 0.25]),
        [
            (0, 0, 0.0, 0.25),
            (0, 0, 0.25, 0.5),
            (1, 0, 0.5, 0.75),
            (2, 0, 1.0, 1.25)
        ]
    );
}

#[test]
fn a_run_of_nothing_is_its_setup() {
    let scenario = Scenario {
        setup_seconds: 2.0,
        ..Scenario::default()
    };
    let (outcome, spans) = play(scenario, &[]);
    assert_eq!(
        (outcome.seconds, outcome.invocations, spans.len()),
        (2.0, 0, 0)
    );
    assert_eq!(play(scenario, &[0.0, 0.0]).0.seconds, 2.0);
}
