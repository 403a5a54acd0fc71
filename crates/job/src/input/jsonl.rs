//! JSON Lines: one object per line; blank lines are skipped.

use std::io::{self, BufRead, BufReader, Read};

use arrow_schema::DataType;
use serde_json::value::RawValue;

use super::found::Found;
use super::json::{Scanner, finite, is_not_finite, key_name, pick, without_mark};
use super::json_head;
use super::row::{Content, Contents, MAX_LINE_BYTES, TOO_LONG, content, contents};
use super::schema::Schema;
use super::stream::Stream;
use super::text::{Head, Span, TextFormat, TextSlice};
use super::text_folder;
use crate::Result;
use crate::column::{join, json_type};
use crate::dialect::Encoding;
use crate::record::{BadRecord, Cell};
use crate::spec::{Columns, Parameters};
use crate::types::widen;

/// JSON Lines.
pub(super) struct JsonLines {
    /// Whether the source is a folder of text files, which is read as JSON Lines.
    pub(super) is_folder: bool,
}

impl TextFormat for JsonLines {
    fn open(&self, found: &Found, encoding: Option<Encoding>) -> Result<Stream> {
        match self.is_folder {
            true => Stream::open(found, text_folder::open(&found.location, encoding)?, None),
            false => Stream::open(found, Box::new(found.location.open(None)?), encoding),
        }
    }

    fn head(&self, stream: &Stream, _: &Parameters) -> Result<Head> {
        if self.is_folder {
            let columns = text_folder::COLUMNS.map(|name| (name.to_owned(), true));
            return Ok(Head {
                schema: Some(Schema::untyped(columns, &DataType::Utf8)),
                has_record: true,
                ..Head::default()
            });
        }
        json_head::head(stream)
    }

    fn scan(
        &self,
        stream: &mut Stream,
        _head: &Head,
        typed: Option<&mut Columns>,
        visit: &mut dyn FnMut(Span) -> Result<()>,
    ) -> Result<()> {
        let typed = typed.filter(|_| !self.is_folder);
        let names: Vec<_> = typed.iter().flat_map(|columns| columns.sources()).collect();
        let mut types = vec![DataType::Null; names.len()];
        let mut line = Vec::new();
        let mut number = 1;
        let mut start = stream.position();
        loop {
            let input = stream.fill()?;
            let newline = memchr::memchr(b'\n', input);
            let read = newline.map_or(input.len(), |at| at + 1);
            let room = (MAX_LINE_BYTES as usize).saturating_sub(line.len());
            line.extend_from_slice(&input[..read.min(room)]);
            stream.consume(read);
            let at_end = read == 0;
            if at_end && stream.is_cut() {
                break;
            }
            if newline.is_some() || at_end {
                let span = Span::new(start, stream.position(), number);
                let text = without_mark(&line);
                if !names.is_empty() && span.fault.is_none() {
                    observe(text, &names, &mut types);
                }
                // The truncated bytes of an oversized line may be blank even if the line is not.
                if span.fault.is_some() || !text.trim_ascii().is_empty() {
                    visit(span)?;
                }
                line.clear();
                start = stream.position();
                number += 1;
            }
            if at_end {
                break;
            }
        }
        if let Some(columns) = typed {
            let kept = types.split_off(1 + columns.inputs.len());
            let typed = columns.id.iter_mut().zip(types);
            for (column, found) in typed.chain(columns.kept.iter_mut().zip(kept)) {
                widen(&mut column.data_type, &found);
            }
        }
        Ok(())
    }

    fn rows(&self, slice: TextSlice<'_>, columns: &Columns) -> Result<Contents> {
        let mut lines = Lines {
            reader: BufReader::with_capacity(64 << 10, slice.bytes),
            line: Vec::new(),
            number: slice.line,
            columns: columns.clone(),
            is_folder: self.is_folder,
            encoding: slice.encoding,
        };
        Ok(contents(slice.uri, move || lines.step()))
    }
}

