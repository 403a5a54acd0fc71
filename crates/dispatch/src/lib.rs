//! Runs the batches of a job on a backend.
//!
//! Dispatch never sees a record or a tensor: the [`wire`](shoal_job::wire) types are its only contract with the
//! function. A [`Backend`] receives all open batches at once, so that a platform with its own fan-out can implement it.
//! Other backends implement [`Caller`], which makes a single call, and leave concurrency, retries and budgets to
//! [`fan_out`]. [`process_batches`] runs a backend until every part exists and matches its receipt.

mod budget;
mod concurrency;
mod fan_out;
mod http;
mod local;
mod process;
mod processing;
mod retry;
mod watch;

use std::borrow::Cow;
use std::time::Duration;

use shoal_job::{Batch, Cancel, Event, RunDir};

pub use budget::{Budget, Cost, Ledger, Shortage};
pub use concurrency::Ramp;
pub use fan_out::{Caller, FanOut, Speculation, drive, fan_out};
pub use http::{Http, WorkerProbe, check_url, probe_workers, redact_url};
pub use local::Local;
pub use process::Process;
pub use processing::{Plan, Processed, process_batches, process_in_windows};
pub use retry::RetryPolicy;
pub use watch::{Watch, emit_new_receipts, sleep};

/// The batches that a backend has to process, and how.
#[derive(Debug, Clone)]
pub struct Work<'a> {
    /// The run directory, which holds the job and receives parts and receipts.
    pub run: &'a RunDir,
    /// The open batches: those without a receipt, and the unfinished ranges of partly processed ones.
    pub batches: Vec<Cow<'a, Batch>>,
    /// Whether these batches have crashed their function before. They are then split right away.
    pub is_suspect: bool,
    /// When to retry a failed call.
    pub retry: RetryPolicy,
    /// The time limit of one call; unlimited if `None`.
    pub timeout: Option<Duration>,
    /// Whether the first dead letter ends the run.
    pub stop_on_bad_record: bool,
    /// Whether and how much to speculate on stragglers, for backends that support it.
    pub speculation: Option<Speculation>,
    /// The spending limit, if there is one. A backend that cannot enforce it must not start any call.
    pub budget: Option<&'a Budget>,
    /// Cancels the run.
    pub cancel: &'a Cancel,
}

/// A platform that runs functions.
pub trait Backend {
    /// The backend's name in events and reports.
    fn name(&self) -> &'static str;

    /// The maximum number of invocations in flight.
    fn concurrency(&self) -> usize;

    /// Processes every batch of `work` and reports progress to `emit`. Returns when all batches have a receipt.
    ///
    /// # Errors
    /// Fails if a batch has no receipt in the end. Invocations on a remote platform may still be running then; a later
    /// start of the run finds their receipts in the run directory.
    fn run(&self, work: &Work<'_>, emit: &mut dyn FnMut(Event)) -> Result<(), DispatchError>;
}

impl<B: Backend + ?Sized> Backend for &B {
    fn name(&self) -> &'static str {
        (**self).name()
    }

    fn concurrency(&self) -> usize {
        (**self).concurrency()
    }

    fn run(&self, work: &Work<'_>, emit: &mut dyn FnMut(Event)) -> Result<(), DispatchError> {
        (**self).run(work, emit)
    }
}

/// The reason that a backend stopped before all batches had a receipt.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DispatchError {
    /// A batch failed, and another attempt would not help or is not allowed.
    #[error("failed to process batch {batch} (attempt {attempt}): {failure}")]
    Batch {
        /// The batch.
        batch: u64,
        /// Its last attempt, from 1.
        attempt: u32,
        /// The last failure.
        failure: shoal_job::wire::Failure,
    },
    /// Several batches in a row failed, without a success in between.
    #[error(
        "stopped after {batches} {} in a row failed; last failure: {failure}",
        if *batches == 1 { "batch" } else { "batches" }
    )]
    CircuitOpen {
        /// The number of batches that failed.
        batches: usize,
        /// The last failure.
        failure: shoal_job::wire::Failure,
    },
    /// There is a dead letter, and the run stops at the first one.
    #[error("stopped at a bad record in batch {batch}")]
    BadRecord {
        /// The batch.
        batch: u64,
    },
    /// The first records are all dead letters, and the run ends if they are.
    #[error("stopped: none of the first {records} records has a result")]
    NoResults {
        /// The number of these records.
        records: u64,
    },
    /// The run directory cannot be read or written.
    #[error(transparent)]
    Job(#[from] shoal_job::Error),
    /// The platform is unreachable or misconfigured.
    #[error("failed to use {backend}: {reason}")]
    Platform {
        /// The backend's name.
        backend: &'static str,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The remaining budget does not cover another call.
    #[error("budget exhausted: {0}")]
    Budget(Shortage),
    /// The platform continues on its own, and this process does not wait for it.
    #[error("detached: the run continues on the platform")]
    Detached,
    /// The user cancelled the run.
    #[error("cancelled")]
    Cancelled,
}
