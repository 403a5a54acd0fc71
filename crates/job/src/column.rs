//! Output columns and their types.

use std::collections::BTreeMap;

use arrow_schema::DataType;
use serde::{Deserialize, Serialize};

/// The output column with the reasons of bad records.
pub(crate) const ERROR: &str = "error";

/// A column that is copied from the input to the output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name in the input.
    pub source: String,
    /// Its name in the output, with the prefix `input_` if the output has a column of that name already.
    pub name: String,
    /// Its type, for typed output formats.
    pub data_type: DataType,
    /// The metadata of its extension type, such as `arrow.uuid`, for typed output formats.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extension: BTreeMap<String, String>,
}

/// The type that holds a JSON value, or `NaN`, `Infinity` or `-Infinity`; `Null` for null.
pub(crate) fn json_type(json: &str) -> DataType {
    let is_float = || json.bytes().any(|b| matches!(b, b'.' | b'e' | b'E'));
    match json.as_bytes().first() {
        _ if matches!(json, "NaN" | "Infinity" | "-Infinity") => DataType::Float64,
        None | Some(b'n') => DataType::Null,
        Some(b't' | b'f') => DataType::Boolean,
        Some(b'-' | b'0'..=b'9') if json.parse::<i64>().is_ok() => DataType::Int64,
        // An integer beyond 64 bits would lose digits as a float.
        Some(b'-' | b'0'..=b'9') if is_float() => DataType::Float64,
        Some(_) => DataType::Utf8,
    }
}

/// The narrowest type that holds the JSON values of both. Mixed columns become strings that hold each value's JSON text, so
/// nothing is lost.
pub(crate) fn join(known: DataType, other: DataType) -> DataType {
    match (known, other) {
        (a, b) if a == b => a,
        (DataType::Null, known) | (known, DataType::Null) => known,
        (DataType::Int64, DataType::Float64) | (DataType::Float64, DataType::Int64) => {
            DataType::Float64
        }
        _ => DataType::Utf8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_join_to_the_narrowest_lossless_type() {
        let join = |values: &[&str]| {
            values
                .iter()
                .map(|v| json_type(v))
                .fold(DataType::Null, super::join)
        };
        assert_eq!(join(&["1", "null", "-7"]), DataType::Int64);
        assert_eq!(join(&["1", "2.5"]), DataType::Float64);
        assert_eq!(join(&["NaN", "1", "-Infinity"]), DataType::Float64);
        assert_eq!(join(&["true", "false"]), DataType::Boolean);
        assert_eq!(join(&["true", "1"]), DataType::Utf8);
        assert_eq!(join(&["1", "\"a\""]), DataType::Utf8);
        assert_eq!(join(&["123456789012345678901"]), DataType::Utf8);
        assert_eq!(join(&[]), DataType::Null);
    }
}
