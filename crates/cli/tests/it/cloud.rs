//! End-to-end runs on AWS APIs, from an empty account to the collected output: the real zip file, `bootstrap` and SDKs,
//! against an emulator on the loopback interface.

use std::process::Command;

use serde_json::Value;
use shoal_testing::Ministack;

use crate::support::{Bench, describe, jsonl, tiny};

/// The only instruction set in the packed model, so that results do not depend on the CPU of the function.
pub(crate) const ISA: &str = "portable";
pub(crate) const STORE: &str = "s3://lake/shoal";

/// An account with a function, and with a state machine if requested.
pub(crate) struct Account {
    pub(crate) bench: Bench,
    pub(crate) cloud: Ministack,
}

impl Account {
    pub(crate) fn new(deploy: &[&str]) -> Self {
        let account = Self {
            bench: Bench::new(),
            cloud: Ministack::start(),
        };
        account
            .cloud
            .python("import boto3; boto3.client('s3').create_bucket(Bucket='lake')");
        let model = tiny();
        let endpoint = format!("AWS_ENDPOINT_URL={}", account.cloud.endpoint());
        let mut args = vec![
            "deploy", "aws", "--store", STORE, "--model", &model, "--isa", ISA,
        ];
        args.extend(["--env", &endpoint, "--env", "AWS_ALLOW_HTTP=true"]);
        args.extend(deploy);
        account.ok(&args);
        account
    }

    fn shoal(&self, args: &[&str]) -> Command {
        let mut command = self.bench.shoal(args);
        command.envs(self.cloud.variables());
        command
    }

    fn ok(&self, args: &[&str]) -> std::process::Output {
        let output = self.shoal(args).output().unwrap();
        assert!(
            output.status.success(),
            "{args:?}: {}\n{}",
            describe(&output),
            self.cloud.log()
        );
        output
    }

    /// Runs `reviews.jsonl` and returns the summary.
    fn run(&self, output: &str, batch_size: &str, args: &[&str]) -> Value {
        let model = tiny();
        let mut all = vec!["run", "reviews.jsonl", "-o", output, "--model", &model];
        all.extend([
            "--precision",
            "int8",
            "--isa",
            ISA,
            "--batch-size",
            batch_size,
            "--json",
            "--quiet",
        ]);
        all.extend(args);
        serde_json::from_slice(&self.ok(&all).stdout).unwrap()
    }

    /// The keys in the bucket that start with `prefix`.
    fn keys(&self, prefix: &str) -> Vec<String> {
        let program = format!(
            "import boto3\nfor page in boto3.client('s3').get_paginator('list_objects_v2').paginate(Bucket='lake', \
             Prefix='{prefix}'):\n  for item in page.get('Contents', []): print(item['Key'])"
        );
        self.cloud
            .python(&program)
            .lines()
            .map(str::to_owned)
            .collect()
    }
}

#[test]
fn cloud_functions_write_the_same_bytes_as_this_machine() {
    let account = Account::new(&["--state-machine"]);
    account.bench.write("reviews.jsonl", jsonl(2000));
    for size in ["50", "333", "1000"] {
        account.run(&format!("local-{size}.csv"), size, &[]);
        let expected = account.bench.text(&format!("local-{size}.csv"));
        for backend in ["lambda", "step-functions"] {
            let output = format!("{backend}-{size}.csv");
            let summary = account.run(
                &output,
                size,
                &["--backend", backend, "--store", STORE, "--concurrency", "4"],
            );
            assert_eq!(summary["records"], 2000, "{backend} {size}");
            assert_eq!(summary["isa"], serde_json::json!([ISA]), "{backend} {size}");
            assert_eq!(account.bench.text(&output), expected, "{backend} {size}");
            // The same command reuses all batches.
            let again = account.run(&output, size, &["--backend", backend, "--store", STORE]);
            assert_eq!(again["reused_records"], 2000, "{backend} {size}");
        }
    }
    // The input of all six runs was copied once.
    assert_eq!(account.keys("shoal/inputs/").len(), 1);
    account.ok(&["destroy", "aws", "--store", STORE, "--yes"]);
    assert_eq!(account.keys("shoal/deploy/"), Vec::<String>::new());
    let message = {
        let output = account
            .shoal(&[
                "run",
                "reviews.jsonl",
                "-o",
                "gone.csv",
                "--store",
                STORE,
                "--backend",
                "lambda",
                "--isa",
                ISA,
            ])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(8), "{}", describe(&output));
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(message.contains("function shoal"), "{message}");
}

