//! The input of a report.

use serde_json::Value;
use shoal_estimate::Bill;
use shoal_job::{Job, Receipts};

use crate::CallHistory;

/// What a run recorded in its run directory.
#[derive(Debug)]
pub struct Recorded<'a> {
    /// `job.json`.
    pub job: &'a Job,
    /// The run's reference: the name by which users find it.
    pub run: &'a str,
    /// The receipts.
    pub receipts: &'a Receipts,
    /// The history of its events.
    pub history: CallHistory,
    /// The first lines of `failed.jsonl`; a page shows up to a hundred.
    pub dead_letters: &'a [Value],
    /// Number of lines of `failed.jsonl`.
    pub dead_letters_total: u64,
    /// The cost; `None` if nothing that was used has a price.
    pub bill: Option<Bill>,
    /// The command that repeats the run.
    pub command: String,
}
