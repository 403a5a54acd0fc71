//! Stopping where nothing succeeds.
//!
//! What is wrong with a batch costs that batch alone. Where batch after batch fails, with no success between, something else
//! is wrong: the function's memory, its model, its network. Before more money goes there, nothing new is called until
//! all calls under way are answered; one that succeeds lets the run go on, and if none does it ends.

use std::collections::BTreeSet;

use shoal_job::wire::{Failure, Receipt};

/// Batches that fail in a row, or records that are buried in a row, until nothing new is called.
#[derive(Debug, Clone, Copy)]
struct Limits {
    batches: usize,
    quarantined: u32,
}

/// As long as nothing has succeeded at all.
const AT_FIRST: Limits = Limits {
    batches: 5,
    quarantined: 3,
};
/// Once something has: a file may well have its bad records together.
const LATER: Limits = Limits {
    batches: 20,
    quarantined: 10,
};

/// Counts what fails in a row.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    has_succeeded: bool,
    /// Batches that failed since the last success, if only once.
    once: BTreeSet<u64>,
    /// Batches that failed more than once since the last success.
    batches: BTreeSet<u64>,
    /// Records that were found to kill their function since then.
    quarantined: u32,
    last: Option<Failure>,
}

impl Breaker {
    /// A call was answered by a receipt.
    pub(super) fn succeeded(&mut self, receipt: &Receipt) {
        if receipt.records > receipt.quarantined {
            *self = Self {
                has_succeeded: true,
                ..Self::default()
            };
        }
    }

    /// A call has failed, and is made again.
    pub(super) fn stumbled(&mut self, batch: u64) {
        if !self.has_succeeded {
            self.once.insert(batch);
        }
    }

    /// Whether no further batch may be begun until it is known what becomes of those that failed: nothing has succeeded yet.
    pub(super) fn is_wary(&self) -> bool {
        self.once.len() >= AT_FIRST.batches
    }

    /// A batch has failed too often for the same call to be made again.
    pub(super) fn failed(&mut self, batch: u64, failure: &Failure) {
        self.batches.insert(batch);
        self.last = Some(failure.clone());
    }

    /// A record is going to be buried.
    pub(super) fn buries(&mut self) {
        self.quarantined += 1;
    }

    /// Whether nothing new may be called until it is known whether anything succeeds.
    pub(super) fn is_open(&self) -> bool {
        let limits = if self.has_succeeded { LATER } else { AT_FIRST };
        self.batches.len() >= limits.batches || self.quarantined >= limits.quarantined
    }

    /// Batches that failed in a row, and why the last of them did.
    pub(super) fn verdict(&self) -> Option<(usize, Failure)> {
        Some((self.batches.len(), self.last.clone()?))
    }
}
