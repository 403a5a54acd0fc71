//! The summary of a run. Every number was measured or counted; none is estimated.

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use shoal_dispatch::Processed;
use shoal_estimate::Bill;
use shoal_job::run_dir::FAILED;
use shoal_job::wire::Timings;
use shoal_job::{CompletedRanges, Job, RunDir};
use shoal_report::numbers::{count, duration, number, plural, usd};
use shoal_report::{Accuracy, Totals};

/// The summary of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// The run's name.
    pub run: String,
    /// Its folder.
    pub run_dir: String,
    /// The output.
    pub output: String,
    /// The model's reference.
    pub model: String,
    /// Records read: `results + failed`.
    pub records: u64,
    /// Records in the output.
    pub results: u64,
    /// Records in the dead letters.
    pub failed: u64,
    /// Records in the dead letters that crashed their function: `shoal retry` processes them again.
    pub quarantined: u64,
    /// The dead letters, where there are any.
    pub failed_file: Option<String>,
    /// Records whose text was cut at the token limit.
    pub truncated: u64,
    /// The token limit, where the function has one.
    pub max_tokens: Option<usize>,
    /// Amount of work in the function's own unit.
    pub units: u64,
    /// What `units` counts, such as `tokens`.
    pub unit: String,
    /// `units`, where these are tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Batches in all.
    pub batches: u64,
    /// Batches that earlier starts of this run had finished.
    pub reused_batches: u64,
    /// Records in them.
    pub reused_records: u64,
    /// Batches in flight, at most.
    pub concurrency: usize,
    /// How the precision was chosen, where the user did not say: a sentence.
    pub precision_choice: Option<String>,
    /// The precision of the engine, `f32` or `int8`, where it has one.
    pub precision: Option<String>,
    /// What computed the results, such as an instruction set.
    pub isa: Vec<String>,
    /// From this start to its end, in seconds.
    pub seconds: f64,
    /// Seconds of it from the first batch's dispatch to the last receipt.
    pub dispatch_seconds: f64,
    /// Records of this start by `dispatch_seconds`; `None` where nothing was left to do.
    pub records_per_second: Option<f64>,
    /// Where the functions' time went, summed over all batches, in milliseconds.
    pub function_ms: Timings,
    /// How labels compare with gold labels, where there are any.
    pub accuracy: Option<Accuracy>,
    /// The cost of all starts of the run; `None` where nothing that was used has a price.
    pub cost: Option<Bill>,
    /// The report page.
    pub report: Option<String>,
    /// Why the cost or the report is missing.
    pub not_accounted: Option<String>,
    /// Whether a column with gold labels was named.
    #[serde(skip)]
    pub(crate) has_gold_column: bool,
}

/// What is known of the batches of a run that are finished.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) totals: Totals,
    pub(crate) ranges: CompletedRanges,
    reused_batches: u64,
    reused_records: u64,
    /// From the dispatch of batches to their last receipts.
    dispatch: Duration,
}

impl Tally {
    /// Adds further batches.
    pub(crate) fn add(&mut self, processed: &Processed) {
        let receipts = processed.receipts.values();
        receipts.for_each(|receipt| self.totals.add(receipt));
        self.ranges.add(&processed.receipts);
        self.reused_batches += processed.reused.finished_batches();
        self.reused_records += processed.reused.records();
        self.dispatch += processed.time;
    }
}

