//! Second attempts at batches whose call takes far longer than it should.
//!
//! It is the dispatcher's own rule, with what it knows: when calls began and were answered, what their batches weigh, and
//! what answered calls were billed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::invocation::billed_ms;
use super::queue::{Moment, Queue, Task};
use super::{End, Outcome, Scenario, Span, Speculation};

/// The calls under way, and the second ones among them.
pub(super) struct SecondAttempts {
    settings: Speculation,
    init_seconds: f64,
    billing_step_ms: f64,
    /// By environment, which has a call at a time.
    calls: Vec<Option<Call>>,
    began: u64,
    open_batches: u64,
    /// Seconds from call to answer by a second of work.
    rates: Median,
    answers: u64,
    answered_ms: f64,
    /// Billed for second attempts that have ended.
    spent_ms: f64,
    /// The most that those under way can be billed.
    reserved_ms: f64,
    /// When calls that have no second attempt become overdue, by the median that was last looked at.
    watched: BinaryHeap<Reverse<(Moment, BackendConfig)>>,
    watched_rate: Option<f64>,
    /// Those that are, the longest overdue first.
    overdue: Vec<BackendConfig>,
}

/// A call by its environment, and by its number, since an environment has many in turn.
type BackendConfig = (u64, u64);

struct Call {
    number: u64,
    task: Task,
    span: Span,
    /// What it leaves.
    again: Option<Task>,
    /// The environment of the other call for the same batch, while both are under way.
    rival: Option<u64>,
    /// The other one answered before.
    is_superseded: bool,
    /// How the first attempt ended that failed before this second one: what is left to do if this one fails too.
    inherited: Option<(End, Option<Task>)>,
    /// Set aside for a second attempt.
    reserved_ms: f64,
}

impl SecondAttempts {
    pub(super) fn new(settings: Speculation, scenario: &Scenario) -> Self {
        Self {
            settings,
            init_seconds: scenario.cold.init_seconds,
            billing_step_ms: scenario.billing_step_ms,
            calls: Vec::new(),
            began: 0,
            open_batches: scenario.batches,
            rates: Median::default(),
            answers: 0,
            answered_ms: 0.0,
            spent_ms: 0.0,
            reserved_ms: 0.0,
            watched: BinaryHeap::new(),
            watched_rate: None,
            overdue: Vec::new(),
        }
    }

    /// Whether every batch is done or lost.
    pub(super) fn is_over(&self) -> bool {
        self.open_batches == 0
    }

    /// Takes note of a call that begins.
    pub(super) fn begin(&mut self, task: Task, span: Span, again: Option<Task>) {
        let mut call = Call {
            number: self.began,
            task,
            span,
            again,
            rival: None,
            is_superseded: false,
            inherited: None,
            reserved_ms: 0.0,
        };
        self.began += 1;
        if let Some(second) = task.second {
            call.rival = Some(second.first_environment);
            call.reserved_ms = self.most_ms(second.limit_seconds, span.cold);
            self.reserved_ms += call.reserved_ms;
            let first = self.calls[second.first_environment as usize]
                .as_mut()
                .expect("a second attempt is made while the first one is under way");
            first.rival = Some(span.environment);
            first.task.had_second = true;
            if let Some(again) = &mut first.again {
                again.had_second = true;
            }
        } else {
            // Its moment is not among those that are watched.
            self.watched_rate = None;
        }
        let index = span.environment as usize;
        if index >= self.calls.len() {
            self.calls.resize_with(index + 1, || None);
        }
        self.calls[index] = Some(call);
    }

