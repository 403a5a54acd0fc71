use proptest::prelude::*;

use super::*;

fn play(scenario: Scenario, work: &[f64]) -> (Outcome, Vec<Span>) {
    let scenario = Scenario {
        batches: work.len() as u64,
        ..scenario
    };
    let mut spans = Vec::new();
    let outcome = simulate(
        &scenario,
        |batch| work[batch as usize],
        |span| spans.push(*span),
    );
    (outcome.unwrap(), spans)
}

/// Two environments, three batches of 2, 1 and 3 s, cold starts of 0.5 s that are billed and 0.25 s that are not, calls of
/// 0.25 s: the second environment is free first, and takes the third batch warm.
#[test]
fn a_run_by_hand() {
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
    let seen: Vec<_> = spans
        .iter()
        .map(|span| {
            (
                span.batch,
                span.environment,
                span.start,
                span.end,
                span.cold,
                span.billed_ms,
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            (0, 0, 0.0, 3.0, true, 2500.0),
            (1, 1, 0.0, 2.0, true, 1500.0),
            (2, 1, 2.0, 5.25, false, 3000.0),
        ]
    );
    assert_eq!(outcome.seconds, 5.25);
    assert_eq!((outcome.billed_ms, outcome.init_ms), (7000.0, 1000.0));
    assert_eq!(
        (
            outcome.invocations,
            outcome.cold_starts,
            outcome.peak_concurrency
        ),
        (3, 2, 2)
    );
}

/// A batch of 2 s that may take 1.5 s a call goes on once, after the fresh one that was waiting before.
#[test]
fn what_runs_out_of_time_goes_on() {
    let scenario = Scenario {
        timeout_seconds: Some(1.5),
        ..Scenario::default()
    };
    let (outcome, spans) = play(scenario, &[2.0, 1.0]);
    let seen: Vec<_> = spans
        .iter()
        .map(|span| (span.batch, span.start, span.end, span.end_kind))
        .collect();
    assert_eq!(
        seen,
        [
            (0, 0.0, 1.5, End::Rest),
            (1, 1.5, 2.5, End::Done),
            (0, 2.5, 3.0, End::Done)
        ]
    );
    assert_eq!(outcome.function_seconds, 3.0);
}

#[test]
fn billed_time_is_rounded_up_call_by_call() {
    let scenario = Scenario {
        billing_step_ms: 100.0,
        ..Scenario::default()
    };
    assert_eq!(play(scenario, &[0.101, 0.1, 0.0]).0.billed_ms, 300.0);
}

/// 5 environments at once and 5 more each second: 30 calls of 10 s start by fives.
#[test]
fn environments_come_by_the_ramp() {
    let scenario = Scenario {
        environments: 100,
        ramp: Some(Ramp {
            start: 5,
            step: 5,
            every_seconds: 1.0,
        }),
        ..Scenario::default()
    };
    let (outcome, spans) = play(scenario, &[10.0; 30]);
    for (number, span) in spans.iter().enumerate() {
        assert_eq!(span.start, (number / 5) as f64);
    }
    assert_eq!((outcome.seconds, outcome.cold_starts), (15.0, 30));
}

/// With failures at the share p and k attempts a batch is called (1 - p^k) / (1 - p) times in the mean, and lost at the
/// share p^k.
#[test]
fn failures_are_geometric() {
    let failures = Failures {
        share: 0.3,
        attempts: 3,
        delay_seconds: 0.2,
        longest_delay_seconds: 20.0,
    };
    let scenario = Scenario {
        environments: 50,
        failures,
        ..Scenario::default()
    };
    let (outcome, spans) = play(scenario, &[1.0; 20_000]);
    let (p, k) = (0.3_f64, 3);
    let calls = (1.0 - p.powi(k)) / (1.0 - p) * 20_000.0;
    let lost = p.powi(k) * 20_000.0;
    // Four standard deviations.
    assert!(
        (outcome.invocations as f64 - calls).abs() < 4.0 * (calls * p).sqrt(),
        "{}",
        outcome.invocations
    );
    assert!(
        (outcome.lost as f64 - lost).abs() < 4.0 * lost.sqrt(),
        "{}",
        outcome.lost
    );
    let mut ends = vec![0; 20_000];
    for span in &spans {
        let is_end = matches!(span.end_kind, End::Done | End::Lost);
        ends[span.batch as usize] += u32::from(is_end);
    }
    assert!(ends.iter().all(|&ends| ends == 1), "each batch ends once");
}

#[test]
fn nonsense_is_refused() {
    let error = |scenario: Scenario| {
        simulate(&scenario, |_| 1.0, |_| {})
            .unwrap_err()
            .to_string()
    };
    let base = Scenario {
        batches: 1,
        ..Scenario::default()
    };
    assert!(
        error(Scenario {
            environments: 0,
            ..base
        })
        .contains("environments is 0")
    );
    assert!(
        error(Scenario {
            call_seconds: f64::NAN,
            ..base
        })
        .contains("call_seconds")
    );
    assert!(
        error(Scenario {
            starts_per_second: Some(0.0),
            ..base
        })
        .contains("more than 0")
    );
    assert!(
        error(Scenario {
            timeout_seconds: Some(0.0),
            ..base
        })
        .contains("timeout_seconds")
    );
    let stragglers = Stragglers {
        share: 1.5,
        factor: 2.0,
    };
    assert!(error(Scenario { stragglers, ..base }).contains("between 0 and 1"));
    let wrong = simulate(&base, |_| f64::INFINITY, |_| {}).unwrap_err();
    assert!(wrong.to_string().contains("batch 0"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Graham, *Bounds on multiprocessing timing anomalies*, 1969: no order of a list on m machines takes longer than
    /// total/m + (1 - 1/m) longest, and none less than either total/m or the longest.
    #[test]
    fn list_scheduling_keeps_its_bounds(work in prop::collection::vec(0.0..10.0_f64, 1..200), m in 1_u64..20) {
        let (outcome, _) = play(Scenario { environments: m, ..Scenario::default() }, &work);
        let total: f64 = work.iter().sum();
        let longest = work.iter().copied().fold(0.0, f64::max);
        let each = total / m as f64;
        let slack = 1e-9 * total;
        prop_assert!(outcome.seconds >= longest.max(each) - slack);
        prop_assert!(outcome.seconds <= each + (1.0 - 1.0 / m as f64) * longest + slack);
        prop_assert!((outcome.function_seconds - total).abs() <= slack);
    }

    /// Amdahl, 1967: with a serial share s of all work, m environments are 1 / (s + (1 - s) / m) times as fast.
    #[test]
    fn speedup_is_amdahls(serial in 0.0..10.0_f64, waves in 1_u64..10, m in 1_u64..50) {
        let work = vec![1.0; (waves * m) as usize];
        let scenario = Scenario { setup_seconds: serial, ..Scenario::default() };
        let (alone, _) = play(scenario, &work);
        let (together, _) = play(Scenario { environments: m, ..scenario }, &work);
        let s = serial / alone.seconds;
        let speedup = 1.0 / (s + (1.0 - s) / m as f64);
        prop_assert!((alone.seconds / together.seconds - speedup).abs() < 1e-6 * speedup);
    }

    #[test]
    fn more_environments_are_never_slower_for_equal_batches(batches in 1_usize..100, m in 1_u64..50) {
        let work = vec![1.5; batches];
        let seconds = |environments| play(Scenario { environments, ..Scenario::default() }, &work).0.seconds;
        prop_assert!(seconds(m + 1) <= seconds(m));
        prop_assert!((seconds(m) - 1.5 * (batches as u64).div_ceil(m) as f64).abs() < 1e-9);
    }

    /// A platform that starts r a second has started the last of n after (n - 1) / r.
    #[test]
    fn starts_take_time(batches in 1_usize..300, rate in 1.0..1000.0_f64) {
        let scenario = Scenario { environments: 1000, starts_per_second: Some(rate), ..Scenario::default() };
        let (outcome, _) = play(scenario, &vec![0.5; batches]);
        let by_hand = (batches - 1) as f64 / rate + 0.5;
        prop_assert!((outcome.seconds - by_hand).abs() < 1e-6, "{} and not {by_hand}", outcome.seconds);
    }

    /// Whatever happens: each batch ends once, no environment does two things at a time, and a seed gives the same run.
    #[test]
    fn every_batch_ends_once(
        work in prop::collection::vec(0.0..5.0_f64, 0..150),
        environments in 1_u64..30,
        share in 0.0..0.6_f64,
        slow in 0.0..0.5_f64,
        seed: u64,
    ) {
        let scenario = Scenario {
            environments,
            ramp: Some(Ramp { start: 3, step: 2, every_seconds: 0.7 }),
            starts_per_second: Some(50.0),
            call_seconds: 0.02,
            cold: ColdStart { place_seconds: 0.2, init_seconds: 0.1 },
            failures: Failures { share, attempts: 3, delay_seconds: 0.2, longest_delay_seconds: 2.0 },
            stragglers: Stragglers { share: slow, factor: 3.0 },
            timeout_seconds: Some(4.0),
            billing_step_ms: 1.0,
            seed,
            ..Scenario::default()
        };
        let (outcome, spans) = play(scenario, &work);
        let mut ends = vec![0; work.len()];
        let mut free = vec![0.0; environments as usize];
        for span in &spans {
            ends[span.batch as usize] += u32::from(matches!(span.end_kind, End::Done | End::Lost));
            let environment = span.environment as usize;
            prop_assert!(span.start >= free[environment]);
            prop_assert_eq!(span.cold, free[environment] == 0.0);
            free[environment] = span.end;
        }
        prop_assert!(ends.iter().all(|&ends| ends == 1));
        prop_assert!(outcome.cold_starts <= environments);
        prop_assert!(outcome.peak_concurrency <= environments);
        let billed: f64 = spans.iter().map(|span| span.billed_ms).sum();
        prop_assert!((billed - outcome.billed_ms).abs() < 1e-6);
        prop_assert_eq!(play(scenario, &work), (outcome, spans));
    }
}
