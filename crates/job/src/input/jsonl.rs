//! JSON Lines: one object per line; blank lines are skipped.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read};

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::schema::{Sample, Schema};
use super::span::Span;
use super::{MAX_RECORD_BYTES, Stream, TOO_LONG};
use crate::column::JsonType;
use crate::record::{BadRecord, Cell, Record};
use crate::spec::Columns;
use crate::{Result, Role};

/// The columns of the first lines, or `None` if there is no object among them.
pub(crate) fn head(stream: &Stream) -> Option<Schema> {
    let (bytes, whole) = stream.head();
    let end = if whole {
        bytes.len()
    } else {
        memchr::memrchr(b'\n', bytes).unwrap_or(0)
    };
    let mut sample = Sample::default();
    let mut objects = 0;
    for line in bytes[..end].split(|b| *b == b'\n') {
        if let Ok(object) = serde_json::from_slice::<BTreeMap<String, &RawValue>>(line) {
            objects += 1;
            for (name, value) in object {
                sample.see(&name, &cell(value));
            }
        }
    }
    (objects > 0).then(|| sample.schema(false))
}

/// Scans the records. Calls `visit` with the position and bytes of each; the bytes of an oversized one are truncated.
pub(crate) fn scan(
    stream: &mut Stream,
    mut visit: impl FnMut(Span, &[u8]) -> Result<()>,
) -> Result<()> {
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
        if newline.is_some() || at_end {
            let span = Span::new(start, stream.position(), number);
            // The truncated bytes of an oversized line may be blank even if the line is not.
            if span.fault.is_some() || !line.trim_ascii().is_empty() {
                visit(span, &line)?;
            }
            line.clear();
            start = stream.position();
            number += 1;
        }
        if at_end {
            return Ok(());
        }
    }
}

/// Infers the types of columns from all records of a source.
pub(crate) struct TypeObserver {
    names: Vec<Option<String>>,
    types: Vec<JsonType>,
}

impl TypeObserver {
    pub(crate) fn new(columns: &Columns) -> Self {
        let names: Vec<_> = columns
            .id
            .iter()
            .chain(&columns.kept)
            .map(|column| Some(column.source.clone()))
            .collect();
        Self {
            types: vec![JsonType::Unknown; names.len()],
            names,
        }
    }

    pub(crate) fn observe(&mut self, line: &[u8]) {
        let Ok(line) = std::str::from_utf8(line) else {
            return;
        };
        if let Ok(values) = pick(line, &self.names) {
            for (known, value) in self.types.iter_mut().zip(values) {
                if let Some(value) = value {
                    *known = known.join(JsonType::of(value.get()));
                }
            }
        }
    }

    /// The columns with values.
    pub(crate) fn schema(self) -> Schema {
        use super::schema::SourceColumn;
        let columns = self
            .names
            .into_iter()
            .zip(self.types)
            // Nulls fit every type.
            .filter(|(_, known)| *known != JsonType::Unknown)
            .map(|(name, known)| SourceColumn {
                name: name.unwrap_or_default(),
                is_text: known == JsonType::Text,
                data_type: known.data_type(),
            })
            .collect();
        Schema { columns }
    }
}

/// Reads the records of a slice.
pub(crate) struct Records {
    reader: BufReader<Box<dyn Read + Send>>,
    line: Vec<u8>,
    number: u64,
    roles: Vec<Role>,
    /// The columns of the id, the roles and the kept columns; `None` for a missing id or an unused role.
    names: Vec<Option<String>>,
}

impl Records {
    /// A reader of a slice that starts at `line`.
    pub(crate) fn new(reader: Box<dyn Read + Send>, columns: &Columns, line: u64) -> Self {
        let id = columns.id.as_ref().map(|id| id.source.clone());
        let names = std::iter::once(id)
            .chain(columns.inputs.iter().map(|input| input.source.clone()))
            .chain(columns.kept.iter().map(|kept| Some(kept.source.clone())))
            .collect();
        Self {
            reader: BufReader::with_capacity(64 << 10, reader),
            line: Vec::new(),
            number: line,
            roles: columns
                .inputs
                .iter()
                .map(|input| input.role.clone())
                .collect(),
            names,
        }
    }

