//! Queries about an account before a run: the caller, deployed functions and limits.

use std::future::Future;

use aws_config::SdkConfig;
use aws_sdk_lambda::types::{InvocationType, LastUpdateStatus, State};
use aws_sdk_sfn::types::StateMachineStatus;
use shoal_dispatch::DispatchError;
use tokio::runtime::Runtime;

use crate::error::{Error, Result};

/// The AWS account of a configuration. Blocks: call it from ordinary threads only.
#[derive(Debug)]
pub struct Account {
    config: SdkConfig,
    lambda: aws_sdk_lambda::Client,
    runtime: Runtime,
}

/// The identity of the credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Caller {
    /// The ARN of the user or role.
    pub arn: String,
    /// The account number.
    pub account: String,
}

/// A deployed function.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeployedFunction {
    /// Memory in MB.
    pub memory_mb: u32,
    /// The time limit of a call in seconds.
    pub timeout_seconds: u64,
    /// `x86_64` or `arm64`.
    pub architecture: String,
    /// The version of shoal that deployed it, if known.
    pub shoal: Option<String>,
    /// The reason that it accepts no calls, if so.
    pub trouble: Option<String>,
}

/// The concurrency limits of the account in one region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Quota {
    /// The limit for all functions together.
    pub concurrent: u32,
    /// The part of it that no function has reserved.
    pub unreserved: u32,
}

impl Account {
    /// Creates clients for `config` without calling AWS.
    ///
    /// # Errors
    /// Fails if no region is set, or if the system cannot start a runtime.
    pub fn new(config: SdkConfig) -> Result<Self> {
        if config.region().is_none() {
            return Err(Error::Call {
                action: "reach AWS".into(),
                reason: "no region is set; set AWS_REGION, for example to us-east-1".into(),
            });
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| Error::call("start a runtime", e))?;
        Ok(Self {
            lambda: aws_sdk_lambda::Client::new(&config),
            config,
            runtime,
        })
    }

    /// The region.
    pub fn region(&self) -> &str {
        self.config.region().map_or("", |region| region.as_ref())
    }

    fn call<T, E: std::error::Error>(
        &self,
        action: impl Into<String>,
        call: impl Future<Output = std::result::Result<T, E>>,
    ) -> Result<T> {
        self.runtime
            .block_on(call)
            .map_err(|e| Error::call(action, e))
    }

    /// The identity of the credentials.
    ///
    /// # Errors
    /// Fails if there are no credentials, or if they are not valid.
    pub fn caller(&self) -> Result<Caller> {
        let client = aws_sdk_sts::Client::new(&self.config);
        let answer = self.call(
            "get the caller's identity (sts:GetCallerIdentity)",
            client.get_caller_identity().send(),
        )?;
        Ok(Caller {
            arn: answer.arn().unwrap_or_default().to_owned(),
            account: answer.account().unwrap_or_default().to_owned(),
        })
    }

    /// Describes the function with this name or ARN.
    ///
    /// # Errors
    /// Fails if there is no such function, or if the call is not permitted.
    pub fn function(&self, function: &str) -> Result<DeployedFunction> {
        let found = self.call(
            format!("describe function {function} (lambda:GetFunctionConfiguration)"),
            self.lambda
                .get_function_configuration()
                .function_name(function)
                .send(),
        )?;
        let trouble = match (found.state(), found.last_update_status()) {
            (Some(State::Failed), _) => Some(found.state_reason().unwrap_or("it has failed")),
            (Some(State::Pending), _) => Some("it is still being created"),
            (_, Some(LastUpdateStatus::Failed)) => Some(
                found
                    .last_update_status_reason()
                    .unwrap_or("its last update has failed"),
            ),
            // During an update, the previous version answers.
            _ => None,
        };
        Ok(DeployedFunction {
            memory_mb: found.memory_size().unwrap_or(0).try_into().unwrap_or(0),
            timeout_seconds: found.timeout().unwrap_or(0).try_into().unwrap_or(0),
            architecture: found
                .architectures()
                .first()
                .map_or("x86_64", |a| a.as_str())
                .to_owned(),
            shoal: found.description().and_then(version).map(str::to_owned),
            trouble: trouble.map(str::to_owned),
        })
    }

