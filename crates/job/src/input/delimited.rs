//! CSV and TSV, with quoted newlines, byte-order marks, CRLF and blank lines.

use std::collections::HashSet;
use std::io::{self, BufRead, BufReader, Read};

use csv_core::ReadRecordResult;

use super::schema::{Sample, Schema};
use super::span::Span;
use super::{MAX_RECORD_BYTES, Stream, TOO_LONG};
use crate::record::{BadRecord, Cell, Record};
use crate::spec::{Columns, Fault};
use crate::{Error, Result, Role};

/// The header, and the columns inferred from the first rows.
pub(crate) fn head(stream: &Stream, delimiter: u8, place: &str) -> Result<(Vec<String>, Schema)> {
    let (bytes, whole) = stream.head();
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter)
        .from_reader(bytes);
    let mut record = csv::ByteRecord::new();
    let mut read = |record: &mut csv::ByteRecord| {
        reader
            .read_byte_record(record)
            .map(|more| more.then(|| reader.position().byte()))
            .map_err(|e| Error::input(place, e.to_string()))
    };
    let Some(end) = read(&mut record)? else {
        return Err(Error::input(
            place,
            "it is empty; the first line must name the columns",
        ));
    };
    if !whole && end == bytes.len() as u64 {
        return Err(Error::input(
            place,
            "its first line is longer than 1 MiB; it must name the columns",
        ));
    }
    let header = record
        .iter()
        .map(|name| String::from_utf8(name.to_vec()))
        .collect::<std::result::Result<Vec<_>, _>>()
        .map_err(|_| Error::input(place, "line 1: the column names are not valid UTF-8"))?;
    let mut seen = HashSet::with_capacity(header.len());
    for name in header.iter().filter(|name| !name.is_empty()) {
        if !seen.insert(name) {
            return Err(Error::input(
                place,
                format!("line 1: two columns are called {name:?}"),
            ));
        }
    }
    let mut sample = Sample::with_columns(&header);
    while let Some(end) = read(&mut record)? {
        if !whole && end == bytes.len() as u64 {
            break; // the head may end within this record
        }
        for (name, value) in header.iter().zip(&record) {
            sample.see(name, &guess(value));
        }
    }
    Ok((header, sample.schema(true)))
}

/// Guesses the type of an untyped field.
fn guess(field: &[u8]) -> Cell {
    match std::str::from_utf8(field) {
        Ok("") => Cell::Null,
        Ok(text) if text.trim().parse::<f64>().is_ok() => Cell::Json(text.into()),
        Ok(text) if matches!(text.to_ascii_lowercase().as_str(), "true" | "false") => {
            Cell::Json(text.into())
        }
        Ok(text) => Cell::Text(text.into()),
        Err(_) => Cell::Text(String::new()),
    }
}

/// Scans the records after the header. Calls `visit` with the position of each, up to the first byte of the next.
pub(crate) fn scan(
    stream: &mut Stream,
    delimiter: u8,
    mut visit: impl FnMut(Span) -> Result<()>,
) -> Result<()> {
    let mut core = csv_core::ReaderBuilder::new().delimiter(delimiter).build();
    // The fields are ignored, so the parser may overwrite them.
    let (mut output, mut ends) = ([0; 4096], [0; 256]);
    let mut is_header = true;
    let mut open_quote = false;
    skip_breaks(stream, &mut core)?;
    let (mut start, mut line) = (stream.position(), core.line());
    loop {
        let at_end = stream.fill()?.is_empty();
        if at_end && stream.position() > start {
            // A delimiter ends a field unless a quote is open. It is harmless at the end of a complete record.
            let (_, _, _, ended) = core.read_record(&[delimiter], &mut output, &mut ends);
            open_quote = ended == 0;
        }
        let (result, read, _, _) = core.read_record(stream.fill()?, &mut output, &mut ends);
        stream.consume(read);
        match result {
            ReadRecordResult::InputEmpty if !at_end => {}
            ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {}
            ReadRecordResult::Record => {
                let mut span = Span::new(start, stream.position(), line);
                skip_breaks(stream, &mut core)?;
                (start, line) = (stream.position(), core.line());
                if !is_header {
                    span.end = start;
                    if open_quote {
                        span.fault.get_or_insert(Fault::OpenQuote);
                    }
                    visit(span)?;
                }
                is_header = false;
            }
            ReadRecordResult::InputEmpty | ReadRecordResult::End => return Ok(()),
        }
    }
}

/// Consumes the rest of a line break, and blank lines. The parser would count them as part of the next record, whose line
/// number would be wrong.
fn skip_breaks(stream: &mut Stream, core: &mut csv_core::Reader) -> Result<()> {
    loop {
        let input = stream.fill()?;
        let (breaks, rest) = count_breaks(input, core);
        stream.consume(breaks);
        if rest || breaks == 0 {
            return Ok(());
        }
    }
}

/// The number of line-break bytes at the start of `input`, and whether other bytes follow. Updates the line of `core`.
fn count_breaks(input: &[u8], core: &mut csv_core::Reader) -> (usize, bool) {
    let breaks = input
        .iter()
        .take_while(|byte| matches!(byte, b'\r' | b'\n'))
        .count();
    let lines = memchr::memchr_iter(b'\n', &input[..breaks]).count() as u64;
    core.set_line(core.line() + lines);
    (breaks, breaks < input.len())
}

