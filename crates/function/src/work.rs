//! Processes one batch in memory: reads records, passes them to the session, and writes rows and dead letters.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use shoal_job::format::Format;
use shoal_job::part::PartWriter;
use shoal_job::record::DeadLetter;
use shoal_job::wire::{Failure, FailureKind, Invocation, Timings};
use shoal_job::{BadRecord, Cancel, Record, Row};

use crate::running::Processed;
use crate::{Answers, Clock, Function, RecordRef, Session, Usage, milliseconds};

/// Limits of an invocation.
#[derive(Debug, Clone, Default)]
pub struct CallLimits {
    /// Checked between micro-batches. A cancelled batch writes nothing.
    pub cancel: Cancel,
    /// When the receipt is due. The records processed by then are written, and the receipt has the number of the remaining
    /// ones.
    pub deadline: Option<Instant>,
}

/// A batch's output before it is stored.
#[derive(Default)]
pub(crate) struct Done {
    pub(crate) part: Vec<u8>,
    pub(crate) results: u64,
    pub(crate) dead_letters: Vec<u8>,
    pub(crate) failed: u64,
    pub(crate) quarantined: u64,
    pub(crate) usage: Usage,
    pub(crate) timings: Timings,
}

/// Time reserved for writing, in addition to that of the records in flight.
const TIME_TO_WRITE: Duration = Duration::from_millis(1500);

/// Processes the records of `invocation` until the deadline. Keeps the unanswered records and the results of the batch in
/// memory.
pub(crate) fn work(
    function: &Function,
    session: &mut dyn Session,
    invocation: &Invocation,
    limits: &CallLimits,
    clock: &Clock,
) -> Result<Done, Failure> {
    let Invocation {
        batch, quarantine, ..
    } = invocation;
    let end = match quarantine {
        Some(_) => batch.end().min(batch.offset.saturating_add(1)),
        None => batch.end(),
    };
    if batch.offset >= end {
        let reason = format!(
            "failed to process batch {}: the range from record {} to {end} of {} is empty",
            batch.index, batch.offset, batch.records
        );
        return Err(Failure::new(FailureKind::Input, reason));
    }
    // Discards the usage of a failed attempt.
    session.take_usage();
    let mut state = State {
        function,
        session,
        clock,
        part: PartWriter::new(&function.job),
        waiting: VecDeque::new(),
        done: Done::default(),
        processed: Processed::default(),
        read: Duration::ZERO,
        longest_step: Duration::ZERO,
    };
    let mut rows = function.sources.rows(&function.job, &function.run, batch);
    let mut skipped = batch.offset;
    let mut left = end - batch.offset;
    while left > 0 {
        if limits.cancel.is_cancelled() {
            return Err(Failure::new(FailureKind::Cancelled, "cancelled"));
        }
        let started = clock.now();
        if limits
            .deadline
            .is_some_and(|end| state.is_late(started, end))
        {
            break;
        }
        let row = rows.next().transpose()?;
        state.read += clock.now() - started;
        let Some(mut row) = row else {
            break;
        };
        if skipped > 0 {
            // Reading is fast, so records before the offset are read and dropped.
            skipped -= 1;
            continue;
        }
        left -= 1;
        if let Some(reason) = quarantine
            && let Ok(Record { id, kept, .. }) = row.content
        {
            let reason = reason.clone();
            row.content = Err(BadRecord { id, kept, reason });
            state.done.quarantined += 1;
        }
        state.take(row)?;
    }
    let answers = state.step(|session| session.flush())?;
    state.answered(answers)?;
    if !state.waiting.is_empty() {
        return Err(unanswered());
    }
    if state.done.results + state.done.failed == 0 {
        let reason = "failed to process a single record before the deadline; allow more time, or use smaller batches";
        return Err(Failure::new(FailureKind::TimedOut, reason));
    }
    state.finish()
}

struct State<'a> {
    function: &'a Function,
    session: &'a mut dyn Session,
    clock: &'a Clock,
    part: PartWriter,
    /// Rows that are not written yet: records that the session has taken, and bad rows after them.
    waiting: VecDeque<Row>,
    done: Done,
    /// Shows how far the batch is.
    processed: Processed,
    read: Duration,
    /// The longest call of the session.
    longest_step: Duration,
}

