//! AWS Lambda, called directly.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use shoal_dispatch::Backend;

#[cfg(feature = "aws")]
use super::aws_checks;
use super::{BackendContext, BackendSettings};
use crate::Result;
#[cfg(feature = "aws")]
use crate::doctor::Check;
use crate::platform::Platform;

/// The default name of a deployed function.
pub(super) const DEFAULT_FUNCTION: &str = "shoal";
/// The highest time limit of a function.
pub(super) const MAX_TIMEOUT: Duration = Duration::from_secs(900);
/// The quota of a new AWS account.
pub(super) const DEFAULT_CONCURRENCY: usize = 1000;

/// AWS Lambda, called directly.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Lambda {
    /// Name or ARN of the function; `shoal` if `None`.
    pub function: Option<String>,
    /// Batches in flight; 1000 if `None`.
    pub concurrency: Option<usize>,
    /// Time limit of one call, in seconds; the platform's limit if `None`.
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

    fn platforms(&self) -> Vec<Platform> {
        vec![Platform::Lambda]
    }

    #[cfg(feature = "aws")]
    fn diagnose(&self, checks: &mut Vec<Check>) {
        let function = self.function.as_deref().unwrap_or(DEFAULT_FUNCTION);
        let concurrency = self.concurrency.unwrap_or(DEFAULT_CONCURRENCY);
        aws_checks::diagnose(function, concurrency, self.timeout, checks, |account| {
            let permission = "the function may be called (dry run)".to_owned();
            let called = account.may_invoke(function).map(|()| permission);
            let fix = "allow lambda:InvokeFunction on the function";
            aws_checks::check("permission", called, fix)
        });
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
