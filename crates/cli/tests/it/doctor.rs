//! `shoal doctor`: checks that pass, and checks that must fail.

use std::process::Command;

use serde_json::Value;

use crate::server::{Response, Server};
use crate::support::{Bench, describe, tiny_model};

/// Runs the doctor and returns the exit code and the checks.
pub(crate) fn look(command: &mut Command) -> (i32, Vec<Value>) {
    let output = command.arg("--json").output().unwrap();
    let code = output.status.code().unwrap();
    let diagnosis: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}", describe(&output)));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr).contains("checks failed"),
        code != 0
    );
    let checks = diagnosis["checks"].as_array().unwrap().clone();
    for check in &checks {
        // Every warning and failure says how to fix it.
        let is_well = check["finding"] == "ok";
        assert_eq!(check["fix"].is_null(), is_well, "{check}");
    }
    (code, checks)
}

/// The checks with this finding, as subject and name.
pub(crate) fn with(checks: &[Value], finding: &str) -> Vec<String> {
    let those = checks.iter().filter(|check| check["finding"] == finding);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    those
        .map(|check| format!("{}: {}", text(&check["about"]), text(&check["name"])))
        .collect()
}

#[test]
fn checks_pass_and_change_nothing() {
    let bench = Bench::new();
    bench.write("reviews.csv", "id,text\n1,good\n");
    let model = tiny_model();
    let mut doctor = bench.shoal(["doctor", "reviews.csv", "-o", "labels.csv", "--model"]);
    let (code, checks) = look(doctor.arg(&model).args(["--run-dir", "runs/mine"]));
    assert_eq!((code, with(&checks, "failed")), (0, vec![]));
    for name in [
        "machine: cores",
        "machine: cache",
        "input: reviews.csv",
        "run directory: disk",
    ] {
        assert!(with(&checks, "ok").contains(&name.to_owned()), "{name}");
    }
    assert!(!bench.path("runs").exists() && !bench.path("labels.csv").exists());
    // The text output has the same checks, and with `--quiet` only the failed ones.
    let printed = bench.ok(["doctor", "reviews.csv"]).stdout;
    let printed = String::from_utf8(printed).unwrap();
    assert!(
        printed.contains("1 file, 15 B; the text is in column \"text\""),
        "{printed}"
    );
    assert!(bench.ok(["doctor", "--quiet"]).stdout.is_empty());
}

#[test]
fn missing_requirements_are_reported_with_their_exit_code() {
    let bench = Bench::new();
    bench.write("reviews.csv", "id,text\n1,good\n");
    bench.write("file", "");
    for (arguments, code, failed) in [
        (
            ["missing.csv", "--batch-size", "7"],
            3,
            "input: missing.csv",
        ),
        (
            ["reviews.csv", "--text-column", "body"],
            3,
            "input: reviews.csv",
        ),
        (
            ["reviews.csv", "--model", "./nowhere"],
            4,
            "model: ./nowhere",
        ),
        (
            ["reviews.csv", "--run-dir", "file/below"],
            5,
            "run directory: file/below",
        ),
        (
            ["reviews.csv", "--output", "nowhere/out.csv"],
            5,
            "output: nowhere/out.csv",
        ),
        (["reviews.csv", "--function", "f"], 2, "settings: options"),
        // Lambda functions cannot read local files.
        (
            ["reviews.csv", "--backend", "lambda"],
            2,
            "settings: options",
        ),
    ] {
        let mut doctor = bench.shoal(["doctor"]);
        doctor
            .args(arguments)
            .env("AWS_EC2_METADATA_DISABLED", "true");
        let (found, checks) = look(&mut doctor);
        assert_eq!(found, code, "{arguments:?}: {checks:?}");
        let all = with(&checks, "failed");
        assert!(all.contains(&failed.to_owned()), "{arguments:?}: {all:?}");
    }
}

#[test]
fn an_unsuitable_store_is_reported() {
    let bench = Bench::new();
    // This store ignores the precondition of create-only writes.
    let faulty = Server::new(|request, _| {
        let (status, content) = match request.method.as_str() {
            "GET" if request.path.contains("list-type") => {
                let key = request.path.split("prefix=").nth(1).unwrap_or_default();
                let key = key.split('&').next().unwrap().replace("%2F", "/");
                let list = format!(
                    "<ListBucketResult><Name>lake</Name><Prefix></Prefix><KeyCount>1</KeyCount><MaxKeys>9</MaxKeys>\
                     <IsTruncated>false</IsTruncated><Contents><Key>{key}probe</Key>\
                     <LastModified>2024-01-01T00:00:00.000Z</LastModified><ETag>\"1\"</ETag><Size>6</Size></Contents>\
                     </ListBucketResult>"
                );
                ("200 OK", list.into_bytes())
            }
            "GET" => ("200 OK", b"shoal\n".to_vec()),
            "DELETE" => ("204 No Content", Vec::new()),
            _ => ("200 OK", Vec::new()),
        };
        Response {
            status,
            headers: "ETag: \"1\"\r\nLast-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\n".into(),
            content,
        }
    });
    let mut doctor = bench.shoal(["doctor", "--store", "s3://lake/shoal"]);
    doctor
        .env("AWS_ENDPOINT_URL", faulty.url())
        .env("AWS_ACCESS_KEY_ID", "key")
        .env("AWS_SECRET_ACCESS_KEY", "secret")
        .env("AWS_REGION", "us-east-1");
    let (code, checks) = look(&mut doctor);
    // Its clock does not advance either.
    let failed = with(&checks, "failed");
    assert_eq!(
        failed,
        ["store: create-only put", "store: clock"],
        "{checks:?}"
    );
    assert_eq!(code, 5);
    assert!(
        with(&checks, "ok").contains(&"store: list".to_owned()),
        "{checks:?}"
    );
}
