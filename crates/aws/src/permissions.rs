//! The policies of the two roles, with as few actions and resources as possible.

use serde_json::{Value, json};

use crate::settings::{Deployment, ModelLocation, S3Folder};

/// The policy of the function's role.
pub(crate) fn function(deployment: &Deployment) -> Value {
    let store = &deployment.store;
    let mut readable = vec![objects(store, "inputs/*")];
    readable.extend(deployment.inputs.iter().map(|input| objects(input, "*")));
    if let ModelLocation::Object(object) = &deployment.model {
        readable.push(s3(&object.to_string()));
    }
    policy(vec![
        allow("ReadInputs", &["s3:GetObject"], readable),
        allow(
            "ReadAndWriteRuns",
            &["s3:GetObject", "s3:PutObject"],
            vec![objects(store, "runs/*")],
        ),
        allow(
            "WriteOwnLog",
            &["logs:CreateLogStream", "logs:PutLogEvents"],
            // The ARN ends in `:*`: all streams of this group.
            vec![json!({ "Fn::GetAtt": ["LogGroup", "Arn"] })],
        ),
    ])
}

/// The policy of the state machine's role. The map's permissions follow *IAM policies for using Distributed Map states*
/// (`step-functions/latest/dg/iam-policies-eg-dist-map.html`): a child is an execution of the machine itself, and
/// results are written by multipart uploads. The policy contains the machine's name instead of a reference, because the
/// machine refers to this role.
pub(crate) fn state_machine(deployment: &Deployment) -> Value {
    let (name, store) = (&deployment.name, &deployment.store);
    policy(vec![
        allow(
            "InvokeFunction",
            &["lambda:InvokeFunction"],
            vec![json!({ "Fn::GetAtt": ["Function", "Arn"] })],
        ),
        allow(
            "ReadManifests",
            &["s3:GetObject"],
            vec![objects(store, "runs/*/manifest/*")],
        ),
        allow(
            "WriteResults",
            &[
                "s3:AbortMultipartUpload",
                "s3:GetObject",
                "s3:ListMultipartUploadParts",
                "s3:PutObject",
            ],
            vec![objects(store, "runs/*/map/*")],
        ),
        allow(
            "StartChildren",
            &["states:StartExecution"],
            vec![states(&format!("stateMachine:{name}"))],
        ),
        allow(
            "FollowChildren",
            &["states:DescribeExecution", "states:StopExecution"],
            vec![states(&format!("execution:{name}:*"))],
        ),
    ])
}

/// Lets one service assume a role.
pub(crate) fn trust(service: &str) -> Value {
    json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Principal": { "Service": service },
            "Action": "sts:AssumeRole",
        }],
    })
}

fn policy(statements: Vec<Value>) -> Value {
    json!({ "Version": "2012-10-17", "Statement": statements })
}

fn allow(id: &str, actions: &[&str], resources: Vec<Value>) -> Value {
    json!({ "Sid": id, "Effect": "Allow", "Action": actions, "Resource": resources })
}

fn objects(folder: &S3Folder, names: &str) -> Value {
    s3(&folder.url(names))
}

fn s3(url: &str) -> Value {
    let path = url.strip_prefix("s3://").expect("an S3 URL");
    json!({ "Fn::Sub": format!("arn:${{AWS::Partition}}:s3:::{path}") })
}

fn states(resource: &str) -> Value {
    json!({
        "Fn::Sub": format!("arn:${{AWS::Partition}}:states:${{AWS::Region}}:${{AWS::AccountId}}:{resource}")
    })
}
