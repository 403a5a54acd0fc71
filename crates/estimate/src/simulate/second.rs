//! Second attempts at batches whose call is overdue.
//!
//! Implements the dispatcher's rule with the information that the dispatcher has: when calls began
//! and completed, the size of their batches, and the billed time of completed calls.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::invocation::billed_ms;
use super::queue::Queue;
use super::task::{Moment, Second, Task};
use super::{End, Outcome, Scenario, Span, Speculation};

/// The active calls, including second attempts.
#[derive(Default)]
pub(super) struct SecondAttempts {
    settings: Speculation,
    init_seconds: f64,
    billing_step_ms: f64,
    /// Indexed by environment, each of which has at most one call.
    calls: Vec<Option<Call>>,
    /// Number of calls so far.
    began: u64,
    open_batches: u64,
    /// Seconds from call to response per second of work.
    rates: Median,
    /// Number of calls that returned results.
    answers: u64,
    /// Billed time of first attempts that returned results.
    answered_ms: f64,
    /// Billed time of completed second attempts.
    spent_ms: f64,
    /// Maximum billed time of active second attempts.
    reserved_ms: f64,
    /// When calls without a second attempt become overdue, according to the latest median.
    watched: BinaryHeap<Reverse<(Moment, CallKey)>>,
    /// The median that `watched` was computed with.
    watched_rate: Option<f64>,
    /// Overdue calls, longest overdue first.
    overdue: Vec<CallKey>,
}

/// Environment and number of a call. An environment has many calls, one after another.
type CallKey = (u64, u64);

struct Call {
    number: u64,
    task: Task,
    span: Span,
    /// The follow-up task.
    follow_up: Option<Task>,
    /// Environment of the other call for the same batch, while both are active.
    other_environment: Option<u64>,
    /// Whether the other call completed first.
    is_superseded: bool,
    /// For a second attempt: the result of the first attempt if that failed earlier, which applies
    /// if this attempt fails too.
    inherited: Option<(End, Option<Task>)>,
    /// Budget reserved for this call if it is a second attempt.
    reserved_ms: f64,
}

impl SecondAttempts {
    pub(super) fn new(settings: Speculation, scenario: &Scenario) -> Self {
        Self {
            settings,
            init_seconds: scenario.cold.init_seconds,
            billing_step_ms: scenario.billing_step_ms,
            open_batches: scenario.batches,
            ..Self::default()
        }
    }

    /// Whether every batch is done or lost.
    pub(super) fn is_over(&self) -> bool {
        self.open_batches == 0
    }

    /// Records that a call begins.
    pub(super) fn begin(&mut self, task: Task, span: Span, follow_up: Option<Task>) {
        let mut call = Call {
            number: self.began,
            task,
            span,
            follow_up,
            other_environment: None,
            is_superseded: false,
            inherited: None,
            reserved_ms: 0.0,
        };
        self.began += 1;
        if let Some(second) = task.second {
            call.other_environment = Some(second.first_environment);
            call.reserved_ms = self.most_ms(second.limit_seconds, span.cold);
            self.reserved_ms += call.reserved_ms;
            let first = self.calls[second.first_environment as usize]
                .as_mut()
                .expect("a second attempt is made while the first is active");
            first.other_environment = Some(span.environment);
            first.task.had_second = true;
            if let Some(follow_up) = &mut first.follow_up {
                follow_up.had_second = true;
            }
        } else {
            // The new call is not in `watched` yet.
            self.watched_rate = None;
        }
        let index = span.environment as usize;
        if index >= self.calls.len() {
            self.calls.resize_with(index + 1, || None);
        }
        self.calls[index] = Some(call);
    }