/// This machine has a price at which functions are cheaper.
#[test]
fn a_plan_chooses_the_backend_of_a_run_and_needs_consent() {
    let account = Account::new(&[]);
    account.bench.write("reviews.jsonl", jsonl(200));
    let model = tiny();
    let job = [
        "run",
        "reviews.jsonl",
        "--model",
        model,
        "--precision",
        "int8",
        "--isa",
        ISA,
    ];
    let auto = [
        "-o",
        "auto.csv",
        "--store",
        STORE,
        "--auto",
        "--machine",
        "desk=1000000:1",
    ];
    let auto = [&job[..], &auto].concat();
    let refused = account.shoal(&auto).output().unwrap();
    assert_eq!(refused.status.code(), Some(2), "{}", describe(&refused));
    let message = String::from_utf8(refused.stderr).unwrap();
    assert!(
        message.contains("chose the backend lambda") && message.contains("--yes"),
        "{message}"
    );
    assert!(!account.bench.path("auto.csv").exists());
    let agreed = [&auto[..], &["--yes", "--json"]].concat();
    let summary: Value = serde_json::from_slice(&account.ok(&agreed).stdout).unwrap();
    account.ok(&[&job[..], &["-o", "plain.csv"]].concat());
    assert_eq!(
        account.bench.text("auto.csv"),
        account.bench.text("plain.csv")
    );
    let run = summary["run_dir"].as_str().unwrap();
    let report = account.ok(&["report", run, "--format", "markdown"]).stdout;
    let report = String::from_utf8(report).unwrap();
    assert!(report.contains("--backend lambda"), "{report}");
    assert!(!report.contains("--machine"), "{report}");
    // The same command resumes the run where it ran, without another plan.
    let again = account.ok(&auto);
    let message = String::from_utf8(again.stderr).unwrap();
    assert!(message.contains("on lambda"), "{message}");
}

#[test]
fn doctor_reports_existing_and_missing_resources() {
    use crate::doctor::{look, with};

    let account = Account::new(&["--state-machine", "--timeout", "60"]);
    let doctor = |arguments: &[&str]| {
        let all = ["doctor", "--isa", ISA, "--yes"].iter().chain(arguments);
        look(&mut account.shoal(&all.copied().collect::<Vec<_>>()))
    };
    let lambda = [
        "--backend",
        "lambda",
        "--store",
        STORE,
        "--concurrency",
        "2",
    ];
    let (code, checks) = doctor(&lambda);
    assert_eq!((code, with(&checks, "failed")), (0, vec![]), "{checks:?}");
    let well = with(&checks, "ok");
    for name in [
        "store: write",
        "store: create-only put",
        "store: read",
        "store: list",
        "store: delete",
        "store: clock",
        "aws: credentials",
        "aws: function shoal",
        "aws: version",
        "aws: permission",
        "aws: concurrency",
    ] {
        assert!(well.contains(&name.to_owned()), "{name}: {checks:?}");
    }
    assert_eq!(account.keys("shoal/runs/"), [""; 0]);
    let (code, checks) = doctor(&[lambda.as_slice(), &["--timeout", "61"]].concat());
    assert_eq!(
        (code, with(&checks, "warning")),
        (0, vec!["aws: timeout".into()])
    );
    let machine = [
        "--backend",
        "step-functions",
        "--store",
        STORE,
        "--concurrency",
        "2",
    ];
    let (code, checks) = doctor(&machine);
    assert_eq!(code, 0, "{checks:?}");
    assert!(
        with(&checks, "ok").contains(&"aws: state machine".to_owned()),
        "{checks:?}"
    );
    for (change, code, failed) in [
        (["--function", "absent"], 8, "aws: function absent"),
        (["--store", "s3://nowhere/shoal"], 5, "store: write"),
    ] {
        let arguments = ["--backend", "lambda"].iter().chain(&change);
        let mut arguments: Vec<_> = arguments.copied().collect();
        if !arguments.contains(&"--store") {
            arguments.extend(["--store", STORE]);
        }
        let (found, checks) = doctor(&arguments);
        assert_eq!(
            (found, with(&checks, "failed")),
            (code, vec![failed.to_owned()]),
            "{checks:?}"
        );
    }
    let (code, checks) = doctor(&[machine.as_slice(), &["--state-machine", "absent"]].concat());
    assert_eq!(
        (code, with(&checks, "failed")),
        (8, vec!["aws: state machine".to_owned()])
    );
    // All calls are throttled.
    account.cloud.python(
        "import boto3\nboto3.client('lambda').put_function_concurrency(FunctionName='shoal', ReservedConcurrentExecutions=0)",
    );
    let (code, checks) = doctor(&lambda);
    assert_eq!(
        (code, with(&checks, "failed")),
        (8, vec!["aws: concurrency".to_owned()]),
        "{checks:?}"
    );
}

