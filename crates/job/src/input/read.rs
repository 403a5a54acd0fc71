//! Reads the records of a batch one by one.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

use super::columnar::{ColumnarFormat, Metadata};
use super::kind::Kind;
use super::ranged::Ranged;
use super::row::{Contents, MAX_RECORD_BYTES};
use super::text::TextSlice;
use crate::part::Carried;
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

impl Sources {
    /// The records of `batch`, in order. Ends with an error if a source is missing or has changed since it was planned.
    pub fn rows<'a>(
        &'a self,
        job: &'a Job,
        run: &'a RunDir,
        batch: &'a Batch,
    ) -> impl Iterator<Item = Result<Row>> + 'a {
        // The batch may come from an untrusted caller.
        let checked = batch.check(job);
        let checked =
            checked.map_err(|reason| run.corrupt(format!("batch {} {reason}", batch.index)));
        let slices = match &checked {
            Ok(()) => batch.slices.as_slice(),
            Err(_) => &[],
        };
        let carried = Arc::new(Carried::new(job));
        let rows = slices.iter().flat_map(move |slice| {
            self.slice(job, run, slice, carried.clone())
                .unwrap_or_else(|e| Box::new(std::iter::once(Err(e))))
        });
        checked.err().map(Err).into_iter().chain(rows)
    }

    fn slice<'a>(
        &self,
        job: &'a Job,
        run: &RunDir,
        slice: &'a Slice,
        carried: Arc<Carried>,
    ) -> Result<Box<dyn Iterator<Item = Result<Row>> + 'a>> {
        let source = &job.sources[slice.source as usize];
        let mut contents = self.contents(job, run, slice, source)?;
        let mut read = 0;
        Ok(Box::new(std::iter::from_fn(move || {
            match contents.next() {
                Some(Ok((place, mut content))) if read < slice.records => {
                    let row = slice.row + read;
                    read += 1;
                    if job.columns.id.is_none() {
                        let number = Cell::Json(row.to_string());
                        match &mut content {
                            Ok(record) => record.id = number,
                            Err(bad) => bad.id = number,
                        }
                    }
                    Some(Ok(Row {
                        row,
                        source: slice.source,
                        place,
                        content: carried.fit(content),
                    }))
                }
                None if read == slice.records => None,
                Some(Err(error)) => Some(Err(error)),
                _ => Some(Err(Error::input(
                    &source.uri,
                    "its records differ from those of the plan; start a new run",
                ))),
            }
        })))
    }

    fn contents(
        &self,
        job: &Job,
        run: &RunDir,
        slice: &Slice,
        source: &Source,
    ) -> Result<Contents> {
        if slice.fault == Some(Fault::Oversized) {
            return Ok(oversized(slice.line, slice.end - slice.start));
        }
        let location = self.location(source, run)?;
        let range = slice.start..slice.end;
        let columns = job.columns.with_partitions(&source.partitions);
        match Kind::of(source.format) {
            Kind::Text(format) => {
                let slice = TextSlice {
                    uri: &source.uri,
                    bytes: location.open(Some(range))?,
                    header: source.header.as_deref().unwrap_or_default(),
                    dialect: source.dialect.unwrap_or_default(),
                    encoding: source.encoding,
                    line: slice.line,
                    fault: slice.fault,
                };
                format.rows(slice, &columns)
            }
            Kind::Columnar(format) => {
                let opened = self.open(format, &location)?;
                format.rows(&location, opened, &columns, range)
            }
        }
    }

    /// The location of the uncompressed source.
    fn location(&self, source: &Source, run: &RunDir) -> Result<Location> {
        let uri = match &source.staged {
            Some(staged) if !is_url(staged) => return run.staged(staged),
            staged => staged.as_ref().unwrap_or(&source.uri),
        };
        // Locked while the content is read, so that only one worker reads it.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = match known.entry(uri.clone()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(CheckedSource {
                location: Location::parse(uri)?,
                modified: source.identity.modified.clone(),
            }),
        };
        if source.staged.is_some() {
            // A shared copy is named by its digest and does not change.
            return Ok(known.location.clone());
        }
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

    /// The columnar file at `location`, which must be verified, and its metadata.
    fn open(
        &self,
        format: &ColumnarFormat,
        location: &Location,
    ) -> Result<(Ranged, Arc<dyn Metadata>)> {
        // Locked while the metadata are read, so that only one worker reads them.
        let mut cached = self.metadata.lock().unwrap_or_else(PoisonError::into_inner);
        let uri = location.uri();
        let (file, metadata) = match cached.iter().position(|(known, _)| *known == uri) {
            Some(place) => (Ranged::open(location)?, cached.remove(place).1),
            // The blocks with the footer may have the rows, too.
            None => format.open(location)?,
        };
        if cached.len() == CACHED_FILES {
            cached.remove(0);
        }
        cached.push((uri, metadata.clone()));
        Ok((file, metadata))
    }
}

/// The row of an oversized record, which is not read.
pub(super) fn oversized(line: u64, bytes: u64) -> Contents {
    let reason = format!(
        "the row has {bytes} bytes, more than the {} MiB that a row may have (in CSV: was a quote left open?)",
        MAX_RECORD_BYTES >> 20
    );
    Box::new(std::iter::once(Ok((
        line,
        Err(BadRecord::new(Cell::Null, reason)),
    ))))
}
