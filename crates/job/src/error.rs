//! Errors.

use std::error::Error as StdError;
use std::io;
use std::path::Path;

/// The result of an operation on a job's data.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of inputs, run directories or outputs. Messages say what failed, where, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The input is missing, unreadable, or malformed.
    #[error("failed to read input {place}: {reason}")]
    Input {
        /// File, URL or standard input, with the line or row where known.
        place: String,
        /// What is wrong and how to fix it.
        reason: String,
    },
    /// The parameters contradict each other or the input.
    #[error("{0}")]
    Parameter(String),
    /// The input or the output needs another value of a parameter.
    #[error("{error}")]
    Adjustable {
        /// The parameter's name, such as `text-column`.
        parameter: String,
        /// What is wrong.
        error: Box<Error>,
    },
    /// The run directory contains a different job.
    #[error("failed to continue run {run}: {reason}")]
    Conflict {
        /// Name or folder of the run.
        run: String,
        /// What differs, and what to do.
        reason: String,
        /// The names of the parameters and settings that differ, such as `output-format`.
        parameters: Vec<String>,
    },
    /// Another process is using the run directory.
    #[error(
        "failed to lock run {run}: another shoal process is working on it; wait for it or stop it"
    )]
    Busy {
        /// Name or folder of the run.
        run: String,
    },
    /// The run directory is damaged, or not one of shoal's.
    #[error("failed to use run {run}: {reason}; remove the run to start over")]
    Corrupt {
        /// Name or folder of the run.
        run: String,
        /// What is wrong.
        reason: String,
    },
    /// The operation was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// An operation of a store, a disk or a pipe failed.
    #[error("failed to {action} {place}: {}", cause(.source.as_ref()))]
    Storage {
        /// The verb: "write", "read", "create", …
        action: &'static str,
        /// The file or object.
        place: String,
        /// The store's own error.
        source: Box<dyn StdError + Send + Sync>,
    },
}

impl Error {
    /// A storage error.
    pub fn storage(
        action: &'static str,
        place: impl Into<String>,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self::Storage {
            action,
            place: place.into(),
            source: source.into(),
        }
    }

    /// The storage error of an operation on a local file.
    pub(crate) fn file<E: Into<Box<dyn StdError + Send + Sync>>>(
        action: &'static str,
        path: &Path,
    ) -> impl Fn(E) -> Self + Copy {
        move |source| Self::storage(action, path.display().to_string(), source)
    }

    /// An input error.
    pub fn input(place: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Input {
            place: place.into(),
            reason: reason.into(),
        }
    }

    /// The error, which another value of `parameter` avoids.
    pub(crate) fn adjustable(self, parameter: impl Into<String>) -> Self {
        Self::Adjustable {
            parameter: parameter.into(),
            error: self.into(),
        }
    }

    /// Whether the same call may succeed if it is repeated.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Storage { source, .. } if is_refused(source.as_ref()) => false,
            Self::Storage { .. } => !matches!(
                self.io_kind(),
                Some(
                    io::ErrorKind::StorageFull
                        | io::ErrorKind::QuotaExceeded
                        | io::ErrorKind::ReadOnlyFilesystem
                        | io::ErrorKind::PermissionDenied
                        | io::ErrorKind::NotFound
                        | io::ErrorKind::BrokenPipe
                )
            ),
            _ => false,
        }
    }

    /// Whether the reader of an output pipe has closed it.
    pub fn is_broken_pipe(&self) -> bool {
        self.io_kind() == Some(io::ErrorKind::BrokenPipe)
    }

    /// The kind of the innermost I/O error of a storage error.
    fn io_kind(&self) -> Option<io::ErrorKind> {
        match self {
            Self::Storage { source, .. } => bottom_io_kind(source.as_ref()),
            _ => None,
        }
    }
}

/// An error and its sources.
fn chain<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| {
        // `io::Error::source` skips the wrapped error itself.
        let wrapped = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        wrapped.map_or(error.source(), |wrapped| Some(wrapped))
    })
}

/// Whether a store denied access.
fn is_refused(error: &(dyn StdError + 'static)) -> bool {
    use object_store::Error::{PermissionDenied, Unauthenticated};
    let mut errors = chain(error).filter_map(|error| error.downcast_ref::<object_store::Error>());
    errors.any(|error| matches!(error, PermissionDenied { .. } | Unauthenticated { .. }))
}

/// The kind of the innermost I/O error.
fn bottom_io_kind(error: &(dyn StdError + 'static)) -> Option<io::ErrorKind> {
    let kinds = chain(error).filter_map(|error| error.downcast_ref::<io::Error>());
    kinds.map(io::Error::kind).last()
}

/// The text of an error and of its sources, without repetitions.
pub fn cause(error: &(dyn StdError + 'static)) -> String {
    match bottom_io_kind(error) {
        Some(io::ErrorKind::StorageFull) => {
            return "no space left on the device; free some and run the same command again".into();
        }
        Some(io::ErrorKind::PermissionDenied) => return "permission denied".into(),
        _ => {}
    }
    let mut text = error.to_string();
    for source in chain(error).skip(1).map(ToString::to_string) {
        if !text.contains(&source) {
            text = format!("{text}: {source}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_not_retryable() {
        let wrapped = io::Error::other(io::Error::from(io::ErrorKind::StorageFull));
        let error = Error::storage("write", "labels.csv", wrapped);
        assert!(!error.is_retryable());
        assert!(error.to_string().contains("no space left"), "{error}");
    }

    #[test]
    fn denied_access_is_not_retryable() {
        let refused = || object_store::Error::PermissionDenied {
            path: "part".into(),
            source: "403 Forbidden".into(),
        };
        assert!(!Error::storage("write", "part", refused()).is_retryable());
        assert!(!Error::storage("write", "part", io::Error::other(refused())).is_retryable());
        let transient = object_store::Error::Generic {
            store: "S3",
            source: "503 Slow Down".into(),
        };
        assert!(Error::storage("write", "part", transient).is_retryable());
    }

    #[test]
    fn a_timeout_is_retryable() {
        let error = Error::storage("read", "part", io::Error::from(io::ErrorKind::TimedOut));
        assert!(error.is_retryable());
    }
}
