//! Arrow IPC files.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};

use super::columnar::{ColumnarFormat, Metadata, Read, ReadRows};
use super::ipc::{Dictionaries, File, Footer};
use super::nested::Place;
use super::ranged::Ranged;

use crate::Result;
use crate::types::with_bytes;

/// Arrow IPC.
pub(super) const FORMAT: ColumnarFormat = ColumnarFormat {
    name: "Arrow",
    metadata: |file| Ok(Arc::new(Index::read(file)?)),
};

/// The footer of a file, and what is read once for it.
#[derive(Debug)]
struct Index {
    footer: Arc<Footer>,
    /// The columns with bytes instead of strings.
    schema: SchemaRef,
    /// The cumulative number of rows of the record batches.
    ends: Vec<u64>,
    /// Read on demand.
    dictionaries: Mutex<Option<Arc<Dictionaries>>>,
}

impl Index {
    fn read(file: &Ranged) -> Read<Self> {
        let file = File::open(file.clone())?;
        let footer = file.footer.clone();
        let fields = footer.schema.fields().iter().map(|field| {
            // Keeps the id of a dictionary.
            let field = Field::clone(field);
            let data_type = with_bytes(field.data_type());
            field.with_data_type(data_type)
        });
        Ok(Self {
            schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
            ends: file.index()?,
            footer,
            dictionaries: Mutex::default(),
        })
    }

    /// The dictionaries, if one of the columns `projection` needs them.
    fn dictionaries(&self, file: &File<Ranged>, projection: &[usize]) -> Read<Arc<Dictionaries>> {
        let read = self.schema.project(projection)?;
        let mut fields = read.flattened_fields().into_iter();
        if !fields.any(|field| matches!(field.data_type(), DataType::Dictionary(..))) {
            return Ok(Arc::default());
        }
        let mut known = self
            .dictionaries
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = &*known {
            return Ok(known.clone());
        }
        let read = Arc::new(file.dictionaries(&self.schema)?);
        *known = Some(read.clone());
        Ok(read)
    }
}

impl Metadata for Index {
    fn schema(&self) -> &SchemaRef {
        &self.footer.schema
    }

    fn rows(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    fn reader(self: Arc<Self>, file: Ranged, places: &BTreeSet<Place>) -> Read<ReadRows> {
        let roots: BTreeSet<_> = places.iter().map(|place| place.root).collect();
        let projection = roots.into_iter().collect::<Vec<_>>();
        let footer = self.footer.clone();
        let file = File {
            bytes: file,
            footer,
        };
        let mut reader = Reader {
            dictionaries: self.dictionaries(&file, &projection)?,
            file,
            projection,
            index: self,
            whole: None,
        };
        Ok(Box::new(move |rows| {
            // Those of the first record batch.
            let ends = &reader.index.ends;
            let number = ends.partition_point(|end| *end <= rows.start);
            let first = number.checked_sub(1).map_or(0, |before| ends[before]);
            let end = rows.end.min(ends[number]);
            Ok(vec![reader.read(number, rows.start - first..end - first)?])
        }))
    }
}

/// Reads ranges of rows.
struct Reader {
    file: File<Ranged>,
    index: Arc<Index>,
    dictionaries: Arc<Dictionaries>,
    projection: Vec<usize>,
    /// The index of a record batch, and its columns that cannot be read in ranges.
    whole: Option<(usize, RecordBatch)>,
}

impl Reader {
    /// Rows of a record batch.
    fn read(&mut self, number: usize, rows: Range<u64>) -> Result<RecordBatch, ArrowError> {
        let schema = &self.index.schema;
        let (first, length) = (rows.start as usize, (rows.end - rows.start) as usize);
        let mut arrays = self.file.range(number, schema, &self.projection, rows)?;
        let missing: Vec<_> = (0..arrays.len())
            .filter(|index| arrays[*index].is_none())
            .collect();
        if !missing.is_empty() {
            let whole = match &self.whole {
                Some((known, whole)) if *known == number => whole,
                _ => {
                    // Free the previous record batch first.
                    self.whole = None;
                    let projection: Vec<_> = missing
                        .iter()
                        .map(|index| self.projection[*index])
                        .collect();
                    let dictionaries = &self.dictionaries;
                    let whole = self.file.batch(number, schema, dictionaries, &projection)?;
                    &self.whole.insert((number, whole)).1
                }
            };
            for (index, array) in missing.into_iter().zip(whole.columns()) {
                arrays[index] = Some(array.slice(first, length));
            }
        }
        let schema = Arc::new(schema.project(&self.projection)?);
        let options = RecordBatchOptions::new().with_row_count(Some(length));
        let arrays = arrays.into_iter().flatten().collect();
        RecordBatch::try_new_with_options(schema, arrays, &options)
    }
}

#[cfg(test)]
mod tests;
