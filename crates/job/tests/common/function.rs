//! The specification of a function without a model.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema};
use shoal_job::{FunctionSpec, Role};

/// Reads a text and writes a label.
pub(crate) fn function() -> FunctionSpec {
    let label = Field::new("label", DataType::Utf8, false);
    let output = Arc::new(Schema::new(vec![label]));
    FunctionSpec::new("test", "1", vec![Role::text("text")], output)
}
