//! Folders on this machine.

use std::path::PathBuf;

use tempfile::TempDir;

use crate::{Error, Result};

/// The folder of shoal in the platform's data folder.
pub(crate) fn data() -> Result<PathBuf> {
    let data = dirs::data_dir().ok_or_else(|| {
        Error::Settings(
            "failed to find the platform's data folder: set HOME or XDG_DATA_HOME".into(),
        )
    })?;
    Ok(data.join("shoal"))
}

/// The default folder for run directories.
pub(crate) fn runs() -> Result<PathBuf> {
    Ok(data()?.join("runs"))
}

/// A temporary folder, deleted when it is dropped.
pub(crate) fn temporary() -> Result<TempDir> {
    tempfile::tempdir()
        .map_err(|e| shoal_job::Error::storage("create", "a temporary folder", e).into())
}
