//! Records from the values of rows.

use std::fmt::Display;
use std::io;
use std::str::Utf8Error;

use crate::dialect::Encoding;
use crate::record::{BadRecord, Cell, Record};
use crate::spec::{Columns, Partition};
use crate::{Error, Result};

/// Maximum size of a record. Larger ones become dead letters unread, which bounds the memory for a row or an unclosed quote.
pub const MAX_RECORD_BYTES: u64 = 64 << 20;

/// Maximum size of a record with its line break, which does not count.
pub(super) const MAX_LINE_BYTES: u64 = MAX_RECORD_BYTES + 2;

/// The error for an oversized record that the plan does not mark as such.
pub(super) const TOO_LONG: &str = "a record is larger than the plan allows; start a new run";

/// The content of a row: a record, or what is wrong with it.
pub(crate) type Content = Result<Record, BadRecord>;

/// The rows of a slice in order: place and content. Places are those of [`Row`](crate::Row).
pub(crate) type Contents = Box<dyn Iterator<Item = Result<(u64, Content)>> + Send>;

/// The rows that `step` reads from the source `uri`.
pub(super) fn contents(
    uri: &str,
    mut step: impl FnMut() -> io::Result<Option<(u64, Content)>> + Send + 'static,
) -> Contents {
    let uri = uri.to_owned();
    Box::new(std::iter::from_fn(move || {
        let row = step().map_err(|e| Error::storage("read", &uri, e));
        row.transpose()
    }))
}

/// The content of a row from the values of [`Columns::sources`].
///
/// `value` gets the index of a column, and whether its value must be a string. Its errors follow the name of the column. `id`
/// is the id of a bad record.
pub(super) fn content(
    columns: &Columns,
    id: Cell,
    mut value: impl FnMut(usize, bool) -> Result<Cell, String>,
) -> Content {
    let id = columns.partition(0).map_or(id, partition_cell);
    let mut value = |index: usize, is_text: bool, name: &dyn Display| {
        let value = match columns.partition(index) {
            None => value(index, is_text),
            Some(partition) => match partition_cell(partition) {
                Cell::Null if is_text => Err("is null".to_owned()),
                cell => Ok(cell),
            },
        };
        value.map_err(|reason| format!("{name} {reason}"))
    };
    let inputs = columns.inputs.iter().enumerate();
    let inputs: Result<Vec<_>, _> = inputs
        .map(|(index, input)| {
            let is_text = input.role.is_text && input.source.is_some();
            value(1 + index, is_text, &format_args!("the {}", input.role.name))
        })
        .collect();
    let first_kept = 1 + columns.inputs.len();
    let kept: Vec<_> = (first_kept..first_kept + columns.kept.len())
        .map(|index| value(index, false, &"a kept column"))
        .collect();
    let wrong_kept = kept.iter().find_map(|value| value.as_ref().err());
    let wrong = inputs.as_ref().err().or(wrong_kept).cloned();
    let (kept, inputs) = (
        kept.into_iter().map(Result::unwrap_or_default).collect(),
        inputs.unwrap_or_default(),
    );
    match wrong.map_or_else(|| value(0, false, &"the id"), Err) {
        Ok(id) => Ok(Record { id, inputs, kept }),
        Err(reason) => Err(BadRecord { id, kept, reason }),
    }
}

fn partition_cell(partition: &Partition) -> Cell {
    partition.value.clone().map_or(Cell::Null, Cell::Text)
}

/// A string from bytes that may not be valid UTF-8, to which text in `encoding` was converted.
pub(super) fn text(bytes: &[u8], encoding: Option<Encoding>) -> Result<Cell, String> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(Cell::Text(text.to_owned())),
        Err(e) => Err(invalid_text(&e, encoding)),
    }
}

/// Says that text in `encoding` is invalid, as in "the text is …".
pub(super) fn invalid_text(error: &Utf8Error, encoding: Option<Encoding>) -> String {
    match encoding {
        None => format!("is not valid UTF-8 (byte {})", error.valid_up_to()),
        // The position is not that in the file.
        Some(encoding) => format!("is not valid {}", encoding.name()),
    }
}
