//! The outcome of a run.

use serde::Serialize;

/// One invocation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Span {
    /// The batch, from 0.
    pub batch: u64,
    /// The attempt, from 1. The count restarts for the remainder of a batch.
    pub attempt: u32,
    /// The environment, from 0, in order of first use.
    pub environment: u64,
    /// When the dispatcher started the call, in seconds.
    pub start: f64,
    /// When the response arrived, in seconds.
    pub end: f64,
    /// Whether it was the first invocation of its environment.
    pub cold: bool,
    /// Whether it is a second attempt, made while the first attempt at the batch was active.
    pub second: bool,
    /// Billed seconds of the cold start.
    pub init_seconds: f64,
    /// Seconds that the function worked on the batch.
    pub work_seconds: f64,
    /// Billed time in ms, including the cold start.
    pub billed_ms: f64,
    /// How it ended.
    pub end_kind: End,
}

/// How an invocation ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum End {
    /// The batch is done.
    Done,
    /// The function ran out of time. Another invocation processes the remainder; after a second
    /// attempt, the first attempt continues.
    #[serde(rename = "rest")]
    TimedOut,
    /// It failed and will be retried, or it was a second attempt and the first one continues.
    Retry,
    /// The last attempt failed.
    Lost,
}

/// The outcome of a run: everything that determines time and cost.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Outcome {
    /// Time from the start to the response that completes the last batch, in seconds.
    pub seconds: f64,
    /// Billed function time in ms, including cold starts.
    pub billed_ms: f64,
    /// The part of [`billed_ms`](Self::billed_ms) due to cold starts.
    pub init_ms: f64,
    /// Function time in seconds, including cold starts, before rounding for billing.
    pub function_seconds: f64,
    /// Time from a batch's first call to the response that completes it, in seconds, summed over
    /// batches: the running time of the children of a state machine.
    pub batch_seconds: f64,
    /// The longest time from a batch's first call to the response that completes it, in seconds.
    pub longest_batch_seconds: f64,
    /// Number of invocations, whatever their result.
    pub invocations: u64,
    /// Number of failed invocations, including those of lost batches.
    pub failed: u64,
    /// Number of invocations that ran out of time and left a remainder.
    #[serde(rename = "rests")]
    pub timed_out: u64,
    /// Number of batches that failed in every attempt.
    pub lost: u64,
    /// Number of first invocations of an environment.
    pub cold_starts: u64,
    /// Peak number of busy environments.
    pub peak_concurrency: u64,
    /// Number of second attempts at slow batches, which are also counted in
    /// [`invocations`](Self::invocations).
    pub second_attempts: u64,
    /// The part of [`billed_ms`](Self::billed_ms) due to second attempts.
    pub second_billed_ms: f64,
    /// Number of batches completed by their second attempt.
    pub second_won: u64,
}

impl Outcome {
    /// Counts an invocation; `busy` is the number of busy environments.
    pub(super) fn count(&mut self, span: &Span, busy: u64) {
        self.billed_ms += span.billed_ms;
        self.init_ms += span.init_seconds * 1e3;
        self.function_seconds += span.init_seconds + span.work_seconds;
        self.invocations += 1;
        self.cold_starts += u64::from(span.cold);
        self.peak_concurrency = self.peak_concurrency.max(busy);
        self.timed_out += u64::from(span.end_kind == End::TimedOut);
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
