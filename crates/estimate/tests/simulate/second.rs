//! Second attempts at batches that take too long.

use proptest::collection::vec;
use proptest::prelude::*;
use shoal_estimate::simulate::{
    ColdStart, End, Failures, Outcome, Scenario, Span, Speculation, Stragglers,
};

use crate::bounds::scenarios;
use crate::run_scenario;

/// A predictable rule: second attempts at twice the predicted time, with a practically unlimited
/// budget.
const EAGER: Speculation = Speculation {
    factor: 2.0,
    least_seconds: 0.0,
    least_answers: 1,
    budget: 1e9,
};

fn with(speculation: Speculation, scenario: Scenario) -> Scenario {
    Scenario {
        speculation: Some(speculation),
        ..scenario
    }
}

fn second_attempts(spans: &[Span]) -> Vec<&Span> {
    spans.iter().filter(|span| span.second).collect()
}

/// `scenario` with the first seed for which only the last of four batches is a straggler, and its
/// second attempt is slow or not as given.
fn last_is_slow(scenario: Scenario, is_second_slow: bool) -> Scenario {
    let is_slow = |span: &&Span| span.work_seconds > 1.0;
    (0..10_000)
        .map(|seed| Scenario { seed, ..scenario })
        .find(|scenario| {
            let (_, spans) = run_scenario(with(EAGER, *scenario), &[1.0; 4]);
            let slow: Vec<_> = spans
                .iter()
                .filter(is_slow)
                .map(|span| (span.batch, span.second))
                .collect();
            slow[..] == [(3, false), (3, true)][..1 + usize::from(is_second_slow)]
        })
        .expect("there is such a seed")
}

fn slow_by(factor: f64) -> Scenario {
    Scenario {
        environments: 4,
        stragglers: Stragglers { share: 0.1, factor },
        ..Scenario::default()
    }
}

/// Four concurrent batches of one second, of which the last one is slow. At two seconds, within the
/// accuracy of the median, it is called again in the lowest environment and completes at three. The
/// first call is billed to its end.
#[test]
fn the_second_attempt_may_win() {
    let scenario = last_is_slow(slow_by(10.0), false);
    assert_eq!(run_scenario(scenario, &[1.0; 4]).0.seconds, 10.0);
    let (outcome, spans) = run_scenario(with(EAGER, scenario), &[1.0; 4]);
    let seconds = second_attempts(&spans);
    let [second] = seconds[..] else {
        panic!("{seconds:?}");
    };
    assert_eq!(
        (second.batch, second.environment, second.end_kind),
        (3, 0, End::Done)
    );
    assert!((second.start / 2.0 - 1.0).abs() < 0.01, "{second:?}");
    assert_eq!(outcome.seconds, second.end);
    assert_eq!(outcome.function_seconds, 3.0 + 10.0 + 1.0);
    assert_eq!((outcome.second_attempts, outcome.second_won), (1, 1));
    assert_eq!((outcome.second_billed_ms, outcome.billed_ms), (1e3, 14e3));
    assert_eq!(outcome.batch_seconds, 3.0 + second.end);
}

/// The first call takes 2.5 s and the second begins at two: the first call completes first.
#[test]
fn the_first_attempt_may_still_win() {
    let scenario = last_is_slow(slow_by(2.5), false);
    let (outcome, spans) = run_scenario(with(EAGER, scenario), &[1.0; 4]);
    assert_eq!(second_attempts(&spans).len(), 1);
    assert_eq!((outcome.second_attempts, outcome.second_won), (1, 0));
    assert_eq!((outcome.seconds, outcome.lost), (2.5, 0));
}

/// The second attempt is slow as well and reaches its limit: it has no effect except its cost.
#[test]
fn a_second_attempt_ends_at_its_limit() {
    let scenario = last_is_slow(slow_by(10.0), true);
    let (outcome, spans) = run_scenario(with(EAGER, scenario), &[1.0; 4]);
    let second = second_attempts(&spans)[0];
    assert_eq!(second.end_kind, End::TimedOut);
    assert!((second.work_seconds / 2.0 - 1.0).abs() < 0.01, "{second:?}");
    assert_eq!((outcome.second_attempts, outcome.second_won), (1, 0));
    assert_eq!(outcome.seconds, 10.0);
}

/// Pending batches start first, and calls that are not overdue get no second attempt.
#[test]
fn second_attempts_wait_until_nothing_else_can_begin() {
    let scenario = Scenario {
        environments: 2,
        ..slow_by(50.0)
    };
    for seed in 0..50 {
        let scenario = Scenario { seed, ..scenario };
        let (_, spans) = run_scenario(with(EAGER, scenario), &[1.0; 30]);
        let last_first_attempt = spans
            .iter()
            .rposition(|span| !span.second)
            .expect("there are first attempts");
        assert!(spans[..last_first_attempt].iter().all(|span| !span.second));
        for second in second_attempts(&spans) {
            let first = spans
                .iter()
                .find(|span| span.batch == second.batch)
                .expect("the batch has a first attempt");
            assert!(second.start >= first.start + 2.0 * 0.99);
            assert!(second.start < first.end);
        }
    }
}

