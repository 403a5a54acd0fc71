//! Parquet and Arrow IPC files.

use std::io::Write;
use std::sync::Arc;

use arrow_array::{RecordBatch, new_null_array};
use arrow_ipc::writer::FileWriter;
use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow_select::coalesce::BatchCoalescer;
use parquet::arrow::{ArrowSchemaConverter, ArrowWriter};
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use super::{CHUNK_ROWS, WriteError, Writer};
use crate::format::OutputFormat;
use crate::types::{parquet_type, value_type};

/// Approximate size of row groups, which are buffered in memory.
const ROW_GROUP_BYTES: usize = 32 << 20;

/// Properties of every Parquet file that shoal writes.
fn parquet_properties() -> WriterProperties {
    WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_created_by(concat!("shoal ", env!("CARGO_PKG_VERSION")).into())
        .build()
}

/// Whether Parquet supports the column.
pub(super) fn parquet_holds(field: &FieldRef) -> bool {
    let schema = Schema::new(vec![field.clone()]);
    ArrowSchemaConverter::new().convert(&schema).is_ok()
}

/// Whether Parquet supports the nullable column. Its conversion accepts types that the library cannot write.
fn holds_null(field: &FieldRef) -> bool {
    let schema = Arc::new(Schema::new(vec![field.clone()]));
    let write = || -> Result<(), WriteError> {
        let rows = vec![new_null_array(field.data_type(), 1)];
        let rows = RecordBatch::try_new(schema.clone(), rows)?;
        Ok(ArrowWriter::try_new(Vec::new(), schema, None)?.write(&rows)?)
    };
    write().is_ok()
}

/// The field of a carried column in Parquet. A type that Parquet does not support becomes text.
pub(super) fn parquet_field(field: &FieldRef) -> FieldRef {
    let data_type = parquet_type(field.data_type());
    let changed = Arc::new(field.as_ref().clone().with_data_type(data_type));
    match holds_null(&changed) {
        true => changed,
        false => Arc::new(Field::new(field.name(), DataType::Utf8, true)),
    }
}

/// The field of a carried column in Arrow. Dictionaries cannot change within a file, so their values are written.
pub(super) fn arrow_field(field: &FieldRef) -> FieldRef {
    let data_type = value_type(field.data_type()).clone();
    Arc::new(field.as_ref().clone().with_data_type(data_type))
}

/// A Parquet or Arrow file of any number of rows, written in bounded memory. It does not depend on how the rows are split.
pub(crate) struct ColumnarFile<W: Write + Send> {
    chunks: BatchCoalescer,
    file: File<W>,
}

enum File<W: Write + Send> {
    Parquet(ArrowWriter<W>),
    Arrow(FileWriter<W>),
}

impl<W: Write + Send> ColumnarFile<W> {
    /// A file that is written to `out`.
    ///
    /// # Panics
    /// `format` is a text format.
    pub(crate) fn new(format: OutputFormat, out: W, schema: SchemaRef) -> Result<Self, WriteError> {
        let file = match format {
            OutputFormat::Parquet => File::Parquet(ArrowWriter::try_new(
                out,
                schema.clone(),
                Some(parquet_properties()),
            )?),
            // Uncompressed, so that readers can map it into memory.
            OutputFormat::Arrow => File::Arrow(FileWriter::try_new(out, &schema)?),
            OutputFormat::Csv | OutputFormat::Jsonl => panic!("text formats have no typed columns"),
        };
        Ok(Self {
            chunks: BatchCoalescer::new(schema, CHUNK_ROWS),
            file,
        })
    }

    /// Appends rows.
    pub(crate) fn push(&mut self, rows: RecordBatch) -> Result<(), WriteError> {
        self.chunks.push_batch(rows)?;
        self.write_ready()
    }

    fn write_ready(&mut self) -> Result<(), WriteError> {
        while let Some(chunk) = self.chunks.next_completed_batch() {
            match &mut self.file {
                File::Parquet(writer) => {
                    writer.write(&chunk)?;
                    if writer.in_progress_size() >= ROW_GROUP_BYTES {
                        writer.flush()?;
                    }
                }
                File::Arrow(writer) => writer.write(&chunk)?,
            }
        }
        Ok(())
    }

    /// Completes the file, and returns the underlying writer.
    pub(crate) fn finish(mut self) -> Result<W, WriteError> {
        self.chunks.finish_buffered_batch()?;
        self.write_ready()?;
        match self.file {
            File::Parquet(writer) => Ok(writer.into_inner()?),
            File::Arrow(writer) => Ok(writer.into_inner()?),
        }
    }
}

impl Writer for ColumnarFile<Vec<u8>> {
    fn write(&mut self, rows: RecordBatch) -> Result<(), WriteError> {
        self.push(rows)
    }

    fn finish(self: Box<Self>) -> Result<Vec<u8>, WriteError> {
        ColumnarFile::finish(*self)
    }
}
