//! The answers of CloudFormation's operations, which are XML.

use serde::Deserialize;

use super::{Resource, Stack};
use crate::template::{CODE_BUCKET, CODE_KEY, MARK};

/// An answer of which nothing is used.
#[derive(Deserialize)]
pub(super) struct Empty {}

#[derive(Deserialize)]
pub(super) struct Created {
    #[serde(rename = "CreateStackResult")]
    result: CreateResult,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CreateResult {
    stack_id: String,
}

#[derive(Deserialize)]
pub(super) struct Stacks {
    #[serde(rename = "DescribeStacksResult")]
    result: StacksResult,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StacksResult {
    stacks: List<Description>,
}

#[derive(Deserialize)]
pub(super) struct Resources {
    #[serde(rename = "DescribeStackResourcesResult")]
    result: ResourcesResult,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ResourcesResult {
    stack_resources: List<Existing>,
}

#[derive(Deserialize)]
pub(super) struct Events {
    #[serde(rename = "DescribeStackEventsResult")]
    result: EventsResult,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EventsResult {
    stack_events: List<Event>,
}

#[derive(Deserialize)]
struct List<T> {
    #[serde(default = "Vec::new")]
    member: Vec<T>,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self { member: Vec::new() }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Description {
    stack_id: String,
    stack_name: String,
    stack_status: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    parameters: List<Parameter>,
    #[serde(default)]
    outputs: List<Output>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Parameter {
    parameter_key: String,
    #[serde(default)]
    parameter_value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Output {
    output_key: String,
    #[serde(default)]
    output_value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Existing {
    resource_type: String,
    physical_resource_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Event {
    #[serde(default)]
    logical_resource_id: String,
    #[serde(default)]
    resource_status: String,
    resource_status_reason: Option<String>,
}

impl Created {
    /// The id of the new stack.
    pub(super) fn id(self) -> String {
        self.result.stack_id
    }
}

impl Stacks {
    /// The first stack.
    pub(super) fn first(self) -> Option<Stack> {
        self.result
            .stacks
            .member
            .into_iter()
            .next()
            .map(Stack::from)
    }
}

impl Resources {
    pub(super) fn resources(self) -> Vec<Resource> {
        let resources = self.result.stack_resources.member.into_iter();
        resources
            .map(|resource| Resource {
                kind: resource.resource_type,
                id: resource
                    .physical_resource_id
                    .unwrap_or("not created".into()),
            })
            .collect()
    }
}

impl Events {
    /// The resources that failed, each with the reason, oldest first.
    pub(super) fn failures(self) -> Vec<(String, String)> {
        // The answer has the newest event first.
        let events = self.result.stack_events.member.into_iter().rev();
        events
            .filter(|event| event.resource_status.ends_with("_FAILED"))
            .filter_map(|event| Some((event.logical_resource_id, event.resource_status_reason?)))
            .collect()
    }
}

impl From<Description> for Stack {
    fn from(stack: Description) -> Self {
        let parameter = |name: &str| {
            let mut all = stack.parameters.member.iter();
            let found = all.find(|parameter| parameter.parameter_key == name);
            found.map_or(String::new(), |found| found.parameter_value.clone())
        };
        Self {
            code_bucket: parameter(CODE_BUCKET),
            code_key: parameter(CODE_KEY),
            name: stack.stack_name,
            status: stack.stack_status,
            outputs: stack
                .outputs
                .member
                .into_iter()
                .map(|output| (output.output_key, output.output_value))
                .collect(),
            id: stack.stack_id,
            ours: stack.description.starts_with(MARK),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacks_and_events_are_read() {
        let stacks = r#"<?xml version="1.0"?>
            <DescribeStacksResponse xmlns="http://cloudformation.amazonaws.com/doc/2010-05-15/">
              <DescribeStacksResult><Stacks><member>
                <StackId>arn:stack/shoal/1</StackId><StackName>shoal</StackName>
                <StackStatus>UPDATE_COMPLETE</StackStatus>
                <Description>other &amp; more</Description>
                <Parameters>
                  <member><ParameterKey>CodeKey</ParameterKey><ParameterValue>a/deploy/b.zip</ParameterValue></member>
                  <member><ParameterKey>CodeBucket</ParameterKey><ParameterValue>lake</ParameterValue></member>
                </Parameters>
                <Outputs><member><OutputKey>Function</OutputKey><OutputValue>arn:f</OutputValue></member></Outputs>
                <Tags/>
              </member></Stacks></DescribeStacksResult>
              <ResponseMetadata><RequestId>1</RequestId></ResponseMetadata>
            </DescribeStacksResponse>"#;
        let stack = quick_xml::de::from_str::<Stacks>(stacks)
            .unwrap()
            .first()
            .unwrap();
        assert_eq!((&*stack.name, &*stack.status), ("shoal", "UPDATE_COMPLETE"));
        assert_eq!(
            (&*stack.code_bucket, &*stack.code_key),
            ("lake", "a/deploy/b.zip")
        );
        assert_eq!(stack.outputs["Function"], "arn:f");
        assert!(!stack.ours);
        let none = "<R><DescribeStacksResult><Stacks/></DescribeStacksResult></R>";
        assert!(
            quick_xml::de::from_str::<Stacks>(none)
                .unwrap()
                .first()
                .is_none()
        );

        let event = |resource: &str, status: &str, reason: &str| {
            format!(
                "<member><LogicalResourceId>{resource}</LogicalResourceId><ResourceStatus>{status}</ResourceStatus>{reason}</member>"
            )
        };
        let events = [
            event(
                "Function",
                "CREATE_FAILED",
                "<ResourceStatusReason>cancelled</ResourceStatusReason>",
            ),
            event(
                "Role",
                "CREATE_FAILED",
                "<ResourceStatusReason>denied</ResourceStatusReason>",
            ),
            event("Log", "CREATE_COMPLETE", ""),
            event("Log", "CREATE_FAILED", ""),
        ];
        let text = format!(
            "<R><DescribeStackEventsResult><StackEvents>{}</StackEvents></DescribeStackEventsResult></R>",
            events.concat()
        );
        let events = quick_xml::de::from_str::<Events>(&text).unwrap().failures();
        let expected = [("Role", "denied"), ("Function", "cancelled")];
        assert_eq!(events, expected.map(|(r, e)| (r.to_owned(), e.to_owned())));
    }
}
