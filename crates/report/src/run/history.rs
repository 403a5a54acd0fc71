//! From events and receipts to invocations with a beginning and an end.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde::Serialize;
use shoal_job::wire::{FailureKind, Receipt};
use shoal_job::{Event, Receipts};

use crate::Recorded;

/// One call of the function, or work that a worker did without a call.
#[derive(Debug, Clone, PartialEq)]
pub struct Invocation {
    /// The start of the run that it belongs to, from 1.
    pub start: usize,
    /// What it came to.
    pub outcome: Outcome,
    /// The batch.
    pub batch: u64,
    /// Records of the batch before its first.
    pub offset: u64,
    /// The attempt, from 1.
    pub attempt: u32,
    /// Name of the environment that did the work; empty where nobody recorded it.
    pub environment: Arc<str>,
    /// When it began, in milliseconds since 1970, as far as it is known.
    pub began_unix_ms: Option<f64>,
    /// Milliseconds by which that differs from what the host's clock said.
    pub moved_ms: f64,
    /// From its beginning to its end, in seconds; of a failed one, from the call to the answer.
    pub seconds: f64,
    /// Its answer, where there was one.
    pub receipt: Option<Arc<Receipt>>,
    /// What kind of failure it was.
    pub failure: Option<FailureKind>,
    /// Why it failed, or why it is a duplicate.
    pub reason: Option<String>,
}

/// What an invocation came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Its part stands.
    Done,
    /// It worked on records whose part stands by another invocation.
    Duplicate,
    /// It failed.
    Failed,
    /// It was under way when its start of the run ended, and nothing of it was seen since.
    Unanswered,
}

impl Outcome {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Duplicate => "duplicate",
            Self::Failed => "failed",
            Self::Unanswered => "unanswered",
        }
    }
}

impl Invocation {
    /// Beginning and end in milliseconds since 1970, where they are known.
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
}

/// One start of the run: from a command's beginning of work to its end.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Start {
    /// From 1.
    pub number: usize,
    /// The backend's name.
    pub backend: String,
    /// Invocations in flight, at most, as they were asked for.
    pub concurrency: u64,
    /// Batches that earlier starts had finished.
    pub reused_batches: u64,
    /// When it began, in milliseconds since 1970.
    pub began_unix_ms: u64,
    /// From its beginning to the last answer or other event, in seconds; joining the parts is not in it.
    pub seconds: f64,
    /// Answers with a receipt in it.
    pub finished: u64,
    /// How it ended.
    pub end: End,
}

/// How a start of a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The output stands.
    Completed,
    /// Somebody stopped it.
    Cancelled,
    /// It failed, or its budget did not pay for the next call.
    Stopped,
    /// It was left to the platform.
    Detached,
    /// Nothing was recorded of its end: it was killed, or goes on.
    Open,
}

impl End {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Cancelled => "stopped",
            Self::Stopped => "failed",
            Self::Detached => "left to the platform",
            Self::Open => "no end recorded",
        }
    }
}

/// What happened, in order.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) starts: Vec<Start>,
    pub(crate) invocations: Vec<Invocation>,
    /// Times of calls that the platform would not take.
    pub(crate) throttled_ms: Vec<f64>,
    /// Failed attempts whose receipt was found after all.
    pub(crate) answers_lost: u64,
    /// The last event that says how far the run got: of a receipt, or of the output.
    pub(crate) last_ms: Option<f64>,
    /// Failures by kind and reason, throttling left out.
    pub(crate) failures: Vec<(FailureKind, String, u64)>,
}

/// A call that has no answer yet.
struct Call {
    batch: u64,
    offset: u64,
    attempt: u32,
    at: f64,
}

/// Where the invocations of a piece are.
struct OfPiece {
    first: usize,
    /// Hardly ever any.
    others: Vec<usize>,
}

/// Reads events, which are told in order.
struct Reader<'a> {
    history: History,
    standing: &'a Receipts,
    /// By worker: it takes one call at a time.
    under_way: HashMap<usize, Call>,
    /// Where the invocations of a piece are in `history`, the one of its standing receipt first.
    of_range: HashMap<(u64, u64), OfPiece>,
    /// Where the invocations without a receipt are that may turn out to have one: the failed ones of this start, by batch
    /// and attempt …
    failed: HashMap<(u64, u32), usize>,
    /// … and the unanswered ones of all starts.
    unanswered: HashMap<(u64, u32), usize>,
    /// Those that did.
    taken_back: HashSet<usize>,
    origin_ms: f64,
    /// Between a start's beginning of work and the plan of the next one.
    is_started: bool,
}