#[test]
fn too_few_responses_allow_no_second_attempt() {
    let scenario = last_is_slow(slow_by(10.0), false);
    let after = |least_answers| Speculation {
        least_answers,
        ..EAGER
    };
    assert_eq!(
        run_scenario(with(after(3), scenario), &[1.0; 4])
            .0
            .second_attempts,
        1
    );
    assert_eq!(
        run_scenario(with(after(4), scenario), &[1.0; 4])
            .0
            .second_attempts,
        0
    );
}

/// After three completed calls of one second, a second attempt of at most two seconds needs a
/// budget of two thirds.
#[test]
fn the_budget_covers_the_maximum_cost_of_a_second_attempt() {
    let scenario = last_is_slow(slow_by(10.0), false);
    let of = |budget| {
        let eager = Speculation { budget, ..EAGER };
        run_scenario(with(eager, scenario), &[1.0; 4])
            .0
            .second_attempts
    };
    assert_eq!((of(0.68), of(0.65), of(0.0)), (1, 0, 0));
}

/// The first attempt fails after the second one began. The second one replaces the retry.
#[test]
fn a_second_attempt_replaces_the_retry_after_a_failure() {
    let scenario = Scenario {
        environments: 8,
        failures: Failures {
            share: 0.3,
            attempts: 1,
            ..Failures::default()
        },
        stragglers: Stragglers {
            share: 0.3,
            factor: 8.0,
        },
        ..Scenario::default()
    };
    let mut saved = 0;
    for seed in 0..1_000 {
        let scenario = Scenario { seed, ..scenario };
        let (without, _) = run_scenario(scenario, &[1.0; 8]);
        let (with, spans) = run_scenario(with(EAGER, scenario), &[1.0; 8]);
        let fails = |second: &&Span| {
            let first = spans.iter().find(|span| span.batch == second.batch);
            first.is_some_and(|first| first.end_kind == End::Lost && first.end < second.end)
        };
        let after_failures = spans
            .iter()
            .filter(|span| span.second && span.end_kind == End::Done)
            .filter(fails)
            .count() as u64;
        assert!(with.lost + after_failures <= without.lost);
        saved += after_failures;
    }
    assert!(saved > 10, "{saved}");
}

/// One batch in a hundred takes twenty times as long. With second attempts, the time within which
/// 99.5 % of the batches complete is less than a quarter, for at most 5 % more billed time,
/// although second attempts may also be slow.
#[test]
fn second_attempts_shorten_the_tail() {
    let scenario = Scenario {
        environments: 2_000,
        stragglers: Stragglers {
            share: 0.01,
            factor: 20.0,
        },
        seed: 9,
        ..Scenario::default()
    };
    let run = |scenario| {
        let (outcome, spans) = run_scenario(scenario, &[2.0; 2_000]);
        let mut ends = vec![f64::INFINITY; 2_000];
        for span in spans.iter().filter(|span| span.end_kind == End::Done) {
            let end = &mut ends[span.batch as usize];
            *end = end.min(span.end);
        }
        ends.sort_by(f64::total_cmp);
        (outcome, ends[1_990])
    };
    let (without, slow) = run(scenario);
    let (with, quick) = run(with(Speculation::default(), scenario));
    assert_eq!(slow, 40.0);
    assert!(quick < 10.0, "{quick}");
    assert!(with.billed_ms <= 1.05 * without.billed_ms);
}

