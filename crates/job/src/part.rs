//! Parts: the output of one batch, a complete file in the output's format.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Float32Type;
use arrow_array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow_cast::CastOptions;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use crate::format::OutputFormat;
use crate::input::footer::is_harmless;
use crate::record::{Cell, Record, write_json_string};
use crate::spec::Job;
use crate::{Error, Result};

/// The output's columns: `id`, those of the function, and the kept ones.
pub fn schema(job: &Job) -> SchemaRef {
    let id = job.columns.id.as_ref();
    let id_type = id.map_or(DataType::Int64, |id| id.data_type.clone());
    let id = Arc::new(Field::new("id", id_type, true));
    let kept = job.columns.kept.iter();
    let kept = kept.map(|column| Field::new(&column.name, column.data_type.clone(), true).into());
    let fields = std::iter::once(id)
        .chain(job.function.output.fields().iter().cloned())
        .chain(kept);
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The header that every CSV part starts with.
pub(crate) fn csv_header(job: &Job) -> Vec<u8> {
    csv_head(&schema(job))
}

fn csv_head(schema: &Schema) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer
        .write_record(schema.fields().iter().map(|field| field.name()))
        .expect("memory takes every row");
    writer.into_inner().expect("memory takes every row")
}

/// Properties of every Parquet file that shoal writes.
pub(crate) fn parquet_properties() -> WriterProperties {
    WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_created_by(concat!("shoal ", env!("CARGO_PKG_VERSION")).into())
        .build()
}

/// Writes one part in memory.
pub struct PartWriter {
    schema: SchemaRef,
    format: OutputFormat,
    ids: Vec<Cell>,
    rows: Vec<RecordBatch>,
    kept: Vec<Vec<Cell>>,
}

impl PartWriter {
    /// A writer of a part of `job`.
    pub fn new(job: &Job) -> Self {
        Self {
            schema: schema(job),
            format: job.parameters.output_format,
            ids: Vec::new(),
            rows: Vec::new(),
            kept: vec![Vec::new(); job.columns.kept.len()],
        }
    }

    /// Adds the function's `rows` for `records`, a row for each, in order.
    ///
    /// # Errors
    /// `rows` are not as many, or have other columns than the job says.
    pub fn push(&mut self, records: Vec<Record>, rows: RecordBatch) -> Result<()> {
        if rows.num_rows() != records.len() {
            return Err(Error::input(
                "the function",
                format!(
                    "it gave {} rows for {} records",
                    rows.num_rows(),
                    records.len()
                ),
            ));
        }
        for record in records {
            self.ids.push(record.id);
            for (column, cell) in self.kept.iter_mut().zip(record.kept) {
                column.push(cell);
            }
        }
        self.rows.push(rows);
        Ok(())
    }

    /// The whole part.
    ///
    /// # Errors
    /// A value does not fit its column's type (Parquet): the source is not what the plan saw.
    pub fn finish(self) -> Result<Vec<u8>> {
        let failed =
            |e: parquet::errors::ParquetError| Error::input("a kept column", e.to_string());
        match self.format {
            OutputFormat::Csv => {
                let mut writer = csv::WriterBuilder::new()
                    .flexible(true)
                    .from_writer(csv_head(&self.schema));
                self.each(|row| {
                    for (_, value) in row {
                        let text = match value {
                            Value::Cell(cell) => cell.as_text().unwrap_or_default().to_owned(),
                            Value::Task(array, at) => text_of(array, *at).unwrap_or_default(),
                        };
                        writer.write_field(text).expect("memory takes every row");
                    }
                    writer
                        .write_record(None::<&[u8]>)
                        .expect("memory takes every row");
                });
                Ok(writer.into_inner().expect("memory takes every row"))
            }
            OutputFormat::Jsonl => {
                let mut out = Vec::new();
                self.each(|row| {
                    for (index, (name, value)) in row.iter().enumerate() {
                        out.push(if index == 0 { b'{' } else { b',' });
                        write_json_string(name, &mut out);
                        out.push(b':');
                        match value {
                            Value::Cell(cell) => cell.write_json(&mut out),
                            Value::Task(array, at) => {
                                match (array.data_type(), text_of(array, *at)) {
                                    (_, None) => out.extend(b"null"),
                                    (DataType::Utf8, Some(text)) => {
                                        write_json_string(&text, &mut out)
                                    }
                                    (_, Some(text)) => out.extend(text.into_bytes()),
                                }
                            }
                        }
                    }
                    out.extend_from_slice(b"}\n");
                });
                Ok(out)
            }
            OutputFormat::Parquet => self.parquet().map_err(failed),
        }
    }

