//! Playing a run before it starts: a discrete-event model of batches, environments and the platform between them.
//!
//! A call occupies an environment from its sending to its answer. The lowest free environment is taken first; a new one, which
//! starts cold, only where none is free and the limits allow one: that is how calls are placed in a real run. Memory
//! grows with environments and with calls that wait to be tried again, not with batches.

mod pool;
mod scenario;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

pub use pool::BatchPool;
pub use scenario::{ColdStart, Failures, Ramp, Scenario, ScenarioError, Stragglers};

/// One call of the function. Times are in seconds from the run's start.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Span {
    /// The batch.
    pub batch: u64,
    /// Attempt at it, from 1.
    pub attempt: u32,
    /// The environment, from 0.
    pub environment: u64,
    /// When it was called.
    pub start: f64,
    /// When the answer was there.
    pub end: f64,
    /// Whether the environment started for it.
    pub cold: bool,
    /// Milliseconds that are billed, init included.
    pub billed_ms: f64,
    /// How it ended.
    pub end_kind: End,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The batch is done to its end.
    Done,
    /// The function ran out of time; the rest of the batch is a call of its own.
    Rest,
    /// It failed, and is tried again.
    Retry,
    /// It failed, and was its last attempt.
    Lost,
}

/// What a run came to.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Outcome {
    /// From the run's start to the last answer.
    pub seconds: f64,
    /// Milliseconds billed in all, each call rounded up.
    pub billed_ms: f64,
    /// Of these, for starting environments.
    pub init_ms: f64,
    /// Seconds of functions at work, starts included, not rounded.
    pub function_seconds: f64,
    /// Calls.
    pub invocations: u64,
    /// Of these, failed ones.
    pub failed: u64,
    /// Batches whose attempts were used up.
    pub lost: u64,
    /// Calls that started an environment.
    pub cold_starts: u64,
    /// The most calls under way at a time.
    pub peak_concurrency: u64,
}

/// A call that waits to be made.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    batch: u64,
    attempt: u32,
    /// What is left to do, in seconds.
    seconds: f64,
}

/// Plays a run. `work` tells what a batch takes in a warm environment, in seconds; it is asked once a batch, in their order.
/// `see` is told every call.
///
/// # Errors
/// The scenario makes no sense, or `work` tells a time that is none.
pub fn simulate(
    scenario: &Scenario,
    mut work: impl FnMut(u64) -> f64,
    mut see: impl FnMut(&Span),
) -> Result<Outcome, ScenarioError> {
    scenario.check()?;
    let mut state = State {
        scenario,
        random: fastrand::Rng::with_seed(scenario.seed),
        free: BinaryHeap::new(),
        busy: BinaryHeap::new(),
        later: BinaryHeap::new(),
        environments: 0,
        outcome: Outcome::default(),
    };
    let mut now = scenario.setup_seconds;
    // When the platform and the client take the next call.
    let gap = scenario
        .starts_per_second
        .map_or(0.0, |rate| 1.0 / rate)
        .max(scenario.client_seconds);
    let mut next_batch = 0;
    while let Some(waiting) = state.next(&mut next_batch, &mut now, &mut work)? {
        state.place(waiting, &mut now, &mut see);
        now += gap;
    }
    Ok(state.outcome)
}

struct State<'a> {
    scenario: &'a Scenario,
    random: fastrand::Rng,
    /// Free environments, the lowest on top.
    free: BinaryHeap<Reverse<u64>>,
    /// When each of the others is free again, the soonest on top.
    busy: BinaryHeap<Reverse<(Time, u64)>>,
    /// Calls that are made again, or go on with a batch, from a time on.
    later: BinaryHeap<Reverse<(Time, u64, Later)>>,
    environments: u64,
    outcome: Outcome,
}

/// A time that is not negative, in an order: that of its bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Time(u64);

impl Time {
    fn new(seconds: f64) -> Self {
        Self((seconds + 0.0).to_bits())
    }

