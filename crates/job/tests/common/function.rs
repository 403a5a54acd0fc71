//! What a function without a model records in a job.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema};
use shoal_job::{Determinism, FunctionSpec, Role};

/// Reads a text and writes a label.
pub(crate) fn function() -> FunctionSpec {
    let label = Field::new("label", DataType::Utf8, false);
    FunctionSpec {
        kind: "test".into(),
        reference: "none".into(),
        fingerprint: "none".into(),
        settings: Default::default(),
        task: Default::default(),
        inputs: vec![Role::text("text")],
        output: Arc::new(Schema::new(vec![label])),
        unit: "rows".into(),
        determinism: Determinism::Exact,
    }
}
