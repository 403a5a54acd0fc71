//! Parts: the output of one batch, a complete file in the output's format.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::column::Column;
use crate::format::OutputFormat;
use crate::input::{caught, footer::is_harmless, ipc};
use crate::record::{Cell, Record};
use crate::spec::Job;
use crate::writers::{self, WriteError, Writer};
use crate::{Error, Result};

/// The output's columns, in the types that the writer of the job's format expects: `id`, those of the function, and the kept
/// ones.
pub fn schema(job: &Job) -> SchemaRef {
    let carried = |column: &Column| {
        let field = Field::new(&column.name, column.data_type.clone(), true);
        let field = field.with_metadata(HashMap::from_iter(column.extension.clone()));
        writers::carried_field(job.parameters.output_format, &Arc::new(field))
    };
    let row_number = || Column {
        source: "id".into(),
        name: "id".into(),
        data_type: DataType::Int64,
        extension: BTreeMap::new(),
    };
    let id = job.columns.id.clone().unwrap_or_else(row_number);
    let fields = std::iter::once(carried(&id))
        .chain(job.function.output.fields().iter().cloned())
        .chain(job.columns.kept.iter().map(carried));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The header that every CSV part starts with.
pub(crate) fn csv_header(job: &Job) -> Result<Vec<u8>> {
    writers::writer(OutputFormat::Csv, &schema(job))
        .and_then(|writer| writer.finish())
        .map_err(|e| Error::Parameter(format!("failed to write CSV: {e}")))
}

/// Writes one part in memory.
pub struct PartWriter {
    format: OutputFormat,
    schema: SchemaRef,
    /// Number of the function's columns.
    tasks: usize,
    writer: Result<Box<dyn Writer>, WriteError>,
}

impl PartWriter {
    /// A writer of a part of `job`.
    pub fn new(job: &Job) -> Self {
        let format = job.parameters.output_format;
        let schema = schema(job);
        Self {
            format,
            tasks: job.function.output.fields().len(),
            writer: writers::writer(format, &schema),
            schema,
        }
    }

    /// Appends the function's `rows`, one for each of `records`, in order.
    ///
    /// # Errors
    /// The rows do not match the records or the job's output columns, or a carried value does not fit its column's type
    /// (Parquet and Arrow), because the source has changed.
    pub fn push(&mut self, records: Vec<Record>, rows: RecordBatch) -> Result<()> {
        let function = |reason| Error::Parameter(format!("the function returned {reason}"));
        if rows.num_rows() != records.len() {
            return Err(function(format!(
                "{} rows for {} records",
                rows.num_rows(),
                records.len()
            )));
        }
        let tasks = self.tasks;
        if rows.num_columns() != tasks {
            return Err(function(format!(
                "{} columns, not the {tasks} of its specification",
                rows.num_columns()
            )));
        }
        let carried = |index: usize, cell: &dyn Fn(&Record) -> &Cell| {
            let cells: Vec<_> = records.iter().map(cell).collect();
            writers::carried_array(self.format, self.schema.field(index), &cells)
                .map_err(|e| Error::Parameter(format!("failed to write a carried column: {e}")))
        };
        let mut arrays: Vec<ArrayRef> = vec![carried(0, &|record| &record.id)?];
        arrays.extend(rows.columns().iter().cloned());
        for index in 1 + tasks..self.schema.fields().len() {
            arrays.push(carried(index, &|record| &record.kept[index - 1 - tasks])?);
        }
        let rows = RecordBatch::try_new(self.schema.clone(), arrays)
            .map_err(|e| function(format!("columns that do not match its specification: {e}")))?;
        let writer = self.writer.as_mut().map_err(|e| unwritable(e))?;
        writer.write(rows).map_err(|e| unwritable(&e))
    }

    /// The complete part.
    ///
    /// # Errors
    /// The format does not support the columns.
    pub fn finish(self) -> Result<Vec<u8>> {
        self.writer
            .and_then(|writer| writer.finish())
            .map_err(|e| unwritable(&e))
    }
}

fn unwritable(error: &WriteError) -> Error {
    Error::Parameter(format!("failed to write the rows of the function: {error}"))
}

/// The number of results in a part, or `None` if it is not a complete file of its format.
pub fn count_rows(format: OutputFormat, part: &[u8]) -> Option<u64> {
    match format {
        OutputFormat::Jsonl => count_lines(part),
        OutputFormat::Csv => {
            let mut reader = csv::Reader::from_reader(part);
            let mut record = csv::ByteRecord::new();
            let mut rows = 0;
            while reader.read_byte_record(&mut record).ok()? {
                rows += 1;
            }
            (part.last() == Some(&b'\n')).then_some(rows)
        }
        OutputFormat::Parquet | OutputFormat::Arrow => {
            let part = Bytes::copy_from_slice(part);
            let count = |rows: Result<RecordBatch, WriteError>| Ok(rows?.num_rows() as u64);
            caught(|| rows(format, part)?.map(count).sum()).ok()
        }
    }
}

/// The rows of a Parquet or Arrow part.
///
/// # Panics
/// `format` is a text format.
pub(crate) fn rows(
    format: OutputFormat,
    part: Bytes,
) -> Result<Box<dyn Iterator<Item = Result<RecordBatch, WriteError>>>, WriteError> {
    match format {
        OutputFormat::Parquet => {
            if !is_harmless(&part)? {
                return Err("its footer is not one written by shoal".into());
            }
            let reader = ParquetRecordBatchReaderBuilder::try_new(part)?.build()?;
            Ok(Box::new(reader.map(|rows| Ok(rows?))))
        }
        OutputFormat::Arrow => {
            let mut batches = caught(|| Ok(ipc::File::open(part)?.batches()?))?;
            Ok(Box::new(std::iter::from_fn(move || {
                caught(|| Ok(batches.next().transpose()?)).transpose()
            })))
        }
        OutputFormat::Csv | OutputFormat::Jsonl => panic!("text formats have no typed columns"),
    }
}

/// The number of lines, or `None` if the last one is incomplete.
pub fn count_lines(content: &[u8]) -> Option<u64> {
    let is_complete = content.last().is_none_or(|last| *last == b'\n');
    is_complete.then(|| memchr::memchr_iter(b'\n', content).count() as u64)
}
