//! What a run comes to.

use serde::Serialize;

use super::Scenario;

/// One invocation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Span {
    /// The batch, from 0.
    pub batch: u64,
    /// The attempt, from 1; the rest of a batch begins anew.
    pub attempt: u32,
    /// The environment, from 0, in the order of first use.
    pub environment: u64,
    /// When the dispatcher began the call, in seconds.
    pub start: f64,
    /// When the answer was back, in seconds.
    pub end: f64,
    /// Whether it was the environment's first.
    pub cold: bool,
    /// Whether it is a second attempt at a batch whose first one was under way when it began.
    pub second: bool,
    /// Seconds of its cold start that are billed.
    pub init_seconds: f64,
    /// Seconds that the function worked on the batch.
    pub work_seconds: f64,
    /// What is billed, cold start included, in ms.
    pub billed_ms: f64,
    /// How it ended.
    pub end_kind: End,
}

/// How an invocation ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum End {
    /// The batch is done.
    Done,
    /// The function ran out of time; another invocation does the rest, or the first attempt that a second one is beside.
    Rest,
    /// It failed, and there will be another attempt, or there is one: the first that a second one is beside.
    Retry,
    /// It failed, and was the last attempt.
    Lost,
}

/// What a run comes to: all that time and cost follow from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Outcome {
    /// From the start to the answer that ends the last batch, in seconds.
    pub seconds: f64,
    /// What is billed for functions, in ms, cold starts included.
    pub billed_ms: f64,
    /// The part of [`billed_ms`](Self::billed_ms) that cold starts are.
    pub init_ms: f64,
    /// The time of functions, cold starts included, in seconds, before it is rounded for billing.
    pub function_seconds: f64,
    /// From a batch's first call to the answer that ends it, in seconds, summed over batches: how long children of a state
    /// machine run.
    pub batch_seconds: f64,
    /// The longest of these.
    pub longest_batch_seconds: f64,
    /// Invocations, whatever their end.
    pub invocations: u64,
    /// Invocations that failed, those of lost batches included.
    pub failed: u64,
    /// Invocations that ran out of time and left a rest.
    pub rests: u64,
    /// Batches whose attempts were used up.
    pub lost: u64,
    /// First invocations of an environment.
    pub cold_starts: u64,
    /// The most environments that were taken at a time.
    pub peak_concurrency: u64,
    /// Second attempts at batches whose first one took too long; they are [`invocations`](Self::invocations) too.
    pub second_attempts: u64,
    /// The part of [`billed_ms`](Self::billed_ms) that is for second attempts.
    pub second_billed_ms: f64,
    /// Batches that a second attempt ended.
    pub second_won: u64,
}

impl Outcome {
    /// Before the first call.
    pub(super) fn begin(scenario: &Scenario) -> Self {
        Self {
            seconds: scenario.setup_seconds,
            billed_ms: 0.0,
            init_ms: 0.0,
            function_seconds: 0.0,
            batch_seconds: 0.0,
            longest_batch_seconds: 0.0,
            invocations: 0,
            failed: 0,
            rests: 0,
            lost: 0,
            cold_starts: 0,
            peak_concurrency: 0,
            second_attempts: 0,
            second_billed_ms: 0.0,
            second_won: 0,
        }
    }

    /// Counts an invocation, with `busy` environments taken.
    pub(super) fn count(&mut self, span: &Span, busy: u64) {
        self.billed_ms += span.billed_ms;
        self.init_ms += span.init_seconds * 1e3;
        self.function_seconds += span.init_seconds + span.work_seconds;
        self.invocations += 1;
        self.cold_starts += u64::from(span.cold);
        self.peak_concurrency = self.peak_concurrency.max(busy);
        self.rests += u64::from(span.end_kind == End::Rest);
        self.failed += u64::from(matches!(span.end_kind, End::Retry | End::Lost));
        if span.second {
            self.second_attempts += 1;
            self.second_billed_ms += span.billed_ms;
        }
    }

    /// Counts the end of a batch that was first called at `first_start`.
    pub(super) fn end_batch(&mut self, first_start: f64, end: f64, is_lost: bool) {
        let seconds = end - first_start;
        self.seconds = self.seconds.max(end);
        self.batch_seconds += seconds;
        self.longest_batch_seconds = self.longest_batch_seconds.max(seconds);
        self.lost += u64::from(is_lost);
    }
}
