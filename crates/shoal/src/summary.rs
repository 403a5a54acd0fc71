//! What a run did, in numbers. Every one is measured or counted; none is estimated.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use shoal_dispatch::Processed;
use shoal_estimate::Bill;
use shoal_job::run_dir::FAILED;
use shoal_job::wire::{Receipt, Timings};
use shoal_job::{CompletedRanges, Job, Metrics, RunDir};
use shoal_tasks::classify::CONFUSION;

use crate::cost::Spent;

/// What a run did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// The run's name.
    pub run: String,
    /// Its folder.
    pub run_dir: String,
    /// Where the output stands.
    pub output: String,
    /// The model's reference.
    pub model: String,
    /// Records read: `results + failed`.
    pub records: u64,
    /// Records in the output.
    pub results: u64,
    /// Records in the dead letters.
    pub failed: u64,
    /// Those of them that killed their function: `shoal retry` tries them again.
    pub quarantined: u64,
    /// The dead letters, where there are any.
    pub failed_file: Option<String>,
    /// Records whose text was cut at the token limit.
    pub truncated: u64,
    /// The token limit.
    pub max_tokens: usize,
    /// Tokens that went through the model.
    pub tokens: u64,
    /// Batches in all.
    pub batches: u64,
    /// Batches that earlier starts of this run had finished.
    pub reused_batches: u64,
    /// Records in them.
    pub reused_records: u64,
    /// Batches in flight, at most.
    pub concurrency: usize,
    /// How the engine computed: `f32` or `int8`.
    pub precision: String,
    /// Instruction sets that the engine used.
    pub isa: Vec<String>,
    /// From this start to its end, in seconds.
    pub seconds: f64,
    /// Seconds of it from the first batch's dispatch to the last receipt.
    pub dispatch_seconds: f64,
    /// Records of this start by `dispatch_seconds`; `None` where there was nothing left to do.
    pub records_per_second: Option<f64>,
    /// Where the functions' time went, summed over all batches, in milliseconds.
    pub function_ms: Timings,
    /// How the labels compare with the gold ones, where there are any.
    pub accuracy: Option<Accuracy>,
    /// What all starts of the run together cost; `None` where nothing that was used has a price.
    pub cost: Option<Bill>,
    /// The page that tells all of it.
    pub report: Option<String>,
    /// Why cost or report are missing, where they should not.
    pub not_accounted: Option<String>,
}

/// How labels compare with gold labels.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Accuracy {
    /// Records whose label is the gold one.
    pub right: u64,
    /// Records that have a gold label.
    pub of: u64,
    /// `right / of`.
    pub share: f64,
    /// Gold label → label → records.
    pub confusion: BTreeMap<String, BTreeMap<String, u64>>,
}

/// What receipts say, added up.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    failed: u64,
    quarantined: u64,
    units: u64,
    function_ms: Timings,
    engines: BTreeSet<Arc<str>>,
    metrics: Metrics,
    pub(crate) spent: Spent,
    pub(crate) ranges: CompletedRanges,
    reused_batches: u64,
    reused_records: u64,
    /// From the dispatch of batches to their last receipts.
    pub(crate) dispatch: Duration,
}

impl Tally {
    /// Adds what `worked` says, of other batches than before.
    pub(crate) fn add(&mut self, processed: &Processed) {
        processed.receipts.values().for_each(|r| self.receipt(r));
        self.ranges.add(&processed.receipts);
        self.reused_batches += processed.reused.finished_batches();
        self.reused_records += processed.reused.records();
        self.dispatch += processed.time;
    }

