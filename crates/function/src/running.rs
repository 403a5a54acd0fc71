//! How many records the calls in progress in this process have processed, for displays.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

static RECORDS: AtomicU64 = AtomicU64::new(0);

/// The records that the calls in progress have processed.
pub fn records() -> u64 {
    RECORDS.load(Ordering::Relaxed)
}

/// The records that one call has processed, which count until this is dropped.
#[derive(Debug, Default)]
pub struct Processed(Cell<u64>);

impl Processed {
    /// Sets their number, which never falls.
    pub fn set(&self, records: u64) {
        let before = self.0.replace(records);
        RECORDS.fetch_add(records - before, Ordering::Relaxed);
    }
}

impl Drop for Processed {
    fn drop(&mut self) {
        RECORDS.fetch_sub(self.0.get(), Ordering::Relaxed);
    }
}