    /// Checks by a dry run that the function may be called.
    ///
    /// # Errors
    /// Fails if the call is not permitted.
    pub fn may_invoke(&self, function: &str) -> Result<()> {
        self.call(
            format!("call function {function} (lambda:InvokeFunction, as a dry run)"),
            self.lambda
                .invoke()
                .function_name(function)
                .invocation_type(InvocationType::DryRun)
                .send(),
        )
        .map(drop)
    }

    /// The reserved concurrency of the function, which is also its maximum.
    ///
    /// # Errors
    /// Fails if the call is not permitted.
    pub fn reserved(&self, function: &str) -> Result<Option<u32>> {
        let answer = self.call(
            format!("get the reserved concurrency of {function} (lambda:GetFunctionConcurrency)"),
            self.lambda
                .get_function_concurrency()
                .function_name(function)
                .send(),
        )?;
        let reserved = answer.reserved_concurrent_executions();
        Ok(reserved.and_then(|count| count.try_into().ok()))
    }

    /// The concurrency limits of the account.
    ///
    /// # Errors
    /// Fails if the call is not permitted.
    pub fn quota(&self) -> Result<Option<Quota>> {
        let answer = self.call(
            "get the account's limits (lambda:GetAccountSettings)",
            self.lambda.get_account_settings().send(),
        )?;
        let count = |count: i32| u32::try_from(count).ok();
        Ok(answer.account_limit().and_then(|limit| {
            Some(Quota {
                concurrent: count(limit.concurrent_executions())?,
                unreserved: limit
                    .unreserved_concurrent_executions()
                    .and_then(count)
                    .unwrap_or_else(|| count(limit.concurrent_executions()).unwrap_or(0)),
            })
        }))
    }

    /// The ARN of the active state machine with this ARN or name.
    ///
    /// # Errors
    /// Fails if there is no such state machine, if it is being deleted, or if the call is not permitted.
    pub fn state_machine(&self, state_machine: &str) -> Result<String> {
        let client = aws_sdk_sfn::Client::new(&self.config);
        let arn = if state_machine.starts_with("arn:") {
            state_machine.to_owned()
        } else {
            let found = crate::step_functions::find(&client, state_machine);
            self.runtime.block_on(found).map_err(|e| Error::Call {
                action: format!("find state machine {state_machine}"),
                reason: match e {
                    DispatchError::Platform { reason, .. } => reason,
                    other => other.to_string(),
                },
            })?
        };
        let described = self.call(
            format!("describe state machine {arn} (states:DescribeStateMachine)"),
            client
                .describe_state_machine()
                .state_machine_arn(&arn)
                .send(),
        )?;
        if described.status() == Some(&StateMachineStatus::Deleting) {
            return Err(Error::Call {
                action: format!("use state machine {arn}"),
                reason: "it is being deleted".into(),
            });
        }
        Ok(arn)
    }
}

/// The prefix of a deployed function's description, followed by the version of shoal.
pub(crate) const DESCRIPTION: &str = "shoal ";

/// The version in the description that a [template](crate::template::template) sets.
fn version(description: &str) -> Option<&str> {
    let (version, _) = description.strip_prefix(DESCRIPTION)?.split_once(':')?;
    version
        .starts_with(|c: char| c.is_ascii_digit())
        .then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_the_description() {
        let template = crate::template::template(&crate::settings::tests::deployment());
        let description = &template["Resources"]["Function"]["Properties"]["Description"];
        assert_eq!(
            version(description.as_str().unwrap()),
            Some(env!("CARGO_PKG_VERSION"))
        );
        for other in ["", "shoal: labels one batch", "my function", "shoal x: y"] {
            assert_eq!(version(other), None, "{other}");
        }
    }
}
