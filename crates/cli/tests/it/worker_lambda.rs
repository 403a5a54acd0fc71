//! The worker for AWS Lambda, with a simulated Runtime API.

use std::process::Child;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::server::{Response, Server};
use crate::support::{Bench, ManyBatches, copy_shoal, describe, summary, tiny_model};

/// A Lambda environment that runs the function.
struct Lambda {
    child: Child,
    events: Option<Sender<(Value, u64)>>,
    answers: Receiver<(String, Value)>,
    _api: Server,
}

impl Lambda {
    fn start(bench: &Bench, variables: &[(&str, &str)]) -> Self {
        let (events, waiting) = channel::<(Value, u64)>();
        let (answer, answers) = channel();
        let waiting = Mutex::new(waiting);
        let api = Server::new(move |request, _| {
            if request.path.ends_with("/invocation/next") {
                // Like the real API, holds the request until there is an event.
                let Ok((event, deadline)) = waiting.lock().unwrap().recv() else {
                    return Response::not_found();
                };
                return Response {
                    status: "200 OK",
                    headers: format!(
                        "Content-Type: application/json\r\nLambda-Runtime-Aws-Request-Id: 1\r\n\
                         Lambda-Runtime-Deadline-Ms: {deadline}\r\n\
                         Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:us-east-1:1:function:shoal\r\n\
                         Lambda-Runtime-Trace-Id: Root=1\r\n"
                    ),
                    content: serde_json::to_vec(&event).unwrap(),
                };
            }
            let content = serde_json::from_slice(&request.content).unwrap();
            // The test may no longer receive answers.
            let _ = answer.send((request.path.clone(), content));
            Response {
                status: "202 Accepted",
                headers: String::new(),
                content: Vec::new(),
            }
        });
        let child = bench
            .shoal([""; 0])
            .env(
                "AWS_LAMBDA_RUNTIME_API",
                api.url().trim_start_matches("http://"),
            )
            .env("AWS_LAMBDA_FUNCTION_NAME", "shoal")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1769")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
            .env("AWS_LAMBDA_LOG_STREAM_NAME", "2024/01/01/[1]abc")
            .env("SHOAL_CACHE_DIR", bench.path("cache"))
            .envs(variables.iter().copied())
            .stdout(std::fs::File::create(bench.path("metrics")).unwrap())
            .stderr(std::fs::File::create(bench.path("log")).unwrap())
            .spawn()
            .unwrap();
        Self {
            child,
            events: Some(events),
            answers,
            _api: api,
        }
    }

    /// The function's response to an event, or the error that it reports.
    fn call(&self, event: Value, deadline: u64) -> Result<Value, Value> {
        let events = self.events.as_ref().unwrap();
        events.send((event, deadline)).unwrap();
        let (path, content) = self.answers.recv().unwrap();
        match path.rsplit('/').next() {
            Some("response") => Ok(content),
            Some("error") => Err(content),
            _ => panic!("{path}"),
        }
    }
}

impl Drop for Lambda {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // The API stops holding the next request.
        self.events = None;
    }
}

/// A deadline in an hour.
fn later() -> u64 {
    in_ms(3_600_000)
}

/// A deadline that is closer than the time that a function reserves for writing.
fn soon() -> u64 {
    in_ms(1000)
}

fn in_ms(ms: u64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_millis() as u64 + ms
}

/// A planned run, and its invocations.
fn planned() -> (ManyBatches, Vec<Value>) {
    let job = ManyBatches::new(100, 20);
    let plan = job
        .run("run", &["--backend", "array", "--detach"])
        .output()
        .unwrap();
    assert!(plan.status.success(), "{}", describe(&plan));
    let run = job.bench.path("run");
    let invocations = job
        .bench
        .text("run/batches.jsonl")
        .lines()
        .map(|batch| {
            let batch: Value = serde_json::from_str(batch).unwrap();
            json!({ "run": run, "batch": batch, "attempt": 1 })
        })
        .collect();
    (job, invocations)
}

