//! The CloudFormation template with all resources of a deployment.

use serde_json::{Value, json};

use crate::account::DESCRIPTION;
use crate::permissions;
use crate::settings::Deployment;
use crate::state_machine;

/// The retention of the function's log in days.
pub const LOG_DAYS: u32 = 30;
/// The maximum size of a template in a request, in bytes. CloudFormation quotas, *Template body size in a request*.
pub const TEMPLATE_BYTES: usize = 51_200;

/// The parameter for the bucket of the code.
pub const CODE_BUCKET: &str = "CodeBucket";
/// The parameter for the key of the code.
pub const CODE_KEY: &str = "CodeKey";
/// The output with the function's ARN.
pub const FUNCTION_ARN: &str = "FunctionArn";
/// The output with the state machine's ARN.
pub const STATE_MACHINE_ARN: &str = "StateMachineArn";

/// The prefix of a stack's description that identifies stacks of shoal. It must not change: deployed stacks have it.
pub(crate) const MARK: &str = "Made by `shoal deploy aws`.";

/// The template of a deployment that was [checked](Deployment::check).
pub fn template(deployment: &Deployment) -> Value {
    let mut resources = json!({
        "LogGroup": {
            "Type": "AWS::Logs::LogGroup",
            "DeletionPolicy": "Delete",
            "UpdateReplacePolicy": "Delete",
            "Properties": {
                "LogGroupName": format!("/aws/lambda/{}", deployment.name),
                "RetentionInDays": LOG_DAYS,
            },
        },
        "FunctionRole": role("lambda.amazonaws.com", permissions::function(deployment)),
        "Function": function(deployment),
    });
    let mut outputs = json!({
        FUNCTION_ARN: { "Value": { "Fn::GetAtt": ["Function", "Arn"] } },
    });
    if deployment.state_machine {
        let role = role(
            "states.amazonaws.com",
            permissions::state_machine(deployment),
        );
        resources["StateMachineRole"] = role;
        resources["StateMachine"] = machine(deployment);
        outputs[STATE_MACHINE_ARN] = json!({ "Value": { "Ref": "StateMachine" } });
    }
    json!({
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": format!(
            "{MARK} Can also be deployed with the zip that `shoal deploy aws` uploads: aws cloudformation deploy (or sam \
             deploy) --template-file FILE --stack-name {} --capabilities CAPABILITY_IAM --parameter-overrides \
             {CODE_BUCKET}=BUCKET {CODE_KEY}=KEY",
            deployment.name
        ),
        "Parameters": {
            CODE_BUCKET: { "Type": "String", "Description": "Bucket of the function's zip" },
            CODE_KEY: { "Type": "String", "Description": "Key of the function's zip" },
        },
        "Resources": resources,
        "Outputs": outputs,
    })
}

fn role(service: &str, policy: Value) -> Value {
    json!({
        "Type": "AWS::IAM::Role",
        "Properties": {
            "AssumeRolePolicyDocument": permissions::trust(service),
            "Policies": [{ "PolicyName": "shoal", "PolicyDocument": policy }],
        },
    })
}

fn function(deployment: &Deployment) -> Value {
    let mut properties = json!({
        "FunctionName": deployment.name,
        "Description": format!("{DESCRIPTION}{}: labels one batch of records an invocation", env!("CARGO_PKG_VERSION")),
        "Runtime": "provided.al2023",
        "Handler": "bootstrap",
        "Architectures": [deployment.arch],
        "MemorySize": deployment.memory,
        "Timeout": deployment.timeout,
        "Role": { "Fn::GetAtt": ["FunctionRole", "Arn"] },
        "Code": { "S3Bucket": { "Ref": CODE_BUCKET }, "S3Key": { "Ref": CODE_KEY } },
        "Environment": { "Variables": deployment.variables() },
        // Created before the function, so that it belongs to the stack and is deleted with it.
        "LoggingConfig": { "LogGroup": { "Ref": "LogGroup" } },
    });
    if let Some(megabytes) = deployment.tmp {
        properties["EphemeralStorage"] = json!({ "Size": megabytes });
    }
    if let Some(count) = deployment.reserved_concurrency {
        properties["ReservedConcurrentExecutions"] = json!(count);
    }
    json!({ "Type": "AWS::Lambda::Function", "Properties": properties })
}

fn machine(deployment: &Deployment) -> Value {
    let definition = state_machine::definition("${FunctionArn}", deployment.timeout);
    json!({
        "Type": "AWS::StepFunctions::StateMachine",
        "Properties": {
            "StateMachineName": deployment.name,
            "StateMachineType": "STANDARD",
            "RoleArn": { "Fn::GetAtt": ["StateMachineRole", "Arn"] },
            "DefinitionString": definition.to_string(),
            "DefinitionSubstitutions": { "FunctionArn": { "Fn::GetAtt": ["Function", "Arn"] } },
        },
    })
}

#[cfg(test)]
mod tests;
