//! The outcome of one invocation.

use super::chance::Chance;
use super::task::Task;
use super::{End, Scenario, Span};

/// Smaller differences between times are rounding errors.
const NANOSECOND: f64 = 1e-9;

/// Simulates one invocation; also returns the follow-up task, if any.
pub(super) fn invoke(
    scenario: &Scenario,
    task: &Task,
    start: f64,
    environment: u64,
    cold: bool,
) -> (Span, Option<Task>) {
    let failures = scenario.failures;
    let mut chance = Chance::new(scenario, task);
    let factor = if chance.happens(scenario.stragglers.share) {
        scenario.stragglers.factor
    } else {
        1.0
    };
    let whole_seconds = task.seconds * factor;
    let limit_seconds = match (scenario.timeout_seconds, task.second) {
        (Some(timeout), Some(second)) => Some(second.limit_seconds.min(timeout)),
        (timeout, second) => timeout.or(second.map(|second| second.limit_seconds)),
    };
    let (work_seconds, is_whole) = match limit_seconds {
        Some(limit) if whole_seconds > limit + NANOSECOND => (limit, false),
        _ => (whole_seconds, true),
    };
    let (work_seconds, end_kind) = if chance.happens(failures.share) {
        let end_kind = if task.attempt < failures.attempts || task.second.is_some() {
            End::Retry
        } else {
            End::Lost
        };
        (work_seconds * chance.fraction(), end_kind)
    } else if is_whole {
        (work_seconds, End::Done)
    } else {
        (work_seconds, End::TimedOut)
    };

    let (place_seconds, init_seconds) = if cold {
        (scenario.cold.place_seconds, scenario.cold.init_seconds)
    } else {
        (0.0, 0.0)
    };
    let function_seconds = init_seconds + work_seconds;
    let end =
        start + scenario.client_seconds + scenario.call_seconds + place_seconds + function_seconds;
    let span = Span {
        batch: task.batch,
        attempt: task.attempt,
        environment,
        start,
        end,
        cold,
        second: task.second.is_some(),
        init_seconds,
        work_seconds,
        billed_ms: billed_ms(function_seconds, scenario.billing_step_ms),
        end_kind,
    };
    let follow_up = match end_kind {
        End::Done | End::Lost => None,
        // The first attempt remains responsible for the remaining records.
        _ if task.second.is_some() => None,
        End::TimedOut => Some(Task {
            due: end,
            attempt: 1,
            range: task.range + 1,
            seconds: task.seconds - work_seconds / factor,
            ..*task
        }),
        End::Retry => {
            // Full jitter, as in the dispatcher: a random delay up to a bound that doubles.
            let doublings = task.attempt.saturating_sub(1).min(16);
            let bound = failures.delay_seconds * f64::from(1_u32 << doublings);
            let bound = bound.min(failures.longest_delay_seconds);
            Some(Task {
                due: end + bound * chance.fraction(),
                attempt: task.attempt + 1,
                ..*task
            })
        }
    };
    (span, follow_up)
}

/// Billed time in ms: `seconds` rounded up to a multiple of `step_ms`, or exact if that is 0.
pub(super) fn billed_ms(seconds: f64, step_ms: f64) -> f64 {
    let ms = seconds * 1e3;
    if step_ms == 0.0 {
        return ms;
    }
    let steps = ((ms - NANOSECOND * 1e3) / step_ms).ceil().max(0.0);
    steps * step_ms
}
