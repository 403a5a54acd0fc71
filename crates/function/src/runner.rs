//! The interface of runners: models, programs, endpoints.

use std::time::Duration;

use arrow_array::RecordBatch;
use shoal_job::wire::Failure;
use shoal_job::{Cell, FunctionSpec, Metrics};

/// Computes results for records. Environments of a process share it.
pub trait Runner: Send + Sync {
    /// The function that a job records: identity, input roles and output columns.
    fn spec(&self) -> &FunctionSpec;

    /// A new session, for one environment.
    ///
    /// # Errors
    /// The runner cannot start, for example because a program is missing.
    fn session(&self) -> Result<Box<dyn Session>, Failure>;
}

/// The state of a runner in one environment. It answers records in the order in which they are pushed, in groups of any
/// size.
pub trait Session: Send {
    /// Takes a record, and may answer records taken so far.
    ///
    /// # Errors
    /// The batch cannot be processed. A single bad record is no error: it is [rejected](Answers::rejected).
    fn push(&mut self, record: RecordRef<'_>) -> Result<Option<Answers>, Failure>;

    /// Answers all remaining records, if there are any.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    fn flush(&mut self) -> Result<Option<Answers>, Failure>;

    /// The usage since the last call, or since the session began.
    fn take_usage(&mut self) -> Usage;
}

/// The part of a record that a session reads.
#[derive(Debug, Clone, Copy)]
pub struct RecordRef<'a> {
    /// The id column's value, or the row number.
    pub id: &'a Cell,
    /// The input values, in the order of [`FunctionSpec::inputs`]; null for unused optional roles.
    pub inputs: &'a [Cell],
}

/// Answers to the oldest unanswered records.
#[derive(Debug, Clone)]
pub struct Answers {
    /// The number of answered records: `rows.num_rows() + rejected.len()`.
    pub records: usize,
    /// Records without a result, in order: the position among `records`, from 0, and the reason.
    pub rejected: Vec<(usize, String)>,
    /// A row for each other record, in order, with the columns of [`FunctionSpec::output`].
    pub rows: RecordBatch,
}

impl Answers {
    /// Answers without rejected records.
    pub fn all(rows: RecordBatch) -> Self {
        Self {
            records: rows.num_rows(),
            rejected: Vec::new(),
            rows,
        }
    }
}

/// The usage and metrics of a session.
#[derive(Debug, Clone, Default)]
pub struct Usage {
    /// Amount of work, in [`FunctionSpec::unit`].
    pub units: u64,
    /// Time by stage, such as `tokenize` and `model`.
    pub stages: Vec<(&'static str, Duration)>,
    /// Counts of the task.
    pub metrics: Metrics,
    /// What computed the results, such as the instruction set.
    pub engine: String,
}
