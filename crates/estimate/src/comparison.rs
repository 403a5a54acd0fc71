//! The paper's experiment: monolithic against parallel execution of the same job, for several batch
//! sizes and any function. Both approaches make one call for each batch; the monolithic one makes
//! all calls to one environment, one after the other.

use serde::{Deserialize, Serialize};

use crate::{Basis, Bill};

/// Monolithic against parallel execution, for several batch sizes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Names of the compared inputs.
    pub inputs: Vec<String>,
    /// The function's reference: a model or a program.
    pub function: String,
    /// What computes the results, with its precision if it has one; empty if not reported.
    pub engine: String,
    /// Number of records of the input.
    pub records: u64,
    /// Unit of `units`, such as tokens.
    pub unit: String,
    /// Amount of work in the input, in that unit.
    pub units: u64,
    /// Platform of the functions: `local`, or `lambda, 1769 MB, x86_64, us-east-1`.
    pub place: String,
    /// Whether times were measured or simulated.
    pub basis: Basis,
    /// Maximum number of concurrent functions of the parallel approach.
    pub concurrency: u64,
    /// Assumptions behind numbers that were not measured here, as sentences.
    pub assumptions: Vec<String>,
    /// One row per batch size, ascending.
    pub rows: Vec<BatchSize>,
    /// The paper's implementation on the same records, if it was measured.
    pub paper_baseline: Option<PaperBaseline>,
    /// The command that reproduces the comparison.
    pub command: String,
}

/// Both approaches at one batch size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BatchSize {
    /// Records per batch.
    pub batch_size: u64,
    /// Larger batch sizes that were compared too and give the same batches: one of all records.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub same_batches: Vec<u64>,
    /// Number of batches.
    pub batches: u64,
    /// One environment, called once for each batch, one after the other.
    pub monolithic: Approach,
    /// As many environments as batches, up to the concurrency, each called for a batch at a time.
    pub parallel: Approach,
}

impl BatchSize {
    /// The share of time that the parallel approach saves: 0.95 is 95 % less.
    pub fn reduction(&self) -> f64 {
        1.0 - self.parallel.seconds / self.monolithic.seconds
    }

    /// The relative change in cost from the monolithic to the parallel approach: 0.05 is 5 % more
    /// expensive. `None` without prices.
    pub fn cost_change(&self) -> Option<f64> {
        Some(self.parallel.usd()? / self.monolithic.usd()? - 1.0)
    }

    /// Parallel efficiency: how many times as fast the parallel approach is, divided by its peak
    /// number of concurrent functions.
    pub fn efficiency(&self) -> f64 {
        self.monolithic.seconds
            / self.parallel.seconds
            / self.parallel.peak_concurrency.max(1) as f64
    }
}

/// One of the paper's two approaches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Approach {
    /// Time from the start to the last receipt, in seconds.
    pub seconds: f64,
    /// Total function time in seconds; billed time on platforms that bill it.
    pub function_seconds: f64,
    /// Peak number of concurrent functions.
    pub peak_concurrency: u64,
    /// Number of first invocations of an environment.
    pub cold_starts: u64,
    /// Number of invocations.
    pub invocations: u64,
    /// The cost; `None` if there is no price.
    pub bill: Option<Bill>,
}

impl Approach {
    /// The cost in USD.
    pub fn usd(&self) -> Option<f64> {
        self.bill.as_ref().map(Bill::usd)
    }
}

/// The paper's implementation, measured here: padded batches in PyTorch, at the same prices as the
/// functions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PaperBaseline {
    /// The runtime, with versions.
    pub runtime: String,
    /// Number of timed records.
    pub records: u64,
    /// Records per padded batch.
    pub batch_size: u64,
    /// Seconds per record on one thread.
    pub seconds_per_record: f64,
    /// Seconds from the start of the process to its first record.
    pub start_seconds: f64,
    /// Seconds per record that shoal takes for the same records and the same model on one thread.
    pub shoal_seconds_per_record: f64,
    /// USD per million records, if [`Self::seconds_per_record`] is billed. Missing in the files
    /// that `tools/paper_baseline.py` writes.
    #[serde(default)]
    pub usd_per_million: f64,
    /// USD per million records with shoal. Missing in those files, too.
    #[serde(default)]
    pub shoal_usd_per_million: f64,
}