    fn receipt(&mut self, receipt: &Receipt) {
        self.failed += receipt.failed;
        self.quarantined += receipt.quarantined;
        self.units += receipt.units;
        self.function_ms += &receipt.timings;
        self.spent.add(receipt);
        if !self.engines.contains(&receipt.engine) {
            self.engines.insert(receipt.engine.clone());
        }
        self.metrics.merge(&receipt.metrics);
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
        let failed = tally.failed;
        let done_now = job.records.saturating_sub(tally.reused_records);
        let dispatch_seconds = tally.dispatch.as_secs_f64();
        let accuracy = || Accuracy::new(confusion(&tally.metrics));
        Self {
            run: run.reference(),
            run_dir: run.uri(),
            output,
            model: job.function.reference.clone(),
            records: job.records,
            results: job.records - failed,
            failed,
            quarantined: tally.quarantined,
            failed_file: (failed > 0).then(|| run.object_uri(FAILED)),
            truncated: tally.metrics.count(shoal_runners::TRUNCATED),
            max_tokens: job.function.number("max_tokens").unwrap_or_default(),
            tokens: tally.units,
            batches: job.batches,
            reused_batches: tally.reused_batches,
            reused_records: tally.reused_records,
            concurrency,
            precision: job
                .function
                .setting("precision")
                .unwrap_or_default()
                .to_owned(),
            isa: tally.engines.iter().map(|isa| isa.to_string()).collect(),
            seconds: total.as_secs_f64(),
            dispatch_seconds,
            records_per_second: (done_now > 0).then(|| done_now as f64 / dispatch_seconds),
            function_ms: tally.function_ms.clone(),
            accuracy: job.columns.input("label").is_some().then(accuracy),
            cost: None,
            report: None,
            not_accounted: None,
        }
    }
}

/// Gold label → label → records.
fn confusion(metrics: &Metrics) -> BTreeMap<String, BTreeMap<String, u64>> {
    let golds = metrics
        .group(CONFUSION)
        .into_iter()
        .flat_map(Metrics::groups);
    golds
        .map(|(gold, labels)| {
            let labels = labels
                .counts()
                .map(|(label, count)| (label.to_owned(), count));
            (gold.to_owned(), labels.collect())
        })
        .collect()
}

impl Accuracy {
    fn new(confusion: BTreeMap<String, BTreeMap<String, u64>>) -> Self {
        let of = confusion.values().flat_map(BTreeMap::values).sum();
        let right = confusion
            .iter()
            .filter_map(|(gold, labels)| labels.get(gold))
            .sum();
        let share = if of == 0 {
            f64::NAN
        } else {
            right as f64 / of as f64
        };
        Self {
            right,
            of,
            share,
            confusion,
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |f: &mut fmt::Formatter<'_>, name: &str, value: String| {
            writeln!(f, "{name:<10} {value}")
        };
        line(f, "output", self.output.clone())?;
        line(f, "records", {
            let mut text = grouped(self.records);
            if let Some(file) = &self.failed_file {
                text += &format!(" ({} failed, see {file})", grouped(self.failed));
            }
            text
        })?;
        if self.quarantined > 0 {
            let killed = match self.quarantined {
                1 => "1 record killed its function".to_owned(),
                n => format!("{} records killed their function", grouped(n)),
            };
            line(
                f,
                "warning",
                format!("{killed}; `shoal retry {}` tries again", self.run),
            )?;
        }
        line(f, "tokens", {
            let mut text = grouped(self.tokens);
            if self.truncated > 0 {
                text += &format!(
                    " ({} records cut at {} tokens)",
                    grouped(self.truncated),
                    self.max_tokens
                );
            }
            text
        })?;
        line(f, "time", {
            let mut text = duration(self.seconds);
            if let Some(rate) = self.records_per_second {
                text += &format!(
                    ", {} records/s on {} workers",
                    rate_text(rate),
                    self.concurrency
                );
            }
            if self.reused_batches > 0 {
                text += &format!(
                    " ({} of {} batches were there already)",
                    grouped(self.reused_batches),
                    grouped(self.batches)
                );
            }
            text
        })?;
        line(
            f,
            "engine",
            format!("{} on {}", self.precision, self.isa.join(", ")),
        )?;
        let t = &self.function_ms;
        let share = |part: f64| {
            if t.total > 0.0 {
                100.0 * part / t.total
            } else {
                0.0
            }
        };
        line(
            f,
            "work",
            std::iter::once(("read", t.read))
                .chain(t.stages.iter())
                .chain([("write", t.write)])
                .map(|(stage, ms)| format!("{stage} {:.1} %", share(ms)))
                .collect::<Vec<_>>()
                .join(", "),
        )?;
        if let Some(accuracy) = &self.accuracy {
            writeln!(f, "{accuracy}")?;
        }
        if let Some(bill) = &self.cost {
            line(f, "cost", cost(bill))?;
        }
        if let Some(report) = &self.report {
            line(f, "report", report.clone())?;
        }
        match &self.not_accounted {
            Some(reason) => line(f, "warning", reason.clone())?,
            None if self.report.is_none() => {
                let how = format!("shoal report {} --format html", self.run);
                line(
                    f,
                    "report",
                    format!("{how}  (it has every call, and takes memory by the batch)"),
                )?;
            }
            None => {}
        }
        write!(f, "{:<10} {}", "run", self.run)
    }
}

