//! Parts: the output of one batch, a complete file in the output's format.

use std::sync::Arc;

use arrow_array::{ArrayRef, Float32Array, RecordBatch, StringArray};
use arrow_cast::CastOptions;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use crate::format::OutputFormat;
use crate::input::footer::is_harmless;
use crate::record::{Cell, write_json_string};
use crate::spec::Job;
use crate::{Error, Result};

/// What the function found for a record.
#[derive(Debug, Clone, Copy)]
pub struct Labelled<'a> {
    /// The record's id.
    pub id: &'a Cell,
    /// The label, or several with `;` between them for a multi-label model.
    pub label: &'a str,
    /// The probability of the (most probable) label.
    pub score: f32,
    /// Each label's probability, in the model's order.
    pub scores: &'a [f32],
    /// The kept columns' values.
    pub kept: &'a [Cell],
}

/// The output's columns: `id`, `label`, `score`, each label's `score_LABEL` where asked for, and the kept ones.
pub fn schema(job: &Job) -> SchemaRef {
    let mut fields = vec![
        Field::new(
            "id",
            job.columns
                .id
                .as_ref()
                .map_or(DataType::Int64, |id| id.data_type.clone()),
            true,
        ),
        Field::new("label", DataType::Utf8, false),
        Field::new("score", DataType::Float32, false),
    ];
    if job.parameters.scores {
        let scores = job.model.labels.iter();
        fields.extend(
            scores.map(|label| Field::new(format!("score_{label}"), DataType::Float32, false)),
        );
    }
    let kept = job.columns.kept.iter();
    fields.extend(kept.map(|column| Field::new(&column.name, column.data_type.clone(), true)));
    Arc::new(Schema::new(fields))
}

/// The header that every CSV part starts with.
pub(crate) fn csv_header(job: &Job) -> Vec<u8> {
    let schema = schema(job);
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
    scores: bool,
    inner: Inner,
}

enum Inner {
    Csv(Box<csv::Writer<Vec<u8>>>),
    Jsonl(Vec<u8>),
    Parquet(Columns),
}

/// A part's values by column until it is whole.
#[derive(Default)]
struct Columns {
    ids: Vec<Option<String>>,
    labels: Vec<String>,
    scores: Vec<Vec<f32>>,
    kept: Vec<Vec<Option<String>>>,
}

impl PartWriter {
    /// A writer of a part of `job`.
    pub fn new(job: &Job) -> Self {
        let inner = match job.parameters.output_format {
            OutputFormat::Csv => {
                let mut start = csv_header(job);
                start.reserve(job.parameters.batch_size.min(4096) as usize * 32);
                Inner::Csv(Box::new(
                    csv::WriterBuilder::new().flexible(true).from_writer(start),
                ))
            }
            OutputFormat::Jsonl => Inner::Jsonl(Vec::new()),
            OutputFormat::Parquet => Inner::Parquet(Columns {
                scores: vec![
                    Vec::new();
                    1 + if job.parameters.scores {
                        job.model.labels.len()
                    } else {
                        0
                    }
                ],
                kept: vec![Vec::new(); job.columns.kept.len()],
                ..Columns::default()
            }),
        };
        Self {
            schema: schema(job),
            scores: job.parameters.scores,
            inner,
        }
    }

    /// Adds the result of a record.
    pub fn push(&mut self, row: Labelled<'_>) {
        let scores = if self.scores { row.scores } else { &[] };
        match &mut self.inner {
            Inner::Csv(writer) => {
                let mut field =
                    |text: &str| writer.write_field(text).expect("memory takes every row");
                field(row.id.as_text().unwrap_or_default());
                field(row.label);
                field(&number(row.score));
                scores.iter().for_each(|score| field(&number(*score)));
                row.kept
                    .iter()
                    .for_each(|cell| field(cell.as_text().unwrap_or_default()));
                writer
                    .write_record(None::<&[u8]>)
                    .expect("memory takes every row");
            }
            Inner::Jsonl(out) => {
                let mut names = self.schema.fields().iter().map(|field| field.name());
                let mut key = |out: &mut Vec<u8>, first: bool| {
                    out.push(if first { b'{' } else { b',' });
                    write_json_string(names.next().expect("a name for every value"), out);
                    out.push(b':');
                };
                key(out, true);
                row.id.write_json(out);
                key(out, false);
                write_json_string(row.label, out);
                for score in std::iter::once(&row.score).chain(scores) {
                    key(out, false);
                    serde_json::to_writer(&mut *out, score).expect("memory takes every row");
                }
                for cell in row.kept {
                    key(out, false);
                    cell.write_json(out);
                }
                out.extend_from_slice(b"}\n");
            }
            Inner::Parquet(columns) => {
                let text = |cell: &Cell| cell.as_text().map(str::to_owned);
                columns.ids.push(text(row.id));
                columns.labels.push(row.label.to_owned());
                for (column, score) in columns
                    .scores
                    .iter_mut()
                    .zip(std::iter::once(&row.score).chain(scores))
                {
                    column.push(*score);
                }
                for (column, cell) in columns.kept.iter_mut().zip(row.kept) {
                    column.push(text(cell));
                }
            }
        }
    }

    /// The whole part.
    ///
    /// # Errors
    /// A value does not fit its column's type (Parquet): the source is not what the plan saw.
    pub fn finish(self) -> Result<Vec<u8>> {
        match self.inner {
            Inner::Csv(writer) => Ok(writer.into_inner().expect("memory takes every row")),
            Inner::Jsonl(out) => Ok(out),
            Inner::Parquet(columns) => columns
                .finish(&self.schema)
                .map_err(|e| Error::input("a kept column", e.to_string())),
        }
    }
}

impl Columns {
    fn finish(self, schema: &SchemaRef) -> parquet::errors::Result<Vec<u8>> {
        let Self {
            ids,
            labels,
            scores,
            kept,
        } = self;
        let strings = |values: Vec<Option<String>>| -> ArrayRef {
            Arc::new(values.into_iter().collect::<StringArray>())
        };
        let mut arrays = vec![
            strings(ids),
            Arc::new(StringArray::from(labels)) as ArrayRef,
        ];
        arrays.extend(
            scores
                .into_iter()
                .map(|scores| Arc::new(Float32Array::from(scores)) as ArrayRef),
        );
        arrays.extend(kept.into_iter().map(strings));
        // Not `safe`: a value that does not fit must not silently become null.
        let options = CastOptions {
            safe: false,
            ..CastOptions::default()
        };
        let arrays = arrays
            .iter()
            .zip(schema.fields())
            .map(|(array, field)| arrow_cast::cast_with_options(array, field.data_type(), &options))
            .collect::<std::result::Result<Vec<_>, _>>()?;
        let batch = RecordBatch::try_new(schema.clone(), arrays)?;
        let mut writer =
            ArrowWriter::try_new(Vec::new(), schema.clone(), Some(parquet_properties()))?;
        writer.write(&batch)?;
        writer.into_inner()
    }
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
