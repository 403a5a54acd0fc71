//! Every call of a run, with its beginning and its end.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use shoal_job::wire::{FailureKind, Receipt};
use shoal_job::{Event, Receipts};

use crate::fold::{Call, RunState};

/// One call of the function, or work that a worker did without a call.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Invocation {
    /// The start of the run that it belongs to, from 1.
    pub start: usize,
    /// How it ended.
    pub outcome: Outcome,
    /// The batch.
    pub batch: u64,
    /// Records of the batch before its first.
    pub offset: u64,
    /// The attempt, from 1.
    pub attempt: u32,
    /// The name of the environment that did the work; empty if it was not recorded.
    pub environment: Arc<str>,
    /// When it began, in milliseconds since 1970, if it is known.
    pub began_unix_ms: Option<f64>,
    /// The difference to the host's clock, in milliseconds.
    pub moved_ms: f64,
    /// From its beginning to its end, in seconds; of a failed one, from the call to the answer.
    pub seconds: f64,
    /// From the call to the answer, in milliseconds, if both were recorded.
    pub waited_ms: Option<u64>,
    /// Its receipt, if there is one.
    pub receipt: Option<Arc<Receipt>>,
    /// The kind of failure.
    pub failure: Option<FailureKind>,
    /// Why it failed, or why it is a duplicate.
    pub reason: Option<String>,
}

/// How an invocation ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Its part is in the output.
    #[default]
    Done,
    /// The part of another invocation for the same records is in the output.
    Duplicate,
    /// It failed.
    Failed,
    /// It was in flight when its start of the run ended, and left no receipt.
    Unanswered,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

impl Invocation {
    /// A call without a receipt, until the moment `until`.
    fn of_call(call: &Call, outcome: Outcome, until: u64) -> Self {
        Self {
            start: call.start.max(1),
            outcome,
            batch: call.batch,
            offset: call.offset,
            attempt: call.attempt,
            began_unix_ms: Some(call.called_unix_ms as f64),
            seconds: until.saturating_sub(call.called_unix_ms) as f64 / 1000.0,
            ..Self::default()
        }
    }

    /// Beginning and end in milliseconds since 1970, if they are known.
    pub(crate) fn span_ms(&self) -> Option<(f64, f64)> {
        let began = self.began_unix_ms?;
        Some((began, began + self.seconds * 1000.0))
    }

    /// Whether it was the first one of its environment.
    pub fn is_cold(&self) -> bool {
        self.receipt.as_ref().is_some_and(|receipt| receipt.cold)
    }

    /// Records that it processed.
    pub fn records(&self) -> u64 {
        self.receipt.as_ref().map_or(0, |receipt| receipt.records)
    }

    /// Whether `receipt` is its own: a platform adds only what it bills.
    fn has(&self, receipt: &Receipt) -> bool {
        self.receipt.as_ref().is_some_and(|own| {
            own.attempt == receipt.attempt
                && own.records == receipt.records
                && own.timings == receipt.timings
                && (receipt.environment.is_empty() || own.environment == receipt.environment)
                && (receipt.started_unix_ms == 0 || own.started_unix_ms == receipt.started_unix_ms)
        })
    }
}

/// A [`RunState`] that also keeps every call. It takes memory for each batch.
#[derive(Debug, Default)]
pub struct CallHistory {
    pub(crate) state: RunState,
    /// After [`finish`](Self::finish), by their beginning.
    pub(crate) invocations: Vec<Invocation>,
    /// The invocations with a receipt, by the batch and the offset of their records.
    of_range: BTreeSet<(u64, u64, usize)>,
    /// Failed invocations of the current start, by batch and attempt: the receipt of one may be found later.
    failed: HashMap<(u64, u32), usize>,
    /// Unanswered invocations, by batch, offset and attempt: the answer to one may come later.
    unanswered: HashMap<(u64, u64, u32), usize>,
    /// Failed and unanswered ones that turned out to have a receipt.
    retracted: HashSet<usize>,
    /// Times of throttled calls.
    pub(crate) throttled_unix_ms: Vec<u64>,
    /// Failed attempts whose receipt was found later.
    pub(crate) lost_answers: u64,
    /// The time of the last receipt or of the output.
    pub(crate) last_result_unix_ms: Option<u64>,
}

impl CallHistory {
    /// The history of `events`, which are sorted by time.
    pub fn of(events: &[(u64, Event)]) -> Self {
        let mut events: Vec<&(u64, Event)> = events.iter().collect();
        // Segments of two commands on one run are read one after the other.
        events.sort_by_key(|(at, _)| *at);
        let mut history = Self::default();
        for (at, event) in events {
            history.apply(*at, event);
        }
        history
    }

