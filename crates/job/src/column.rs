//! Output columns and their types.

use arrow_schema::DataType;
use serde::{Deserialize, Serialize};

/// A column that is copied from the input to the output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name in the input.
    pub source: String,
    /// Its name in the output, with the prefix `input_` if the output has a column of that name already.
    pub name: String,
    /// Its type, for typed output formats.
    pub data_type: DataType,
}

/// The narrowest type that holds every JSON value seen in a column.
///
/// Mixed columns become strings that hold each value's JSON text, so nothing is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum JsonType {
    /// Only nulls so far.
    #[default]
    Unknown,
    /// Only booleans.
    Bool,
    /// Only integers that fit 64 bits.
    Int,
    /// Numbers, some of them not integers.
    Float,
    /// Anything else.
    Text,
}

impl JsonType {
    /// The type of a JSON value.
    pub(crate) fn of(json: &str) -> Self {
        match json.as_bytes().first() {
            None | Some(b'n') => Self::Unknown,
            Some(b't' | b'f') => Self::Bool,
            Some(b'-' | b'0'..=b'9') => {
                if json.parse::<i64>().is_ok() {
                    Self::Int
                } else if json.bytes().any(|b| matches!(b, b'.' | b'e' | b'E')) {
                    Self::Float
                } else {
                    // An integer beyond 64 bits: a float would lose digits.
                    Self::Text
                }
            }
            Some(_) => Self::Text,
        }
    }

    /// The narrowest type that holds both.
    pub(crate) fn join(self, other: Self) -> Self {
        match (self, other) {
            (a, b) if a == b => a,
            (Self::Unknown, known) | (known, Self::Unknown) => known,
            (Self::Int, Self::Float) | (Self::Float, Self::Int) => Self::Float,
            _ => Self::Text,
        }
    }

    /// Its type in a typed format.
    pub(crate) fn data_type(self) -> DataType {
        match self {
            Self::Unknown => DataType::Null,
            Self::Text => DataType::Utf8,
            Self::Bool => DataType::Boolean,
            Self::Int => DataType::Int64,
            Self::Float => DataType::Float64,
        }
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
                .map(|v| JsonType::of(v))
                .fold(JsonType::Unknown, JsonType::join)
                .data_type()
        };
        assert_eq!(join(&["1", "null", "-7"]), DataType::Int64);
        assert_eq!(join(&["1", "2.5"]), DataType::Float64);
        assert_eq!(join(&["true", "false"]), DataType::Boolean);
        assert_eq!(join(&["true", "1"]), DataType::Utf8);
        assert_eq!(join(&["1", "\"a\""]), DataType::Utf8);
        assert_eq!(join(&["123456789012345678901"]), DataType::Utf8);
        assert_eq!(join(&[]), DataType::Null);
    }
}
