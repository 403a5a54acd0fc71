//! Queries about an account before a run: the caller, deployed functions and limits.

use std::future::Future;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use shoal_job::http::header::{HeaderName, HeaderValue};
use shoal_job::waits::waiting_for;
use shoal_job::wire::Sizing;
use tokio::runtime::Runtime;

use crate::client::{CallError, Client, Request, encode};
use crate::config::Config;
use crate::error::{Error, Result};

/// The AWS account of a configuration. Blocks: call it from ordinary threads only.
#[derive(Debug)]
pub struct Account {
    client: Client,
    runtime: Runtime,
}

/// The identity of the credentials.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
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
    /// Creates a client for `config` without calling AWS.
    ///
    /// # Errors
    /// Fails if no region is set, or if the system cannot start a runtime.
    pub fn new(config: &Config) -> Result<Self> {
        let client = Client::new(config).map_err(|reason| Error::Call {
            action: "reach AWS".into(),
            reason,
        })?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| Error::call("start a runtime", e))?;
        Ok(Self { client, runtime })
    }

    /// The region.
    pub fn region(&self) -> &str {
        self.client.region()
    }

    pub(crate) fn block_on<F: Future>(&self, call: F) -> F::Output {
        let _waiting = waiting_for(format!("AWS in {}", self.region()));
        self.runtime.block_on(call)
    }

    /// Calls an operation that answers in JSON.
    pub(crate) fn json<T: DeserializeOwned>(
        &self,
        request: Request,
    ) -> std::result::Result<T, CallError> {
        self.block_on(self.client.json(request))
    }

    /// Calls an operation that answers in XML.
    pub(crate) fn xml<T: DeserializeOwned>(
        &self,
        request: Request,
    ) -> std::result::Result<T, CallError> {
        self.block_on(self.client.xml(request))
    }

    /// The identity of the credentials.
    ///
    /// # Errors
    /// Fails if there are no credentials, or if they are not valid.
    pub fn caller(&self) -> Result<Caller> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(rename = "GetCallerIdentityResult")]
            caller: Caller,
        }
        let answer: Answer = self
            .xml(Request::sts("GetCallerIdentity"))
            .map_err(|e| Error::call("get the caller's identity (sts:GetCallerIdentity)", e))?;
        Ok(answer.caller)
    }

    /// Describes the function with this name or ARN.
    ///
    /// # Errors
    /// Fails if there is no such function, or if the call is not permitted.
    pub fn function(&self, function: &str) -> Result<DeployedFunction> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Configuration {
            memory_size: Option<u32>,
            timeout: Option<u32>,
            state: Option<String>,
            state_reason: Option<String>,
            last_update_status: Option<String>,
            last_update_status_reason: Option<String>,
            #[serde(default)]
            architectures: Vec<String>,
            description: Option<String>,
        }
        let action = || format!("describe function {function} (lambda:GetFunctionConfiguration)");
        let path = format!("/2015-03-31/functions/{}/configuration", encode(function));
        let found: Configuration = self
            .json(Request::lambda(path))
            .map_err(|e| Error::call(action(), e))?;
        let (Some(memory_mb), Some(timeout)) = (found.memory_size, found.timeout) else {
            return Err(Error::Call {
                action: action(),
                reason: "Lambda did not return its memory and its timeout".into(),
            });
        };
        let trouble = match (found.state.as_deref(), found.last_update_status.as_deref()) {
            (Some("Failed"), _) => Some(found.state_reason.unwrap_or("it has failed".into())),
            (Some("Pending"), _) => Some("it is still being created".into()),
            (_, Some("Failed")) => {
                let reason = found.last_update_status_reason;
                reason.or(Some("its last update has failed".into()))
            }
            // During an update, the previous version answers.
            _ => None,
        };
        Ok(DeployedFunction {
            sizing: Sizing {
                memory_mb,
                // Lambda's default.
                architecture: found
                    .architectures
                    .into_iter()
                    .next()
                    .unwrap_or("x86_64".into()),
                region: self.region().into(),
            },
            timeout_seconds: timeout.into(),
            shoal: found
                .description
                .as_deref()
                .and_then(version)
                .map(str::to_owned),
            trouble,
        })
    }

    /// Checks by a dry run that the function may be called.
    ///
    /// # Errors
    /// Fails if the call is not permitted.
    pub fn may_invoke(&self, function: &str) -> Result<()> {
        let action = format!("call function {function} (lambda:InvokeFunction, as a dry run)");
        let request = Request::invoke(function, "").with(
            HeaderName::from_static("x-amz-invocation-type"),
            HeaderValue::from_static("DryRun"),
        );
        let answer = self.runtime.block_on(self.client.repeat(request));
        answer.map(drop).map_err(|e| Error::call(action, e))
    }

    /// The reserved concurrency of the function, which is also its maximum.
    ///
    /// # Errors
    /// Fails if the call is not permitted.
    pub fn reserved(&self, function: &str) -> Result<Option<u32>> {
        #[derive(Deserialize)]
        struct Concurrency {
            #[serde(rename = "ReservedConcurrentExecutions")]
            reserved: Option<u32>,
        }
        let action =
            format!("get the reserved concurrency of {function} (lambda:GetFunctionConcurrency)");
        let path = format!("/2019-09-30/functions/{}/concurrency", encode(function));
        let answer = self.json(Request::lambda(path));
        let Concurrency { reserved } = answer.map_err(|e| Error::call(action, e))?;
        Ok(reserved)
    }

    /// The concurrency limits of the account.
    ///
    /// # Errors
    /// Fails if the call is not permitted.
    pub fn quota(&self) -> Result<Option<Quota>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Settings {
            account_limit: Option<Limit>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Limit {
            concurrent_executions: u32,
            unreserved_concurrent_executions: Option<u32>,
        }
        let answer = self.json(Request::lambda("/2016-08-19/account-settings".into()));
        let settings: Settings = answer
            .map_err(|e| Error::call("get the account's limits (lambda:GetAccountSettings)", e))?;
        Ok(settings.account_limit.map(|limit| {
            let concurrent = limit.concurrent_executions;
            Quota {
                concurrent,
                unreserved: limit.unreserved_concurrent_executions.unwrap_or(concurrent),
            }
        }))
    }

    /// The ARN of the active state machine with this ARN or name.
    ///
    /// # Errors
    /// Fails if there is no such state machine, if it is being deleted, or if the call is not permitted.
    pub fn state_machine(&self, state_machine: &str) -> Result<String> {
        #[derive(Deserialize)]
        struct Described {
            status: Option<String>,
        }
        let arn = self.state_machine_arn(state_machine)?;
        let action = format!("describe state machine {arn} (states:DescribeStateMachine)");
        let input = json!({ "stateMachineArn": arn });
        let answer = self.json(Request::states("DescribeStateMachine", &input));
        let described: Described = answer.map_err(|e| Error::call(action, e))?;
        if described.status.as_deref() == Some("DELETING") {
            return Err(Error::Call {
                action: format!("use state machine {arn}"),
                reason: "it is being deleted".into(),
            });
        }
        Ok(arn)
    }

    /// The ARN of the state machine with this ARN or name.
    pub(crate) fn state_machine_arn(&self, name: &str) -> Result<String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Page {
            state_machines: Vec<Machine>,
            next_token: Option<String>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Machine {
            name: String,
            state_machine_arn: String,
        }
        if name.starts_with("arn:") {
            return Ok(name.to_owned());
        }
        let mut input = json!({});
        loop {
            let answer = self.json(Request::states("ListStateMachines", &input));
            let page: Page = answer.map_err(|e| Error::call("list state machines", e))?;
            let mut machines = page.state_machines.into_iter();
            if let Some(machine) = machines.find(|machine| machine.name == name) {
                return Ok(machine.state_machine_arn);
            }
            match page.next_token {
                Some(token) => input = json!({ "nextToken": token }),
                None => break,
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
