//! Reads the rows of a slice.

use std::io::{self, BufRead, BufReader, Read};

use super::OPEN_QUOTE;
use super::parser::{Parser, Sink, Step};
use crate::dialect::{Dialect, Encoding};
use crate::input::row::{Content, Contents, MAX_RECORD_BYTES, TOO_LONG, content, contents, text};
use crate::input::text::TextSlice;
use crate::record::{BadRecord, Cell};
use crate::spec::{Columns, Fault};
use crate::{Error, Result};

/// Reads the rows of a slice.
pub(super) fn rows(slice: TextSlice<'_>, columns: &Columns) -> Result<Contents> {
    let header = slice.header;
    let find = |name: &str| {
        let place = header.iter().position(|column| column == name);
        place.ok_or_else(|| {
            Error::Parameter(format!("the header in the plan has no column {name:?}"))
        })
    };
    let places = columns.sources().map(|name| name.map(find).transpose());
    let places = places.collect::<Result<_>>()?;
    let mut rows = Rows {
        reader: BufReader::with_capacity(64 << 10, slice.bytes),
        parser: Parser::new(&slice.dialect, slice.line),
        fields: Fields::new(header.len() + 1),
        header: header.len(),
        columns: columns.clone(),
        places,
        encoding: slice.encoding,
        has_open_quote: slice.fault == Some(Fault::OpenQuote),
    };
    Ok(contents(slice.uri, move || rows.step()))
}

/// The fields of the one record in `bytes`.
pub(super) fn fields(bytes: &[u8], dialect: &Dialect) -> Fields {
    let mut parser = Parser::new(dialect, 1);
    let mut fields = Fields::new(usize::MAX);
    let (mut at, _) = parser.skip(bytes);
    loop {
        let (read, step) = parser.feed(&bytes[at..], &mut fields);
        at += read;
        match step {
            Step::QuotedLine => continue,
            Step::Record => {}
            Step::More | Step::StrayQuote => {
                parser.finish(&mut fields);
            }
        }
        fields.has_stray_quote = parser.has_stray_quote();
        return fields;
    }
}

/// The fields of a record.
pub(super) struct Fields {
    /// The concatenated fields.
    bytes: Vec<u8>,
    /// The end of each.
    ends: Vec<usize>,
    /// How many fields there are. Those beyond `most`, possibly millions, are not kept.
    count: usize,
    most: usize,
    /// Whether a quote is neither at the start nor at the end of a field. Known of [`fields`] only.
    pub(super) has_stray_quote: bool,
}

impl Fields {
    fn new(most: usize) -> Self {
        Self {
            bytes: Vec::new(),
            ends: Vec::new(),
            count: 0,
            most,
            has_stray_quote: false,
        }
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.count = 0;
    }

    /// How many fields the record has.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// A field, if it exists.
    pub(super) fn get(&self, index: usize) -> Option<&[u8]> {
        let end = *self.ends.get(index)?;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        Some(&self.bytes[start..end])
    }

    /// The fields.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.ends.len()).filter_map(|index| self.get(index))
    }
}

impl Sink for Fields {
    fn bytes(&mut self, bytes: &[u8]) {
        if self.count < self.most {
            self.bytes.extend_from_slice(bytes);
        }
    }

    fn end_field(&mut self) {
        if self.count < self.most {
            self.ends.push(self.bytes.len());
        }
        self.count += 1;
    }
}

/// The rows of a slice.
struct Rows {
    reader: BufReader<Box<dyn Read + Send>>,
    parser: Parser,
    fields: Fields,
    /// Number of fields of the header.
    header: usize,
    columns: Columns,
    /// The field of each of [`Columns::sources`].
    places: Vec<Option<usize>>,
    encoding: Option<Encoding>,
    /// Whether a quote in the only row is not closed.
    has_open_quote: bool,
}

impl Rows {
    fn step(&mut self) -> io::Result<Option<(u64, Content)>> {
        self.fields.clear();
        loop {
            let input = self.reader.fill_buf()?;
            let is_end = input.is_empty();
            let (read, begin) = self.parser.skip(input);
            self.reader.consume(read);
            if begin
                .or(self.parser.skip_end().filter(|_| is_end))
                .is_some()
            {
                break;
            }
            if is_end {
                return Ok(None);
            }
        }
        let line = self.parser.line();
        loop {
            let is_too_long = self.fields.bytes.len() as u64 > MAX_RECORD_BYTES;
            if is_too_long && !self.has_open_quote {
                return Err(io::Error::new(io::ErrorKind::InvalidData, TOO_LONG));
            }
            let input = self.reader.fill_buf()?;
            let step = if is_too_long {
                Step::StrayQuote
            } else if input.is_empty() {
                if self.parser.finish(&mut self.fields) {
                    Step::Record
                } else {
                    Step::StrayQuote
                }
            } else {
                let (read, step) = self.parser.feed(input, &mut self.fields);
                self.reader.consume(read);
                step
            };
            match step {
                Step::Record => return Ok(Some((line, self.parse()))),
                Step::More | Step::QuotedLine => {}
                // Only the fields before the quote are sound.
                Step::StrayQuote if self.has_open_quote => {
                    let bad = BadRecord::new(self.id(), OPEN_QUOTE);
                    return Ok(Some((line, Err(bad))));
                }
                // The plan has such rows as faults.
                Step::StrayQuote => {
                    let reason = "a quote is open that was closed in the plan; start a new run";
                    return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
                }
            }
        }
    }

    /// The value of one of [`Columns::sources`].
    fn value(&self, index: usize) -> Option<&[u8]> {
        self.places[index].and_then(|place| self.fields.get(place))
    }

    /// The id of a bad row.
    fn id(&self) -> Cell {
        match self.value(0) {
            None | Some(b"") => Cell::Null,
            Some(field) => Cell::Text(String::from_utf8_lossy(field).into_owned()),
        }
    }

    fn parse(&self) -> Content {
        let id = self.id();
        if self.parser.has_backslash() {
            let reason = "a quote after a backslash ends a field too early; if \\ escapes quotes in this file, set the escape character";
            return Err(BadRecord::new(id, reason));
        }
        if self.fields.count() != self.header {
            let count = self.fields.count();
            let columns = if count == 1 { "column" } else { "columns" };
            let reason = format!(
                "the row has {count} {columns}, the header has {}",
                self.header
            );
            return Err(BadRecord::new(id, reason));
        }
        content(&self.columns, id, |index, is_text| {
            match self.value(index) {
                None => Ok(Cell::Null),
                Some(b"") if is_text => Err("is empty".to_owned()),
                Some(b"") => Ok(Cell::Null),
                Some(field) => text(field, self.encoding),
            }
        })
    }
}