    /// Adds the next event, at its time in milliseconds since 1970.
    pub fn apply(&mut self, at: u64, event: &Event) {
        let change = self.state.apply(at, event);
        change.unanswered.iter().for_each(|call| self.give_up(call));
        let call = change.answered;
        if let Some(call) = &call {
            self.retract_unanswered(call);
        }
        match event {
            Event::Started { .. } => self.failed.clear(),
            Event::Finished { worker, receipt } => {
                self.last_result_unix_ms = Some(at);
                self.answer(at, *worker, receipt, call);
            }
            Event::Failed {
                kind: FailureKind::Throttled,
                ..
            } => self.throttled_unix_ms.push(at),
            Event::Failed {
                batch,
                offset,
                attempt,
                kind,
                reason,
                worker,
                ..
            } => {
                let call = call.unwrap_or(Call {
                    start: self.state.starts.len(),
                    worker: *worker,
                    batch: *batch,
                    offset: *offset,
                    attempt: *attempt,
                    called_unix_ms: at,
                });
                self.failed
                    .insert((call.batch, call.attempt), self.invocations.len());
                self.invocations.push(Invocation {
                    failure: Some(*kind),
                    reason: Some(reason.clone()),
                    ..Invocation::of_call(&call, Outcome::Failed, at)
                });
            }
            Event::Superseded { .. } => self.invocations.extend(call.map(|call| Invocation {
                reason: Some("another attempt at the same time answered first".into()),
                ..Invocation::of_call(&call, Outcome::Duplicate, at)
            })),
            Event::Completed { .. } => self.last_result_unix_ms = Some(at),
            _ => {}
        }
    }

    /// The state of the run after the events so far.
    pub fn state(&self) -> &RunState {
        &self.state
    }

    /// The invocations so far, except those in flight.
    pub fn invocations(&self) -> &[Invocation] {
        &self.invocations
    }

    fn give_up(&mut self, call: &Call) {
        let start = &self.state.starts[call.start - 1];
        let until = start.began_unix_ms + (start.seconds * 1000.0).round() as u64;
        self.unanswered.insert(call.key(), self.invocations.len());
        self.invocations
            .push(Invocation::of_call(call, Outcome::Unanswered, until));
    }

    fn answer(&mut self, at: u64, worker: usize, receipt: &Arc<Receipt>, call: Option<Call>) {
        let range = (receipt.batch, receipt.offset);
        let is_own = |index: usize| self.invocations[index].has(receipt);
        if self.of_range(range).any(is_own) {
            return;
        }
        // The answer to an earlier attempt was lost; its receipt was found.
        let (call, later) = match call {
            Some(call) if call.attempt != receipt.attempt => (None, Some(call)),
            call => (call, None),
        };
        let mut done = self.with_receipt(receipt, Some(worker), Some(at), call.as_ref());
        if let Some(later) = later {
            done.reason = self.retract_failure(receipt);
            let ended = done.span_ms().map_or(at as f64, |(_, end)| end);
            // An attempt first looks for a receipt. If it found one, it did no work.
            if ended > later.called_unix_ms as f64 {
                self.invocations.push(Invocation {
                    reason: Some(format!("attempt {} finished meanwhile", receipt.attempt)),
                    ..Invocation::of_call(&later, Outcome::Duplicate, at)
                });
            }
        }
        self.of_range
            .insert((range.0, range.1, self.invocations.len()));
        self.invocations.push(done);
    }

    /// The invocations with a receipt of these records.
    fn of_range(&self, (batch, offset): (u64, u64)) -> impl Iterator<Item = usize> {
        let all = (batch, offset, 0)..=(batch, offset, usize::MAX);
        self.of_range.range(all).map(|(.., index)| *index)
    }

    /// The answer to an abandoned call came late.
    fn retract_unanswered(&mut self, call: &Call) {
        let known = self.unanswered.get(&call.key());
        if let Some(&index) = known.filter(|index| self.invocations[**index].start == call.start) {
            self.unanswered.remove(&call.key());
            self.retracted.insert(index);
        }
    }

    /// Retracts the failure of the attempt that wrote `receipt`.
    fn retract_failure(&mut self, receipt: &Receipt) -> Option<String> {
        let lost = self.failed.remove(&(receipt.batch, receipt.attempt))?;
        self.retracted.insert(lost);
        self.lost_answers += 1;
        let reason = self.invocations[lost].reason.as_deref().unwrap_or_default();
        Some(format!("its answer was lost: {reason}"))
    }

