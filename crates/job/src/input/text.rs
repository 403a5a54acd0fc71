//! What text formats share: their records are found by reading the bytes in order, and read in ranges of bytes.

use std::io::Read;

use super::found::Found;
use super::row::{Contents, MAX_RECORD_BYTES};
use super::schema::{Resolver, Schema};
use super::stream::Stream;
use crate::spec::{Columns, Fault};
use crate::store::Location;
use crate::{Error, Result};

/// A text format.
pub(crate) trait TextFormat: Sync {
    /// The bytes of a source, before they are decompressed.
    fn open(&self, location: &Location) -> Result<Box<dyn Read>> {
        Ok(location.open(None)?)
    }

    /// What the head of a source shows.
    fn head(&self, stream: &Stream) -> Result<Head>;

    /// Calls `visit` with the position of each record. `typed` are columns whose types are to hold the values of this source
    /// too.
    fn scan(
        &self,
        stream: &mut Stream,
        typed: Option<&mut Columns>,
        visit: &mut dyn FnMut(Span) -> Result<()>,
    ) -> Result<()>;

    /// Reads the rows of a slice.
    fn rows(&self, slice: TextSlice<'_>, columns: &Columns) -> Result<Contents>;
}

/// What the head of a source shows.
#[derive(Debug, Default)]
pub(crate) struct Head {
    /// The columns; `None` if there is no readable record.
    pub(crate) schema: Option<Schema>,
    /// The header of a delimited format.
    pub(crate) header: Option<Vec<String>>,
    /// The number of bytes before the first record.
    pub(crate) bytes: usize,
}

/// Consecutive records of a source.
pub(crate) struct TextSlice<'a> {
    /// The name of the source in messages.
    pub(crate) uri: &'a str,
    pub(crate) bytes: Box<dyn Read + Send>,
    /// The header of a delimited format.
    pub(crate) header: &'a [String],
    /// The line of the first record, from 1.
    pub(crate) line: u64,
}

/// The position of a record in its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// Its first line, from 1.
    pub(crate) line: u64,
    pub(crate) fault: Option<Fault>,
}

impl Span {
    pub(super) fn new(start: u64, end: u64, line: u64) -> Self {
        let fault = (end - start > MAX_RECORD_BYTES).then_some(Fault::Oversized);
        Self {
            start,
            end,
            line,
            fault,
        }
    }
}

/// The head of a source, whose columns become those of the job, or are checked against them.
pub(crate) fn read_head(
    format: &dyn TextFormat,
    found: &Found,
    stream: &Stream,
    columns: &mut Resolver<'_>,
) -> Result<Head> {
    let mut head = format.head(stream)?;
    match &mut head.schema {
        Some(schema) => {
            schema.add_partitions(&found.partitions);
            columns.add(schema, &found.uri)?;
        }
        // Malformed rows become dead letters, which need the columns of another source.
        None if columns.get().is_none() && !stream.head().0.trim_ascii().is_empty() => {
            return Err(Error::input(
                &found.uri,
                "no line in its first MiB is a JSON object; check that its format is JSON Lines",
            ));
        }
        None => {}
    }
    Ok(head)
}
