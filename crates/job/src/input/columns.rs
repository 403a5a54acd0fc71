//! Converts Arrow columns to records.

use std::fmt::{self, Write};

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{DataType, SchemaRef};

use super::row::{Content, MAX_RECORD_BYTES, content, text};
use super::schema::{Schema, SourceColumn};
use crate::Result;
use crate::record::Cell;
use crate::spec::Columns;

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
        is_typed: true,
    }
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
        T::Timestamp(_, Some(zone)) => zone.len() <= MAX_TIME_ZONE_BYTES,
        T::Timestamp(_, None) | T::Date32 | T::Time32(_) | T::Time64(_) => true,
        T::Boolean | T::Float32 | T::Float64 | T::Decimal128(..) => true,
        other => other.is_integer(),
    }
}

/// The rows of `batch`. Strings must be binary columns, whose values are checked one by one.
pub(super) fn contents(columns: &Columns, batch: &RecordBatch) -> Vec<Content> {
    let arrays = columns
        .sources()
        .map(|name| name.and_then(|name| batch.column_by_name(name)));
    let arrays: Vec<Option<Cells>> = arrays.map(|array| array.map(cells)).collect();
    let value = |index: usize, row: usize| match &arrays[index] {
        None => Ok(Cell::Null),
        Some(Ok(cells)) => cells[row].clone(),
        Some(Err(reason)) => Err(reason.clone()),
    };
    (0..batch.num_rows())
        .map(|row| {
            let id = value(0, row).unwrap_or_default();
            content(columns, id, |index, is_text| match value(index, row)? {
                Cell::Null if is_text => Err("is null".to_owned()),
                Cell::Json(_) if is_text => Err("is not a string".to_owned()),
                cell => Ok(cell),
            })
        })
        .collect()
}

/// The values of a column. An error of a value or of the column starts with "is" or "has".
type Cells = Result<Vec<Result<Cell, String>>, String>;

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
        return Ok(array
            .as_binary::<i64>()
            .iter()
            .map(|value| value.map_or(Ok(Cell::Null), |value| text(value, None)))
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
