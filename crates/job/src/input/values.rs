//! How text formats show the values of typed columns: as text, or as JSON.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::io;
use std::ops::Range;
use std::str::FromStr;

use arrow_array::cast::AsArray;
use arrow_array::timezone::Tz;
use arrow_array::{Array, ArrayRef, UnionArray};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{ArrowError, DataType, Field};

use super::row::{MAX_RECORD_BYTES, invalid_text};
use crate::record::Cell;
use crate::types::map;

/// The name of the extension type of a field, and the parameters of the type.
const EXTENSION: &str = "ARROW:extension:name";
const PARAMETERS: &str = "ARROW:extension:metadata";
const UUID: &str = "arrow.uuid";

/// The metadata of a field that describe its extension type.
pub(super) fn extension(field: &Field) -> BTreeMap<String, String> {
    let metadata = field.metadata().iter();
    let metadata = metadata.filter(|(key, _)| [EXTENSION, PARAMETERS].contains(&key.as_str()));
    metadata
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// The type as which values of `data_type`, a plain type, are shown. Timestamps of time zones that are not known are shown in
/// UTC.
pub(super) fn shown_type(data_type: &DataType) -> DataType {
    map(data_type, &|data_type| match data_type {
        DataType::Timestamp(unit, Some(zone)) if Tz::from_str(&zone).is_err() => {
            DataType::Timestamp(unit, Some("+00:00".into()))
        }
        // The library shows these without a decimal point.
        DataType::Float16 => DataType::Float32,
        other => other,
    })
}

/// The values of a column of a [`shown_type`].
pub(super) struct Values<'a> {
    array: &'a ArrayRef,
    kind: Kind<'a>,
}

