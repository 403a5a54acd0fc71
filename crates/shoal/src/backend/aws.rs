//! How AWS is reached.

use shoal_job::RunDir;
use shoal_job::run_dir::EXECUTION;

use crate::{Error, Result};

/// Region, credentials and endpoint, from the places that AWS's own tools use.
pub(crate) fn config() -> Result<shoal_aws::config::SdkConfig> {
    shoal_aws::config::load_blocking()
        .map_err(|e| Error::Settings(format!("failed to start a runtime: {e}")))
}

/// The progress of a run that was left to a platform; `None` for any other run.
///
/// # Errors
/// The run directory cannot be read, or the platform cannot be asked.
pub fn platform_progress(run: &RunDir) -> Result<Option<shoal_aws::Progress>> {
    if run.get(EXECUTION)?.is_none() {
        return Ok(None);
    }
    shoal_aws::progress(&config()?, run)
        .map_err(|e| Error::from_dispatch(e, run.reference(), |_| String::new()))
}