/// Reads the records of a slice.
pub(crate) struct Records {
    reader: BufReader<Box<dyn Read + Send>>,
    core: csv_core::Reader,
    /// The concatenated fields of the current record, and the end of each, for one field more than the header has.
    fields: Vec<u8>,
    ends: Vec<usize>,
    /// Number of fields of the current record.
    len: usize,
    columns: usize,
    id: Option<usize>,
    /// Role and index of each input column.
    inputs: Vec<(Role, Option<usize>)>,
    kept: Vec<usize>,
}

impl Records {
    /// A reader of a slice that starts at `line`.
    pub(crate) fn new(
        reader: Box<dyn Read + Send>,
        delimiter: u8,
        header: &[String],
        columns: &Columns,
        line: u64,
    ) -> Result<Self> {
        let find = |name: &str| {
            header
                .iter()
                .position(|column| column == name)
                .ok_or_else(|| {
                    Error::Parameter(format!("the header in the plan has no column {name:?}"))
                })
        };
        let (mut fields, mut ends) = (vec![0; 1024], vec![0; header.len() + 1]);
        let mut core = csv_core::ReaderBuilder::new().delimiter(delimiter).build();
        // The line break keeps the parser from skipping a byte-order mark at the start of a record, because a record must not
        // depend on where the slice starts.
        core.read_record(b"\n", &mut fields, &mut ends);
        core.set_line(line);
        Ok(Self {
            reader: BufReader::with_capacity(64 << 10, reader),
            core,
            fields,
            ends,
            len: 0,
            columns: header.len(),
            id: columns.id.as_ref().map(|id| find(&id.source)).transpose()?,
            inputs: columns
                .inputs
                .iter()
                .map(|input| {
                    let place = input.source.as_deref().map(find).transpose()?;
                    Ok((input.role.clone(), place))
                })
                .collect::<Result<_>>()?,
            kept: columns
                .kept
                .iter()
                .map(|kept| find(&kept.source))
                .collect::<Result<_>>()?,
        })
    }

    /// The next record with its line, or `None` at the end.
    pub(crate) fn next(
        &mut self,
    ) -> io::Result<Option<(u64, std::result::Result<Record, BadRecord>)>> {
        loop {
            let (breaks, rest) = count_breaks(self.reader.fill_buf()?, &mut self.core);
            self.reader.consume(breaks);
            if rest || breaks == 0 {
                break;
            }
        }
        let line = self.core.line();
        let mut written = 0;
        let mut beyond = [0; 64];
        self.len = 0;
        loop {
            // The ends of surplus fields, possibly millions, are not kept.
            let ends = match self.ends.get_mut(self.len..) {
                Some(ends) if !ends.is_empty() => ends,
                _ => &mut beyond,
            };
            let (result, read, bytes, fields) =
                self.core
                    .read_record(self.reader.fill_buf()?, &mut self.fields[written..], ends);
            self.reader.consume(read);
            written += bytes;
            self.len += fields;
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull if written as u64 > MAX_RECORD_BYTES => {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, TOO_LONG));
                }
                ReadRecordResult::OutputFull => self.fields.resize(2 * self.fields.len(), 0),
                ReadRecordResult::OutputEndsFull => {}
                ReadRecordResult::Record => return Ok(Some((line, self.parse()))),
                ReadRecordResult::End => return Ok(None),
            }
        }
    }

    /// A field of the current record, if it exists.
    fn field(&self, index: usize) -> Option<&[u8]> {
        let start = match index {
            0 => 0,
            _ => self.ends[index - 1],
        };
        (index < self.len).then(|| &self.fields[start..self.ends[index]])
    }

    fn parse(&self) -> std::result::Result<Record, BadRecord> {
        let id = self.id.map_or(Cell::Null, |index| {
            self.field(index).map_or(Cell::Null, |field| match field {
                b"" => Cell::Null,
                field => Cell::Text(String::from_utf8_lossy(field).into_owned()),
            })
        });
        let bad = |reason: String| BadRecord {
            id: id.clone(),
            reason,
        };
        if self.len != self.columns {
            return Err(bad(format!(
                "the row has {} columns, the header has {}",
                self.len, self.columns
            )));
        }
        let field = |index: usize, what: &str| match std::str::from_utf8(
            self.field(index).unwrap_or_default(),
        ) {
            Ok("") => Ok(Cell::Null),
            Ok(text) => Ok(Cell::Text(text.to_owned())),
            Err(e) => Err(bad(format!(
                "{what} is not valid UTF-8 (byte {})",
                e.valid_up_to()
            ))),
        };
        let input = |(role, index): &(Role, Option<usize>)| match *index {
            None => Ok(Cell::Null),
            Some(index) => match field(index, &format!("the {}", role.name))? {
                Cell::Null if role.is_text => Err(bad(format!("the {} is empty", role.name))),
                cell => Ok(cell),
            },
        };
        Ok(Record {
            inputs: self
                .inputs
                .iter()
                .map(input)
                .collect::<std::result::Result<_, _>>()?,
            kept: self
                .kept
                .iter()
                .map(|index| field(*index, "a kept column"))
                .collect::<std::result::Result<_, _>>()?,
            id: match self.id {
                None => Cell::Null,
                Some(index) => field(index, "the id")?,
            },
        })
    }
}
