//! The report of a plan: what a job is expected to take and cost, by configuration.

mod figures;
#[cfg(test)]
mod fixture;
mod page;
#[cfg(test)]
mod tests;

use shoal_estimate::{Estimate, Plan};

use crate::numbers::count;
use crate::page::csv;

/// A plan, as a page and as data.
#[derive(Debug, Clone, Copy)]
pub struct PlanReport<'a> {
    plan: &'a Plan,
}

impl<'a> PlanReport<'a> {
    /// The report of `plan`.
    pub fn of(plan: &'a Plan) -> Self {
        Self { plan }
    }

    /// One self-contained page: it has no script and loads nothing.
    pub fn html(&self) -> String {
        crate::html::render(&self.page())
    }

    /// The plan as data.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self.plan).expect("numbers and strings are always JSON") + "\n"
    }

    /// For people, as Markdown.
    pub fn markdown(&self) -> String {
        crate::markdown::render(&self.page())
    }

    /// One row for each candidate.
    pub fn csv(&self) -> String {
        let header = "place,architecture,memory_mb,batch_size,batches,concurrency,seconds,usd,function_seconds,\
                      peak_concurrency,cold_starts,pareto,chosen,limits";
        let header = header.split(',').map(String::from).collect();
        let rows = self.plan.estimates.iter().enumerate();
        let rows = rows.map(|(index, estimate)| {
            vec![
                estimate.place.clone(),
                estimate.architecture.to_string(),
                estimate
                    .memory_mb
                    .map_or_else(String::new, |mb| mb.to_string()),
                estimate.batch_size.to_string(),
                estimate.batches.to_string(),
                estimate.concurrency.to_string(),
                estimate.seconds.to_string(),
                estimate.usd().to_string(),
                estimate.function_seconds.to_string(),
                estimate.peak_concurrency.to_string(),
                estimate.cold_starts.to_string(),
                self.plan.pareto.contains(&index).to_string(),
                (self.plan.choice.index == Some(index)).to_string(),
                estimate.broken.join("; "),
            ]
        });
        csv([header].into_iter().chain(rows))
    }
}

/// A candidate in words: where it runs, in what batches, how many at a time.
pub fn describe(estimate: &Estimate) -> String {
    let memory = estimate.memory_mb.map_or_else(String::new, |mb| {
        format!(", {mb} MB, {}", estimate.architecture)
    });
    format!(
        "{}{memory}, batches of {}, {} at a time",
        estimate.place,
        count(estimate.batch_size),
        count(estimate.concurrency)
    )
}
