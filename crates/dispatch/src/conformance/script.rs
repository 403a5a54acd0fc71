//! What is to happen to which batch.

use std::path::Path;

use serde::{Deserialize, Serialize};
use shoal_job::wire::FailureKind;

/// The script's name, beside the run directory.
const SCRIPT: &str = "faults.json";

/// A line of the script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// The batch.
    pub batch: u64,
    /// How many calls it applies to, from the first; those for another piece of the batch are counted anew.
    pub calls: u32,
    /// What happens.
    pub fault: Fault,
}

impl Rule {
    /// Has `fault` happen to the first call for `batch`.
    pub fn once(batch: u64, fault: Fault) -> Self {
        Self::times(batch, 1, fault)
    }

    /// Has `fault` happen to the first `calls` calls for `batch`.
    pub fn times(batch: u64, calls: u32, fault: Fault) -> Self {
        Self {
            batch,
            calls,
            fault,
        }
    }

    /// Has `fault` happen to every call for `batch`.
    pub fn always(batch: u64, fault: Fault) -> Self {
        Self::times(batch, u32::MAX, fault)
    }
}

/// What may happen to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The function says that it failed.
    Fail(FailureKind),
    /// The function's process ends without an answer.
    Crash(Moment),
    /// The function does not answer.
    Hang,
    /// The platform does not take the call.
    Throttle,
    /// The receipt vouches for another part than the one that was written.
    WrongChecksum,
    /// The function is not done before all other batches are.
    Last,
    /// The function's process ends wherever this record of the batch is to be worked on.
    Poison(u64),
    /// The function has no time for more than this many records.
    Cut(u64),
    /// The platform calls the function twice at the same time, and answers what one of the two answered.
    Twice,
}

/// When a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// Before anything is written.
    Start,
    /// After the part was written, and before the receipt.
    BeforeReceipt,
    /// After the receipt was written, and before the answer.
    AfterReceipt,
}

pub(super) fn save(folder: &Path, rules: &[Rule]) {
    let content = serde_json::to_vec(rules).expect("rules are always JSON");
    // Calls that nobody waits for any more may read it just now.
    let new = folder.join("faults.new");
    std::fs::write(&new, content)
        .and_then(|()| std::fs::rename(new, folder.join(SCRIPT)))
        .expect("the folder can be written");
}

/// What happens to a call for a batch, the `call`-th one from 1.
pub(super) fn fault(folder: &Path, batch: u64, call: u32) -> Option<Fault> {
    let content = std::fs::read(folder.join(SCRIPT)).expect("there is a script beside the run");
    let rules: Vec<Rule> = serde_json::from_slice(&content).expect("the script is JSON");
    rules
        .iter()
        .find(|rule| rule.batch == batch && call <= rule.calls)
        .map(|rule| rule.fault)
}
