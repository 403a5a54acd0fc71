//! The totals of a run.

use serde::Serialize;
use shoal_job::wire::{Sizing, Timings};
use shoal_job::{Job, Metrics};

use crate::Totals;
use crate::fold::{CallHistory, Invocation, Outcome};
use crate::time::Clock;

/// The totals of a run; all of them were measured or counted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Records with a receipt: results and dead letters.
    pub records: u64,
    /// Records in the parts.
    pub results: u64,
    /// Records in the dead letters.
    pub failed_records: u64,
    /// What `units` counts, such as tokens.
    pub unit: String,
    /// The amount of work in that unit.
    pub units: u64,
    /// What the function counted.
    pub metrics: Metrics,
    /// Batches of the job.
    pub batches: u64,
    /// Batches that are complete.
    pub finished_batches: u64,
    /// Invocations with every outcome.
    pub invocations: u64,
    /// Invocations whose part is in the output.
    pub done: u64,
    /// Invocations that ran out of time before the end of their batch.
    pub cut_short: u64,
    /// Invocations that are not the first attempt at their records.
    pub retries: u64,
    /// Invocations for records of which another invocation's part is in the output.
    pub duplicates: u64,
    /// Invocations that failed.
    pub failed_attempts: u64,
    /// Invocations that were in flight when their start of the run ended, and left no receipt.
    pub unanswered: u64,
    /// Calls that the platform throttled.
    pub throttled: u64,
    /// First invocations of an environment.
    pub cold_starts: u64,
    /// Environments by name.
    pub environments: u64,
    /// From the first start to the output, or to the last receipt; pauses between starts included.
    pub wall_seconds: f64,
    /// The same without joining the parts and without long pauses between starts.
    pub working_seconds: f64,
    /// The time of all invocations together.
    pub function_seconds: f64,
    /// The billed time, where the platform reports it for every finished invocation.
    pub billed_seconds: Option<f64>,
    /// `records` by `working_seconds`.
    pub records_per_second: Option<f64>,
    /// `units` by `working_seconds`.
    pub units_per_second: Option<f64>,
    /// The most functions at work at a time.
    pub peak_functions: u64,
    /// The mean number of functions at work.
    pub mean_functions: Option<f64>,
    /// The most memory of an environment's process, in bytes.
    pub peak_memory_bytes: Option<u64>,
    /// What computed the results, such as an instruction set.
    pub engines: Vec<String>,
    /// What the platform bills by.
    pub sizings: Vec<Sizing>,
}

impl Summary {
    pub(super) fn of(
        job: &Job,
        calls: &CallHistory,
        totals: &Totals,
        clock: &Clock,
        peak_functions: u64,
        finished_batches: u64,
    ) -> Self {
        let all = &calls.invocations;
        let count = |is: &dyn Fn(&Invocation) -> bool| all.iter().filter(|i| is(i)).count() as u64;
        let of = |outcome: Outcome| count(&|i| i.outcome == outcome);
        let working_seconds = clock.seconds();
        let drawn = all.iter().filter_map(Invocation::span_ms);
        let drawn: f64 = drawn.map(|(from, to)| clock.at(to) - clock.at(from)).sum();
        let rate = |amount: f64| (working_seconds > 0.0).then(|| amount / working_seconds);
        let mut environments: Vec<&str> = all.iter().map(|i| &*i.environment).collect();
        environments.sort_unstable();
        environments.dedup();
        environments.retain(|name| !name.is_empty());
        let is_billed = totals.records > 0 && totals.billed == totals.receipts;
        Self {
            records: totals.records,
            results: totals.records.saturating_sub(totals.failed),
            failed_records: totals.failed,
            unit: job.function.unit.clone(),
            units: totals.units,
            metrics: totals.metrics.clone(),
            batches: job.batches,
            finished_batches,
            invocations: all.len() as u64,
            done: of(Outcome::Done),
            cut_short: totals.cut_short,
            retries: count(&|i| i.attempt > 1),
            duplicates: of(Outcome::Duplicate),
            failed_attempts: of(Outcome::Failed),
            unanswered: of(Outcome::Unanswered),
            throttled: calls.throttled_unix_ms.len() as u64,
            cold_starts: count(&Invocation::is_cold),
            environments: environments.len() as u64,
            wall_seconds: wall(calls, working_seconds),
            working_seconds,
            function_seconds: all.iter().map(|i| i.seconds).sum(),
            billed_seconds: is_billed.then_some(totals.billed_ms / 1000.0),
            records_per_second: rate(totals.records as f64),
            units_per_second: rate(totals.units as f64),
            peak_functions,
            mean_functions: rate(drawn),
            peak_memory_bytes: totals.peak_memory_bytes,
            engines: totals.engines.iter().map(|name| name.to_string()).collect(),
            sizings: totals
                .functions
                .iter()
                .map(|(sizing, _)| (**sizing).clone())
                .collect(),
        }
    }
}

/// From the first start to the last result.
fn wall(calls: &CallHistory, working_seconds: f64) -> f64 {
    let Some(first) = calls.state.starts.first() else {
        return working_seconds;
    };
    let first = first.began_unix_ms as f64;
    let ends = calls.invocations.iter().filter_map(Invocation::span_ms);
    let result = calls.last_result_unix_ms.map(|at| at as f64);
    let last = ends.map(|(_, end)| end).chain(result);
    (last.fold(first, f64::max) - first) / 1000.0
}

/// Where the functions' time went, summed over the finished invocations, in seconds.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Stages {
    /// Preparing environments before their first batch; it is not part of the invocations' time.
    pub init_seconds: f64,
    /// The stages in their order; the last one is the remaining time.
    pub stages: Vec<StageTime>,
    /// From the invocations' start to their end.
    pub total_seconds: f64,
}

/// The time of one stage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StageTime {
    /// Its name.
    pub name: String,
    /// Its time, in seconds.
    pub seconds: f64,
}

impl Stages {
    pub(super) fn of(sum: &Timings) -> Self {
        let named = sum.read + sum.stages.total() + sum.write;
        let stages = [("read", sum.read)]
            .into_iter()
            .chain(sum.stages.iter())
            .chain([
                ("write", sum.write),
                ("other", (sum.total - named).max(0.0)),
            ]);
        Self {
            init_seconds: sum.init / 1000.0,
            stages: stages
                .map(|(name, ms)| StageTime {
                    name: name.to_owned(),
                    seconds: ms / 1000.0,
                })
                .collect(),
            total_seconds: sum.total / 1000.0,
        }
    }
}
