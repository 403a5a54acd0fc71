//! Ids and carried values as columns.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, StringArray, new_null_array};
use arrow_cast::CastOptions;
use arrow_schema::{ArrowError, DataType};
use arrow_select::interleave::interleave;

use crate::record::Cell;
use crate::types::{is_string, value_type};

/// The values of `cells` as an array. Strings are what text formats show.
pub(super) fn array(data_type: &DataType, cells: &[&Cell]) -> Result<ArrayRef, ArrowError> {
    let is_typed = cells.iter().any(|cell| matches!(cell, Cell::Typed(_)));
    if !is_typed || is_string(value_type(data_type)) {
        return texts(data_type, cells.iter().map(|cell| cell.as_text()));
    }
    // The nulls, the values of text formats, and those of each array.
    let plain = cells.iter().map(|cell| match cell {
        Cell::Typed(_) => None,
        other => other.as_text(),
    });
    let mut arrays = vec![texts(data_type, plain)?];
    let mut last: Option<&ArrayRef> = None;
    let mut places = Vec::with_capacity(cells.len());
    for (row, cell) in cells.iter().enumerate() {
        let Cell::Typed(typed) = cell else {
            places.push((0, row));
            continue;
        };
        if !last.is_some_and(|last| Arc::ptr_eq(last, &typed.array)) {
            arrays.push(cast(&typed.array, data_type)?);
            last = Some(&typed.array);
        }
        places.push((arrays.len() - 1, typed.row));
    }
    let arrays: Vec<_> = arrays.iter().map(|array| &**array).collect();
    interleave(&arrays, &places)
}

fn texts<'a>(
    data_type: &DataType,
    texts: impl Iterator<Item = Option<&'a str>>,
) -> Result<ArrayRef, ArrowError> {
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
