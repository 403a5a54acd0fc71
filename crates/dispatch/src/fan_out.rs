//! Fanning out: many calls in flight, each batch tried until it has a receipt.

mod breaker;
mod queue;
mod search;
mod stragglers;

use std::future::Future;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use shoal_job::wire::{Failure, FailureKind, Invocation, Receipt};
use shoal_job::{Event, RunDir};
use tokio::time::{Instant, sleep_until, timeout};

use crate::pace::Ramp;
use crate::{DispatchError, Work};
use queue::{Dispatched, Queue};
pub use stragglers::Speculation;

/// How soon a wish to stop is seen.
const PATIENCE: Duration = Duration::from_millis(50);

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
    /// Whether a call may be made a second time while the first is under way: not where both would wait for the same thing.
    pub second_attempts: bool,
}

/// Has every batch of `work` worked off by `caller`.
///
/// # Errors
/// Why not all of them have a receipt.
pub fn fan_out<C: Caller>(
    caller: &C,
    settings: FanOut,
    work: &Work<'_>,
    emit: &mut dyn FnMut(Event),
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
        told.iter().for_each(&mut *emit);
        driver
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// What a call came to.
struct Answer {
    /// Which call it was.
    call: u64,
    result: Result<Receipt, Failure>,
    /// From the call to the answer; `None` where no call had to be made.
    took: Option<Duration>,
}

pub(crate) async fn drive<C: Caller>(
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
            while let Some(dispatched) = queue.dispatch() {
                calls.push(call(caller, work, dispatched));
            }
        }
        // Calls that are under way then are for what others have done meanwhile.
        if queue.is_done() || (stopping && calls.is_empty()) {
            break;
        }
        if calls.is_empty()
            && let Some(error) = queue.dead_end()
        {
            return Err(error);
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

async fn call<C: Caller>(caller: &C, work: &Work<'_>, dispatched: Dispatched) -> Answer {
    let Dispatched {
        call,
        lane,
        invocation,
        is_second,
    } = dispatched;
    let mut took = None;
    // The attempt before may have come to its end, and its answer was lost; one that is under way has left nothing yet.
    let is_new = invocation.attempt == 1 || is_second;
    let found = match is_new {
        true => None,
        false => find_receipt(work.run, &invocation).await,
    };
    let result = match found {
        Some(receipt) => Ok(receipt),
        None => {
            let called = Instant::now();
            let result = attempt(caller, work, lane, &invocation).await;
            took = Some(called.elapsed());
            result
        }
    };
    let result = result.and_then(|receipt| check(&invocation, receipt));
    Answer { call, result, took }
}

async fn attempt<C: Caller>(
    caller: &C,
    work: &Work<'_>,
    lane: usize,
    invocation: &Invocation,
) -> Result<Receipt, Failure> {
    let call = caller.call(lane, invocation);
    match invocation.timeout_ms.map(Duration::from_millis) {
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
    let (run, batch) = (run.clone(), invocation.batch.clone());
    // A store that does not tell now is no reason not to try the batch.
    tokio::task::spawn_blocking(move || run.receipt(batch.index, batch.offset))
        .await
        .ok()?
        .ok()?
}

/// Whether a receipt answers an invocation. It may be for more than was asked for, where another attempt wrote it.
fn check(invocation: &Invocation, receipt: Receipt) -> Result<Receipt, Failure> {
    let batch = &invocation.batch;
    let covered = receipt
        .offset
        .checked_add(receipt.records)
        .and_then(|covered| covered.checked_add(receipt.remaining));
    let is_answer = receipt.batch == batch.index
        && receipt.offset == batch.offset
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

#[cfg(test)]
mod tests;
