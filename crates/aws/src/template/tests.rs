use std::collections::BTreeMap;

use super::*;
use crate::settings::tests::deployment;
use crate::{Architecture, ModelLocation};

/// The permissions of a role: action → resources, each as text. A role with permissions outside its inline policy counts
/// as unrestricted.
fn permissions(template: &Value, role: &str) -> BTreeMap<String, Vec<String>> {
    let unrestricted = || BTreeMap::from([("*".to_owned(), vec!["*".to_owned()])]);
    let mut grants = template["Resources"].as_object().unwrap().values();
    let known = [
        "AWS::IAM::Role",
        "AWS::Lambda::Function",
        "AWS::Logs::LogGroup",
    ];
    let is_known = |resource: &Value| {
        let kind = resource["Type"].as_str().unwrap();
        known.contains(&kind) || kind == "AWS::StepFunctions::StateMachine"
    };
    let properties = template["Resources"][role]["Properties"]
        .as_object()
        .unwrap();
    let names: Vec<_> = properties.keys().collect();
    if !grants.all(is_known) || names != ["AssumeRolePolicyDocument", "Policies"] {
        return unrestricted();
    }
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for policy in properties["Policies"].as_array().unwrap() {
        for statement in policy["PolicyDocument"]["Statement"].as_array().unwrap() {
            let names: Vec<_> = statement.as_object().unwrap().keys().collect();
            let lists = (
                statement["Action"].as_array(),
                statement["Resource"].as_array(),
            );
            let (["Action", "Effect", "Resource", "Sid"], (Some(actions), Some(resources))) = (
                names
                    .iter()
                    .map(|name| name.as_str())
                    .collect::<Vec<_>>()
                    .as_slice(),
                lists,
            ) else {
                return unrestricted();
            };
            assert_eq!(statement["Effect"], "Allow");
            for action in actions {
                let resources = resources.iter().map(|r| match r["Fn::Sub"].as_str() {
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

/// Checks `permissions` itself, which the tests below rely on.
#[test]
fn added_permissions_are_detected() {
    let template = template(&deployment());
    for role in ["FunctionRole", "StateMachineRole"] {
        let before = permissions(&template, role);
        let everything =
            json!({ "Sid": "All", "Effect": "Allow", "Action": ["*"], "Resource": ["*"] });
        let nothing_but = json!({ "Effect": "Allow", "NotAction": ["iam:*"], "Resource": "*" });
        let add: [&dyn Fn(&mut Value); 8] = [
            &|role| {
                role["Policies"][0]["PolicyDocument"]["Statement"][0]["Action"][0] = json!("s3:*")
            },
            &|role| {
                push(
                    &mut role["Policies"][0]["PolicyDocument"]["Statement"][0]["Action"],
                    json!("s3:DeleteObject"),
                )
            },
            &|role| {
                push(
                    &mut role["Policies"][0]["PolicyDocument"]["Statement"][0]["Resource"],
                    json!("*"),
                )
            },
            &|role| role["Policies"][0]["PolicyDocument"]["Statement"][0]["Resource"] = json!("*"),
            &|role| {
                push(
                    &mut role["Policies"][0]["PolicyDocument"]["Statement"],
                    everything.clone(),
                )
            },
            &|role| {
                push(
                    &mut role["Policies"][0]["PolicyDocument"]["Statement"],
                    nothing_but.clone(),
                )
            },
            &|role| {
                let document =
                    json!({ "Version": "2012-10-17", "Statement": [everything.clone()] });
                push(
                    &mut role["Policies"],
                    json!({ "PolicyName": "more", "PolicyDocument": document }),
                );
            },
            &|role| {
                role["ManagedPolicyArns"] = json!(["arn:aws:iam::aws:policy/AdministratorAccess"])
            },
        ];
        for (number, add) in add.iter().enumerate() {
            let mut more = template.clone();
            add(&mut more["Resources"][role]["Properties"]);
            assert_ne!(permissions(&more, role), before, "{role}, {number}");
        }
        let mut more = template.clone();
        more["Resources"]["More"] = json!({ "Type": "AWS::IAM::Policy" });
        assert_ne!(permissions(&more, role), before, "{role}");
    }
}

fn push(list: &mut Value, item: Value) {
    list.as_array_mut().unwrap().push(item);
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
fn the_function_role_has_exactly_these_permissions() {
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
fn the_state_machine_role_has_exactly_these_permissions() {
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
fn each_role_trusts_one_service() {
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
fn the_function_has_the_settings_of_the_deployment() {
    let mut deployment = deployment();
    deployment.arch = Architecture::Arm64;
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
fn optional_resources_and_properties_are_omitted() {
    let mut deployment = deployment();
    deployment.state_machine = false;
    deployment.model = ModelLocation::Path("/mnt/m.shoal".into());
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
    // CloudFormation allows 1024 bytes for the description.
    assert!(template["Description"].as_str().unwrap().len() <= 1024);
}
