//! Running the batches of a plan on a backend.
//!
//! Dispatch never sees a record or a tensor: the [`wire`](shoal_job::wire) types are its only contract with the
//! function. A [`Backend`] takes all batches that have no receipt yet, rather than one at a time, so that a platform
//! that fans out by itself can be one. Where we fan out ourselves, a backend is a [`Caller`], which makes one call, and
//! [`fan_out`] does the rest. [`process_batches`] has a backend work until every part is there and whole.

mod budget;
#[cfg(feature = "conformance")]
pub mod conformance;
mod fan_out;
mod http;
mod local;
mod pace;
mod process;
mod processing;
mod retry;
mod watch;

use std::borrow::Cow;
use std::time::Duration;

use shoal_job::{Batch, Cancel, Event, RunDir};

pub use budget::{Budget, Cost, Ledger, Shortage};
pub use fan_out::{Caller, FanOut, Speculation, fan_out};
pub use http::{Http, Looked, check_url, look, shown_url};
pub use local::Local;
pub use pace::Ramp;
pub use process::Process;
pub use processing::{Plan, Processed, process_batches, process_in_windows};
pub use retry::RetryPolicy;
pub use watch::{Watch, emit_new, sleep};

/// What a backend is to do.
#[derive(Debug, Clone)]
pub struct Work<'a> {
    /// Where the job lies, and its parts and receipts will.
    pub run: &'a RunDir,
    /// What is left to do: batches that have no receipt yet, and the rest of those that were left in the middle.
    pub batches: Vec<Cow<'a, Batch>>,
    /// Whether these batches have killed their functions before: then they are divided at once.
    pub is_suspect: bool,
    /// When a batch is tried again.
    pub retry: RetryPolicy,
    /// How long one call may take; for ever where `None`.
    pub timeout: Option<Duration>,
    /// Whether the first dead letter ends the run.
    pub stop_on_bad_record: bool,
    /// Whether calls that take far too long are made a second time, by backends that can.
    pub speculation: Option<Speculation>,
    /// What calls may cost, where there is a limit. A backend that cannot keep it starts nothing.
    pub budget: Option<&'a Budget>,
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
    /// Why not all of them have one. Invocations that run elsewhere may go on; their receipts are found in the run
    /// directory by whoever goes on with the run.
    fn run(&self, work: &Work<'_>, emit: &mut dyn FnMut(Event)) -> Result<(), DispatchError>;
}

/// Why a backend stopped before all batches had a receipt.
#[derive(Debug, thiserror::Error)]
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
    /// Batch after batch failed, and nothing succeeded between.
    #[error(
        "stopped, since nothing succeeds any more: {batches} {} failed in a row, the last one with: {failure}",
        if *batches == 1 { "batch" } else { "batches" }
    )]
    CircuitOpen {
        /// Batches that failed.
        batches: usize,
        /// Why the last of them did.
        failure: shoal_job::wire::Failure,
    },
    /// A record went to the dead letters, and the run was to stop at the first one.
    #[error("stopped at a bad record in batch {batch}")]
    BadRecord {
        /// The batch.
        batch: u64,
    },
    /// The run directory cannot be used.
    #[error(transparent)]
    Job(#[from] shoal_job::Error),
    /// The platform cannot be used as it is set up.
    #[error("failed to use {backend}: {reason}")]
    Platform {
        /// The backend's name.
        backend: &'static str,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// What is left of the budget does not pay for the calls that are left.
    #[error("stopped, since {0}; what is done is kept, and a higher --max-cost goes on from there")]
    Budget(Shortage),
    /// Others work on; nobody waits for them here.
    #[error("left to the platform")]
    Detached,
    /// The user asked for the end.
    #[error("cancelled")]
    Cancelled,
}
