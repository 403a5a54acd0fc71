//! Every way in which a run can end badly.

use shoal_dispatch::{DispatchError, Shortage};
use shoal_encoder::ModelError;
use shoal_job::wire::{Failure, FailureKind};
use shoal_runners::RunnerError;

/// The result of a call into shoal.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a run did not come to its end. Messages say what failed, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Settings that contradict each other or cannot be read.
    #[error("{0}")]
    Settings(String),
    /// The input, the run directory or the output.
    #[error(transparent)]
    Job(#[from] shoal_job::Error),
    /// The model cannot be used.
    #[error("failed to {0}")]
    Model(#[from] ModelError),
    /// The model cannot do what is asked for.
    #[error(transparent)]
    Runner(#[from] RunnerError),
    /// The model cannot be had from the hub.
    #[error("failed to get model {name} from the Hugging Face hub: {reason}")]
    Hub {
        /// The model's name.
        name: String,
        /// Why, and what to do.
        reason: String,
    },
    /// The cloud does not look as it was asked to.
    #[cfg(feature = "aws")]
    #[error(transparent)]
    Deploy(#[from] shoal_aws::Error),
    /// A batch failed for good.
    #[error("failed to process batch {batch}: {failure}")]
    Batch {
        /// The batch.
        batch: u64,
        /// Why.
        failure: Failure,
    },
    /// Batch after batch failed, and nothing succeeded between.
    #[error(
        "stopped, since nothing succeeds any more: {batches} {} failed in a row, the last one with: {failure}; mend that, then \
             `shoal resume {run}` goes on from here",
        if *batches == 1 { "batch" } else { "batches" }
    )]
    CircuitOpen {
        /// The run's name.
        run: String,
        /// Batches that failed.
        batches: usize,
        /// Why the last of them did.
        failure: Failure,
    },
    /// A record is bad, and the run was to stop at the first one.
    #[error("stopped at a bad record (--on-error fail): {dead_letter}")]
    BadRecord {
        /// The dead letter, as JSON.
        dead_letter: String,
    },
    /// No run has that name.
    #[error("failed to find run {name}: {reason}")]
    NoSuchRun {
        /// What was asked for.
        name: String,
        /// What to do.
        reason: String,
    },
    /// The run directory is not one that this user made.
    #[error(
        "failed to go on with {run}: this user did not begin it here, and it would have shoal {wants}; give output and \
             place yourself (-o, --backend, --url), or say --trust if you know who made it"
    )]
    Foreign {
        /// The run's name.
        run: String,
        /// What the directory asks for.
        wants: String,
    },
    /// The place where functions run cannot be used.
    #[error("failed to use {backend}: {reason}")]
    Platform {
        /// The backend's name.
        backend: &'static str,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// Batches are missing, and nobody was asked to work on them.
    #[error(
        "failed to collect run {run}: {missing} of {batches} batches are not done yet; `shoal resume {run}` does them, \
             `shoal status {run}` tells how far it is"
    )]
    Unfinished {
        /// The run's name.
        run: String,
        /// Batches that are missing.
        missing: u64,
        /// All batches.
        batches: u64,
    },
    /// What is left of the money does not pay for the calls that are left.
    #[error(
        "stopped before --max-cost was passed: {shortage}; what is done is kept, and `shoal resume {run}` with a higher \
             --max-cost goes on from here"
    )]
    Budget {
        /// The run's name.
        run: String,
        /// What is missing.
        shortage: Shortage,
    },
    /// It would cost more than is spent without a question.
    #[error(
        "failed to start: the {batches} batches that are left are expected to cost ${usd:.2}; say --yes to spend it, or \
             --max-cost to bound it"
    )]
    NeedsYes {
        /// What it is expected to cost.
        usd: f64,
        /// Batches that are left.
        batches: u64,
    },
    /// The time that was allowed is over.
    #[error(
        "stopped after {seconds:.0} s (--max-time, or --max-cost of a machine by the hour); what is done is kept, and \
             `shoal resume {run}` goes on from here"
    )]
    OutOfTime {
        /// The run's name.
        run: String,
        /// What was allowed.
        seconds: f64,
    },
    /// Functions work on elsewhere; nobody waits for them here.
    #[error(
        "left {run} to the platform; `shoal status {run}` tells how far it is, `shoal resume {run}` waits and collects"
    )]
    Detached {
        /// The run's name.
        run: String,
    },
    /// Something that a run needs is not as it must be.
    #[error("{failed} of {of} checks failed; what to do stands beside each")]
    ChecksFailed {
        /// Checks that failed.
        failed: usize,
        /// All checks.
        of: usize,
        /// That of the first one.
        exit_code: ExitCode,
    },
    /// The user asked for the end; the run directory holds what was done.
    #[error("stopped; the same command, or `shoal resume {run}`, goes on from here")]
    Cancelled {
        /// The run's name.
        run: String,
    },
}

