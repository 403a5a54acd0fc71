//! Properties of every run.

use proptest::collection::vec;
use proptest::prelude::*;
use shoal_estimate::simulate::{ColdStart, End, Failures, Ramp, Scenario, Stragglers};

use crate::run_scenario;

fn only(environments: u64) -> Scenario {
    Scenario {
        environments,
        ..Scenario::default()
    }
}

fn total(work: &[f64]) -> f64 {
    work.iter().sum()
}

/// Random scenarios with every feature except second attempts.
pub(crate) fn scenarios() -> impl Strategy<Value = Scenario> {
    let platform = (
        1_u64..30,
        prop::option::of((1_u64..5, 1_u64..5, 0.01..2.0_f64)),
        prop::option::of(1.0..100.0_f64),
        0.0..0.05_f64,
        (0.0..0.5_f64, 0.0..0.5_f64, 0.0..0.5_f64),
    );
    let chance = (
        0.0..0.6_f64,
        1_u32..5,
        0.0..1.0_f64,
        0.0..0.5_f64,
        1.0..5.0_f64,
        prop::option::of(0.5..5.0_f64),
        any::<u64>(),
    );
    (platform, chance).prop_map(
        |(
            (environments, ramp, starts_per_second, client_seconds, (call_seconds, place, init)),
            (share, attempts, delay, slow, factor, timeout_seconds, seed),
        )| Scenario {
            batches: 0,
            environments,
            ramp: ramp.map(|(start, step, every_seconds)| Ramp {
                start,
                step,
                every_seconds,
            }),
            starts_per_second,
            client_seconds,
            setup_seconds: 0.5,
            call_seconds,
            cold: ColdStart {
                place_seconds: place,
                init_seconds: init,
            },
            failures: Failures {
                share,
                attempts,
                delay_seconds: delay,
                longest_delay_seconds: 2.0,
            },
            stragglers: Stragglers {
                share: slow,
                factor,
            },
            speculation: None,
            timeout_seconds,
            billing_step_ms: 1.0,
            seed,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// On `m` machines no order of a list takes longer than total/m + (1 - 1/m) longest, and none
    /// takes less than total/m or the longest: Graham, *Bounds for Certain Multiprocessing
    /// Anomalies*, Bell System Technical Journal 45, 1966.
    #[test]
    fn list_scheduling_respects_its_bounds(work in vec(0.0..10.0_f64, 1..200), m in 1_u64..20) {
        let (outcome, _) = run_scenario(only(m), &work);
        let (total, m) = (total(&work), m as f64);
        let longest = work.iter().copied().fold(0.0, f64::max);
        let slack = 1e-9 * total;
        prop_assert!(outcome.seconds >= longest.max(total / m) - slack);
        prop_assert!(outcome.seconds <= total / m + (1.0 - 1.0 / m) * longest + slack);
        prop_assert!((outcome.function_seconds - total).abs() <= slack);
    }

    /// With a serial share `s` of all work, `m` environments are 1 / (s + (1 - s) / m) times as
    /// fast if the rest divides evenly, and no faster if it does not: Amdahl, *Validity of the
    /// Single Processor Approach*, 1967.
    #[test]
    fn the_speedup_follows_amdahls_law(serial in 0.0..10.0_f64, work in vec(0.1..2.0_f64, 1..50), waves in 1_usize..10, m in 1_u64..50) {
        let run = |environments, work: &[f64]| {
            run_scenario(Scenario { setup_seconds: serial, ..only(environments) }, work).0.seconds
        };
        let law = |alone: f64| {
            let s = serial / alone;
            1.0 / (s + (1.0 - s) / m as f64)
        };
        let even = vec![1.5; waves * m as usize];
        let (alone, together) = (run(1, &even), run(m, &even));
        prop_assert!((alone / together - law(alone)).abs() < 1e-9 * law(alone));
        let (alone, together) = (run(1, &work), run(m, &work));
        prop_assert!(alone / together <= law(alone) * (1.0 + 1e-9));
    }

    #[test]
    fn one_environment_takes_the_total_time(work in vec(0.0..10.0_f64, 0..100)) {
        prop_assert_eq!(run_scenario(only(1), &work).0.seconds, total(&work) + 0.0);
    }

    /// This holds only for equal batches. For others, more environments may be slower (Graham's
    /// anomalies).
    #[test]
    fn more_environments_are_never_slower_for_equal_batches(batches in 0_usize..100, m in 1_u64..50) {
        let seconds = |environments| run_scenario(only(environments), &vec![1.5; batches]).0.seconds;
        prop_assert!(seconds(m + 1) <= seconds(m));
        prop_assert_eq!(seconds(m), 1.5 * (batches as u64).div_ceil(m) as f64);
    }

    /// A platform that starts r batches per second, or a client that takes 1/r per call, starts the
    /// last of n batches after (n - 1) / r.
    #[test]
    fn starts_are_rate_limited(batches in 1_usize..300, rate in 1.0..1000.0_f64) {
        let begun = (batches - 1) as f64 / rate;
        let started = Scenario { starts_per_second: Some(rate), ..only(1000) };
        let sent = Scenario { client_seconds: 1.0 / rate, ..only(1000) };
        for (scenario, by_hand) in [(started, begun + 0.5), (sent, begun + 1.0 / rate + 0.5)] {
            let seconds = run_scenario(scenario, &vec![0.5; batches]).0.seconds;
            prop_assert!((seconds - by_hand).abs() < 1e-9 * by_hand, "{seconds}, expected {by_hand}");
        }
    }

    /// New environments are allowed at 0, e, 2e …, and each then finishes one batch in every w. The
    /// run ends when as many have finished as there are batches.
    #[test]
    fn a_ramp_has_a_closed_form_for_equal_batches(
        batches in 1_u64..500,
        start in 1_u64..10,
        step in 1_u64..10,
        every in 1_u64..20,
        work in 1_u64..20,
        most in 1_u64..60,
    ) {
        let ramp = Ramp { start, step, every_seconds: every as f64 };
        let scenario = Scenario { ramp: Some(ramp), ..only(most) };
        let (outcome, _) = run_scenario(scenario, &vec![work as f64; batches as usize]);
        let finished = |at: u64| -> u64 {
            (0..=at / every)
                .map(|steps| {
                    let allowed = |steps: u64| (start + steps * step).min(most);
                    let new = allowed(steps) - steps.checked_sub(1).map_or(0, allowed);
                    new * ((at - steps * every) / work)
                })
                .sum()
        };
        let end = (0..).find(|&at| finished(at) >= batches).expect("the run ends");
        prop_assert_eq!(outcome.seconds, end as f64);
    }

    /// A time limit adds calls but no work. Each batch needs its time divided by the limit, rounded
    /// up.
    #[test]
    fn a_time_limit_does_not_change_the_work(work in vec(0.0..10.0_f64, 0..50), limit in 0.5..5.0_f64, m in 1_u64..8) {
        let scenario = Scenario { timeout_seconds: Some(limit), ..only(m) };
        let (outcome, spans) = run_scenario(scenario, &work);
        prop_assert!((outcome.function_seconds - total(&work)).abs() < 1e-9 * total(&work).max(1.0));
        for (batch, seconds) in work.iter().enumerate() {
            let calls = spans.iter().filter(|span| span.batch == batch as u64).count();
            prop_assert_eq!(calls, ((seconds / limit).ceil() as usize).max(1));
        }
        prop_assert_eq!(outcome.invocations, work.len() as u64 + outcome.timed_out);
    }

    /// In every run each batch ends once, no environment has two calls at a time, the ramp and the
    /// start rate are respected, and the outcome is the sum of the spans.
    #[test]
    fn every_run_is_consistent(scenario in scenarios(), work in vec(0.0..5.0_f64, 0..100)) {
        let (outcome, spans) = run_scenario(scenario, &work);
        let mut ends = vec![0; work.len()];
        let mut free = vec![0.0_f64; scenario.environments as usize];
        let mut used = 0;
        let mut first_starts = Vec::new();
        for (number, span) in spans.iter().enumerate() {
            prop_assert!(number == 0 || span.start >= spans[number - 1].start);
            ends[span.batch as usize] += u32::from(matches!(span.end_kind, End::Done | End::Lost));
            let environment = span.environment as usize;
            prop_assert!(span.start >= free[environment]);
            prop_assert_eq!(span.cold, environment == used);
            // The lowest free environment is used: all lower ones are busy.
            prop_assert!(free[..environment].iter().all(|&end| end > span.start));
            used += usize::from(span.cold);
            free[environment] = span.end;
            if let Some(ramp) = scenario.ramp {
                let steps = ((span.start - scenario.setup_seconds) / ramp.every_seconds + 1e-9).floor() as u64;
                prop_assert!(used as u64 <= ramp.start + steps * ramp.step);
            }
            let taken = free.iter().filter(|&&end| end > span.start).count();
            prop_assert!(taken as u64 <= outcome.peak_concurrency);
            if first_starts.len() as u64 == span.batch {
                first_starts.push(span.start);
            }
            let billed = (span.init_seconds + span.work_seconds) * 1e3;
            prop_assert!((-1e-5..1.0).contains(&(span.billed_ms - billed)));
        }
        prop_assert!(ends.iter().all(|&ends| ends == 1));
        if let Some(rate) = scenario.starts_per_second {
            prop_assert!(first_starts.windows(2).all(|pair| pair[1] - pair[0] >= 1.0 / rate - 1e-9));
        }
        let sum = |of: fn(&shoal_estimate::simulate::Span) -> f64| spans.iter().map(of).sum::<f64>();
        let count = |kinds: &[End]| spans.iter().filter(|span| kinds.contains(&span.end_kind)).count() as u64;
        prop_assert_eq!(outcome.billed_ms, sum(|span| span.billed_ms) + 0.0);
        prop_assert!((outcome.init_ms - 1e3 * sum(|span| span.init_seconds)).abs() < 1e-6);
        prop_assert_eq!(outcome.invocations, spans.len() as u64);
        prop_assert_eq!(outcome.failed, count(&[End::Retry, End::Lost]));
        prop_assert_eq!(outcome.lost, count(&[End::Lost]));
        prop_assert_eq!(outcome.timed_out, count(&[End::TimedOut]));
        prop_assert_eq!(outcome.cold_starts, used as u64);
        prop_assert!(outcome.cold_starts <= scenario.environments);
        prop_assert!(outcome.peak_concurrency <= outcome.cold_starts);
        prop_assert_eq!(outcome.seconds, spans.iter().map(|span| span.end).fold(0.5, f64::max));
        prop_assert_eq!(run_scenario(scenario, &work), (outcome, spans));
    }
}
