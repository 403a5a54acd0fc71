//! JSON Lines. Ids and carried values keep their original text; numbers are written by serde_json.

use std::sync::Arc;

use arrow_array::builder::BinaryBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float16Type, Float32Type, Float64Type};
use arrow_array::{Array, BinaryArray, RecordBatch, new_empty_array};
use arrow_json::writer::{NullableEncoder, make_encoder};
use arrow_json::{Encoder, EncoderFactory, EncoderOptions, LineDelimitedWriter, WriterBuilder};
use arrow_schema::{ArrowError, DataType, Field, FieldRef};

use super::{WriteError, Writer};
use crate::record::Cell;

/// Marks a column of JSON text.
const RAW: &str = "shoal:raw";

/// A file with one JSON object per line. Nulls are explicit.
pub(super) struct JsonLines(LineDelimitedWriter<Vec<u8>>);

impl JsonLines {
    pub(super) fn new() -> Self {
        let builder = WriterBuilder::new().with_explicit_nulls(true);
        Self(
            builder
                .with_encoder_factory(Arc::new(Encoders))
                .build(Vec::new()),
        )
    }
}

impl Writer for JsonLines {
    fn write(&mut self, rows: RecordBatch) -> Result<(), WriteError> {
        Ok(self.0.write(&rows)?)
    }

    fn finish(mut self: Box<Self>) -> Result<Vec<u8>, WriteError> {
        self.0.finish()?;
        Ok(self.0.into_inner())
    }
}

/// `field` as a column of JSON text.
pub(super) fn raw_field(field: &Field) -> Field {
    Field::new(field.name(), DataType::Binary, true)
        .with_metadata([(RAW.to_owned(), String::new())])
}

/// Values as a column of JSON text.
pub(super) fn raw_array(cells: &[&Cell]) -> BinaryArray {
    let mut array = BinaryBuilder::new();
    let mut json = Vec::new();
    for cell in cells {
        json.clear();
        cell.write_json(&mut json);
        array.append_value(&json);
    }
    array.finish()
}

/// Whether JSON supports the column.
pub(super) fn holds(field: &FieldRef) -> bool {
    let options = EncoderOptions::default();
    make_encoder(field, &new_empty_array(field.data_type()), &options).is_ok()
}

#[derive(Debug)]
struct Encoders;

impl EncoderFactory for Encoders {
    fn make_default_encoder<'a>(
        &self,
        field: &'a FieldRef,
        array: &'a dyn Array,
        _options: &'a EncoderOptions,
    ) -> Result<Option<NullableEncoder<'a>>, ArrowError> {
        let encoder: Box<dyn Encoder + 'a> = match array.data_type() {
            DataType::Binary if field.metadata().contains_key(RAW) => {
                let array: &BinaryArray = array.as_binary();
                encoder(move |row, out| out.extend_from_slice(array.value(row)))
            }
            DataType::Float16 => {
                let array = array.as_primitive::<Float16Type>();
                encoder(move |row, out| write_number(&array.value(row).to_f32(), out))
            }
            DataType::Float32 => {
                let array = array.as_primitive::<Float32Type>();
                encoder(move |row, out| write_number(&array.value(row), out))
            }
            DataType::Float64 => {
                let array = array.as_primitive::<Float64Type>();
                encoder(move |row, out| write_number(&array.value(row), out))
            }
            _ => return Ok(None),
        };
        Ok(Some(NullableEncoder::new(encoder, array.nulls().cloned())))
    }
}

/// Writes the value of a row.
struct Values<F>(F);

impl<F: Fn(usize, &mut Vec<u8>)> Encoder for Values<F> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        (self.0)(row, out);
    }
}

fn encoder<'a>(write: impl Fn(usize, &mut Vec<u8>) + 'a) -> Box<dyn Encoder + 'a> {
    Box::new(Values(write))
}

/// NaN and infinities become null.
fn write_number(value: &impl serde::Serialize, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("writing to memory does not fail");
}
