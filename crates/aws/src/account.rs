//! Queries about an account before a run: the caller, deployed functions and limits.

use std::future::Future;

use aws_config::SdkConfig;
use aws_sdk_lambda::types::{InvocationType, LastUpdateStatus, State};
use aws_sdk_sfn::Client;
use aws_sdk_sfn::types::StateMachineStatus;
use shoal_job::waits::waiting_for;
use shoal_job::wire::Sizing;
use tokio::runtime::Runtime;

use crate::error::{Error, Result};

/// The AWS account of a configuration. Blocks: call it from ordinary threads only.
#[derive(Debug)]
pub struct Account {
    pub(crate) config: SdkConfig,
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
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct DeployedFunction {
    /// The size that it is billed by.
    pub sizing: Sizing,
    /// The time limit of a call in seconds.
    pub timeout_seconds: u64,
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
        Ok(Self { config, runtime })
    }

    /// The region.
    pub fn region(&self) -> &str {
        self.config.region().map_or("", |region| region.as_ref())
    }

    fn lambda(&self) -> aws_sdk_lambda::Client {
        aws_sdk_lambda::Client::new(&self.config)
    }

    pub(crate) fn block_on<F: Future>(&self, call: F) -> F::Output {
        let _waiting = waiting_for(format!("AWS in {}", self.region()));
        self.runtime.block_on(call)
    }

    pub(crate) fn call<T, E: std::error::Error + 'static>(
        &self,
        action: impl Into<String>,
        call: impl Future<Output = std::result::Result<T, E>>,
    ) -> Result<T> {
        self.block_on(call).map_err(|e| Error::call(action, e))
    }

    /// The identity of the credentials.
    ///
    /// # Errors
    /// Fails if there are no credentials, or if they are not valid.
    pub fn caller(&self) -> Result<Caller> {
        let client = aws_sdk_sts::Client::new(&self.config);
        let call = client.get_caller_identity().send();
        let answer = self.call("get the caller's identity (sts:GetCallerIdentity)", call)?;
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
        let action = || format!("describe function {function} (lambda:GetFunctionConfiguration)");
        let call = self.lambda().get_function_configuration();
        let found = self.call(action(), call.function_name(function).send())?;
        let number = |number: Option<i32>| number.and_then(|number| u32::try_from(number).ok());
        let (Some(memory_mb), Some(timeout)) =
            (number(found.memory_size()), number(found.timeout()))
        else {
            return Err(Error::Call {
                action: action(),
                reason: "Lambda did not return its memory and its timeout".into(),
            });
        };
        let trouble = match (found.state(), found.last_update_status()) {
            (Some(State::Failed), _) => Some(found.state_reason().unwrap_or("it has failed")),
            (Some(State::Pending), _) => Some("it is still being created"),
            (_, Some(LastUpdateStatus::Failed)) => {
                let reason = found.last_update_status_reason();
                reason.or(Some("its last update has failed"))
            }
            // During an update, the previous version answers.
            _ => None,
        };
        Ok(DeployedFunction {
            sizing: Sizing {
                memory_mb,
                // Lambda's default.
                architecture: found
                    .architectures()
                    .first()
                    .map_or("x86_64", |a| a.as_str())
                    .into(),
                region: self.region().into(),
            },
            timeout_seconds: timeout.into(),
            shoal: found.description().and_then(version).map(str::to_owned),
            trouble: trouble.map(str::to_owned),
        })
    }

    /// Checks by a dry run that the function may be called.
    ///
    /// # Errors
    /// Fails if the call is not permitted.
    pub fn may_invoke(&self, function: &str) -> Result<()> {
        let action = format!("call function {function} (lambda:InvokeFunction, as a dry run)");
        let call = self.lambda().invoke().function_name(function);
        let call = call.invocation_type(InvocationType::DryRun).send();
        self.call(action, call).map(drop)
    }

    /// The reserved concurrency of the function, which is also its maximum.
    ///
    /// # Errors
    /// Fails if the call is not permitted.
    pub fn reserved(&self, function: &str) -> Result<Option<u32>> {
        let action =
            format!("get the reserved concurrency of {function} (lambda:GetFunctionConcurrency)");
        let call = self.lambda().get_function_concurrency();
        let answer = self.call(action, call.function_name(function).send())?;
        let reserved = answer.reserved_concurrent_executions();
        Ok(reserved.and_then(|count| count.try_into().ok()))
    }

    /// The concurrency limits of the account.
    ///
    /// # Errors
    /// Fails if the call is not permitted.
    pub fn quota(&self) -> Result<Option<Quota>> {
        let call = self.lambda().get_account_settings().send();
        let answer = self.call("get the account's limits (lambda:GetAccountSettings)", call)?;
        let count = |count: i32| u32::try_from(count).ok();
        Ok(answer.account_limit().and_then(|limit| {
            let concurrent = count(limit.concurrent_executions())?;
            let unreserved = limit.unreserved_concurrent_executions().and_then(count);
            Some(Quota {
                concurrent,
                unreserved: unreserved.unwrap_or(concurrent),
            })
        }))
    }

    /// The ARN of the active state machine with this ARN or name.
    ///
    /// # Errors
    /// Fails if there is no such state machine, if it is being deleted, or if the call is not permitted.
    pub fn state_machine(&self, state_machine: &str) -> Result<String> {
        let client = Client::new(&self.config);
        let arn = self.state_machine_arn(&client, state_machine)?;
        let action = format!("describe state machine {arn} (states:DescribeStateMachine)");
        let call = client.describe_state_machine().state_machine_arn(&arn);
        let described = self.call(action, call.send())?;
        if described.status() == Some(&StateMachineStatus::Deleting) {
            return Err(Error::Call {
                action: format!("use state machine {arn}"),
                reason: "it is being deleted".into(),
            });
        }
        Ok(arn)
    }

    /// The ARN of the state machine with this ARN or name.
    pub(crate) fn state_machine_arn(&self, client: &Client, name: &str) -> Result<String> {
        if name.starts_with("arn:") {
            return Ok(name.to_owned());
        }
        let mut machines = client.list_state_machines().into_paginator().items().send();
        while let Some(machine) = self.block_on(machines.next()) {
            let machine = machine.map_err(|e| Error::call("list state machines", e))?;
            if machine.name() == name {
                return Ok(machine.state_machine_arn);
            }
        }
        Err(Error::Call {
            action: format!("find state machine {name}"),
            reason: "there is none with this name; deploy one, or choose another".into(),
        })
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