impl History {
    pub(crate) fn of(recorded: &Recorded<'_>) -> Self {
        let mut events: Vec<&(u64, Event)> = recorded.events.iter().collect();
        // Segments of two commands on one run are read one after the other.
        events.sort_by_key(|(at, _)| *at);
        let origin = events
            .iter()
            .find(|(_, event)| matches!(event, Event::Started { .. }))
            .or(events.first());
        let mut reader = Reader {
            history: Self::default(),
            standing: recorded.receipts,
            under_way: HashMap::new(),
            of_range: HashMap::new(),
            failed: HashMap::new(),
            unanswered: HashMap::new(),
            taken_back: HashSet::new(),
            origin_ms: origin.map_or(0.0, |(at, _)| *at as f64),
            is_started: false,
        };
        for (at, event) in events {
            reader.read(*at as f64, event);
        }
        reader.end_of_start();
        reader.finish()
    }
}

impl Reader<'_> {
    fn read(&mut self, at: f64, event: &Event) {
        match event {
            Event::Started {
                backend,
                concurrency,
                reused_batches,
                ..
            } => {
                self.end_of_start();
                self.start(at, backend, *concurrency as u64, *reused_batches);
                self.is_started = true;
                return;
            }
            Event::Planning { .. } | Event::Planned { .. } => {
                self.is_started = false;
                return;
            }
            // A start that came to no work is none.
            Event::Stopped { .. } if !self.is_started => return,
            Event::Progressed { .. } | Event::Verifying { .. } | Event::Collecting { .. } => return,
            _ => {}
        }
        if self.history.starts.is_empty() {
            self.start(at, "", 0, 0);
        }
        match event {
            Event::Dispatched {
                batch,
                offset,
                attempt,
                worker,
                ..
            } => {
                let call = Call {
                    batch: *batch,
                    offset: *offset,
                    attempt: *attempt,
                    at,
                };
                if let Some(lost) = self.under_way.insert(*worker, call) {
                    self.unanswered(&lost, at);
                }
            }
            Event::Finished { worker, receipt } => self.answered(at, *worker, receipt),
            Event::Failed {
                batch,
                offset,
                attempt,
                worker,
                kind,
                reason,
                ..
            } => {
                let there = self.under_way.remove(worker);
                let call = there.unwrap_or(Call {
                    batch: *batch,
                    offset: *offset,
                    attempt: *attempt,
                    at,
                });
                self.failed(at, &call, *kind, reason);
            }
            Event::Superseded { worker, .. } => {
                if let Some(call) = self.under_way.remove(worker) {
                    self.superseded(at, &call);
                }
            }
            _ => {}
        }
        let start = self.history.starts.last_mut().expect("there is one");
        match event {
            Event::Completed { .. } => start.end = End::Completed,
            Event::Cancelled => start.end = End::Cancelled,
            Event::Stopped { .. } => start.end = End::Stopped,
            Event::Detached { .. } => start.end = End::Detached,
            _ => {}
        }
        if !matches!(event, Event::Completed { .. }) {
            start.seconds = (at - start.began_unix_ms as f64) / 1000.0;
        }
        if matches!(event, Event::Completed { .. } | Event::Finished { .. }) {
            self.history.last_ms = Some(at);
        }
    }

    fn start(&mut self, at: f64, backend: &str, concurrency: u64, reused_batches: u64) {
        self.history.starts.push(Start {
            number: self.history.starts.len() + 1,
            backend: backend.to_owned(),
            concurrency,
            reused_batches,
            began_unix_ms: at as u64,
            seconds: 0.0,
            finished: 0,
            end: End::Open,
        });
    }

    fn answered(&mut self, at: f64, worker: usize, receipt: &Arc<Receipt>) {
        let range = (receipt.batch, receipt.offset);
        let call = match self.under_way.get(&worker) {
            Some(call) if (call.batch, call.offset) == range => self.under_way.remove(&worker),
            _ => None,
        };
        let is_known = self.of_range.get(&range).is_some_and(|known| {
            let mut all = std::iter::once(&known.first).chain(&known.others);
            all.any(|&index| is_same(&self.history.invocations[index], receipt))
        });
        if is_known {
            return;
        }
        if let Some(start) = self.history.starts.last_mut() {
            start.finished += 1;
        }
        // The answer to an earlier attempt was lost; its receipt was found.
        let by_another = call
            .as_ref()
            .is_some_and(|call| call.attempt != receipt.attempt);
        let mut done = self.of_receipt(
            receipt,
            worker,
            Some(at),
            call.as_ref().filter(|_| !by_another),
        );
        if by_another {
            done.reason = self.take_lost(receipt);
        }
        if let Some(call) = call.filter(|_| by_another) {
            let ended = done.span_ms().map_or(at, |(_, end)| end);
            // An attempt looks for a receipt before it calls: one that was there already was not worked for again.
            if ended > call.at {
                let mut again = self.blank(receipt.batch, call.attempt, Outcome::Duplicate);
                again.offset = receipt.offset;
                again.began_unix_ms = Some(call.at);
                again.seconds = ((at - call.at) / 1000.0).max(0.0);
                again.reason = Some(format!("attempt {} had done it meanwhile", receipt.attempt));
                self.history.invocations.push(again);
            }
        }
        let index = self.history.invocations.len();
        self.history.invocations.push(done);
        let of_range = match self.of_range.entry(range) {
            Entry::Vacant(vacant) => {
                vacant.insert(OfPiece {
                    first: index,
                    others: Vec::new(),
                });
                return;
            }
            Entry::Occupied(occupied) => occupied.into_mut(),
        };
        let stands = self
            .standing
            .get(range.0, range.1)
            .is_some_and(|standing| is_same(&self.history.invocations[index], standing));
        let duplicate = if stands {
            std::mem::replace(&mut of_range.first, index)
        } else {
            index
        };
        of_range.others.push(duplicate);
        let duplicate = &mut self.history.invocations[duplicate];
        duplicate.outcome = Outcome::Duplicate;
        duplicate.reason = Some("another invocation's part of these records stands".into());
    }

    /// Takes back the failure of the attempt that wrote `receipt`.
    fn take_lost(&mut self, receipt: &Receipt) -> Option<String> {
        let lost = self.failed.remove(&(receipt.batch, receipt.attempt))?;
        self.taken_back.insert(lost);
        self.history.answers_lost += 1;
        let reason = self.history.invocations[lost].reason.clone();
        let reason = reason.unwrap_or_default();
        Some(format!("its answer was lost: {reason}"))
    }

    fn superseded(&mut self, at: f64, call: &Call) {
        let mut late = self.blank(call.batch, call.attempt, Outcome::Duplicate);
        late.offset = call.offset;
        late.began_unix_ms = Some(call.at);
        late.seconds = ((at - call.at) / 1000.0).max(0.0);
        late.reason = Some("another attempt at the same time answered first".into());
        self.history.invocations.push(late);
    }

    fn failed(&mut self, at: f64, call: &Call, kind: FailureKind, reason: &str) {
        let Call { batch, attempt, .. } = *call;
        if kind == FailureKind::Throttled {
            self.history.throttled_ms.push(at);
            return;
        }
        let mut failed = self.blank(batch, attempt, Outcome::Failed);
        failed.offset = call.offset;
        failed.began_unix_ms = Some(call.at);
        failed.seconds = ((at - call.at) / 1000.0).max(0.0);
        failed.failure = Some(kind);
        failed.reason = Some(reason.to_owned());
        let index = self.history.invocations.len();
        self.failed.insert((batch, attempt), index);
        self.history.invocations.push(failed);
        self.count_failure(kind, reason);
    }

    /// Counts a failure by its reason; where there are too many, by its kind alone.
    fn count_failure(&mut self, kind: FailureKind, reason: &str) {
        let failures = &mut self.history.failures;
        let of = |reason: &str| {
            let is_it = |known: &(FailureKind, String, u64)| known.0 == kind && known.1 == reason;
            failures.iter().position(is_it)
        };
        let (known, others) = (of(reason), of(OTHER_REASONS));
        match known.or(others.filter(|_| failures.len() >= MOST_REASONS)) {
            Some(known) => failures[known].2 += 1,
            None if failures.len() < MOST_REASONS => failures.push((kind, reason.to_owned(), 1)),
            None => failures.push((kind, OTHER_REASONS.to_owned(), 1)),
        }
    }

    fn unanswered(&mut self, call: &Call, until: f64) {
        let mut lost = self.blank(call.batch, call.attempt, Outcome::Unanswered);
        lost.offset = call.offset;
        lost.began_unix_ms = Some(call.at);
        lost.seconds = ((until - call.at) / 1000.0).max(0.0);
        let index = self.history.invocations.len();
        self.unanswered.insert((call.batch, call.attempt), index);
        self.history.invocations.push(lost);
    }

    fn end_of_start(&mut self) {
        let Some(start) = self.history.starts.last() else {
            return;
        };
        let until = start.began_unix_ms as f64 + start.seconds * 1000.0;
        let mut under_way: Vec<_> = self.under_way.drain().collect();
        under_way.sort_by_key(|(_, call)| (call.batch, call.offset, call.attempt));
        for (_, call) in under_way {
            self.unanswered(&call, until);
        }
        self.failed.clear();
    }

    /// The receipts that no event tells of, and the order.
    fn finish(mut self) -> History {
        for receipt in self.standing.values() {
            let range = (receipt.batch, receipt.offset);
            let shared = self.standing.shared(range.0, range.1);
            let Some(receipt) = shared.filter(|_| !self.of_range.contains_key(&range)) else {
                continue;
            };
            // Its function may have gone on when whoever called had stopped waiting.
            let call = self.unanswered.remove(&(receipt.batch, receipt.attempt));
            let mut done = self.of_receipt(receipt, usize::MAX, None, None);
            if let Some(call) = call {
                self.taken_back.insert(call);
                let call = &self.history.invocations[call];
                done.start = call.start;
                let began = call.began_unix_ms.unwrap_or(self.origin_ms);
                if receipt.started_unix_ms == 0 {
                    done.began_unix_ms = Some(began);
                }
            } else if let Some(began) = done.began_unix_ms {
                let starts = &self.history.starts;
                let start = starts
                    .iter()
                    .rfind(|start| start.began_unix_ms as f64 <= began);
                done.start = start.map_or(1, |start| start.number);
            }
            self.history.invocations.push(done);
        }
        let mut history = self.history;
        let mut index = 0;
        history.invocations.retain(|_| {
            index += 1;
            !self.taken_back.contains(&(index - 1))
        });
        // Not stable, which would take half as much memory again; there are no two alike.
        history.invocations.sort_unstable_by(|one, other| {
            let key = |i: &Invocation| {
                (
                    i.began_unix_ms.unwrap_or(f64::MAX),
                    i.batch,
                    i.offset,
                    i.attempt,
                )
            };
            key(one)
                .partial_cmp(&key(other))
                .expect("times are numbers")
        });
        history
    }

    fn of_receipt(
        &self,
        receipt: &Arc<Receipt>,
        worker: usize,
        answered: Option<f64>,
        call: Option<&Call>,
    ) -> Invocation {
        let total = receipt.timings.total.max(0.0);
        let by_host = (receipt.started_unix_ms > 0).then_some(receipt.started_unix_ms as f64);
        // It began after it was called for, and ended before its answer was there, whatever the host's clock says.
        let earliest = call.map_or(self.origin_ms, |call| call.at);
        let latest = answered.map_or(f64::MAX, |answered| (answered - total).max(earliest));
        let began = match by_host {
            Some(began) => Some(began.clamp(earliest, latest)),
            None => answered.map(|_| latest),
        };
        let environment = match &*receipt.environment {
            "" if worker != usize::MAX => format!("worker {worker}").into(),
            _ => receipt.environment.clone(),
        };
        Invocation {
            offset: receipt.offset,
            environment,
            began_unix_ms: began,
            moved_ms: by_host.zip(began).map_or(0.0, |(host, began)| began - host),
            seconds: total / 1000.0,
            receipt: Some(receipt.clone()),
            ..self.blank(receipt.batch, receipt.attempt, Outcome::Done)
        }
    }

    fn blank(&self, batch: u64, attempt: u32, outcome: Outcome) -> Invocation {
        Invocation {
            start: self.history.starts.len().max(1),
            outcome,
            batch,
            offset: 0,
            attempt,
            environment: "".into(),
            began_unix_ms: None,
            moved_ms: 0.0,
            seconds: 0.0,
            receipt: None,
            failure: None,
            reason: None,
        }
    }
}

/// Reasons of failures that are told apart, at most.
const MOST_REASONS: usize = 20;
/// What the others are called.
const OTHER_REASONS: &str = "other reasons";

/// Whether `receipt` is the one that `invocation` was read from: a platform adds only what it bills.
fn is_same(invocation: &Invocation, receipt: &Receipt) -> bool {
    invocation.receipt.as_ref().is_some_and(|known| {
        known.attempt == receipt.attempt
            && known.records == receipt.records
            && known.timings == receipt.timings
            && (receipt.environment.is_empty() || known.environment == receipt.environment)
            && (receipt.started_unix_ms == 0 || known.started_unix_ms == receipt.started_unix_ms)
    })
}
