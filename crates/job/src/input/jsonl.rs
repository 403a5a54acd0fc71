//! JSON Lines: one object per line; blank lines are skipped.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read};

use arrow_schema::DataType;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::delimited::parser::MARK;
use super::found::Found;
use super::row::{Content, Contents, MAX_RECORD_BYTES, TOO_LONG, content, contents, invalid_text};
use super::schema::{Schema, Seen, widen};
use super::stream::Stream;
use super::text::{Head, Span, TextFormat, TextSlice, encoding_note};
use super::text_folder;
use crate::Result;
use crate::column::{join, json_type};
use crate::dialect::Encoding;
use crate::record::{BadRecord, Cell};
use crate::spec::{Columns, Parameters};

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
                ..Head::default()
            });
        }
        let mut columns = BTreeMap::<String, Seen>::new();
        let mut objects = 0;
        // An incomplete last line is no object.
        for line in stream.head().0.split(|b| *b == b'\n') {
            let line = without_mark(line);
            if let Ok(object) = serde_json::from_slice::<BTreeMap<String, &RawValue>>(line) {
                objects += 1;
                for (name, value) in object {
                    columns.entry(name).or_default().see(&cell(value));
                }
            }
        }
        let (head, is_whole) = stream.head();
        if is_whole && head.trim_ascii().is_empty() {
            return Ok(Head::empty());
        }
        let columns = columns.into_iter();
        let columns = columns.map(|(name, seen)| (name, seen.texts && !seen.others));
        let lines = head.split(|byte| *byte == b'\n');
        let note = stream.encoding().is_none().then(|| encoding_note(lines));
        Ok(Head {
            schema: (objects > 0).then(|| Schema::untyped(columns, &DataType::Null)),
            notes: note.flatten().into_iter().collect(),
            ..Head::default()
        })
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
            let room = (MAX_RECORD_BYTES as usize).saturating_sub(line.len());
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

/// A line without a byte-order mark, which concatenated files leave at its start.
fn without_mark(line: &[u8]) -> &[u8] {
    line.strip_prefix(MARK).unwrap_or(line)
}

/// Widens `types`, one for each of the names, so that the values of a line fit too.
fn observe(line: &[u8], names: &[Option<&str>], types: &mut [DataType]) {
    let values = std::str::from_utf8(line).map(|line| pick(line, names));
    for (known, value) in types.iter_mut().zip(values.into_iter().flatten().flatten()) {
        if let Some(value) = value {
            *known = join(
                std::mem::replace(known, DataType::Null),
                json_type(value.get()),
            );
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
            let mut reader = (&mut self.reader).take(MAX_RECORD_BYTES + 1);
            let read = reader.read_until(b'\n', &mut self.line)? as u64;
            if read == 0 {
                return Ok(None);
            }
            if read > MAX_RECORD_BYTES {
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
        let id_of = |values: &[Option<&RawValue>]| values[0].map_or(Cell::Null, cell);
        let line = match std::str::from_utf8(without_mark(&self.line)) {
            Ok(line) => line,
            Err(e) => {
                // The id, if it is readable, helps to find the line.
                let lossy = String::from_utf8_lossy(&self.line);
                return Err(BadRecord {
                    id: pick(&lossy, &names).map_or(Cell::Null, |values| id_of(&values)),
                    reason: match self.is_folder {
                        // The position in the line is not that in the file.
                        true => {
                            format!("the text is not valid {}", Encoding::name_of(self.encoding))
                        }
                        false => format!("the line {}", invalid_text(&e, self.encoding)),
                    },
                });
            }
        };
        let values = pick(line, &names).map_err(|e| BadRecord {
            id: Cell::Null,
            reason: format!("the line is not a JSON object: {e}"),
        })?;
        content(
            &self.columns,
            id_of(&values),
            |index, is_text| match values[index] {
                value if is_text => string(value),
                value => Ok(value.map_or(Cell::Null, cell)),
            },
        )
    }
}

/// A value that must be a string, or what is wrong with it.
fn string(value: Option<&RawValue>) -> Result<Cell, String> {
    match value.map(cell) {
        Some(text @ Cell::Text(_)) => Ok(text),
        None => Err("is missing".to_owned()),
        Some(Cell::Null) => Err("is null".to_owned()),
        Some(Cell::Json(json)) if json.starts_with('"') => Err(
            "has half of a character: a \\u escape of a surrogate pair without its other half"
                .to_owned(),
        ),
        Some(Cell::Json(json)) => Err(format!("is not a string but {}", json_kind(&json))),
    }
}

fn json_kind(json: &str) -> &'static str {
    match json.as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b't' | b'f') => "a boolean",
        _ => "a number",
    }
}

fn cell(value: &RawValue) -> Cell {
    let json = value.get();
    match json.as_bytes().first() {
        Some(b'"') => match serde_json::from_str(json) {
            Ok(text) => Cell::Text(text),
            Err(_) => Cell::Json(json.to_owned()),
        },
        None | Some(b'n') => Cell::Null,
        Some(_) => Cell::Json(json.to_owned()),
    }
}

/// The values of the keys `names` of a JSON object; the last of duplicate keys. Other values are skipped.
fn pick<'de>(
    line: &'de str,
    names: &[Option<&str>],
) -> serde_json::Result<Vec<Option<&'de RawValue>>> {
    let mut deserializer = serde_json::Deserializer::from_str(line);
    let picked = deserializer.deserialize_map(Pick { names })?;
    deserializer.end()?;
    Ok(picked)
}

struct Pick<'n> {
    names: &'n [Option<&'n str>],
}

impl<'de> Visitor<'de> for Pick<'_> {
    type Value = Vec<Option<&'de RawValue>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = vec![None; self.names.len()];
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            let is_key = |name: &Option<&str>| *name == Some(&*key);
            if !self.names.iter().any(is_key) {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let value = map.next_value()?;
            for (found, name) in found.iter_mut().zip(self.names) {
                if is_key(name) {
                    *found = Some(value);
                }
            }
        }
        Ok(found)
    }
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
            }),
            kept: Vec::new(),
        };
        let slice = TextSlice {
            uri: "a.jsonl",
            bytes: Box::new(content),
            header: &[],
            dialect: Dialect::default(),
            encoding: None,
            line: 1,
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
            "the text is not a string but an array"
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
        assert!(row.reason.contains("UTF-8 (byte 20)"), "{}", row.reason);
    }

    #[test]
    fn deep_nesting_is_an_error() {
        let line = format!("{{\"text\":\"a\",\"x\":{}}}", "[".repeat(100_000));
        let row = read(Box::leak(line.into_bytes().into_boxed_slice())).remove(0);
        assert!(row.1.unwrap_err().reason.contains("not a JSON object"));
    }
}
