//! A batch's records, read as the function needs them: one after the other.

use std::io::Read;

use super::{delimited, jsonl, parquet};
use crate::format::Format;
use crate::record::{BadRecord, Cell, Row};
use crate::spec::{Batch, Fault, Job, Slice, Source};
use crate::store::Location;
use crate::{Error, Result, RunDir};

/// The records of a batch, in order.
pub struct Rows<'a> {
    job: &'a Job,
    run: &'a RunDir,
    slices: std::slice::Iter<'a, Slice>,
    current: Option<Open<'a>>,
}

/// A slice that is being read.
struct Open<'a> {
    slice: &'a Slice,
    source: &'a Source,
    reader: Reader,
    read: u64,
}

enum Reader {
    Delimited(Box<delimited::Records>),
    Jsonl(jsonl::Records),
    TextFolder(jsonl::Records),
    Parquet(Box<parquet::Records>),
    Unreadable(Fault),
}

/// The records of `batch`. Each item is a row, or the error that ends the reading: the source is gone or is not what the
/// plan saw.
pub fn rows<'a>(job: &'a Job, run: &'a RunDir, batch: &'a Batch) -> Rows<'a> {
    Rows {
        job,
        run,
        slices: batch.slices.iter(),
        current: None,
    }
}

impl Iterator for Rows<'_> {
    type Item = Result<Row>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}

impl Rows<'_> {
    fn step(&mut self) -> Result<Option<Row>> {
        loop {
            if self.current.is_none() {
                let Some(slice) = self.slices.next() else {
                    return Ok(None);
                };
                self.current = Some(open(self.job, self.run, slice)?);
            }
            let open = self.current.as_mut().expect("just opened");
            match open.next()? {
                Some(mut row) => {
                    if self.job.columns.id.is_none() {
                        let number = Cell::Json(row.row.to_string());
                        match &mut row.content {
                            Ok(record) => record.id = number,
                            Err(bad) => bad.id = number,
                        }
                    }
                    return Ok(Some(row));
                }
                None => self.current = None,
            }
        }
    }
}

fn open<'a>(job: &'a Job, run: &RunDir, slice: &'a Slice) -> Result<Open<'a>> {
    let source = job
        .sources
        .get(slice.source as usize)
        .ok_or_else(|| Error::Corrupt {
            run: run.name(),
            reason: format!(
                "a batch reads source {}, the job has {}",
                slice.source,
                job.sources.len()
            ),
        })?;
    let reader = if let Some(fault) = slice.fault {
        Reader::Unreadable(fault)
    } else {
        match source.format {
            Format::Parquet => {
                let Location::Local(path) = location(source, run)? else {
                    unreachable!("Parquet of object stores is staged");
                };
                let rows = slice.start..slice.end;
                Reader::Parquet(Box::new(parquet::Records::new(&path, &job.columns, rows)?))
            }
            format @ (Format::Jsonl | Format::TextFolder) => {
                let bytes = bytes(source, run, slice)?;
                let records = jsonl::Records::new(bytes, &job.columns, slice.line);
                if format == Format::Jsonl {
                    Reader::Jsonl(records)
                } else {
                    Reader::TextFolder(records)
                }
            }
            Format::Csv | Format::Tsv => Reader::Delimited(Box::new(delimited::Records::new(
                bytes(source, run, slice)?,
                source.format.delimiter(),
                source.header.as_deref().unwrap_or_default(),
                &job.columns,
                slice.line,
            )?)),
        }
    };
    Ok(Open {
        slice,
        source,
        reader,
        read: 0,
    })
}

/// Where a source's plain bytes are.
fn location(source: &Source, run: &RunDir) -> Result<Location> {
    match &source.staged {
        Some(staged) => Ok(Location::Local(run.local_path(staged))),
        None => {
            let location = Location::parse(&source.uri)?;
            let now = location.meta()?;
            if now.bytes != source.identity.bytes {
                return Err(Error::input(
                    &source.uri,
                    format!(
                        "it changed while the run was under way (it had {} bytes, has {})",
                        source.identity.bytes, now.bytes
                    ),
                ));
            }
            Ok(location)
        }
    }
}

fn bytes(source: &Source, run: &RunDir, slice: &Slice) -> Result<Box<dyn Read + Send>> {
    location(source, run)?.open(Some(slice.start..slice.end))
}

impl Open<'_> {
    fn next(&mut self) -> Result<Option<Row>> {
        let failed = |e: std::io::Error| Error::storage("read", &self.source.uri, e);
        let found = match &mut self.reader {
            Reader::Unreadable(fault) => (self.read == 0).then(|| {
                let reason = fault_reason(*fault, self.slice);
                (
                    self.slice.line,
                    Err(BadRecord {
                        id: Cell::Null,
                        reason,
                    }),
                )
            }),
            Reader::Jsonl(records) => records.next().map_err(failed)?,
            Reader::TextFolder(records) => {
                let found = records.next().map_err(failed)?;
                // The one fault that a line of our own making can have; the file knows no line.
                let reason = "the text is not valid UTF-8".to_owned();
                found.map(|(place, record)| {
                    (place, record.map_err(|bad| BadRecord { reason, ..bad }))
                })
            }
            Reader::Parquet(records) => records.next()?,
            Reader::Delimited(records) => records.next().map_err(failed)?,
        };
        match found {
            Some((place, content)) if self.read < self.slice.records => {
                self.read += 1;
                let row = self.slice.row + self.read - 1;
                Ok(Some(Row {
                    row,
                    source: self.slice.source,
                    place,
                    content,
                }))
            }
            None if self.read == self.slice.records => Ok(None),
            _ => Err(Error::input(
                &self.source.uri,
                "it has other records than when the run was planned; start a new run",
            )),
        }
    }
}

fn fault_reason(fault: Fault, slice: &Slice) -> String {
    match fault {
        Fault::Oversized => format!(
            "the row has {} bytes, more than the {} MiB that a row may have (in CSV: was a quote left open?)",
            slice.end - slice.start,
            super::MAX_RECORD_BYTES >> 20
        ),
        Fault::OpenQuote => {
            "a quote opened in this row is never closed, so the rest of the file is part of it"
                .into()
        }
    }
}
