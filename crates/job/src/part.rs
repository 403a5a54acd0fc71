//! Parts: the output of one batch, a complete file in the output's format.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StringArray, new_null_array};
use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::column::{Column, ERROR};
use crate::format::OutputFormat;
use crate::input::{Content, caught, footer::is_harmless, ipc};
use crate::record::{BadRecord, Cell, Record};
use crate::spec::Job;
use crate::writers::{self, WriteError, Writer, check_carried};
use crate::{Error, Result};

/// The columns of a result: those of the function, and those of [`Parameters::error_column`](crate::spec::Parameters).
fn result_fields(job: &Job) -> Vec<FieldRef> {
    let output = job.function.output.fields().iter();
    if !job.parameters.error_column {
        return output.cloned().collect();
    }
    let nullable = output.map(|field| field.as_ref().clone().with_nullable(true));
    nullable
        .chain([Field::new(ERROR, DataType::Utf8, true)])
        .map(Arc::new)
        .collect()
}

/// The output's columns, in the types that the writer of the job's format expects: `id`, those of the function, `error` if
/// bad records are in the output, and the kept ones.
pub fn schema(job: &Job) -> SchemaRef {
    let Carried { id, kept, .. } = Carried::new(job);
    let fields = std::iter::once(id).chain(result_fields(job)).chain(kept);
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The columns of the output whose values are copied from the input, in the types that the writer of the job's format expects.
pub(crate) struct Carried {
    format: OutputFormat,
    id: FieldRef,
    kept: Vec<FieldRef>,
}

impl Carried {
    pub(crate) fn new(job: &Job) -> Self {
        let format = job.parameters.output_format;
        let carried = |column: &Column| {
            let field = Field::new(&column.name, column.data_type.clone(), true);
            let field = field.with_metadata(HashMap::from_iter(column.extension.clone()));
            writers::carried_field(format, &Arc::new(field))
        };
        let row_number = || Column {
            source: "id".into(),
            name: "id".into(),
            data_type: DataType::Int64,
            extension: BTreeMap::new(),
        };
        Self {
            format,
            id: carried(&job.columns.id.clone().unwrap_or_else(row_number)),
            kept: job.columns.kept.iter().map(carried).collect(),
        }
    }

    /// `content`, or a bad record if the output cannot hold one of its values.
    pub(crate) fn fit(&self, content: Content) -> Content {
        let record = content?;
        let fields = std::iter::once(&self.id).chain(&self.kept);
        let cells = std::iter::once(&record.id).chain(&record.kept);
        let misfit = fields.zip(cells).find_map(|(field, cell)| {
            let error = check_carried(self.format, field, cell).err()?;
            Some((field, error))
        });
        match misfit {
            None => Ok(record),
            Some((field, error)) => Err(BadRecord {
                reason: format!(
                    "column {:?} has a value that does not fit its type in the output, {}: {error}",
                    field.name(),
                    field.data_type()
                ),
                id: record.id,
                kept: record.kept,
            }),
        }
    }
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
    /// Whether bad records are written.
    has_errors: bool,
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
            has_errors: job.parameters.error_column,
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
        let mut results = rows.columns().to_vec();
        if self.has_errors {
            results.push(new_null_array(&DataType::Utf8, records.len()));
        }
        let ids = records.iter().map(|record| &record.id).collect();
        let kept = |index: usize| records.iter().map(|record| &record.kept[index]).collect();
        self.write(ids, results, &kept)
    }

    /// Whether bad records are part of the output.
    pub fn has_errors(&self) -> bool {
        self.has_errors
    }

    /// Appends a bad record: its id and kept values as far as they fit the types of their columns, and its reason.
    ///
    /// # Errors
    /// The part cannot be written.
    ///
    /// # Panics
    /// [`has_errors`](Self::has_errors) is false.
    pub fn push_bad(&mut self, bad: &BadRecord) -> Result<()> {
        assert!(self.has_errors, "the output has a column for errors");
        let first_kept = self.first_kept();
        let fields = self.schema.fields();
        let fitting = |index: usize, cell| match check_carried(self.format, &fields[index], cell) {
            Ok(()) => cell,
            Err(_) => &Cell::Null,
        };
        let id = fitting(0, &bad.id);
        let kept: Vec<_> = (first_kept..fields.len())
            .map(|index| match bad.kept.get(index - first_kept) {
                Some(cell) => fitting(index, cell),
                None => &Cell::Null,
            })
            .collect();
        let results = fields[1..first_kept - 1].iter();
        let mut results: Vec<_> = results
            .map(|field| new_null_array(field.data_type(), 1))
            .collect();
        results.push(Arc::new(StringArray::from(vec![bad.reason.as_str()])));
        self.write(vec![id], results, &|index| vec![kept[index]])
    }

    /// The index of the first kept column.
    fn first_kept(&self) -> usize {
        1 + self.tasks + usize::from(self.has_errors)
    }

    fn carried(&self, index: usize, cells: Vec<&Cell>) -> Result<ArrayRef> {
        writers::carried_array(self.format, self.schema.field(index), &cells)
            .map_err(|e| Error::Parameter(format!("failed to write a carried column: {e}")))
    }

    /// Writes rows. `kept` returns the values of a kept column.
    fn write<'a>(
        &mut self,
        ids: Vec<&'a Cell>,
        results: Vec<ArrayRef>,
        kept: &dyn Fn(usize) -> Vec<&'a Cell>,
    ) -> Result<()> {
        let mut arrays = vec![self.carried(0, ids)?];
        arrays.extend(results);
        let first_kept = self.first_kept();
        for index in first_kept..self.schema.fields().len() {
            arrays.push(self.carried(index, kept(index - first_kept))?);
        }
        let rows = RecordBatch::try_new(self.schema.clone(), arrays).map_err(|e| {
            Error::Parameter(format!(
                "the function returned columns that do not match its specification: {e}"
            ))
        })?;
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

/// The number of rows in a part, or `None` if it is not a complete file of its format.
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
