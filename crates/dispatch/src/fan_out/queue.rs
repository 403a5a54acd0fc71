//! What waits, what is under way, and what comes next.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use shoal_job::Event;
use shoal_job::wire::{Failure, FailureKind, Invocation, Receipt, Remedy};
use tokio::time::Instant;

use super::breaker::Breaker;
use super::search::{Suspects, WHOLE_ATTEMPTS};
use super::stragglers::{Second, Stragglers};
use super::{Answer, FanOut, PATIENCE};
use crate::pace::Pace;
use crate::{DispatchError, Work};

/// A platform that takes not a single call in this time is given up.
const LONGEST_THROTTLE: Duration = Duration::from_secs(900);

/// A call to be made.
#[derive(Debug)]
pub(super) struct Dispatched {
    /// Which one.
    pub(super) call: u64,
    pub(super) lane: usize,
    pub(super) invocation: Invocation,
    /// Whether the attempt before is under way.
    pub(super) is_second: bool,
}

/// What is to be done of a batch, and what is known of it.
#[derive(Debug, Clone)]
struct Call {
    invocation: Invocation,
    /// Attempts at these records, this one and one beside it included.
    attempts: u32,
    /// One past the last record that is to be done; the invocation may stop before.
    end: u64,
    suspects: Suspects,
    /// Attempts at these records that failed, throttled ones not counted.
    failures: u32,
    /// When the first of them did.
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

    /// Another attempt at these records.
    fn count(&mut self) {
        self.attempts += 1;
        self.invocation.attempt = self.attempts;
    }

    /// The call with one more failure of these records, of which `suspects` is known now.
    fn narrowed(&self, suspects: Suspects, failure: &Failure) -> Self {
        let offset = self.invocation.batch.offset;
        let mut next = self.from(offset, suspects);
        next.attempts = self.attempts;
        next.count();
        if suspects == Suspects::First {
            next.invocation.quarantine = Some(format!("it kills its function: {failure}"));
        }
        next
    }
}

