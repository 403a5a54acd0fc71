//! CloudFormation stacks: describing, creating, updating and deleting them.

mod answers;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::account::Account;
use crate::client::Request;
use crate::config;
use crate::error::{Error, Result};
use crate::package::CHECKSUM_DIGITS;
use crate::settings::{S3Folder, check_name};
use crate::template::{CODE_BUCKET, CODE_KEY, TEMPLATE_BYTES};

/// The first poll interval after a change; it doubles each time.
const FIRST_POLL: Duration = Duration::from_millis(200);
/// The longest poll interval.
const LONGEST_POLL: Duration = Duration::from_secs(5);
/// How long to wait for a change. Roles and functions take seconds, a state machine with running executions takes minutes.
const TIMEOUT: Duration = Duration::from_secs(20 * 60);
/// The maximum number of failure reasons in a message.
const REASONS: usize = 8;

/// CloudFormation in the account and region of the environment. Blocks: call it from ordinary threads only.
#[derive(Debug)]
pub struct Cloud {
    account: Account,
}

/// An existing stack.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Stack {
    /// Its name.
    pub name: String,
    /// CloudFormation's status: `CREATE_COMPLETE`, …
    pub status: String,
    /// The bucket of its code.
    pub code_bucket: String,
    /// The key of its code.
    pub code_key: String,
    /// The outputs of its template: the ARNs.
    pub outputs: BTreeMap<String, String>,
    id: String,
    ours: bool,
}

/// A resource of a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resource {
    /// `AWS::Lambda::Function`, …
    pub kind: String,
    /// Its name or ARN.
    pub id: String,
}

/// The effect of a deployment on the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The stack is new.
    Created,
    /// The stack was changed.
    Updated,
    /// The stack was up to date.
    None,
}

impl Stack {
    /// The store that it was deployed from, if its code is where `shoal deploy` puts it.
    pub fn store(&self) -> Option<S3Folder> {
        let (folder, _file) = self.code_key.rsplit_once('/')?;
        let prefix = folder.strip_suffix("deploy")?;
        format!("s3://{}/{prefix}", self.code_bucket).parse().ok()
    }
}

/// The files among `names` that are zips of the deployment `name`.
pub fn packages<'a>(name: &str, names: &'a [String]) -> Vec<&'a str> {
    let ours = |file: &&str| {
        file.strip_prefix(name)
            .and_then(|rest| rest.strip_prefix('-')?.strip_suffix(".zip"))
            .is_some_and(|sum| {
                sum.len() == CHECKSUM_DIGITS && sum.bytes().all(|b| b.is_ascii_hexdigit())
            })
    };
    names.iter().map(String::as_str).filter(ours).collect()
}

impl Cloud {
    /// Loads the configuration from the environment. Calls only services that the environment configures for credentials.
    ///
    /// # Errors
    /// Fails if no region is set.
    pub fn connect() -> Result<Self> {
        let config = config::load_blocking().map_err(|e| Error::call("start a runtime", e))?;
        Ok(Self {
            account: Account::new(&config)?,
        })
    }

    /// The stack with this name, or `None`. `action` is the intended action, for error messages.
    ///
    /// # Errors
    /// Fails if the name is invalid, if the call to AWS fails, or if the stack was not created by `shoal deploy`.
    pub fn stack(&self, action: &'static str, name: &str) -> Result<Option<Stack>> {
        check_name(name)?;
        match self.describe(name)? {
            Some(stack) if !stack.ours => Err(Error::Foreign {
                action,
                name: name.to_owned(),
            }),
            found => Ok(found),
        }
    }

    /// The resources of the stack.
    ///
    /// # Errors
    /// Fails if the call to AWS fails.
    pub fn resources(&self, stack: &Stack) -> Result<Vec<Resource>> {
        let action = format!("list the resources of stack {}", stack.name);
        let fields = [("StackName", &*stack.id)];
        let call = Request::cloudformation("DescribeStackResources", &fields);
        let answer: answers::Resources =
            self.account.xml(call).map_err(|e| Error::call(action, e))?;
        Ok(answer.resources())
    }

