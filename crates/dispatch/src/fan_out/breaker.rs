//! The circuit breaker: stops a run in which nothing succeeds.
//!
//! A bad batch affects only itself. If several batches in a row fail without a success in between, the cause is elsewhere:
//! the function's memory, its model or the network. To avoid wasting money, the breaker then holds new calls until all
//! calls in flight are answered. One success closes it again; otherwise the run ends.

use std::collections::BTreeSet;

use shoal_job::wire::{Failure, Receipt};

/// How many batches in a row may fail, and how many records in a row may be quarantined, before the breaker opens.
type Limits = (usize, u32);

/// The limits before the first success.
const BEFORE_FIRST_SUCCESS: Limits = (5, 3);
/// The limits after it. They are higher, because bad records are often adjacent in a file.
const AFTER_FIRST_SUCCESS: Limits = (20, 10);

/// Counts consecutive failures.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    has_succeeded: bool,
    /// Batches with a failure that was retried, before the first success.
    retried: BTreeSet<u64>,
    /// Batches that failed for good or were split since the last success.
    batches: BTreeSet<u64>,
    /// Records that were quarantined since the last success.
    quarantined: u32,
    last: Option<Failure>,
}

impl Breaker {
    /// Records a call that returned a receipt.
    pub(super) fn succeeded(&mut self, receipt: &Receipt) {
        if receipt.records > receipt.quarantined {
            *self = Self {
                has_succeeded: true,
                ..Self::default()
            };
        }
    }

    /// Records a failure that is retried.
    pub(super) fn retried(&mut self, batch: u64) {
        if !self.has_succeeded {
            self.retried.insert(batch);
        }
    }

    /// Whether no further batch may start until the retries are settled, because nothing has succeeded yet.
    pub(super) fn holds_new_batches(&self) -> bool {
        self.retried.len() >= BEFORE_FIRST_SUCCESS.0
    }

    /// Records a batch whose failed call is not retried unchanged.
    pub(super) fn failed(&mut self, batch: u64, failure: &Failure) {
        self.batches.insert(batch);
        self.last = Some(failure.clone());
    }

    /// Records that a record is about to be quarantined.
    pub(super) fn quarantines_record(&mut self) {
        self.quarantined += 1;
    }

    /// Whether new calls are held until the calls in flight are settled.
    pub(super) fn is_open(&self) -> bool {
        let (batches, quarantined) = match self.has_succeeded {
            true => AFTER_FIRST_SUCCESS,
            false => BEFORE_FIRST_SUCCESS,
        };
        self.batches.len() >= batches || self.quarantined >= quarantined
    }

    /// The number of batches that failed in a row, and the last failure.
    pub(super) fn last_failure(&self) -> Option<(usize, Failure)> {
        Some((self.batches.len(), self.last.clone()?))
    }
}
