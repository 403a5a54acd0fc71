//! Checks the templates against AWS's schemas.

use std::collections::BTreeMap;
use std::process::Command;

use shoal_aws::template::template;
use shoal_aws::{Architecture, Deployment, ModelLocation};
use shoal_testing::{CFN_LINT, venv};

#[test]
fn cfn_lint_reports_nothing() {
    let minimal = Deployment {
        name: "shoal".into(),
        store: "s3://data".parse().unwrap(),
        inputs: Vec::new(),
        model: ModelLocation::Packed,
        arch: Architecture::X86,
        memory: 1769,
        timeout: 900,
        tmp: None,
        reserved_concurrency: None,
        environment: BTreeMap::new(),
        state_machine: false,
    };
    let machine = Deployment {
        state_machine: true,
        ..minimal.clone()
    };
    let maximal = Deployment {
        name: "a-Name-2".into(),
        store: "s3://data/some/folder".parse().unwrap(),
        inputs: vec!["s3://lake/reviews".parse().unwrap()],
        model: "s3://models/m.shoal".parse().unwrap(),
        arch: Architecture::Arm64,
        memory: 10_240,
        timeout: 1,
        tmp: Some(10_240),
        reserved_concurrency: Some(1000),
        environment: BTreeMap::from([("RUST_LOG".into(), "debug".into())]),
        state_machine: true,
    };
    let folder = tempfile::tempdir().unwrap();
    let lint = |name: &str, text: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        let output = Command::new(venv(CFN_LINT).join("cfn-lint"))
            .arg("--non-zero-exit-code=informational")
            .args([
                "--include-checks",
                "I",
                "--regions",
                "us-east-1",
                "--template",
            ])
            .arg(&file)
            .env("HOME", folder.path())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        (output.status.success(), text)
    };
    for (name, deployment) in [
        ("minimal", minimal),
        ("machine", machine),
        ("maximal", maximal),
    ] {
        deployment.check().unwrap();
        let text = serde_json::to_string_pretty(&template(&deployment)).unwrap();
        let (clean, findings) = lint(&format!("{name}.json"), &text);
        assert!(clean, "{name}: {findings}");
        // The linter must detect errors in the function and in the state machine's definition.
        let function = [("\"MemorySize\"", "\"Memory\"")];
        let state_machine = [(
            "\\\"OutputPath\\\":\\\"$.Payload\\\",",
            "\\\"Outputs\\\":7,",
        )];
        let state_machine = state_machine.iter().filter(|_| deployment.state_machine);
        for (right, wrong) in function.iter().chain(state_machine) {
            assert!(text.contains(right), "{name} has no {right}");
            let (clean, findings) = lint("broken.json", &text.replace(right, wrong));
            assert!(!clean, "{name} with {wrong}: {findings}");
        }
    }
}
