//! A Distributed Map of AWS Step Functions.

use serde::{Deserialize, Serialize};
use shoal_dispatch::Backend;
use shoal_job::run_dir::EXECUTION;

#[cfg(feature = "aws")]
use super::aws_checks;
use super::{BackendContext, BackendSettings, lambda};
#[cfg(feature = "aws")]
use crate::doctor::Check;
use crate::platform::{Children, Platform};
use crate::{Error, Result, Setting};

/// A Distributed Map of AWS Step Functions.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct StepFunctions {
    /// Name or ARN of the Lambda function; `shoal` if `None`.
    pub function: Option<String>,
    /// ARN of the state machine; the one deployed with the function if `None`.
    pub state_machine: Option<String>,
    /// Execution type of the children; chosen by the expected time of a batch if `None`.
    pub children: Option<Children>,
    /// Percentage of batches that may fail before the map stops.
    pub tolerated_failures: Option<f64>,
    /// Batches in flight; 1000 if `None`.
    pub concurrency: Option<usize>,
    /// Time limit of one call, in seconds; the platform's limit if `None`.
    pub timeout: Option<u64>,
    /// Do not wait for the platform.
    pub detach: bool,
}

impl StepFunctions {
    /// Name or ARN of the state machine; the deployment gives it the function's name.
    #[cfg(feature = "aws")]
    pub(crate) fn state_machine(&self) -> &str {
        let given = self.state_machine.as_deref().or(self.function.as_deref());
        given.unwrap_or(lambda::DEFAULT_FUNCTION)
    }
}

impl BackendSettings for StepFunctions {
    fn check(&self) -> Result<()> {
        match self.tolerated_failures {
            Some(share) if !(0.0..=100.0).contains(&share) => Err(Error::setting(
                Setting::ToleratedFailures,
                format!("{share} is not between 0 and 100 percent"),
            )),
            _ => Ok(()),
        }
    }

    fn default_concurrency(&self) -> usize {
        lambda::DEFAULT_CONCURRENCY
    }

    fn timeout(&self) -> Option<u64> {
        self.timeout
    }

    fn function(&self) -> Option<&str> {
        Some(self.function.as_deref().unwrap_or(lambda::DEFAULT_FUNCTION))
    }

    fn detaches(&self) -> bool {
        self.detach
    }

    fn bills_children(&self) -> bool {
        true
    }

    fn execution(&self) -> Option<&'static str> {
        Some(EXECUTION)
    }

    fn platforms(&self) -> Vec<Platform> {
        let children = [Children::Express, Children::Standard];
        children.map(Platform::StepFunctions).into()
    }

    #[cfg(feature = "aws")]
    fn diagnose(&self, checks: &mut Vec<Check>) {
        let function = self.function.as_deref().unwrap_or(lambda::DEFAULT_FUNCTION);
        let concurrency = self.concurrency.unwrap_or(lambda::DEFAULT_CONCURRENCY);
        aws_checks::diagnose(function, concurrency, self.timeout, checks, |account| {
            let found = account.state_machine(self.state_machine());
            let fix = "create it (`shoal deploy aws`), name another one, or allow states:ListStateMachines and \
                       states:DescribeStateMachine";
            aws_checks::check("state machine", found, fix).by(Setting::StateMachine)
        });
    }

    #[cfg(feature = "aws")]
    fn build(&self, context: &BackendContext<'_>) -> Result<Box<dyn Backend>> {
        let expected = super::expected(context.job, context.batches, context.runner.as_ref());
        Ok(Box::new(shoal_aws::StepFunctions {
            config: super::aws_config()?,
            state_machine: self.state_machine().to_owned(),
            concurrency: self.concurrency.unwrap_or(lambda::DEFAULT_CONCURRENCY),
            children: self.children.map(Into::into),
            expected_batch_seconds: expected.longest_batch,
            tolerated: self.tolerated_failures,
            direct: Some(lambda::client(self.function.as_deref(), self.concurrency)?),
            detach: self.detach,
        }))
    }

    #[cfg(not(feature = "aws"))]
    fn build(&self, _: &BackendContext<'_>) -> Result<Box<dyn Backend>> {
        Err(super::not_built(super::BackendKind::StepFunctions))
    }
}
