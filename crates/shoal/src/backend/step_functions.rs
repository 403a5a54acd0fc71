//! A Distributed Map of AWS Step Functions.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use shoal_dispatch::Backend;

use super::{BackendContext, BackendSettings, lambda};
use crate::{Error, Result, Setting};

/// How a Distributed Map runs its children.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Children {
    /// Up to a year each, billed by transitions.
    Standard,
    /// Up to five minutes each, billed by requests and time.
    Express,
}

impl Children {
    /// All kinds of children.
    pub const ALL: [Self; 2] = [Self::Standard, Self::Express];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Express => "express",
        }
    }
}

impl FromStr for Children {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == text);
        found.ok_or_else(|| format!("children are standard or express, not {text:?}"))
    }
}

/// A Distributed Map of AWS Step Functions.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct StepFunctions {
    /// Name or ARN of the Lambda function; `shoal` where `None`.
    pub function: Option<String>,
    /// ARN of the state machine; the one that `shoal deploy aws` created beside the function where `None`.
    pub state_machine: Option<String>,
    /// How children run; chosen by the expected time of a batch where `None`.
    pub children: Option<Children>,
    /// Share of batches, in percent, that may fail before the map gives up.
    pub tolerated_failures: Option<f64>,
    /// Batches in flight; 1000 where `None`.
    pub concurrency: Option<usize>,
    /// Seconds that one call may take; what the platform allows where `None`.
    pub timeout: Option<u64>,
    /// Not to wait for the platform.
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

    #[cfg(feature = "aws")]
    fn build(&self, context: &BackendContext<'_>) -> Result<Box<dyn Backend>> {
        use shoal_aws::state_machine::Children as Kind;
        let expected = super::expected(context.job, context.batches, context.runner.as_ref());
        Ok(Box::new(shoal_aws::StepFunctions {
            config: super::aws_config()?,
            state_machine: self.state_machine().to_owned(),
            concurrency: self.concurrency.unwrap_or(lambda::DEFAULT_CONCURRENCY),
            children: self.children.map(|children| match children {
                Children::Standard => Kind::Standard,
                Children::Express => Kind::Express,
            }),
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
