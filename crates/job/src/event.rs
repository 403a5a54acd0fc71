//! What happens in a run, told step by step: progress bars and reports read nothing else.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::wire::{FailureKind, Receipt};

/// One step of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The input is being read and cut.
    Planning {
        /// Records found so far; 0 at the beginning.
        records: u64,
    },
    /// The plan stands.
    Planned {
        /// Records in all.
        records: u64,
        /// Batches in all.
        batches: u64,
    },
    /// A backend starts on the batches that have no receipt yet.
    Started {
        /// The backend's name.
        backend: String,
        /// Invocations in flight, at most.
        concurrency: usize,
        /// Batches that earlier starts of this run finished.
        reused_batches: u64,
        /// Records in them.
        reused_records: u64,
    },
    /// A function was called.
    Dispatched {
        /// The batch.
        batch: u64,
        /// Records of it before the first that is to be done.
        #[serde(default, skip_serializing_if = "is_default")]
        offset: u64,
        /// Where to stop, counted from the batch's first record, where that is not its end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<u64>,
        /// The attempt, from 1.
        attempt: u32,
        /// The environment that works on it, from 0.
        worker: usize,
        /// Whether the attempt before is still under way, and takes far longer than was to be expected.
        #[serde(default, skip_serializing_if = "is_default")]
        second: bool,
    },
    /// A function answered.
    Finished {
        /// The environment that worked on it, from 0.
        worker: usize,
        /// Its answer.
        receipt: Arc<Receipt>,
    },
    /// A function failed.
    Failed {
        /// The batch.
        batch: u64,
        /// Records of it before the first that was to be done.
        #[serde(default, skip_serializing_if = "is_default")]
        offset: u64,
        /// The attempt, from 1.
        attempt: u32,
        /// The environment that was to work on it, from 0.
        worker: usize,
        /// What may be done about it.
        kind: FailureKind,
        /// Why.
        reason: String,
        /// Whether the batch is tried again, or another attempt at it is still under way.
        retry: bool,
    },
    /// A function answered what another attempt had answered before.
    Superseded {
        /// The batch.
        batch: u64,
        /// Records of it before the first that was to be done.
        #[serde(default, skip_serializing_if = "is_default")]
        offset: u64,
        /// The attempt, from 1.
        attempt: u32,
        /// The environment that worked on it, from 0.
        worker: usize,
    },
    /// A batch waits for its next attempt.
    Waiting {
        /// The batch.
        batch: u64,
        /// The attempt that it waits for.
        attempt: u32,
        /// Milliseconds from now until that may be made.
        ms: u64,
    },
    /// The platform takes no more calls; none is made for a while.
    Held {
        /// Milliseconds from now until the next one may be made.
        ms: u64,
    },
    /// A platform that fans out by itself tells how far it is.
    Progressed {
        /// Batches whose receipts are there, of those that were open at the start.
        finished: u64,
        /// Batches that failed for good.
        failed: u64,
        /// Invocations in flight.
        running: u64,
    },
    /// The platform goes on by itself; nobody waits for it here.
    Detached {
        /// What the platform calls the work.
        execution: Option<String>,
    },
    /// The parts are being read back and held against their receipts.
    Verifying {
        /// Receipts that there are.
        parts: u64,
    },
    /// The run stops before its end; the same command goes on.
    Cancelled,
    /// The run stops for an error, or since its budget does not pay for the next call.
    Stopped {
        /// Why, in words.
        reason: String,
    },
    /// The parts are being joined.
    Collecting {
        /// Parts joined so far; 0 at the beginning.
        parts: u64,
        /// Parts in all.
        of: u64,
    },
    /// The output stands.
    Completed {
        /// Records in the output.
        results: u64,
        /// Records in the dead letters.
        failed: u64,
    },
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Event {
    /// Its name, under which it is recorded.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Planning { .. } => "planning",
            Self::Planned { .. } => "planned",
            Self::Started { .. } => "started",
            Self::Dispatched { .. } => "dispatched",
            Self::Finished { .. } => "finished",
            Self::Failed { .. } => "failed",
            Self::Superseded { .. } => "superseded",
            Self::Progressed { .. } => "progressed",
            Self::Detached { .. } => "detached",
            Self::Waiting { .. } => "waiting",
            Self::Held { .. } => "held",
            Self::Verifying { .. } => "verifying",
            Self::Cancelled => "cancelled",
            Self::Stopped { .. } => "stopped",
            Self::Collecting { .. } => "collecting",
            Self::Completed { .. } => "completed",
        }
    }

    /// Whether nothing follows it, in this start of the run.
    pub(crate) fn is_last(&self) -> bool {
        matches!(
            self,
            Self::Cancelled | Self::Stopped { .. } | Self::Completed { .. } | Self::Detached { .. }
        )
    }

    /// Whether the event belongs into `events.jsonl`; the others only move a progress bar. Of what is told again and again,
    /// the beginning is recorded.
    pub fn is_recorded(&self) -> bool {
        match self {
            Self::Planning { records } => *records == 0,
            Self::Collecting { parts, .. } => *parts == 0,
            Self::Progressed { .. } => false,
            _ => true,
        }
    }
}