    fn seconds(self) -> f64 {
        f64::from_bits(self.0)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Later {
    attempt: u32,
    seconds: Time,
}

impl State<'_> {
    /// The next call, at `now` or, where all wait, when the first may be made.
    fn next(
        &mut self,
        next_batch: &mut u64,
        now: &mut f64,
        work: &mut impl FnMut(u64) -> f64,
    ) -> Result<Option<Waiting>, ScenarioError> {
        let is_fresh = *next_batch < self.scenario.batches;
        if let Some(&Reverse((at, batch, later))) = self.later.peek()
            && (at.seconds() <= *now || !is_fresh)
        {
            self.later.pop();
            *now = now.max(at.seconds());
            return Ok(Some(Waiting {
                batch,
                attempt: later.attempt,
                seconds: later.seconds.seconds(),
            }));
        }
        if !is_fresh {
            return Ok(None);
        }
        let batch = *next_batch;
        *next_batch += 1;
        let seconds = work(batch);
        if !(seconds.is_finite() && seconds >= 0.0) {
            return Err(ScenarioError::Work { batch, seconds });
        }
        Ok(Some(Waiting {
            batch,
            attempt: 1,
            seconds,
        }))
    }

    /// Makes a call as soon as an environment is there for it.
    fn place(&mut self, waiting: Waiting, now: &mut f64, see: &mut impl FnMut(&Span)) {
        let (environment, cold) = self.environment(now);
        let Scenario {
            call_seconds,
            cold:
                ColdStart {
                    place_seconds,
                    init_seconds,
                },
            failures,
            stragglers,
            timeout_seconds,
            billing_step_ms,
            ..
        } = *self.scenario;
        let init = if cold { init_seconds } else { 0.0 };
        let straggles = stragglers.share > 0.0 && self.random.f64() < stragglers.share;
        let factor = if straggles { stragglers.factor } else { 1.0 };
        let limit = timeout_seconds.map_or(f64::INFINITY, |timeout| (timeout - init).max(0.0));
        let whole = waiting.seconds * factor;
        let mut took = whole.min(limit);
        let fails = failures.share > 0.0 && self.random.f64() < failures.share;
        let kind = if fails {
            took *= self.random.f64();
            if waiting.attempt < failures.attempts {
                End::Retry
            } else {
                End::Lost
            }
        } else if whole > limit && took > 0.0 {
            End::Rest
        } else {
            End::Done
        };
        let place = if cold { place_seconds } else { 0.0 };
        let end = *now + call_seconds + place + init + took;
        let step = |ms: f64| {
            if billing_step_ms > 0.0 {
                (ms / billing_step_ms).ceil() * billing_step_ms
            } else {
                ms
            }
        };
        // What is a hair above a whole step by rounding is that step.
        let exact_ms = ((init + took) * 1e9).round() / 1e6;
        let billed_ms = step(exact_ms);
        self.busy.push(Reverse((Time::new(end), environment)));
        let outcome = &mut self.outcome;
        outcome.seconds = outcome.seconds.max(end);
        outcome.billed_ms += billed_ms;
        outcome.init_ms += (init * 1e3).min(billed_ms);
        outcome.function_seconds += init + took;
        outcome.invocations += 1;
        outcome.cold_starts += u64::from(cold);
        outcome.peak_concurrency = outcome.peak_concurrency.max(self.busy.len() as u64);
        outcome.failed += u64::from(fails);
        outcome.lost += u64::from(kind == End::Lost);
        let again = match kind {
            End::Rest => Some((end, 1, (whole - took) / factor)),
            End::Retry => {
                let wait = failures.longest_wait(waiting.attempt) * self.random.f64();
                Some((end + wait, waiting.attempt + 1, waiting.seconds))
            }
            End::Done | End::Lost => None,
        };
        if let Some((at, attempt, seconds)) = again {
            let later = Later {
                attempt,
                seconds: Time::new(seconds),
            };
            self.later
                .push(Reverse((Time::new(at), waiting.batch, later)));
        }
        see(&Span {
            batch: waiting.batch,
            attempt: waiting.attempt,
            environment,
            start: *now,
            end,
            cold,
            billed_ms,
            end_kind: kind,
        });
    }

    /// An environment, and whether it starts; `now` becomes the time when it is there.
    fn environment(&mut self, now: &mut f64) -> (u64, bool) {
        loop {
            while let Some(&Reverse((end, environment))) = self.busy.peek()
                && end.seconds() <= *now
            {
                self.busy.pop();
                self.free.push(Reverse(environment));
            }
            if let Some(Reverse(environment)) = self.free.pop() {
                return (environment, false);
            }
            if self.environments < self.scenario.allowed(*now) {
                self.environments += 1;
                return (self.environments - 1, true);
            }
            let freed = self
                .busy
                .peek()
                .map_or(f64::INFINITY, |Reverse((end, _))| end.seconds());
            // One of them comes: at the least there is an environment at work.
            *now = freed.min(self.scenario.next_step(*now));
        }
    }
}
