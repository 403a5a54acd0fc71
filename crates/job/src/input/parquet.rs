//! Parquet.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::basic::{ConvertedType, Type as PhysicalType};
use parquet::file::metadata::{FileMetaData, ParquetMetaData};
use parquet::schema::types::{SchemaDescriptor, Type};

use super::columnar::{ColumnarFormat, Metadata, Read, ReadRows};
use super::footer;
use super::nested::Place;
use super::ranged::Ranged;
use crate::types::{is_binary, is_string, map, plain_type};

/// Parquet.
pub(super) const FORMAT: ColumnarFormat = ColumnarFormat {
    name: "Parquet",
    metadata: |file| Ok(Arc::new(Footer::read(file)?)),
};

/// The footer of a file.
#[derive(Debug)]
struct Footer {
    schema: SchemaRef,
    rows: u64,
    /// With bytes instead of strings.
    metadata: ArrowReaderMetadata,
}

impl Footer {
    fn read(file: &Ranged) -> Read<Self> {
        if !footer::is_harmless(file)? {
            return Err("its footer is damaged or too deeply nested".into());
        }
        let metadata = ArrowReaderMetadata::load(file, ArrowReaderOptions::new())?;
        // The library assumes that the row groups add up to the rows of the file.
        let groups = metadata.metadata().row_groups().iter();
        let rows = groups
            .map(|group| u64::try_from(group.num_rows()).ok())
            .try_fold(0u64, |sum, rows| sum.checked_add(rows?));
        match rows {
            Some(rows)
                if i64::try_from(rows) == Ok(metadata.metadata().file_metadata().num_rows()) =>
            {
                Ok(Self {
                    schema: metadata.schema().clone(),
                    rows,
                    metadata: with_bytes(&metadata)?,
                })
            }
            _ => Err("the rows of its groups do not add up to those of the file".into()),
        }
    }

    /// The row group of a row, and its rows.
    fn group(&self, row: u64) -> Option<(usize, Range<u64>)> {
        let mut end = 0;
        let mut groups = self.metadata.metadata().row_groups().iter();
        let index = groups.position(|group| {
            end += group.num_rows() as u64;
            row < end
        })?;
        let rows = self.metadata.metadata().row_group(index).num_rows() as u64;
        Some((index, end - rows..end))
    }
}

impl Metadata for Footer {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn rows(&self) -> u64 {
        self.rows
    }

    fn reader(self: Arc<Self>, file: Ranged, places: &BTreeSet<Place>) -> Read<ReadRows> {
        let schema = self.metadata.parquet_schema();
        // Of a struct, only the fields that are used.
        let is_used = |leaf: &usize| {
            let root = schema.get_column_root_idx(*leaf);
            let path = schema.column(*leaf);
            let mut used = places.iter().filter(|place| place.root == root);
            used.any(|place| path.path().parts().starts_with(&place.names))
        };
        let leaves: Vec<_> = (0..schema.num_columns()).filter(is_used).collect();
        let mask = ProjectionMask::leaves(schema, leaves);
        // One row group at a time: the library would take what a damaged page has beyond the end of its group for the rows
        // of the next one.
        Ok(Box::new(move |rows| {
            let Some((group, within)) = self.group(rows.start) else {
                return Ok(Vec::new());
            };
            let length = (rows.end.min(within.end) - rows.start) as usize;
            let metadata = self.metadata.clone();
            let batches =
                ParquetRecordBatchReaderBuilder::new_with_metadata(file.clone(), metadata)
                    .with_projection(mask.clone())
                    .with_row_groups(vec![group])
                    .with_offset((rows.start - within.start) as usize)
                    .with_limit(length)
                    .with_batch_size(length)
                    .build()?;
            Ok(batches.collect::<Result<Vec<RecordBatch>, _>>()?)
        }))
    }
}

/// The metadata with bytes instead of strings, which the library would check a page or a dictionary at a time.
fn with_bytes(metadata: &ArrowReaderMetadata) -> parquet::errors::Result<ArrowReaderMetadata> {
    let whole = metadata.metadata();
    let file = whole.file_metadata();
    let root = file.schema_descr().root_schema();
    let columns = root.get_fields().iter().map(without_strings);
    let root = Type::group_type_builder(root.name())
        .with_fields(columns.collect::<Result<_, _>>()?)
        .build()?;
    let fields = metadata.schema().fields().iter().map(|field| {
        let bytes = map(
            &plain_type(field.data_type()),
            &|data_type| match is_string(&data_type) || is_binary(&data_type) {
                true => DataType::LargeBinary,
                false => data_type,
            },
        );
        Field::clone(field).with_data_type(bytes)
    });
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let file = FileMetaData::new(
        file.version(),
        file.num_rows(),
        file.created_by().map(str::to_owned),
        // The Arrow schema is given below.
        None,
        Arc::new(SchemaDescriptor::new(Arc::new(root))),
        None,
    );
    ArrowReaderMetadata::try_new(
        Arc::new(ParquetMetaData::new(file, whole.row_groups().to_vec())),
        ArrowReaderOptions::new().with_schema(schema),
    )
}

/// The type with plain bytes instead of strings.
fn without_strings(column: &Arc<Type>) -> parquet::errors::Result<Arc<Type>> {
    let info = column.get_basic_info();
    let Type::GroupType { fields, .. } = &**column else {
        let is_text = column.get_physical_type() == PhysicalType::BYTE_ARRAY
            && info.converted_type() != ConvertedType::DECIMAL;
        if !is_text {
            return Ok(column.clone());
        }
        let bytes = Type::primitive_type_builder(column.name(), PhysicalType::BYTE_ARRAY)
            .with_repetition(info.repetition())
            .build()?;
        return Ok(Arc::new(bytes));
    };
    let fields = fields.iter().map(without_strings);
    let group = Type::group_type_builder(column.name())
        .with_repetition(info.repetition())
        .with_converted_type(info.converted_type())
        .with_logical_type(info.logical_type_ref().cloned())
        .with_fields(fields.collect::<Result<_, _>>()?)
        .build()?;
    Ok(Arc::new(group))
}