    /// Handles the end of the call in `environment`: its batch is complete, continues, or is left
    /// to the other call.
    pub(super) fn end<W: FnMut(u64) -> f64>(
        &mut self,
        environment: u64,
        queue: &mut Queue<'_, W>,
        outcome: &mut Outcome,
    ) {
        let Some(call) = self.calls[environment as usize].take() else {
            return;
        };
        let is_second = call.task.second.is_some();
        if is_second {
            self.reserved_ms -= call.reserved_ms;
            self.spent_ms += call.span.billed_ms;
        }
        if call.is_superseded {
            return;
        }
        let kind = call.span.end_kind;
        let is_answer = kind == End::Done || (kind == End::TimedOut && !is_second);
        let other = call.other_environment.and_then(|environment| {
            let other = self.calls[environment as usize].as_mut()?;
            other.other_environment = None;
            other.is_superseded = is_answer;
            Some(other)
        });
        let (kind, follow_up) = match (is_answer, other) {
            (false, Some(second)) if !is_second => {
                second.inherited = Some((kind, call.follow_up));
                return;
            }
            (false, _) if is_second => match call.inherited {
                Some(first_result) => first_result,
                // The first attempt continues.
                None => return,
            },
            _ => (kind, call.follow_up),
        };
        if is_answer {
            self.count_answer(&call.task, &call.span, follow_up.as_ref());
            outcome.second_won += u64::from(is_second);
        }
        match follow_up {
            Some(follow_up) => queue.push(Task {
                due: follow_up.due.max(call.span.end),
                ..follow_up
            }),
            None => {
                self.open_batches -= 1;
                outcome.end_batch(call.task.first_start, call.span.end, kind == End::Lost);
            }
        }
    }

    fn count_answer(&mut self, task: &Task, span: &Span, remainder: Option<&Task>) {
        let work = task.seconds - remainder.map_or(0.0, |remainder| remainder.seconds);
        self.answers += 1;
        self.rates.insert((span.end - span.start) / work);
        if task.second.is_none() {
            self.answered_ms += span.billed_ms;
        }
    }

    /// Returns a second attempt that can be made now, for the longest overdue call within the
    /// budget. `cold` is whether it would start cold.
    pub(super) fn take(&mut self, now: f64, cold: bool) -> Option<Task> {
        let rate = self.rate()?;
        self.watch(rate);
        while let Some(&Reverse((at, key))) = self.watched.peek()
            && at.seconds() <= now
        {
            self.watched.pop();
            self.overdue.push(key);
        }
        let calls = &self.calls;
        self.overdue
            .retain(|&key| call_at(calls, key).is_some_and(may_have_second));
        let limit = |call: &Call| self.settings.factor * call.task.seconds * rate;
        let &(environment, _) = self.overdue.iter().find(|&&key| {
            call_at(&self.calls, key)
                .is_some_and(|call| self.is_within_budget(self.most_ms(limit(call), cold)))
        })?;
        let call = self.calls[environment as usize].as_ref()?;
        Some(Task {
            due: now,
            second: Some(Second {
                first_environment: environment,
                limit_seconds: limit(call),
            }),
            ..call.task
        })
    }

    /// When the next call becomes overdue, if none completes before.
    pub(super) fn next_change(&self) -> f64 {
        let next = self.watched.peek();
        next.map_or(f64::INFINITY, |Reverse((at, _))| at.seconds())
    }

    /// The median of [`rates`](Self::rates), once enough calls have completed.
    fn rate(&self) -> Option<f64> {
        if self.answers < self.settings.least_answers {
            return None;
        }
        self.rates.get()
    }

    /// Recomputes when each call that may have a second attempt becomes overdue.
    fn watch(&mut self, rate: f64) {
        if self.watched_rate == Some(rate) {
            return;
        }
        self.watched_rate = Some(rate);
        self.overdue.clear();
        let settings = self.settings;
        self.watched = self
            .calls
            .iter()
            .flatten()
            .filter(|call| may_have_second(call))
            .map(|call| {
                let overdue_after = settings.factor * call.task.seconds * rate;
                let overdue_after = overdue_after.max(settings.least_seconds);
                let key = (call.span.environment, call.number);
                Reverse((Moment::at(call.span.start + overdue_after), key))
            })
            .collect();
    }

