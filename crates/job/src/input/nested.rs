//! Nested columns of Arrow record batches.

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray, OffsetSizeTrait, RecordBatch, UInt64Array};
use arrow_schema::{ArrowError, DataType, FieldRef, Fields, Schema};
use arrow_select::nullif::nullif;
use arrow_select::take::take;

use super::path;
use super::schema::{Inside, SourceColumn};

/// What a column of this type contains. `column` describes a field.
pub(super) fn inside(
    data_type: &DataType,
    column: fn(&arrow_schema::Field) -> SourceColumn,
) -> Inside {
    match data_type {
        DataType::Struct(fields) => Inside {
            fields: fields.iter().map(|field| column(field)).collect(),
            ..Inside::default()
        },
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            Inside {
                item: Some(Box::new(column(item))),
                ..Inside::default()
            }
        }
        // A column without values may have any content in other files.
        DataType::Null => Inside {
            is_partial: true,
            ..Inside::default()
        },
        _ => Inside::default(),
    }
}

/// Where the values of a column are in a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// The index of the outermost column.
    pub(crate) root: usize,
    /// The names from the outermost column to a value or to the first list.
    pub(crate) names: Vec<String>,
}

/// The place of the column `name`, which may be a [path].
pub(super) fn place(schema: &Schema, name: &str) -> Option<Place> {
    let (root, mut rest) = step(schema.fields(), name)?;
    let mut field = schema.field(root);
    let mut names = vec![field.name().clone()];
    while let (Some(path), DataType::Struct(fields)) = (rest, field.data_type()) {
        let (index, after) = step(fields, path)?;
        field = &fields[index];
        names.push(field.name().clone());
        rest = after;
    }
    Some(Place { root, names })
}

/// The field of the column `name`, which may be a [path].
pub(super) fn field(schema: &Schema, name: &str) -> Option<FieldRef> {
    let (root, mut rest) = step(schema.fields(), name)?;
    let mut field = &schema.fields()[root];
    while let Some(path) = rest {
        (field, rest) = match field.data_type() {
            DataType::Struct(fields) => {
                let (index, after) = step(fields, path)?;
                (&fields[index], after)
            }
            DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
                (item, path::split(path).1)
            }
            _ => return None,
        };
    }
    Some(field.clone())
}

/// The field at the start of `path`, and the rest.
fn step<'a>(fields: &Fields, path: &'a str) -> Option<(usize, Option<&'a str>)> {
    let find = |name: &str| fields.iter().position(|field| field.name() == name);
    if let Some(whole) = find(path) {
        return Some((whole, None));
    }
    let (first, rest) = path::split(path);
    rest?;
    Some((find(first)?, rest))
}

/// The values of the column `name` of `batch`, which may be a [path]; `None` if there is none.
pub(super) fn column(batch: &RecordBatch, name: &str) -> Option<Result<ArrayRef, ArrowError>> {
    let schema = batch.schema();
    let (root, rest) = step(schema.fields(), name)?;
    let array = batch.column(root).clone();
    Some(match rest {
        None => Ok(array),
        Some(rest) => select(array, rest),
    })
}

/// The values at the end of `path` in each of `values`.
fn select(mut values: ArrayRef, path: &str) -> Result<ArrayRef, ArrowError> {
    let mut rest = Some(path);
    while let Some(path) = rest {
        let (first, after) = path::split(path);
        let index = || path::index(first).ok_or_else(|| missing(path));
        (values, rest) = match values.data_type() {
            DataType::Struct(fields) => {
                let (index, after) = step(fields, path).ok_or_else(|| missing(path))?;
                let outer = values.as_struct();
                let field = outer.column(index);
                let field = match outer.nulls() {
                    Some(nulls) => nullif(field, &BooleanArray::new(!nulls.inner(), None))?,
                    None => field.clone(),
                };
                (field, after)
            }
            DataType::List(_) => (items::<i32>(&values, index()?)?, after),
            DataType::LargeList(_) => (items::<i64>(&values, index()?)?, after),
            DataType::FixedSizeList(_, size) => {
                let (index, size) = (index()?, *size as usize);
                let list = values.as_fixed_size_list();
                let place = |row: usize| (index < size).then_some(row * size + index);
                (take_valid(&values, list.values(), place)?, after)
            }
            _ => return Err(missing(path)),
        };
    }
    Ok(values)
}

fn missing(path: &str) -> ArrowError {
    ArrowError::SchemaError(format!("there is no {path:?}"))
}

/// The item with this index of each list.
fn items<O: OffsetSizeTrait>(lists: &ArrayRef, index: usize) -> Result<ArrayRef, ArrowError> {
    let list = lists.as_list::<O>();
    let offsets = list.value_offsets();
    let place = |row: usize| {
        let at = offsets[row].as_usize().checked_add(index)?;
        (at < offsets[row + 1].as_usize()).then_some(at)
    };
    take_valid(lists, list.values(), place)
}

/// The value at `place` of each row of `rows` that is not null.
fn take_valid(
    rows: &ArrayRef,
    values: &ArrayRef,
    place: impl Fn(usize) -> Option<usize>,
) -> Result<ArrayRef, ArrowError> {
    let places = (0..rows.len()).map(|row| {
        let place = place(row).filter(|_| rows.is_valid(row));
        place.map(|place| place as u64)
    });
    take(values, &places.collect::<UInt64Array>(), None)
}
