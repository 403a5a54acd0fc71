//! Deployment errors.

use std::path::PathBuf;

use shoal_job::error::cause;

/// The result type of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// A deployment error. Messages say what failed, where, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting that AWS would reject, or that contradicts another.
    #[error("failed to use {setting} {value}: {reason}")]
    Setting {
        /// The setting's name.
        setting: &'static str,
        /// Its value.
        value: String,
        /// The limit, and what to do.
        reason: String,
    },
    /// The executable cannot run as a function.
    #[error("failed to use {} as bootstrap: {reason}", .path.display())]
    Bootstrap {
        /// The file.
        path: PathBuf,
        /// The reason, and what to do.
        reason: String,
    },
    /// The code is larger than Lambda allows.
    #[error(
        "failed to package the function: it has {bytes} bytes unzipped, and Lambda allows at most {}; store the model outside \
         the package",
        shoal_estimate::limits::PACKAGE_BYTES
    )]
    TooLarge {
        /// The size of all files in bytes.
        bytes: u64,
    },
    /// A stack of that name exists, but was not created by shoal.
    #[error(
        "failed to {action} stack {name}: it was not created by `shoal deploy`; choose another name"
    )]
    Foreign {
        /// The failed action.
        action: &'static str,
        /// The stack.
        name: String,
    },
    /// AWS rejected a call or could not complete it, the call did not reach AWS, or its content is larger than AWS allows.
    #[error("failed to {action}: {reason}")]
    Call {
        /// The failed action.
        action: String,
        /// The reason, as far as it is known.
        reason: String,
    },
    /// A file or object cannot be read or written.
    #[error(transparent)]
    Storage(#[from] shoal_job::Error),
}

impl Error {
    pub(crate) fn setting(
        setting: &'static str,
        value: impl ToString,
        reason: impl Into<String>,
    ) -> Self {
        Self::Setting {
            setting,
            value: value.to_string(),
            reason: reason.into(),
        }
    }

    /// From an SDK error and its causes: its own text contains only the kind.
    pub(crate) fn call(action: impl Into<String>, error: impl std::error::Error + 'static) -> Self {
        Self::Call {
            action: action.into(),
            reason: cause(&error),
        }
    }
}
