//! Reads the records of a batch one by one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::columnar::{ColumnarFormat, Metadata};
use super::kind::Kind;
use super::row::{Contents, MAX_RECORD_BYTES};
use super::text::TextSlice;
use crate::record::{BadRecord, Cell, Row};
use crate::spec::{Batch, Fault, Job, Slice, Source};
use crate::store::{Location, is_url};
use crate::{Error, Result, RunDir};

/// The sources of a job. Caches connections, and which sources were verified against the plan.
#[derive(Debug, Default)]
pub struct Sources {
    known: Mutex<HashMap<String, CheckedSource>>,
    /// The cached metadata of columnar files, the most recent last.
    metadata: Mutex<Vec<(String, Arc<dyn Metadata>)>>,
}

/// Number of columnar files whose metadata are cached, which may contain dictionaries.
const CACHED_FILES: usize = 4;

#[derive(Debug)]
struct CheckedSource {
    location: Location,
    /// Modification time of the verified content.
    modified: Option<String>,
}

/// The records of a batch, in order.
pub struct Rows<'a> {
    sources: &'a Sources,
    job: &'a Job,
    run: &'a RunDir,
    batch: &'a Batch,
    slices: std::slice::Iter<'a, Slice>,
    is_checked: bool,
    current: Option<Open<'a>>,
}

/// A slice that is being read.
struct Open<'a> {
    slice: &'a Slice,
    uri: &'a str,
    contents: Contents,
    read: u64,
}

impl Sources {
    /// The records of `batch`. Ends with an error if a source is missing or has changed since it was planned.
    pub fn rows<'a>(&'a self, job: &'a Job, run: &'a RunDir, batch: &'a Batch) -> Rows<'a> {
        Rows {
            sources: self,
            job,
            run,
            batch,
            slices: batch.slices.iter(),
            is_checked: false,
            current: None,
        }
    }

    /// The location of the uncompressed source.
    fn location(&self, source: &Source, run: &RunDir) -> Result<Location> {
        if let Some(staged) = &source.staged {
            if !is_url(staged) {
                return run.staged(staged);
            }
            // A shared copy is named by its digest and does not change.
            let mut known = self.known.lock().unwrap_or_else(|e| e.into_inner());
            if let Some(known) = known.get(staged) {
                return Ok(known.location.clone());
            }
            let location = Location::parse(staged)?;
            let copy = CheckedSource {
                location: location.clone(),
                modified: None,
            };
            known.insert(staged.clone(), copy);
            return Ok(location);
        }
        // Locked while the content is read, so that only one worker reads it.
        let mut known = self.known.lock().unwrap_or_else(|e| e.into_inner());
        if !known.contains_key(&source.uri) {
            let location = Location::parse(&source.uri)?;
            let modified = source.identity.modified.clone();
            known.insert(source.uri.clone(), CheckedSource { location, modified });
        }
        let known = known.get_mut(&source.uri).expect("just put there");
        let now = known.location.meta()?;
        if now.bytes != source.identity.bytes || now.modified != known.modified {
            if let Some(change) = source.identity.change(&known.location)? {
                return Err(Error::input(
                    &source.uri,
                    format!("it changed during the run: {change}"),
                ));
            }
            known.modified = now.modified;
        }
        Ok(known.location.clone())
    }

    /// The metadata of the columnar file at `location`, which must be verified.
    fn metadata(&self, format: &ColumnarFormat, location: &Location) -> Result<Arc<dyn Metadata>> {
        // Locked while they are read, so that only one worker reads them.
        let mut cached = self.metadata.lock().unwrap_or_else(PoisonError::into_inner);
        let uri = location.uri();
        let found = match cached.iter().position(|(known, _)| *known == uri) {
            Some(place) => cached.remove(place),
            None => (uri, format.open(location)?),
        };
        if cached.len() == CACHED_FILES {
            cached.remove(0);
        }
        let metadata = found.1.clone();
        cached.push(found);
        Ok(metadata)
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
        if !self.is_checked {
            // The batch may come from an untrusted caller.
            self.batch
                .check(self.job)
                .map_err(|reason| Error::Corrupt {
                    run: self.run.name(),
                    reason: format!("batch {} {reason}", self.batch.index),
                })?;
            self.is_checked = true;
        }
        loop {
            if self.current.is_none() {
                let Some(slice) = self.slices.next() else {
                    return Ok(None);
                };
                self.current = Some(open(self.sources, self.job, self.run, slice)?);
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

fn open<'a>(sources: &Sources, job: &'a Job, run: &RunDir, slice: &'a Slice) -> Result<Open<'a>> {
    let source = &job.sources[slice.source as usize];
    let contents: Contents = if let Some(fault) = slice.fault {
        let bad = BadRecord {
            id: Cell::Null,
            reason: fault_reason(fault, slice),
        };
        Box::new(std::iter::once(Ok((slice.line, Err(bad)))))
    } else {
        let location = sources.location(source, run)?;
        let range = slice.start..slice.end;
        match Kind::of(source.format) {
            Kind::Text(format) => {
                let slice = TextSlice {
                    uri: &source.uri,
                    bytes: location.open(Some(range))?,
                    header: source.header.as_deref().unwrap_or_default(),
                    line: slice.line,
                };
                format.rows(slice, &job.columns)?
            }
            Kind::Columnar(format) => {
                let metadata = sources.metadata(format, &location)?;
                format.rows(&location, metadata, &job.columns, range)?
            }
        }
    };
    Ok(Open {
        slice,
        uri: &source.uri,
        contents,
        read: 0,
    })
}

impl Open<'_> {
    fn next(&mut self) -> Result<Option<Row>> {
        match self.contents.next().transpose()? {
            Some((place, content)) if self.read < self.slice.records => {
                self.read += 1;
                Ok(Some(Row {
                    row: self.slice.row + self.read - 1,
                    source: self.slice.source,
                    place,
                    content,
                }))
            }
            None if self.read == self.slice.records => Ok(None),
            _ => Err(Error::input(
                self.uri,
                "its records differ from those of the plan; start a new run",
            )),
        }
    }
}

fn fault_reason(fault: Fault, slice: &Slice) -> String {
    match fault {
        Fault::Oversized => format!(
            "the row has {} bytes, more than the {} MiB that a row may have (in CSV: was a quote left open?)",
            slice.end - slice.start,
            MAX_RECORD_BYTES >> 20
        ),
        Fault::OpenQuote => {
            "a quote opened in this row is never closed, so the rest of the file is part of it"
                .into()
        }
    }
}
