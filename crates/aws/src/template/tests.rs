use std::collections::BTreeMap;

use super::*;
use crate::settings::tests::deployment;
use crate::{Arch, ModelPlace};

/// All that a role may do: `action` → resources, each as text.
fn permissions(template: &Value, role: &str) -> BTreeMap<String, Vec<String>> {
    let policies = template["Resources"][role]["Properties"]["Policies"]
        .as_array()
        .unwrap();
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for policy in policies {
        for statement in policy["PolicyDocument"]["Statement"].as_array().unwrap() {
            assert_eq!(statement["Effect"], "Allow");
            for action in statement["Action"].as_array().unwrap() {
                let resources = statement["Resource"].as_array().unwrap().iter();
                let resources = resources.map(|r| match r["Fn::Sub"].as_str() {
                    Some(text) => text.replace("${AWS::", "{").to_owned(),
                    None => r.to_string(),
                });
                let action = action.as_str().unwrap().to_owned();
                found.entry(action).or_default().extend(resources);
            }
        }
    }
    found
}

fn expect(found: BTreeMap<String, Vec<String>>, wanted: &[(&str, &[&str])]) {
    let wanted: BTreeMap<String, Vec<String>> = wanted
        .iter()
        .map(|(action, resources)| {
            let resources = resources.iter().map(|r| (*r).to_owned()).collect();
            ((*action).to_owned(), resources)
        })
        .collect();
    assert_eq!(found, wanted);
}

#[test]
fn the_function_may_do_this_and_nothing_else() {
    let mut deployment = deployment();
    deployment.inputs = vec![
        "s3://lake/reviews".parse().unwrap(),
        "s3://other".parse().unwrap(),
    ];
    deployment.model = "s3://models/m.shoal".parse().unwrap();
    expect(
        permissions(&template(&deployment), "FunctionRole"),
        &[
            (
                "s3:GetObject",
                &[
                    "arn:{Partition}:s3:::data/shoal/inputs/*",
                    "arn:{Partition}:s3:::lake/reviews/*",
                    "arn:{Partition}:s3:::other/*",
                    "arn:{Partition}:s3:::models/m.shoal",
                    "arn:{Partition}:s3:::data/shoal/runs/*",
                ],
            ),
            ("s3:PutObject", &["arn:{Partition}:s3:::data/shoal/runs/*"]),
            (
                "logs:CreateLogStream",
                &["{\"Fn::GetAtt\":[\"LogGroup\",\"Arn\"]}"],
            ),
            (
                "logs:PutLogEvents",
                &["{\"Fn::GetAtt\":[\"LogGroup\",\"Arn\"]}"],
            ),
        ],
    );
}

#[test]
fn the_state_machine_may_do_this_and_nothing_else() {
    let results = "arn:{Partition}:s3:::data/shoal/runs/*/map/*";
    let executions = "arn:{Partition}:states:{Region}:{AccountId}:execution:shoal:*";
    expect(
        permissions(&template(&deployment()), "StateMachineRole"),
        &[
            (
                "lambda:InvokeFunction",
                &["{\"Fn::GetAtt\":[\"Function\",\"Arn\"]}"],
            ),
            (
                "s3:GetObject",
                &["arn:{Partition}:s3:::data/shoal/runs/*/manifest/*", results],
            ),
            ("s3:PutObject", &[results]),
            ("s3:AbortMultipartUpload", &[results]),
            ("s3:ListMultipartUploadParts", &[results]),
            (
                "states:StartExecution",
                &["arn:{Partition}:states:{Region}:{AccountId}:stateMachine:shoal"],
            ),
            ("states:DescribeExecution", &[executions]),
            ("states:StopExecution", &[executions]),
        ],
    );
}

#[test]
fn roles_are_trusted_to_one_service_each() {
    let template = template(&deployment());
    for (role, service) in [
        ("FunctionRole", "lambda.amazonaws.com"),
        ("StateMachineRole", "states.amazonaws.com"),
    ] {
        let trust = &template["Resources"][role]["Properties"]["AssumeRolePolicyDocument"];
        let statements = trust["Statement"].as_array().unwrap();
        assert_eq!(statements.len(), 1);
        assert_eq!(statements[0]["Principal"], json!({ "Service": service }));
    }
}

#[test]
fn the_function_is_as_it_was_ordered() {
    let mut deployment = deployment();
    deployment.arch = Arch::Arm64;
    deployment.memory = 3008;
    deployment.timeout = 60;
    deployment.tmp = Some(1024);
    deployment.reserved_concurrency = Some(7);
    deployment.environment = BTreeMap::from([("RUST_LOG".into(), "debug".into())]);
    let properties = &template(&deployment)["Resources"]["Function"]["Properties"];
    for (field, value) in [
        ("FunctionName", json!("shoal")),
        ("Runtime", json!("provided.al2023")),
        ("Handler", json!("bootstrap")),
        ("Architectures", json!(["arm64"])),
        ("MemorySize", json!(3008)),
        ("Timeout", json!(60)),
        ("EphemeralStorage", json!({ "Size": 1024 })),
        ("ReservedConcurrentExecutions", json!(7)),
        (
            "Environment",
            json!({ "Variables": { "RUST_LOG": "debug" } }),
        ),
    ] {
        assert_eq!(properties[field], value, "{field}");
    }
}

#[test]
fn what_was_not_asked_for_is_not_there() {
    let mut deployment = deployment();
    deployment.state_machine = false;
    deployment.model = ModelPlace::Path("/mnt/m.shoal".into());
    let template = template(&deployment);
    let mut resources: Vec<_> = template["Resources"].as_object().unwrap().keys().collect();
    resources.sort();
    assert_eq!(resources, ["Function", "FunctionRole", "LogGroup"]);
    assert!(template["Outputs"].get(STATE_MACHINE_ARN).is_none());
    let function = &template["Resources"]["Function"]["Properties"];
    assert!(function.get("ReservedConcurrentExecutions").is_none());
    assert!(function.get("EphemeralStorage").is_none());
    assert_eq!(
        function["Environment"]["Variables"]["SHOAL_MODEL"],
        "/mnt/m.shoal"
    );
}

#[test]
fn the_template_fits_into_a_request() {
    let mut deployment = deployment();
    deployment.name = "s".repeat(64);
    deployment.environment = BTreeMap::from([("BIG".into(), "x".repeat(4000))]);
    let template = template(&deployment);
    assert!(serde_json::to_string_pretty(&template).unwrap().len() < TEMPLATE_BYTES);
    // CloudFormation takes 1024 bytes of description.
    assert!(template["Description"].as_str().unwrap().len() <= 1024);
}
