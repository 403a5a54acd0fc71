//! The predicted time and cost of a job.

use serde::Serialize;
use shoal_kernels::Precision;

use crate::simulate::ColdStart;
use crate::{Calibration, Choice, Constraints, Estimate, Work, Workload};

/// The predicted time and cost of a job.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// The inputs.
    pub inputs: Vec<String>,
    /// The model's reference.
    pub model: String,
    /// The precision of the engine.
    pub precision: Precision,
    /// The records and their lengths.
    pub workload: Workload,
    /// Tokens of the input.
    pub tokens: f64,
    /// The time of all records on one core, and its sampling error.
    pub work: Work,
    /// The calibrations that the times are based on, at least one.
    pub calibrations: Vec<Calibration>,
    /// The date of the prices.
    pub prices_date: String,
    /// The region of the prices.
    pub region: String,
    /// All simulated candidates.
    pub estimates: Vec<Estimate>,
    /// Indices of the candidates that no other one beats in both time and cost.
    pub pareto: Vec<usize>,
    /// The constraints on time and cost.
    pub constraints: Constraints,
    /// The chosen candidate.
    pub choice: Choice,
    /// The chosen candidate with the shortest and the longest cold starts; `None` if they were
    /// measured, or if it has none.
    pub cold_starts: Option<[ColdStartEffect; 2]>,
    /// For each machine, the number of records from which on it is cheaper than functions.
    pub break_even: Vec<BreakEven>,
    /// Assumptions instead of measurements, as sentences without their full stops.
    pub assumptions: Vec<String>,
    /// The command that repeats the plan.
    pub command: String,
}

impl Plan {
    /// The chosen candidate.
    pub fn chosen(&self) -> Option<&Estimate> {
        self.estimates.get(self.choice.index?)
    }

    /// The fastest candidate that exceeds no limit of its platform.
    pub fn fastest(&self) -> Option<&Estimate> {
        self.pareto.first().map(|&index| &self.estimates[index])
    }

    /// The uncertainty of the work: of the sample and of the measured times, relative to it.
    pub fn work_error(&self) -> f64 {
        let spread = self.calibrations.first().map_or(0.0, |first| first.spread);
        // Lambda's glibc is too old for `hypot`.
        (self.work.sampling_error.powi(2) + spread.powi(2)).sqrt()
    }
}

/// Time and cost of a candidate if its cold starts take a certain time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ColdStartEffect {
    /// The cold start.
    pub cold: ColdStart,
    /// Time of the candidate, in seconds.
    pub seconds: f64,
    /// Cost of the candidate, in USD.
    pub usd: f64,
}

/// A machine compared with functions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BreakEven {
    /// The machine's name.
    pub machine: String,
    /// Cost of this job on the machine.
    pub machine_usd: f64,
    /// Time of this job on the machine.
    pub machine_seconds: f64,
    /// Cost of this job with functions.
    pub functions_usd: f64,
    /// Time of this job with functions.
    pub functions_seconds: f64,
    /// Number of similar records from which on the machine is cheaper; `None` if it never is.
    pub cheaper_from_records: Option<f64>,
}