    /// Adds the receipts that no event mentions, and marks the invocations whose part is not in the output.
    pub(crate) fn finish(mut self, receipts: &Receipts) -> Self {
        let in_flight = self.state.in_flight.clone();
        in_flight.values().for_each(|call| self.give_up(call));
        self.mark_duplicates(receipts);
        for receipt in receipts.values() {
            let range = (receipt.batch, receipt.offset);
            let is_known = self.of_range(range).next().is_some();
            if !is_known && let Some(receipt) = receipts.get(range.0, range.1) {
                self.add_unmentioned(receipt);
            }
        }
        let mut index = 0;
        self.invocations.retain(|_| {
            index += 1;
            !self.retracted.contains(&(index - 1))
        });
        let began = |i: &Invocation| i.began_unix_ms.unwrap_or(f64::MAX);
        let key = |i: &Invocation| (i.batch, i.offset, i.attempt);
        // A stable sort would take half as much memory again.
        self.invocations.sort_unstable_by(|one, other| {
            let by_time = began(one).total_cmp(&began(other));
            by_time.then_with(|| key(one).cmp(&key(other)))
        });
        self
    }

    fn mark_duplicates(&mut self, receipts: &Receipts) {
        let all: Vec<_> = self.of_range.iter().copied().collect();
        let is_same = |one: &(u64, u64, usize), other: &(u64, u64, usize)| {
            (one.0, one.1) == (other.0, other.1)
        };
        for several in all.chunk_by(is_same).filter(|range| range.len() > 1) {
            let receipt = receipts.get(several[0].0, several[0].1);
            let is_kept = |(.., index): &&(_, _, usize)| {
                receipt.is_some_and(|receipt| self.invocations[*index].has(receipt))
            };
            let kept = several.iter().find(is_kept).unwrap_or(&several[0]).2;
            for &(.., index) in several.iter().filter(|(.., index)| *index != kept) {
                let duplicate = &mut self.invocations[index];
                duplicate.outcome = Outcome::Duplicate;
                duplicate.reason = Some("the part of another invocation is in the output".into());
            }
        }
    }

    /// Adds the invocation of a receipt without an event: its function may have continued after the caller stopped waiting.
    fn add_unmentioned(&mut self, receipt: &Arc<Receipt>) {
        let key = (receipt.batch, receipt.offset, receipt.attempt);
        let mut done = self.with_receipt(receipt, None, None, None);
        if let Some(call) = self.unanswered.remove(&key) {
            self.retracted.insert(call);
            let call = &self.invocations[call];
            done.start = call.start;
            if receipt.started_unix_ms == 0 {
                done.began_unix_ms = call.began_unix_ms;
            }
        } else if let Some(began) = done.began_unix_ms {
            let mut starts = self.state.starts.iter();
            let start = starts.rfind(|start| start.began_unix_ms as f64 <= began);
            done.start = start.map_or(1, |start| start.number);
        }
        self.invocations.push(done);
    }

    /// An invocation with a receipt, which was answered at the moment `answered` to `call`.
    fn with_receipt(
        &self,
        receipt: &Arc<Receipt>,
        worker: Option<usize>,
        answered: Option<u64>,
        call: Option<&Call>,
    ) -> Invocation {
        let total = receipt.timings.total.max(0.0);
        let by_host = (receipt.started_unix_ms > 0).then_some(receipt.started_unix_ms as f64);
        // It began after it was called and ended before its answer came, whatever time the host's clock has.
        let start = self.state.starts.first().map(|start| start.began_unix_ms);
        let origin = start.or(self.state.first_unix_ms).unwrap_or(0);
        let earliest = call.map_or(origin, |call| call.called_unix_ms) as f64;
        let latest = answered.map_or(f64::MAX, |answered| (answered as f64 - total).max(earliest));
        let began = match by_host {
            Some(began) => Some(began.clamp(earliest, latest)),
            None => answered.map(|_| latest),
        };
        let environment = match (&*receipt.environment, worker) {
            ("", Some(worker)) => format!("worker {worker}").into(),
            _ => receipt.environment.clone(),
        };
        let waited = answered.zip(call);
        let start = call.map_or(self.state.starts.len(), |call| call.start);
        Invocation {
            start: start.max(1),
            outcome: Outcome::Done,
            batch: receipt.batch,
            offset: receipt.offset,
            attempt: receipt.attempt,
            environment,
            began_unix_ms: began,
            moved_ms: by_host.zip(began).map_or(0.0, |(host, began)| began - host),
            seconds: total / 1000.0,
            waited_ms: waited.map(|(at, call)| at.saturating_sub(call.called_unix_ms)),
            receipt: Some(receipt.clone()),
            ..Invocation::default()
        }
    }
}
