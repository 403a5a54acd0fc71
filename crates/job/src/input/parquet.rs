//! Parquet: batches are ranges of rows.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::DataType;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::basic::Type as PhysicalType;
use parquet::errors::ParquetError;
use parquet::file::metadata::{FileMetaData, ParquetMetaData};
use parquet::schema::types::{SchemaDescriptor, Type};

use super::footer;
use super::ranged::Ranged;
use super::schema::{Known, Schema};
use crate::column::has_name;
use crate::record::{BadRecord, Cell, Record};
use crate::spec::Columns;
use crate::store::Location;
use crate::{Error, Result, Role};

/// Rows that are decoded together: few, since a row may be large.
const ROWS_AT_ONCE: u64 = 64;

fn damaged(location: &Location, error: impl std::fmt::Display) -> Error {
    Error::input(
        location.uri(),
        format!("the Parquet file cannot be read: {error}"),
    )
}

/// The error of a file that could not be read: the store's, if it failed.
fn unreadable(file: &Ranged, location: &Location, error: impl std::fmt::Display) -> Error {
    file.failure().unwrap_or_else(|| damaged(location, error))
}

/// What `read` gives; where it panics, as the library does at some damage, the file is damaged.
fn guarded<T>(location: &Location, read: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err(damaged(location, "its metadata contradict themselves")))
}

fn open(location: &Location) -> Result<(Ranged, ArrowReaderMetadata)> {
    guarded(location, || open_unguarded(location))
}

fn open_unguarded(location: &Location) -> Result<(Ranged, ArrowReaderMetadata)> {
    let file = Ranged::open(location)?;
    if !footer::is_harmless(&file).map_err(|e| unreadable(&file, location, e))? {
        return Err(damaged(
            location,
            "its footer is damaged, or nests without end",
        ));
    }
    let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new())
        .map_err(|e| unreadable(&file, location, e))?;
    check_rows(metadata.metadata()).map_err(|e| damaged(location, e))?;
    Ok((file, metadata))
}

/// Whether the rows of the groups are those of the file: later they are added up without a check.
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
        Err("its groups have other numbers of rows than it has itself")
    }
}

/// The columns and the number of rows.
pub(crate) fn head(location: &Location) -> Result<(Schema, u64)> {
    let (_, metadata) = open(location)?;
    let columns = metadata
        .schema()
        .fields()
        .iter()
        .map(|field| {
            let plain = plain_type(field.data_type());
            Known {
                name: field.name().clone(),
                is_text: is_text(field.data_type()),
                data_type: if survives_text(&plain) && has_name(&plain) {
                    plain
                } else {
                    DataType::Utf8
                },
            }
        })
        .collect();
    let rows = metadata.metadata().file_metadata().num_rows();
    Ok((
        Schema { columns },
        u64::try_from(rows).map_err(|e| damaged(location, e))?,
    ))
}

/// The type behind a dictionary.
fn plain_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, value) => plain_type(value),
        other => other.clone(),
    }
}

fn is_text(data_type: &DataType) -> bool {
    matches!(
        plain_type(data_type),
        DataType::Utf8
            | DataType::LargeUtf8
            | DataType::Utf8View
            | DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
    )
}

