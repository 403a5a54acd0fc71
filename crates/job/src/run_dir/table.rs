//! The batch table: one line per batch.

use std::io::{BufRead, BufReader, BufWriter, Cursor, Write};

use super::{BATCHES, JOB, Put, Root, RunDir};
use crate::spec::{Batch, Job};
use crate::store::ObjectWriter;
use crate::{Error, Result};

/// Writes the batch table, which appears when the plan is saved.
pub struct TableWriter {
    out: BufWriter<ObjectWriter>,
    place: String,
}

impl TableWriter {
    /// Appends a batch.
    ///
    /// # Errors
    /// The store refuses it.
    pub fn push(&mut self, batch: &Batch) -> Result<()> {
        serde_json::to_writer(&mut self.out, batch)
            .map_err(std::io::Error::from)
            .and_then(|()| self.out.write_all(b"\n"))
            .map_err(|e| Error::storage("write", &self.place, e))
    }

    fn finish(self) -> Result<()> {
        let Self { out, place } = self;
        out.into_inner()
            .map_err(|e| e.into_error())
            .and_then(ObjectWriter::finish)
            .map_err(|e| Error::storage("write", place, e))
    }
}

/// An iterator over the batches of a plan, which are checked as they are read. At the end, their number and records must
/// match the job. Ends after an error.
pub struct Table<'a> {
    run: &'a RunDir,
    job: &'a Job,
    lines: Box<dyn BufRead + 'a>,
    line: String,
    read: u64,
    /// `None` on overflow.
    records: Option<u64>,
    is_over: bool,
}

impl Table<'_> {
    fn batch(&mut self) -> Result<Option<Batch>> {
        let number = self.read + 1;
        let damaged = |reason: String| {
            self.run
                .corrupt(format!("{BATCHES} line {number}: {reason}"))
        };
        self.line.clear();
        let length = self.lines.read_line(&mut self.line);
        if length.map_err(|e| damaged(e.to_string()))? == 0 {
            return self.check_sums().map(|()| None);
        }
        let batch: Batch = serde_json::from_str(&self.line).map_err(|e| damaged(e.to_string()))?;
        if batch.index != self.read {
            return Err(damaged(format!("contains batch {}", batch.index)));
        }
        if batch.offset != 0 || batch.until.is_some() {
            return Err(damaged("contains part of a batch".into()));
        }
        batch
            .check(self.job)
            .map_err(|reason| damaged(format!("contains a batch that {reason}")))?;
        self.records = self.records.and_then(|sum| sum.checked_add(batch.records));
        self.read += 1;
        Ok(Some(batch))
    }

    fn check_sums(&self) -> Result<()> {
        let Self {
            job, read, records, ..
        } = self;
        if *read == job.batches && *records == Some(job.records) {
            return Ok(());
        }
        Err(self.run.corrupt(format!(
            "{BATCHES} has {read} batches of {} records, {JOB} says {} of {}",
            records.map_or("too many".into(), |records| records.to_string()),
            job.batches,
            job.records
        )))
    }
}

impl Iterator for Table<'_> {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let next = self.batch().transpose();
        self.is_over = !matches!(next, Some(Ok(_)));
        next
    }
}

impl RunDir {
    /// A writer of the batch table, which [`save_plan`](Self::save_plan) completes.
    pub fn table_writer(&self) -> TableWriter {
        TableWriter {
            out: BufWriter::new(self.writer(BATCHES)),
            place: self.object_uri(BATCHES),
        }
    }

    /// The batch table, read line by line from a folder, and at once from a store (a few hundred bytes per batch).
    ///
    /// # Errors
    /// It cannot be read.
    pub fn table<'a>(&'a self, job: &'a Job) -> Result<Table<'a>> {
        let missing = || self.corrupt(format!("{BATCHES} is missing"));
        let lines: Box<dyn BufRead> = match &self.root {
            Root::Folder(root) => {
                let file = self.open_file(root, BATCHES)?;
                Box::new(BufReader::new(file.ok_or_else(missing)?))
            }
            Root::Url(_) => Box::new(Cursor::new(self.get(BATCHES)?.ok_or_else(missing)?)),
        };
        Ok(Table {
            run: self,
            job,
            lines,
            line: String::new(),
            read: 0,
            records: Some(0),
            is_over: false,
        })
    }

    /// All batches, which take a few hundred bytes of memory each.
    ///
    /// # Errors
    /// It cannot be read, or does not agree with the job.
    pub fn batches(&self, job: &Job) -> Result<Vec<Batch>> {
        self.table(job)?.collect()
    }

    /// Writes the plan: `job.json` last, so that a plan is complete or absent. Concurrent commands that plan the same job in a
    /// store write the same plan.
    ///
    /// # Errors
    /// The store refuses it, or another command has saved a different plan.
    pub fn save_plan(&self, job: &Job, table: TableWriter) -> Result<()> {
        table.finish()?;
        if self.put_new(JOB, job.file())? == Put::Existed && self.job()?.as_ref() != Some(job) {
            return Err(Error::Conflict {
                run: self.name(),
                reason: "another command planned a different job here at the same time; use another run directory for one of them"
                    .into(),
                parameters: Vec::new(),
            });
        }
        Ok(())
    }
}
