//! Fanning out: many calls in flight, each batch tried until it has a receipt.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::future::Future;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use shoal_job::wire::{Failure, FailureKind, Invocation, Receipt};
use shoal_job::{Event, RunDir};
use tokio::time::{Instant, sleep_until, timeout};

use crate::pace::{Pace, Ramp};
use crate::{DispatchError, Shortage, Work};

/// How soon a wish to stop is seen.
const PATIENCE: Duration = Duration::from_millis(50);
/// A platform that takes not a single call in this time is given up.
const LONGEST_THROTTLE: Duration = Duration::from_secs(900);

/// Makes one call of the function.
pub trait Caller: Sync {
    /// Has `invocation` worked off. No two calls of the same `lane` are under way at a time; lanes count from 0.
    ///
    /// The future may be dropped at any time.
    fn call(
        &self,
        lane: usize,
        invocation: &Invocation,
    ) -> impl Future<Output = Result<Receipt, Failure>>;

    /// Asks calls under way to end. Where it answers `true` they will, soon, and are waited for; where `false`, they are
    /// left alone: the function runs elsewhere, and will write its part.
    fn stop(&self) -> bool {
        false
    }
}

/// How far to fan out.
#[derive(Debug, Clone, Copy)]
pub struct FanOut {
    /// Calls in flight, at most; at least 1.
    pub concurrency: usize,
    /// The platform's own rule, where it has one.
    pub ramp: Option<Ramp>,
}

