//! The report of the paper's experiment: monolithic against parallel, over batch sizes.

mod page;
#[cfg(test)]
mod tests;

use serde::Serialize;
use shoal_estimate::{BatchSize, Comparison};

use crate::numbers::{change, count, percent, range};
use crate::page::{Block, csv};
use crate::svg::standalone;

pub use page::DEFINITIONS;

/// The least share of time that a parallel run saves by the claim, if the platform provides the functions.
const LEAST_REDUCTION: f64 = 0.95;
/// The largest difference in cost to a monolithic run by the claim.
const COST_WITHIN: f64 = 0.05;

/// Monolithic against parallel. All times are in seconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ComparisonReport {
    /// What was compared.
    pub comparison: Comparison,
    /// The results, one for each batch size.
    pub rows: Vec<ComparisonRow>,
    /// What the paper measured.
    pub paper: PaperClaim,
}

/// The results of one batch size.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ComparisonRow {
    /// Records in a batch.
    pub batch_size: u64,
    /// Whether larger batch sizes, which were compared too, give the same single batch.
    pub is_whole: bool,
    /// Batches.
    pub batches: u64,
    /// Time of the monolithic run.
    pub monolithic_seconds: f64,
    /// Time of the parallel run.
    pub parallel_seconds: f64,
    /// The share of time that the parallel run saves.
    pub reduction: f64,
    /// Cost of the monolithic run.
    pub monolithic_usd: Option<f64>,
    /// Cost of the parallel run.
    pub parallel_usd: Option<f64>,
    /// The additional cost of the parallel run, as a share of the monolithic run's cost.
    pub cost_change: Option<f64>,
    /// Cost of a million records at the rate of the parallel run.
    pub parallel_usd_per_million_records: Option<f64>,
    /// The speedup of the parallel run, divided by its number of functions.
    pub efficiency: f64,
    /// The most functions of the parallel run at a time.
    pub peak_functions: u64,
    /// Cold starts of the parallel run.
    pub cold_starts: u64,
    /// Whether the claim holds: at least 95 % less time, at a cost within 5 %. `None` without a price.
    pub is_as_claimed: Option<bool>,
}

/// What the paper measured: Barrak and Ksontini, *Scalable and Cost-Efficient ML Inference: Parallel Batch Processing with
/// Serverless Functions*, arXiv 2502.12017.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PaperClaim {
    /// The source.
    pub source: &'static str,
    /// The smallest and the largest batch size.
    pub batch_sizes: [u64; 2],
    /// Minutes of the monolithic runs, minimum and maximum.
    pub monolithic_minutes: [f64; 2],
    /// Minutes of the parallel runs, minimum and maximum.
    pub parallel_minutes: [f64; 2],
    /// Cost of either run in USD, minimum and maximum.
    pub usd: [f64; 2],
    /// The least share of time saved.
    pub reduction: f64,
}

impl PaperClaim {
    const PAPER: Self = Self {
        source: "arXiv 2502.12017",
        batch_sizes: [50, 1000],
        monolithic_minutes: [325.0, 375.0],
        parallel_minutes: [2.5, 7.5],
        usd: [0.20, 0.25],
        reduction: LEAST_REDUCTION,
    };
}

impl ComparisonReport {
    /// The report of `comparison`.
    pub fn of(comparison: &Comparison) -> Self {
        let row = |size: &BatchSize| ComparisonRow::of(size, comparison.records);
        Self {
            rows: comparison.rows.iter().map(row).collect(),
            comparison: comparison.clone(),
            paper: PaperClaim::PAPER,
        }
    }

    /// One self-contained page: it has no script and loads nothing.
    pub fn html(&self) -> String {
        crate::html::render(&self.page())
    }

    /// The report as data.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("numbers and strings are always JSON") + "\n"
    }

    /// One row for each batch size and approach.
    pub fn csv(&self) -> String {
        let header = "batch_size,batches,approach,seconds,function_seconds,peak_concurrency,cold_starts,invocations,\
                      usd,price_date,basis";
        let rows = self.comparison.rows.iter().flat_map(|size| {
            let approaches = [
                ("monolithic", &size.monolithic),
                ("parallel", &size.parallel),
            ];
            approaches.map(|(name, of)| {
                let bill = of.bill.as_ref();
                vec![
                    size.batch_size.to_string(),
                    size.batches.to_string(),
                    name.into(),
                    of.seconds.to_string(),
                    of.function_seconds.to_string(),
                    of.peak_concurrency.to_string(),
                    of.cold_starts.to_string(),
                    of.invocations.to_string(),
                    bill.map_or(String::new(), |bill| bill.usd().to_string()),
                    bill.map_or(String::new(), |bill| bill.date.clone()),
                    self.comparison.basis.to_string(),
                ]
            })
        });
        let header = header.split(',').map(String::from).collect();
        csv([header].into_iter().chain(rows))
    }

    /// For people, as Markdown.
    pub fn markdown(&self) -> String {
        crate::markdown::render(&self.page())
    }

    /// Each figure as an SVG file of its own: its name without ending, and its content.
    pub fn figures(&self) -> Vec<(&'static str, String)> {
        let note = self.note();
        let page = self.page();
        let blocks = page.sections.iter().flat_map(|section| &section.blocks);
        let figures = blocks.filter_map(|block| match block {
            Block::Figure(figure) => Some((figure.id, standalone(figure, &note))),
            _ => None,
        });
        figures.collect()
    }

    /// The share of time that the parallel runs save, over all batch sizes.
    pub fn reductions(&self) -> String {
        range(self.rows.iter().map(|row| row.reduction), percent)
    }

    /// What the parallel runs cost more, over all batch sizes.
    pub fn cost_changes(&self) -> String {
        range(self.rows.iter().filter_map(|row| row.cost_change), change)
    }

    /// The batch size that saves the most time.
    fn fastest(&self) -> Option<&ComparisonRow> {
        let seconds = |row: &&ComparisonRow| row.parallel_seconds;
        self.rows
            .iter()
            .min_by(|one, other| seconds(one).total_cmp(&seconds(other)))
    }
}

impl ComparisonRow {
    /// The batch size, or the range of batch sizes, that the row is about.
    pub fn size(&self) -> String {
        let at_least = if self.is_whole { "≥ " } else { "" };
        format!("{at_least}{}", count(self.batch_size))
    }

    fn of(size: &BatchSize, records: u64) -> Self {
        let reduction = size.reduction();
        let cost_change = size.cost_change();
        let parallel_usd = size.parallel.usd();
        let million = |usd: f64| usd / records as f64 * 1e6;
        Self {
            batch_size: size.batch_size,
            is_whole: !size.same_batches.is_empty(),
            batches: size.batches,
            monolithic_seconds: size.monolithic.seconds,
            parallel_seconds: size.parallel.seconds,
            reduction,
            monolithic_usd: size.monolithic.usd(),
            parallel_usd,
            cost_change,
            parallel_usd_per_million_records: parallel_usd.filter(|_| records > 0).map(million),
            efficiency: size.efficiency(),
            peak_functions: size.parallel.peak_concurrency,
            cold_starts: size.parallel.cold_starts,
            is_as_claimed: cost_change
                .map(|change| reduction >= LEAST_REDUCTION && change.abs() <= COST_WITHIN),
        }
    }
}
