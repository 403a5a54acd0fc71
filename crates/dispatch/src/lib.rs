//! Running the batches of a plan on a backend.
//!
//! Dispatch never sees a record or a tensor: the [`wire`](shoal_job::wire) types are its only contract with the
//! function. A [`Backend`] takes all batches that have no receipt yet, rather than one at a time, so that a platform
//! that fans out by itself can be one.

mod local;
mod retry;

use shoal_job::{Batch, Cancel, Event};

pub use local::Local;
pub use retry::RetryPolicy;

/// What a backend is to do.
#[derive(Debug)]
pub struct Work<'a> {
    /// The batches that have no receipt yet, in order.
    pub batches: Vec<&'a Batch>,
    /// When a batch is tried again.
    pub retry: RetryPolicy,
    /// Whether the first dead letter ends the run.
    pub stop_on_bad_record: bool,
    /// Asks for the end.
    pub cancel: &'a Cancel,
}

/// A place that runs functions.
pub trait Backend {
    /// Its name in events and reports.
    fn name(&self) -> &'static str;

    /// Invocations in flight, at most.
    fn concurrency(&self) -> usize;

    /// Has every batch of `work` worked off, telling each step. Returns when all have a receipt.
    ///
    /// # Errors
    /// Why not all of them have one. No invocation is in flight any more then.
    fn run(&self, work: &Work<'_>, tell: &mut dyn FnMut(Event)) -> Result<(), DispatchError>;
}

/// Why a backend stopped before all batches had a receipt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DispatchError {
    /// A batch failed for good.
    #[error("failed to process batch {batch} (attempt {attempt}): {failure}")]
    Batch {
        /// The batch.
        batch: u64,
        /// Its last attempt, from 1.
        attempt: u32,
        /// Why.
        failure: shoal_job::wire::Failure,
    },
    /// A record went to the dead letters, and the run was to stop at the first one.
    #[error("stopped at a bad record in batch {batch}")]
    BadRecord {
        /// The batch.
        batch: u64,
    },
    /// The user asked for the end.
    #[error("cancelled")]
    Cancelled,
}
