//! Arrow IPC files: batches are ranges of rows.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::{ArrowError, DataType, Field, Schema as Fields, SchemaRef};

use super::columns::{self, RowContent};
use super::ipc::{self, Dictionaries, File, Footer};
use super::ranged::Ranged;
use super::schema::Schema;
use crate::spec::Columns;
use crate::store::Location;
use crate::{Error, Result};

/// Rows that are decoded at once: few, because a row may be large.
const ROWS_AT_ONCE: u64 = 64;

/// The error of the store, or else that of the reader.
fn unreadable(file: &Ranged, location: &Location, error: impl std::fmt::Display) -> Error {
    file.failure().unwrap_or_else(|| {
        Error::input(
            location.uri(),
            format!("the Arrow file cannot be read: {error}"),
        )
    })
}

/// The columns and the number of rows.
pub(crate) fn head(location: &Location) -> Result<(Schema, u64)> {
    let index = Index::read(location)?;
    Ok((columns::source_schema(&index.footer.schema), index.rows()))
}

/// The shared metadata of a file.
#[derive(Debug)]
pub(crate) struct Index {
    footer: Arc<Footer>,
    /// The columns with bytes instead of strings: values are checked one by one, so that invalid UTF-8 only affects its own
    /// row.
    schema: SchemaRef,
    /// The cumulative number of rows of the record batches.
    ends: Vec<u64>,
    /// Read on demand.
    dictionaries: Mutex<Option<Arc<Dictionaries>>>,
}

impl Index {
    pub(crate) fn read(location: &Location) -> Result<Self> {
        let bytes = Ranged::open(location)?;
        let failed = |e| unreadable(&bytes, location, e);
        let file = File::open(bytes.clone()).map_err(failed)?;
        let footer = file.footer().clone();
        let fields = footer.schema.fields().iter().map(|field| with_bytes(field));
        Ok(Self {
            schema: Arc::new(Fields::new(fields.collect::<Vec<_>>())),
            ends: file.index().map_err(failed)?,
            footer,
            dictionaries: Mutex::default(),
        })
    }

    pub(crate) fn rows(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }
}

fn with_bytes(field: &Field) -> Field {
    fn bytes(data_type: &DataType) -> DataType {
        match data_type {
            DataType::Utf8 => DataType::Binary,
            DataType::LargeUtf8 => DataType::LargeBinary,
            DataType::Utf8View => DataType::BinaryView,
            DataType::Dictionary(key, value) => {
                DataType::Dictionary(key.clone(), Box::new(bytes(value)))
            }
            other => other.clone(),
        }
    }
    // Keeps the id of the dictionary.
    field.clone().with_data_type(bytes(field.data_type()))
}

/// Reads the records of a range of rows.
pub(crate) struct Records {
    file: File<Ranged>,
    bytes: Ranged,
    index: Arc<Index>,
    dictionaries: Arc<Dictionaries>,
    projection: Vec<usize>,
    columns: Columns,
    location: Location,
    next: u64,
    end: u64,
    /// The index of a record batch, and its columns that cannot be read in ranges.
    whole: Option<(usize, RecordBatch)>,
    ready: std::vec::IntoIter<RowContent>,
    ready_from: u64,
}

impl Records {
    pub(crate) fn new(
        location: &Location,
        index: Arc<Index>,
        columns: &Columns,
        rows: Range<u64>,
    ) -> Result<Self> {
        if rows.end > index.rows() {
            return Err(Error::input(
                location.uri(),
                "it has fewer rows than when the run was planned",
            ));
        }
        let projection = columns::indices(&index.footer.schema, columns)
            .map_err(|name| Error::input(location.uri(), format!("there is no column {name:?}")))?;
        let bytes = Ranged::open(location)?;
        let file = File::with_footer(bytes.clone(), index.footer.clone());
        let fields = projection.iter().map(|column| index.schema.field(*column));
        let dictionaries = if fields.map(Field::data_type).any(has_dictionary) {
            let mut known = index
                .dictionaries
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            match &*known {
                Some(known) => known.clone(),
                None => {
                    let read = file.dictionaries(&index.schema);
                    let read = Arc::new(read.map_err(|e| unreadable(&bytes, location, e))?);
                    *known = Some(read.clone());
                    read
                }
            }
        } else {
            Arc::default()
        };
        Ok(Self {
            file,
            bytes,
            index,
            dictionaries,
            projection,
            columns: columns.clone(),
            location: location.clone(),
            next: rows.start,
            end: rows.end,
            whole: None,
            ready: Vec::new().into_iter(),
            ready_from: rows.start,
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
            self.ready_from = self.next;
            self.ready = self.decode()?.into_iter();
        }
    }

    /// The records from `next` on, as many as are decoded together.
    fn decode(&mut self) -> Result<Vec<RowContent>> {
        let ends = &self.index.ends;
        let number = ends.partition_point(|end| *end <= self.next);
        let first = number.checked_sub(1).map_or(0, |before| ends[before]);
        let end = self.end.min(ends[number]).min(self.next + ROWS_AT_ONCE);
        let rows = self.next - first..end - first;
        self.next = end;
        self.read(number, rows)
            .and_then(|batch| ipc::caught(|| Ok(columns::records(&self.columns, &batch))))
            .map_err(|e| unreadable(&self.bytes, &self.location, e))
    }

    /// Rows of a record batch.
    fn read(
        &mut self,
        number: usize,
        rows: Range<u64>,
    ) -> std::result::Result<RecordBatch, ArrowError> {
        let schema = &self.index.schema;
        let (first, length) = (rows.start as usize, (rows.end - rows.start) as usize);
        let mut arrays = self.file.range(number, schema, &self.projection, rows)?;
        let missing: Vec<_> = (0..arrays.len())
            .filter(|place| arrays[*place].is_none())
            .collect();
        if !missing.is_empty() {
            let whole = match &self.whole {
                Some((known, whole)) if *known == number => whole,
                _ => {
                    // Free the previous record batch first.
                    self.whole = None;
                    let projection: Vec<_> = missing
                        .iter()
                        .map(|place| self.projection[*place])
                        .collect();
                    let dictionaries = &self.dictionaries;
                    let whole = self.file.batch(number, schema, dictionaries, &projection)?;
                    &self.whole.insert((number, whole)).1
                }
            };
            for (place, array) in missing.into_iter().zip(whole.columns()) {
                arrays[place] = Some(array.slice(first, length));
            }
        }
        let schema = Arc::new(schema.project(&self.projection)?);
        let options = RecordBatchOptions::new().with_row_count(Some(length));
        let arrays = arrays.into_iter().flatten().collect();
        RecordBatch::try_new_with_options(schema, arrays, &options)
    }
}

fn has_dictionary(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(..) => true,
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => has_dictionary(item.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| has_dictionary(field.data_type())),
        DataType::Union(fields, _) => {
            let mut fields = fields.iter();
            fields.any(|(_, field)| has_dictionary(field.data_type()))
        }
        DataType::RunEndEncoded(_, values) => has_dictionary(values.data_type()),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