/// Widens `types`, one for each of the names, so that the values of a line fit too.
fn observe(line: &[u8], names: &[Option<&str>], types: &mut [DataType]) {
    let values = pick(line, names);
    for (known, value) in types.iter_mut().zip(values.into_iter().flatten()) {
        if let Some(value) = value
            && cell(value).is_ok()
            && let Ok(json) = std::str::from_utf8(value)
        {
            *known = join(std::mem::replace(known, DataType::Null), json_type(json));
        }
    }
}

/// The rows of a slice.
struct Lines {
    reader: BufReader<Box<dyn Read + Send>>,
    line: Vec<u8>,
    number: u64,
    columns: Columns,
    is_folder: bool,
    encoding: Option<Encoding>,
}

impl Lines {
    fn step(&mut self) -> io::Result<Option<(u64, Content)>> {
        loop {
            self.line.clear();
            // One byte more than allowed shows that a record is too long.
            let mut reader = (&mut self.reader).take(MAX_LINE_BYTES + 1);
            let read = reader.read_until(b'\n', &mut self.line)? as u64;
            if read == 0 {
                return Ok(None);
            }
            if read > MAX_LINE_BYTES {
                return Err(io::Error::new(io::ErrorKind::InvalidData, TOO_LONG));
            }
            let number = self.number;
            self.number += 1;
            if !without_mark(&self.line).trim_ascii().is_empty() {
                return Ok(Some((number, self.parse())));
            }
        }
    }

    fn parse(&self) -> Content {
        let names: Vec<_> = self.columns.sources().collect();
        let values = pick(without_mark(&self.line), &names).map_err(|e| {
            BadRecord::new(Cell::Null, format!("the line is not a JSON object: {e}"))
        })?;
        // An id with invalid UTF-8 still helps to find the line.
        let id = values[0].map(|value| cell(String::from_utf8_lossy(value).as_bytes()));
        let id = id.and_then(Result::ok).unwrap_or_default();
        let first_kept = 1 + self.columns.inputs.len();
        content(&self.columns, id, |index, is_text| {
            let Some(value) = values[index] else {
                return if is_text {
                    Err("is missing".to_owned())
                } else {
                    Ok(Cell::Null)
                };
            };
            if let Err(e) = std::str::from_utf8(value) {
                return Err(match () {
                    // The position in the line is not that in the file.
                    _ if self.is_folder || self.encoding.is_some() => {
                        format!("is not valid {}", Encoding::name_of(self.encoding))
                    }
                    _ => {
                        let before = value.as_ptr() as usize - self.line.as_ptr() as usize;
                        format!(
                            "is not valid UTF-8 (byte {} of the line)",
                            before + e.valid_up_to()
                        )
                    }
                });
            }
            match cell(value)? {
                Cell::Null if is_text => Err("is null".to_owned()),
                Cell::Json(json) if is_text => Err(not_a_string(&json, names[index])),
                Cell::Text(word) if index < first_kept && is_not_finite(value) => {
                    Err(format!("is {word}, which is not a JSON value"))
                }
                cell => Ok(cell),
            }
        })
    }
}

/// What is wrong with a value of the column `name` that must be a string.
fn not_a_string(json: &str, name: Option<&str>) -> String {
    let name = name.unwrap_or_default();
    match json.as_bytes().first() {
        Some(b'"') => {
            "has half of a character: a \\u escape of a surrogate pair without its other half"
                .into()
        }
        Some(b'{') => match first_string(json) {
            Some(field) => format!(
                "is not a string but an object; a field of it is named by a path, such as {name}.{field}"
            ),
            None => "is not a string but an object".into(),
        },
        Some(b'[') => format!(
            "is not a string but an array; an item of it is named by a path, such as {name}.0"
        ),
        Some(b't' | b'f') => "is not a string but a boolean".into(),
        _ => "is not a string but a number".into(),
    }
}

/// The first key of an object whose value is a string.
fn first_string(object: &str) -> Option<String> {
    let mut first = None;
    let members = Scanner::new(object.as_bytes()).members(|key, value| {
        if first.is_none() && value.starts_with(b"\"") {
            first = key_name(key);
        }
    });
    members.ok().and(first)
}

