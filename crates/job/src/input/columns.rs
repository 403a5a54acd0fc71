//! Converts Arrow columns to records.

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow_schema::{ArrowError, DataType, Field, SchemaRef};

use super::nested;
use super::row::{Content, content, text};
use super::schema::{Schema, SourceColumn};
use super::values::{Values, extension, shown_type};
use crate::Result;
use crate::record::{Cell, Typed};
use crate::spec::Columns;
use crate::types::{is_binary, is_string, output_type, plain_type, with_bytes};

/// The columns of a file.
pub(super) fn source_schema(schema: &SchemaRef) -> Schema {
    let columns = schema.fields().iter().map(|field| source_column(field));
    Schema {
        columns: columns.collect(),
        is_typed: true,
        is_partial: false,
    }
}

fn source_column(field: &Field) -> SourceColumn {
    SourceColumn {
        name: field.name().clone(),
        is_text: is_text(field.data_type()),
        source_type: field.data_type().clone(),
        data_type: output_type(field.data_type()),
        extension: extension(field),
        partition: None,
        inside: nested::inside(&plain_type(field.data_type()), source_column),
    }
}

/// Whether values of the type are strings, or bytes that may be strings.
pub(super) fn is_text(data_type: &DataType) -> bool {
    let plain = plain_type(data_type);
    is_string(&plain) || is_binary(&plain)
}

/// How the values of a column are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// A string role.
    Text,
    /// Another role.
    Value,
    /// Copied to the output.
    Carried,
}

/// The rows of `batch`, which has columns of `schema` [with bytes](with_bytes) instead of strings.
pub(super) fn contents(columns: &Columns, schema: &SchemaRef, batch: &RecordBatch) -> Vec<Content> {
    let inputs = columns.inputs.iter().map(|input| match input.role.is_text {
        true => Use::Text,
        false => Use::Value,
    });
    let uses = std::iter::once(Use::Carried)
        .chain(inputs)
        .chain(std::iter::repeat(Use::Carried));
    let arrays = columns.sources().zip(uses).map(|(name, used)| {
        let name = name?;
        let field = nested::field(schema, name)?;
        Some(cells(&field, nested::column(batch, name)?, used))
    });
    let arrays: Vec<Option<Cells>> = arrays.collect();
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

/// The values of `array`, the column `field` with bytes instead of strings.
fn cells(field: &Field, array: Result<ArrayRef, ArrowError>, used: Use) -> Cells {
    let error = |e: ArrowError| format!("is not readable: {e}");
    let array = &array.map_err(error)?;
    let plain = plain_type(field.data_type());
    if is_string(&plain) || (is_binary(&plain) && used == Use::Text) {
        let bytes = cast(array, &DataType::LargeBinary).map_err(error)?;
        return Ok(bytes
            .as_binary::<i64>()
            .iter()
            .map(|value| value.map_or(Ok(Cell::Null), |value| text(value, None)))
            .collect());
    }
    let values = cast(array, &with_bytes(&plain)).map_err(error)?;
    let shown = field.clone().with_data_type(shown_type(&plain));
    let shown_values = cast(&values, &with_bytes(shown.data_type())).map_err(error)?;
    let shown_values = Values::new(&shown, &shown_values).map_err(error)?;
    Ok((0..values.len())
        .map(|row| {
            let cell = shown_values.cell(row)?;
            Ok(match used {
                Use::Carried if cell != Cell::Null => {
                    Cell::Typed(Typed::new(cell, values.clone(), row))
                }
                _ => cell,
            })
        })
        .collect())
}

/// `array` as an array of another type. Values that do not fit are an error.
fn cast(array: &ArrayRef, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
    if array.data_type() == data_type {
        return Ok(array.clone());
    }
    // A slice of a nested array has all values of the array below it.
    let rows = UInt32Array::from_iter_values(0..array.len() as u32);
    let array = arrow_select::take::take(array, &rows, None)?;
    arrow_cast::cast(&array, data_type)
}
