//! The script: the faults and the calls that they affect.

use std::path::Path;

use serde::{Deserialize, Serialize};
use shoal_job::wire::FailureKind;

/// The name of the script file, in the parent of the run directory.
const SCRIPT: &str = "faults.json";

/// A rule of the script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultRule {
    /// The batch.
    pub batch: u64,
    /// The number of first calls for each range of the batch to which the rule applies.
    pub calls: u32,
    /// The fault.
    pub fault: Fault,
}

impl FaultRule {
    /// Applies `fault` to the first call for `batch`.
    pub fn once(batch: u64, fault: Fault) -> Self {
        Self::times(batch, 1, fault)
    }

    /// Applies `fault` to the first `calls` calls for `batch`.
    pub fn times(batch: u64, calls: u32, fault: Fault) -> Self {
        Self {
            batch,
            calls,
            fault,
        }
    }

    /// Applies `fault` to every call for `batch`.
    pub fn always(batch: u64, fault: Fault) -> Self {
        Self::times(batch, u32::MAX, fault)
    }
}

/// A fault of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The function returns a failure.
    Fail(FailureKind),
    /// The function's process exits without an answer.
    Crash(CrashPoint),
    /// The function never answers.
    Hang,
    /// The platform throttles the call.
    Throttle,
    /// The receipt has the checksum of another part.
    WrongChecksum,
    /// The function waits until all other batches are finished.
    Last,
    /// The function's process exits whenever it would process this record of the batch.
    Poison(u64),
    /// The function stops after this many records.
    Cut(u64),
    /// The platform calls the function twice at the same time and returns one of the answers.
    Twice,
}

/// When a crashing process exits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CrashPoint {
    /// Before anything is written.
    Start,
    /// After the part was written, before the receipt.
    BeforeReceipt,
    /// After the receipt was written, before the answer.
    AfterReceipt,
}

pub(crate) fn save(folder: &Path, rules: &[FaultRule]) {
    let content = serde_json::to_vec(rules).expect("rules are always JSON");
    // Replaced atomically, because an abandoned call may be reading it.
    let new = folder.join("faults.new");
    std::fs::write(&new, content)
        .and_then(|()| std::fs::rename(new, folder.join(SCRIPT)))
        .expect("the folder can be written");
}

/// The fault of call number `call` for a batch, counted from 1.
pub(crate) fn fault(folder: &Path, batch: u64, call: u32) -> Option<Fault> {
    let content = std::fs::read(folder.join(SCRIPT)).expect("the script can be read");
    let rules: Vec<FaultRule> = serde_json::from_slice(&content).expect("the script is JSON");
    rules
        .iter()
        .find(|rule| rule.batch == batch && call <= rule.calls)
        .map(|rule| rule.fault)
}
