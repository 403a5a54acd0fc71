//! AWS Lambda, called directly.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use shoal_dispatch::Backend;

use super::{BackendContext, BackendSettings};
use crate::Result;

/// The function that `shoal deploy aws` creates unless it is given another name.
pub(super) const DEFAULT_FUNCTION: &str = "shoal";
/// The longest time limit that Lambda allows.
pub(super) const MAX_TIMEOUT: Duration = Duration::from_secs(900);
/// Calls in flight: the quota of a new AWS account.
pub(super) const DEFAULT_CONCURRENCY: usize = 1000;

/// AWS Lambda, called directly.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Lambda {
    /// Name or ARN of the function; `shoal` where `None`.
    pub function: Option<String>,
    /// Batches in flight; 1000 where `None`.
    pub concurrency: Option<usize>,
    /// Seconds that one call may take; what the platform allows where `None`.
    pub timeout: Option<u64>,
}

impl BackendSettings for Lambda {
    fn default_concurrency(&self) -> usize {
        DEFAULT_CONCURRENCY
    }

    fn timeout(&self) -> Option<u64> {
        self.timeout
    }

    fn function(&self) -> Option<&str> {
        Some(self.function.as_deref().unwrap_or(DEFAULT_FUNCTION))
    }

    #[cfg(feature = "aws")]
    fn build(&self, _: &BackendContext<'_>) -> Result<Box<dyn Backend>> {
        Ok(Box::new(client(
            self.function.as_deref(),
            self.concurrency,
        )?))
    }

    #[cfg(not(feature = "aws"))]
    fn build(&self, _: &BackendContext<'_>) -> Result<Box<dyn Backend>> {
        Err(super::not_built(super::BackendKind::Lambda))
    }
}

/// The backend that calls a function directly.
#[cfg(feature = "aws")]
pub(super) fn client(
    function: Option<&str>,
    concurrency: Option<usize>,
) -> Result<shoal_aws::Lambda> {
    Ok(shoal_aws::Lambda::new(
        super::aws_config()?,
        function.unwrap_or(DEFAULT_FUNCTION),
        concurrency.unwrap_or(DEFAULT_CONCURRENCY),
    ))
}
