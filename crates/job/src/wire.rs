//! The messages between whoever dispatches and whoever works: the only contract between the two.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::spec::Batch;

/// One call of the function for a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invocation {
    /// The batch to process.
    pub batch: Batch,
    /// Attempt at this batch, from 1.
    pub attempt: u32,
}

/// The small answer of an invocation. It also lies in the run directory, written after the part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// The batch's index.
    pub batch: u64,
    /// The attempt that wrote it, from 1.
    pub attempt: u32,
    /// Records of the batch; results are `records - failed`.
    pub records: u64,
    /// Records in the dead letters.
    pub failed: u64,
    /// Records whose text was cut at the token limit.
    pub truncated: u64,
    /// Tokens that went through the model, special tokens included.
    pub tokens: u64,
    /// The part.
    pub part: Stored,
    /// The dead letters, where there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letters: Option<Stored>,
    /// Where the time went.
    pub timings: Timings,
    /// Whether this was the worker's first invocation.
    pub cold: bool,
    /// Instruction set that the engine used.
    pub isa: String,
    /// Gold label → predicted label → records, where the input has gold labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub confusion: BTreeMap<String, BTreeMap<String, u64>>,
}

/// An object in the run directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// Its length in bytes.
    pub bytes: u64,
    /// BLAKE3 of its content, in hexadecimal.
    pub checksum: String,
}

impl Stored {
    /// The length and checksum of `content`.
    pub fn of(content: &[u8]) -> Self {
        Self {
            bytes: content.len() as u64,
            checksum: blake3::hash(content).to_hex().to_string(),
        }
    }
}

/// Where an invocation's time went, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Timings {
    /// What the environment did before its first batch; 0 when warm. Local workers share a model that is open already.
    pub init: f64,
    /// Reading and parsing records.
    pub read: f64,
    /// Turning text into tokens.
    pub tokenize: f64,
    /// The model.
    pub model: f64,
    /// Writing the part, the dead letters and the receipt.
    pub write: f64,
    /// From the invocation's start to its end.
    pub total: f64,
}

impl std::ops::AddAssign for Timings {
    fn add_assign(&mut self, other: Self) {
        self.init += other.init;
        self.read += other.read;
        self.tokenize += other.tokenize;
        self.model += other.model;
        self.write += other.write;
        self.total += other.total;
    }
}

/// Why an invocation gave no receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{reason}")]
pub struct Failure {
    /// What may be done about it.
    pub kind: FailureKind,
    /// In words.
    pub reason: String,
}

/// What may be done about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// Another attempt may succeed.
    Retryable,
    /// The function crashed on this batch; another attempt may, but need not, end the same way.
    Crashed,
    /// The input is not, or no longer, what the plan saw: no attempt will succeed.
    Input,
    /// The store will not take the part: no attempt will succeed.
    Storage,
    /// The model cannot be used: no attempt will succeed.
    Model,
    /// The run was cancelled while the batch was worked on.
    Cancelled,
}

impl FailureKind {
    /// Whether the dispatcher may try the batch again.
    pub fn may_retry(self) -> bool {
        matches!(self, Self::Retryable | Self::Crashed)
    }
}

impl From<crate::Error> for Failure {
    fn from(error: crate::Error) -> Self {
        use crate::Error;
        let kind = match &error {
            retryable if retryable.is_retryable() => FailureKind::Retryable,
            Error::Storage { .. } | Error::Busy { .. } => FailureKind::Storage,
            Error::Cancelled => FailureKind::Cancelled,
            Error::Input { .. }
            | Error::Parameter(_)
            | Error::Conflict { .. }
            | Error::Corrupt { .. } => FailureKind::Input,
        };
        Self {
            kind,
            reason: error.to_string(),
        }
    }
}