/// A call that waits for its time.
struct Waiting {
    at: Instant,
    call: Call,
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

/// A call under way.
struct Running {
    call: Call,
    lane: usize,
    since: Instant,
    /// Where it is a second attempt.
    second: Option<Second>,
    /// The other attempt at the same records, if it is under way.
    twin: Option<u64>,
    /// Whether there may be another one: there is no third.
    may_be_doubled: bool,
    /// Whether the other attempt has answered.
    is_superseded: bool,
}

/// Which batches wait, and which lanes are free.
pub(super) struct Queue<'a> {
    work: &'a Work<'a>,
    run: Arc<str>,
    events: &'a Sender<Event>,
    pace: Pace,
    breaker: Breaker,
    stragglers: Option<Stragglers>,
    /// Lanes that were used and are free, the lowest on top: environments that are warm are used first.
    free: BinaryHeap<Reverse<usize>>,
    lanes: usize,
    running: BTreeMap<u64, Running>,
    calls: u64,
    /// The next batch that was never dispatched.
    next: usize,
    /// What goes before it: the rest of batches, and calls that were throttled.
    first: VecDeque<Call>,
    later: BinaryHeap<Reverse<Waiting>>,
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
            pace: Pace::new(settings.concurrency.max(1), settings.ramp, now),
            breaker: Breaker::default(),
            stragglers: settings
                .second_attempts
                .then_some(work.speculation)
                .flatten()
                .map(Stragglers::new),
            free: BinaryHeap::new(),
            lanes: 0,
            running: BTreeMap::new(),
            calls: 0,
            next: 0,
            first: VecDeque::new(),
            later: BinaryHeap::new(),
            finished: 0,
            last_answer: now,
        }
    }

    fn emit(&self, event: Event) {
        // The listener lives as long as the sender.
        let _ = self.events.send(event);
    }

    pub(super) fn is_done(&self) -> bool {
        self.finished == self.work.batches.len()
    }

    /// Why nothing can go on, where no call is under way whose answer could change that.
    pub(super) fn dead_end(&self) -> Option<DispatchError> {
        if self.breaker.is_open()
            && let Some((batches, failure)) = self.breaker.verdict()
        {
            return Some(DispatchError::CircuitOpen { batches, failure });
        }
        let budget = self.work.budget.filter(|budget| !budget.affords(1))?;
        let left = self.work.batches.len() - self.finished;
        Some(DispatchError::Budget(budget.shortage(1, left as u64)))
    }

    /// When there may be something to do, if no call is answered before.
    pub(super) fn wake(&self) -> Instant {
        let now = Instant::now();
        let mut wake = now + PATIENCE;
        // One whose time has come waits for a place or for money: for an answer.
        if let Some(Reverse(waiting)) = self.later.peek()
            && waiting.at > now
        {
            wake = wake.min(waiting.at);
        }
        if self.pace.held_until() > now {
            wake = wake.min(self.pace.held_until());
        }
        wake
    }

    /// The next call, if it is time for one.
    pub(super) fn dispatch(&mut self) -> Option<Dispatched> {
        let now = Instant::now();
        let affords_call = self.work.budget.is_none_or(|budget| budget.affords(1));
        let has_place = self.running.len() < self.pace.allowed(now);
        if !has_place || !affords_call || self.breaker.is_open() {
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
        second: Option<Second>,
        twin: Option<u64>,
    ) -> Dispatched {
        if let Some(budget) = self.work.budget {
            budget.set_aside(1);
        }
        let lane = match self.free.pop() {
            Some(Reverse(lane)) => lane,
            None => {
                self.lanes += 1;
                self.lanes - 1
            }
        };
        let invocation = call.invocation.clone();
        let number = self.calls;
        self.calls += 1;
        self.running.insert(
            number,
            Running {
                call,
                lane,
                since: now,
                may_be_doubled: second.is_none(),
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
        let is_time = |Reverse(waiting): &Reverse<Waiting>| waiting.at <= now;
        if self.later.peek().is_some_and(is_time) {
            return self.later.pop().map(|Reverse(waiting)| waiting.call);
        }
        if let Some(call) = self.first.pop_front() {
            return Some(call);
        }
        if self.breaker.is_wary() {
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

    /// The second attempt at what takes too long.
    fn second_attempt(&mut self, now: Instant) -> Option<Dispatched> {
        let stragglers = self.stragglers.as_mut()?;
        let (number, second) = self.running.iter().find_map(|(number, running)| {
            let is_alone = running.may_be_doubled && !running.is_superseded;
            let batch = &running.call.invocation.batch;
            let second = is_alone
                .then(|| stragglers.second(batch, now - running.since))
                .flatten();
            Some((*number, second?))
        })?;
        stragglers.begin(second);
        let running = self.running.get_mut(&number).expect("it is under way");
        (running.twin, running.may_be_doubled) = (Some(self.calls), false);
        let mut call = running.call.clone();
        call.count();
        running.call.attempts = call.attempts;
        let limit = second.limit.as_millis() as u64;
        let most = call.invocation.timeout_ms.unwrap_or(u64::MAX);
        call.invocation.timeout_ms = Some(limit.min(most));
        Some(self.start(call, now, Some(second), Some(number)))
    }

    /// Takes an answer; an error ends the run. `stopping` tells that the calls under way were asked to end.
    pub(super) fn settle(&mut self, answer: Answer, stopping: bool) -> Result<(), DispatchError> {
        let Answer { call, result, took } = answer;
        let mut ended = self.running.remove(&call).expect("it was under way");
        // What follows has all the time again, though a second attempt had less.
        ended.call.invocation.timeout_ms = self.timeout_ms();
        if let Some(budget) = self.work.budget {
            budget.settle(&result, took);
        }
        if let (Some(stragglers), Some(second)) = (&mut self.stragglers, ended.second) {
            stragglers.end(second, took);
        }
        self.free.push(Reverse(ended.lane));
        let twin = ended.twin.and_then(|twin| self.running.get_mut(&twin));
        match result {
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
                self.finish(ended, receipt, took)
            }
            Err(failure) if twin.is_some() => {
                // The other attempt may do better, and if it does not, it is the one that counts.
                if let Some(twin) = twin {
                    twin.twin = None;
                }
                self.emit_failure(&ended, &failure, true);
                Ok(())
            }
            Err(failure) => match failure.kind {
                FailureKind::Cancelled if stopping || self.work.cancel.is_cancelled() => Ok(()),
                // Somebody else stopped the worker; another one may go on.
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
        took: Option<Duration>,
    ) -> Result<(), DispatchError> {
        let Running { call, lane, .. } = ended;
        self.last_answer = Instant::now();
        self.pace.answered();
        self.breaker.succeeded(&receipt);
        if let (Some(stragglers), Some(took)) = (&mut self.stragglers, took) {
            stragglers.answered(&call.invocation.batch, receipt.records, took);
        }
        let batch = receipt.batch;
        let has_bad_record = receipt.failed > 0;
        let done = receipt.offset + receipt.records;
        if done >= call.end {
            self.finished += 1;
        } else {
            // The function ran out of time, or was asked for no more; the rest is a call of its own.
            let suspects = call.suspects.after_success(done);
            self.first.push_back(call.from(done, suspects));
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
        let held_before = self.pace.held_until();
        self.pace.throttled(self.running.len(), now);
        let held = self.pace.held_until();
        let is_hopeless = now - self.last_answer > LONGEST_THROTTLE && self.running.is_empty();
        self.emit_failure(&ended, &failure, !is_hopeless);
        if is_hopeless {
            let reason = format!(
                "the platform took no call for {} minutes: {}",
                LONGEST_THROTTLE.as_secs() / 60,
                failure.reason
            );
            let failure = Failure::new(FailureKind::Throttled, reason);
            return Err(given_up(&ended.call, failure));
        }
        if held > held_before {
            self.emit(Event::Held {
                ms: (held - now).as_millis() as u64,
            });
        }
        self.first.push_front(ended.call);
        Ok(())
    }

    fn fail(&mut self, ended: Running, failure: Failure) -> Result<(), DispatchError> {
        let now = Instant::now();
        self.last_answer = now;
        let mut call = ended.call.clone();
        call.failures += 1;
        let since = *call.since.get_or_insert(now);
        let policy = self.work.retry;
        let is_known = call.suspects != Suspects::None;
        let again = match failure.kind.remedy() {
            Remedy::Again => policy.tries_again(call.failures, now - since),
            // It is the last that can be done for a record, and next to no work.
            Remedy::Split if call.invocation.quarantine.is_some() => {
                policy.tries_again(call.failures, now - since)
            }
            Remedy::Split => {
                !is_known
                    && call.failures < WHOLE_ATTEMPTS
                    && policy.tries_again(call.failures, now - since)
            }
            Remedy::Later | Remedy::Stop => false,
        };
        if again {
            self.emit_failure(&ended, &failure, true);
            self.breaker.stumbled(call.invocation.batch.index);
            call.count();
            let wait = policy.wait(call.failures);
            self.emit(Event::Waiting {
                batch: call.invocation.batch.index,
                attempt: call.invocation.attempt,
                ms: wait.as_millis() as u64,
            });
            let at = now + wait;
            self.later.push(Reverse(Waiting { at, call }));
            return Ok(());
        }
        let splits = failure.kind.remedy() == Remedy::Split && call.invocation.quarantine.is_none();
        self.emit_failure(&ended, &failure, splits);
        if !splits {
            // A function that cannot even bury a record is not killed by records.
            let verdict = call
                .invocation
                .quarantine
                .as_ref()
                .and(self.breaker.verdict());
            return Err(match verdict {
                Some((batches, failure)) => DispatchError::CircuitOpen { batches, failure },
                None => given_up(&call, failure),
            });
        }
        self.breaker.failed(call.invocation.batch.index, &failure);
        let suspects = Suspects::after_failure(&call.invocation.batch);
        if suspects == Suspects::First {
            self.breaker.buries();
        }
        self.first.push_front(call.narrowed(suspects, &failure));
        Ok(())
    }
}

fn given_up(call: &Call, failure: Failure) -> DispatchError {
    DispatchError::Batch {
        batch: call.invocation.batch.index,
        attempt: call.invocation.attempt,
        failure,
    }
}
