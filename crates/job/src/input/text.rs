//! What text formats share: their records are found by reading the bytes in order, and read in ranges of bytes.

use std::io::Read;

use super::found::Found;
use super::row::{Contents, MAX_LINE_BYTES};
use super::schema::{Resolver, Schema};
use super::stream::Stream;
use crate::dialect::{Dialect, Encoding};
use crate::format::Format;
use crate::spec::{Columns, Fault, Parameters};
use crate::{Error, Result};

/// A text format.
pub(crate) trait TextFormat: Sync {
    /// The decompressed text of a source, in UTF-8. `encoding` is what the user says about it.
    fn open(&self, found: &Found, encoding: Option<Encoding>) -> Result<Stream> {
        Stream::open(found, Box::new(found.location.open(None)?), encoding)
    }

    /// What the head of a source shows.
    fn head(&self, stream: &Stream, parameters: &Parameters) -> Result<Head>;

    /// Calls `visit` with the position of each record after the `head`. `typed` are columns whose types are to hold the
    /// values of this source too.
    fn scan(
        &self,
        stream: &mut Stream,
        head: &Head,
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
    /// The columns of a delimited format.
    pub(crate) header: Option<Vec<String>>,
    /// How a delimited format is written.
    pub(crate) dialect: Option<Dialect>,
    /// The number of bytes before the first record.
    pub(crate) bytes: usize,
    /// The line after these bytes, from 1.
    pub(crate) line: u64,
    /// Whether it contains a complete record.
    pub(crate) has_record: bool,
    /// What was detected about the source that users may not expect, as in "it is …".
    pub(crate) notes: Vec<String>,
}

impl Head {
    /// The head of a source without text.
    pub(crate) fn empty() -> Self {
        Self {
            notes: vec!["it is empty and is skipped".into()],
            ..Self::default()
        }
    }
}

/// Consecutive records of a source.
pub(crate) struct TextSlice<'a> {
    /// The name of the source in messages.
    pub(crate) uri: &'a str,
    pub(crate) bytes: Box<dyn Read + Send>,
    /// The columns of a delimited format.
    pub(crate) header: &'a [String],
    /// How a delimited format is written.
    pub(crate) dialect: Dialect,
    /// The encoding of the source; `None` for UTF-8.
    pub(crate) encoding: Option<Encoding>,
    /// The line of the first record, from 1.
    pub(crate) line: u64,
    /// What is wrong with its only record.
    pub(crate) fault: Option<Fault>,
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
pub(super) fn head_with_record(
    format: &dyn TextFormat,
    stream: &mut Stream,
    parameters: &Parameters,
) -> Result<Head> {
    let mut head = format.head(stream, parameters)?;
    while !head.has_record && stream.extend_head()? {
        head = format.head(stream, parameters)?;
    }
    Ok(head)
}

/// The head of a source, whose columns become those of the job, or are checked against them.
pub(crate) fn read_head(
    format: &dyn TextFormat,
    found: &Found,
    stream: &mut Stream,
    parameters: &Parameters,
    columns: &mut Resolver<'_>,
) -> Result<Head> {
    let mut head = head_with_record(format, stream, parameters)?;
    if let Some(encoding) = stream.encoding() {
        head.notes
            .push(format!("it is read as {}", encoding.name()));
    }
    if head.schema.is_none() && stream.is_oversized() && columns.get().is_none() {
        // The columns are those of the records after it.
        let mut later = format.open(found, parameters.encoding)?;
        while head.schema.is_none() {
            later.skip_line()?;
            head.schema = head_with_record(format, &mut later, parameters)?.schema;
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
            let bytes = stream.head().0;
            let (reason, setting) = match stream.encoding() {
                None if str::from_utf8(bytes).is_err_and(|e| e.error_len().is_some()) => (
                    "no line in its first 65 MiB is a JSON object in UTF-8; set the encoding, for example to windows-1252",
                    "encoding",
                ),
                None if bytes.contains(&0) => (
                    "no line in its first 65 MiB is a JSON object; if it is encoded in UTF-16 without a byte-order mark, set \
                     the encoding to utf-16le or utf-16be",
                    "encoding",
                ),
                _ => (
                    "no line in its first 65 MiB is a JSON object; if it is delimited text, set the input format to csv",
                    "input-format",
                ),
            };
            return Err(Error::input(&found.uri, reason).adjustable(setting));
        }
        None => {}
    }
    Ok(head)
}

/// A note about records of which most that are not ASCII are not UTF-8.
pub(crate) fn encoding_note<'a>(records: impl Iterator<Item = &'a [u8]>) -> Option<String> {
    let (mut foreign, mut invalid) = (0, 0);
    for record in records.filter(|record| !record.is_ascii()) {
        foreign += 1;
        // The end of the head may cut a character.
        invalid += u32::from(str::from_utf8(record).is_err_and(|e| e.error_len().is_some()));
    }
    (invalid > 0 && 2 * invalid >= foreign).then(|| {
        "many of its rows are not valid UTF-8; it may be Windows-1252: set the encoding to windows-1252, or to the one in which \
         it was written"
            .to_owned()
    })
}

/// Fails if parameters of text apply to none of `found`, or contradict each other.
pub(crate) fn check_options(found: &[Found], parameters: &Parameters) -> Result<()> {
    let has = |is_meant: fn(Format) -> bool| found.iter().any(|found| is_meant(found.format));
    let has_delimited = has(|format| matches!(format, Format::Csv | Format::Tsv));
    let wrong = |what: &str, formats: &str| {
        Err(Error::Parameter(format!(
            "failed to read the input: {what} applies to {formats} only, and no input is that; leave it out, or set the input \
             format"
        )))
    };
    if !parameters.dialect.is_default() && !has_delimited {
        return wrong(
            "a delimiter, quote, escape character or missing header row",
            "CSV and TSV",
        );
    }
    if parameters.encoding.is_some() && !has(|format| !format.is_columnar()) {
        return wrong("an encoding", "text");
    }
    Ok(())
}
