//! Errors, and the exit codes that the command gives them.

use std::fmt;

use serde::Serialize;
use shoal_dispatch::{DispatchError, Shortage};
use shoal_encoder::ModelError;
use shoal_estimate::prices::PriceError;
use shoal_job::RunDir;
use shoal_job::run_dir::FAILED;
use shoal_job::wire::{Failure, FailureKind};
use shoal_report::numbers::{count, plural, plural_of};
use shoal_tasks::TaskError;

use crate::BackendKind;

/// The result of the library's functions.
pub type Result<T> = std::result::Result<T, Error>;

macro_rules! settings {
    ($($variant:ident $name:literal: $words:literal,)*) => {
        /// The setting that an [`Error`] is about. A front end knows its users' name for it, such as a flag.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Setting {
            $(#[doc = concat!("This is ", $words, ".")] $variant,)*
        }

        impl Setting {
            /// All settings.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its name in `shoal.toml`, if it is a setting there.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }

        impl fmt::Display for Setting {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$variant => $words,)*
                })
            }
        }
    };
}

settings! {
    Allow "allow": "the list of allowed run directories",
    Backend "backend": "the backend",
    BatchSize "batch-size": "the batch size",
    BatchSizes "batch-sizes": "the batch sizes",
    CacheDir "cache-dir": "the cache folder",
    Check "check": "the data to compare on",
    Concurrency "concurrency": "the concurrency",
    Deadline "deadline": "the deadline",
    Detach "detach": "detaching",
    Function "function": "the function",
    Identity "identity": "the identity of the workers",
    Image "image": "the container image",
    Isa "isa": "the instruction set",
    Lengths "lengths": "the lengths",
    Machine "machine": "the machine's price",
    MaxCost "max-cost": "the cost limit",
    MaxTime "max-time": "the time limit",
    Memory "memory": "the memory size",
    Model "model": "the model",
    OnError "on-error": "the handling of bad records",
    Otlp "otlp": "the collector of traces",
    Output "output": "the output",
    Precision "precision": "the precision",
    Queue "queue": "the queue",
    RunDir "run-dir": "the run directory",
    Simulate "simulate": "the simulation",
    SpeculationBudget "speculation-budget": "the speculation budget",
    StateMachine "state-machine": "the state machine",
    Store "store": "the object store for runs",
    Threads "threads": "the number of threads",
    Timeout "timeout": "the time limit of a call",
    Token "token": "the token",
    ToleratedFailures "tolerated-failures": "the tolerated failures",
    Url "url": "the worker URLs",
    WorkerCount "worker-count": "the number of workers",
    WorkerIndex "worker-index": "the worker's index",
}

