//! Runs the state machine on a local AWS emulator, with a function that does what each line of the manifest says.

use serde_json::{Value, json};
use shoal_aws::state_machine::{Children, Input, definition};
use shoal_testing::Ministack;

/// A function that uses Lambda's runtime API and logs each invocation.
const BOOTSTRAP: &str = r#"#!/usr/bin/env python3
import json, os, urllib.request
api = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/"
def post(path, body, headers={}):
    urllib.request.urlopen(urllib.request.Request(api + path, json.dumps(body).encode(), headers)).read()
while True:
    with urllib.request.urlopen(api + "next") as answer:
        request = answer.headers["Lambda-Runtime-Aws-Request-Id"]
        invocation = json.load(answer)
    with open(os.environ["NOTES"], "a") as notes:
        notes.write(json.dumps(invocation) + "\n")
    ask = invocation["batch"]["ask"]
    if ask.startswith("Shoal."):
        post(request + "/error", {"errorType": ask, "errorMessage": "as asked"},
             {"Lambda-Runtime-Function-Error-Type": ask})
    else:
        again = dict(invocation, batch=dict(invocation["batch"], ask="finish")) if ask == "stop" else None
        post(request + "/response", {"receipt": {"batch": invocation["batch"]["index"]}, "again": again})
"#;

const DRIVER: &str = r#"
import boto3, io, json, time, zipfile
order = json.loads(ORDER)
c = boto3.client
archive = io.BytesIO()
with zipfile.ZipFile(archive, "w") as z:
    info = zipfile.ZipInfo("bootstrap")
    info.external_attr = 0o755 << 16
    z.writestr(info, order["bootstrap"])
c("lambda").create_function(FunctionName="f", Runtime="provided.al2023", Handler="bootstrap", Timeout=60,
    Role="arn:aws:iam::000000000000:role/r", Code={"ZipFile": archive.getvalue()},
    Environment={"Variables": {"NOTES": order["notes"], "PATH": order["path"]}})
c("s3").create_bucket(Bucket="data")
c("s3").put_object(Bucket="data", Key="runs/r/manifest/1.jsonl", Body=order["manifest"].encode())
sfn = c("stepfunctions")
machine = sfn.create_state_machine(name="m", definition=order["definition"],
    roleArn="arn:aws:iam::000000000000:role/r")["stateMachineArn"]
execution = sfn.start_execution(stateMachineArn=machine, input=order["input"])["executionArn"]
while (end := sfn.describe_execution(executionArn=execution))["status"] == "RUNNING":
    time.sleep(0.05)
runs = sfn.list_map_runs(executionArn=execution)["mapRuns"]
counts = [sfn.describe_map_run(mapRunArn=r["mapRunArn"])["itemCounts"] for r in runs]
print(json.dumps({"status": end["status"], "output": end.get("output"), "error": end.get("error"),
    "cause": end.get("cause"), "counts": counts}))
"#;

/// Runs a manifest with one line for each of `asks`. Returns the result and all invocations.
fn run(children: Children, asks: &[&str]) -> (Value, Vec<Value>) {
    let server = Ministack::start();
    let folder = tempfile::tempdir().unwrap();
    let notes = folder.path().join("notes");
    let manifest: String = asks
        .iter()
        .enumerate()
        .map(|(index, ask)| {
            let batch = json!({ "index": index, "ask": ask });
            format!(
                "{}\n",
                json!({ "run": "s3://data/runs/r", "batch": batch, "attempt": 1 })
            )
        })
        .collect();
    let input = Input {
        bucket: "data".into(),
        manifest: "runs/r/manifest/1.jsonl".into(),
        results: "runs/r/map/1".into(),
        children,
        concurrency: 2,
        tolerated: 100.0,
    };
    input.check().unwrap();
    let order = json!({
        "bootstrap": BOOTSTRAP,
        "notes": notes,
        "path": std::env::var("PATH").unwrap(),
        "manifest": manifest,
        "definition": definition("arn:aws:lambda:us-east-1:000000000000:function:f", 60).to_string(),
        "input": input.json(),
    });
    // A JSON string literal is also a Python string literal.
    let order = Value::from(order.to_string()).to_string();
    let end = server.python(&format!("ORDER = {order}\n{DRIVER}"));
    let notes = std::fs::read_to_string(notes).unwrap();
    let invocations = notes.lines().map(|l| serde_json::from_str(l).unwrap());
    (serde_json::from_str(&end).unwrap(), invocations.collect())
}

fn count(invocations: &[Value], index: usize) -> usize {
    let of = |i: &&Value| i["batch"]["index"] == index;
    invocations.iter().filter(of).count()
}

#[test]
fn every_line_is_one_invocation_and_partial_batches_continue() {
    for children in [Children::Standard, Children::Express] {
        let (end, invocations) = run(children, &["finish", "stop", "finish"]);
        assert_eq!(end["status"], "SUCCEEDED", "{end}");
        assert_eq!(end["counts"][0]["succeeded"], 3, "{end}");
        // The map's output contains no receipts.
        assert!(
            !end["output"].as_str().unwrap().contains("receipt"),
            "{end}"
        );
        let counts = [0, 1, 2].map(|index| count(&invocations, index));
        assert_eq!(counts, [1, 2, 1], "{invocations:?}");
        let whole = |i: &Value| i["run"] == "s3://data/runs/r" && i["attempt"] == 1;
        assert!(invocations.iter().all(whole), "{invocations:?}");
    }
}

#[test]
fn transient_errors_get_two_more_attempts() {
    let asks = [
        "Shoal.Retryable",
        "Shoal.Input",
        "Shoal.Storage",
        "Shoal.Model",
        "finish",
    ];
    let (end, invocations) = run(Children::Express, &asks);
    let counts: Vec<_> = (0..asks.len()).map(|i| count(&invocations, i)).collect();
    assert_eq!(counts, [3, 1, 1, 1, 1], "{end}");
    assert_eq!(end["counts"][0]["failed"], 4, "{end}");
    assert_eq!(end["counts"][0]["succeeded"], 1, "{end}");
}
