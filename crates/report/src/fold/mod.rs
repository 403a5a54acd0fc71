//! The events of a run, folded one at a time.
//!
//! Everything that shows the state of a run reads one of two types. [`RunState`] has the counters and the calls in flight;
//! its memory is bounded by the concurrency and the number of starts. [`CallHistory`] also keeps every call.

mod calls;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::Serialize;
use shoal_job::Event;
use shoal_job::wire::FailureKind;

pub use calls::{CallHistory, Invocation, Outcome};

/// The maximum number of failure groups.
const MOST_FAILURES: usize = 20;
/// The share of its records that a call in flight has processed, at most.
const MOST_INSIDE: f64 = 0.95;
/// The reason of all further failures.
const OTHER_REASONS: &str = "other reasons";

/// The state of a run after the events so far. Times are in milliseconds since 1970.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct RunState {
    /// Records of the job, or those found so far while it is planned.
    pub records: u64,
    /// Batches of the job.
    pub batches: u64,
    /// The current phase.
    pub phase: Phase,
    /// The starts of the run so far.
    pub starts: Vec<Start>,
    /// The calls in flight, by worker: a worker takes one call at a time.
    pub in_flight: BTreeMap<usize, Call>,
    /// Invocations in flight on a platform that fans out by itself.
    pub running_on_platform: Option<u64>,
    /// Sums over the answers of the current start.
    pub answered: Answers,
    /// Batches of the current start with at least one call.
    pub dispatched_batches: u64,
    /// Calls that the platform throttled, over all starts.
    pub throttled_calls: u64,
    /// Failures over all starts by kind and reason, without throttled calls.
    pub failures: Vec<FailureGroup>,
    /// The reason of the latest failure, unless an answer came after it.
    pub last_failure: Option<String>,
    /// The time of the first event.
    pub first_unix_ms: Option<u64>,
    /// The time of the latest event.
    pub last_unix_ms: Option<u64>,
    /// Calls without a receipt that the platform may have billed.
    pub failed_calls: FailedCalls,
    /// The answered calls of the current start.
    timed: Answered,
    /// Calls that had no answer when their start ended.
    unanswered: Vec<Call>,
    /// Whether a start is active: false from its end, or from the plan of the next one.
    is_started: bool,
}

/// A phase of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    /// No event yet.
    #[default]
    New,
    /// Reading the input and cutting it into batches.
    Planning,
    /// Planned; the backend is being prepared.
    Preparing,
    /// Calling functions.
    Dispatching,
    /// Checking the parts against their receipts.
    Verifying,
    /// Joining the parts.
    Collecting,
    /// The latest start has ended.
    Ended(End),
}

impl Phase {
    /// The name in pages and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Planning => "planning",
            Self::Preparing => "preparing",
            Self::Dispatching => "running",
            Self::Verifying => "verifying",
            Self::Collecting => "collecting",
            Self::Ended(end) => end.name(),
        }
    }
}

/// One start of the run: from the beginning of its work to its end.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Start {
    /// From 1.
    pub number: usize,
    /// The backend's name.
    pub backend: String,
    /// The requested number of invocations in flight.
    pub concurrency: u64,
    /// Batches that earlier starts had finished.
    pub reused_batches: u64,
    /// Records in them.
    pub reused_records: u64,
    /// When it began, in milliseconds since 1970.
    pub began_unix_ms: u64,
    /// From its beginning to the last answer, in seconds; verifying and joining parts is not included.
    pub seconds: f64,
    /// Answers with a receipt.
    pub finished: u64,
    /// How it ended.
    pub end: End,
    /// The time of its last event.
    #[serde(skip)]
    pub last_unix_ms: u64,
}

/// How a start of a run ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The output is complete.
    Completed,
    /// It was interrupted, or its time was up.
    Cancelled,
    /// It failed, or its budget did not cover the next call.
    Stopped,
    /// The platform continues without this process.
    Detached,
    /// No end was recorded: it was killed, or is still running.
    #[default]
    Open,
}

