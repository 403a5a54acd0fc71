//! What a report is made of.

use serde_json::Value;
use shoal_estimate::Bill;
use shoal_job::{Event, Job, Receipts};

/// All that a run recorded, as its run directory has it.
#[derive(Debug, Clone)]
pub struct Recorded<'a> {
    /// `job.json`.
    pub job: &'a Job,
    /// The run's reference: what people type to name it.
    pub run: &'a str,
    /// The receipts.
    pub receipts: &'a Receipts,
    /// The events with their times in milliseconds since 1970.
    pub events: &'a [(u64, Event)],
    /// The first lines of `failed.jsonl`; a page shows them all, so a hundred are enough.
    pub dead_letters: &'a [Value],
    /// Number of lines of `failed.jsonl`.
    pub dead_letters_total: u64,
    /// What it cost, where what was used has a price.
    pub bill: Option<Bill>,
    /// The command that repeats it.
    pub command: String,
}
