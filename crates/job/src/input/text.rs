//! What text formats share: their records are found by reading the bytes in order, and read in ranges of bytes.

use std::io::Read;

use super::found::Found;
use super::row::{Contents, MAX_LINE_BYTES};
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
    /// Whether it contains a complete record.
    pub(crate) has_record: bool,
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
        let fault = (end - start > MAX_LINE_BYTES).then_some(Fault::Oversized);
        Self {
            start,
            end,
            line,
            fault,
        }
    }
}

/// What the head of a source shows. The head is extended until it contains a record, if that is not too large.
pub(super) fn head_with_record(format: &dyn TextFormat, stream: &mut Stream) -> Result<Head> {
    let mut head = format.head(stream)?;
    while !head.has_record && stream.extend_head()? {
        head = format.head(stream)?;
    }
    Ok(head)
}

/// The head of a source, whose columns become those of the job, or are checked against them.
pub(crate) fn read_head(
    format: &dyn TextFormat,
    found: &Found,
    stream: &mut Stream,
    columns: &mut Resolver<'_>,
) -> Result<Head> {
    let mut head = head_with_record(format, stream)?;
    if head.schema.is_none() && stream.is_oversized() && columns.get().is_none() {
        // The columns are those of the records after it.
        let mut later = Stream::open(found, format.open(&found.location)?, None)?;
        while head.schema.is_none() {
            later.skip_line()?;
            head.schema = head_with_record(format, &mut later)?.schema;
            if !later.is_oversized() {
                break;
            }
        }
    }
    match &mut head.schema {
        Some(schema) => {
            schema.add_partitions(&found.partitions);
            columns.add(schema, &found.uri)?;
        }
        // Malformed rows become dead letters, which need the columns of another source.
        None if columns.get().is_none() && !stream.head().0.trim_ascii().is_empty() => {
            let reason = "no line in its first 65 MiB is a JSON object; if it is delimited text, set the input format to csv";
            return Err(Error::input(&found.uri, reason).adjustable("input-format"));
        }
        None => {}
    }
    Ok(head)
}
