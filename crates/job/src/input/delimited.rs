//! CSV and TSV, with quoted newlines, byte-order marks, CRLF and blank lines.

use std::collections::HashSet;
use std::io::{self, BufRead, BufReader, Read};

use arrow_schema::DataType;
use csv_core::ReadRecordResult;

use super::row::{Content, Contents, MAX_RECORD_BYTES, TOO_LONG, content, contents, text};
use super::schema::{Schema, Seen};
use super::stream::Stream;
use super::text::{Head, Span, TextFormat, TextSlice};
use crate::record::{BadRecord, Cell};
use crate::spec::{Columns, Fault};
use crate::{Error, Result};

/// Values separated by a byte, with a header.
pub(super) struct Delimited {
    pub(super) delimiter: u8,
}

impl Delimited {
    fn parser(&self) -> csv_core::Reader {
        csv_core::ReaderBuilder::new()
            .delimiter(self.delimiter)
            .build()
    }
}

impl TextFormat for Delimited {
    fn head(&self, stream: &Stream) -> Result<Head> {
        let ((bytes, is_whole), place) = (stream.head(), stream.uri());
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(self.delimiter)
            .from_reader(bytes);
        let mut record = csv::ByteRecord::new();
        let mut read = |record: &mut csv::ByteRecord| {
            reader
                .read_byte_record(record)
                .map(|more| more.then(|| reader.position().byte()))
                .map_err(|e| Error::input(place, e.to_string()))
        };
        let wrong = |reason: &str| Error::input(place, reason);
        let first = read(&mut record)?
            .ok_or_else(|| wrong("it is empty; the first line must name the columns"))?;
        if !is_whole && first == bytes.len() as u64 {
            if first <= MAX_RECORD_BYTES {
                return Ok(Head::default());
            }
            return Err(wrong(
                "its first line is longer than 64 MiB; it must name the columns",
            ));
        }
        let header = record
            .iter()
            .map(|name| String::from_utf8(name.to_vec()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| wrong("line 1: the column names are not valid UTF-8"))?;
        let mut names = HashSet::with_capacity(header.len());
        for name in header.iter().filter(|name| !name.is_empty()) {
            if !names.insert(name) {
                return Err(wrong(&format!("line 1: two columns are called {name:?}")));
            }
        }
        let mut seen = vec![Seen::default(); header.len()];
        let mut has_record = false;
        while let Some(end) = read(&mut record)? {
            if !is_whole && end == bytes.len() as u64 {
                break; // the head may end within this record
            }
            has_record = true;
            for (seen, value) in seen.iter_mut().zip(&record) {
                seen.see(&guess(value));
            }
        }
        // A string may look like a number.
        let is_text = seen.iter().map(|seen| seen.texts || !seen.others);
        let columns = header.iter().cloned().zip(is_text);
        Ok(Head {
            schema: Some(Schema::untyped(columns, &DataType::Utf8)),
            header: Some(header),
            bytes: first as usize,
            has_record,
        })
    }

    /// The position of a record ends at the first byte of the next.
    fn scan(
        &self,
        stream: &mut Stream,
        _typed: Option<&mut Columns>,
        visit: &mut dyn FnMut(Span) -> Result<()>,
    ) -> Result<()> {
        let mut parser = self.parser();
        // The fields are ignored, so the parser may overwrite them.
        let (mut output, mut ends) = ([0; 4096], [0; 256]);
        let mut is_header = true;
        let mut open_quote = false;
        skip_breaks(stream, &mut parser)?;
        let (mut start, mut line) = (stream.position(), parser.line());
        loop {
            let at_end = stream.fill()?.is_empty();
            if at_end && stream.position() > start {
                // A delimiter ends a field unless a quote is open. It is harmless at the end of a complete record.
                let (_, _, _, ended) =
                    parser.read_record(&[self.delimiter], &mut output, &mut ends);
                open_quote = ended == 0;
            }
            let (result, read, _, _) = parser.read_record(stream.fill()?, &mut output, &mut ends);
            stream.consume(read);
            match result {
                ReadRecordResult::InputEmpty if !at_end => {}
                ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {}
                ReadRecordResult::Record => {
                    let mut span = Span::new(start, stream.position(), line);
                    skip_breaks(stream, &mut parser)?;
                    (start, line) = (stream.position(), parser.line());
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

    fn rows(&self, slice: TextSlice<'_>, columns: &Columns) -> Result<Contents> {
        let header = slice.header;
        let find = |name: &str| {
            let place = header.iter().position(|column| column == name);
            place.ok_or_else(|| {
                Error::Parameter(format!("the header in the plan has no column {name:?}"))
            })
        };
        let places = columns.sources().map(|name| name.map(find).transpose());
        let places = places.collect::<Result<_>>()?;
        let (mut fields, mut ends) = (vec![0; 1024], vec![0; header.len() + 1]);
        let mut parser = self.parser();
        // The line break keeps the parser from skipping a byte-order mark at the start of a record, because a record must not
        // depend on where the slice starts.
        parser.read_record(b"\n", &mut fields, &mut ends);
        parser.set_line(slice.line);
        let mut rows = Rows {
            reader: BufReader::with_capacity(64 << 10, slice.bytes),
            parser,
            fields,
            ends,
            len: 0,
            header: header.len(),
            columns: columns.clone(),
            places,
        };
        Ok(contents(slice.uri, move || rows.step()))
    }
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

/// Consumes the rest of a line break, and blank lines. The parser would count them as part of the next record, whose line
/// number would be wrong.
fn skip_breaks(stream: &mut Stream, parser: &mut csv_core::Reader) -> Result<()> {
    loop {
        let input = stream.fill()?;
        let (breaks, rest) = count_breaks(input, parser);
        stream.consume(breaks);
        if rest || breaks == 0 {
            return Ok(());
        }
    }
}

/// The number of line-break bytes at the start of `input`, and whether other bytes follow. Updates the line of `parser`.
fn count_breaks(input: &[u8], parser: &mut csv_core::Reader) -> (usize, bool) {
    let breaks = input
        .iter()
        .take_while(|byte| matches!(byte, b'\r' | b'\n'))
        .count();
    let lines = memchr::memchr_iter(b'\n', &input[..breaks]).count() as u64;
    parser.set_line(parser.line() + lines);
    (breaks, breaks < input.len())
}

/// The rows of a slice.
struct Rows {
    reader: BufReader<Box<dyn Read + Send>>,
    parser: csv_core::Reader,
    /// The concatenated fields of the current row, and the end of each, for one field more than the header has.
    fields: Vec<u8>,
    ends: Vec<usize>,
    /// Number of fields of the current row.
    len: usize,
    /// Number of fields of the header.
    header: usize,
    columns: Columns,
    /// The field of each of [`Columns::sources`].
    places: Vec<Option<usize>>,
}

impl Rows {
    fn step(&mut self) -> io::Result<Option<(u64, Content)>> {
        loop {
            let (breaks, rest) = count_breaks(self.reader.fill_buf()?, &mut self.parser);
            self.reader.consume(breaks);
            if rest || breaks == 0 {
                break;
            }
        }
        let line = self.parser.line();
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
                self.parser
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

    /// A field of the current row, if it exists.
    fn field(&self, index: usize) -> Option<&[u8]> {
        let start = match index {
            0 => 0,
            _ => self.ends[index - 1],
        };
        (index < self.len).then(|| &self.fields[start..self.ends[index]])
    }

    fn parse(&self) -> Content {
        let id = match self.places[0].and_then(|place| self.field(place)) {
            None | Some(b"") => Cell::Null,
            Some(field) => Cell::Text(String::from_utf8_lossy(field).into_owned()),
        };
        if self.len != self.header {
            let reason = format!(
                "the row has {} columns, the header has {}",
                self.len, self.header
            );
            return Err(BadRecord::new(id, reason));
        }
        content(&self.columns, id, |index, is_text| {
            match self.places[index].and_then(|place| self.field(place)) {
                None => Ok(Cell::Null),
                Some(b"") if is_text => Err("is empty".to_owned()),
                Some(b"") => Ok(Cell::Null),
                Some(field) => text(field),
            }
        })
    }
}