/// Whether a value of the type is the same again after it was text.
fn survives_text(data_type: &DataType) -> bool {
    use DataType as T;
    data_type.is_integer()
        || matches!(
            data_type,
            T::Boolean
                | T::Float32
                | T::Float64
                | T::Date32
                | T::Timestamp(..)
                | T::Time32(_)
                | T::Time64(_)
                | T::Decimal128(..)
        )
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
    ready: std::vec::IntoIter<std::result::Result<Record, BadRecord>>,
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
        let inputs = columns.inputs.iter();
        let wanted = inputs
            .filter_map(|input| input.source.as_deref())
            .chain(columns.id.as_ref().map(|id| id.source.as_str()))
            .chain(columns.kept.iter().map(|kept| kept.source.as_str()));
        let fields = metadata.schema().fields();
        let roots = wanted
            .map(|name| {
                fields
                    .iter()
                    .position(|field| field.name() == name)
                    .ok_or_else(|| {
                        Error::input(location.uri(), format!("there is no column {name:?}"))
                    })
            })
            .collect::<Result<Vec<_>>>()?;
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

    /// The next record with its row, `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<(u64, std::result::Result<Record, BadRecord>)>> {
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

    fn decode(&self, rows: Range<u64>) -> Result<Vec<std::result::Result<Record, BadRecord>>> {
        guarded(&self.location, || {
            let batches = self
                .read(&rows)
                .map_err(|e| unreadable(&self.file, &self.location, e))?;
            Ok(batches
                .iter()
                .flat_map(|batch| self.records(batch))
                .collect())
        })
    }

    fn read(&self, rows: &Range<u64>) -> parquet::errors::Result<Vec<RecordBatch>> {
        // Row groups before and behind the range are left out by name; the offset counts within those that stay.
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

    fn records(&self, batch: &RecordBatch) -> Vec<std::result::Result<Record, BadRecord>> {
        let column = |name: &str| batch.column_by_name(name).map(cells);
        let ids = self.columns.id.as_ref().and_then(|id| column(&id.source));
        let inputs: Vec<_> = self
            .columns
            .inputs
            .iter()
            .map(|input| (&input.role, input.source.as_deref().and_then(column)))
            .collect();
        let kept: Vec<_> = self
            .columns
            .kept
            .iter()
            .map(|kept| column(&kept.source))
            .collect();
        let value = |column: &Option<Cells>, row: usize| match column {
            None => Ok(Cell::Null),
            Some(Ok(cells)) => cells[row].clone(),
            Some(Err(reason)) => Err(reason.clone()),
        };
        (0..batch.num_rows())
            .map(|row| {
                let id = value(&ids, row);
                let bad = |reason: String| BadRecord {
                    id: id.clone().unwrap_or_default(),
                    reason,
                };
                let need = |column: &Option<Cells>, what: &str| {
                    value(column, row).map_err(|reason| bad(format!("{what} {reason}")))
                };
                let input = |(role, column): &(&Role, Option<Cells>)| {
                    let name = &role.name;
                    match need(column, &format!("the {name}"))? {
                        Cell::Null if role.is_text && column.is_some() => {
                            Err(bad(format!("the {name} is null")))
                        }
                        Cell::Json(_) if role.is_text => {
                            Err(bad(format!("the {name} is not a string")))
                        }
                        cell => Ok(cell),
                    }
                };
                Ok(Record {
                    inputs: inputs
                        .iter()
                        .map(input)
                        .collect::<std::result::Result<_, _>>()?,
                    kept: kept
                        .iter()
                        .map(|column| need(column, "a kept column"))
                        .collect::<std::result::Result<_, _>>()?,
                    id: need(&ids, "the id")?,
                })
            })
            .collect()
    }
}

/// The same file with its strings as bytes. Strings are checked a page or a dictionary at a time, so that one value that
/// is not UTF-8 would take with it the rows around it; bytes are checked here, each value by itself.
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
        // The types of Arrow, which are given below.
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

/// A column's values, each of them or all with what is wrong: "is …".
type Cells = std::result::Result<Vec<std::result::Result<Cell, String>>, String>;

fn cells(array: &ArrayRef) -> Cells {
    let error = |e: arrow_schema::ArrowError| format!("is not readable: {e}");
    let plain = plain_type(array.data_type());
    let array = if plain == *array.data_type() {
        array.clone()
    } else {
        arrow_cast::cast(array, &plain).map_err(error)?
    };
    if plain == DataType::LargeBinary {
        let text = |bytes: &[u8]| match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Cell::Text(text.to_owned())),
            Err(e) => Err(format!("is not valid UTF-8 (byte {})", e.valid_up_to())),
        };
        return Ok(array
            .as_binary::<i64>()
            .iter()
            .map(|value| value.map_or(Ok(Cell::Null), text))
            .collect());
    }
    let is_json = plain.is_integer() || plain.is_floating() || plain == DataType::Boolean;
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(&array, &options).map_err(error)?;
    Ok((0..array.len())
        .map(|row| {
            if array.is_null(row) {
                return Ok(Cell::Null);
            }
            let value = formatter.value(row).to_string();
            Ok(match value.as_str() {
                // JSON has no words for these.
                "NaN" | "inf" | "-inf" => Cell::Text(value),
                _ if is_json => Cell::Json(value),
                _ => Cell::Text(value),
            })
        })
        .collect())
}