/// Why a run failed. Messages name settings, not flags of the command.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Settings that contradict each other or cannot be read.
    #[error("{0}")]
    Settings(String),
    /// A setting that is missing, out of range or has no effect.
    #[error("failed to use {setting}: {reason}")]
    Setting {
        /// The setting.
        setting: Setting,
        /// What is wrong with it.
        reason: String,
    },
    /// The input, the run directory or the output.
    #[error(transparent)]
    Job(#[from] shoal_job::Error),
    /// The model cannot be used.
    #[error("failed to {0}")]
    Model(#[from] ModelError),
    /// The model does not support the request.
    #[error(transparent)]
    Runner(#[from] TaskError),
    /// The hub did not provide the model.
    #[error("failed to get model {name} from the Hugging Face hub: {reason}")]
    Hub {
        /// The model's name.
        name: String,
        /// The reason, and what to do.
        reason: String,
    },
    /// A deployment failed.
    #[cfg(feature = "aws")]
    #[error(transparent)]
    Deploy(#[from] shoal_aws::Error),
    /// A batch failed permanently.
    #[error("failed to process batch {batch}: {failure}")]
    Batch {
        /// The batch.
        batch: u64,
        /// Why.
        failure: Failure,
    },
    /// Several batches in a row failed.
    #[error(
        "stopped after {batches} failed {} in a row; last failure: {failure}",
        if *batches == 1 { "batch" } else { "batches" }
    )]
    CircuitOpen {
        /// The run's name.
        run: String,
        /// The number of failed batches.
        batches: usize,
        /// The last failure.
        failure: Failure,
    },
    /// The run stopped at its first bad record.
    #[error("stopped at a bad record: {dead_letter}")]
    BadRecord {
        /// The dead letter, as JSON.
        dead_letter: String,
    },
    /// No record has a result.
    #[error(transparent)]
    NoResults(#[from] NoResults),
    /// No run has that name.
    #[error("failed to find run {name}: {reason}")]
    NoSuchRun {
        /// The name that was given.
        name: String,
        /// What to do.
        reason: String,
    },
    /// This user did not create the run directory.
    #[error("failed to resume {run}: another user created it, and it would make shoal {wants}")]
    Foreign {
        /// The run's name.
        run: String,
        /// What the run directory would make shoal do.
        wants: String,
    },
    /// The backend cannot be used.
    #[error("failed to use {backend}: {reason}")]
    Platform {
        /// The backend's name.
        backend: &'static str,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The run cannot be collected before all its batches are done.
    #[error(
        "failed to collect run {run}: not done yet: {}",
        plural_of(*missing, *batches, "batch", "batches")
    )]
    Unfinished {
        /// The run's name.
        run: String,
        /// Batches that are missing.
        missing: u64,
        /// All batches.
        batches: u64,
    },
    /// The remaining budget does not cover the remaining calls.
    #[error("stopped before the cost limit was exceeded: {shortage}; finished batches are kept")]
    Budget {
        /// The run's name.
        run: String,
        /// What is missing.
        shortage: Shortage,
    },
    /// No candidate of a plan is within the limits.
    #[error("failed to choose a configuration: {reason}")]
    NothingFits {
        /// What limits.
        reason: String,
    },
    /// A plan chose the backend, and nobody agreed to it.
    #[error("failed to start: the plan chose the backend {backend}, which needs consent")]
    NeedsConsent {
        /// The backend.
        backend: BackendKind,
    },
    /// The expected cost needs consent.
    #[error(
        "failed to start: the remaining {} expected to cost ${usd:.2}",
        plural(*batches, "batch is", "batches are")
    )]
    NeedsYes {
        /// The expected cost.
        usd: f64,
        /// Batches that are left.
        batches: u64,
    },
    /// The prices cannot be read, or lack an item.
    #[error(transparent)]
    Prices(#[from] PriceError),
    /// A cost limit needs prices.
    #[error(
        "failed to start: the backend {backend} has no price, so the cost limit cannot be enforced"
    )]
    Unpriced {
        /// The backend's name.
        backend: &'static str,
    },
    /// The time limit was reached.
    #[error("stopped after {seconds:.0} s, the time limit; finished batches are kept")]
    OutOfTime {
        /// The run's name.
        run: String,
        /// The limit.
        seconds: f64,
    },
    /// A platform continues the run; this process does not wait for it.
    #[error("left {run} to the platform")]
    Detached {
        /// The run's name.
        run: String,
    },
    /// Checks before a run failed.
    #[error("{failed} of {of} checks failed; each says what to do")]
    ChecksFailed {
        /// Checks that failed.
        failed: usize,
        /// All checks.
        of: usize,
        /// The exit code of the first one.
        exit_code: ExitCode,
    },
    /// The user cancelled the run; the run directory holds the finished batches.
    #[error("stopped; finished batches are kept")]
    Cancelled {
        /// The run's name.
        run: String,
    },
}

/// A run in which no record has a result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{}, see {file}; the first one: {dead_letter}",
    match (*is_stopped, *records) {
        (true, 1) => "stopped: the first record has no result".to_owned(),
        (true, records) => format!("stopped: none of the first {} records has a result", count(records)),
        (false, 1) => "the only record has no result".to_owned(),
        (false, records) => format!("none of the {} records has a result", count(records)),
    }
)]
pub struct NoResults {
    /// The run's name.
    pub run: String,
    /// The number of records.
    pub records: u64,
    /// Whether the run stopped because these are its first records. Otherwise it is complete.
    pub is_stopped: bool,
    /// The file of dead letters.
    pub file: String,
    /// The first dead letter, as JSON.
    pub dead_letter: String,
}

impl NoResults {
    /// Characters of a dead letter that are shown, at most.
    const MOST_CHARACTERS: usize = 1000;

    /// The error of `run`, whose dead letters are collected.
    pub(crate) fn of(run: &RunDir, records: u64, is_stopped: bool) -> Self {
        // If they cannot be read, the run is still reported.
        let lines = run.first_lines(FAILED, 1).unwrap_or_default();
        let first = lines.first().map(Vec::as_slice).unwrap_or_default();
        let first = String::from_utf8_lossy(first);
        Self {
            run: run.reference(),
            records,
            is_stopped,
            file: run.object_uri(FAILED),
            dead_letter: first.chars().take(Self::MOST_CHARACTERS).collect(),
        }
    }
}

