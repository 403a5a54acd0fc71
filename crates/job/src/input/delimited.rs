//! CSV and TSV as people have them: quoted newlines, byte-order marks, CRLF, blank lines.

use std::collections::HashSet;
use std::io::{self, BufRead, BufReader, Read};

use csv_core::ReadRecordResult;

use super::schema::{Sample, Schema};
use super::span::Span;
use super::{MAX_RECORD_BYTES, Stream, TOO_LONG};
use crate::record::{BadRecord, Cell, Record};
use crate::spec::{Columns, Fault};
use crate::{Error, Result, Role};

/// The header, and what the first rows tell of the columns.
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

/// What a field looks like, where a format has no types.
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

/// Finds the records behind the header. `visit` gets each one's place: from its first byte to that of the next one.
pub(crate) fn scan(
    stream: &mut Stream,
    delimiter: u8,
    mut visit: impl FnMut(Span) -> Result<()>,
) -> Result<()> {
    let mut core = csv_core::ReaderBuilder::new().delimiter(delimiter).build();
    // Fields are not looked at, so what they hold may be overwritten as often as the parser likes.
    let (mut output, mut ends) = ([0; 4096], [0; 256]);
    let mut is_header = true;
    let mut open_quote = false;
    skip_breaks(stream, &mut core)?;
    let (mut start, mut line) = (stream.position(), core.line());
    loop {
        let at_end = stream.fill()?.is_empty();
        if at_end && stream.position() > start {
            // A separator ends a field everywhere but within quotes. It does no harm to a record that ends here anyway.
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

/// Consumes the rest of a record's line break, and blank lines. The parser would pass over them too, but as a part of
/// the next record, whose line would then be told wrong.
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

/// The bytes of line breaks at the start of `input`, which `core` learns of, and whether other bytes follow.
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
    /// The fields of the present record one after the other, and the end of each of as many as the header has, and one
    /// more.
    fields: Vec<u8>,
    ends: Vec<usize>,
    /// Fields of the present record.
    len: usize,
    columns: usize,
    id: Option<usize>,
    /// Role and place of each input column.
    inputs: Vec<(Role, Option<usize>)>,
    kept: Vec<usize>,
}

impl Records {
    /// `line` is the slice's first one; `reader` gives the slice's bytes.
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
                    Error::Parameter(format!("the plan has no column {name:?} in its header"))
                })
        };
        let (mut fields, mut ends) = (vec![0; 1024], vec![0; header.len() + 1]);
        let mut core = csv_core::ReaderBuilder::new().delimiter(delimiter).build();
        // The line break in front keeps the parser from taking a record's first character for a byte-order mark: a
        // record must read the same wherever the batch is cut.
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

    /// The next record with its line, `None` at the end.
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
            // A row may have millions of fields too many: where they end does not matter.
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
                // The plan leaves out what is larger.
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

    /// A field of the present record, `None` where it has fewer.
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
