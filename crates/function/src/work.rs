//! The work on one batch, in memory: read, tokenize, model, decide.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use shoal_encoder::{MICRO_BATCH_TOKENS, Session, Tokens};
use shoal_job::format::Format;
use shoal_job::part::{Labelled, PartWriter};
use shoal_job::record::DeadLetter;
use shoal_job::wire::{Failure, FailureKind, Invocation, Timings};
use shoal_job::{BadRecord, Record, Row};

use crate::{CallLimits, Clock, Function, milliseconds};

/// A batch's output before it is stored.
pub(crate) struct Done {
    pub(crate) part: Vec<u8>,
    pub(crate) results: u64,
    pub(crate) dead_letters: Vec<u8>,
    pub(crate) failed: u64,
    pub(crate) quarantined: u64,
    pub(crate) truncated: u64,
    pub(crate) tokens: u64,
    pub(crate) timings: Timings,
    pub(crate) confusion: BTreeMap<String, BTreeMap<String, u64>>,
}

/// Time that writing and answering may take, on top of that of the micro-batch under way.
const TIME_TO_WRITE: Duration = Duration::from_millis(1500);

/// Works off what `invocation` asks for, or as much of it as there is time for. Memory holds one micro-batch of texts and
/// the batch's results.
pub(crate) fn work(
    function: &Function,
    session: &mut Session,
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
            "failed to work on batch {}: there is nothing to do from record {} to {end} of its {}",
            batch.index, batch.offset, batch.records
        );
        return Err(Failure::new(FailureKind::Input, reason));
    }
    let mut state = State {
        function,
        session,
        clock,
        part: PartWriter::new(&function.job),
        records: Vec::new(),
        tokens: Vec::new(),
        waiting_tokens: 0,
        scores: Vec::new(),
        done: Done {
            part: Vec::new(),
            results: 0,
            dead_letters: Vec::new(),
            failed: 0,
            quarantined: 0,
            truncated: 0,
            tokens: 0,
            timings: Timings::default(),
            confusion: BTreeMap::new(),
        },
        read: Duration::ZERO,
        tokenize: Duration::ZERO,
        model: Duration::ZERO,
        longest_flush: Duration::ZERO,
    };
    let mut rows = function.sources.rows(&function.job, &function.run, batch);
    let mut done_before = batch.offset;
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
        if done_before > 0 && row.is_some() {
            // Reading is so quick that a place within a batch is found by reading up to it.
            done_before -= 1;
            continue;
        }
        let Some(Row {
            row,
            source,
            place,
            content,
        }) = row
        else {
            break;
        };
        left -= 1;
        match (content, quarantine) {
            (Ok(record), None) => state.take(record)?,
            (Ok(Record { id, .. }), Some(reason)) => {
                let reason = reason.clone();
                state.quarantine(row, source, place, &BadRecord { id, reason });
                state.done.quarantined += 1;
            }
            (Err(bad), _) => state.quarantine(row, source, place, &bad),
        }
    }
    state.flush();
    if state.done.results + state.done.failed == 0 {
        let reason = "failed to finish a single record before the deadline; allow more time, or use smaller batches";
        return Err(Failure::new(FailureKind::TimedOut, reason));
    }
    state.finish()
}

struct State<'a> {
    function: &'a Function,
    session: &'a mut Session,
    clock: &'a Clock,
    part: PartWriter,
    /// The micro-batch that is being gathered: records and their tokens.
    records: Vec<Record>,
    tokens: Vec<Tokens>,
    waiting_tokens: usize,
    scores: Vec<f32>,
    done: Done,
    read: Duration,
    tokenize: Duration,
    model: Duration,
    longest_flush: Duration,
}

impl State<'_> {
    /// Whether the time until `end` is needed to finish what is begun.
    fn is_late(&self, now: Instant, end: Instant) -> bool {
        // A micro-batch may be slower than all before it, on a machine that others use too.
        let needed = 2 * self.longest_flush + TIME_TO_WRITE;
        end.saturating_duration_since(now) < needed
    }

    fn take(&mut self, mut record: Record) -> Result<(), Failure> {
        let started = self.clock.now();
        let max_tokens = self.function.job.model.max_tokens;
        let tokens = self
            .function
            .model
            .encode(&record.text, max_tokens)
            .map_err(|e| Failure {
                kind: FailureKind::Model,
                reason: e.to_string(),
            })?;
        // The text has done its duty; what waits for the model are tokens.
        record.text = String::new();
        self.tokenize += self.clock.now() - started;
        self.done.truncated += u64::from(tokens.truncated);
        self.done.tokens += tokens.ids.len() as u64;
        if self.waiting_tokens + tokens.ids.len() > MICRO_BATCH_TOKENS {
            self.flush();
        }
        self.waiting_tokens += tokens.ids.len();
        self.records.push(record);
        self.tokens.push(tokens);
        Ok(())
    }

    /// Runs the gathered micro-batch through the model.
    fn flush(&mut self) {
        if self.records.is_empty() {
            return;
        }
        let started = self.clock.now();
        let decision = &self.function.decision;
        let logits = self.session.logits(&self.tokens);
        let labels = logits.len() / self.records.len();
        for (record, logits) in self.records.iter().zip(logits.chunks_exact(labels)) {
            let (label, score) = decision.decide(logits, &mut self.scores);
            self.part.push(Labelled {
                id: &record.id,
                label: &label,
                score,
                scores: &self.scores,
                kept: &record.kept,
            });
            if let Some(gold) = decision.gold(&record.gold) {
                *self
                    .done
                    .confusion
                    .entry(gold)
                    .or_default()
                    .entry(label)
                    .or_default() += 1;
            }
        }
        self.done.results += self.records.len() as u64;
        self.records.clear();
        self.tokens.clear();
        self.waiting_tokens = 0;
        let took = self.clock.now() - started;
        self.longest_flush = self.longest_flush.max(took);
        self.model += took;
    }

    fn quarantine(&mut self, row: u64, source: u32, place: u64, bad: &BadRecord) {
        let source = &self.function.job.sources[source as usize];
        let (line, file_row) = match source.format {
            Format::Parquet => (None, Some(place)),
            // Each file is a record, and the id names it.
            Format::TextFolder => (None, None),
            Format::Csv | Format::Tsv | Format::Jsonl => (Some(place), None),
        };
        let letter = DeadLetter {
            id: &bad.id,
            row,
            file: &source.uri,
            line,
            file_row,
            reason: &bad.reason,
        };
        serde_json::to_writer(&mut self.done.dead_letters, &letter)
            .expect("memory takes every row");
        self.done.dead_letters.push(b'\n');
        self.done.failed += 1;
    }

    fn finish(self) -> Result<Done, Failure> {
        let Self {
            part,
            mut done,
            read,
            tokenize,
            model,
            ..
        } = self;
        done.part = part.finish()?;
        done.timings.read = milliseconds(read);
        done.timings.tokenize = milliseconds(tokenize);
        done.timings.model = milliseconds(model);
        Ok(done)
    }
}
