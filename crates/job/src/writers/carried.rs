//! Ids and carried values as columns.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, StringArray, UInt64Array, new_empty_array, new_null_array};
use arrow_cast::CastOptions;
use arrow_schema::{ArrowError, DataType};
use arrow_select::concat::concat;
use arrow_select::take::take;

use crate::record::Cell;
use crate::types::{is_string, value_type};

/// The values of `cells` as an array. Strings are what text formats show.
pub(super) fn array(data_type: &DataType, cells: &[&Cell]) -> Result<ArrayRef, ArrowError> {
    if is_string(value_type(data_type)) {
        return texts(data_type, cells);
    }
    let same_array = |one: &&Cell, other: &&Cell| match (one, other) {
        (Cell::Typed(one), Cell::Typed(other)) => Arc::ptr_eq(&one.array, &other.array),
        (Cell::Typed(_), _) | (_, Cell::Typed(_)) => false,
        _ => true,
    };
    let arrays = cells.chunk_by(same_array).map(|cells| {
        let Cell::Typed(first) = cells[0] else {
            return texts(data_type, cells);
        };
        let rows = cells.iter().filter_map(|cell| match cell {
            Cell::Typed(typed) => Some(typed.row as u64),
            _ => None,
        });
        // Other rows may have values that cannot be cast.
        let values = take(&first.array, &rows.collect::<UInt64Array>(), None)?;
        cast(&values, data_type)
    });
    let arrays = arrays.collect::<Result<Vec<_>, _>>()?;
    match arrays.as_slice() {
        [] => Ok(new_empty_array(data_type)),
        arrays => concat(&arrays.iter().map(|array| &**array).collect::<Vec<_>>()),
    }
}

/// Says why `cell` cannot be a value of a column of this type.
pub(super) fn check(data_type: &DataType, cell: &Cell) -> Result<(), ArrowError> {
    match cell {
        Cell::Null => Ok(()),
        _ if is_string(value_type(data_type)) => Ok(()),
        Cell::Typed(typed) if typed.array.data_type() == data_type => Ok(()),
        cell => array(data_type, &[cell]).map(drop),
    }
}

fn texts(data_type: &DataType, cells: &[&Cell]) -> Result<ArrayRef, ArrowError> {
    let texts = cells.iter().map(|cell| cell.as_text());
    let texts = texts.collect::<StringArray>();
    match texts.null_count() == texts.len() {
        // Also for types to which text cannot be converted.
        true => Ok(new_null_array(data_type, texts.len())),
        false => cast(&texts, data_type),
    }
}

fn cast(array: &dyn Array, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
    // `safe` would turn values that do not fit into nulls.
    let options = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    arrow_cast::cast_with_options(array, data_type, &options)
}