impl End {
    /// The name in pages and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Cancelled => "stopped",
            Self::Stopped => "failed",
            Self::Detached => "left to the platform",
            Self::Open => "no end recorded",
        }
    }
}

/// A call of the function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The start of the run that made it, from 1.
    pub start: usize,
    /// The worker that was called.
    pub worker: usize,
    /// The batch.
    pub batch: u64,
    /// Records of the batch before the first one to process.
    pub offset: u64,
    /// The attempt, from 1.
    pub attempt: u32,
    /// When it was made, in milliseconds since 1970.
    pub called_unix_ms: u64,
}

impl Call {
    fn key(&self) -> (u64, u64, u32) {
        (self.batch, self.offset, self.attempt)
    }
}

/// What an event did to the calls of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use = "ended calls are not stored elsewhere"]
pub struct Change {
    /// The call that was answered; `None` if the event is not an answer or its call is not known.
    pub answered: Option<Call>,
    /// Calls that ended without an answer. An answer may still come late.
    pub unanswered: Vec<Call>,
}

/// Sums over answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Answers {
    /// Batches that were processed to their end.
    pub batches: u64,
    /// Records, those in the dead letters included.
    pub records: u64,
    /// Records in the dead letters.
    pub failed: u64,
    /// Records in the dead letters that crashed their function.
    pub quarantined: u64,
}

/// Records of answered calls, and the time that these calls took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Answered {
    records: u64,
    ms: u64,
}

/// Calls that left no receipt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FailedCalls {
    /// Number of calls.
    pub count: u64,
    /// Number of those with a known duration: the event of their call was recorded.
    pub timed: u64,
    /// From the calls to the failures, in milliseconds.
    pub ms: u64,
}

/// Failed attempts with one reason.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FailureGroup {
    /// The kind of failure.
    pub kind: FailureKind,
    /// The reason, as text.
    pub reason: String,
    /// Number of attempts.
    pub attempts: u64,
}

impl RunState {
    /// Adds the next event. Events are expected in the order of their times; an answer may come after the end of its start.
    pub fn apply(&mut self, at: u64, event: &Event) -> Change {
        self.first_unix_ms.get_or_insert(at);
        self.last_unix_ms = self.last_unix_ms.max(Some(at));
        let mut change = Change::default();
        match event {
            Event::Planning { records } => self.plan(Phase::Planning, *records, 0),
            Event::Planned {
                records, batches, ..
            } => self.plan(Phase::Preparing, *records, *batches),
            Event::Started {
                backend,
                concurrency,
                reused_batches,
                reused_records,
            } => {
                change.unanswered = self.abandon_calls();
                let start = self.begin(at);
                start.backend.clone_from(backend);
                start.concurrency = *concurrency as u64;
                (start.reused_batches, start.reused_records) = (*reused_batches, *reused_records);
            }
            Event::Dispatched {
                batch,
                offset,
                attempt,
                worker,
                ..
            } => {
                self.resume(at);
                self.dispatched_batches += u64::from(*attempt == 1 && *offset == 0);
                let call = Call {
                    start: self.starts.len(),
                    worker: *worker,
                    batch: *batch,
                    offset: *offset,
                    attempt: *attempt,
                    called_unix_ms: at,
                };
                if let Some(lost) = self.in_flight.insert(*worker, call) {
                    self.unanswered.push(lost.clone());
                    change.unanswered.push(lost);
                }
            }
            Event::Finished { worker, receipt } => {
                self.resume(at);
                let key = (receipt.batch, receipt.offset, receipt.attempt);
                change.answered = self.take_call(*worker, key);
                self.last_failure = None;
                if let Some(call) = &change.answered {
                    self.timed.records += receipt.records;
                    self.timed.ms += at.saturating_sub(call.called_unix_ms);
                }
                self.answered.batches += u64::from(receipt.remaining == 0);
                self.answered.records += receipt.records;
                self.answered.failed += receipt.failed;
                self.answered.quarantined += receipt.quarantined;
                self.current().finished += 1;
            }
            Event::Failed {
                batch,
                offset,
                attempt,
                worker,
                ..
            }
            | Event::Superseded {
                batch,
                offset,
                attempt,
                worker,
            } => {
                self.resume(at);
                let call = self.take_call(*worker, (*batch, *offset, *attempt));
                self.fail(at, call.as_ref(), event);
                change.answered = call;
            }
            Event::Waiting { .. } | Event::Held { .. } => self.work(at),
            Event::Progressed { running, .. } => self.running_on_platform = Some(*running),
            Event::Verifying { .. } => self.phase = Phase::Verifying,
            Event::Collecting { .. } => self.phase = Phase::Collecting,
            Event::Completed { .. } => change.unanswered = self.end(at, End::Completed),
            Event::Cancelled => change.unanswered = self.end(at, End::Cancelled),
            Event::Stopped { reason } => {
                change.unanswered = self.end(at, End::Stopped);
                self.last_failure = Some(reason.clone());
            }
            Event::Detached { .. } => change.unanswered = self.end(at, End::Detached),
        }
        if self.is_started {
            let start = self.current();
            start.last_unix_ms = start.last_unix_ms.max(at);
        }
        change
    }

