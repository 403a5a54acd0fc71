//! The report of a run.

mod clock;
mod csv;
mod history;
mod page;
mod series;
mod summary;
#[cfg(test)]
mod tests;
mod timeline;

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};
use shoal_estimate::{Basis, Bill};
use shoal_job::wire::FailureKind;
use shoal_job::{Determinism, Job, Metrics};

use crate::statistics::{Distribution, Histogram};
use crate::{Recorded, words};
use clock::Clock;
use history::History;
use series::Counted;

pub(crate) use page::bill_table;

pub use clock::Pause;
pub use history::{End, Invocation, Outcome, Start};
pub use series::{Series, SeriesPoint};
pub use summary::{StageTime, Stages, Summary};
pub use timeline::{Lane, Mark, MarkKind, Timeline};

/// Clocks of hosts that differ by less than this are not worth a note, in milliseconds.
const CLOCKS_AGREE: f64 = 1_000.0;
/// Dead letters that are shown, at most.
const MOST_LETTERS: usize = 100;

/// What a run took and cost. All times are in seconds and sizes in bytes, where a name does not say otherwise.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunReport {
    /// The run's reference.
    pub run: String,
    /// What was to be done.
    pub job: JobFacts,
    /// Everything together.
    pub summary: Summary,
    /// The starts of the run.
    pub starts: Vec<Start>,
    /// Pauses between them that the axes of time leave out.
    pub pauses: Vec<Pause>,
    /// Where the functions' time went.
    pub stages: Stages,
    /// Seconds of the invocations that are done; their cold start not included.
    pub batch_seconds: Option<Distribution>,
    /// The same of environments' first ones.
    pub cold_batch_seconds: Option<Distribution>,
    /// The same of all others.
    pub warm_batch_seconds: Option<Distribution>,
    /// All of them by bins.
    pub histogram: Option<Histogram>,
    /// Invocations by environment.
    pub timeline: Timeline,
    /// Concurrency and throughput over time.
    pub series: Series,
    /// Failed attempts by reason, the most frequent first.
    pub failures: Vec<FailureGroup>,
    /// What it cost, where it has a price.
    pub cost: Option<Cost>,
    /// How labels compare with gold labels, where there are any.
    pub accuracy: Option<Accuracy>,
    /// Records that could not be worked on.
    pub dead_letters: DeadLetters,
    /// The command that repeats it.
    pub command: String,
    /// What to know of these numbers.
    pub notes: Vec<String>,
    /// All invocations, by their beginning: the CSV form.
    #[serde(skip)]
    pub invocations: Vec<Invocation>,
}

/// What was to be done.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JobFacts {
    /// Version of shoal that planned the job.
    pub shoal: String,
    /// The inputs.
    pub inputs: Vec<String>,
    /// The output that the first start was to write.
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

/// Failed attempts of one reason.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FailureGroup {
    /// What could be done about it.
    pub kind: FailureKind,
    /// Why, in words.
    pub reason: String,
    /// How often.
    pub attempts: u64,
}

/// What a run cost.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cost {
    /// Everything together.
    pub usd: f64,
    /// For a million records at that rate; `None` where no record was worked on.
    pub usd_per_million_records: Option<f64>,
    /// What that is worth.
    pub basis: Basis,
    /// Item by item.
    pub bill: Bill,
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

/// Records that could not be worked on.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct DeadLetters {
    /// How many there are.
    pub total: u64,
    /// The first of them.
    pub first: Vec<Letter>,
}

/// A record that could not be worked on.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Letter {
    /// Its row over all inputs, from 0.
    pub row: Option<u64>,
    /// Its id, as far as it could be read.
    pub id: String,
    /// Its file.
    pub file: String,
    /// Its line in the file, from 1, or its row, from 0.
    pub place: String,
    /// Why.
    pub reason: String,
}

impl RunReport {
    /// The report of what was recorded.
    pub fn of(recorded: &Recorded<'_>) -> Self {
        let history = History::of(recorded);
        let clock = clock_of(&history);
        let counted = Counted::of(&history.invocations, &clock);
        let done = || {
            let all = history.invocations.iter();
            all.filter(|invocation| invocation.outcome == Outcome::Done)
        };
        let samples: Vec<(f64, bool)> = done()
            .map(|invocation| (invocation.seconds, invocation.is_cold()))
            .collect();
        let spread = |is_wanted: fn(bool) -> bool| {
            let wanted = samples.iter().filter(|sample| is_wanted(sample.1));
            Distribution::of(&mut wanted.map(|sample| sample.0).collect::<Vec<f64>>())
        };
        let batch_seconds = spread(|_| true);
        let summary = Summary::of(recorded, &history, &clock, counted.peak);
        Self {
            run: recorded.run.to_owned(),
            job: JobFacts::of(recorded.job),
            stages: Stages::of(done().filter_map(|done| done.receipt.as_deref())),
            histogram: batch_seconds.map(|spread| Histogram::of(&samples, &spread)),
            cold_batch_seconds: spread(|is_cold| is_cold),
            warm_batch_seconds: spread(|is_cold| !is_cold),
            batch_seconds,
            timeline: Timeline::of(&history.invocations, &history.throttled_ms, &clock),
            series: counted.series,
            failures: failures(&history),
            cost: recorded
                .bill
                .clone()
                .map(|bill| Cost::of(bill, summary.records)),
            accuracy: Accuracy::of(&summary.metrics),
            dead_letters: DeadLetters::of(recorded),
            command: recorded.command.clone(),
            notes: notes(&history, &summary),
            pauses: clock.pauses(),
            starts: history.starts,
            invocations: history.invocations,
            summary,
        }
    }

