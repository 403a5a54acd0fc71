//! The queue of calls: waiting, in flight, and next.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use shoal_job::Event;
use shoal_job::wire::{Failure, FailureKind, Invocation, Receipt, Remedy};
use tokio::time::Instant;

use super::breaker::Breaker;
use super::search::{Suspects, WHOLE_ATTEMPTS};
use super::stragglers::{SecondAttempt, Stragglers};
use super::{Answer, FanOut, POLL_INTERVAL};
use crate::concurrency::ConcurrencyLimit;
use crate::{DispatchError, Work};

/// The run fails if the platform accepts no call for this long.
const LONGEST_THROTTLE: Duration = Duration::from_secs(900);

/// A call to be made.
#[derive(Debug)]
pub(super) struct Dispatched {
    /// Its number.
    pub(super) call: u64,
    pub(super) lane: usize,
    pub(super) invocation: Invocation,
    /// Whether it runs beside the previous attempt.
    pub(super) is_second: bool,
}

/// A call to make, with the history of its records.
#[derive(Debug, Clone)]
struct Call {
    invocation: Invocation,
    /// Attempts at these records, including this one and a speculative one.
    attempts: u32,
    /// One past the last record to process; the invocation may end earlier.
    end: u64,
    suspects: Suspects,
    /// Failed attempts at these records, except throttled ones.
    failures: u32,
    /// When the first of them failed.
    since: Option<Instant>,
}

impl Call {
    fn new(invocation: Invocation) -> Self {
        Self {
            attempts: invocation.attempt,
            end: invocation.batch.end(),
            invocation,
            suspects: Suspects::None,
            failures: 0,
            since: None,
        }
    }

    /// The call for the records from `offset` on.
    fn from(&self, offset: u64, suspects: Suspects) -> Self {
        let until = suspects.until(offset, self.end);
        Self {
            invocation: Invocation {
                batch: self.invocation.batch.range(offset, until),
                attempt: 1,
                quarantine: None,
                ..self.invocation.clone()
            },
            attempts: 1,
            suspects,
            failures: 0,
            since: None,
            ..*self
        }
    }

    /// Counts another attempt at these records.
    fn add_attempt(&mut self) {
        self.attempts += 1;
        self.invocation.attempt = self.attempts;
    }

    /// The next step of the search for a bad record, after another failure of these records.
    fn narrowed(&self, suspects: Suspects, failure: &Failure) -> Self {
        let offset = self.invocation.batch.offset;
        let mut next = self.from(offset, suspects);
        next.attempts = self.attempts;
        next.add_attempt();
        if suspects == Suspects::First {
            next.invocation.quarantine = Some(format!("it crashes its function: {failure}"));
        }
        next
    }
}

/// A call in flight.
struct Running {
    call: Call,
    lane: usize,
    since: Instant,
    /// Set if this is a second attempt.
    second: Option<SecondAttempt>,
    /// The other attempt at the same records, if it is in flight.
    twin: Option<u64>,
    /// Whether a second attempt is allowed. There is never a third.
    may_speculate: bool,
    /// Whether the other attempt has succeeded.
    is_superseded: bool,
}

/// The waiting batches, the calls in flight and the free lanes.
pub(super) struct Queue<'a> {
    work: &'a Work<'a>,
    run: Arc<str>,
    events: &'a Sender<Event>,
    limit: ConcurrencyLimit,
    breaker: Breaker,
    stragglers: Option<Stragglers>,
    /// Free lanes, of which the lowest is used first, so that warm environments are reused.
    free: BTreeSet<usize>,
    running: BTreeMap<u64, Running>,
    calls: u64,
    /// The next batch that was never dispatched.
    next: usize,
    /// Calls that precede new batches: the rest of partly processed batches, and throttled calls.
    priority: VecDeque<Call>,
    /// Calls that are delayed, by the time until which they are, then by batch and offset.
    delayed: BTreeMap<(Instant, u64, u64), Call>,
    finished: usize,
    last_answer: Instant,
}