    /// Maximum billed time in ms of a second attempt with this limit.
    fn most_ms(&self, limit_seconds: f64, cold: bool) -> f64 {
        let init_seconds = if cold { self.init_seconds } else { 0.0 };
        billed_ms(init_seconds + limit_seconds, self.billing_step_ms)
    }

    fn is_within_budget(&self, most_ms: f64) -> bool {
        self.spent_ms + self.reserved_ms + most_ms <= self.settings.budget * self.answered_ms
    }
}

fn call_at(calls: &[Option<Call>], (environment, number): CallKey) -> Option<&Call> {
    let call = calls[environment as usize].as_ref()?;
    (call.number == number).then_some(call)
}

fn may_have_second(call: &Call) -> bool {
    call.task.second.is_none() && !call.task.had_second && !call.is_superseded
}

/// The median of the inserted numbers within 1 %, in constant memory: a histogram with 64 bins per
/// power of two.
#[derive(Default)]
struct Median {
    counts: Vec<u32>,
    total: u64,
    /// The bin of the median, and the count in lower bins.
    bin: usize,
    below: u64,
}

/// Bits of the fraction that select a bin within a power of two.
const FRACTION_BITS: u32 = 6;
/// Low bits that are ignored.
const LEFT_OUT_BITS: u32 = f64::MANTISSA_DIGITS - 1 - FRACTION_BITS;
/// Powers of two covered on either side of 1.
const POWERS: u64 = 40;

impl Median {
    /// Upper bits of the lowest bin. The bit patterns of positive floats have the order of the
    /// floats.
    const FIRST: u64 = (1.0_f64.to_bits() >> LEFT_OUT_BITS) - (POWERS << FRACTION_BITS);

    /// Inserts a positive number; other numbers are ignored.
    fn insert(&mut self, number: f64) {
        if !(number > 0.0 && number.is_finite()) {
            return;
        }
        let last = ((2 * POWERS as usize) << FRACTION_BITS) - 1;
        self.counts.resize(last + 1, 0);
        let bin = (number.to_bits() >> LEFT_OUT_BITS).saturating_sub(Self::FIRST);
        let bin = usize::try_from(bin).unwrap_or(last).min(last);
        self.counts[bin] += 1;
        self.total += 1;
        self.below += u64::from(bin < self.bin);
        let rank = (self.total - 1) / 2;
        while rank < self.below {
            self.bin -= 1;
            self.below -= u64::from(self.counts[self.bin]);
        }
        while rank >= self.below + u64::from(self.counts[self.bin]) {
            self.below += u64::from(self.counts[self.bin]);
            self.bin += 1;
        }
    }

    /// The centre of the median's bin.
    fn get(&self) -> Option<f64> {
        let bits = (Self::FIRST + self.bin as u64) << LEFT_OUT_BITS;
        (self.total > 0).then(|| f64::from_bits(bits | 1 << (LEFT_OUT_BITS - 1)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_median_is_within_one_percent(numbers in vec(1e-6..1e6_f64, 1..300)) {
            let mut median = Median::default();
            let mut sorted = Vec::new();
            for number in numbers {
                median.insert(number);
                sorted.push(number);
                sorted.sort_by(f64::total_cmp);
                let (found, wanted) = (median.get().unwrap(), sorted[(sorted.len() - 1) / 2]);
                prop_assert!((found / wanted - 1.0).abs() < 0.01, "{found}, expected {wanted}");
            }
        }
    }

    #[test]
    fn the_median_ignores_invalid_numbers() {
        let mut median = Median::default();
        for number in [f64::NAN, f64::INFINITY, 0.0, -1.0] {
            median.insert(number);
        }
        assert_eq!(median.get(), None);
        // Numbers outside the range of the histogram are counted in its outermost bins.
        for number in [1e-300, 1.0, 1e300] {
            median.insert(number);
        }
        assert!((median.get().unwrap() - 1.0).abs() < 0.01);
    }
}