enum Kind<'a> {
    Null,
    /// Strings, which may not be valid UTF-8.
    Text(Box<dyn Fn(usize) -> &'a [u8] + 'a>),
    Bytes(Box<dyn Fn(usize) -> &'a [u8] + 'a>),
    Uuid(&'a arrow_array::FixedSizeBinaryArray),
    /// Numbers and booleans.
    Number(ArrayFormatter<'a>),
    /// Other values, which are shown as text.
    Other(ArrayFormatter<'a>),
    List(Box<Values<'a>>, Ranges<'a>),
    Struct(Vec<(&'a str, Values<'a>)>),
    /// Keys and values.
    Map(Box<[Values<'a>; 2]>, Ranges<'a>),
    Union(&'a UnionArray, Vec<(i8, Values<'a>)>),
}

/// The positions of the items of a row.
type Ranges<'a> = Box<dyn Fn(usize) -> Range<usize> + 'a>;

impl<'a> Values<'a> {
    /// The values of `array`, the column `field` [with bytes](crate::types::with_bytes) instead of strings.
    pub(super) fn new(field: &'a Field, array: &'a ArrayRef) -> Result<Self, ArrowError> {
        use DataType as T;
        const OPTIONS: FormatOptions<'_> = FormatOptions::new()
            .with_display_error(false)
            // For `date64`, whose values are whole days.
            .with_datetime_format(Some("%Y-%m-%d"));
        let list = |item: &'a Field, values: &'a ArrayRef, ranges: Ranges<'a>| {
            Ok::<_, ArrowError>(Kind::List(Box::new(Self::new(item, values)?), ranges))
        };
        let kind = match field.data_type() {
            T::Null => Kind::Null,
            T::Utf8 => {
                let array = array.as_binary::<i32>();
                Kind::Text(Box::new(move |row| array.value(row)))
            }
            T::LargeUtf8 => {
                let array = array.as_binary::<i64>();
                Kind::Text(Box::new(move |row| array.value(row)))
            }
            T::Utf8View => {
                let array = array.as_binary_view();
                Kind::Text(Box::new(move |row| array.value(row)))
            }
            T::Binary => {
                let array = array.as_binary::<i32>();
                Kind::Bytes(Box::new(move |row| array.value(row)))
            }
            T::LargeBinary => {
                let array = array.as_binary::<i64>();
                Kind::Bytes(Box::new(move |row| array.value(row)))
            }
            T::BinaryView => {
                let array = array.as_binary_view();
                Kind::Bytes(Box::new(move |row| array.value(row)))
            }
            T::FixedSizeBinary(16) if is_uuid(field) => Kind::Uuid(array.as_fixed_size_binary()),
            T::Boolean => Kind::Number(ArrayFormatter::try_new(array, &OPTIONS)?),
            other if other.is_integer() || other.is_floating() => {
                Kind::Number(ArrayFormatter::try_new(array, &OPTIONS)?)
            }
            T::List(item) => {
                let lists = array.as_list::<i32>();
                let range = move |row: usize| {
                    let [start, end] = [row, row + 1].map(|at| lists.value_offsets()[at]);
                    start as usize..end as usize
                };
                list(item, lists.values(), Box::new(range))?
            }
            T::LargeList(item) => {
                let lists = array.as_list::<i64>();
                let range = move |row: usize| {
                    let [start, end] = [row, row + 1].map(|at| lists.value_offsets()[at]);
                    start as usize..end as usize
                };
                list(item, lists.values(), Box::new(range))?
            }
            T::FixedSizeList(item, size) => {
                let lists = array.as_fixed_size_list();
                let range = move |row: usize| {
                    let start = lists.value_offset_at(row);
                    start..start + *size as usize
                };
                list(item, lists.values(), Box::new(range))?
            }
            T::Struct(fields) => {
                let columns = array.as_struct().columns();
                let columns = fields.iter().zip(columns);
                let columns = columns
                    .map(|(field, column)| Ok((field.name().as_str(), Self::new(field, column)?)));
                Kind::Struct(columns.collect::<Result<_, ArrowError>>()?)
            }
            T::Map(entries, _) => {
                let maps = array.as_map();
                let T::Struct(fields) = entries.data_type() else {
                    return Err(ArrowError::SchemaError("a map without entries".into()));
                };
                let range = move |row: usize| {
                    let [start, end] = [row, row + 1].map(|at| maps.value_offsets()[at]);
                    start as usize..end as usize
                };
                let columns = maps.entries().columns();
                let [key, value] = [0, 1].map(|index| Self::new(&fields[index], &columns[index]));
                Kind::Map(Box::new([key?, value?]), Box::new(range))
            }
            T::Union(fields, _) => {
                let union: &UnionArray = array.as_union();
                let children = fields
                    .iter()
                    .map(|(id, field)| Ok((id, Self::new(field, union.child(id))?)));
                Kind::Union(union, children.collect::<Result<_, ArrowError>>()?)
            }
            _ => Kind::Other(ArrayFormatter::try_new(array, &OPTIONS)?),
        };
        Ok(Self { array, kind })
    }

    /// The value of a row, or what is wrong with it.
    pub(super) fn cell(&self, row: usize) -> Result<Cell, String> {
        if self.is_null(row) {
            return Ok(Cell::Null);
        }
        let mut out = Limited::default();
        let is_text = self.is_text();
        let written = match is_text {
            true => self.write_text(row, &mut out),
            false => self.write_json(row, &mut out),
        };
        if out.is_full {
            return Err(format!(
                "has more than the {} MiB that a value may have",
                MAX_RECORD_BYTES >> 20
            ));
        }
        let error = |e: &dyn fmt::Display| format!("is not readable: {e}");
        written.map_err(|e| error(&e))?;
        let text = String::from_utf8(out.bytes).map_err(|e| error(&e))?;
        if matches!(self.kind, Kind::Number(_)) && text.starts_with('"') {
            // A number that JSON does not have.
            return Ok(Cell::Text(text.trim_matches('"').to_owned()));
        }
        Ok(match is_text {
            true => Cell::Text(text),
            false => Cell::Json(text),
        })
    }

    fn is_null(&self, row: usize) -> bool {
        match &self.kind {
            Kind::Null => true,
            Kind::Union(union, children) => {
                let (child, row) = child(union, children, row);
                child.is_none_or(|child| child.is_null(row))
            }
            _ => self.array.is_null(row),
        }
    }

    /// Whether values are shown as text, not as JSON.
    fn is_text(&self) -> bool {
        matches!(
            self.kind,
            Kind::Text(_) | Kind::Bytes(_) | Kind::Uuid(_) | Kind::Other(_)
        )
    }

    /// Writes a value, which is not null, as text.
    fn write_text(&self, row: usize, out: &mut Limited) -> io::Result<()> {
        use io::Write;
        match &self.kind {
            Kind::Text(text) => out.write_all(valid(text(row))?.as_bytes()),
            Kind::Bytes(bytes) => match std::str::from_utf8(bytes(row)) {
                Ok(text) => out.write_all(text.as_bytes()),
                Err(_) => {
                    out.write_all(b"0x")?;
                    write_hex(bytes(row), out)
                }
            },
            Kind::Uuid(uuids) => {
                let bytes = uuids.value(row);
                for (number, part) in [0..4, 4..6, 6..8, 8..10, 10..16].into_iter().enumerate() {
                    if number > 0 {
                        out.write_all(b"-")?;
                    }
                    write_hex(&bytes[part], out)?;
                }
                Ok(())
            }
            Kind::Other(formatter) => {
                let start = out.bytes.len();
                if write!(out.text(), "{}", formatter.value(row)).is_ok() || out.is_full {
                    return Ok(());
                }
                // A date or time that no calendar has is a number.
                out.bytes.truncate(start);
                let number = arrow_cast::cast(&self.array.slice(row, 1), &DataType::Int64);
                let number = number.map_err(io::Error::other)?;
                let number = number.as_primitive::<arrow_array::types::Int64Type>();
                write!(out, "{}", number.value(0))
            }
            _ => self.write_json(row, out),
        }
    }

    fn write_json(&self, row: usize, out: &mut Limited) -> io::Result<()> {
        use io::Write;
        if self.is_null(row) {
            return out.write_all(b"null");
        }
        match &self.kind {
            Kind::Number(formatter) => {
                let start = out.bytes.len();
                write!(out.text(), "{}", formatter.value(row)).map_err(io::Error::other)?;
                if matches!(&out.bytes[start..], b"NaN" | b"inf" | b"-inf") {
                    out.bytes.insert(start, b'"');
                    out.write_all(b"\"")?;
                }
                Ok(())
            }
            Kind::List(items, range) => {
                out.write_all(b"[")?;
                for (number, item) in range(row).enumerate() {
                    separate(number, out)?;
                    items.write_json(item, out)?;
                }
                out.write_all(b"]")
            }
            Kind::Struct(columns) => {
                out.write_all(b"{")?;
                for (number, (name, values)) in columns.iter().enumerate() {
                    separate(number, out)?;
                    serde_json::to_writer(&mut *out, name)?;
                    out.write_all(b":")?;
                    values.write_json(row, out)?;
                }
                out.write_all(b"}")
            }
            Kind::Map(columns, range) => {
                let [keys, values] = &**columns;
                out.write_all(b"{")?;
                for (number, entry) in range(row).enumerate() {
                    separate(number, out)?;
                    keys.write_string(entry, out)?;
                    out.write_all(b":")?;
                    values.write_json(entry, out)?;
                }
                out.write_all(b"}")
            }
            Kind::Union(union, children) => match child(union, children, row) {
                (Some(values), row) => values.write_json(row, out),
                (None, _) => out.write_all(b"null"),
            },
            Kind::Null => out.write_all(b"null"),
            _ => self.write_string(row, out),
        }
    }

    /// Writes a value, which is not null, as a JSON string.
    fn write_string(&self, row: usize, out: &mut Limited) -> io::Result<()> {
        if let Kind::Text(text) = &self.kind {
            return Ok(serde_json::to_writer(out, valid(text(row))?)?);
        }
        let mut text = Limited::default();
        self.write_text(row, &mut text)?;
        out.is_full |= text.is_full;
        let text = String::from_utf8_lossy(&text.bytes);
        Ok(serde_json::to_writer(out, &*text)?)
    }
}

fn valid(text: &[u8]) -> io::Result<&str> {
    std::str::from_utf8(text).map_err(|e| {
        let reason = format!("a string in it {}", invalid_text(&e, None));
        io::Error::new(io::ErrorKind::InvalidData, reason)
    })
}

fn separate(number: usize, out: &mut Limited) -> io::Result<()> {
    match number {
        0 => Ok(()),
        _ => io::Write::write_all(out, b","),
    }
}

/// The column of a union with the value of a row, and its row there.
fn child<'a, 'b>(
    union: &UnionArray,
    children: &'b [(i8, Values<'a>)],
    row: usize,
) -> (Option<&'b Values<'a>>, usize) {
    let id = union.type_id(row);
    let found = children.iter().find(|(known, _)| *known == id);
    (found.map(|(_, values)| values), union.value_offset(row))
}

fn is_uuid(field: &Field) -> bool {
    field
        .metadata()
        .get(EXTENSION)
        .is_some_and(|name| name == UUID)
}

fn write_hex(bytes: &[u8], out: &mut Limited) -> io::Result<()> {
    use io::Write;
    bytes.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
}

/// Text of limited size: a list of nulls takes no space in a file, but a lot as text.
#[derive(Default)]
struct Limited {
    bytes: Vec<u8>,
    is_full: bool,
}

impl Limited {
    fn text(&mut self) -> Text<'_> {
        Text(self)
    }
}

impl io::Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if (self.bytes.len() + bytes.len()) as u64 > MAX_RECORD_BYTES {
            self.is_full = true;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Text<'a>(&'a mut Limited);

impl fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        io::Write::write_all(self.0, text.as_bytes()).map_err(|_| fmt::Error)
    }
}