    /// The current start, or the latest.
    pub fn latest_start(&self) -> Option<&Start> {
        self.starts.last()
    }

    /// Records with a receipt, those of earlier starts included.
    pub fn records_done(&self) -> u64 {
        let reused = self.latest_start().map_or(0, |start| start.reused_records);
        reused + self.answered.records
    }

    /// Invocations in flight, here or on a platform that fans out by itself.
    pub fn running(&self) -> u64 {
        self.running_on_platform
            .unwrap_or(self.in_flight.len() as u64)
    }

    /// Batches without a call so far.
    pub fn batches_waiting(&self) -> u64 {
        let reused = self.latest_start().map_or(0, |start| start.reused_batches);
        self.batches
            .saturating_sub(reused + self.dispatched_batches)
    }

    /// Records of the current start, `inside` running batches too, by the seconds since its beginning.
    pub fn records_per_second(&self, now: u64, inside: u64) -> Option<f64> {
        let start = self.latest_start()?;
        let seconds = now.saturating_sub(start.began_unix_ms) as f64 / 1e3;
        (seconds > 0.0).then(|| (self.answered.records + inside) as f64 / seconds)
    }

    /// Records that the calls in flight have probably processed, by the time that the answered calls of this start took; 0
    /// before the first answer.
    pub fn records_running(&self, now: u64) -> u64 {
        let Answered { records, ms } = self.timed;
        if ms == 0 || self.batches == 0 {
            return 0;
        }
        let per_ms = records as f64 / ms as f64;
        let most = MOST_INSIDE * self.records as f64 / self.batches as f64;
        let inside = |call: &Call| {
            let ms = now.saturating_sub(call.called_unix_ms);
            (ms as f64 * per_ms).min(most)
        };
        self.in_flight.values().map(inside).sum::<f64>() as u64
    }

    /// Seconds from the beginning of each start to its last event.
    pub fn seconds_at_work(&self) -> f64 {
        let ms = |start: &Start| start.last_unix_ms.saturating_sub(start.began_unix_ms);
        self.starts.iter().map(ms).sum::<u64>() as f64 / 1e3
    }

    /// Calls of unknown cost: those that failed, unless the platform refused them, and those without an answer.
    pub fn calls_of_unknown_cost(&self) -> u64 {
        self.failed_calls.count + (self.in_flight.len() + self.unanswered.len()) as u64
    }

    fn plan(&mut self, phase: Phase, records: u64, batches: u64) {
        self.phase = phase;
        (self.records, self.batches) = (records, batches);
        self.is_started = false;
    }

