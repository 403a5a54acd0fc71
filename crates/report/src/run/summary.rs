//! A run in a few numbers.

use std::collections::BTreeSet;

use serde::Serialize;
use shoal_job::Metrics;
use shoal_job::wire::{Receipt, Sizing, Timings};

use crate::Recorded;
use crate::run::clock::Clock;
use crate::run::history::{History, Invocation, Outcome};

/// A run in a few numbers; all of them measured or counted.
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
    /// Batches that are done to their end.
    pub finished_batches: u64,
    /// Invocations: done, duplicate, failed and unanswered ones.
    pub invocations: u64,
    /// Invocations whose part stands.
    pub done: u64,
    /// Invocations that stopped before their batch's end, for want of time.
    pub cut_short: u64,
    /// Invocations that are not their piece's first attempt.
    pub retries: u64,
    /// Invocations that worked on records whose part stands by another one.
    pub duplicates: u64,
    /// Invocations that failed.
    pub failed_attempts: u64,
    /// Invocations without an answer when their start of the run ended, and of which nothing was seen since.
    pub unanswered: u64,
    /// Calls that the platform would not take.
    pub throttled: u64,
    /// First invocations of an environment.
    pub cold_starts: u64,
    /// Environments by name.
    pub environments: u64,
    /// From the first start to the output, or to the last receipt where there is none yet; pauses between starts included.
    pub wall_seconds: f64,
    /// The same without joining the parts and without long pauses between starts.
    pub working_seconds: f64,
    /// Time of all invocations together.
    pub function_seconds: f64,
    /// Time that the platform bills, where it tells for every invocation that is done.
    pub billed_seconds: Option<f64>,
    /// Records by `working_seconds`.
    pub records_per_second: Option<f64>,
    /// `units` by `working_seconds`.
    pub units_per_second: Option<f64>,
    /// The most functions at work at a time.
    pub peak_functions: u64,
    /// `function_seconds` of those that are drawn by `working_seconds`.
    pub mean_functions: Option<f64>,
    /// The most memory of an environment's process, in bytes.
    pub peak_memory_bytes: Option<u64>,
    /// What computed the results, such as an instruction set.
    pub engines: Vec<String>,
    /// What the platform bills by.
    pub sizings: Vec<Sizing>,
}

impl Summary {
    pub(crate) fn of(
        recorded: &Recorded<'_>,
        history: &History,
        clock: &Clock,
        peak_functions: u64,
    ) -> Self {
        let all = &history.invocations;
        let of = |outcome: Outcome| all.iter().filter(move |i| i.outcome == outcome);
        let done = || of(Outcome::Done).filter_map(|i| i.receipt.as_deref());
        let sum = |count: fn(&Receipt) -> u64| done().map(count).sum::<u64>();
        let (records, failed_records) = (sum(|r| r.records), sum(|r| r.failed));
        let units = sum(|r| r.units);
        let mut metrics = Metrics::default();
        done().for_each(|receipt| metrics.merge(&receipt.metrics));
        let working_seconds = clock.seconds();
        let drawn = all.iter().filter_map(Invocation::span_ms);
        let drawn: f64 = drawn.map(|(from, to)| clock.at(to) - clock.at(from)).sum();
        let rate = |amount: f64| (working_seconds > 0.0).then(|| amount / working_seconds);
        let mut environments: Vec<&str> = all.iter().map(|i| &*i.environment).collect();
        let engines: BTreeSet<&str> = done().map(|receipt| &*receipt.engine).collect();
        let mut sizings: Vec<Sizing> = Vec::new();
        for sizing in done().filter_map(|i| i.sizing.as_deref()) {
            if !sizings.contains(sizing) {
                sizings.push(sizing.clone());
            }
        }
        environments.sort_unstable();
        environments.dedup();
        environments.retain(|name| !name.is_empty());
        let billed: Option<f64> = done().map(|i| i.billed_ms).sum();
        Self {
            records,
            results: records - failed_records.min(records),
            failed_records,
            unit: recorded.job.function.unit.clone(),
            units,
            metrics,
            batches: recorded.job.batches,
            finished_batches: recorded.receipts.finished_batches(),
            invocations: all.len() as u64,
            done: done().count() as u64,
            cut_short: recorded
                .receipts
                .values()
                .filter(|receipt| receipt.remaining > 0)
                .count() as u64,
            retries: all.iter().filter(|i| i.attempt > 1).count() as u64,
            duplicates: of(Outcome::Duplicate).count() as u64,
            failed_attempts: of(Outcome::Failed).count() as u64,
            unanswered: of(Outcome::Unanswered).count() as u64,
            throttled: history.throttled_ms.len() as u64,
            cold_starts: all.iter().filter(|i| i.is_cold()).count() as u64,
            environments: environments.len() as u64,
            wall_seconds: wall(history, working_seconds),
            working_seconds,
            function_seconds: all.iter().map(|i| i.seconds).sum(),
            billed_seconds: billed.filter(|_| records > 0).map(|ms| ms / 1000.0),
            records_per_second: rate(records as f64),
            units_per_second: rate(units as f64),
            peak_functions,
            mean_functions: rate(drawn),
            peak_memory_bytes: done().filter_map(|r| r.peak_memory_bytes).max(),
            engines: engines.into_iter().map(str::to_owned).collect(),
            sizings,
        }
    }
}

/// From the first start to the last that was seen of the work.
fn wall(history: &History, working_seconds: f64) -> f64 {
    let Some(first) = history.starts.first() else {
        return working_seconds;
    };
    let ends = history.invocations.iter().filter_map(Invocation::span_ms);
    let last = ends.map(|(_, end)| end).chain(history.last_ms);
    let first = first.began_unix_ms as f64;
    ((last.fold(first, f64::max) - first) / 1000.0).max(0.0)
}

/// Where the functions' time went, summed over the invocations that are done, in seconds.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Stages {
    /// What environments did before their first batch. It is not in the invocations' time.
    pub init_seconds: f64,
    /// The stages in their order, and last what is in none of them.
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
    pub(crate) fn of<'a>(done: impl Iterator<Item = &'a Receipt>) -> Self {
        let mut sum = Timings::default();
        done.for_each(|receipt| sum += &receipt.timings);
        let named = sum.read + sum.stages.total() + sum.write;
        let stages = [("read", sum.read)]
            .into_iter()
            .chain(sum.stages.iter())
            .chain([("write", sum.write), ("rest", (sum.total - named).max(0.0))]);
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
