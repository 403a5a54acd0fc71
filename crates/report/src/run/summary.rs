//! A run in a few numbers.

use std::collections::BTreeSet;

use serde::Serialize;
use shoal_job::wire::{Sizing, Timings};

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
    /// Records whose text was cut at the token limit.
    pub truncated: u64,
    /// Tokens that went through the model.
    pub tokens: u64,
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
    /// Tokens by `working_seconds`.
    pub tokens_per_second: Option<f64>,
    /// The most functions at work at a time.
    pub peak_functions: u64,
    /// `function_seconds` of those that are drawn by `working_seconds`.
    pub mean_functions: Option<f64>,
    /// The most memory of an environment's process, in bytes.
    pub peak_memory_bytes: Option<u64>,
    /// Instruction sets that the engine used.
    pub isa: Vec<String>,
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
        let done = || of(Outcome::Done);
        let sum = |count: fn(&Invocation) -> u64| done().map(count).sum::<u64>();
        let (records, failed_records, tokens) =
            (sum(|i| i.records), sum(|i| i.failed), sum(|i| i.tokens));
        let working_seconds = clock.seconds();
        let drawn = all.iter().filter_map(Invocation::span_ms);
        let drawn: f64 = drawn.map(|(from, to)| clock.at(to) - clock.at(from)).sum();
        let rate = |amount: f64| (working_seconds > 0.0).then(|| amount / working_seconds);
        let mut environments: Vec<&str> = all.iter().map(|i| &*i.environment).collect();
        let isa: BTreeSet<&str> = done().map(|i| &*i.isa).collect();
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
            truncated: sum(|i| i.truncated),
            tokens,
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
            cold_starts: all.iter().filter(|i| i.is_cold).count() as u64,
            environments: environments.len() as u64,
            wall_seconds: wall(history, working_seconds),
            working_seconds,
            function_seconds: all.iter().map(|i| i.seconds).sum(),
            billed_seconds: billed.filter(|_| records > 0).map(|ms| ms / 1000.0),
            records_per_second: rate(records as f64),
            tokens_per_second: rate(tokens as f64),
            peak_functions,
            mean_functions: rate(drawn),
            peak_memory_bytes: all.iter().filter_map(|i| i.peak_memory_bytes).max(),
            isa: isa.into_iter().map(str::to_owned).collect(),
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
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Stages {
    /// What environments did before their first batch. It is not in the invocations' time.
    pub init_seconds: f64,
    /// Reading and parsing records.
    pub read_seconds: f64,
    /// Turning text into tokens.
    pub tokenize_seconds: f64,
    /// The model.
    pub model_seconds: f64,
    /// Writing parts, dead letters and receipts.
    pub write_seconds: f64,
    /// From the invocations' start to their end.
    pub total_seconds: f64,
}

impl Stages {
    pub(crate) fn of<'a>(done: impl Iterator<Item = &'a Invocation>) -> Self {
        let mut sum = Timings::default();
        done.filter_map(|invocation| invocation.timings)
            .for_each(|timings| sum += timings);
        Self {
            init_seconds: sum.init / 1000.0,
            read_seconds: sum.read / 1000.0,
            tokenize_seconds: sum.tokenize / 1000.0,
            model_seconds: sum.model / 1000.0,
            write_seconds: sum.write / 1000.0,
            total_seconds: sum.total / 1000.0,
        }
    }

    /// The stages within an invocation by name, the rest last.
    pub(crate) fn named(&self) -> [(&'static str, f64); 5] {
        let named =
            self.read_seconds + self.tokenize_seconds + self.model_seconds + self.write_seconds;
        [
            ("read", self.read_seconds),
            ("tokenize", self.tokenize_seconds),
            ("model", self.model_seconds),
            ("write", self.write_seconds),
            ("rest", (self.total_seconds - named).max(0.0)),
        ]
    }
}