    fn begin(&mut self, at: u64) -> &mut Start {
        self.phase = Phase::Dispatching;
        self.is_started = true;
        self.running_on_platform = None;
        self.answered = Answers::default();
        self.timed = Answered::default();
        self.dispatched_batches = 0;
        self.starts.push(Start {
            number: self.starts.len() + 1,
            began_unix_ms: at,
            last_unix_ms: at,
            ..Start::default()
        });
        self.current()
    }

    /// Work implies a start, even if its beginning was not recorded or its end was recorded too early.
    fn resume(&mut self, at: u64) {
        if self.starts.is_empty() {
            self.begin(at);
        }
        if !std::mem::replace(&mut self.is_started, true) {
            self.current().end = End::Open;
        }
        self.phase = Phase::Dispatching;
        self.work(at);
    }

    /// Extends the time of an active start to `at`.
    fn work(&mut self, at: u64) {
        if self.is_started {
            let start = self.current();
            start.seconds = at.saturating_sub(start.began_unix_ms) as f64 / 1e3;
        }
    }

    fn current(&mut self) -> &mut Start {
        self.starts.last_mut().expect("a start was resumed")
    }

    /// The call that an event of `worker` answers: the one in flight, or an abandoned one.
    fn take_call(&mut self, worker: usize, key: (u64, u64, u32)) -> Option<Call> {
        let is_it = |call: &Call| (call.batch, call.offset) == (key.0, key.1);
        if self.in_flight.get(&worker).is_some_and(is_it) {
            return self.in_flight.remove(&worker);
        }
        let late = self.unanswered.iter().rposition(|call| call.key() == key);
        late.map(|late| self.unanswered.swap_remove(late))
    }

    fn end(&mut self, at: u64, end: End) -> Vec<Call> {
        self.phase = Phase::Ended(end);
        // A start that failed before its work began does not count. Collecting completes a run without a start.
        if (self.is_started || end == End::Completed)
            && let Some(start) = self.starts.last_mut()
        {
            start.end = end;
        }
        if end == End::Completed {
            self.last_failure = None;
        } else {
            self.work(at);
        }
        if std::mem::take(&mut self.is_started) {
            let start = self.current();
            start.last_unix_ms = start.last_unix_ms.max(at);
        }
        self.abandon_calls()
    }

    fn abandon_calls(&mut self) -> Vec<Call> {
        let calls: Vec<Call> = std::mem::take(&mut self.in_flight).into_values().collect();
        self.unanswered.extend_from_slice(&calls);
        calls
    }

    /// Counts a call without a receipt, and its failure by the reason; beyond [`MOST_FAILURES`] reasons, by the kind alone.
    fn fail(&mut self, at: u64, call: Option<&Call>, event: &Event) {
        use FailureKind::{Refused, Throttled};
        if !matches!(
            event,
            Event::Failed {
                kind: Throttled | Refused,
                ..
            }
        ) {
            let failed = &mut self.failed_calls;
            failed.count += 1;
            failed.timed += u64::from(call.is_some());
            failed.ms += call.map_or(0, |call| at.saturating_sub(call.called_unix_ms));
        }
        let Event::Failed { kind, reason, .. } = event else {
            return;
        };
        self.last_failure = Some(reason.clone());
        if *kind == Throttled {
            self.throttled_calls += 1;
            return;
        }
        let is_full = self.failures.len() >= MOST_FAILURES;
        let find = |reason: &str| {
            let mut known = self.failures.iter();
            known.position(|known| known.kind == *kind && known.reason == reason)
        };
        match find(reason).or_else(|| find(OTHER_REASONS).filter(|_| is_full)) {
            Some(found) => self.failures[found].attempts += 1,
            None => self.failures.push(FailureGroup {
                kind: *kind,
                reason: if is_full { OTHER_REASONS } else { reason }.to_owned(),
                attempts: 1,
            }),
        }
    }
}