impl<'a> Queue<'a> {
    pub(super) fn new(work: &'a Work<'a>, settings: FanOut, events: &'a Sender<Event>) -> Self {
        let now = Instant::now();
        Self {
            work,
            run: work.run.uri().into(),
            events,
            limit: ConcurrencyLimit::new(settings.concurrency.max(1), settings.ramp, now),
            breaker: Breaker::default(),
            stragglers: settings
                .allow_speculation
                .then_some(work.speculation)
                .flatten()
                .map(Stragglers::new),
            free: BTreeSet::new(),
            running: BTreeMap::new(),
            calls: 0,
            next: 0,
            priority: VecDeque::new(),
            delayed: BTreeMap::new(),
            finished: 0,
            last_answer: now,
        }
    }

    fn emit(&self, event: Event) {
        // The receiver lives as long as the sender.
        let _ = self.events.send(event);
    }

    pub(super) fn is_done(&self) -> bool {
        self.finished == self.work.batches.len()
    }

    /// The error that prevents further calls, if no call is in flight that could change that.
    pub(super) fn blocking_error(&self) -> Option<DispatchError> {
        if self.breaker.is_open()
            && let Some((batches, failure)) = self.breaker.last_failure()
        {
            return Some(DispatchError::CircuitOpen { batches, failure });
        }
        let budget = self.work.budget.filter(|budget| !budget.affords(1))?;
        let left = self.work.batches.len() - self.finished;
        Some(DispatchError::Budget(budget.shortage(1, left as u64)))
    }

    /// The next time at which a call may be due, unless an answer arrives earlier.
    pub(super) fn wake(&self) -> Instant {
        let now = Instant::now();
        let mut wake = now + POLL_INTERVAL;
        // A call that is already due waits for a lane or for budget, so for an answer.
        if let Some((&(due, ..), _)) = self.delayed.first_key_value()
            && due > now
        {
            wake = wake.min(due);
        }
        if self.limit.held_until() > now {
            wake = wake.min(self.limit.held_until());
        }
        wake
    }

    /// The next call, if one is due and allowed.
    pub(super) fn dispatch(&mut self) -> Option<Dispatched> {
        let now = Instant::now();
        let affords_call = self.work.budget.is_none_or(|budget| budget.affords(1));
        let has_capacity = self.running.len() < self.limit.allowed(now);
        if !has_capacity || !affords_call || self.breaker.is_open() {
            return None;
        }
        match self.next_call(now) {
            Some(call) => Some(self.start(call, now, None, None)),
            None => self.second_attempt(now),
        }
    }

    fn start(
        &mut self,
        call: Call,
        now: Instant,
        second: Option<SecondAttempt>,
        twin: Option<u64>,
    ) -> Dispatched {
        if let Some(budget) = self.work.budget {
            budget.reserve(1);
        }
        let free = self.free.pop_first();
        // If none is free, the calls in flight use lanes 0 to n - 1.
        let lane = free.unwrap_or(self.running.len());
        let invocation = call.invocation.clone();
        let number = self.calls;
        self.calls += 1;
        self.running.insert(
            number,
            Running {
                call,
                lane,
                since: now,
                may_speculate: second.is_none(),
                second,
                twin,
                is_superseded: false,
            },
        );
        self.emit(Event::Dispatched {
            batch: invocation.batch.index,
            offset: invocation.batch.offset,
            until: invocation.batch.until,
            attempt: invocation.attempt,
            worker: lane,
            second: second.is_some(),
        });
        Dispatched {
            call: number,
            lane,
            invocation,
            is_second: second.is_some(),
        }
    }

    fn next_call(&mut self, now: Instant) -> Option<Call> {
        if let Some(first) = self.delayed.first_entry()
            && first.key().0 <= now
        {
            return Some(first.remove());
        }
        if let Some(call) = self.priority.pop_front() {
            return Some(call);
        }
        if self.breaker.holds_new_batches() {
            return None;
        }
        let batch = self.work.batches.get(self.next)?;
        self.next += 1;
        let call = Call::new(Invocation {
            timeout_ms: self.timeout_ms(),
            ..Invocation::first(self.run.clone(), batch.clone().into_owned())
        });
        Some(match self.work.is_suspect {
            true => call.from(batch.offset, Suspects::Before(call.end)),
            false => call,
        })
    }

