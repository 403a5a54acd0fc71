//! Records and their values.

use arrow_array::ArrayRef;
use serde::Serialize;

use crate::Result;

/// A value of an input column. Text formats keep its original text.
///
/// Cells are equal if text formats show them alike.
#[derive(Debug, Clone, Default)]
pub enum Cell {
    /// No value: JSON `null`, a missing key, a null of Parquet, an empty field of CSV.
    #[default]
    Null,
    /// A string.
    Text(String),
    /// A number, boolean, array or object, as JSON text.
    Json(String),
    /// A value of a typed column.
    Typed(Typed),
}

/// A value of a typed column, for typed outputs, and how text formats show it.
#[derive(Debug, Clone)]
pub struct Typed {
    shown: Box<Cell>,
    /// The values of the column in some rows. Not a dictionary.
    pub(crate) array: ArrayRef,
    pub(crate) row: usize,
}

impl Typed {
    /// The value of a row of `array`, as `shown` by text formats.
    pub(crate) fn new(shown: Cell, array: ArrayRef, row: usize) -> Self {
        Self {
            shown: Box::new(shown),
            array,
            row,
        }
    }
}

impl Cell {
    /// What text formats show: null, text or JSON.
    fn shown(&self) -> &Self {
        match self {
            Self::Typed(typed) => &typed.shown,
            other => other,
        }
    }

    /// The value as text, `None` for null.
    pub fn as_text(&self) -> Option<&str> {
        match self.shown() {
            Self::Text(text) | Self::Json(text) => Some(text),
            _ => None,
        }
    }

    /// Appends the value as JSON.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        match self.shown() {
            Self::Text(text) => write_json_string(text, out),
            Self::Json(json) => out.extend_from_slice(json.as_bytes()),
            _ => out.extend_from_slice(b"null"),
        }
    }
}

impl PartialEq for Cell {
    fn eq(&self, other: &Self) -> bool {
        match (self.shown(), other.shown()) {
            (Self::Text(text), Self::Text(other)) | (Self::Json(text), Self::Json(other)) => {
                text == other
            }
            (Self::Null, Self::Null) => true,
            _ => false,
        }
    }
}

impl Eq for Cell {}

/// Appends `text` as a JSON string.
pub fn write_json_string(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("a string is always JSON");
}

/// A readable row of the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The id column's value, or the row number.
    pub id: Cell,
    /// The values that the function reads, in the order of [`Columns::inputs`](crate::spec::Columns::inputs).
    pub inputs: Vec<Cell>,
    /// The values of the kept columns, in the job's order.
    pub kept: Vec<Cell>,
}

impl Record {
    /// The first input value as text; empty for null.
    pub fn text(&self) -> &str {
        self.inputs
            .first()
            .and_then(Cell::as_text)
            .unwrap_or_default()
    }
}

/// A row of the input that becomes a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRecord {
    /// The id, if it could be read.
    pub id: Cell,
    /// The values of the kept columns that could be read, null for the others; empty if there are none.
    pub kept: Vec<Cell>,
    /// What is wrong with the row.
    pub reason: String,
}

impl BadRecord {
    /// A row whose kept columns could not be read.
    pub fn new(id: Cell, reason: impl Into<String>) -> Self {
        Self {
            id,
            kept: Vec::new(),
            reason: reason.into(),
        }
    }
}

/// A row of the input with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Row number over all sources, from 0.
    pub row: u64,
    /// Index of the source in the job.
    pub source: u32,
    /// Where in the source: the line, from 1, of a text format; the row, from 0, of Parquet and Arrow; the file, from 1, of a
    /// text folder.
    pub place: u64,
    /// The record, or what is wrong with it.
    pub content: Result<Record, BadRecord>,
}

/// One line of the dead letters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadLetter<'a> {
    /// The id, if it could be read.
    #[serde(serialize_with = "cell_as_json")]
    pub id: &'a Cell,
    /// Row number over all sources, from 0.
    pub row: u64,
    /// The input file.
    pub file: &'a str,
    /// Line in the file, from 1, for CSV, TSV and JSON Lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// Row in the file, from 0, for Parquet and Arrow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_row: Option<u64>,
    /// Why.
    pub reason: &'a str,
}

fn cell_as_json<S: serde::Serializer>(cell: &&Cell, serializer: S) -> Result<S::Ok, S::Error> {
    match cell.shown() {
        Cell::Text(text) => serializer.serialize_str(text),
        Cell::Json(json) => match serde_json::value::RawValue::from_string(json.clone()) {
            Ok(raw) => raw.serialize(serializer),
            Err(_) => serializer.serialize_str(json),
        },
        _ => serializer.serialize_none(),
    }
}
