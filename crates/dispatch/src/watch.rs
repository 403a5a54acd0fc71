//! Waiting for receipts that others write: workers that find their share of the batches by themselves.

use std::time::{Duration, Instant};

use shoal_job::{Event, Receipts};

use crate::{Backend, DispatchError, Work};

/// The longest sleep before a wish to stop is seen.
const PATIENCE: Duration = Duration::from_millis(50);

/// The array backend as seen by whoever waits: workers of an array job do their shares, and their receipts appear in
/// the run directory.
#[derive(Debug, Clone, Copy)]
pub struct Watch {
    /// Workers that were asked for, as far as known.
    pub workers: usize,
    /// How often the run directory is looked at.
    pub every: Duration,
    /// Not to wait at all.
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
                reason: "its workers call no function and ask nobody before they work, so that --max-cost could not be kept"
                    .into(),
            });
        }
        let mut known = Receipts::default();
        loop {
            let looked = Instant::now();
            emit_new(work, &mut known, emit)?;
            let left = work.batches.iter().filter(|batch| !known.covers(batch));
            if left.count() == 0 {
                return Ok(());
            }
            if self.detach {
                emit(Event::Detached { execution: None });
                return Err(DispatchError::Detached);
            }
            // A store with very many receipts is not looked at all the time.
            sleep(self.every.max(looked.elapsed() * 10), work)?;
        }
    }
}

/// Tells of the receipts of `work` that are there and not in `known` yet, and of no others: what earlier starts did is
/// told already.
///
/// # Errors
/// The run directory cannot be read, or the first dead letter is to end the run and there is one.
pub fn emit_new(
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

/// Sleeps, unless somebody asks for the end.
///
/// # Errors
/// Somebody did.
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
        std::thread::sleep(left.min(PATIENCE));
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
    fn a_budget_that_cannot_be_kept_is_refused() {
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
