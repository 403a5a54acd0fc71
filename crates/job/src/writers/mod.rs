//! Writers of output files, from record batches with the id, the columns of the function and the carried columns.

mod carried;
mod columnar;
mod delimited;
mod json;

pub(crate) use columnar::ColumnarFile;

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{ArrowError, DataType, Field, FieldRef, SchemaRef};

use crate::format::OutputFormat;
use crate::record::Cell;
use crate::spec::Job;
use crate::types::{is_carried, is_sound};
use crate::{Error, Result};

/// Rows per write to a columnar file, so that the file does not depend on how the rows were split.
const CHUNK_ROWS: usize = 1024;

/// The error of a format library, or of the underlying writer.
pub(crate) type WriteError = Box<dyn std::error::Error + Send + Sync>;

/// A file of one format in memory.
pub(crate) trait Writer: Send {
    /// Appends rows of the schema of the writer, with ids and carried columns of the types of [`carried_field`].
    fn write(&mut self, rows: RecordBatch) -> Result<(), WriteError>;

    /// The complete file.
    fn finish(self: Box<Self>) -> Result<Vec<u8>, WriteError>;
}

/// A writer of a file with these columns.
pub(crate) fn writer(
    format: OutputFormat,
    schema: &SchemaRef,
) -> Result<Box<dyn Writer>, WriteError> {
    Ok(match format {
        OutputFormat::Csv => Box::new(delimited::Csv::new(schema)?),
        OutputFormat::Jsonl => Box::new(json::JsonLines::new()),
        OutputFormat::Parquet | OutputFormat::Arrow => {
            Box::new(ColumnarFile::new(format, Vec::new(), schema.clone())?)
        }
    })
}

/// The field of an id or carried column for the writer of `format`.
pub(crate) fn carried_field(format: OutputFormat, field: &FieldRef) -> FieldRef {
    match format {
        OutputFormat::Csv => Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8)),
        OutputFormat::Jsonl => Arc::new(json::raw_field(field)),
        OutputFormat::Parquet => columnar::parquet_field(field),
        OutputFormat::Arrow => columnar::arrow_field(field),
    }
}

/// An id or carried column for the writer of `format`.
pub(crate) fn carried_array(
    format: OutputFormat,
    field: &Field,
    cells: &[&Cell],
) -> Result<ArrayRef, ArrowError> {
    match format {
        OutputFormat::Jsonl => Ok(Arc::new(json::raw_array(cells))),
        _ => carried::array(field.data_type(), cells),
    }
}

/// Says why `cell` cannot be a value of an id or carried column for the writer of `format`.
pub(crate) fn check_carried(
    format: OutputFormat,
    field: &Field,
    cell: &Cell,
) -> Result<(), ArrowError> {
    match format {
        OutputFormat::Jsonl => Ok(()),
        _ => carried::check(field.data_type(), cell),
    }
}

/// Checks that `format` supports the columns of a function.
pub(crate) fn check(format: OutputFormat, columns: &SchemaRef) -> Result<()> {
    for field in columns.fields() {
        if format == OutputFormat::Csv && field.data_type().is_nested() {
            return Err(Error::Parameter(format!(
                "failed to write CSV: column {:?} has {}, which CSV does not support; use jsonl, parquet or arrow",
                field.name(),
                kind(field.data_type())
            ))
            .adjustable("format"));
        }
        let is_writable = is_sound(field.data_type())
            && (format != OutputFormat::Jsonl || json::holds(field))
            && (format != OutputFormat::Parquet || columnar::parquet_holds(field));
        if !is_writable {
            return Err(Error::Parameter(format!(
                "failed to write {}: it does not support column {:?} of type {}",
                format.extension(),
                field.name(),
                field.data_type()
            )));
        }
    }
    Ok(())
}

/// Checks that the output of an untrusted `job` can be written.
pub(crate) fn check_job(job: &Job) -> Result<()> {
    check(job.parameters.output_format, &job.function.output)?;
    let mut carried = job.columns.id.iter().chain(&job.columns.kept);
    match carried.find(|column| !is_carried(&column.data_type)) {
        None => Ok(()),
        Some(column) => Err(Error::Parameter(format!(
            "failed to carry column {:?} of type {}",
            column.name, column.data_type
        ))),
    }
}

/// The name of a nested type in messages.
fn kind(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Struct(_) | DataType::Map(..) => "structs",
        DataType::Union(..) => "values of several types",
        _ => "lists",
    }
}
