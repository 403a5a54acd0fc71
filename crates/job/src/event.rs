//! The events of a run, which progress bars and reports read.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::spec::is_default;
use crate::wire::{FailureKind, Receipt};

/// An event of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The input is being read and split into batches.
    Planning {
        /// Records found so far; 0 at the beginning.
        records: u64,
    },
    /// The plan is complete.
    Planned {
        /// Total number of records.
        records: u64,
        /// Total number of batches.
        batches: u64,
        /// What was detected about the input that users may not expect: [`Job::notes`](crate::Job::notes).
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        notes: Vec<String>,
    },
    /// A backend starts processing the batches without a receipt.
    Started {
        /// The backend's name.
        backend: String,
        /// Maximum number of invocations in flight.
        concurrency: usize,
        /// Batches that were finished before.
        reused_batches: u64,
        /// Records in them.
        reused_records: u64,
    },
    /// A function was called.
    Dispatched {
        /// The batch.
        batch: u64,
        /// The first record to process, counted within the batch.
        #[serde(default, skip_serializing_if = "is_default")]
        offset: u64,
        /// One past the last record to process, if that is not the batch's end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<u64>,
        /// The attempt, from 1.
        attempt: u32,
        /// The worker that processes it, from 0.
        worker: usize,
        /// Whether it is a speculative second attempt, because the first takes far longer than expected.
        #[serde(default, skip_serializing_if = "is_default")]
        second: bool,
    },
    /// A function returned a receipt.
    Finished {
        /// The worker that processed it, from 0.
        worker: usize,
        /// The receipt.
        receipt: Arc<Receipt>,
    },
    /// A function failed.
    Failed {
        /// The batch.
        batch: u64,
        /// The first record to process, counted within the batch.
        #[serde(default, skip_serializing_if = "is_default")]
        offset: u64,
        /// The attempt, from 1.
        attempt: u32,
        /// The worker that was to process it, from 0.
        worker: usize,
        /// The kind of failure.
        kind: FailureKind,
        /// Why.
        reason: String,
        /// Whether the batch is retried, or another attempt is still in flight.
        retry: bool,
    },
    /// A function returned a receipt after another attempt at the same batch had.
    Superseded {
        /// The batch.
        batch: u64,
        /// The first record to process, counted within the batch.
        #[serde(default, skip_serializing_if = "is_default")]
        offset: u64,
        /// The attempt, from 1.
        attempt: u32,
        /// The worker that processed it, from 0.
        worker: usize,
    },
    /// A batch waits for its next attempt.
    Waiting {
        /// The batch.
        batch: u64,
        /// The attempt that it waits for.
        attempt: u32,
        /// Milliseconds until then.
        ms: u64,
    },
    /// The platform throttles calls, so none is made for a while.
    Held {
        /// Milliseconds until the next call.
        ms: u64,
    },
    /// Progress of a platform that fans out by itself.
    Progressed {
        /// Finished batches, of those that were open at the start.
        finished: u64,
        /// Batches that failed permanently.
        failed: u64,
        /// Invocations in flight.
        running: u64,
    },
    /// The platform continues on its own, and this process does not wait for it.
    Detached {
        /// What the platform calls the work.
        execution: Option<String>,
    },
    /// The parts are being verified against their receipts.
    Verifying {
        /// Number of receipts.
        parts: u64,
    },
    /// The run was cancelled. It can be resumed.
    Cancelled,
    /// The run stopped because of an error or its budget.
    Stopped {
        /// Why.
        reason: String,
    },
    /// The parts are being joined.
    Collecting {
        /// Parts joined so far; 0 at the beginning.
        parts: u64,
        /// Total number of parts.
        of: u64,
    },
    /// The output is complete.
    Completed {
        /// Records in the output.
        results: u64,
        /// Records in the dead letters.
        failed: u64,
    },
}

impl Event {
    /// Whether it is the last event of this start of the run.
    pub(crate) fn is_last(&self) -> bool {
        matches!(
            self,
            Self::Cancelled | Self::Stopped { .. } | Self::Completed { .. } | Self::Detached { .. }
        )
    }

    /// Whether the event is recorded in `events.jsonl`. Repeated progress events are not, except for the first.
    pub fn is_recorded(&self) -> bool {
        match self {
            Self::Planning { records } => *records == 0,
            Self::Collecting { parts, .. } => *parts == 0,
            Self::Progressed { .. } => false,
            _ => true,
        }
    }
}
