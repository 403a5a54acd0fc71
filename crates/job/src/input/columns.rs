//! Converts Arrow columns to records, for Parquet and Arrow IPC.

use std::fmt::{self, Write};

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{DataType, SchemaRef};

use super::MAX_RECORD_BYTES;
use super::schema::{Schema, SourceColumn};
use crate::Role;
use crate::record::{BadRecord, Cell, Record};
use crate::spec::Columns;

/// A record, or what is wrong with the row.
pub(super) type RowContent = std::result::Result<Record, BadRecord>;

/// Maximum length of the name of a time zone.
const MAX_TIME_ZONE_BYTES: usize = 64;

/// The columns of a file.
pub(super) fn source_schema(schema: &SchemaRef) -> Schema {
    let columns = schema.fields().iter().map(|field| {
        let plain = plain_type(field.data_type());
        SourceColumn {
            name: field.name().clone(),
            is_text: is_text(field.data_type()),
            data_type: if survives_text(&plain) {
                plain
            } else {
                DataType::Utf8
            },
        }
    });
    Schema {
        columns: columns.collect(),
    }
}

/// The indices of the columns that a job reads, or the name of a missing one.
pub(super) fn indices(
    schema: &SchemaRef,
    columns: &Columns,
) -> std::result::Result<Vec<usize>, String> {
    let inputs = columns.inputs.iter();
    let names = inputs
        .filter_map(|input| input.source.as_deref())
        .chain(columns.id.as_ref().map(|id| id.source.as_str()))
        .chain(columns.kept.iter().map(|kept| kept.source.as_str()));
    let fields = schema.fields();
    names
        .map(|name| {
            let place = fields.iter().position(|field| field.name() == name);
            place.ok_or_else(|| name.to_owned())
        })
        .collect()
}

/// The value type of a dictionary; other types unchanged.
fn plain_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, value) => plain_type(value),
        other => other.clone(),
    }
}

pub(super) fn is_text(data_type: &DataType) -> bool {
    matches!(
        plain_type(data_type),
        DataType::Utf8
            | DataType::LargeUtf8
            | DataType::Utf8View
            | DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
    )
}

/// Whether values of the type survive the conversion to text and back.
fn survives_text(data_type: &DataType) -> bool {
    use DataType as T;
    match data_type {
        T::Timestamp(_, zone) => zone
            .as_ref()
            .is_none_or(|zone| zone.len() <= MAX_TIME_ZONE_BYTES),
        other => {
            other.is_integer()
                || matches!(
                    other,
                    T::Boolean
                        | T::Float32
                        | T::Float64
                        | T::Date32
                        | T::Time32(_)
                        | T::Time64(_)
                        | T::Decimal128(..)
                )
        }
    }
}

/// The records of `batch`. Strings must be binary columns, whose values are checked one by one.
pub(super) fn records(columns: &Columns, batch: &RecordBatch) -> Vec<RowContent> {
    let column = |name: &str| batch.column_by_name(name).map(cells);
    let ids = columns.id.as_ref().and_then(|id| column(&id.source));
    let inputs: Vec<_> = columns
        .inputs
        .iter()
        .map(|input| (&input.role, input.source.as_deref().and_then(column)))
        .collect();
    let kept: Vec<_> = columns
        .kept
        .iter()
        .map(|kept| column(&kept.source))
        .collect();
    let value = |column: &Option<Cells>, row: usize| match column {
        None => Ok(Cell::Null),
        Some(Ok(cells)) => cells[row].clone(),
        Some(Err(reason)) => Err(reason.clone()),
    };
    (0..batch.num_rows())
        .map(|row| {
            let id = value(&ids, row);
            let bad = |reason: String| BadRecord {
                id: id.clone().unwrap_or_default(),
                reason,
            };
            let need = |column: &Option<Cells>, what: &str| {
                value(column, row).map_err(|reason| bad(format!("{what} {reason}")))
            };
            let input = |(role, column): &(&Role, Option<Cells>)| {
                let name = &role.name;
                match need(column, &format!("the {name}"))? {
                    Cell::Null if role.is_text && column.is_some() => {
                        Err(bad(format!("the {name} is null")))
                    }
                    Cell::Json(_) if role.is_text => {
                        Err(bad(format!("the {name} is not a string")))
                    }
                    cell => Ok(cell),
                }
            };
            Ok(Record {
                inputs: inputs
                    .iter()
                    .map(input)
                    .collect::<std::result::Result<_, _>>()?,
                kept: kept
                    .iter()
                    .map(|column| need(column, "a kept column"))
                    .collect::<std::result::Result<_, _>>()?,
                id: need(&ids, "the id")?,
            })
        })
        .collect()
}

/// The values of a column. An error of a value or of the column starts with "is" or "has".
type Cells = std::result::Result<Vec<std::result::Result<Cell, String>>, String>;

fn cells(array: &ArrayRef) -> Cells {
    let error = |e: arrow_schema::ArrowError| format!("is not readable: {e}");
    let mut plain = plain_type(array.data_type());
    if matches!(plain, DataType::Binary | DataType::BinaryView) {
        plain = DataType::LargeBinary;
    }
    let array = if plain == *array.data_type() {
        array.clone()
    } else {
        arrow_cast::cast(array, &plain).map_err(error)?
    };
    if plain == DataType::LargeBinary {
        let text = |bytes: &[u8]| match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Cell::Text(text.to_owned())),
            Err(e) => Err(format!("is not valid UTF-8 (byte {})", e.valid_up_to())),
        };
        return Ok(array
            .as_binary::<i64>()
            .iter()
            .map(|value| value.map_or(Ok(Cell::Null), text))
            .collect());
    }
    let is_json = plain.is_integer() || plain.is_floating() || plain == DataType::Boolean;
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(&array, &options).map_err(error)?;
    Ok((0..array.len())
        .map(|row| {
            if array.is_null(row) {
                return Ok(Cell::Null);
            }
            let mut value = Limited(String::new());
            write!(value, "{}", formatter.value(row)).map_err(|_| {
                format!(
                    "has more than the {} MiB that a value may have",
                    MAX_RECORD_BYTES >> 20
                )
            })?;
            let Limited(value) = value;
            Ok(match value.as_str() {
                // JSON cannot represent these.
                "NaN" | "inf" | "-inf" => Cell::Text(value),
                _ if is_json => Cell::Json(value),
                _ => Cell::Text(value),
            })
        })
        .collect())
}

/// Text of limited size: a list of nulls takes no space in a file, but a lot as text.
struct Limited(String);

impl Write for Limited {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if (self.0.len() + text.len()) as u64 > MAX_RECORD_BYTES {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}
