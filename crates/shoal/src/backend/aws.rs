//! The connection to AWS.

use shoal_job::RunDir;
use shoal_job::run_dir::EXECUTION;

use crate::{Error, Result};

/// Region, credentials and endpoint, from the same sources as for AWS's tools.
pub(crate) fn config() -> Result<shoal_aws::config::Config> {
    shoal_aws::config::load_blocking()
        .map_err(|e| Error::Settings(format!("failed to start a runtime: {e}")))
}

/// The progress of a detached run; `None` for any other run.
///
/// # Errors
/// The run directory cannot be read, or the call to the platform fails.
pub fn platform_progress(run: &RunDir) -> Result<Option<shoal_aws::Progress>> {
    if run.get(EXECUTION)?.is_none() {
        return Ok(None);
    }
    Ok(shoal_aws::progress(&config()?, run)?)
}