/// Exit codes of the command: a published interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// Success; there may be dead letters.
    Success = 0,
    /// A bug in shoal.
    Internal = 1,
    /// Wrong flags, settings or combinations of them.
    Usage = 2,
    /// The input is missing, damaged, or lacks a column.
    Input = 3,
    /// The model is missing, damaged or not supported.
    Model = 4,
    /// The system refused to read or write: disk full, permission denied, no network.
    Storage = 5,
    /// The run directory holds another job, is in use, damaged or missing, or belongs to another user.
    Run = 6,
    /// The run stopped at its first bad record.
    BadRecord = 7,
    /// The platform is missing, not set up, refuses calls, or keeps throttling them.
    Platform = 8,
    /// The cost or time limit was reached, and finished batches are kept; or no candidate of a plan is within the limits.
    Budget = 9,
    /// No record has a result.
    NoResults = 10,
    /// Stopped by Ctrl-C or a signal.
    Interrupted = 130,
}

impl Error {
    /// The command's exit code.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Settings(_)
            | Self::Setting { .. }
            | Self::NeedsYes { .. }
            | Self::NeedsConsent { .. }
            | Self::Prices(_)
            | Self::Unpriced { .. }
            | Self::Runner(_) => ExitCode::Usage,
            Self::Job(error) => of_job(error),
            #[cfg(feature = "aws")]
            Self::Deploy(error) => match error {
                shoal_aws::Error::Setting { .. }
                | shoal_aws::Error::Bootstrap { .. }
                | shoal_aws::Error::TooLarge { .. }
                | shoal_aws::Error::Foreign { .. } => ExitCode::Usage,
                shoal_aws::Error::Storage(error) => of_job(error),
                // AWS rejected a call.
                _ => ExitCode::Storage,
            },
            Self::Model(ModelError::Write { .. }) => ExitCode::Storage,
            Self::Model(_) | Self::Hub { .. } => ExitCode::Model,
            Self::Batch { failure, .. } | Self::CircuitOpen { failure, .. } => match failure.kind {
                FailureKind::Input => ExitCode::Input,
                FailureKind::Storage | FailureKind::Retryable => ExitCode::Storage,
                FailureKind::Model => ExitCode::Model,
                FailureKind::TimedOut | FailureKind::Throttled | FailureKind::Refused => {
                    ExitCode::Platform
                }
                FailureKind::Cancelled => ExitCode::Interrupted,
                // The function crashed.
                _ => ExitCode::Internal,
            },
            Self::BadRecord { .. } => ExitCode::BadRecord,
            Self::NoResults(_) => ExitCode::NoResults,
            Self::NoSuchRun { .. } | Self::Foreign { .. } => ExitCode::Run,
            Self::Platform { .. } => ExitCode::Platform,
            Self::Unfinished { .. } => ExitCode::Run,
            Self::Budget { .. } | Self::OutOfTime { .. } | Self::NothingFits { .. } => {
                ExitCode::Budget
            }
            Self::Detached { .. } => ExitCode::Success,
            Self::ChecksFailed { exit_code, .. } => *exit_code,
            Self::Cancelled { .. } => ExitCode::Interrupted,
        }
    }

    /// Whether the reader of standard output closed it, which is no error of the command.
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Job(error) if error.is_broken_pipe())
    }

    pub(crate) fn setting(setting: Setting, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self::Setting { setting, reason }
    }

    /// An error of a backend in `run`.
    pub(crate) fn from_dispatch(error: DispatchError, run: String) -> Self {
        match error {
            DispatchError::Batch { batch, failure, .. } => Self::Batch { batch, failure },
            DispatchError::CircuitOpen { batches, failure } => Self::CircuitOpen {
                run,
                batches,
                failure,
            },
            DispatchError::Job(error) => Self::Job(error),
            DispatchError::Platform { backend, reason } => Self::Platform { backend, reason },
            DispatchError::Budget(shortage) => Self::Budget { run, shortage },
            DispatchError::Detached => Self::Detached { run },
            DispatchError::Cancelled => Self::Cancelled { run },
            other => Self::Platform {
                backend: "the backend",
                reason: other.to_string(),
            },
        }
    }
}

impl From<DispatchError> for Error {
    fn from(error: DispatchError) -> Self {
        Self::from_dispatch(error, String::new())
    }
}

fn of_job(error: &shoal_job::Error) -> ExitCode {
    match error {
        shoal_job::Error::Input { .. } => ExitCode::Input,
        shoal_job::Error::Parameter(_) => ExitCode::Usage,
        shoal_job::Error::Adjustable { error, .. } => of_job(error),
        shoal_job::Error::Storage { .. } => ExitCode::Storage,
        shoal_job::Error::Cancelled => ExitCode::Interrupted,
        // The run directory is in use, damaged or of another job.
        _ => ExitCode::Run,
    }
}
