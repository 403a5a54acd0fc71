//! Parquet: batches are ranges of rows.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::DataType;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::basic::Type as PhysicalType;
use parquet::errors::ParquetError;
use parquet::file::metadata::{FileMetaData, ParquetMetaData};
use parquet::schema::types::{SchemaDescriptor, Type};

use super::columns::{self, RowContent, is_text};
use super::footer;
use super::ranged::Ranged;
use super::schema::Schema;
use crate::spec::Columns;
use crate::store::Location;
use crate::{Error, Result};

/// Rows that are decoded at once: few, because a row may be large.
const ROWS_AT_ONCE: u64 = 64;

fn damaged(location: &Location, error: impl std::fmt::Display) -> Error {
    Error::input(
        location.uri(),
        format!("the Parquet file cannot be read: {error}"),
    )
}

/// The error of the store, or else that of the reader.
fn unreadable(file: &Ranged, location: &Location, error: impl std::fmt::Display) -> Error {
    file.failure().unwrap_or_else(|| damaged(location, error))
}

/// Converts a panic in `read`, which the library raises for some damaged files, to an error.
fn guarded<T>(location: &Location, read: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err(damaged(location, "its metadata is inconsistent")))
}

fn open(location: &Location) -> Result<(Ranged, ArrowReaderMetadata)> {
    guarded(location, || open_unguarded(location))
}

fn open_unguarded(location: &Location) -> Result<(Ranged, ArrowReaderMetadata)> {
    let file = Ranged::open(location)?;
    if !footer::is_harmless(&file).map_err(|e| unreadable(&file, location, e))? {
        return Err(damaged(
            location,
            "its footer is damaged or too deeply nested",
        ));
    }
    let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new())
        .map_err(|e| unreadable(&file, location, e))?;
    check_rows(metadata.metadata()).map_err(|e| damaged(location, e))?;
    Ok((file, metadata))
}

/// Checks that the row groups add up to the rows of the file, as the library assumes.
fn check_rows(metadata: &ParquetMetaData) -> std::result::Result<(), &'static str> {
    let mut sum = Some(0i64);
    for group in metadata.row_groups() {
        let rows = group.num_rows();
        sum = sum
            .filter(|_| rows >= 0)
            .and_then(|sum| sum.checked_add(rows));
    }
    if sum == Some(metadata.file_metadata().num_rows()) {
        Ok(())
    } else {
        Err("the rows of its groups do not add up to those of the file")
    }
}

/// The columns and the number of rows.
pub(crate) fn head(location: &Location) -> Result<(Schema, u64)> {
    let (_, metadata) = open(location)?;
    let rows = metadata.metadata().file_metadata().num_rows();
    Ok((
        columns::source_schema(metadata.schema()),
        u64::try_from(rows).map_err(|e| damaged(location, e))?,
    ))
}

/// Reads the records of a range of rows.
pub(crate) struct Records {
    file: Ranged,
    metadata: ArrowReaderMetadata,
    columns: Columns,
    mask: ProjectionMask,
    location: Location,
    next: u64,
    end: u64,
    ready: std::vec::IntoIter<RowContent>,
    ready_from: u64,
}

impl Records {
    pub(crate) fn new(location: &Location, columns: &Columns, rows: Range<u64>) -> Result<Self> {
        let (file, metadata) = open(location)?;
        let metadata = guarded(location, || {
            with_bytes(&metadata).map_err(|e| damaged(location, e))
        })?;
        let total = metadata.metadata().file_metadata().num_rows();
        if i64::try_from(rows.end).is_ok_and(|end| end > total) {
            return Err(Error::input(
                location.uri(),
                "it has fewer rows than when the run was planned",
            ));
        }
        let roots = columns::indices(metadata.schema(), columns)
            .map_err(|name| Error::input(location.uri(), format!("there is no column {name:?}")))?;
        let mask = ProjectionMask::roots(metadata.parquet_schema(), roots);
        Ok(Self {
            file,
            mask,
            columns: columns.clone(),
            location: location.clone(),
            next: rows.start,
            end: rows.end,
            ready: Vec::new().into_iter(),
            ready_from: rows.start,
            metadata,
        })
    }

    /// The next record with its row, or `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<(u64, RowContent)>> {
        loop {
            if let Some(record) = self.ready.next() {
                self.ready_from += 1;
                return Ok(Some((self.ready_from - 1, record)));
            }
            if self.next == self.end {
                return Ok(None);
            }
            let rows = self.next..self.end.min(self.next + ROWS_AT_ONCE);
            self.ready_from = rows.start;
            self.next = rows.end;
            self.ready = self.decode(rows)?.into_iter();
        }
    }

    fn decode(&self, rows: Range<u64>) -> Result<Vec<RowContent>> {
        guarded(&self.location, || {
            let batches = self
                .read(&rows)
                .map_err(|e| unreadable(&self.file, &self.location, e))?;
            Ok(batches
                .iter()
                .flat_map(|batch| columns::records(&self.columns, batch))
                .collect())
        })
    }

    fn read(&self, rows: &Range<u64>) -> parquet::errors::Result<Vec<RecordBatch>> {
        // Only the row groups of the range are read; the offset counts within them.
        let mut groups = Vec::new();
        let (mut first, mut offset) = (0, 0);
        for (index, group) in self.metadata.metadata().row_groups().iter().enumerate() {
            let end = first + group.num_rows() as u64;
            if end > rows.start && first < rows.end {
                if groups.is_empty() {
                    offset = rows.start - first;
                }
                groups.push(index);
            }
            first = end;
        }
        ParquetRecordBatchReaderBuilder::new_with_metadata(self.file.clone(), self.metadata.clone())
            .with_projection(self.mask.clone())
            .with_row_groups(groups)
            .with_offset(offset as usize)
            .with_limit((rows.end - rows.start) as usize)
            .with_batch_size((rows.end - rows.start) as usize)
            .build()?
            .map(|batch| batch.map_err(ParquetError::from))
            .collect()
    }
}

/// The metadata with bytes instead of strings. The library checks strings a page or a dictionary at a time; bytes are checked
/// value by value, so that invalid UTF-8 only affects its own row.
fn with_bytes(metadata: &ArrowReaderMetadata) -> parquet::errors::Result<ArrowReaderMetadata> {
    let whole = metadata.metadata();
    let file = whole.file_metadata();
    let root = file.schema_descr().root_schema();
    let (mut columns, mut fields) = (Vec::new(), Vec::new());
    for (column, field) in root.get_fields().iter().zip(metadata.schema().fields()) {
        if is_text(field.data_type()) {
            let bytes = Type::primitive_type_builder(column.name(), PhysicalType::BYTE_ARRAY)
                .with_repetition(column.get_basic_info().repetition())
                .build()?;
            columns.push(Arc::new(bytes));
            fields.push(field.as_ref().clone().with_data_type(DataType::LargeBinary));
        } else {
            columns.push(column.clone());
            fields.push(field.as_ref().clone());
        }
    }
    let root = Type::group_type_builder(root.name())
        .with_fields(columns)
        .build()?;
    let file = FileMetaData::new(
        file.version(),
        file.num_rows(),
        file.created_by().map(str::to_owned),
        // The Arrow schema is given below.
        None,
        Arc::new(SchemaDescriptor::new(Arc::new(root))),
        None,
    );
    let schema = Arc::new(arrow_schema::Schema::new(fields));
    ArrowReaderMetadata::try_new(
        Arc::new(ParquetMetaData::new(file, whole.row_groups().to_vec())),
        ArrowReaderOptions::new().with_schema(schema),
    )
}
