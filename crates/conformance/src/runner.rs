//! A runner without a model, for tests: the label depends only on the text.

use std::sync::Arc;

use arrow_array::{ArrayRef, Float32Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use shoal_function::{Answers, RecordRef, Runner, Session, Usage};
use shoal_job::wire::{Failure, Stored};
use shoal_job::{FunctionSpec, Role};

const LABELS: [&str; 3] = ["NEGATIVE", "NEUTRAL", "POSITIVE"];

/// Labels each text by its hash.
pub struct HashLabels(FunctionSpec);

impl Default for HashLabels {
    fn default() -> Self {
        let fields = vec![
            Field::new("label", DataType::Utf8, false),
            Field::new("score", DataType::Float32, false),
        ];
        let output = Arc::new(Schema::new(fields));
        Self(FunctionSpec::new(
            "test",
            "1",
            vec![Role::text("text")],
            output,
        ))
    }
}

impl Runner for HashLabels {
    fn spec(&self) -> &FunctionSpec {
        &self.0
    }

    fn session(&self) -> Result<Box<dyn Session>, Failure> {
        Ok(Box::new(HashSession {
            spec: self.0.clone(),
            units: 0,
        }))
    }
}

struct HashSession {
    spec: FunctionSpec,
    units: u64,
}

impl Session for HashSession {
    fn push(&mut self, record: RecordRef<'_>) -> Result<Option<Answers>, Failure> {
        let text = record.inputs[0].as_text().unwrap_or_default();
        let checksum = Stored::of(text.as_bytes()).checksum;
        let byte = u8::from_str_radix(&checksum[..2], 16).expect("the checksum is hexadecimal");
        let label = LABELS[usize::from(byte) % LABELS.len()];
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(vec![label])),
            Arc::new(Float32Array::from(vec![f32::from(byte) / 255.0])),
        ];
        self.units += 1;
        let rows = RecordBatch::try_new(self.spec.output.clone(), columns);
        Ok(Some(Answers::all(rows.expect("the declared columns"))))
    }

    fn flush(&mut self) -> Result<Option<Answers>, Failure> {
        Ok(None)
    }

    fn take_usage(&mut self) -> Usage {
        Usage {
            units: std::mem::take(&mut self.units),
            ..Usage::default()
        }
    }
}
