//! The paper's experiment: the same job as one long process and as many functions, over batch sizes.

use serde::{Deserialize, Serialize};

use crate::{Basis, Bill};

/// Monolithic against parallel, over batch sizes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// What was compared, in words: the inputs.
    pub inputs: Vec<String>,
    /// The model's reference.
    pub model: String,
    /// `f32` or `int8`.
    pub precision: String,
    /// The instruction set.
    pub isa: String,
    /// Records of the input.
    pub records: u64,
    /// Tokens of the input.
    pub tokens: u64,
    /// Where the functions ran, in words: `local`, or `lambda, 1769 MB, x86_64, us-east-1`.
    pub place: String,
    /// Whether times were measured or come from the simulator.
    pub basis: Basis,
    /// Functions at a time of the parallel way, at most.
    pub concurrency: u64,
    /// What everything rests on that was not measured here, in sentences.
    pub assumptions: Vec<String>,
    /// One a batch size, ascending.
    pub rows: Vec<BatchSize>,
    /// The paper's own way on the same records, where it was measured.
    pub paper_baseline: Option<PaperBaseline>,
    /// The command that repeats it.
    pub command: String,
}

/// Both ways at one batch size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BatchSize {
    /// Records in a batch.
    pub batch_size: u64,
    /// Batches.
    pub batches: u64,
    /// One function for all batches in turn.
    pub monolithic: Approach,
    /// A function a batch.
    pub parallel: Approach,
}

impl BatchSize {
    /// The share of time that the parallel way saves: 0.95 is 95 % less.
    pub fn reduction(&self) -> f64 {
        1.0 - self.parallel.seconds / self.monolithic.seconds
    }

    /// The parallel way's cost relative to the monolithic one's, less 1: 0.05 is 5 % dearer. `None` without prices.
    pub fn cost_change(&self) -> Option<f64> {
        Some(self.parallel.usd()? / self.monolithic.usd()? - 1.0)
    }

    /// Parallel efficiency: how many times as fast, by the number of functions at work at a time.
    pub fn efficiency(&self) -> f64 {
        self.monolithic.seconds
            / self.parallel.seconds
            / self.parallel.peak_concurrency.max(1) as f64
    }
}

/// One of the paper's two ways.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Approach {
    /// From the start to the last receipt.
    pub seconds: f64,
    /// The time of functions, summed, in seconds; as billed where a platform bills.
    pub function_seconds: f64,
    /// The most functions at work at a time.
    pub peak_concurrency: u64,
    /// First invocations of an environment.
    pub cold_starts: u64,
    /// Invocations.
    pub invocations: u64,
    /// What it costs; `None` where nothing has a price.
    pub bill: Option<Bill>,
}

impl Approach {
    /// What it costs in USD.
    pub fn usd(&self) -> Option<f64> {
        self.bill.as_ref().map(Bill::usd)
    }
}

/// The paper's own way, measured here: padded batches through PyTorch in Python, priced as the functions are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PaperBaseline {
    /// What ran, with versions.
    pub runtime: String,
    /// Records that were timed.
    pub records: u64,
    /// Records in a padded batch.
    pub batch_size: u64,
    /// Seconds a record on one thread.
    pub seconds_per_record: f64,
    /// Seconds from a process's start to its first record.
    pub start_seconds: f64,
    /// What shoal takes for the same records with the same model on one thread, in seconds a record.
    pub shoal_seconds_per_record: f64,
    /// USD for a million records, as [`Self::seconds_per_record`] is billed.
    pub usd_per_million: f64,
    /// USD for a million records by shoal.
    pub shoal_usd_per_million: f64,
}