    /// Creates or updates the stack `name` from `template`, with the code at `bucket` and `key`, and waits for the end.
    ///
    /// # Errors
    /// Fails if the call to AWS fails, if the stack was not created by `shoal deploy`, if CloudFormation rolled the change
    /// back, or if it takes too long. The message includes CloudFormation's reasons.
    pub fn deploy(
        &self,
        name: &str,
        template: &str,
        bucket: &str,
        key: &str,
    ) -> Result<(Change, Stack)> {
        if template.len() > TEMPLATE_BYTES {
            return Err(Error::Call {
                action: format!("deploy stack {name}"),
                reason: format!(
                    "its template has {} bytes, and CloudFormation allows {TEMPLATE_BYTES}; pass fewer input folders",
                    template.len()
                ),
            });
        }
        let before = self.stack("update", name)?;
        let mut fields = vec![
            ("StackName", name),
            ("TemplateBody", template),
            ("Parameters.member.1.ParameterKey", CODE_BUCKET),
            ("Parameters.member.1.ParameterValue", bucket),
            ("Parameters.member.2.ParameterKey", CODE_KEY),
            ("Parameters.member.2.ParameterValue", key),
            ("Capabilities.member.1", "CAPABILITY_IAM"),
        ];
        let (change, action, wanted, id) = match before {
            None => {
                // Otherwise the user would have to delete a stack that could not be created.
                fields.push(("OnFailure", "DELETE"));
                let call = Request::cloudformation("CreateStack", &fields);
                let created: answers::Created = self
                    .account
                    .xml(call)
                    .map_err(|e| Error::call(format!("create stack {name}"), e))?;
                (Change::Created, "create", "CREATE_COMPLETE", created.id())
            }
            Some(stack) => {
                let call = Request::cloudformation("UpdateStack", &fields);
                match self.account.xml::<answers::Empty>(call) {
                    Ok(answers::Empty {}) => {
                        (Change::Updated, "update", "UPDATE_COMPLETE", stack.id)
                    }
                    // There is no error code for this case.
                    Err(e) if e.message().contains("No updates") => {
                        return Ok((Change::None, stack));
                    }
                    Err(e) => return Err(Error::call(format!("update stack {name}"), e)),
                }
            }
        };
        let stack = self.wait(action, name, &id, wanted)?;
        let stack = stack.expect("the stack exists unless it was deleted");
        Ok((change, stack))
    }

    /// Deletes the stack with all its resources, and waits for the end.
    ///
    /// # Errors
    /// Fails if the call to AWS fails, if a resource cannot be deleted, or if it takes too long. The message includes
    /// CloudFormation's reasons.
    pub fn delete(&self, stack: &Stack) -> Result<()> {
        let name = &stack.name;
        let call = Request::cloudformation("DeleteStack", &[("StackName", &stack.id)]);
        let deleted = self.account.xml::<answers::Empty>(call);
        deleted.map_err(|e| Error::call(format!("delete stack {name}"), e))?;
        self.wait("delete", name, &stack.id, "DELETE_COMPLETE")?;
        Ok(())
    }

    /// Waits until the stack has the status `wanted`, and fails if it ends with another one.
    fn wait(&self, action: &str, name: &str, id: &str, wanted: &str) -> Result<Option<Stack>> {
        let start = Instant::now();
        let mut pause = FIRST_POLL;
        let failed = |reason| Error::Call {
            action: format!("{action} stack {name}"),
            reason,
        };
        loop {
            let stack = self.describe(id)?;
            match stack.as_ref().map(|stack| stack.status.as_str()) {
                Some(status) if status == wanted => return Ok(stack),
                None if wanted == "DELETE_COMPLETE" => return Ok(None),
                // The cleanup after a success runs in the background.
                Some(status) if status == format!("{wanted}_CLEANUP_IN_PROGRESS") => {
                    return Ok(stack);
                }
                Some(status) if status.ends_with("_IN_PROGRESS") => {}
                status => {
                    let status = status.unwrap_or("gone");
                    return Err(failed(format!("it is {status}{}", self.reasons(id))));
                }
            }
            if start.elapsed() > TIMEOUT {
                let minutes = TIMEOUT.as_secs() / 60;
                return Err(failed(format!(
                    "it did not finish within {minutes} minutes and continues; check its events in CloudFormation"
                )));
            }
            std::thread::sleep(pause);
            pause = (2 * pause).min(LONGEST_POLL);
        }
    }

    /// The stack with this name or id. Deleted stacks are found only by id.
    fn describe(&self, name_or_id: &str) -> Result<Option<Stack>> {
        let call = Request::cloudformation("DescribeStacks", &[("StackName", name_or_id)]);
        match self.account.xml::<answers::Stacks>(call) {
            Ok(answer) => Ok(answer.first()),
            // There is no error code for this case.
            Err(e) if e.message().contains("does not exist") => Ok(None),
            Err(e) => Err(Error::call(format!("describe stack {name_or_id}"), e)),
        }
    }

    /// The reasons of failed resources, oldest first, as text to append.
    fn reasons(&self, id: &str) -> String {
        let call = Request::cloudformation("DescribeStackEvents", &[("StackName", id)]);
        let Ok(events) = self.account.xml::<answers::Events>(call) else {
            return String::new();
        };
        let failures = events.failures().into_iter().take(REASONS);
        failures
            .map(|(resource, reason)| format!("\n  {resource}: {reason}"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_zips_of_this_deployment_are_packages() {
        let names = [
            "shoal-0123456789abcdef.zip",
            "shoal-0123456789abcdef.zip.bak",
            "shoal-eu-0123456789abcdef.zip",
            "shoal-0123456789abcde.zip",
            "shoal-0123456789abcdeg.zip",
            "other-0123456789abcdef.zip",
        ]
        .map(String::from);
        assert_eq!(packages("shoal", &names), [&names[0]]);
        assert_eq!(packages("shoal-eu", &names), [&names[2]]);
    }
}
