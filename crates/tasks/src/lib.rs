//! Tasks: what the outputs of a model mean.
//!
//! A [`Task`] declares the input columns that it reads and the output columns that it writes, turns the model's output
//! for each record into a row, and says how well two models agree. To add one, write a file like [`classify`] or
//! [`embed`], and name it in [`TaskKind`] and [`open`].

pub mod classify;
pub mod embed;
mod options;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use serde_json::{Map, Value};
use shoal_encoder::{Model, Purpose};
use shoal_job::{Cell, Metrics, Role};

pub use classify::Classify;
pub use embed::Embed;
pub use options::{TaskError, TaskKind, TaskOptions};

/// What to make of a model's output.
pub trait Task: Send + Sync {
    /// Which task it is.
    fn kind(&self) -> TaskKind;

    /// Everything that its results depend on besides the model, as a job records it. [`TaskOptions::from_spec`] reads
    /// it back.
    fn settings(&self) -> Map<String, Value>;

    /// The input columns that it reads. The first one is the text.
    fn inputs(&self) -> Vec<Role>;

    /// The columns that it adds to the output.
    fn output(&self) -> SchemaRef;

    /// Put before each text.
    fn prompt(&self) -> &str {
        ""
    }

    /// Turns the model's outputs into rows, for one session.
    fn decoder(&self) -> Box<dyn Decoder>;

    /// How well `other` agrees with `reference`, summed over the records: 1 for each in which both are the same.
    fn agreement(&self, reference: &RecordBatch, other: &RecordBatch) -> f64;

    /// What [`agreement`](Self::agreement) measures, such as "same label".
    fn agreement_measure(&self) -> &'static str;
}

/// The mean [agreement](Task::agreement) from which `int8` may stand for `f32`, for models packed for `purpose`.
pub fn sufficient_agreement(purpose: Purpose) -> f64 {
    TaskKind::of(purpose).sufficient_agreement()
}

/// Collects the rows of some records.
pub trait Decoder: Send {
    /// Takes the model's output for a record, and the record's input values in the order of [`Task::inputs`].
    fn push(&mut self, output: &[f32], inputs: &[Cell], metrics: &mut Metrics);

    /// The rows of all records since the last call.
    fn finish(&mut self) -> RecordBatch;
}

/// The task of `model` with `options`: the one that is asked for, or else the one that the model was made for.
///
/// # Errors
/// The model cannot do the task, or an option has no effect on it.
pub fn open(model: &Model, options: &TaskOptions) -> Result<Box<dyn Task>, TaskError> {
    let kind = options.kind.unwrap_or(TaskKind::of(model.purpose()));
    options.check(kind)?;
    Ok(match kind {
        TaskKind::Classify => Box::new(Classify::new(model, options)?),
        TaskKind::Embed => Box::new(Embed::new(model, options)?),
    })
}