/// A used value, or what is wrong with it. Numbers that are not finite become strings.
fn cell(value: &[u8]) -> Result<Cell, String> {
    let text = |bytes: &[u8]| Cell::Text(String::from_utf8_lossy(bytes).into_owned());
    if is_not_finite(value) {
        return Ok(text(value));
    }
    let not_json = |e: serde_json::Error| {
        let reason = e.to_string();
        format!(
            "is not JSON: {}",
            reason.split(" at line ").next().unwrap_or_default()
        )
    };
    match value.first() {
        Some(b'"') => {
            if let Ok(text) = serde_json::from_slice(value) {
                return Ok(Cell::Text(text));
            }
        }
        Some(b'{' | b'[') => {
            if let Some(json) = finite(value) {
                return raw(&json).map_err(not_json);
            }
        }
        _ => {}
    }
    raw(value).map_err(not_json)
}

/// A value as it is.
fn raw(value: &[u8]) -> serde_json::Result<Cell> {
    let value: &RawValue = serde_json::from_slice(value)?;
    Ok(match value.get() {
        "null" => Cell::Null,
        json => Cell::Json(json.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;
    use crate::dialect::Dialect;

    fn read(content: &'static [u8]) -> Vec<(u64, Content)> {
        let columns = Columns {
            inputs: vec![crate::spec::InputColumn {
                role: Role::text("text"),
                source: Some("text".into()),
            }],
            id: Some(crate::column::Column {
                source: "id".into(),
                name: "id".into(),
                data_type: arrow_schema::DataType::Utf8,
                extension: Default::default(),
            }),
            kept: Vec::new(),
            partitions: Vec::new(),
        };
        let slice = TextSlice {
            uri: "a.jsonl",
            bytes: Box::new(content),
            header: &[],
            dialect: Dialect::default(),
            encoding: None,
            line: 1,
            fault: None,
        };
        let rows = JsonLines { is_folder: false }
            .rows(slice, &columns)
            .unwrap();
        rows.collect::<Result<_>>().unwrap()
    }

    fn reason(content: &'static [u8]) -> String {
        read(content).remove(0).1.unwrap_err().reason
    }

    #[test]
    fn blank_lines_are_counted_and_skipped() {
        let rows = read(b"\n{\"text\":\"a\"}\r\n  \n{\"text\":\"\",\"id\":7}");
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].0, 2);
        assert_eq!(rows[1].0, 4);
        assert_eq!(rows[1].1.as_ref().unwrap().id, Cell::Json("7".into()));
        assert_eq!(rows[1].1.as_ref().unwrap().inputs, [Cell::Text("".into())]);
    }

    #[test]
    fn reasons_for_bad_texts_are_specific() {
        assert_eq!(reason(b"{\"id\":1}"), "the text is missing");
        assert_eq!(reason(b"{\"text\":null}"), "the text is null");
        assert_eq!(
            reason(b"{\"text\":[1]}"),
            "the text is not a string but an array; an item of it is named by a path, such as text.0"
        );
        assert_eq!(
            reason(br#"{"text":"a \ud83d b"}"#),
            "the text has half of a character: a \\u escape of a surrogate pair without its other half"
        );
        assert!(reason(b"[1]").contains("not a JSON object"));
        assert!(reason(b"{\"text\":\"a\"").contains("not a JSON object"));
        assert!(reason(b"{\"text\":\"a\"} x").contains("not a JSON object"));
    }

    #[test]
    fn the_id_of_a_line_with_invalid_utf8_is_kept() {
        let row = read(b"{\"id\":\"r1\",\"text\":\"a\xff\"}")
            .remove(0)
            .1
            .unwrap_err();
        assert_eq!(row.id, Cell::Text("r1".into()));
        assert!(
            row.reason.contains("UTF-8 (byte 20 of the line)"),
            "{}",
            row.reason
        );
    }

    #[test]
    fn deep_nesting_is_an_error() {
        let line = format!("{{\"text\":\"a\",\"x\":{}}}", "[".repeat(100_000));
        let row = read(Box::leak(line.into_bytes().into_boxed_slice())).remove(0);
        assert!(row.1.unwrap_err().reason.contains("not a JSON object"));
    }
}
