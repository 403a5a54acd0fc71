//! Why a model cannot be used.

use std::io;
use std::path::PathBuf;

/// Why a model could not be opened, packed or saved, or a text not be encoded. The messages complete
/// "failed to …". A retry does not help, except perhaps for [`ModelError::Io`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The path does not exist.
    #[error("open the model {}: there is no such folder", path.display())]
    NotFound {
        /// The folder that was asked for.
        path: PathBuf,
    },
    /// The path exists, but is not a model folder.
    #[error("open the model {}: {reason}", path.display())]
    NotAModel {
        /// The folder that was asked for.
        path: PathBuf,
        /// What is missing, and what to do.
        reason: String,
    },
    /// A valid model of a kind that shoal does not support.
    #[error("use the model: {what}")]
    Unsupported {
        /// What was found, and what is supported.
        what: String,
    },
    /// A file of the model contradicts its format or the other files.
    #[error("read {file} of the model: {reason}")]
    Corrupt {
        /// Name of the file, without the folder.
        file: String,
        /// What is wrong, and with which key or tensor.
        reason: String,
    },
    /// The operating system could not read a file.
    #[error("read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The operating system could not write a file.
    #[error("write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The error of the operating system, or how the content violates the format.
        source: io::Error,
    },
    /// A file is not a packed model.
    #[error("read {}: it is neither a model folder nor a packed model: {hint}", path.display())]
    NotPacked {
        /// The file.
        path: PathBuf,
        /// What the file is instead, as far as it shows.
        hint: &'static str,
    },
    /// A packed model is not as it was written.
    #[error("read {}: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What happened to it, and what to do.
        reason: String,
    },
    /// A packed model is intact, but has another version of the format, violates it or does not fit its own description.
    #[error("read {}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, with which section or key, and what to do.
        reason: String,
    },
}

impl ModelError {
    pub(crate) fn corrupt(file: &str, reason: impl Into<String>) -> ModelError {
        ModelError::Corrupt {
            file: file.to_owned(),
            reason: reason.into(),
        }
    }

    pub(crate) fn unsupported(what: impl Into<String>) -> ModelError {
        ModelError::Unsupported { what: what.into() }
    }
}
