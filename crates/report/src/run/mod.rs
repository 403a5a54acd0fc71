//! The report of a run.

mod csv;
mod dead_letters;
mod page;
mod summary;
#[cfg(test)]
mod tests;

use serde::Serialize;
use serde_json::{Map, Value};
use shoal_job::{Determinism, Job};

pub use self::dead_letters::{DeadLetters, Letter};
pub use self::page::engine;
pub use self::summary::{StageTime, Stages, Summary};
use crate::fold::{CallHistory, FailureGroup, Invocation, Outcome, Start};
use crate::statistics::{Distribution, Histogram};
use crate::time::{Clock, Pause, Series, Timeline};
use crate::{Accuracy, Cost, Recorded, Totals, UnknownLabels, numbers};

/// Clocks of hosts that differ by no more than this get no note, in milliseconds.
const CLOCKS_AGREE: f64 = 1_000.0;

/// What a run did, took and cost. Times are in seconds and sizes in bytes, unless a name says otherwise.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunReport {
    /// The run's reference.
    pub run: String,
    /// The job.
    pub job: JobFacts,
    /// The totals.
    pub summary: Summary,
    /// The starts of the run.
    pub starts: Vec<Start>,
    /// Pauses between them that the time axes leave out.
    pub pauses: Vec<Pause>,
    /// Where the functions' time went.
    pub stages: Stages,
    /// Seconds of the finished invocations, without cold starts.
    pub batch_seconds: Option<Distribution>,
    /// Those of the first invocation of each environment.
    pub cold_batch_seconds: Option<Distribution>,
    /// Those of all other invocations.
    pub warm_batch_seconds: Option<Distribution>,
    /// All of them by bins.
    pub histogram: Option<Histogram>,
    /// Invocations by environment.
    pub timeline: Timeline,
    /// Concurrency and throughput over time.
    pub series: Series,
    /// Failed attempts by reason, the most frequent first.
    pub failures: Vec<FailureGroup>,
    /// The cost, if it has a price.
    pub cost: Option<Cost>,
    /// How labels compare with gold labels, if there are any.
    pub accuracy: Option<Accuracy>,
    /// Records whose gold label is none of the model's, if there are any.
    pub unknown_labels: Option<UnknownLabels>,
    /// Records that could not be processed.
    pub dead_letters: DeadLetters,
    /// The command that repeats the run.
    pub command: String,
    /// Remarks on these numbers.
    pub notes: Vec<String>,
    /// All invocations by their beginning: the CSV form.
    #[serde(skip)]
    pub invocations: Vec<Invocation>,
}

/// The job of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JobFacts {
    /// The version of shoal that planned the job.
    pub shoal: String,
    /// The inputs.
    pub inputs: Vec<String>,
    /// The output of the first start.
    pub output: String,
    /// The kind of function, such as `encoder`.
    pub kind: String,
    /// How the user named the function.
    pub function: String,
    /// Its fingerprint.
    pub fingerprint: String,
    /// Its settings, such as the precision.
    pub settings: Map<String, Value>,
    /// The task and its settings.
    pub task: Map<String, Value>,
    /// Whether results depend on how records were grouped.
    pub determinism: Determinism,
    /// Records in a batch, at most.
    pub batch_size: u64,
    /// Records in all.
    pub records: u64,
    /// Batches in all.
    pub batches: u64,
}