#[test]
fn events_are_processed_and_the_first_one_reports_the_cold_start() {
    let (job, invocations) = planned();
    let model = tiny_model();
    let lambda = Lambda::start(&job.bench, &[("SHOAL_MODEL", model.to_str().unwrap())]);
    for (index, invocation) in invocations.iter().enumerate() {
        let reply = lambda.call(invocation.clone(), later()).unwrap();
        let receipt = &reply["receipt"];
        assert_eq!(receipt["batch"], index);
        assert_eq!(receipt["cold"], index == 0);
        assert_eq!(
            receipt["timings"]["init"].as_f64().unwrap() > 0.0,
            index == 0
        );
        assert!(receipt["environment"].as_str().unwrap().contains("[1]abc"));
        assert_eq!(reply["again"], Value::Null);
    }
    let mut missing = invocations[0].clone();
    missing["run"] = json!("/nowhere");
    lambda.call(missing, later()).unwrap_err();
    drop(lambda);
    // Each event has one line of metrics and one log line.
    let metrics = crate::logs::objects(&job.bench.read("metrics"));
    let records: Vec<_> = metrics
        .iter()
        .map(|line| line["Records"].as_u64())
        .collect();
    let expected: Vec<_> = [20, 20, 20, 20, 20, 2]
        .map(Some)
        .into_iter()
        .chain([None])
        .collect();
    assert_eq!(records, expected);
    for (index, line) in metrics.iter().enumerate() {
        assert_eq!(
            (&line["function"], &line["version"]),
            (&json!("shoal"), &json!("1"))
        );
        assert_eq!(line["InitMs"].is_number(), index == 0, "{line}");
        assert_eq!(line["_aws"]["CloudWatchMetrics"][0]["Namespace"], "shoal");
    }
    let log = crate::logs::lines(&job.bench.read("log"));
    let outcome = |line: &Value| line["fields"]["outcome"].as_str().map(str::to_owned);
    let outcomes: Vec<_> = log.iter().filter_map(outcome).collect();
    assert_eq!(
        outcomes,
        ["done", "done", "done", "done", "done", "done", "storage"]
    );
    let done = summary(job.bench.shoal(["resume", "run", "--json", "--quiet"]));
    assert_eq!(done["reused_batches"], 6);
    job.check("run");
}

#[test]
fn failures_are_reported_by_type_and_the_next_event_is_processed() {
    let (job, invocations) = planned();
    let lambda = Lambda::start(&job.bench, &[]);
    let with = |name: &str, value: Value| {
        let mut invocation = invocations[0].clone();
        invocation[name] = value;
        invocation
    };
    let mut beyond = invocations[0].clone();
    beyond["batch"]["offset"] = json!(20);
    for (event, deadline, error_type) in [
        (json!({ "hello": "world" }), later(), "Shoal.Refused"),
        (beyond, later(), "Shoal.Input"),
        (with("run", json!("/nowhere")), later(), "Shoal.Storage"),
        (invocations[0].clone(), soon(), "Shoal.TimedOut"),
    ] {
        let error = lambda.call(event, deadline).unwrap_err();
        assert_eq!(error["errorType"], error_type, "{error}");
        assert!(
            error["errorMessage"]
                .as_str()
                .unwrap()
                .contains("failed to"),
            "{error}"
        );
    }
    // The function opens the model of the job when it is first needed.
    let reply = lambda.call(invocations[0].clone(), later()).unwrap();
    assert_eq!(reply["receipt"]["records"], 20);
}

#[test]
fn requests_to_the_function_url_get_http_responses() {
    let (job, invocations) = planned();
    let lambda = Lambda::start(&job.bench, &[("SHOAL_TOKEN", "s3cret")]);
    let request = |token: &str| {
        let event = json!({
            "version": "2.0",
            "requestContext": { "http": { "method": "POST", "path": "/" } },
            "headers": { "authorization": format!("Bearer {token}") },
            "body": invocations[0].to_string(),
            "isBase64Encoded": false,
        });
        let answer = lambda.call(event, later()).unwrap();
        let body: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
        (answer["statusCode"].as_u64().unwrap(), body)
    };
    let (status, body) = request("wrong");
    assert_eq!((status, &body["failure"]["kind"]), (401, &json!("refused")));
    let (status, body) = request("s3cret");
    assert_eq!((status, &body["receipt"]["records"]), (200, &json!(20)));
}

#[test]
fn running_the_bootstrap_outside_lambda_is_an_error() {
    let bench = Bench::new();
    let bootstrap = bench.path("bootstrap");
    copy_shoal(&bootstrap);
    let output = std::process::Command::new(bootstrap)
        .env_clear()
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", describe(&output));
    assert!(describe(&output).contains("AWS_LAMBDA_RUNTIME_API"));
}