    fn timeout_ms(&self) -> Option<u64> {
        self.work.timeout.map(|timeout| timeout.as_millis() as u64)
    }

    /// A second attempt at a straggler, if there is one.
    fn second_attempt(&mut self, now: Instant) -> Option<Dispatched> {
        let stragglers = self.stragglers.as_mut()?;
        let (number, second) = self.running.iter().find_map(|(number, running)| {
            let is_alone = running.may_speculate && !running.is_superseded;
            let batch = &running.call.invocation.batch;
            let second = is_alone
                .then(|| stragglers.second(batch, now - running.since))
                .flatten();
            Some((*number, second?))
        })?;
        stragglers.begin(second);
        let running = self
            .running
            .get_mut(&number)
            .expect("the call is in flight");
        (running.twin, running.may_speculate) = (Some(self.calls), false);
        let mut call = running.call.clone();
        call.add_attempt();
        running.call.attempts = call.attempts;
        let limit = second.limit.as_millis() as u64;
        let max_ms = call.invocation.timeout_ms.unwrap_or(u64::MAX);
        call.invocation.timeout_ms = Some(limit.min(max_ms));
        Some(self.start(call, now, Some(second), Some(number)))
    }

    /// Processes an answer; an error ends the run. `stopping` is set when the calls in flight were asked to stop.
    pub(super) fn settle(&mut self, answer: Answer, stopping: bool) -> Result<(), DispatchError> {
        let elapsed = answer.elapsed;
        let ended = self.running.remove(&answer.call);
        let mut ended = ended.expect("the call was in flight");
        // A second attempt had a shorter time limit; the calls that follow get the full one.
        ended.call.invocation.timeout_ms = self.timeout_ms();
        if let Some(budget) = self.work.budget {
            budget.settle(&answer.result, elapsed);
        }
        if let (Some(stragglers), Some(second)) = (&mut self.stragglers, ended.second) {
            stragglers.end(second, elapsed);
        }
        self.free.insert(ended.lane);
        let twin = ended.twin.and_then(|twin| self.running.get_mut(&twin));
        match answer.result {
            _ if ended.is_superseded => {
                let Invocation { batch, attempt, .. } = &ended.call.invocation;
                self.emit(Event::Superseded {
                    batch: batch.index,
                    offset: batch.offset,
                    attempt: *attempt,
                    worker: ended.lane,
                });
                Ok(())
            }
            Ok(receipt) => {
                if let Some(twin) = twin {
                    twin.is_superseded = true;
                }
                self.finish(ended, receipt, elapsed)
            }
            Err(failure) if twin.is_some() => {
                // The other attempt may still succeed. If it fails, its failure counts.
                if let Some(twin) = twin {
                    twin.twin = None;
                }
                self.emit_failure(&ended, &failure, true);
                Ok(())
            }
            Err(failure) => match failure.kind {
                FailureKind::Cancelled if stopping || self.work.cancel.is_cancelled() => Ok(()),
                // The worker was stopped from outside; another one can process the batch.
                FailureKind::Cancelled => {
                    let kind = FailureKind::Retryable;
                    self.fail(ended, Failure { kind, ..failure })
                }
                FailureKind::Throttled => self.throttled(ended, failure),
                _ => self.fail(ended, failure),
            },
        }
    }

    fn finish(
        &mut self,
        ended: Running,
        receipt: Receipt,
        elapsed: Option<Duration>,
    ) -> Result<(), DispatchError> {
        let Running { call, lane, .. } = ended;
        self.last_answer = Instant::now();
        self.limit.answered();
        self.breaker.succeeded(&receipt);
        if let (Some(stragglers), Some(elapsed)) = (&mut self.stragglers, elapsed) {
            stragglers.answered(&call.invocation.batch, receipt.records, elapsed);
        }
        let batch = receipt.batch;
        let has_bad_record = receipt.failed > 0;
        let done = receipt.offset + receipt.records;
        if done >= call.end {
            self.finished += 1;
        } else {
            // The function ran out of time, or the invocation ended early: the rest is a separate call.
            let suspects = call.suspects.after_success(done);
            self.priority.push_back(call.from(done, suspects));
        }
        self.emit(Event::Finished {
            worker: lane,
            receipt: receipt.into(),
        });
        if has_bad_record && self.work.stop_on_bad_record {
            return Err(DispatchError::BadRecord { batch });
        }
        Ok(())
    }

