//! Types of columns: which ones outputs have, and which one holds the values of two.

use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef};

/// Maximum size of a null of a type of fixed size, in bytes. Larger ones are written as text.
const MAX_FIXED_BYTES: u64 = 1 << 20;

/// Maximum length of the name of a time zone.
const MAX_TIME_ZONE_BYTES: usize = 64;

/// The type of a column in typed outputs whose source has this type.
///
/// Encodings that no output format can write in all cases are replaced by what they encode: run-end encoding, list views,
/// and dictionaries, except dictionaries of strings. Unions, and types whose nulls take much memory, become text.
pub(crate) fn output_type(source: &DataType) -> DataType {
    if let DataType::Dictionary(_, value) = source
        && is_dictionary_value(value)
    {
        return dictionary(value.as_ref().clone());
    }
    let plain = plain_type(source);
    if is_sound(&plain) {
        plain
    } else {
        DataType::Utf8
    }
}

/// A dictionary with keys that suffice for the values of all sources.
fn dictionary(value: DataType) -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(value))
}

fn is_dictionary_value(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8)
}

/// What a dictionary or run-end encoding encodes, lists instead of list views, on every level.
pub(crate) fn plain_type(data_type: &DataType) -> DataType {
    map(data_type, &|data_type| match data_type {
        DataType::Dictionary(_, value) => plain_type(&value),
        DataType::RunEndEncoded(_, values) => plain_type(values.data_type()),
        DataType::ListView(item) => DataType::List(item),
        DataType::LargeListView(item) => DataType::LargeList(item),
        other => other,
    })
}

/// The type of the values of a dictionary; other types unchanged.
pub(crate) fn value_type(data_type: &DataType) -> &DataType {
    match data_type {
        DataType::Dictionary(_, value) => value,
        other => other,
    }
}

/// The type with which Parquet stores values of this type so that readers recognize them: Parquet has no seconds, and dates
/// have days.
pub(crate) fn parquet_type(data_type: &DataType) -> DataType {
    use arrow_schema::TimeUnit::{Millisecond, Second};
    map(data_type, &|data_type| match data_type {
        DataType::Timestamp(Second, zone) => DataType::Timestamp(Millisecond, zone),
        DataType::Time32(Second) => DataType::Time32(Millisecond),
        DataType::Date64 => DataType::Date32,
        other => other,
    })
}

/// Bytes instead of strings, on every level: libraries check the strings of many values at a time, and refuse all of them if
/// one is not valid UTF-8.
pub(crate) fn with_bytes(data_type: &DataType) -> DataType {
    use DataType as T;
    let field = |field: &FieldRef| {
        Arc::new(Field::clone(field).with_data_type(with_bytes(field.data_type())))
    };
    map(data_type, &|data_type| match data_type {
        T::Utf8 => T::Binary,
        T::LargeUtf8 => T::LargeBinary,
        T::Utf8View => T::BinaryView,
        T::Dictionary(key, value) => T::Dictionary(key, Box::new(with_bytes(&value))),
        T::RunEndEncoded(ends, values) => T::RunEndEncoded(ends, field(&values)),
        T::Union(fields, mode) => {
            let fields = fields.iter().map(|(id, child)| {
                // Encodings in unions are not decoded.
                let is_plain = plain_type(child.data_type()) == *child.data_type();
                (
                    id,
                    if is_plain {
                        field(child)
                    } else {
                        child.clone()
                    },
                )
            });
            T::Union(fields.collect(), mode)
        }
        other => other,
    })
}

/// Applies `change` to a type after the types in it.
pub(crate) fn map(data_type: &DataType, change: &impl Fn(DataType) -> DataType) -> DataType {
    use DataType as T;
    let field = |field: &FieldRef| -> FieldRef {
        let changed = map(field.data_type(), change);
        Arc::new(Field::clone(field).with_data_type(changed))
    };
    change(match data_type {
        T::List(item) => T::List(field(item)),
        T::LargeList(item) => T::LargeList(field(item)),
        T::ListView(item) => T::ListView(field(item)),
        T::LargeListView(item) => T::LargeListView(field(item)),
        T::FixedSizeList(item, size) => T::FixedSizeList(field(item), *size),
        T::Struct(fields) => T::Struct(fields.iter().map(field).collect()),
        T::Map(entries, is_sorted) => T::Map(field(entries), *is_sorted),
        other => other.clone(),
    })
}

