//! Looking at an account before a run: who asks, what is deployed, and what it allows.

use std::future::Future;

use aws_config::SdkConfig;
use aws_sdk_lambda::types::{InvocationType, LastUpdateStatus, State};
use aws_sdk_sfn::types::StateMachineStatus;
use shoal_dispatch::DispatchError;
use tokio::runtime::Runtime;

use crate::error::{Error, Result};

/// AWS as the environment names it. Blocking: call it from ordinary threads.
#[derive(Debug)]
pub struct Account {
    config: SdkConfig,
    lambda: aws_sdk_lambda::Client,
    runtime: Runtime,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The user or role.
    pub arn: String,
    /// The account's number.
    pub account: String,
}

/// A function as it is deployed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeployedFunction {
    /// Memory in MB.
    pub memory_mb: u32,
    /// Seconds after which the platform ends a call.
    pub timeout_seconds: u64,
    /// `x86_64` or `arm64`.
    pub architecture: String,
    /// The version of shoal that deployed it, where it says so.
    pub shoal: Option<String>,
    /// Why it takes no calls, where it does not.
    pub trouble: Option<String>,
}

/// How many functions the account runs at a time, in one region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// All together.
    pub concurrent: u32,
    /// Of these, those that no function has reserved.
    pub unreserved: u32,
}

impl Account {
    /// The account of `config`; nothing is asked yet.
    ///
    /// # Errors
    /// No region is set, or the system cannot start a runtime.
    pub fn new(config: SdkConfig) -> Result<Self> {
        if config.region().is_none() {
            return Err(Error::Call {
                action: "reach AWS".into(),
                reason: "no region is named; set AWS_REGION, for example to us-east-1".into(),
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

    /// Who asks.
    ///
    /// # Errors
    /// There are no credentials, or they are not valid.
    pub fn caller(&self) -> Result<Caller> {
        let client = aws_sdk_sts::Client::new(&self.config);
        let answer = self.call(
            "ask who calls (sts:GetCallerIdentity)",
            client.get_caller_identity().send(),
        )?;
        Ok(Caller {
            arn: answer.arn().unwrap_or_default().to_owned(),
            account: answer.account().unwrap_or_default().to_owned(),
        })
    }

    /// How the function of this name or ARN is deployed.
    ///
    /// # Errors
    /// There is none, or nobody may ask.
    pub fn function(&self, function: &str) -> Result<DeployedFunction> {
        let found = self.call(
            format!("look at function {function} (lambda:GetFunctionConfiguration)"),
            self.lambda
                .get_function_configuration()
                .function_name(function)
                .send(),
        )?;
        let trouble = match (found.state(), found.last_update_status()) {
            (Some(State::Failed), _) => Some(found.state_reason().unwrap_or("it has failed")),
            (Some(State::Pending), _) => Some("it is still being made"),
            (_, Some(LastUpdateStatus::Failed)) => Some(
                found
                    .last_update_status_reason()
                    .unwrap_or("its last update has failed"),
            ),
            // A function that is being updated answers as before until then.
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

    /// Whether the function may be called; it is not.
    ///
    /// # Errors
    /// Why not.
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

    /// How many calls at a time are reserved for the function; no other ones are taken then.
    ///
    /// # Errors
    /// Nobody may ask.
    pub fn reserved(&self, function: &str) -> Result<Option<u32>> {
        let answer = self.call(
            format!("ask what is reserved for {function} (lambda:GetFunctionConcurrency)"),
            self.lambda
                .get_function_concurrency()
                .function_name(function)
                .send(),
        )?;
        let reserved = answer.reserved_concurrent_executions();
        Ok(reserved.and_then(|count| count.try_into().ok()))
    }

    /// What the account allows.
    ///
    /// # Errors
    /// Nobody may ask.
    pub fn quota(&self) -> Result<Option<Quota>> {
        let answer = self.call(
            "ask for the account's limits (lambda:GetAccountSettings)",
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

    /// The ARN of the state machine that is given by ARN or name, which must be active.
    ///
    /// # Errors
    /// There is none, it is being deleted, or nobody may ask.
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
            format!("look at state machine {arn} (states:DescribeStateMachine)"),
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

/// How a function's description begins, by which it tells what deployed it.
pub(crate) const DESCRIPTION: &str = "shoal ";

/// The version in a description that a [template](crate::template::template) gave.
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
    fn descriptions_tell_the_version() {
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