    fn emit_failure(&self, ended: &Running, failure: &Failure, retry: bool) {
        let Invocation { batch, attempt, .. } = &ended.call.invocation;
        self.emit(Event::Failed {
            batch: batch.index,
            offset: batch.offset,
            attempt: *attempt,
            worker: ended.lane,
            kind: failure.kind,
            reason: failure.reason.clone(),
            retry,
        });
    }

    fn throttled(&mut self, ended: Running, failure: Failure) -> Result<(), DispatchError> {
        let now = Instant::now();
        let held_before = self.limit.held_until();
        self.limit.throttled(self.running.len(), now);
        let held = self.limit.held_until();
        let is_exhausted = now - self.last_answer > LONGEST_THROTTLE && self.running.is_empty();
        self.emit_failure(&ended, &failure, !is_exhausted);
        if is_exhausted {
            let reason = format!(
                "the platform accepted no call for {} minutes: {}",
                LONGEST_THROTTLE.as_secs() / 60,
                failure.reason
            );
            let failure = Failure::new(FailureKind::Throttled, reason);
            return Err(batch_error(&ended.call, failure));
        }
        if held > held_before {
            self.emit(Event::Held {
                ms: (held - now).as_millis() as u64,
            });
        }
        self.priority.push_front(ended.call);
        Ok(())
    }

    fn fail(&mut self, ended: Running, failure: Failure) -> Result<(), DispatchError> {
        let now = Instant::now();
        self.last_answer = now;
        let mut call = ended.call.clone();
        call.failures += 1;
        let since = *call.since.get_or_insert(now);
        let policy = self.work.retry;
        let is_quarantine = call.invocation.quarantine.is_some();
        let helps = match failure.kind.remedy() {
            Remedy::Again => true,
            // Writing a dead letter is the last resort and takes little time.
            Remedy::Split if is_quarantine => true,
            Remedy::Split => call.suspects == Suspects::None && call.failures < WHOLE_ATTEMPTS,
            Remedy::Later | Remedy::Stop => false,
        };
        if helps && policy.allows_retry(call.failures, now - since) {
            self.emit_failure(&ended, &failure, true);
            self.breaker.retried(call.invocation.batch.index);
            call.add_attempt();
            let wait = policy.wait(call.failures);
            self.emit(Event::Waiting {
                batch: call.invocation.batch.index,
                attempt: call.invocation.attempt,
                ms: wait.as_millis() as u64,
            });
            let batch = &call.invocation.batch;
            let key = (now + wait, batch.index, batch.offset);
            self.delayed.insert(key, call);
            return Ok(());
        }
        let splits = failure.kind.remedy() == Remedy::Split && !is_quarantine;
        self.emit_failure(&ended, &failure, splits);
        if !splits {
            // If the function fails even without processing the record, the record is not the cause.
            return Err(match self.breaker.last_failure() {
                Some((batches, failure)) if is_quarantine => {
                    DispatchError::CircuitOpen { batches, failure }
                }
                _ => batch_error(&call, failure),
            });
        }
        self.breaker.failed(call.invocation.batch.index, &failure);
        let suspects = Suspects::after_failure(&call.invocation.batch);
        if suspects == Suspects::First {
            self.breaker.quarantines_record();
        }
        self.priority.push_front(call.narrowed(suspects, &failure));
        Ok(())
    }
}

fn batch_error(call: &Call, failure: Failure) -> DispatchError {
    DispatchError::Batch {
        batch: call.invocation.batch.index,
        attempt: call.invocation.attempt,
        failure,
    }
}
