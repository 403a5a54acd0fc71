//! The seam between the function and what computes its results: a model, a program, an endpoint.

use std::time::Duration;

use arrow_array::RecordBatch;
use shoal_job::wire::Failure;
use shoal_job::{Cell, FunctionSpec, Metrics};

/// What computes results for records. One per process; environments share it.
pub trait Runner: Send + Sync {
    /// What a job records of this runner: its identity, input roles and output columns.
    fn spec(&self) -> &FunctionSpec;

    /// A new session, for one environment.
    ///
    /// # Errors
    /// The runner cannot start, for example because a program is missing.
    fn session(&self) -> Result<Box<dyn Session>, Failure>;
}

/// A runner at work in one environment. It takes records and answers them in the same order, as many at a time as it
/// likes.
pub trait Session: Send {
    /// Takes a record, and may answer records that it took before.
    ///
    /// # Errors
    /// The batch cannot be processed. A single bad record is no error: it is [rejected](Answers::rejected).
    fn push(&mut self, record: RecordRef<'_>) -> Result<Option<Answers>, Failure>;

    /// Answers all records that are not answered yet, if there are any.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    fn flush(&mut self) -> Result<Option<Answers>, Failure>;

    /// What was used since the last call, or since the session began.
    fn take_usage(&mut self) -> Usage;
}

/// A record as a session sees it.
#[derive(Debug, Clone, Copy)]
pub struct RecordRef<'a> {
    /// The id column's value, or the row number.
    pub id: &'a Cell,
    /// The input values, in the order of [`FunctionSpec::inputs`]; null where an optional role is not used.
    pub inputs: &'a [Cell],
}

/// Answers to the oldest records that were not answered yet.
#[derive(Debug, Clone)]
pub struct Answers {
    /// The number of records that are answered: `rows.num_rows() + rejected.len()`.
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

/// What a session used and counted.
#[derive(Debug, Clone, Default)]
pub struct Usage {
    /// Amount of work, in [`FunctionSpec::unit`].
    pub units: u64,
    /// Time by stage, such as `tokenize` and `model`.
    pub stages: Vec<(&'static str, Duration)>,
    /// What the task counted.
    pub metrics: Metrics,
    /// What computed the results, such as the instruction set.
    pub engine: String,
}
