//! CSV.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{ArrowPrimitiveType, Float16Type, Float32Type, Float64Type};
use arrow_array::{ArrayRef, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use serde::Serialize;

use super::{WriteError, Writer};

/// A CSV file.
pub(super) struct Csv {
    schema: SchemaRef,
    writer: arrow_csv::Writer<Vec<u8>>,
}

impl Csv {
    pub(super) fn new(columns: &Schema) -> Result<Self, WriteError> {
        let fields = columns.fields().iter().map(|field| {
            if field.data_type().is_floating() {
                Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8))
            } else {
                field.clone()
            }
        });
        let schema = Arc::new(Schema::new(fields.collect::<Vec<Arc<Field>>>()));
        let mut writer = arrow_csv::Writer::new(Vec::new());
        // Writes the header, even if there are no rows.
        writer.write(&RecordBatch::new_empty(schema.clone()))?;
        Ok(Self { schema, writer })
    }
}

impl Writer for Csv {
    fn write(&mut self, rows: RecordBatch) -> Result<(), WriteError> {
        let columns = rows.columns().iter().map(with_numbers_as_text).collect();
        let rows = RecordBatch::try_new(self.schema.clone(), columns)?;
        Ok(self.writer.write(&rows)?)
    }

    fn finish(self: Box<Self>) -> Result<Vec<u8>, WriteError> {
        Ok(self.writer.into_inner())
    }
}

/// Converts floats to text as in JSON, unlike arrow-csv. Other columns are unchanged.
fn with_numbers_as_text(array: &ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Float16 => texts::<Float16Type>(array, |value| text(value.to_f32())),
        DataType::Float32 => texts::<Float32Type>(array, text),
        DataType::Float64 => texts::<Float64Type>(array, text),
        _ => array.clone(),
    }
}

fn texts<T: ArrowPrimitiveType>(array: &ArrayRef, text: impl Fn(T::Native) -> String) -> ArrayRef {
    let values = array.as_primitive::<T>().iter();
    let texts = values.map(|value| value.map(&text));
    Arc::new(texts.collect::<StringArray>())
}

/// The shortest text that reads back as the same number.
fn text<T: Copy + Into<f64> + Serialize + ToString>(value: T) -> String {
    if value.into().is_finite() {
        serde_json::to_string(&value).expect("a finite number is JSON")
    } else {
        value.to_string()
    }
}
