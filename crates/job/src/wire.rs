//! The messages between the dispatcher and the functions.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::metrics::Metrics;
use crate::spec::{Batch, is_default};

/// A call of the function for a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invocation {
    /// The run directory as the function finds it: an absolute path or a URL.
    pub run: Arc<str>,
    /// The batch to process.
    pub batch: Batch,
    /// Attempt at this batch, from 1.
    pub attempt: u32,
    /// Milliseconds that the caller waits for the receipt; `None` for no limit. A function that would take longer stops
    /// early and returns a receipt for the records it has processed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Quarantines the first record, which crashed its function on its own: it becomes a dead letter with this reason, and
    /// no other record is processed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantine: Option<String>,
}

impl Invocation {
    /// The first attempt at `batch` of the job in the run directory `run`.
    pub fn first(run: Arc<str>, batch: Batch) -> Self {
        Self {
            run,
            batch,
            attempt: 1,
            timeout_ms: None,
            quarantine: None,
        }
    }
}

/// The reply of a function to a platform that fans out by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// The receipt.
    pub receipt: Receipt,
    /// The call for the rest of the batch, if the function ran out of time. The platform makes it.
    pub again: Option<Invocation>,
}

impl Reply {
    /// The reply to `invocation`.
    pub fn new(invocation: &Invocation, receipt: Receipt) -> Self {
        let (done, end) = (receipt.offset + receipt.records, invocation.batch.end());
        let again = (done < end).then(|| Invocation {
            batch: invocation.batch.range(done, end),
            attempt: 1,
            quarantine: None,
            ..invocation.clone()
        });
        Self { receipt, again }
    }
}

/// The result of an invocation. It is also stored in the run directory, after the part.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Receipt {
    /// The batch's index.
    pub batch: u64,
    /// The first record of the range, counted within the batch. Not 0 if the batch was split.
    #[serde(default, skip_serializing_if = "is_default")]
    pub offset: u64,
    /// Number of records of the batch after the range. Not 0 if the batch was split or the function ran out of time.
    #[serde(default, skip_serializing_if = "is_default")]
    pub remaining: u64,
    /// The attempt that wrote it, from 1.
    pub attempt: u32,
    /// Number of records processed; results are `records - failed`.
    pub records: u64,
    /// Number of dead letters.
    pub failed: u64,
    /// Number of dead letters that are readable but crashed their function. Another attempt elsewhere may succeed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub quarantined: u64,
    /// Amount of work in the function's [unit](crate::FunctionSpec::unit), such as tokens.
    #[serde(default)]
    pub units: u64,
    /// The part.
    pub part: Stored,
    /// The dead letters, if there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letters: Option<Stored>,
    /// When the invocation began, in milliseconds since 1970 by the host's clock; 0 if unknown.
    #[serde(default)]
    pub started_unix_ms: u64,
    /// Where the time went.
    pub timings: Timings,
    /// Name of the environment, which processes one invocation at a time.
    #[serde(default)]
    pub environment: Arc<str>,
    /// Whether this was the environment's first invocation.
    pub cold: bool,
    /// Peak memory of the environment's process in bytes, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory_bytes: Option<u64>,
    /// Milliseconds that the platform bills, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub billed_ms: Option<f64>,
    /// What the platform bills by, if it bills.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sizing: Option<Arc<Sizing>>,
    /// What computed the results, such as the instruction set of the engine.
    pub engine: Arc<str>,
    /// Counts of the task, such as a confusion matrix.
    #[serde(default, skip_serializing_if = "Metrics::is_empty")]
    pub metrics: Metrics,
}

impl Receipt {
    /// The range of records.
    pub fn range(&self) -> BatchRange {
        BatchRange {
            batch: self.batch,
            offset: self.offset,
            records: self.records,
            is_last: self.remaining == 0,
            is_quarantined: self.quarantined > 0,
        }
    }
}

/// The records of one part: a batch, or a range of it if the batch was split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchRange {
    /// The batch.
    pub batch: u64,
    /// The first record, counted within the batch.
    pub offset: u64,
    /// Number of records.
    pub records: u64,
    /// Whether the range ends with the batch.
    pub is_last: bool,
    /// Whether it is a quarantined record.
    pub is_quarantined: bool,
}

/// What a platform bills a function by, as reported by the function's environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sizing {
    /// Memory of the function in MB, which also says how much of a CPU it gets.
    pub memory_mb: u32,
    /// `x86_64` or `arm64`.
    pub architecture: String,
    /// The region.
    pub region: String,
}

/// An object in the run directory.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Timings {
    /// Preparing the environment before its first batch; 0 if it was warm.
    pub init: f64,
    /// Reading and parsing records.
    pub read: f64,
    /// The function's stages by name, such as `tokenize` and `model`.
    #[serde(default)]
    pub stages: Stages,
    /// Writing the part, the dead letters and the receipt.
    pub write: f64,
    /// From the invocation's start to its end.
    pub total: f64,
}

impl std::ops::AddAssign<&Self> for Timings {
    fn add_assign(&mut self, other: &Self) {
        self.init += other.init;
        self.read += other.read;
        for (name, ms) in other.stages.iter() {
            self.stages.add(name, ms);
        }
        self.write += other.write;
        self.total += other.total;
    }
}

/// Milliseconds by stage, in the order in which the function runs the stages.
///
/// A list rather than a map: a run keeps a receipt for each of many batches, and there are few stages.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Stages(Box<[(Arc<str>, f64)]>);

