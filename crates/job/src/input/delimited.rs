//! CSV and TSV as people have them: quoted newlines, byte-order marks, CRLF, blank lines.

use std::io::{BufReader, Read};

use csv_core::ReadRecordResult;

use super::schema::{Sample, Schema};
use super::{MAX_RECORD_BYTES, Stream};
use crate::record::{BadRecord, Cell, Record};
use crate::spec::{Columns, Fault};
use crate::{Error, Result};

/// Where a record lies in its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// Line on which it starts, from 1.
    pub(crate) line: u64,
    pub(crate) fault: Option<Fault>,
}

impl Span {
    pub(crate) fn new(start: u64, end: u64, line: u64) -> Self {
        let fault = (end - start > MAX_RECORD_BYTES).then_some(Fault::Oversized);
        Self {
            start,
            end,
            line,
            fault,
        }
    }
}

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
    for (index, name) in header.iter().enumerate() {
        if header[..index].contains(name) && !name.is_empty() {
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

/// Finds the records behind the header. `visit` gets each one's place.
pub(crate) fn scan(
    stream: &mut Stream,
    delimiter: u8,
    mut visit: impl FnMut(Span) -> Result<()>,
) -> Result<()> {
    let mut core = csv_core::ReaderBuilder::new().delimiter(delimiter).build();
    // Fields are not looked at, so what they hold may be overwritten as often as the parser likes.
    let (mut output, mut ends) = ([0; 4096], [0; 256]);
    let mut is_header = true;
    let (mut start, mut line) = (stream.position(), 1);
    let mut open_quote = false;
    loop {
        let input = stream.fill()?;
        let at_end = input.is_empty();
        if at_end {
            // A separator ends a field everywhere but within quotes.
            let probe = core
                .clone()
                .read_record(&[delimiter], &mut output, &mut ends);
            open_quote = probe.3 == 0;
        }
        let (result, read, _, _) = core.read_record(input, &mut output, &mut ends);
        stream.consume(read);
        match result {
            ReadRecordResult::InputEmpty if !at_end => {}
            ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {}
            ReadRecordResult::Record => {
                if !is_header {
                    let mut span = Span::new(start, stream.position(), line);
                    if open_quote {
                        span.fault.get_or_insert(Fault::OpenQuote);
                    }
                    visit(span)?;
                }
                is_header = false;
                start = stream.position();
                line = core.line();
            }
            ReadRecordResult::InputEmpty | ReadRecordResult::End => return Ok(()),
        }
    }
}

/// Reads the records of a slice.
pub(crate) struct Records {
    reader: csv::Reader<BufReader<Box<dyn Read + Send>>>,
    record: csv::ByteRecord,
    columns: usize,
    text: usize,
    id: Option<usize>,
    gold: Option<usize>,
    kept: Vec<usize>,
    first_line: u64,
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
        // The line break in front keeps the parser from taking a record's first character for a byte-order mark: a
        // record must read the same wherever the batch is cut.
        let reader: Box<dyn Read + Send> = Box::new((&b"\n"[..]).chain(reader));
        Ok(Self {
            reader: csv::ReaderBuilder::new()
                .has_headers(false)
                .flexible(true)
                .delimiter(delimiter)
                .from_reader(BufReader::with_capacity(64 << 10, reader)),
            record: csv::ByteRecord::new(),
            columns: header.len(),
            text: find(&columns.text)?,
            id: columns.id.as_ref().map(|id| find(&id.source)).transpose()?,
            gold: columns.gold.as_deref().map(find).transpose()?,
            kept: columns
                .kept
                .iter()
                .map(|kept| find(&kept.source))
                .collect::<Result<_>>()?,
            first_line: line,
        })
    }

    /// The next record with its line, `None` at the end.
    pub(crate) fn next(
        &mut self,
    ) -> csv::Result<Option<(u64, std::result::Result<Record, BadRecord>)>> {
        if !self.reader.read_byte_record(&mut self.record)? {
            return Ok(None);
        }
        let position = self.record.position().map_or(2, csv::Position::line);
        // Line 1 is the break put in front.
        let line = self.first_line + position.saturating_sub(2);
        Ok(Some((line, self.parse())))
    }

    fn parse(&self) -> std::result::Result<Record, BadRecord> {
        let id = self.id.map_or(Cell::Null, |index| {
            self.record
                .get(index)
                .map_or(Cell::Null, |field| match field {
                    b"" => Cell::Null,
                    field => Cell::Text(String::from_utf8_lossy(field).into_owned()),
                })
        });
        let bad = |reason: String| BadRecord {
            id: id.clone(),
            reason,
        };
        if self.record.len() != self.columns {
            return Err(bad(format!(
                "the row has {} columns, the header has {}",
                self.record.len(),
                self.columns
            )));
        }
        let field = |index: usize, what: &str| {
            let field = &self.record[index];
            match std::str::from_utf8(field) {
                Ok("") => Ok(Cell::Null),
                Ok(text) => Ok(Cell::Text(text.to_owned())),
                Err(e) => Err(bad(format!(
                    "{what} is not valid UTF-8 (byte {})",
                    e.valid_up_to()
                ))),
            }
        };
        let Cell::Text(text) = field(self.text, "the text")? else {
            return Err(bad("the text is empty".into()));
        };
        Ok(Record {
            text,
            gold: self
                .gold
                .map_or(Ok(Cell::Null), |index| field(index, "the label"))?,
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
