//! The array backend: waits for receipts from workers that pick their own share of the batches.

use std::time::{Duration, Instant};

use shoal_job::{Event, Receipts};

use crate::{Backend, DispatchError, Work};

/// How often a sleep checks for cancellation.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Waits for the workers of an array job. Each worker processes its share of the batches and writes receipts to the run
/// directory.
#[derive(Debug, Clone, Copy)]
pub struct Watch {
    /// The number of workers, as far as known.
    pub workers: usize,
    /// How often the run directory is listed.
    pub every: Duration,
    /// Whether to return without waiting for the workers.
    pub detach: bool,
}

impl Backend for Watch {
    fn name(&self) -> &'static str {
        "array"
    }

    fn concurrency(&self) -> usize {
        self.workers
    }

    fn run(&self, work: &Work<'_>, emit: &mut dyn FnMut(Event)) -> Result<(), DispatchError> {
        if work.budget.is_some() {
            return Err(DispatchError::Platform {
                backend: self.name(),
                reason: "array workers run without coordination, so a budget cannot be enforced"
                    .into(),
            });
        }
        let mut known = Receipts::default();
        loop {
            let started = Instant::now();
            emit_new_receipts(work, &mut known, emit)?;
            let left = work.batches.iter().filter(|batch| !known.covers(batch));
            if left.count() == 0 {
                return Ok(());
            }
            if self.detach {
                emit(Event::Detached { execution: None });
                return Err(DispatchError::Detached);
            }
            // Listing a store with many receipts is slow: spend at most a tenth of the time on it.
            sleep(self.every.max(started.elapsed() * 10), work)?;
        }
    }
}

/// Emits [`Event::Finished`] for every receipt of `work` that is in the run directory but not in `known`, and adds it to
/// `known`. Receipts from earlier starts are not part of `work`.
///
/// # Errors
/// Fails if the run directory cannot be read, or if there is a dead letter and `work.stop_on_bad_record` is set.
pub fn emit_new_receipts(
    work: &Work<'_>,
    known: &mut Receipts,
    emit: &mut dyn FnMut(Event),
) -> Result<(), DispatchError> {
    let new = work.run.receipts_beyond(known)?;
    let mut touched: Vec<_> = new.values().map(|receipt| receipt.batch).collect();
    touched.dedup();
    known.merge(new.clone());
    let mut bad = None;
    for index in touched {
        let first = work.batches.partition_point(|batch| batch.index < index);
        let of_it = work.batches[first..]
            .iter()
            .take_while(|batch| batch.index == index);
        for receipt in of_it.flat_map(|batch| known.ranges_of(batch)) {
            if new.get(index, receipt.offset).is_none() {
                continue;
            }
            if receipt.failed > 0 {
                bad = bad.or(Some(receipt.batch));
            }
            emit(Event::Finished {
                worker: 0,
                receipt: receipt.clone().into(),
            });
        }
    }
    match bad {
        Some(batch) if work.stop_on_bad_record => Err(DispatchError::BadRecord { batch }),
        _ => Ok(()),
    }
}

/// Sleeps until `time` has passed or the run is cancelled.
///
/// # Errors
/// [`DispatchError::Cancelled`] if the run was cancelled.
pub fn sleep(time: Duration, work: &Work<'_>) -> Result<(), DispatchError> {
    let until = Instant::now() + time;
    loop {
        if work.cancel.is_cancelled() {
            return Err(DispatchError::Cancelled);
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(POLL_INTERVAL));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::memory::InMemory;
    use shoal_job::{Cancel, RunDir};

    use super::*;
    use crate::{Budget, Ledger, RetryPolicy};

    #[test]
    fn a_budget_is_refused() {
        let run = RunDir::on(Arc::new(InMemory::new()), "run".into(), "memory:///run");
        let budget = Budget {
            max_usd: 1e6,
            most_per_call_usd: 0.0,
            cost: Box::new(|_, _| 0.0),
            ledger: Ledger::default(),
        };
        let work = Work {
            run: &run,
            batches: Vec::new(),
            is_suspect: false,
            retry: RetryPolicy::default(),
            timeout: None,
            stop_on_bad_record: false,
            speculation: None,
            budget: Some(&budget),
            cancel: &Cancel::new(),
        };
        let watch = Watch {
            workers: 1,
            every: Duration::ZERO,
            detach: false,
        };
        let end = watch.run(&work, &mut |_| {});
        assert!(
            matches!(end, Err(DispatchError::Platform { .. })),
            "{end:?}"
        );
    }
}