impl Summary {
    /// `total`: the time from this start of the run to its end.
    pub(crate) fn new(
        run: &RunDir,
        job: &Job,
        output: String,
        tally: &Tally,
        concurrency: usize,
        total: Duration,
    ) -> Self {
        let (function, totals) = (&job.function, &tally.totals);
        let done_now = job.records.saturating_sub(tally.reused_records);
        let dispatch_seconds = tally.dispatch.as_secs_f64();
        Self {
            run: run.reference(),
            run_dir: run.uri(),
            output,
            model: function.reference.clone(),
            records: job.records,
            results: job.records.saturating_sub(totals.failed),
            failed: totals.failed,
            quarantined: totals.quarantined,
            failed_file: (totals.failed > 0).then(|| run.object_uri(FAILED)),
            truncated: totals.metrics.count(shoal_runners::TRUNCATED),
            max_tokens: function.number("max_tokens"),
            units: totals.units,
            unit: function.unit.clone(),
            tokens: (function.unit == "tokens").then_some(totals.units),
            batches: job.batches,
            reused_batches: tally.reused_batches,
            reused_records: tally.reused_records,
            concurrency,
            precision: function.setting("precision").map(str::to_owned),
            precision_choice: None,
            isa: totals.engines.iter().map(|name| name.to_string()).collect(),
            seconds: total.as_secs_f64(),
            dispatch_seconds,
            records_per_second: (done_now > 0).then(|| done_now as f64 / dispatch_seconds),
            function_ms: totals.timings.clone(),
            accuracy: Accuracy::of(&totals.metrics),
            cost: None,
            report: None,
            not_accounted: None,
            has_gold_column: job.columns.input("label").is_some(),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, value: &str| writeln!(f, "{name:<10} {value}");
        line("output", &self.output)?;
        let mut records = count(self.records);
        if let Some(file) = &self.failed_file {
            records += &format!(" ({} failed, see {file})", count(self.failed));
        }
        line("records", &records)?;
        if self.quarantined > 0 {
            let crashed = plural(
                self.quarantined,
                "record crashed its function",
                "records crashed their function",
            );
            let retry = format!("{crashed}; `shoal retry {}` tries again", self.run);
            line("warning", &retry)?;
        }
        if self.unit != "rows" {
            let mut units = count(self.units);
            if self.truncated > 0 {
                units += &format!(" ({} cut", plural(self.truncated, "record", "records"));
                if let Some(limit) = self.max_tokens {
                    units += &format!(" at {limit} tokens");
                }
                units.push(')');
            }
            line(&self.unit, &units)?;
        }
        let mut time = duration(self.seconds);
        if let Some(rate) = self.records_per_second {
            let workers = self.concurrency;
            time += &format!(", {} records/s on {workers} workers", number(rate));
        }
        if self.reused_batches > 0 {
            time += &format!(
                " ({} of {} batches were finished before)",
                count(self.reused_batches),
                count(self.batches)
            );
        }
        line("time", &time)?;
        let engines = self.isa.join(", ");
        match &self.precision {
            Some(precision) => {
                let choice = self.precision_choice.as_ref();
                let choice = choice.map_or(String::new(), |choice| format!(" ({choice})"));
                line("engine", &format!("{precision} on {engines}{choice}"))?;
            }
            None => line("engine", &engines)?,
        }
        line("work", &shares(&self.function_ms))?;
        match &self.accuracy {
            Some(accuracy) => line("accuracy", &accuracy.to_string())?,
            None if self.has_gold_column => line("accuracy", "no record has a gold label")?,
            None => {}
        }
        if let Some(bill) = &self.cost {
            line("cost", &cost(bill))?;
        }
        match (&self.report, &self.not_accounted) {
            (Some(report), None) => line("report", report)?,
            (report, Some(reason)) => {
                report
                    .iter()
                    .try_for_each(|report| line("report", report))?;
                line("warning", reason)?;
            }
            (None, None) => {
                let command = format!("shoal report {} --format html", self.run);
                line("report", &format!("{command}  (it lists every call)"))?;
            }
        }
        write!(f, "{:<10} {}", "run", self.run)
    }
}

/// The share of each stage in the functions' time.
fn shares(timings: &Timings) -> String {
    let shares = [("read", timings.read)]
        .into_iter()
        .chain(timings.stages.iter())
        .chain([("write", timings.write)])
        .map(|(stage, ms)| {
            let share = if timings.total > 0.0 {
                ms / timings.total
            } else {
                0.0
            };
            format!("{stage} {:.1} %", 100.0 * share)
        });
    shares.collect::<Vec<_>>().join(", ")
}

/// A bill in a line.
fn cost(bill: &Bill) -> String {
    let items: Vec<_> = bill
        .items
        .iter()
        .map(|item| format!("{} {}", item.name, usd(item.usd)))
        .collect();
    format!(
        "{}, {} ({}; prices of {} {})",
        usd(bill.usd()),
        bill.basis(),
        items.join(", "),
        bill.provider,
        bill.date
    )
}