impl RunReport {
    /// The report of what was recorded.
    pub fn of(recorded: Recorded<'_>) -> Self {
        let job = recorded.job;
        let calls = recorded.history.finish(recorded.receipts);
        let clock = clock_of(&calls);
        let (series, peak) = Series::of(&calls.invocations, &clock);
        let done = || {
            let all = calls.invocations.iter();
            all.filter(|invocation| invocation.outcome == Outcome::Done)
        };
        let totals: Totals = done().filter_map(|done| done.receipt.as_deref()).collect();
        let samples: Vec<(f64, bool)> = done()
            .map(|invocation| (invocation.seconds, invocation.is_cold()))
            .collect();
        let distribution = |is_wanted: fn(bool) -> bool| {
            let wanted = samples.iter().filter(|sample| is_wanted(sample.1));
            Distribution::of(&mut wanted.map(|sample| sample.0).collect::<Vec<f64>>())
        };
        let batch_seconds = distribution(|_| true);
        let finished_batches = recorded.receipts.finished_batches();
        let summary = Summary::of(job, &calls, &totals, &clock, peak, finished_batches);
        let mut failures = calls.state.failures;
        failures.sort_by_key(|group| std::cmp::Reverse(group.attempts));
        Self {
            run: recorded.run.to_owned(),
            job: JobFacts::of(job),
            stages: Stages::of(&totals.timings),
            histogram: batch_seconds.map(|all| Histogram::of(&samples, &all)),
            cold_batch_seconds: distribution(|is_cold| is_cold),
            warm_batch_seconds: distribution(|is_cold| !is_cold),
            batch_seconds,
            timeline: Timeline::of(&calls.invocations, &calls.throttled_unix_ms, &clock),
            series,
            failures,
            cost: recorded.bill.map(|bill| Cost::of(bill, summary.records)),
            accuracy: Accuracy::of(&summary.metrics),
            unknown_labels: UnknownLabels::of(&summary.metrics),
            dead_letters: DeadLetters::of(recorded.dead_letters, recorded.dead_letters_total),
            command: recorded.command,
            notes: notes(&calls.invocations, calls.lost_answers, &summary),
            pauses: clock.pauses(),
            starts: calls.state.starts,
            invocations: calls.invocations,
            summary,
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

    /// All invocations, one in each row.
    pub fn csv(&self) -> String {
        csv::write(&self.invocations, &self.summary.unit)
    }

    /// For people, as Markdown.
    pub fn markdown(&self) -> String {
        crate::markdown::render(&self.page())
    }
}

/// The time at work: that of the starts, and of invocations that continued without them.
fn clock_of(calls: &CallHistory) -> Clock {
    let starts = calls.state.starts.iter().map(|start| {
        let began = start.began_unix_ms as f64;
        (began, began + start.seconds * 1000.0)
    });
    let invocations = calls.invocations.iter().filter_map(Invocation::span_ms);
    Clock::of(starts.chain(invocations).collect())
}

/// Remarks on the numbers.
fn notes(invocations: &[Invocation], lost_answers: u64, summary: &Summary) -> Vec<String> {
    let mut notes = Vec::new();
    let moved = || {
        let moved = invocations.iter().map(|i| i.moved_ms.abs());
        moved.filter(|moved| *moved > CLOCKS_AGREE)
    };
    let count = moved().count() as u64;
    if count > 0 {
        notes.push(format!(
            "The clocks of hosts differ: by its host's clock, {} before the call or ended after the answer. They are shown \
             between the two, moved by up to {}.",
            numbers::plural(count, "invocation began", "invocations began"),
            numbers::duration(moved().fold(0.0, f64::max) / 1000.0)
        ));
    }
    let unknown = invocations.iter().filter(|i| i.began_unix_ms.is_none());
    let unknown = unknown.count() as u64;
    if unknown > 0 {
        notes.push(format!(
            "The beginning of {} was not recorded; they are counted, but not drawn.",
            numbers::plural(unknown, "invocation", "invocations")
        ));
    }
    if lost_answers > 0 {
        notes.push(format!(
            "{} lost, and the next attempt found the receipt: those attempts do not count as failed.",
            numbers::plural(lost_answers, "answer was", "answers were")
        ));
    }
    if summary.finished_batches < summary.batches {
        notes.push(format!(
            "The run is not finished: {} of {} are complete.",
            numbers::count(summary.finished_batches),
            numbers::plural(summary.batches, "batch", "batches")
        ));
    }
    notes
}

impl JobFacts {
    fn of(job: &Job) -> Self {
        let function = &job.function;
        Self {
            shoal: job.shoal.clone(),
            inputs: job.inputs.clone(),
            output: job.output.clone(),
            kind: function.kind.clone(),
            function: function.reference.clone(),
            fingerprint: function.fingerprint.clone(),
            settings: function.settings.clone(),
            task: function.task.clone(),
            determinism: function.determinism,
            batch_size: job.parameters.batch_size,
            records: job.records,
            batches: job.batches,
        }
    }
}
