//! Processes one batch in memory: reads records, passes them to the session, and writes rows and dead letters.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use shoal_job::format::Format;
use shoal_job::part::PartWriter;
use shoal_job::record::DeadLetter;
use shoal_job::wire::{Failure, FailureKind, Invocation, Timings};
use shoal_job::{BadRecord, Record, Row};

use crate::{Answers, CallLimits, Clock, Function, RecordRef, Session, Usage, milliseconds};

/// A batch's output before it is stored.
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
        done: Done {
            part: Vec::new(),
            results: 0,
            dead_letters: Vec::new(),
            failed: 0,
            quarantined: 0,
            usage: Usage::default(),
            timings: Timings::default(),
        },
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
        let Some(row) = row else {
            break;
        };
        if skipped > 0 {
            // Reading is fast, so records before the offset are read and dropped.
            skipped -= 1;
            continue;
        }
        left -= 1;
        let Row {
            row,
            source,
            place,
            content,
        } = row;
        let place = Place { row, source, place };
        match (content, quarantine) {
            (Ok(record), None) => state.take(record, place)?,
            (Ok(Record { id, .. }), Some(reason)) => {
                let reason = reason.clone();
                state.reject(place, BadRecord { id, reason });
                state.done.quarantined += 1;
            }
            (Err(bad), _) => state.reject(place, bad),
        }
    }
    let answers = state.step(|session| session.flush())?;
    state.answered(answers)?;
    if !state.waiting.is_empty() {
        return Err(state.unanswered());
    }
    if state.done.results + state.done.failed == 0 {
        let reason = "failed to process a single record before the deadline; allow more time, or use smaller batches";
        return Err(Failure::new(FailureKind::TimedOut, reason));
    }
    state.finish()
}

/// The place of a row in the input; see [`Row`].
#[derive(Debug, Clone, Copy)]
struct Place {
    row: u64,
    source: u32,
    place: u64,
}

/// A row that is not written yet.
enum Waiting {
    /// The session has taken it.
    Record(Record, Place),
    /// It becomes a dead letter after the unanswered records before it, which may be rejected too.
    Bad(BadRecord, Place),
}

struct State<'a> {
    function: &'a Function,
    session: &'a mut dyn Session,
    clock: &'a Clock,
    part: PartWriter,
    waiting: VecDeque<Waiting>,
    done: Done,
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

    fn take(&mut self, mut record: Record, place: Place) -> Result<(), Failure> {
        let answers = self.step(|session| {
            session.push(RecordRef {
                id: &record.id,
                inputs: &record.inputs,
            })
        })?;
        // Texts may be large, and the session keeps what it needs.
        record.inputs = Vec::new();
        self.waiting.push_back(Waiting::Record(record, place));
        self.answered(answers)
    }

    /// Makes the row a dead letter once all rows before it are written.
    fn reject(&mut self, place: Place, bad: BadRecord) {
        if self.waiting.is_empty() {
            self.dead_letter(place, &bad);
        } else {
            self.waiting.push_back(Waiting::Bad(bad, place));
        }
    }

    /// Writes the answers to the oldest records.
    fn answered(&mut self, answers: Option<Answers>) -> Result<(), Failure> {
        let Some(answers) = answers else {
            return Ok(());
        };
        let mut records = Vec::with_capacity(answers.rows.num_rows());
        let mut rejected = answers.rejected.into_iter().peekable();
        for number in 0..answers.records {
            let (record, place) = loop {
                match self.waiting.pop_front() {
                    Some(Waiting::Record(record, place)) => break (record, place),
                    Some(Waiting::Bad(bad, place)) => self.dead_letter(place, &bad),
                    None => return Err(self.unanswered()),
                }
            };
            match rejected.next_if(|(index, _)| *index == number) {
                Some((_, reason)) => {
                    let id = record.id;
                    self.dead_letter(place, &BadRecord { id, reason });
                }
                None => records.push(record),
            }
        }
        self.done.results += records.len() as u64;
        self.part.push(records, answers.rows)?;
        while let Some(Waiting::Bad(..)) = self.waiting.front() {
            let Some(Waiting::Bad(bad, place)) = self.waiting.pop_front() else {
                unreachable!("the front is bad");
            };
            self.dead_letter(place, &bad);
        }
        Ok(())
    }

    /// The failure of a session that answers more or fewer records than it took.
    fn unanswered(&self) -> Failure {
        Failure::new(
            FailureKind::Crashed,
            "the function did not answer every record exactly once",
        )
    }

    fn dead_letter(&mut self, place: Place, bad: &BadRecord) {
        let source = &self.function.job.sources[place.source as usize];
        let (line, file_row) = match source.format {
            Format::Parquet | Format::Arrow => (None, Some(place.place)),
            // Each file is a record, and the id names it.
            Format::TextFolder => (None, None),
            _ => (Some(place.place), None),
        };
        let letter = DeadLetter {
            id: &bad.id,
            row: place.row,
            file: &source.uri,
            line,
            file_row,
            reason: &bad.reason,
        };
        serde_json::to_writer(&mut self.done.dead_letters, &letter)
            .expect("writing to memory does not fail");
        self.done.dead_letters.push(b'\n');
        self.done.failed += 1;
    }

    fn finish(self) -> Result<Done, Failure> {
        let Self {
            session,
            part,
            mut done,
            read,
            ..
        } = self;
        done.part = part.finish()?;
        done.usage = session.take_usage();
        done.timings.read = milliseconds(read);
        for (name, took) in &done.usage.stages {
            done.timings.stages.add(name, milliseconds(*took));
        }
        Ok(done)
    }
}
