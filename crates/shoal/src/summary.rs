//! The summary of a run. Every number was measured or counted.

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use shoal_dispatch::Processed;
use shoal_encoder::Precision;
use shoal_estimate::Bill;
use shoal_job::run_dir::FAILED;
use shoal_job::wire::Timings;
use shoal_job::{CompletedRanges, FunctionSpec, Job, Receipts, RunDir};
use shoal_report::numbers::{count, duration, number, plural, plural_of, usd};
use shoal_report::{Accuracy, Totals, UnknownLabels, engine};

use crate::error::NoResults;

/// Labels of the model that a warning lists, at most.
const MOST_LABELS: usize = 20;

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
    /// What was detected about the input that users may not expect: sentences that name the sources.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Records read: `results + failed`.
    pub records: u64,
    /// Records in the output.
    pub results: u64,
    /// Records in the dead letters.
    pub failed: u64,
    /// Records in the dead letters that crashed their function: `shoal retry` processes them again.
    pub quarantined: u64,
    /// The file of dead letters, if there are any.
    pub failed_file: Option<String>,
    /// Records whose text was truncated at the token limit.
    pub truncated: u64,
    /// The token limit, if the function has one.
    pub max_tokens: Option<usize>,
    /// Amount of work in the function's own unit.
    pub units: u64,
    /// What `units` counts, such as `tokens`.
    pub unit: String,
    /// `units`, if these are tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Number of batches.
    pub batches: u64,
    /// Batches finished by earlier starts of this run.
    pub reused_batches: u64,
    /// Records in those batches.
    pub reused_records: u64,
    /// Highest number of batches in flight.
    pub concurrency: usize,
    /// How the precision was chosen, unless the user chose it: a sentence.
    pub precision_choice: Option<String>,
    /// The precision of the engine, if it has one.
    pub precision: Option<Precision>,
    /// What computed the results, such as an instruction set.
    pub isa: Vec<String>,
    /// Duration of this start in seconds.
    pub seconds: f64,
    /// Seconds of it from the first batch's dispatch to the last receipt.
    pub dispatch_seconds: f64,
    /// Records of this start, divided by `dispatch_seconds`; `None` if all batches were finished before.
    pub records_per_second: Option<f64>,
    /// Time of the functions by stage, summed over all batches, in milliseconds.
    pub function_ms: Timings,
    /// How labels compare with gold labels, if there are any.
    pub accuracy: Option<Accuracy>,
    /// Records whose gold label is none of the model's, if there are any.
    pub unknown_labels: Option<UnknownLabels>,
    /// The cost of all starts of the run; `None` if nothing that was used has a price.
    pub cost: Option<Bill>,
    /// The report page.
    pub report: Option<String>,
    /// The reason that the cost or the report is missing.
    pub not_accounted: Option<String>,
    /// Whether the input has a column with gold labels.
    #[serde(skip)]
    pub(crate) has_gold_column: bool,
    /// Set if the run has records and no result, which is an error of the command.
    #[serde(skip)]
    pub no_results: Option<NoResults>,
    /// The labels of the model, if it has labels.
    #[serde(skip)]
    pub(crate) model_labels: Vec<String>,
}

/// Sums over the finished batches of a run.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) totals: Totals,
    pub(crate) ranges: CompletedRanges,
    /// All receipts, unless the run is processed in windows.
    pub(crate) receipts: Option<Receipts>,
    /// Batches in flight.
    pub(crate) concurrency: usize,
    reused_batches: u64,
    reused_records: u64,
    /// Time from the dispatch of batches to their last receipts.
    dispatch: Duration,
}

impl Tally {
    /// Adds batches.
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
    /// `total`: the duration of this start of the run.
    pub(crate) fn new(
        run: &RunDir,
        job: &Job,
        output: String,
        tally: &Tally,
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
            notes: job.notes(),
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
            concurrency: tally.concurrency,
            precision: function.setting("precision").and_then(Precision::named),
            precision_choice: None,
            isa: totals.engines.iter().map(|name| name.to_string()).collect(),
            seconds: total.as_secs_f64(),
            dispatch_seconds,
            records_per_second: (done_now > 0).then(|| done_now as f64 / dispatch_seconds),
            function_ms: totals.timings.clone(),
            accuracy: Accuracy::of(&totals.metrics),
            unknown_labels: UnknownLabels::of(&totals.metrics),
            cost: None,
            report: None,
            not_accounted: None,
            has_gold_column: job.columns.input("label").is_some(),
            no_results: None,
            model_labels: labels(function),
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
            let workers = plural(self.concurrency as u64, "worker", "workers");
            time += &format!(", {} records/s on {workers}", number(rate));
        }
        if self.reused_batches > 0 {
            time += &format!(
                " (finished before: {})",
                plural_of(self.reused_batches, self.batches, "batch", "batches")
            );
        }
        line("time", &time)?;
        // No engine is known if there are no records.
        if !self.isa.is_empty() {
            let precision = self.precision.map(Precision::name);
            let mut engine = engine(precision, &self.isa.join(", "));
            if let Some(choice) = &self.precision_choice {
                engine += &format!(" ({choice})");
            }
            line("engine", &engine)?;
        }
        line("work", &shares(&self.function_ms))?;
        match &self.accuracy {
            Some(accuracy) => line("accuracy", &accuracy.to_string())?,
            None if self.unknown_labels.is_some() => line("accuracy", "unknown")?,
            None if self.has_gold_column => line("accuracy", "no record has a gold label")?,
            None => {}
        }
        if let Some(unknown) = &self.unknown_labels {
            let mut labels: Vec<_> = self.model_labels.iter().map(String::as_str).collect();
            if labels.len() > MOST_LABELS {
                labels.truncate(MOST_LABELS);
                labels.push("…");
            }
            let labels = labels.join(", ");
            let warning =
                format!("{unknown}; its labels are {labels}; accuracy is without these records");
            line("warning", &warning)?;
        }
        if let Some(bill) = &self.cost {
            line("cost", &cost(bill))?;
        }
        if let Some(report) = &self.report {
            line("report", report)?;
        }
        if let Some(reason) = &self.not_accounted {
            line("warning", reason)?;
        } else if self.report.is_none() {
            let command = format!("shoal report {} --format html", self.run);
            line("report", &format!("{command}  (it lists every call)"))?;
        }
        write!(f, "{:<10} {}", "run", self.run)
    }
}

/// The labels of a classifier.
fn labels(function: &FunctionSpec) -> Vec<String> {
    let labels = function.task.get("labels").and_then(Value::as_array);
    let labels = labels.into_iter().flatten().filter_map(Value::as_str);
    labels.map(str::to_owned).collect()
}

/// The share of each stage in the functions' time.
fn shares(timings: &Timings) -> String {
    let stages = [("read", timings.read)].into_iter();
    let stages = stages
        .chain(timings.stages.iter())
        .chain([("write", timings.write)]);
    let total = timings.total.max(f64::MIN_POSITIVE);
    let shares = stages.map(|(stage, ms)| format!("{stage} {:.1} %", 100.0 * ms / total));
    shares.collect::<Vec<_>>().join(", ")
}

/// A bill in one line.
fn cost(bill: &Bill) -> String {
    let items = bill.items.iter();
    let items: Vec<_> = items
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