    /// One self-contained page: no script, and nothing is loaded.
    pub fn html(&self) -> String {
        crate::html::render(&self.page())
    }

    /// Everything that is shown, as data.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("numbers and strings are always JSON") + "\n"
    }

    /// All invocations, one a row.
    pub fn csv(&self) -> String {
        csv::write(&self.invocations, &self.summary.unit)
    }

    /// For people, as Markdown.
    pub fn markdown(&self) -> String {
        crate::markdown::render(&self.page())
    }
}

/// The time at work: that of the starts, and of invocations that went on without them.
fn clock_of(history: &History) -> Clock {
    let starts = history.starts.iter().map(|start| {
        let began = start.began_unix_ms as f64;
        (began, began + start.seconds * 1000.0)
    });
    let invocations = history.invocations.iter().filter_map(Invocation::span_ms);
    Clock::of(starts.chain(invocations).collect())
}

fn failures(history: &History) -> Vec<FailureGroup> {
    let mut groups: Vec<FailureGroup> = history
        .failures
        .iter()
        .map(|(kind, reason, attempts)| FailureGroup {
            kind: *kind,
            reason: reason.clone(),
            attempts: *attempts,
        })
        .collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.attempts));
    groups
}

/// What to know of the numbers.
fn notes(history: &History, summary: &Summary) -> Vec<String> {
    let mut notes = Vec::new();
    let moved = || {
        let all = history.invocations.iter();
        all.filter(|invocation| invocation.moved_ms.abs() > CLOCKS_AGREE)
    };
    let count = moved().count() as u64;
    if count > 0 {
        let most = moved().map(|i| i.moved_ms.abs()).fold(0.0, f64::max);
        notes.push(format!(
            "Clocks of hosts differ: {} said to begin before the call or to end after the answer. They are shown between \
             the two, moved by up to {}.",
            words::of(count, "invocation was", "invocations were"),
            words::time(most / 1000.0)
        ));
    }
    let unknown = history
        .invocations
        .iter()
        .filter(|i| i.began_unix_ms.is_none())
        .count() as u64;
    if unknown > 0 {
        notes.push(format!(
            "Nothing tells when {} began; they are counted, but not drawn.",
            words::of(unknown, "invocation", "invocations")
        ));
    }
    if history.answers_lost > 0 {
        notes.push(format!(
            "{} lost, and the receipt was found by the next attempt: those attempts are not counted as failed.",
            words::of(history.answers_lost, "answer was", "answers were")
        ));
    }
    if summary.finished_batches < summary.batches {
        notes.push(format!(
            "The run is not finished: {} of {} have a receipt to their end.",
            words::count(summary.finished_batches),
            words::of(summary.batches, "batch", "batches")
        ));
    }
    notes
}

impl JobFacts {
    fn of(job: &Job) -> Self {
        Self {
            shoal: job.shoal.clone(),
            inputs: job.inputs.clone(),
            output: job.output.clone(),
            kind: job.function.kind.clone(),
            function: job.function.reference.clone(),
            fingerprint: job.function.fingerprint.clone(),
            settings: job.function.settings.clone(),
            task: job.function.task.clone(),
            determinism: job.function.determinism,
            batch_size: job.parameters.batch_size,
            records: job.records,
            batches: job.batches,
        }
    }
}

impl Cost {
    fn of(bill: Bill, records: u64) -> Self {
        let usd = bill.usd();
        Self {
            usd,
            usd_per_million_records: (records > 0).then(|| usd / records as f64 * 1e6),
            basis: bill.basis(),
            bill,
        }
    }
}

impl Accuracy {
    /// From the counts of gold label → label → records in the group `confusion`; `None` where no record has a gold label.
    pub fn of(metrics: &Metrics) -> Option<Self> {
        let counts = |(label, records): (&str, u64)| (label.to_owned(), records);
        let confusion: BTreeMap<String, BTreeMap<String, u64>> = metrics
            .group("confusion")?
            .groups()
            .map(|(gold, labels)| (gold.to_owned(), labels.counts().map(counts).collect()))
            .collect();
        let of = confusion.values().flat_map(BTreeMap::values).sum();
        let right = confusion
            .iter()
            .filter_map(|(gold, labels)| labels.get(gold))
            .sum();
        (of > 0).then(|| Self {
            right,
            of,
            share: right as f64 / of as f64,
            confusion,
        })
    }
}

impl DeadLetters {
    fn of(recorded: &Recorded<'_>) -> Self {
        let first = recorded.dead_letters.iter().take(MOST_LETTERS);
        Self {
            total: recorded.dead_letters_total,
            first: first.map(Letter::of).collect(),
        }
    }
}

impl Letter {
    /// A line of `failed.jsonl`.
    fn of(line: &Value) -> Self {
        let text = |name: &str| match &line[name] {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let place = match (line["line"].as_u64(), line["file_row"].as_u64()) {
            (Some(line), _) => format!("line {line}"),
            (None, Some(row)) => format!("row {row}"),
            (None, None) => String::new(),
        };
        Self {
            row: line["row"].as_u64(),
            id: text("id"),
            file: text("file"),
            place,
            reason: text("reason"),
        }
    }
}
