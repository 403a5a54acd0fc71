//! The messages between whoever dispatches and whoever works: the only contract between the two.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::metrics::Metrics;
use crate::spec::Batch;

/// One call of the function for a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invocation {
    /// The run directory, by the name under which the function finds it: an absolute path or a URL.
    pub run: Arc<str>,
    /// The batch to process.
    pub batch: Batch,
    /// Attempt at this batch, from 1.
    pub attempt: u32,
    /// Milliseconds that the caller waits for the answer, if it does not wait for ever. A function that will not be
    /// done by then stops before, and answers how far it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Why the first record is not to be worked on, where it killed its function even when it was alone: it goes to the
    /// dead letters, and nothing else is done.
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

/// What a function answers where a platform stands between it and whoever called.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// What was done.
    pub receipt: Receipt,
    /// The call for the rest of the batch, where the function ran out of time: a platform that fans out by itself makes
    /// it, since nobody else may be there to do so.
    pub again: Option<Invocation>,
}

impl Reply {
    /// The answer to `invocation`.
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

/// The small answer of an invocation. It also lies in the run directory, written after the part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// The batch's index.
    pub batch: u64,
    /// Records of the batch before the first of this part: 0, but where an earlier invocation ran out of time.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub offset: u64,
    /// Records of the batch behind the last of this part: 0, but where this invocation ran out of time, or was asked for no
    /// more.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub remaining: u64,
    /// The attempt that wrote it, from 1.
    pub attempt: u32,
    /// Records worked on; results are `records - failed`.
    pub records: u64,
    /// Records in the dead letters.
    pub failed: u64,
    /// Those of them that could be read, and killed their function: another attempt may help, where it is at another place.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub quarantined: u64,
    /// Amount of work in the function's own [unit](crate::FunctionSpec::unit), such as tokens.
    #[serde(default)]
    pub units: u64,
    /// The part.
    pub part: Stored,
    /// The dead letters, where there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letters: Option<Stored>,
    /// When the invocation began, in milliseconds since 1970 by the clock of the host that did it; 0 where it is not known.
    #[serde(default)]
    pub started_unix_ms: u64,
    /// Where the time went.
    pub timings: Timings,
    /// Name of the environment that did the work: invocations of one environment follow each other.
    #[serde(default = "no_name")]
    pub environment: Arc<str>,
    /// Whether this was the environment's first invocation.
    pub cold: bool,
    /// The most memory that the environment's process held until then, in bytes, where the system tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory_bytes: Option<u64>,
    /// Milliseconds that the platform bills, where it tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub billed_ms: Option<f64>,
    /// What the platform bills by, where the function runs on one that bills.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sizing: Option<Arc<Sizing>>,
    /// What computed the results, such as the instruction set of the engine.
    pub engine: Arc<str>,
    /// What the task counted, such as a confusion matrix.
    #[serde(default, skip_serializing_if = "Metrics::is_empty")]
    pub metrics: Metrics,
}

impl Receipt {
    /// The part's place among its batch's records.
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

/// The records of a batch that one part holds: all of them, but where a function ran out of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchRange {
    /// The batch.
    pub batch: u64,
    /// Records of the batch before the first.
    pub offset: u64,
    /// Number of records.
    pub records: u64,
    /// Whether there are none behind.
    pub is_last: bool,
    /// Whether it is a record that was not worked on, as it kills its function.
    pub is_quarantined: bool,
}

fn no_name() -> Arc<str> {
    "".into()
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What a platform bills a function by, as the function's environment tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sizing {
    /// Memory of the function in MB, which also says how much of a CPU it gets.
    pub memory_mb: u32,
    /// `x86_64` or `arm64`.
    pub architecture: String,
    /// Where.
    pub region: String,
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
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Timings {
    /// Preparing the environment before its first batch; 0 when warm. Local workers share a model that is open already.
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
    /// Adds `ms` to the stage `name`, which is appended where it is new.
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

    /// Milliseconds of the stage `name`; 0 where there is none.
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

/// What an invocation came to, where it is told as one message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was done.
    Receipt(Box<Receipt>),
    /// It was not.
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
    /// The function had no more time; another attempt may be quicker, but need not.
    TimedOut,
    /// The platform would not take the call now; it says nothing of the batch.
    Throttled,
    /// The input is not, or no longer, what the plan saw: no attempt will succeed.
    Input,
    /// The store will not take the part: no attempt will succeed.
    Storage,
    /// The model cannot be used: no attempt will succeed.
    Model,
    /// The platform refuses calls: credentials, permissions, no such function. No attempt will succeed.
    Refused,
    /// The run was cancelled while the batch was worked on.
    Cancelled,
}

/// What a dispatcher does about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// The same call again, after a while.
    Again,
    /// The same call again, and if that ends so too, fewer records at a time, until the one that does it stands alone.
    Split,
    /// The same call again, once the platform takes calls; it does not count as an attempt.
    Later,
    /// Nothing: no attempt will succeed.
    Stop,
}

impl FailureKind {
    /// What a dispatcher does about it.
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

    /// Whether another attempt may succeed.
    pub fn may_retry(self) -> bool {
        self.remedy() != Remedy::Stop
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

    /// Its name as an error type, for platforms that sort errors by such names.
    pub fn error_type(self) -> &'static str {
        match self {
            Self::Retryable => "Shoal.Retryable",
            Self::Crashed => "Shoal.Crashed",
            Self::TimedOut => "Shoal.TimedOut",
            Self::Throttled => "Shoal.Throttled",
            Self::Input => "Shoal.Input",
            Self::Storage => "Shoal.Storage",
            Self::Model => "Shoal.Model",
            Self::Refused => "Shoal.Refused",
            Self::Cancelled => "Shoal.Cancelled",
        }
    }

    /// The kind that [`error_type`](Self::error_type) names.
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