    fn each(&self, mut write: impl FnMut(&[(&str, Value<'_>)])) {
        let mut number = 0;
        for rows in &self.rows {
            for at in 0..rows.num_rows() {
                let id = Value::Cell(&self.ids[number]);
                let task = rows.columns().iter().map(|array| Value::Task(array, at));
                let kept = self.kept.iter().map(|column| Value::Cell(&column[number]));
                let values = std::iter::once(id).chain(task).chain(kept);
                let names = self
                    .schema
                    .fields()
                    .iter()
                    .map(|field| field.name().as_str());
                write(&names.zip(values).collect::<Vec<_>>());
                number += 1;
            }
        }
    }

    fn parquet(self) -> parquet::errors::Result<Vec<u8>> {
        let strings = |values: Vec<Cell>| -> ArrayRef {
            let values = values.iter().map(Cell::as_text);
            Arc::new(values.collect::<StringArray>())
        };
        let mut arrays = vec![strings(self.ids)];
        let tasks = self.schema.fields().len() - 1 - self.kept.len();
        for index in 0..tasks {
            let parts: Vec<_> = self.rows.iter().map(|rows| &**rows.column(index)).collect();
            arrays.push(if parts.is_empty() {
                arrow_array::new_empty_array(self.schema.field(1 + index).data_type())
            } else {
                arrow_select::concat::concat(&parts)?
            });
        }
        arrays.extend(self.kept.into_iter().map(strings));
        // Not `safe`: a value that does not fit must not silently become null.
        let options = CastOptions {
            safe: false,
            ..CastOptions::default()
        };
        let arrays = arrays
            .iter()
            .zip(self.schema.fields())
            .map(|(array, field)| arrow_cast::cast_with_options(array, field.data_type(), &options))
            .collect::<std::result::Result<Vec<_>, _>>()?;
        let batch = RecordBatch::try_new(self.schema.clone(), arrays)?;
        let mut writer =
            ArrowWriter::try_new(Vec::new(), self.schema.clone(), Some(parquet_properties()))?;
        writer.write(&batch)?;
        writer.into_inner()
    }
}

/// A value of a row of the output.
enum Value<'a> {
    Cell(&'a Cell),
    Task(&'a ArrayRef, usize),
}

/// A value of a task's column as text, `None` for null; lists are JSON.
fn text_of(array: &ArrayRef, at: usize) -> Option<String> {
    if array.is_null(at) {
        return None;
    }
    Some(match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().value(at).to_owned(),
        DataType::Float32 => number(array.as_primitive::<Float32Type>().value(at)),
        DataType::FixedSizeList(..) => {
            let list = array.as_fixed_size_list().value(at);
            let values = list.as_primitive::<Float32Type>().values().iter();
            format!(
                "[{}]",
                values
                    .map(|value| number(*value))
                    .collect::<Vec<_>>()
                    .join(",")
            )
        }
        other => unreachable!("no task has a column of type {other}"),
    })
}

/// The shortest text that reads back as the same number.
fn number(value: f32) -> String {
    if value.is_finite() {
        serde_json::to_string(&value).expect("a finite number is JSON")
    } else {
        value.to_string()
    }
}

/// The number of results in a part, `None` where it is not a whole file of its format.
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
        OutputFormat::Parquet => {
            let part = bytes::Bytes::copy_from_slice(part);
            if !is_harmless(&part).ok()? {
                return None;
            }
            let reader = ParquetRecordBatchReaderBuilder::try_new(part).ok()?;
            u64::try_from(reader.metadata().file_metadata().num_rows()).ok()
        }
    }
}

/// The number of lines, `None` where the last one does not end.
pub fn count_lines(content: &[u8]) -> Option<u64> {
    let is_whole = content.last().is_none_or(|last| *last == b'\n');
    is_whole.then(|| memchr::memchr_iter(b'\n', content).count() as u64)
}