    /// The call in `environment` has ended: its batch ends, goes on, or is left to the other call.
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
        let is_answer = kind == End::Done || (kind == End::Rest && !is_second);
        let rival = call.rival.and_then(|rival| {
            let rival = self.calls[rival as usize].as_mut()?;
            rival.rival = None;
            rival.is_superseded = is_answer;
            Some(rival)
        });
        let (kind, again) = match (is_answer, rival) {
            (false, Some(second)) if !is_second => {
                second.inherited = Some((kind, call.again));
                return;
            }
            (false, _) if is_second => match call.inherited {
                Some(left) => left,
                // The first attempt goes on.
                None => return,
            },
            _ => (kind, call.again),
        };
        if is_answer {
            self.count_answer(&call.task, &call.span, again.as_ref());
            outcome.second_won += u64::from(is_second);
        }
        match again {
            Some(again) => queue.wait(Task {
                due: again.due.max(call.span.end),
                ..again
            }),
            None => {
                self.open_batches -= 1;
                outcome.end_batch(call.task.first_start, call.span.end, kind == End::Lost);
            }
        }
    }

    fn count_answer(&mut self, task: &Task, span: &Span, rest: Option<&Task>) {
        let work = task.seconds - rest.map_or(0.0, |rest| rest.seconds);
        self.answers += 1;
        self.rates.insert((span.end - span.start) / work);
        if task.second.is_none() {
            self.answered_ms += span.billed_ms;
        }
    }

    /// A second attempt that may be made now, for the longest overdue call that can be afforded. `cold` is whether it
    /// starts cold.
    pub(super) fn take(&mut self, now: f64, cold: bool) -> Option<Task> {
        let rate = self.rate()?;
        self.watch(rate);
        while let Some(&Reverse((at, place))) = self.watched.peek()
            && at.0 <= now
        {
            self.watched.pop();
            self.overdue.push(place);
        }
        let calls = &self.calls;
        self.overdue
            .retain(|&place| call_at(calls, place).is_some_and(may_have_second));
        let limit = |call: &Call| self.settings.factor * call.task.seconds * rate;
        let &(environment, _) = self.overdue.iter().find(|&&place| {
            call_at(&self.calls, place)
                .is_some_and(|call| self.can_afford(self.most_ms(limit(call), cold)))
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

    /// When the next call becomes overdue, if none is answered before.
    pub(super) fn next_change(&self) -> f64 {
        self.watched
            .peek()
            .map_or(f64::INFINITY, |Reverse((at, _))| at.0)
    }

    /// The median seconds of an answered call by a second of work, when enough are answered.
    fn rate(&self) -> Option<f64> {
        if self.answers < self.settings.least_answers {
            return None;
        }
        self.rates.get()
    }

    /// Has every call that may have a second attempt watched, by this rate.
    fn watch(&mut self, rate: f64) {
        if self.watched_rate == Some(rate) {
            return;
        }
        self.watched_rate = Some(rate);
        self.overdue.clear();
        let Speculation {
            factor,
            least_seconds,
            ..
        } = self.settings;
        self.watched = self
            .calls
            .iter()
            .flatten()
            .filter(|call| may_have_second(call))
            .map(|call| {
                let patience = (factor * call.task.seconds * rate).max(least_seconds);
                let place = (call.span.environment, call.number);
                Reverse((Moment(call.span.start + patience), place))
            })
            .collect();
    }

    /// The most that a second attempt can be billed that may work so long.
    fn most_ms(&self, limit_seconds: f64, cold: bool) -> f64 {
        let init_seconds = if cold { self.init_seconds } else { 0.0 };
        billed_ms(init_seconds + limit_seconds, self.billing_step_ms)
    }

    fn can_afford(&self, most_ms: f64) -> bool {
        self.spent_ms + self.reserved_ms + most_ms <= self.settings.budget * self.answered_ms
    }
}

fn call_at(calls: &[Option<Call>], (environment, number): BackendConfig) -> Option<&Call> {
    let call = calls[environment as usize].as_ref()?;
    (call.number == number).then_some(call)
}

fn may_have_second(call: &Call) -> bool {
    call.task.second.is_none() && !call.task.had_second && !call.is_superseded
}

/// What a second attempt is, beside the first one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Second {
    /// Where the first attempt is under way.
    pub(super) first_environment: u64,
    /// What it may work, in seconds.
    pub(super) limit_seconds: f64,
}

/// The median of what was inserted, to within 1 %, in constant memory: a histogram of 64 bins between a power of two and
/// the next.
struct Median {
    counts: Vec<u32>,
    total: u64,
    /// The bin of the median, and how many lie in lower ones.
    bin: usize,
    below: u64,
}

/// Bits of the fraction that tell the bins between two powers of two apart.
const FRACTION_BITS: u32 = 6;
/// Bits of a number that tell no bin.
const LEFT_OUT_BITS: u32 = f64::MANTISSA_DIGITS - 1 - FRACTION_BITS;
/// Powers of two on either side of 1.
const POWERS: u64 = 40;

impl Default for Median {
    fn default() -> Self {
        Self {
            counts: vec![0; (2 * POWERS as usize) << FRACTION_BITS],
            total: 0,
            bin: 0,
            below: 0,
        }
    }
}

impl Median {
    /// The bits of positive numbers are in the order of the numbers.
    const FIRST: u64 = (1.0_f64.to_bits() >> LEFT_OUT_BITS) - (POWERS << FRACTION_BITS);

    /// Takes a number above 0; others are left out.
    fn insert(&mut self, number: f64) {
        if !(number > 0.0 && number.is_finite()) {
            return;
        }
        let last = self.counts.len() - 1;
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

    /// The middle of the median's bin.
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
        fn the_median_is_within_a_percent(numbers in vec(1e-6..1e6_f64, 1..300)) {
            let mut median = Median::default();
            let mut sorted = Vec::new();
            for number in numbers {
                median.insert(number);
                sorted.push(number);
                sorted.sort_by(f64::total_cmp);
                let (found, wanted) = (median.get().unwrap(), sorted[(sorted.len() - 1) / 2]);
                prop_assert!((found / wanted - 1.0).abs() < 0.01, "{found} and not {wanted}");
            }
        }
    }

    #[test]
    fn numbers_that_tell_nothing_are_left_out_of_the_median() {
        let mut median = Median::default();
        for number in [f64::NAN, f64::INFINITY, 0.0, -1.0] {
            median.insert(number);
        }
        assert_eq!(median.get(), None);
        // Beyond the histogram's ends they count as its ends.
        for number in [1e-300, 1.0, 1e300] {
            median.insert(number);
        }
        assert!((median.get().unwrap() - 1.0).abs() < 0.01);
    }
}
