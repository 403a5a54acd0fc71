//! What can go wrong between a flag and a deployed function.

use std::path::PathBuf;

/// The result of a call into this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why the cloud does not look as it was asked to. Messages say what failed, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting that AWS would refuse, or that contradicts another.
    #[error("failed to use {option} {value}: {reason}")]
    Setting {
        /// The flag.
        option: &'static str,
        /// What it was given.
        value: String,
        /// The limit, and what to do.
        reason: String,
    },
    /// The executable cannot run as a function.
    #[error("failed to use {} as bootstrap: {reason}", .path.display())]
    Bootstrap {
        /// The file.
        path: PathBuf,
        /// Why, and what to do.
        reason: String,
    },
    /// The code is larger than Lambda takes.
    #[error(
        "failed to pack the function: {bytes} bytes unzipped, and Lambda takes {} at most; keep the model out of it \
         with --model-path s3://BUCKET/KEY",
        crate::limits::PACKAGE_BYTES
    )]
    TooLarge {
        /// Size of all files, in bytes.
        bytes: u64,
    },
    /// There is a stack of that name which shoal did not make.
    #[error(
        "failed to {action} stack {name}: it was not made by `shoal deploy`; choose another --name"
    )]
    Foreign {
        /// What was to be done to it.
        action: &'static str,
        /// The stack.
        name: String,
    },
    /// A stack did not become what it was to be.
    #[error("failed to {action} stack {name}: {reason}")]
    Stack {
        /// What was to be done to it.
        action: &'static str,
        /// The stack.
        name: String,
        /// The reasons that CloudFormation gives.
        reason: String,
    },
    /// A call that AWS refused, or that did not reach it.
    #[error("failed to {action}: {reason}")]
    Call {
        /// What was to be done.
        action: String,
        /// Its answer.
        reason: String,
    },
    /// A file or object.
    #[error(transparent)]
    Storage(#[from] shoal_job::Error),
}

impl Error {
    pub(crate) fn setting(
        option: &'static str,
        value: impl ToString,
        reason: impl Into<String>,
    ) -> Self {
        Self::Setting {
            option,
            value: value.to_string(),
            reason: reason.into(),
        }
    }

    /// From an error of the SDK, whose own text names the kind alone.
    pub(crate) fn call(action: impl Into<String>, error: impl std::error::Error) -> Self {
        Self::Call {
            action: action.into(),
            reason: chain(&error),
        }
    }
}

/// The text of an error with those below it that it does not already quote.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let below = error.to_string();
        if !text.contains(&below) {
            text = format!("{text}: {below}");
        }
        next = error.source();
    }
    text
}