/// Whether values of the type are strings.
pub(crate) fn is_string(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    )
}

/// Whether values of the type are bytes of any number.
pub(crate) fn is_binary(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView
    )
}

/// Whether a column of this type can be carried to an output. `job.json` is untrusted and may contain any type.
pub(crate) fn is_carried(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(key, value) => **key == DataType::Int32 && is_dictionary_value(value),
        other => is_sound(other),
    }
}

/// Whether arrays of the type are supported. Dictionaries are not, because they cannot change within an Arrow file.
pub(crate) fn is_sound(data_type: &DataType) -> bool {
    use DataType as T;
    let is_supported = match data_type {
        T::FixedSizeList(item, size) => *size >= 0 && is_sound(item.data_type()),
        T::FixedSizeBinary(size) => *size >= 0,
        T::Timestamp(_, Some(zone)) => zone.len() <= MAX_TIME_ZONE_BYTES,
        T::List(item) | T::LargeList(item) => is_sound(item.data_type()),
        T::Struct(fields) => fields.iter().all(|field| is_sound(field.data_type())),
        T::Map(entries, _) => match entries.data_type() {
            T::Struct(fields) if fields.len() == 2 => is_sound(entries.data_type()),
            _ => false,
        },
        T::Union(..)
        | T::Dictionary(..)
        | T::RunEndEncoded(..)
        | T::ListView(_)
        | T::LargeListView(_) => false,
        _ => true,
    };
    is_supported && fixed_bytes(data_type) <= MAX_FIXED_BYTES
}

/// The size of a null.
fn fixed_bytes(data_type: &DataType) -> u64 {
    let many = |size: i32, bytes: u64| bytes.saturating_mul(size.try_into().unwrap_or(0));
    match data_type {
        DataType::FixedSizeBinary(size) => many(*size, 1),
        DataType::FixedSizeList(item, size) => many(*size, fixed_bytes(item.data_type())),
        DataType::Struct(fields) => fields
            .iter()
            .map(|field| fixed_bytes(field.data_type()))
            .fold(1, u64::saturating_add),
        other => other.primitive_width().unwrap_or(1) as u64,
    }
}

/// Widens a type so that values of another fit too. `Null` is the type of a column without values so far. Without a type that
/// holds all values of both exactly, the column becomes text.
pub(crate) fn widen(known: &mut DataType, other: &DataType) {
    if *known == DataType::Null {
        *known = other.clone();
    } else if *other != DataType::Null && !same(known, other) {
        *known = common(known, other).unwrap_or(DataType::Utf8);
    }
}

/// Whether types are equal except for the names of the items of lists, which differ between writers.
fn same(known: &DataType, other: &DataType) -> bool {
    let unnamed = |data_type: &DataType| {
        map(data_type, &|data_type| match data_type {
            DataType::List(item) => DataType::List(unnamed_item(&item)),
            DataType::LargeList(item) => DataType::LargeList(unnamed_item(&item)),
            DataType::FixedSizeList(item, size) => {
                DataType::FixedSizeList(unnamed_item(&item), size)
            }
            other => other,
        })
    };
    known == other || unnamed(known) == unnamed(other)
}

fn unnamed_item(item: &Field) -> FieldRef {
    Arc::new(item.clone().with_name("item"))
}