    /// The next record with its line, or `None` at the end.
    pub(crate) fn next(
        &mut self,
    ) -> io::Result<Option<(u64, std::result::Result<Record, BadRecord>)>> {
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
            if !self.line.trim_ascii().is_empty() {
                return Ok(Some((number, self.parse())));
            }
        }
    }

    fn parse(&self) -> std::result::Result<Record, BadRecord> {
        let line = match std::str::from_utf8(&self.line) {
            Ok(line) => line,
            Err(e) => {
                // The id, if it is readable, helps to find the line.
                let lossy = String::from_utf8_lossy(&self.line);
                return Err(BadRecord {
                    id: self.id_of(&lossy),
                    reason: format!("the line is not valid UTF-8 (byte {})", e.valid_up_to()),
                });
            }
        };
        let values = match pick(line, &self.names) {
            Ok(values) => values,
            Err(e) => {
                return Err(BadRecord {
                    id: Cell::Null,
                    reason: format!("the line is not a JSON object: {e}"),
                });
            }
        };
        let id = values[0].map_or(Cell::Null, cell);
        let (inputs, kept) = values[1..].split_at(self.roles.len());
        let inputs = self.roles.iter().zip(&self.names[1..]).zip(inputs);
        let inputs = inputs
            .map(|((role, name), value)| match value {
                Some(value) if role.is_text => text_cell(value, &role.name),
                None if role.is_text && name.is_some() => {
                    Err(format!("the {} is missing", role.name))
                }
                value => Ok(value.map_or(Cell::Null, cell)),
            })
            .collect::<std::result::Result<_, _>>();
        match inputs {
            Ok(inputs) => Ok(Record {
                id,
                inputs,
                kept: kept
                    .iter()
                    .map(|value| value.map_or(Cell::Null, cell))
                    .collect(),
            }),
            Err(reason) => Err(BadRecord { id, reason }),
        }
    }

    fn id_of(&self, line: &str) -> Cell {
        pick(line, &self.names)
            .ok()
            .and_then(|values| values[0])
            .map_or(Cell::Null, cell)
    }
}

/// The value of a role that takes strings, or what is wrong with it.
fn text_cell(value: &RawValue, role: &str) -> std::result::Result<Cell, String> {
    match cell(value) {
        text @ Cell::Text(_) => Ok(text),
        Cell::Null => Err(format!("the {role} is null")),
        Cell::Json(json) if json.starts_with('"') => Err(format!(
            "the {role} has half of a character: a \\u escape of a surrogate pair without its other half"
        )),
        Cell::Json(json) => Err(format!(
            "the {role} is not a string but {}",
            json_kind(&json)
        )),
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
    names: &[Option<String>],
) -> serde_json::Result<Vec<Option<&'de RawValue>>> {
    let mut deserializer = serde_json::Deserializer::from_str(line);
    let picked = Pick { names }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(picked)
}

struct Pick<'n> {
    names: &'n [Option<String>],
}

impl<'de> DeserializeSeed<'de> for Pick<'_> {
    type Value = Vec<Option<&'de RawValue>>;

    fn deserialize<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> std::result::Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Pick<'_> {
    type Value = Vec<Option<&'de RawValue>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(
        self,
        mut map: A,
    ) -> std::result::Result<Self::Value, A::Error> {
        let mut found = vec![None; self.names.len()];
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            let mut places = self
                .names
                .iter()
                .enumerate()
                .filter(|(_, name)| name.as_deref() == Some(&*key));
            match places.next() {
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
                Some((first, _)) => {
                    let value = map.next_value()?;
                    found[first] = Some(value);
                    for (index, _) in places {
                        found[index] = Some(value);
                    }
                }
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &'static [u8]) -> Vec<(u64, std::result::Result<Record, BadRecord>)> {
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
        let mut records = Records::new(Box::new(content), &columns, 1);
        std::iter::from_fn(|| records.next().unwrap()).collect()
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
