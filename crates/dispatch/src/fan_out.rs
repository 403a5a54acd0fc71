//! Fan-out: keeps many calls in flight and retries each batch until it has a receipt.

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

use crate::concurrency::Ramp;
use crate::{DispatchError, Work};
use queue::{Dispatched, Queue};
pub use stragglers::Speculation;

/// How often the loop checks for cancellation.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Makes single calls of the function.
pub trait Caller: Sync {
    /// Processes `invocation`. A lane has at most one call in flight; lanes are numbered from 0.
    ///
    /// The future may be dropped at any time.
    fn call(
        &self,
        lane: usize,
        invocation: &Invocation,
    ) -> impl Future<Output = Result<Receipt, Failure>>;

    /// Asks the calls in flight to stop. Returns `true` if they stop soon, so that the loop waits for them, and `false` if
    /// they are abandoned: a function on a remote platform finishes and writes its part.
    fn stop(&self) -> bool {
        false
    }
}

/// How to fan out.
#[derive(Debug, Clone, Copy)]
pub struct FanOut {
    /// The maximum number of calls in flight, at least 1.
    pub concurrency: usize,
    /// The rate at which the platform adds environments, if it is limited.
    pub ramp: Option<Ramp>,
    /// Whether a second attempt may run beside the first. Useless if both compete for the same resources.
    pub allow_speculation: bool,
}

/// Processes every batch of `work` by calls of `caller`.
///
/// # Errors
/// Fails if not all batches have a receipt in the end.
pub fn fan_out<C: Caller>(
    caller: &C,
    settings: FanOut,
    work: &Work<'_>,
    emit: &mut dyn FnMut(Event),
) -> Result<(), DispatchError> {
    // `emit` may block on a store, which must not happen within a task.
    let (events, emitted) = channel();
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
        emitted.iter().for_each(&mut *emit);
        driver
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// The result of a call.
struct Answer {
    /// The number of the call.
    call: u64,
    result: Result<Receipt, Failure>,
    /// Time from the call to the answer; `None` if no call was necessary.
    elapsed: Option<Duration>,
}

/// As [`fan_out`], as a future on the caller's runtime. Every event is sent to `events` immediately.
///
/// # Errors
/// As [`fan_out`].
pub async fn drive<C: Caller>(
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
        // Calls that are still in flight then are duplicates of finished ones.
        if queue.is_done() || (stopping && calls.is_empty()) {
            break;
        }
        if calls.is_empty()
            && let Some(error) = queue.blocking_error()
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
    let invocation = &dispatched.invocation;
    let mut elapsed = None;
    // The previous attempt may have finished although its answer was lost.
    let is_retry = invocation.attempt > 1 && !dispatched.is_second;
    let found = match is_retry {
        true => find_receipt(work.run, invocation).await,
        false => None,
    };
    let result = match found {
        Some(receipt) => Ok(receipt),
        None => {
            let called = Instant::now();
            let result = attempt(caller, work, dispatched.lane, invocation).await;
            elapsed = Some(called.elapsed());
            result
        }
    };
    Answer {
        call: dispatched.call,
        result: result.and_then(|receipt| check(invocation, receipt)),
        elapsed,
    }
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

/// The receipt that an earlier attempt at `invocation` wrote, if there is one.
async fn find_receipt(run: &RunDir, invocation: &Invocation) -> Option<Receipt> {
    let (run, batch) = (run.clone(), invocation.batch.clone());
    // If the store cannot be read, the batch is simply processed again.
    tokio::task::spawn_blocking(move || run.receipt(batch.index, batch.offset))
        .await
        .ok()?
        .ok()?
}

/// Checks that a receipt answers an invocation. It may cover more records than requested if another attempt wrote it.
fn check(invocation: &Invocation, receipt: Receipt) -> Result<Receipt, Failure> {
    let batch = &invocation.batch;
    let covered = receipt
        .offset
        .checked_add(receipt.records)
        .and_then(|covered| covered.checked_add(receipt.remaining));
    let is_valid = receipt.batch == batch.index
        && receipt.offset == batch.offset
        && covered == Some(batch.records)
        && receipt.records > 0
        && receipt.failed <= receipt.records;
    if is_valid {
        return Ok(receipt);
    }
    let reason = format!(
        "the function returned a receipt for batch {} (offset {}, {} records, {} remaining), expected batch {} (offset {} of \
         {} records)",
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