/// Has every batch of `work` worked off by `caller`.
///
/// # Errors
/// Why not all of them have a receipt.
pub fn fan_out<C: Caller>(
    caller: &C,
    settings: FanOut,
    work: &Work<'_>,
    tell: &mut dyn FnMut(Event),
) -> Result<(), DispatchError> {
    // Who is told may write to a store, which must not be waited for within a task.
    let (events, told) = channel();
    std::thread::scope(|scope| {
        let driver = std::thread::Builder::new()
            .name("shoal-dispatch".into())
            .spawn_scoped(scope, move || {
                tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .expect("the system can start a runtime")
                    .block_on(drive(caller, settings, work, events))
            })
            .expect("the system can start a thread");
        told.iter().for_each(&mut *tell);
        driver
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// What a call came to.
struct Answer {
    lane: usize,
    invocation: Invocation,
    result: Result<Receipt, Failure>,
    /// From the call to the answer; `None` where no call had to be made.
    took: Option<Duration>,
}

async fn drive<C: Caller>(
    caller: &C,
    settings: FanOut,
    work: &Work<'_>,
    events: Sender<Event>,
) -> Result<(), DispatchError> {
    let mut queue = Queue::new(work, settings, &events);
    let mut calls = FuturesUnordered::new();
    let mut end = Ok(());
    let mut stopping = false;
    loop {
        if !stopping && (end.is_err() || work.cancel.is_cancelled()) {
            stopping = true;
            if !caller.stop() {
                break;
            }
        }
        if !stopping {
            while let Some((lane, invocation)) = queue.dispatch() {
                calls.push(call(caller, work, lane, invocation));
            }
        }
        if calls.is_empty() && (stopping || queue.is_done()) {
            break;
        }
        if calls.is_empty()
            && let Some(shortage) = queue.shortage()
        {
            // Nothing is under way that could give money back.
            return Err(DispatchError::Budget(shortage));
        }
        tokio::select! {
            Some(answer) = calls.next(), if !calls.is_empty() => {
                let settled = queue.settle(answer, stopping);
                end = end.and(settled);
            }
            () = sleep_until(queue.wake()) => {}
        }
    }
    if end.is_ok() && !queue.is_done() {
        return Err(DispatchError::Cancelled);
    }
    end
}

async fn call<C: Caller>(
    caller: &C,
    work: &Work<'_>,
    lane: usize,
    invocation: Invocation,
) -> Answer {
    let mut took = None;
    let result = match find_receipt(work.run, &invocation).await {
        // The attempt before had come to its end, and its answer was lost.
        Some(receipt) => Ok(receipt),
        None => {
            let called = Instant::now();
            let result = attempt(caller, work, lane, &invocation).await;
            took = Some(called.elapsed());
            result
        }
    };
    let result = result.and_then(|receipt| check(&invocation, receipt));
    Answer {
        lane,
        invocation,
        result,
        took,
    }
}

async fn attempt<C: Caller>(
    caller: &C,
    work: &Work<'_>,
    lane: usize,
    invocation: &Invocation,
) -> Result<Receipt, Failure> {
    let call = caller.call(lane, invocation);
    match work.timeout {
        None => call.await,
        Some(limit) => timeout(limit + work.retry.grace, call)
            .await
            .unwrap_or_else(|_| {
                let reason = format!(
                    "the function did not answer within {} s",
                    limit.as_secs_f64()
                );
                Err(Failure::new(FailureKind::TimedOut, reason))
            }),
    }
}

/// The receipt of an attempt before `invocation`, if there is one.
async fn find_receipt(run: &RunDir, invocation: &Invocation) -> Option<Receipt> {
    if invocation.attempt == 1 {
        return None;
    }
    let (run, batch) = (run.clone(), invocation.batch.clone());
    // A store that does not tell now is no reason not to try the batch.
    tokio::task::spawn_blocking(move || run.receipt(batch.index, batch.offset))
        .await
        .ok()?
        .ok()?
}

/// Whether a receipt answers an invocation.
fn check(invocation: &Invocation, receipt: Receipt) -> Result<Receipt, Failure> {
    let batch = &invocation.batch;
    let covered = receipt
        .offset
        .checked_add(receipt.records)
        .and_then(|end| end.checked_add(receipt.remaining));
    let is_answer = (receipt.batch, receipt.offset) == (batch.index, batch.offset)
        && covered == Some(batch.records)
        && receipt.records > 0
        && receipt.failed <= receipt.records;
    if is_answer {
        return Ok(receipt);
    }
    let reason = format!(
        "the function answered for batch {} (records {}+{} and {} more), and was asked for batch {} (from {} of {})",
        receipt.batch,
        receipt.offset,
        receipt.records,
        receipt.remaining,
        batch.index,
        batch.offset,
        batch.records
    );
    Err(Failure::new(FailureKind::Retryable, reason))
}

/// An invocation that waits for its time.
struct Waiting {
    at: Instant,
    invocation: Invocation,
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

/// Which batches wait, and which lanes are free.
struct Queue<'a> {
    work: &'a Work<'a>,
    run: Arc<str>,
    events: &'a Sender<Event>,
    pace: Pace,
    /// Lanes that were used and are free, the lowest on top: environments that are warm are used first.
    free: BinaryHeap<Reverse<usize>>,
    lanes: usize,
    in_flight: usize,
    /// The next batch that was never dispatched.
    next: usize,
    /// What goes before it: the rest of batches, and calls that were throttled.
    first: VecDeque<Invocation>,
    later: BinaryHeap<Reverse<Waiting>>,
    finished: usize,
    last_answer: Instant,
}

impl<'a> Queue<'a> {
    fn new(work: &'a Work<'a>, settings: FanOut, events: &'a Sender<Event>) -> Self {
        let now = Instant::now();
        Self {
            work,
            run: work.run.uri().into(),
            events,
            pace: Pace::new(settings.concurrency.max(1), settings.ramp, now),
            free: BinaryHeap::new(),
            lanes: 0,
            in_flight: 0,
            next: 0,
            first: VecDeque::new(),
            later: BinaryHeap::new(),
            finished: 0,
            last_answer: now,
        }
    }

    fn tell(&self, event: Event) {
        // The listener lives as long as the sender.
        let _ = self.events.send(event);
    }

    fn is_done(&self) -> bool {
        self.finished == self.work.batches.len()
    }

    /// What is missing for a further call, if anything is.
    fn shortage(&self) -> Option<Shortage> {
        let budget = self.work.budget.filter(|budget| !budget.affords(1))?;
        let left = self.work.batches.len() - self.finished;
        Some(budget.shortage(1, left as u64))
    }

    /// When there may be something to do, if no call is answered before.
    fn wake(&self) -> Instant {
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
    fn dispatch(&mut self) -> Option<(usize, Invocation)> {
        let now = Instant::now();
        let affords_call = self.work.budget.is_none_or(|budget| budget.affords(1));
        if self.in_flight >= self.pace.allowed(now) || !affords_call {
            return None;
        }
        let invocation = self.next_invocation(now)?;
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
        self.in_flight += 1;
        self.tell(Event::Dispatched {
            batch: invocation.batch.index,
            attempt: invocation.attempt,
            worker: lane,
        });
        Some((lane, invocation))
    }

    fn next_invocation(&mut self, now: Instant) -> Option<Invocation> {
        let is_time = |Reverse(waiting): &Reverse<Waiting>| waiting.at <= now;
        if self.later.peek().is_some_and(is_time) {
            return self.later.pop().map(|Reverse(waiting)| waiting.invocation);
        }
        if let Some(invocation) = self.first.pop_front() {
            return Some(invocation);
        }
        let batch = self.work.batches.get(self.next)?;
        self.next += 1;
        let timeout_ms = self.work.timeout.map(|timeout| timeout.as_millis() as u64);
        Some(Invocation {
            run: self.run.clone(),
            batch: batch.clone().into_owned(),
            attempt: 1,
            timeout_ms,
        })
    }

    /// Takes an answer; an error ends the run. `stopping` tells that the calls under way were asked to end.
    fn settle(&mut self, answer: Answer, stopping: bool) -> Result<(), DispatchError> {
        let Answer {
            lane,
            invocation,
            result,
            took,
        } = answer;
        self.in_flight -= 1;
        if let Some(budget) = self.work.budget {
            budget.settle(&result, took);
        }
        self.free.push(Reverse(lane));
        match result {
            Ok(receipt) => self.finish(lane, invocation, receipt),
            Err(failure) => match failure.kind {
                FailureKind::Cancelled if stopping || self.work.cancel.is_cancelled() => Ok(()),
                // Somebody else stopped the worker; another one may go on.
                FailureKind::Cancelled => {
                    let kind = FailureKind::Retryable;
                    self.fail(invocation, Failure { kind, ..failure })
                }
                FailureKind::Throttled => self.throttled(invocation, failure),
                _ => self.fail(invocation, failure),
            },
        }
    }

    fn finish(
        &mut self,
        lane: usize,
        mut invocation: Invocation,
        receipt: Receipt,
    ) -> Result<(), DispatchError> {
        self.last_answer = Instant::now();
        self.pace.answered();
        let batch = receipt.batch;
        let has_bad_record = receipt.failed > 0;
        if receipt.remaining == 0 {
            self.finished += 1;
        } else {
            // The function ran out of time; the rest is a batch of its own.
            invocation.batch.offset = receipt.offset + receipt.records;
            invocation.attempt = 1;
            self.first.push_back(invocation);
        }
        self.tell(Event::Finished {
            worker: lane,
            receipt: receipt.into(),
        });
        if has_bad_record && self.work.stop_on_bad_record {
            return Err(DispatchError::BadRecord { batch });
        }
        Ok(())
    }

    fn throttled(&mut self, invocation: Invocation, failure: Failure) -> Result<(), DispatchError> {
        let now = Instant::now();
        let (batch, attempt) = (invocation.batch.index, invocation.attempt);
        self.pace.throttled(self.in_flight, now);
        let is_hopeless = now - self.last_answer > LONGEST_THROTTLE && self.in_flight == 0;
        self.tell(Event::Failed {
            batch,
            attempt,
            kind: failure.kind,
            reason: failure.reason.clone(),
            retry: !is_hopeless,
        });
        if is_hopeless {
            let reason = format!(
                "the platform took no call for {} minutes: {}",
                LONGEST_THROTTLE.as_secs() / 60,
                failure.reason
            );
            return Err(DispatchError::Batch {
                batch,
                attempt,
                failure: Failure::new(FailureKind::Throttled, reason),
            });
        }
        self.first.push_front(invocation);
        Ok(())
    }

    fn fail(&mut self, mut invocation: Invocation, failure: Failure) -> Result<(), DispatchError> {
        self.last_answer = Instant::now();
        let (batch, attempt) = (invocation.batch.index, invocation.attempt);
        let retry = self.work.retry.tries_again(attempt, failure.kind);
        self.tell(Event::Failed {
            batch,
            attempt,
            kind: failure.kind,
            reason: failure.reason.clone(),
            retry,
        });
        if !retry {
            return Err(DispatchError::Batch {
                batch,
                attempt,
                failure,
            });
        }
        invocation.attempt += 1;
        self.later.push(Reverse(Waiting {
            at: Instant::now() + self.work.retry.wait(attempt),
            invocation,
        }));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
