//! Sums over receipts.

use std::collections::BTreeSet;
use std::sync::Arc;

use shoal_job::wire::{Receipt, Sizing, Timings};
use shoal_job::{Metrics, Receipts};

/// Sums over receipts.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Totals {
    /// Number of receipts.
    pub receipts: u64,
    /// Receipts of invocations that ended before the end of their batch.
    pub cut_short: u64,
    /// Records, those in the dead letters included.
    pub records: u64,
    /// Records in the dead letters.
    pub failed: u64,
    /// Records in the dead letters that crashed their function.
    pub quarantined: u64,
    /// Amount of work in the function's own unit.
    pub units: u64,
    /// Bytes of the parts.
    pub part_bytes: u64,
    /// What the function counted.
    pub metrics: Metrics,
    /// Where the time went.
    pub timings: Timings,
    /// Milliseconds that the platform bills, as far as it reports them.
    pub billed_ms: f64,
    /// Receipts with a billed time.
    pub billed: u64,
    /// What computed the results.
    pub engines: BTreeSet<Arc<str>>,
    /// The most memory of an environment's process, in bytes.
    pub peak_memory_bytes: Option<u64>,
    /// Invocations on a platform that bills, by what it bills by.
    pub functions: Vec<(Arc<Sizing>, BilledCalls)>,
}

/// Invocations of a function of one size.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct BilledCalls {
    /// Number of calls.
    pub count: u64,
    /// Billed milliseconds of initialization.
    pub init_ms: f64,
    /// Billed milliseconds, initialization included.
    pub billed_ms: f64,
    /// Invocations whose billed time the platform reported.
    pub measured: u64,
}

impl Totals {
    /// The sums over `receipts`.
    pub fn of(receipts: &Receipts) -> Self {
        receipts.values().collect()
    }

    /// Adds a receipt.
    pub fn add(&mut self, receipt: &Receipt) {
        self.receipts += 1;
        self.cut_short += u64::from(receipt.remaining > 0);
        self.records += receipt.records;
        self.failed += receipt.failed;
        self.quarantined += receipt.quarantined;
        self.units += receipt.units;
        self.part_bytes += receipt.part.bytes;
        self.metrics.merge(&receipt.metrics);
        self.timings += &receipt.timings;
        self.billed_ms += receipt.billed_ms.unwrap_or_default();
        self.billed += u64::from(receipt.billed_ms.is_some());
        if !self.engines.contains(&receipt.engine) {
            self.engines.insert(receipt.engine.clone());
        }
        self.peak_memory_bytes = self.peak_memory_bytes.max(receipt.peak_memory_bytes);
        if let Some(sizing) = &receipt.sizing {
            let found = self.functions.iter().position(|(known, _)| known == sizing);
            let index = found.unwrap_or_else(|| {
                self.functions
                    .push((sizing.clone(), BilledCalls::default()));
                self.functions.len() - 1
            });
            let calls = &mut self.functions[index].1;
            calls.count += 1;
            calls.init_ms += init_ms(receipt);
            calls.billed_ms += billed_ms(receipt);
            calls.measured += u64::from(receipt.billed_ms.is_some());
        }
    }
}

impl<'a> FromIterator<&'a Receipt> for Totals {
    fn from_iter<I: IntoIterator<Item = &'a Receipt>>(receipts: I) -> Self {
        let mut totals = Self::default();
        receipts.into_iter().for_each(|receipt| totals.add(receipt));
        totals
    }
}

/// Milliseconds that are billed for the initialization of the environment.
fn init_ms(receipt: &Receipt) -> f64 {
    if receipt.cold {
        receipt.timings.init
    } else {
        0.0
    }
}

/// Milliseconds that are billed for an invocation: as the platform reports them, or else the time of the function, rounded up.
pub fn billed_ms(receipt: &Receipt) -> f64 {
    let took = || (receipt.timings.total + init_ms(receipt)).ceil();
    receipt.billed_ms.unwrap_or_else(took)
}
