//! Tasks interpret the outputs of a model.
//!
//! A [`Task`] declares the input columns that it reads and the output columns that it writes, turns the model's output
//! for each record into a row, and measures how well two models agree. To add a task, write a module like [`classify`] or
//! [`embed`], and add it to [`TaskKind`] and [`open`].

pub mod classify;
pub mod embed;
mod options;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use serde_json::{Map, Value};
use shoal_encoder::Model;
use shoal_job::{Cell, Metrics, Role};

pub use classify::Classify;
pub use embed::Embed;
pub use options::{TaskError, TaskKind, TaskOptions};

/// A task of a model.
pub trait Task: Send + Sync {
    /// The kind of task.
    fn kind(&self) -> TaskKind;

    /// Everything that the results depend on besides the model, as recorded by a job and read by
    /// [`TaskOptions::from_spec`].
    fn settings(&self) -> Map<String, Value>;

    /// The input columns. The first one is the text.
    fn inputs(&self) -> Vec<Role>;

    /// The output columns.
    fn output(&self) -> SchemaRef;

    /// The prefix of each text.
    fn prompt(&self) -> &str {
        ""
    }

    /// A decoder for one session.
    fn decoder(&self) -> Box<dyn Decoder>;

    /// The agreement of `other` with `reference`, summed over the records: 1 for each equal record.
    fn agreement(&self, reference: &RecordBatch, other: &RecordBatch) -> f64;

    /// The name of the [agreement](Self::agreement), such as "same label".
    fn agreement_measure(&self) -> &'static str;
}

/// Turns a model's outputs into rows.
pub trait Decoder: Send {
    /// Adds the model's output for a record, with the record's input values in the order of [`Task::inputs`].
    fn push(&mut self, output: &[f32], inputs: &[Cell], metrics: &mut Metrics);

    /// The rows of all records since the last call.
    fn finish(&mut self) -> RecordBatch;
}

/// Opens the task of `options`, or the default task of `model`.
///
/// # Errors
/// The model does not support the task, or an option has no effect on it.
pub fn open(model: &Model, options: &TaskOptions) -> Result<Box<dyn Task>, TaskError> {
    let kind = options.kind.unwrap_or(TaskKind::of(model.purpose()));
    options.check(kind)?;
    Ok(match kind {
        TaskKind::Classify => Box::new(Classify::new(model, options)?),
        TaskKind::Embed => Box::new(Embed::new(model, options)?),
    })
}