/// The narrowest number type that holds every value of both.
fn common(known: &DataType, other: &DataType) -> Option<DataType> {
    use DataType as T;
    if let (Some((signed, bits)), Some((other_signed, other_bits))) =
        (integer(known), integer(other))
    {
        // The number of bits without the sign decides.
        let bits = if signed == other_signed {
            bits.max(other_bits)
        } else if signed {
            bits.max(2 * other_bits)
        } else {
            other_bits.max(2 * bits)
        };
        return Some(match (signed || other_signed, bits) {
            (true, 8) => T::Int8,
            (true, 16) => T::Int16,
            (true, 32) => T::Int32,
            (true, 64) => T::Int64,
            (false, 8) => T::UInt8,
            (false, 16) => T::UInt16,
            (false, 32) => T::UInt32,
            (false, 64) => T::UInt64,
            _ => return None,
        });
    }
    if let (Some((precision, scale)), Some((other_precision, other_scale))) =
        (decimal(known), decimal(other))
    {
        let whole = (precision - scale).max(other_precision - other_scale);
        let scale = scale.max(other_scale);
        let precision = u8::try_from(whole + scale).ok()?;
        let scale = i8::try_from(scale).ok()?;
        return match precision {
            0..=38 => Some(T::Decimal128(precision, scale)),
            39..=76 => Some(T::Decimal256(precision, scale)),
            _ => None,
        };
    }
    let (floats, digits) = match (float_digits(known), float_digits(other)) {
        (Some(one), Some(two)) => (one.max(two), 0),
        (Some(float), None) => (float, integer_digits(other)?),
        (None, Some(float)) => (float, integer_digits(known)?),
        (None, None) => return None,
    };
    [(11, T::Float16), (24, T::Float32), (53, T::Float64)]
        .into_iter()
        .find(|(has, _)| *has >= floats.max(digits))
        .map(|(_, float)| float)
}

/// Whether an integer type is signed, and its number of bits.
fn integer(data_type: &DataType) -> Option<(bool, u32)> {
    let bits = 8 * data_type.primitive_width()? as u32;
    data_type
        .is_integer()
        .then_some((data_type.is_signed_integer(), bits))
}

/// The number of binary digits of the integers of a type.
fn integer_digits(data_type: &DataType) -> Option<u32> {
    integer(data_type).map(|(signed, bits)| bits - u32::from(signed))
}

/// The number of binary digits that a float type holds exactly.
fn float_digits(data_type: &DataType) -> Option<u32> {
    match data_type {
        DataType::Float16 => Some(11),
        DataType::Float32 => Some(24),
        DataType::Float64 => Some(53),
        _ => None,
    }
}

fn decimal(data_type: &DataType) -> Option<(i16, i16)> {
    match data_type {
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => Some(((*precision).into(), (*scale).into())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use DataType as T;

    #[test]
    fn types_of_several_files_widen_without_loss() {
        let widened = |known: &DataType, other: &DataType| {
            let mut both = [known.clone(), other.clone()];
            widen(&mut both[0], other);
            widen(&mut both[1], known);
            assert_eq!(both[0], both[1]);
            both[0].clone()
        };
        for (known, other, both) in [
            (T::Null, T::Date32, T::Date32),
            (T::Int8, T::Int8, T::Int8),
            (T::Int32, T::Int64, T::Int64),
            (T::UInt8, T::UInt32, T::UInt32),
            (T::UInt8, T::Int8, T::Int16),
            (T::UInt32, T::Int64, T::Int64),
            (T::UInt64, T::Int8, T::Utf8),
            (T::Float32, T::Float64, T::Float64),
            (T::Int16, T::Float32, T::Float32),
            (T::Int32, T::Float32, T::Float64),
            (T::UInt32, T::Float16, T::Float64),
            (T::Int64, T::Float64, T::Utf8),
            (T::Boolean, T::Int8, T::Utf8),
            (T::Utf8, T::LargeUtf8, T::Utf8),
            (
                T::Decimal128(10, 2),
                T::Decimal32(5, 4),
                T::Decimal128(12, 4),
            ),
            (
                T::Decimal128(38, 0),
                T::Decimal128(10, 2),
                T::Decimal256(40, 2),
            ),
            (T::Decimal256(76, 0), T::Decimal256(76, 2), T::Utf8),
        ] {
            assert_eq!(widened(&known, &other), both, "{known} and {other}");
        }
        let list = |name: &str| T::List(Arc::new(Field::new(name, T::Int32, true)));
        let mut known = list("item");
        widen(&mut known, &list("element"));
        assert_eq!(known, list("item"));
    }

    #[test]
    fn nulls_that_take_much_memory_are_refused() {
        let list =
            |item: DataType, size| T::FixedSizeList(Arc::new(Field::new("item", item, true)), size);
        assert!(is_sound(&list(T::Float32, 1024)));
        assert!(!is_sound(&list(T::Float32, 1 << 20)));
        assert!(!is_sound(&list(list(T::Float64, 1 << 16), 1 << 16)));
        assert!(!is_sound(&list(T::Int8, -1)));
        assert_eq!(output_type(&list(T::Float32, 1 << 20)), T::Utf8);
    }
}