/// Exit codes of the command, a published interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// All went well; records may have gone to the dead letters.
    Success = 0,
    /// A fault of shoal itself.
    Internal = 1,
    /// Wrong flags, settings or combinations of them.
    Usage = 2,
    /// The input is missing, damaged, or lacks a column.
    Input = 3,
    /// The model is missing, damaged or not supported.
    Model = 4,
    /// The system refused to read or write: disk full, permission denied, no network.
    Storage = 5,
    /// The run directory holds another job, is in use, damaged, not there, or somebody else's.
    Run = 6,
    /// A bad record, and `--on-error fail`.
    BadRecord = 7,
    /// The platform that is to run functions is missing, not set up, refuses, or throttles without end.
    Platform = 8,
    /// The money or the time that was allowed is used up; what is done is kept.
    Budget = 9,
    /// Stopped by Ctrl-C or a signal.
    Interrupted = 130,
}

impl Error {
    /// The command's exit code.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Settings(_) | Self::NeedsYes { .. } | Self::Runner(_) => ExitCode::Usage,
            Self::Job(error) => of_job(error),
            #[cfg(feature = "aws")]
            Self::Deploy(error) => match error {
                shoal_aws::Error::Setting { .. }
                | shoal_aws::Error::Bootstrap { .. }
                | shoal_aws::Error::TooLarge { .. }
                | shoal_aws::Error::Foreign { .. } => ExitCode::Usage,
                shoal_aws::Error::Stack { .. } | shoal_aws::Error::Call { .. } => ExitCode::Storage,
                shoal_aws::Error::Storage(error) => of_job(error),
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
                FailureKind::Crashed => ExitCode::Internal,
                FailureKind::Cancelled => ExitCode::Interrupted,
            },
            Self::BadRecord { .. } => ExitCode::BadRecord,
            Self::NoSuchRun { .. } | Self::Foreign { .. } => ExitCode::Run,
            Self::Platform { .. } => ExitCode::Platform,
            Self::Unfinished { .. } => ExitCode::Run,
            Self::Budget { .. } | Self::OutOfTime { .. } => ExitCode::Budget,
            Self::Detached { .. } => ExitCode::Success,
            Self::ChecksFailed { exit_code, .. } => *exit_code,
            Self::Cancelled { .. } => ExitCode::Interrupted,
        }
    }

    /// Whether the reader of standard output has gone, which is its right.
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Job(error) if error.is_broken_pipe())
    }

    /// From what a backend says of `run`. `dead_letter` finds the first dead letter of a batch.
    pub(crate) fn from_dispatch(
        error: DispatchError,
        run: String,
        dead_letter: impl FnOnce(u64) -> String,
    ) -> Self {
        match error {
            DispatchError::Batch { batch, failure, .. } => Self::Batch { batch, failure },
            DispatchError::CircuitOpen { batches, failure } => Self::CircuitOpen {
                run,
                batches,
                failure,
            },
            DispatchError::BadRecord { batch } => Self::BadRecord {
                dead_letter: dead_letter(batch),
            },
            DispatchError::Job(error) => Self::Job(error),
            DispatchError::Platform { backend, reason } => Self::Platform { backend, reason },
            DispatchError::Budget(shortage) => Self::Budget { run, shortage },
            DispatchError::Detached => Self::Detached { run },
            DispatchError::Cancelled => Self::Cancelled { run },
        }
    }
}

fn of_job(error: &shoal_job::Error) -> ExitCode {
    match error {
        shoal_job::Error::Input { .. } => ExitCode::Input,
        shoal_job::Error::Parameter(_) => ExitCode::Usage,
        shoal_job::Error::Storage { .. } => ExitCode::Storage,
        shoal_job::Error::Conflict { .. }
        | shoal_job::Error::Busy { .. }
        | shoal_job::Error::Corrupt { .. } => ExitCode::Run,
        shoal_job::Error::Cancelled => ExitCode::Interrupted,
    }
}