impl fmt::Display for Accuracy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.of == 0 {
            return write!(f, "{:<10} no record has a gold label", "accuracy");
        }
        writeln!(
            f,
            "{:<10} {:.2} % ({} of {})",
            "accuracy",
            100.0 * self.share,
            grouped(self.right),
            grouped(self.of)
        )?;
        let mut columns: Vec<&String> = self.confusion.values().flat_map(BTreeMap::keys).collect();
        columns.sort();
        columns.dedup();
        let first = self
            .confusion
            .keys()
            .map(|gold| gold.chars().count())
            .max()
            .unwrap_or(0)
            .max(12);
        write!(f, "  {:<first$}", "gold \\ label")?;
        for column in &columns {
            write!(f, "  {column:>9}")?;
        }
        for (gold, labels) in &self.confusion {
            write!(f, "\n  {gold:<first$}")?;
            for column in &columns {
                let width = column.chars().count().max(9);
                write!(
                    f,
                    "  {:>width$}",
                    grouped(labels.get(*column).copied().unwrap_or(0))
                )?;
            }
        }
        Ok(())
    }
}

/// Digits in groups of three.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Three digits that matter, or all before the point.
pub fn rate_text(rate: f64) -> String {
    match rate {
        rate if rate >= 100.0 => grouped(rate.round() as u64),
        rate if rate >= 10.0 => format!("{rate:.1}"),
        rate => format!("{rate:.2}"),
    }
}

/// A bill in a line.
fn cost(bill: &Bill) -> String {
    let items: Vec<_> = bill
        .items
        .iter()
        .map(|item| format!("{} {}", item.name, money(item.usd)))
        .collect();
    format!(
        "{}, {} ({}; prices of {} {})",
        money(bill.usd()),
        bill.basis(),
        items.join(", "),
        bill.provider,
        bill.date
    )
}

/// An amount of USD that people read, never rounded to nothing.
pub fn money(usd: f64) -> String {
    match usd {
        0.0 => "$0".into(),
        usd if usd >= 100.0 => format!("${}", grouped(usd.round() as u64)),
        usd if usd >= 1.0 => format!("${usd:.2}"),
        // Two digits that count.
        usd => {
            let digits = (2 - usd.abs().log10().ceil() as i32).clamp(2, 12) as usize;
            format!("${usd:.digits$}")
        }
    }
}

/// A time that people read.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_reads_well() {
        for (usd, text) in [
            (0.0, "$0"),
            (1234.5, "$1,235"),
            (1.5, "$1.50"),
            (0.25, "$0.25"),
            (0.0421, "$0.042"),
            (0.000_042, "$0.000042"),
        ] {
            assert_eq!(money(usd), text);
        }
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_000), "1,000");
        assert_eq!(grouped(12_345_678), "12,345,678");
        assert_eq!(rate_text(1234.5), "1,235");
        assert_eq!(rate_text(12.345), "12.3");
        assert_eq!(rate_text(1.2345), "1.23");
        assert_eq!(duration(3.21), "3.2 s");
        assert_eq!(duration(61.0), "1 min 1 s");
        assert_eq!(duration(7260.0), "2 h 1 min");
    }

    #[test]
    fn accuracy_counts_the_diagonal() {
        let confusion = BTreeMap::from([
            (
                "A".to_owned(),
                BTreeMap::from([("A".to_owned(), 8), ("B".to_owned(), 1)]),
            ),
            (
                "B".to_owned(),
                BTreeMap::from([("A".to_owned(), 2), ("B".to_owned(), 9)]),
            ),
        ]);
        let right = confusion
            .iter()
            .filter_map(|(gold, labels)| labels.get(gold))
            .sum::<u64>();
        assert_eq!(right, 17);
        let accuracy = Accuracy {
            right,
            of: 20,
            share: 0.85,
            confusion,
        };
        assert_eq!(
            accuracy.to_string(),
            "accuracy   85.00 % (17 of 20)\n  gold \\ label          A          B\n  A                     8          1\n  B                     2          9"
        );
    }
}