#[test]
fn a_detached_run_can_be_resumed() {
    let account = Account::new(&["--state-machine"]);
    account.bench.write("reviews.jsonl", jsonl(300));
    account.run("here.csv", "20", &[]);
    let model = tiny();
    let run = format!("{STORE}/runs/mine");
    let mut start = vec!["run", "reviews.jsonl", "-o", "there.csv", "--model", &model];
    start.extend([
        "--precision",
        "int8",
        "--isa",
        ISA,
        "--batch-size",
        "20",
        "--run-dir",
        &run,
    ]);
    start.extend(["--backend", "step-functions", "--detach"]);
    let left = account.ok(&start);
    let printed = String::from_utf8(left.stderr).unwrap();
    assert!(
        printed.contains("left to") || printed.contains("to the platform"),
        "{printed}"
    );
    let status = account.ok(&["status", &run, "--json"]);
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["records"], 300);
    assert!(
        ["RUNNING", "SUCCEEDED"].contains(&status["platform"]["status"].as_str().unwrap()),
        "{status}"
    );
    // `resume` waits for the running execution and starts no other one.
    account.ok(&["resume", &run, "--isa", ISA, "--quiet"]);
    assert_eq!(
        account.bench.text("there.csv"),
        account.bench.text("here.csv")
    );
    assert_eq!(account.keys("shoal/runs/mine/manifest/").len(), 1);
    account.ok(&["collect", &run, "-o", "again.csv", "--quiet"]);
    assert_eq!(
        account.bench.text("again.csv"),
        account.bench.text("here.csv")
    );
    // Only batches with a lost part or receipt are processed again.
    account.cloud.python(
        "import boto3\ns3 = boto3.client('s3')\nfor name in ['receipts/00000003.json', 'parts/00000007.csv']:\n  \
         s3.delete_object(Bucket='lake', Key='shoal/runs/mine/' + name)",
    );
    let output = account
        .shoal(&["collect", &run, "-o", "less.csv"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(6), "{}", describe(&output));
    assert!(String::from_utf8_lossy(&output.stderr).contains("2 of 15 batches"));
    account.ok(&["resume", &run, "--isa", ISA, "--quiet"]);
    assert_eq!(
        account.bench.text("there.csv"),
        account.bench.text("here.csv")
    );
    let lines = account.cloud.python(
        "import boto3\ns3 = boto3.client('s3')\nfound = s3.list_objects_v2(Bucket='lake', Prefix='shoal/runs/mine/manifest/')\n\
         for item in found['Contents']:\n  print(len(s3.get_object(Bucket='lake', Key=item['Key'])['Body'].read().splitlines()))",
    );
    assert_eq!(lines.lines().next(), Some("15"));
    assert_eq!(
        lines
            .lines()
            .skip(1)
            .map(|n| n.parse::<u32>().unwrap())
            .sum::<u32>(),
        2
    );
    account.ok(&["runs", "--remove", &run]);
    assert_eq!(account.keys("shoal/runs/mine/"), Vec::<String>::new());
}

#[test]
fn throttled_calls_are_retried() {
    let account = Account::new(&["--reserved-concurrency", "2"]);
    account.bench.write("reviews.jsonl", jsonl(200));
    account.run("here.csv", "10", &[]);
    let summary = account.run(
        "there.csv",
        "10",
        &[
            "--backend",
            "lambda",
            "--store",
            STORE,
            "--concurrency",
            "20",
        ],
    );
    assert_eq!(summary["batches"], 20);
    assert_eq!(
        account.bench.text("there.csv"),
        account.bench.text("here.csv")
    );
}

/// The calls in flight never cost more than the limit together, and finished batches are kept.
#[test]
fn the_cost_of_a_call_is_reserved_before_it_is_made() {
    let account = Account::new(&["--memory", "1024"]);
    account.bench.write("reviews.jsonl", jsonl(200));
    account.run("here.csv", "10", &[]);
    let model = tiny();
    let run = format!("{STORE}/runs/capped");
    let mut command = vec!["run", "reviews.jsonl", "-o", "there.csv", "--model", &model];
    command.extend(["--precision", "int8", "--isa", ISA, "--batch-size", "10"]);
    command.extend([
        "--run-dir",
        &run,
        "--backend",
        "lambda",
        "--concurrency",
        "4",
    ]);
    command.extend(["--timeout", "30", "--max-cost"]);
    // A call may take 30 s plus a grace period and a cold start: 43 s at 1 GB cost about $0.00072.
    let below_one = account
        .shoal(&[&command[..], &["0.0005"]].concat())
        .output()
        .unwrap();
    assert_eq!(below_one.status.code(), Some(9), "{}", describe(&below_one));
    let printed = String::from_utf8_lossy(&below_one.stderr).into_owned();
    assert!(
        printed.contains("--max-cost") && printed.contains("20 batches"),
        "{printed}"
    );
    assert_eq!(account.keys("shoal/runs/capped/receipts/").len(), 0);
    // The limit covers one call at a time, until too little is left for another one.
    let some = account
        .shoal(&[&command[..], &["0.00078"]].concat())
        .output()
        .unwrap();
    assert_eq!(some.status.code(), Some(9), "{}", describe(&some));
    let done = account.keys("shoal/runs/capped/receipts/").len();
    assert!((1..20).contains(&done), "{done}: {}", describe(&some));
    let whole = account.ok(&[&command[..], &["1", "--json"]].concat());
    let summary: Value = serde_json::from_slice(&whole.stdout).unwrap();
    assert_eq!(
        account.bench.text("there.csv"),
        account.bench.text("here.csv")
    );
    let names: Vec<_> = summary["cost"]["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["name"].as_str().unwrap().to_owned())
        .collect();
    assert!(
        names.contains(&"compute".to_owned()) && names.contains(&"requests".to_owned()),
        "{names:?}"
    );
    assert_eq!(account.keys("shoal/runs/capped/report.html").len(), 1);
}