impl Stages {
    /// Adds `ms` to the stage `name`, which is appended if it is new.
    pub fn add(&mut self, name: &str, ms: f64) {
        match self.0.iter_mut().find(|(known, _)| **known == *name) {
            Some((_, sum)) => *sum += ms,
            None => {
                let mut stages = std::mem::take(&mut self.0).into_vec();
                stages.push((name.into(), ms));
                self.0 = stages.into();
            }
        }
    }

    /// Milliseconds of the stage `name`, or 0.
    pub fn get(&self, name: &str) -> f64 {
        self.iter()
            .find(|(known, _)| *known == name)
            .map_or(0.0, |(_, ms)| ms)
    }

    /// Name and milliseconds of each stage.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        self.0.iter().map(|(name, ms)| (&**name, *ms))
    }

    /// Milliseconds of all stages.
    pub fn total(&self) -> f64 {
        self.iter().map(|(_, ms)| ms).sum()
    }

    pub(crate) fn names_mut(&mut self) -> impl Iterator<Item = &mut Arc<str>> {
        self.0.iter_mut().map(|(name, _)| name)
    }
}

impl Serialize for Stages {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Stages {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Stages;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("milliseconds by stage")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Stages, A::Error> {
                let mut stages = Stages::default();
                while let Some((name, ms)) = map.next_entry::<String, f64>()? {
                    stages.add(&name, ms);
                }
                Ok(stages)
            }
        }

        deserializer.deserialize_map(Visitor)
    }
}

/// The outcome of an invocation as one message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It succeeded.
    Receipt(Box<Receipt>),
    /// It failed.
    Failure(Failure),
}

impl From<Result<Receipt, Failure>> for Outcome {
    fn from(result: Result<Receipt, Failure>) -> Self {
        match result {
            Ok(receipt) => Self::Receipt(Box::new(receipt)),
            Err(failure) => Self::Failure(failure),
        }
    }
}

/// Why an invocation failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{reason}")]
pub struct Failure {
    /// The kind of failure.
    pub kind: FailureKind,
    /// The message.
    pub reason: String,
}

/// The kind of a failure, which decides whether it is retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FailureKind {
    /// Another attempt may succeed.
    Retryable,
    /// The function crashed. Another attempt may succeed.
    Crashed,
    /// The function ran out of time. Another attempt may be faster.
    TimedOut,
    /// The platform throttled the call, for reasons unrelated to the batch.
    Throttled,
    /// The input does not match the plan. No attempt will succeed.
    Input,
    /// The part cannot be stored. No attempt will succeed.
    Storage,
    /// The model cannot be used. No attempt will succeed.
    Model,
    /// The platform refused the call: credentials, permissions, no such function. No attempt will succeed.
    Refused,
    /// The run was cancelled.
    Cancelled,
}

/// How a dispatcher handles a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Repeats the call after a delay.
    Again,
    /// Repeats the call, then splits the batch until the record that causes the failure is isolated.
    Split,
    /// Repeats the call when the platform accepts calls again. It does not count as an attempt.
    Later,
    /// Gives up: no attempt will succeed.
    Stop,
}

impl FailureKind {
    /// How a dispatcher handles it.
    pub fn remedy(self) -> Remedy {
        match self {
            Self::Retryable => Remedy::Again,
            Self::Crashed | Self::TimedOut => Remedy::Split,
            Self::Throttled => Remedy::Later,
            Self::Input | Self::Storage | Self::Model | Self::Refused | Self::Cancelled => {
                Remedy::Stop
            }
        }
    }

    /// Its name in receipts, events and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Retryable => "retryable",
            Self::Crashed => "crashed",
            Self::TimedOut => "timed_out",
            Self::Throttled => "throttled",
            Self::Input => "input",
            Self::Storage => "storage",
            Self::Model => "model",
            Self::Refused => "refused",
            Self::Cancelled => "cancelled",
        }
    }

    /// Its name as an error type, by which platforms distinguish errors: that of the variant.
    pub fn error_type(self) -> String {
        format!("Shoal.{self:?}")
    }

    /// The kind with this [`error_type`](Self::error_type).
    pub fn of_error_type(name: &str) -> Option<Self> {
        [
            Self::Retryable,
            Self::Crashed,
            Self::TimedOut,
            Self::Throttled,
            Self::Input,
            Self::Storage,
            Self::Model,
            Self::Refused,
            Self::Cancelled,
        ]
        .into_iter()
        .find(|kind| kind.error_type() == name)
    }
}

impl Failure {
    /// A failure.
    pub fn new(kind: FailureKind, reason: impl Into<String>) -> Self {
        Self {
            kind,
            reason: reason.into(),
        }
    }

    /// The failure of a function that panicked with `panic`.
    pub fn crashed(panic: &(dyn std::any::Any + Send)) -> Self {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no message");
        Self::new(
            FailureKind::Crashed,
            format!("the function crashed: {text}"),
        )
    }
}

impl From<crate::Error> for Failure {
    fn from(error: crate::Error) -> Self {
        use crate::Error;
        let kind = match &error {
            error if error.is_retryable() => FailureKind::Retryable,
            Error::Storage { .. } | Error::Busy { .. } => FailureKind::Storage,
            Error::Cancelled => FailureKind::Cancelled,
            Error::Input { .. }
            | Error::Parameter(_)
            | Error::Adjustable { .. }
            | Error::Conflict { .. }
            | Error::Corrupt { .. } => FailureKind::Input,
        };
        Self::new(kind, error.to_string())
    }
}