impl State<'_> {
    /// Whether the time until `end` is needed to finish the records taken so far.
    fn is_late(&self, now: Instant, end: Instant) -> bool {
        // A step may be slower than all before it on a shared machine.
        let needed = 2 * self.longest_step + TIME_TO_WRITE;
        end.saturating_duration_since(now) < needed
    }

    /// Calls the session, and measures the longest call.
    fn step(
        &mut self,
        call: impl FnOnce(&mut dyn Session) -> Result<Option<Answers>, Failure>,
    ) -> Result<Option<Answers>, Failure> {
        let started = self.clock.now();
        let answers = call(self.session)?;
        self.longest_step = self.longest_step.max(self.clock.now() - started);
        Ok(answers)
    }

    /// Passes a record to the session. A bad row becomes a dead letter after the records before it, which may be rejected too.
    fn take(&mut self, mut row: Row) -> Result<(), Failure> {
        let mut answers = None;
        if let Ok(record) = &mut row.content {
            answers = self.step(|session| {
                session.push(RecordRef {
                    id: &record.id,
                    inputs: &record.inputs,
                })
            })?;
            // Texts may be large, and the session keeps what it needs.
            record.inputs = Vec::new();
        }
        self.waiting.push_back(row);
        self.answered(answers)
    }

    /// Writes the answers to the oldest records, and the bad rows up to the next unanswered record.
    fn answered(&mut self, answers: Option<Answers>) -> Result<(), Failure> {
        let Some(answers) = answers else {
            return self.write_bad_rows();
        };
        let mut results = Results {
            records: Vec::with_capacity(answers.rows.num_rows()),
            rows: answers.rows,
        };
        let mut rejected = answers.rejected.into_iter().peekable();
        for number in 0..answers.records {
            let row = self.waiting.front().ok_or_else(unanswered)?;
            let rejection = rejected.next_if(|(index, _)| *index == number);
            if (row.content.is_err() || rejection.is_some()) && self.part.has_errors() {
                // The results before the bad record precede it in the part.
                results.write(&mut self.part)?;
            }
            self.write_bad_rows()?;
            let mut row = self.waiting.pop_front().ok_or_else(unanswered)?;
            match (row.content, rejection) {
                (Ok(Record { id, kept, .. }), Some((_, reason))) => {
                    row.content = Err(BadRecord { id, kept, reason });
                    self.dead_letter(&row)?;
                }
                (Ok(record), None) => {
                    results.records.push(record);
                    self.done.results += 1;
                }
                (Err(_), _) => unreachable!("bad rows are written"),
            }
        }
        self.part.push(results.records, results.rows)?;
        self.write_bad_rows()?;
        self.processed.set(self.done.results + self.done.failed);
        Ok(())
    }

    fn write_bad_rows(&mut self) -> Result<(), Failure> {
        while let Some(row) = self.waiting.pop_front_if(|row| row.content.is_err()) {
            self.dead_letter(&row)?;
        }
        Ok(())
    }

    fn dead_letter(&mut self, row: &Row) -> Result<(), Failure> {
        let Err(bad) = &row.content else {
            return Ok(());
        };
        if self.part.has_errors() {
            self.part.push_bad(bad)?;
        }
        let source = &self.function.job.sources[row.source as usize];
        let letter = DeadLetter {
            id: &bad.id,
            row: row.row,
            file: &source.uri,
            // Each file of a folder is a record, and the id names it.
            line: (!source.format.is_columnar() && source.format != Format::TextFolder)
                .then_some(row.place),
            file_row: source.format.is_columnar().then_some(row.place),
            reason: &bad.reason,
        };
        serde_json::to_writer(&mut self.done.dead_letters, &letter)
            .expect("writing to memory does not fail");
        self.done.dead_letters.push(b'\n');
        self.done.failed += 1;
        Ok(())
    }

    fn finish(self) -> Result<Done, Failure> {
        let mut done = self.done;
        done.part = self.part.finish()?;
        done.usage = self.session.take_usage();
        done.timings.read = milliseconds(self.read);
        for (name, took) in &done.usage.stages {
            done.timings.stages.add(name, milliseconds(*took));
        }
        Ok(done)
    }
}

/// Results that are not written yet.
struct Results {
    records: Vec<Record>,
    /// The rows of these records and of those that follow.
    rows: RecordBatch,
}

impl Results {
    /// Writes the results of the records so far.
    fn write(&mut self, part: &mut PartWriter) -> Result<(), Failure> {
        let records = std::mem::take(&mut self.records);
        // If the function returned too few rows, `push` says so.
        let count = records.len().min(self.rows.num_rows());
        let rows = self.rows.slice(0, count);
        self.rows = self.rows.slice(count, self.rows.num_rows() - count);
        Ok(part.push(records, rows)?)
    }
}

/// The failure of a session that answers more or fewer records than it took.
fn unanswered() -> Failure {
    Failure::new(
        FailureKind::Crashed,
        "the function did not answer every record exactly once",
    )
}
