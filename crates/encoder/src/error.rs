//! Why a model cannot be used.

use std::io;
use std::path::PathBuf;

/// Why a model could not be opened or a text not be encoded. The messages complete "failed to …".
/// None of them is cured by trying again, except perhaps [`ModelError::Io`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// There is nothing at the path.
    #[error("open the model {}: there is no such folder", path.display())]
    NotFound {
        /// The folder that was asked for.
        path: PathBuf,
    },
    /// The path is there, but is no model folder.
    #[error("open the model {}: {reason}", path.display())]
    NotAModel {
        /// The folder that was asked for.
        path: PathBuf,
        /// What is missing, and what to do.
        reason: String,
    },
    /// A sound model of a kind that shoal does not run.
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
        /// What is wrong, with the key or tensor it is about.
        reason: String,
    },
    /// The operating system could not read a file.
    #[error("read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system answered.
        source: io::Error,
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
