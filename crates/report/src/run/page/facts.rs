//! The tables on a run as a whole: its totals, its job and its starts.

use serde_json::Value;
use shoal_estimate::Basis;

use crate::numbers::{bytes, capitalized, count, date_time, duration, plural};
use crate::page::{Block, Section, Table};
use crate::run::RunReport;

/// Inputs that are listed, at most.
const MOST_INPUTS: usize = 20;
/// Starts that are listed, at most.
const MOST_STARTS: usize = 50;

/// What computed the results, with its precision if it has one.
pub fn engine(precision: Option<&str>, engines: &str) -> String {
    match precision {
        Some(precision) if engines.is_empty() => precision.to_owned(),
        Some(precision) => format!("{precision} on {engines}"),
        None => engines.to_owned(),
    }
}

impl RunReport {
    pub(super) fn summary_section(&self) -> Section<'_> {
        let (s, job) = (&self.summary, &self.job);
        let mut facts = Table::new("Totals", &["", "#", ""]);
        let mut fact =
            |name: &str, value: String, note: String| facts.push([name.into(), value, note]);
        let (all, results, failed) = (job.records, s.results, s.failed_records);
        let [all, results, failed] = [all, results, failed].map(count);
        let note = format!("of {all}; {results} with a result, {failed} in the dead letters");
        fact("Records", count(s.records), note);
        if s.unit != "rows" {
            let limit = job.settings.get("max_tokens").and_then(Value::as_u64);
            let limit = limit.map(|limit| format!("{} tokens", count(limit)));
            let limit = limit.unwrap_or("the limit".into());
            let truncated = match s.metrics.count("truncated") {
                0 => String::new(),
                cut => format!("{} cut at {limit}", plural(cut, "record", "records")),
            };
            fact(&capitalized(&s.unit), count(s.units), truncated);
        }
        let size = plural(job.batch_size, "record", "records");
        let note = format!("of {}, with at most {size} each", count(s.batches));
        fact("Batches", count(s.finished_batches), note);
        let outcomes = [s.done, s.duplicates, s.failed_attempts, s.unanswered];
        let [done, duplicate, failed, unanswered] = outcomes.map(count);
        let note =
            format!("{done} done, {duplicate} duplicate, {failed} failed, {unanswered} unanswered");
        fact("Invocations", count(s.invocations), note);
        let note = "attempts after the first";
        fact("Retries", count(s.retries), note.into());
        let note = "invocations that ran out of time; another one processed the rest of the batch";
        fact("Cut short", count(s.cut_short), note.into());
        let note = "the platform refused them at that time";
        fact("Throttled calls", count(s.throttled), note.into());
        let environments = plural(s.environments, "environment", "environments");
        fact(
            "Cold starts",
            count(s.cold_starts),
            format!("of {environments}"),
        );
        let billed = s
            .billed_seconds
            .map(|billed| format!("; {} billed", duration(billed)));
        let note = "over all invocations".to_owned() + &billed.unwrap_or_default();
        fact("Function time", duration(s.function_seconds), note);
        if let Some(peak) = s.peak_memory_bytes {
            let note = "of one environment's process";
            fact("Peak memory", bytes(peak), note.into());
        }
        let mut job_facts = Table::new("The job", &["", ""]);
        let mut fact = |name: &str, value: String| job_facts.push([name.into(), value]);
        for input in job.inputs.iter().take(MOST_INPUTS) {
            fact("Input", input.clone());
        }
        if job.inputs.len() > MOST_INPUTS {
            let more = count((job.inputs.len() - MOST_INPUTS) as u64);
            fact("Input", format!("and {more} more"));
        }
        fact("Output", job.output.clone());
        if let Some(task) = job.task.get("name").and_then(Value::as_str) {
            fact("Task", task.to_owned());
        }
        fact("Function", format!("{} ({})", job.function, job.kind));
        fact("Fingerprint", job.fingerprint.clone());
        fact("Engine", self.engine());
        for sizing in &s.sizings {
            let memory = count(sizing.memory_mb.into());
            let (architecture, region) = (&sizing.architecture, &sizing.region);
            fact("Platform", format!("{memory} MB, {architecture}, {region}"));
        }
        fact("shoal", job.shoal.clone());
        let mut blocks = vec![Block::Table(facts), Block::Table(job_facts)];
        if self.starts.len() > 1 {
            blocks.push(Block::Table(self.starts_table()));
        }
        if !self.notes.is_empty() {
            blocks.push(Block::List(self.notes.clone()));
        }
        Section::new("summary", "Summary", Some(Basis::Measured), blocks)
    }

    /// The precision, and what computed the results.
    pub fn engine(&self) -> String {
        let precision = self.job.settings.get("precision").and_then(Value::as_str);
        engine(precision, &self.summary.engines.join(", "))
    }

    fn starts_table(&self) -> Table {
        let mut table = Table::of(
            "Starts of the run",
            self.starts.iter().take(MOST_STARTS),
            &[
                ("Start", |start| start.number.to_string()),
                ("When", |start| date_time(start.began_unix_ms)),
                ("Backend", |start| start.backend.clone()),
                ("#Concurrency", |start| count(start.concurrency)),
                ("#Time", |start| duration(start.seconds)),
                ("#Answers", |start| count(start.finished)),
                ("#Reused batches", |start| count(start.reused_batches)),
                ("End", |start| start.end.name().into()),
            ],
        );
        if self.starts.len() > MOST_STARTS {
            let all = count(self.starts.len() as u64);
            table.caption += &format!(", the first {MOST_STARTS} of {all}");
        }
        table
    }
}