/// Checks, at the start of each second attempt, that the billed time of all second attempts up to
/// and including it is within the budget for the first attempts that have completed.
fn assert_within(
    speculation: &Speculation,
    outcome: &Outcome,
    spans: &[Span],
) -> Result<(), TestCaseError> {
    let mut seconds = 0.0;
    for span in spans {
        if !span.second {
            continue;
        }
        seconds += span.billed_ms;
        let answered: f64 = spans
            .iter()
            .filter(|first| !first.second && first.end <= span.start)
            .map(|first| first.billed_ms)
            .sum();
        prop_assert!(
            seconds <= speculation.budget * answered * (1.0 + 1e-9) + 1e-6,
            "{seconds} ms by {span:?}, with {answered} ms answered"
        );
    }
    prop_assert!(outcome.second_billed_ms <= speculation.budget * outcome.billed_ms + 1e-6);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// In every run the budget holds, a batch has at most one second attempt, every batch ends
    /// once, no environment has two calls at a time, and the same seed gives the same run.
    #[test]
    fn runs_with_second_attempts_are_consistent(
        scenario in scenarios(),
        work in vec(0.0..5.0_f64, 0..100),
        factor in 1.0..4.0_f64,
        least_seconds in 0.0..2.0_f64,
        least_answers in 0_u64..15,
        budget in prop_oneof![0.0..0.2_f64, 0.0..10.0_f64],
    ) {
        let speculation = Speculation { factor, least_seconds, least_answers, budget };
        let scenario = with(speculation, scenario);
        let (outcome, spans) = run_scenario(scenario, &work);
        assert_within(&speculation, &outcome, &spans)?;
        let mut free = vec![0.0_f64; scenario.environments as usize];
        let mut had_second = vec![false; work.len()];
        for span in &spans {
            let free = &mut free[span.environment as usize];
            prop_assert!(span.start >= *free);
            *free = span.end;
            if span.second {
                prop_assert!(!had_second[span.batch as usize]);
                had_second[span.batch as usize] = true;
            }
        }
        // With a time limit, the first attempt may leave a remainder while the second completes the
        // batch: the first response wins, and the remainder continues.
        if scenario.timeout_seconds.is_none() {
            let ends: Vec<(bool, f64)> = (0..work.len() as u64)
                .map(|batch| {
                    let of_batch = || spans.iter().filter(|span| span.batch == batch);
                    let done = of_batch().filter(|span| span.end_kind == End::Done).map(|span| span.end);
                    let last = of_batch().map(|span| span.end).fold(0.0, f64::max);
                    done.reduce(f64::min).map_or((true, last), |end| (false, end))
                })
                .collect();
            prop_assert_eq!(outcome.lost, ends.iter().filter(|(is_lost, _)| *is_lost).count() as u64);
            prop_assert_eq!(outcome.seconds, ends.iter().map(|(_, end)| *end).fold(0.5, f64::max));
        }
        let sum = |of: fn(&Span) -> f64| spans.iter().map(of).sum::<f64>();
        let of_seconds = |span: &Span| if span.second { span.billed_ms } else { 0.0 };
        prop_assert_eq!(outcome.billed_ms, sum(|span| span.billed_ms) + 0.0);
        prop_assert!((outcome.second_billed_ms - sum(of_seconds)).abs() < 1e-6);
        prop_assert_eq!(outcome.invocations, spans.len() as u64);
        prop_assert_eq!(outcome.second_attempts, second_attempts(&spans).len() as u64);
        prop_assert!(outcome.second_won <= outcome.second_attempts);
        prop_assert_eq!(run_scenario(scenario, &work), (outcome, spans));
    }

    /// Without failures and time limits, second attempts delay nothing: the run does not end later
    /// than without them, and the first calls are the same.
    #[test]
    fn second_attempts_delay_no_batch(
        work in vec(0.01..5.0_f64, 1..200),
        environments in 1_u64..30,
        share in 0.0..0.3_f64,
        factor in 1.0..20.0_f64,
        init in 0.0..1.0_f64,
        seed in any::<u64>(),
    ) {
        let scenario = Scenario {
            environments,
            cold: ColdStart { place_seconds: 0.1, init_seconds: init },
            stragglers: Stragglers { share, factor },
            billing_step_ms: 1.0,
            seed,
            ..Scenario::default()
        };
        let (without, spans) = run_scenario(scenario, &work);
        for speculation in [Speculation::default(), EAGER] {
            let (with, with_spans) = run_scenario(with(speculation, scenario), &work);
            prop_assert!(with.seconds <= without.seconds);
            prop_assert!(with.batch_seconds <= without.batch_seconds * (1.0 + 1e-12));
            let firsts: Vec<Span> = with_spans.iter().copied().filter(|span| !span.second).collect();
            prop_assert_eq!(&firsts, &spans);
            let more = with.second_billed_ms;
            prop_assert!((with.billed_ms - without.billed_ms - more).abs() < 1e-6 * with.billed_ms);
        }
    }

    /// If no call exceeds the limits of the rule, the run is the same as without the rule.
    #[test]
    fn a_rule_without_overdue_calls_changes_nothing(scenario in scenarios(), work in vec(0.0..5.0_f64, 0..60)) {
        let patient = Speculation { least_seconds: 1e12, ..EAGER };
        let ((by_rule, spans), (without, spans_without)) = (run_scenario(with(patient, scenario), &work), run_scenario(scenario, &work));
        prop_assert_eq!(spans, spans_without);
        // The sum follows the order in which batches end, not that of the calls.
        prop_assert!((by_rule.batch_seconds - without.batch_seconds).abs() < 1e-9 * without.batch_seconds.max(1.0));
        let batch_seconds = without.batch_seconds;
        prop_assert_eq!(Outcome { batch_seconds, ..by_rule }, without);
    }
}
