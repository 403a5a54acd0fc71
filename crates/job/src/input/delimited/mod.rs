//! CSV, TSV and other delimited text: quoted line breaks, byte-order marks, CRLF and blank lines.
//!
//! `parser` is the state machine, `scan` finds the records, `rows` reads their fields, and `sniff` finds out how a source
//! is written.

pub(super) mod parser;
mod rows;
mod scan;
mod sniff;
#[cfg(test)]
mod tests;

use arrow_schema::DataType;

use super::row::{Contents, MAX_LINE_BYTES};
use super::schema::{Schema, Seen};
use super::signature::not_delimited;
use super::stream::Stream;
use super::text::{Head, Span, TextFormat, TextSlice, encoding_note};
use crate::dialect::{Encoding, Symbol};
use crate::format::Format;
use crate::record::Cell;
use crate::spec::{Columns, Parameters};
use crate::{Error, Result};
use rows::Fields;
use sniff::Sample;

/// Delimited text: [`Format::Csv`] or [`Format::Tsv`].
pub(super) struct Delimited(pub(super) Format);

impl TextFormat for Delimited {
    fn head(&self, stream: &Stream, parameters: &Parameters) -> Result<Head> {
        let ((bytes, is_whole), uri) = (stream.head(), stream.uri());
        let wrong = |reason: String| Error::input(uri, reason);
        if is_whole && bytes.trim_ascii().is_empty() {
            return Ok(Head::empty());
        }
        if let Some(what) = not_delimited(bytes) {
            return Err(wrong(format!("it is not delimited text but {what}")));
        }
        let options = &parameters.dialect;
        let all = Sample {
            uri,
            bytes,
            is_whole,
        };
        let (sample, named) = all.after_separator_line();
        let before = bytes.len() - sample.bytes.len();
        if is_whole && sample.bytes.trim_ascii().is_empty() {
            return Ok(Head::empty());
        }
        if options.header_row
            && is_comment(sample.bytes, options.delimiter.or(named.map(Symbol::Byte)))
        {
            let line = 1 + count_lines(&bytes[..before]);
            return Err(wrong(format!(
                "line {line} is a comment, as it starts with #; remove it, since the first line must name the columns"
            )));
        }
        let sniffed = sample.sniff(self.0, options, named)?;
        let (dialect, mut notes) = (sniffed.dialect, sniffed.notes);
        let mut rows = sample.rows(&dialect, usize::MAX);
        let line_of = |position: usize| 1 + count_lines(&bytes[..position]);
        let Some((first, fields)) = rows.first() else {
            if !is_whole && (bytes.len() as u64) <= MAX_LINE_BYTES {
                return Ok(Head::default());
            }
            return Err(wrong(match is_whole {
                true => "its first row has a quote that is never closed; if quotes are ordinary characters in it, set the quote to none".into(),
                false => "its first line is longer than 64 MiB; it must name the columns".into(),
            }));
        };
        let (header, first_record) = if options.header_row {
            let line = line_of(before + first.start as usize);
            let header = names(fields).ok_or_else(|| {
                wrong(format!(
                    "line {line}: the column names are not valid {}; set the encoding, for example to windows-1252",
                    Encoding::name_of(stream.encoding())
                ))
                .adjustable("encoding")
            })?;
            (header, first.end as usize)
        } else {
            let names = (1..=fields.count()).map(|number| format!("column_{number}"));
            (names.collect(), 0)
        };
        // A quote that is not closed in the row before the first good one is no header.
        let starts_well = sample.bytes[..first.start as usize].trim_ascii().is_empty();
        if options.header_row && !starts_well {
            return Err(wrong(
                "its first row has a quote that is not closed; if quotes are ordinary characters in it, set the quote to none"
                    .into(),
            ));
        }
        if options.header_row {
            rows.remove(0);
            if header.iter().any(|name| is_unlikely(name)) {
                notes.push(
                    "its first row, which names the columns, looks like a record: a name in it is a number or a sentence; if it \
                     is one, say that there is no header row"
                        .into(),
                );
            }
        }
        let mut seen = vec![Seen::default(); header.len()];
        for (_, row) in &rows {
            for (seen, value) in seen.iter_mut().zip(row.iter()) {
                seen.see(&guess(value));
            }
        }
        if stream.encoding().is_none() {
            let records = rows
                .iter()
                .map(|(span, _)| &sample.bytes[span.start as usize..span.end as usize]);
            notes.extend(encoding_note(records));
        }
        // A string may look like a number.
        let is_text = seen.iter().map(|seen| seen.texts || !seen.others);
        let columns = header.iter().cloned().zip(is_text);
        let bytes_before = before + first_record;
        Ok(Head {
            schema: Some(Schema::untyped(columns, &DataType::Utf8)),
            header: Some(header),
            dialect: Some(dialect),
            bytes: bytes_before,
            line: line_of(bytes_before),
            has_record: !rows.is_empty(),
            notes,
        })
    }

    fn scan(
        &self,
        stream: &mut Stream,
        head: &Head,
        _typed: Option<&mut Columns>,
        visit: &mut dyn FnMut(Span) -> Result<()>,
    ) -> Result<()> {
        let Some(dialect) = &head.dialect else {
            return Ok(());
        };
        stream.consume(head.bytes);
        let start = (stream.position(), head.line);
        let is_whole = !stream.is_cut();
        scan::scan(stream, dialect, start, is_whole, visit)
    }

    fn rows(&self, slice: TextSlice<'_>, columns: &Columns) -> Result<Contents> {
        rows::rows(slice, columns)
    }
}

/// The names in a header, without the spaces around them; `None` if they are not valid UTF-8.
fn names(header: &Fields) -> Option<Vec<String>> {
    let name = |field: &[u8]| Some(str::from_utf8(field).ok()?.trim().to_owned());
    header.iter().map(name).collect()
}

/// Whether the first line is a comment rather than a header such as `#,text` or `#id,text`.
fn is_comment(bytes: &[u8], delimiter: Option<Symbol>) -> bool {
    let line = bytes.trim_ascii_start().split(|byte| *byte == b'\n').next();
    let Some(rest) = line.and_then(|line| line.strip_prefix(b"#")) else {
        return false;
    };
    let is_delimiter = |byte: &u8| match delimiter {
        Some(symbol) => symbol == Symbol::Byte(*byte),
        None => sniff::CANDIDATES.contains(byte),
    };
    let starts_a_name =
        |byte: &u8| byte.is_ascii_alphanumeric() || *byte >= 0x80 || is_delimiter(byte);
    !(rest.first().is_some_and(starts_a_name) && rest.iter().any(is_delimiter))
}

/// Whether a column is unlikely to have this name.
fn is_unlikely(name: &str) -> bool {
    name.parse::<f64>().is_ok() || name.split_whitespace().nth(4).is_some()
}

fn count_lines(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}

/// Guesses the type of an untyped field.
fn guess(field: &[u8]) -> Cell {
    match str::from_utf8(field) {
        Ok("") => Cell::Null,
        Ok(text) if text.trim().parse::<f64>().is_ok() => Cell::Json(text.into()),
        Ok(text) if matches!(text.to_ascii_lowercase().as_str(), "true" | "false") => {
            Cell::Json(text.into())
        }
        Ok(text) => Cell::Text(text.into()),
        Err(_) => Cell::Text(String::new()),
    }
}

/// Why a row is bad whose quote is open.
const OPEN_QUOTE: &str = "a quote opens a field in this row and is not closed before a delimiter or the end of a line; \
    the lines after this one are read as rows; if quotes are ordinary characters in this file, set the quote to none";
