//! What Parquet and Arrow IPC share: files of typed columns, whose slices are ranges of rows.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use super::columns;
use super::nested::{self, Place};
use super::ranged::Ranged;
use super::row::Contents;
use super::schema::Schema;
use crate::spec::Columns;
use crate::store::Location;
use crate::{Error, Result};

/// Rows that are decoded at once: few, because a row may be large.
const ROWS_AT_ONCE: u64 = 64;

/// The result of a format's library.
pub(crate) type Read<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Reads at least the first of these rows. The columns have bytes instead of strings, which the library would check many at
/// a time: values are checked one by one, so that invalid UTF-8 only affects its own row.
pub(super) type ReadRows = Box<dyn FnMut(Range<u64>) -> Read<Vec<RecordBatch>> + Send>;

/// The metadata of a file, which are read once for all of its slices.
pub(crate) trait Metadata: Debug + Send + Sync {
    fn schema(&self) -> &SchemaRef;

    fn rows(&self) -> u64;

    /// A reader of the columns at `places` of `file`. The columns that it reads may contain more than that.
    fn reader(self: Arc<Self>, file: Ranged, places: &BTreeSet<Place>) -> Read<ReadRows>;
}

/// A format of typed columns.
pub(crate) struct ColumnarFormat {
    pub(super) name: &'static str,
    pub(super) metadata: fn(&Ranged) -> Read<Arc<dyn Metadata>>,
}

impl ColumnarFormat {
    /// The file at `location` and its metadata.
    pub(crate) fn open(&self, location: &Location) -> Result<(Ranged, Arc<dyn Metadata>)> {
        let file = Ranged::open(location)?;
        let metadata =
            caught(|| (self.metadata)(&file)).map_err(|e| self.unreadable(&file, location, &*e))?;
        Ok((file, metadata))
    }

    /// The columns and the number of rows.
    pub(crate) fn head(&self, location: &Location) -> Result<(Schema, u64)> {
        let (_, metadata) = self.open(location)?;
        Ok((columns::source_schema(metadata.schema()), metadata.rows()))
    }

    /// Reads a range of rows of `file`, which is at `location`.
    pub(crate) fn rows(
        &'static self,
        location: &Location,
        (file, metadata): (Ranged, Arc<dyn Metadata>),
        columns: &Columns,
        rows: Range<u64>,
    ) -> Result<Contents> {
        let wrong = |reason: String| Error::input(location.uri(), reason);
        if rows.end > metadata.rows() {
            return Err(wrong(
                "it has fewer rows than when the run was planned".into(),
            ));
        }
        let find = |name: &str| {
            let place = nested::place(metadata.schema(), name);
            place.ok_or_else(|| wrong(format!("there is no column {name:?}")))
        };
        let places = columns.sources().flatten().map(find);
        let places: BTreeSet<_> = places.collect::<Result<_>>()?;
        let mut read = caught(|| metadata.clone().reader(file.clone(), &places))
            .map_err(|e| self.unreadable(&file, location, &*e))?;
        let schema = metadata.schema().clone();
        let (columns, location) = (columns.clone(), location.clone());
        let (mut next, end) = (rows.start, rows.end);
        let mut ready = Vec::new().into_iter();
        Ok(Box::new(std::iter::from_fn(move || {
            if let Some(row) = ready.next() {
                return Some(Ok(row));
            }
            if next == end {
                return None;
            }
            let rows = next..end.min(next + ROWS_AT_ONCE);
            let decoded = caught(|| {
                let batches = read(rows.clone())?;
                let contents = batches
                    .iter()
                    .flat_map(|batch| columns::contents(&columns, &schema, batch));
                let rows: Vec<_> = rows.zip(contents).collect();
                match rows.is_empty() {
                    true => Err("it has fewer rows than its metadata say".into()),
                    false => Ok(rows),
                }
            });
            // Nothing is read after an error.
            next = end;
            match decoded {
                Ok(rows) => {
                    next = rows.last().map_or(end, |(last, _)| last + 1);
                    ready = rows.into_iter();
                    ready.next().map(Ok)
                }
                Err(e) => Some(Err(self.unreadable(&file, &location, &*e))),
            }
        })))
    }

    /// The error of the store, or else that of the library.
    fn unreadable(
        &self,
        file: &Ranged,
        location: &Location,
        error: &dyn std::error::Error,
    ) -> Error {
        file.failure().unwrap_or_else(|| {
            let reason = format!("the {} file cannot be read: {error}", self.name);
            Error::input(location.uri(), reason)
        })
    }
}

/// Converts a panic in `read`, which the libraries raise for some damaged files, to an error.
pub(crate) fn caught<T>(read: impl FnOnce() -> Read<T>) -> Read<T> {
    catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err("its content is inconsistent".into()))
}
