//! The tables on a run as a whole: its totals, its job and its starts.

use serde_json::Value;
use shoal_estimate::Basis;

use crate::numbers;
use crate::page::{Block, Section, Table};
use crate::run::RunReport;

/// Inputs that are listed, at most.
const MOST_INPUTS: usize = 20;
/// Starts that are listed, at most.
const MOST_STARTS: usize = 50;

impl RunReport {
    pub(super) fn summary_section(&self) -> Section<'_> {
        let (s, job) = (&self.summary, &self.job);
        let mut facts = Table::new("Totals", &["", "#", ""]);
        let mut fact =
            |name: &str, value: String, note: String| facts.push([name.into(), value, note]);
        fact(
            "Records",
            numbers::count(s.records),
            format!(
                "of {}; {} with a result, {} in the dead letters",
                numbers::count(job.records),
                numbers::count(s.results),
                numbers::count(s.failed_records)
            ),
        );
        if s.unit != "rows" {
            let truncated = match s.metrics.count("truncated") {
                0 => String::new(),
                cut => {
                    let limit = match job.settings.get("max_tokens").and_then(Value::as_u64) {
                        Some(limit) => format!("at {} tokens", numbers::count(limit)),
                        None => "at the limit".into(),
                    };
                    format!("{} cut {limit}", numbers::plural(cut, "record", "records"))
                }
            };
            fact(&capitalized(&s.unit), numbers::count(s.units), truncated);
        }
        fact(
            "Batches",
            numbers::count(s.finished_batches),
            format!(
                "of {}, with at most {} each",
                numbers::count(s.batches),
                numbers::plural(job.batch_size, "record", "records")
            ),
        );
        fact(
            "Invocations",
            numbers::count(s.invocations),
            format!(
                "{} done, {} duplicate, {} failed, {} unanswered",
                numbers::count(s.done),
                numbers::count(s.duplicates),
                numbers::count(s.failed_attempts),
                numbers::count(s.unanswered)
            ),
        );
        fact(
            "Retries",
            numbers::count(s.retries),
            "attempts after the first".into(),
        );
        fact(
            "Cut short",
            numbers::count(s.cut_short),
            "invocations that ran out of time; another one processed the rest of the batch".into(),
        );
        fact(
            "Throttled calls",
            numbers::count(s.throttled),
            "the platform refused them at that time".into(),
        );
        fact(
            "Cold starts",
            numbers::count(s.cold_starts),
            format!(
                "of {}",
                numbers::plural(s.environments, "environment", "environments")
            ),
        );
        fact(
            "Function time",
            numbers::duration(s.function_seconds),
            match s.billed_seconds {
                Some(billed) => {
                    format!("over all invocations; {} billed", numbers::duration(billed))
                }
                None => "over all invocations".into(),
            },
        );
        if let Some(bytes) = s.peak_memory_bytes {
            fact(
                "Peak memory",
                numbers::bytes(bytes),
                "of one environment's process".into(),
            );
        }
        let mut job_facts = Table::new("The job", &["", ""]);
        let mut fact = |name: &str, value: String| job_facts.push([name.into(), value]);
        for input in job.inputs.iter().take(MOST_INPUTS) {
            fact("Input", input.clone());
        }
        if job.inputs.len() > MOST_INPUTS {
            fact(
                "Input",
                format!(
                    "and {} more",
                    numbers::count((job.inputs.len() - MOST_INPUTS) as u64)
                ),
            );
        }
        fact("Output", job.output.clone());
        if let Some(task) = job.task.get("name").and_then(Value::as_str) {
            fact("Task", task.to_owned());
        }
        fact("Function", format!("{} ({})", job.function, job.kind));
        fact("Fingerprint", job.fingerprint.clone());
        fact("Engine", self.engine());
        for sizing in &s.sizings {
            fact(
                "Platform",
                format!(
                    "{} MB, {}, {}",
                    numbers::count(sizing.memory_mb.into()),
                    sizing.architecture,
                    sizing.region
                ),
            );
        }
        fact("shoal", job.shoal.clone());
        let mut blocks = vec![Block::Table(facts), Block::Table(job_facts)];
        if self.starts.len() > 1 {
            blocks.push(Block::Table(self.starts_table()));
        }
        if !self.notes.is_empty() {
            blocks.push(Block::List(self.notes.clone()));
        }
        Section {
            id: "summary",
            title: "Summary",
            basis: Some(Basis::Measured),
            blocks,
        }
    }

    /// The precision, and what computed the results.
    pub fn engine(&self) -> String {
        let engines = self.summary.engines.join(", ");
        match self.job.settings.get("precision").and_then(Value::as_str) {
            Some(precision) if engines.is_empty() => precision.to_owned(),
            Some(precision) => format!("{precision} on {engines}"),
            None => engines,
        }
    }

    fn starts_table(&self) -> Table {
        let mut table = Table::new(
            "Starts of the run",
            &[
                "Start",
                "When",
                "Backend",
                "#Concurrency",
                "#Time",
                "#Answers",
                "#Reused batches",
                "End",
            ],
        );
        for start in self.starts.iter().take(MOST_STARTS) {
            table.push([
                start.number.to_string(),
                numbers::date_time(start.began_unix_ms),
                start.backend.clone(),
                numbers::count(start.concurrency),
                numbers::duration(start.seconds),
                numbers::count(start.finished),
                numbers::count(start.reused_batches),
                start.end.name().into(),
            ]);
        }
        if self.starts.len() > MOST_STARTS {
            table.caption += &format!(
                ", the first {MOST_STARTS} of {}",
                numbers::count(self.starts.len() as u64)
            );
        }
        table
    }
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string());
    first.unwrap_or_default() + letters.as_str()
}
