//! Shows how a source is read, by its first rows.

use serde::Serialize;

use super::compression::Compression;
use super::found::Found;
use super::kind::Kind;
use super::look::{first_rows, look};
use super::schema::Schema;
use super::text::head_with_record;
use crate::column::Column;
use crate::dialect::{Dialect, Encoding};
use crate::format::Format;
use crate::record::Cell;
use crate::spec::Parameters;
use crate::{FunctionSpec, Result};

/// Number of columns whose values are shown.
const COLUMNS: usize = 8;
/// Maximum number of characters of a value.
const CHARACTERS: usize = 40;

/// How a source is read.
#[derive(Debug, Clone, Serialize)]
pub struct Preview {
    /// The name of the source.
    pub source: String,
    /// Its format.
    pub format: Format,
    /// Its compression.
    pub compression: Compression,
    /// The encoding of a text format.
    pub encoding: Option<&'static str>,
    /// How delimited text is written.
    pub dialect: Option<Dialect>,
    /// Whether the first row of delimited text names the columns.
    pub header_row: Option<bool>,
    /// All columns.
    pub columns: Vec<PreviewColumn>,
    /// The names of the columns of which `rows` has values, those that are used first.
    pub shown: Vec<String>,
    /// The first rows.
    pub rows: Vec<PreviewRow>,
    /// What was detected about the source that users may not expect, as in "it is …".
    pub notes: Vec<String>,
}

/// A column of a source.
#[derive(Debug, Clone, Serialize)]
pub struct PreviewColumn {
    /// Its name.
    pub name: String,
    /// The type of its values, as far as the first rows show it.
    pub data_type: String,
    /// What it is used for: `id`, a role of the function such as `text`, or `kept`.
    pub uses: Vec<String>,
}

/// A row of a source.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum PreviewRow {
    /// The values of the columns `shown`, long ones cut.
    Values(Vec<String>),
    /// Why the row becomes a dead letter.
    Bad {
        /// The reason.
        reason: String,
    },
}

/// How `found` is read, with its first `rows`. At most the first MiB of a text is read. Columns have no uses if they are not
/// those that `function` needs.
///
/// # Errors
/// The source cannot be read, or is malformed.
pub fn preview(
    found: &Found,
    function: &FunctionSpec,
    parameters: &Parameters,
    rows: usize,
) -> Result<Preview> {
    let columns = look(std::slice::from_ref(found), function, parameters);
    let mut columns = columns.unwrap_or_default();
    let mut preview = Preview {
        source: found.uri.clone(),
        format: found.format,
        compression: found.compression,
        encoding: None,
        dialect: None,
        header_row: None,
        columns: Vec::new(),
        shown: Vec::new(),
        rows: Vec::new(),
        notes: found.notes.clone(),
    };
    let mut schema = match Kind::of(found.format) {
        Kind::Text(format) => {
            let mut stream = format.open(found, parameters.encoding)?;
            let head = head_with_record(format, &mut stream, parameters)?;
            preview.encoding = Some(Encoding::name_of(stream.encoding()));
            preview.header_row = head.dialect.map(|_| parameters.dialect.header_row);
            preview.dialect = head.dialect;
            preview.notes.extend(head.notes);
            head.schema.unwrap_or_default()
        }
        Kind::Columnar(format) => format.head(&found.location)?.0,
    };
    schema.add_partitions(&found.partitions);
    let uses = |name: &str| {
        let id = columns.id.iter().filter(|id| id.source == name);
        let inputs = columns.inputs.iter();
        let inputs = inputs.filter(|input| input.source.as_deref() == Some(name));
        let kept = columns.kept.iter().filter(|kept| kept.source == name);
        id.map(|_| "id".to_owned())
            .chain(inputs.map(|input| input.role.name.clone()))
            .chain(kept.map(|_| "kept".to_owned()))
            .collect::<Vec<_>>()
    };
    preview.columns = described(&schema, uses);
    let mut shown: Vec<_> = schema.columns.iter().zip(&preview.columns).collect();
    // The values of columns with the same name cannot be told apart.
    shown.retain(|(_, column)| {
        let same = schema
            .columns
            .iter()
            .filter(|known| known.name == column.name);
        same.count() == 1
    });
    shown.sort_by_key(|(_, column)| column.uses.is_empty());
    columns.kept.clear();
    for (known, column) in shown.into_iter().take(COLUMNS) {
        preview.shown.push(column.name.clone());
        columns.kept.push(Column {
            source: column.name.clone(),
            name: column.name.clone(),
            data_type: known.data_type.clone(),
            extension: known.extension.clone(),
        });
    }
    for row in first_rows(found, &columns, parameters)?.take(rows) {
        preview.rows.push(match row?.1 {
            Ok(record) => PreviewRow::Values(record.kept.iter().map(value).collect()),
            Err(bad) => PreviewRow::Bad { reason: bad.reason },
        });
    }
    Ok(preview)
}

fn described(schema: &Schema, uses: impl Fn(&str) -> Vec<String>) -> Vec<PreviewColumn> {
    let columns = schema.columns.iter().map(|column| PreviewColumn {
        name: column.name.clone(),
        data_type: match (schema.is_typed, column.is_text) {
            (true, _) => column.source_type.to_string(),
            (false, true) => "text".into(),
            (false, false) => "numbers or other values".into(),
        },
        uses: uses(&column.name),
    });
    columns.collect()
}

/// A value on one line, cut if it is long.
fn value(cell: &Cell) -> String {
    let Some(text) = cell.as_text() else {
        return "null".into();
    };
    let mut shown = String::new();
    for character in text.chars().take(CHARACTERS) {
        match character {
            character if character.is_control() => shown.extend(character.escape_default()),
            character => shown.push(character),
        }
    }
    if text.chars().nth(CHARACTERS).is_some() {
        shown.push('…');
    }
    shown
}
