//! Secrets stay in the environment: no message, log, file or report contains one, whether the command succeeds or fails.

use std::path::Path;
use std::process::Command;

use crate::server::{Response, Server};
use crate::support::{ManyBatches, describe};
use crate::worker_http::{LISTEN, Worker};

/// A substring of every secret.
const MARK: &str = "m4rk3d";

const SECRETS: [(&str, &str); 5] = [
    ("SHOAL_TOKEN", "m4rk3d-token"),
    ("AWS_SECRET_ACCESS_KEY", "m4rk3d-secret-key"),
    ("AWS_SESSION_TOKEN", "m4rk3d-session"),
    ("HF_TOKEN", "m4rk3d-hub"),
    (
        "OTEL_EXPORTER_OTLP_HEADERS",
        "authorization=Bearer%20m4rk3d",
    ),
];

/// Commands with secrets in their environment, and their output.
struct Watched {
    job: ManyBatches,
    printed: Vec<(String, String)>,
}

impl Watched {
    fn new() -> Self {
        Self {
            job: ManyBatches::new(100, 20),
            printed: Vec::new(),
        }
    }

    /// Runs `command` with all secrets and the most verbose log. It must exit with `code`.
    fn run(&mut self, command: &mut Command, code: i32) {
        command
            .envs(SECRETS)
            .env("AWS_ACCESS_KEY_ID", "key")
            .env("AWS_REGION", "us-east-1")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_MAX_ATTEMPTS", "1")
            .args(["--log-format", "json", "--log-level", "trace"]);
        let output = command.output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(code),
            "{command:?}: {}",
            describe(&output)
        );
        self.printed
            .push((format!("{:?}", command.get_args()), describe(&output)));
    }

    /// The command `run` of the job, with its options.
    fn job(&mut self, name: &str, options: &[&str], code: i32) {
        let mut command = self.job.run(name, options);
        self.run(&mut command, code);
    }

    fn shoal(&mut self, arguments: &[&str], code: i32) {
        let mut command = self.job.bench.shoal(arguments);
        self.run(&mut command, code);
    }

    /// No output and no file contains a secret.
    fn check(&self) {
        for (command, printed) in &self.printed {
            assert!(!printed.contains(MARK), "{command}: {printed}");
        }
        let mut files = 0;
        each_file(&self.job.bench.path("."), &mut |path, content| {
            files += 1;
            let is_there = content
                .windows(MARK.len())
                .any(|part| part == MARK.as_bytes());
            assert!(!is_there, "{} contains a secret", path.display());
        });
        assert!(files > 0);
    }
}

fn each_file(folder: &Path, see: &mut dyn FnMut(&Path, &[u8])) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            each_file(&path, see);
        } else {
            see(&path, &std::fs::read(&path).unwrap());
        }
    }
}

#[test]
fn secrets_of_workers_and_hubs_are_not_disclosed() {
    let mut watched = Watched::new();
    let log = watched.job.bench.path("worker.log");
    let mut worker = watched.job.bench.shoal(LISTEN);
    worker
        .envs(SECRETS)
        .args(["--log-format", "json", "--log-level", "trace"]);
    let own = Worker::start_logging(&mut worker, &log);
    let mut worker = watched.job.bench.shoal(LISTEN);
    let other = Worker::start(worker.env("SHOAL_TOKEN", "another"));
    let (own_url, other_url) = (own.url.clone(), other.url.clone());
    let http = ["--backend", "http", "--url"];
    watched.job("well", &[http.as_slice(), &[&own_url]].concat(), 0);
    watched.job("refused", &[http.as_slice(), &[&other_url]].concat(), 8);
    watched.job(
        "away",
        &[http.as_slice(), &["http://127.0.0.1:1"]].concat(),
        8,
    );
    // URLs with passwords are refused before they are recorded.
    watched.job(
        "password",
        &[http.as_slice(), &["http://me:m4rk3d@127.0.0.1:1"]].concat(),
        8,
    );
    // Some gateways require a key in the URL. The recorded URL does not contain it.
    let keyed = format!("{own_url}/?code=m4rk3d-key");
    watched.job("keyed", &[http.as_slice(), &[&keyed]].concat(), 0);
    watched.shoal(&["report", "keyed"], 0);
    watched.shoal(&["report", "keyed", "--format", "json"], 0);
    watched.shoal(&["resume", "keyed"], 8);
    watched.shoal(&["resume", "keyed", "--url", &keyed], 0);
    let malformed = "http://[?code=m4rk3d-key";
    watched.job("malformed", &[http.as_slice(), &[malformed]].concat(), 8);
    watched.shoal(&["doctor", "--backend", "http", "--url", &own_url], 0);
    watched.shoal(&["doctor", "--backend", "http", "--url", &other_url], 8);
    watched.shoal(&["report", "well"], 0);
    watched.shoal(&["report", "well", "--format", "json"], 0);
    watched.shoal(&["status", "well"], 0);
    watched.job("processes", &["--backend", "process"], 0);
    // A hub that denies access.
    let hub = Server::new(|_, _| Response {
        status: "401 Unauthorized",
        headers: String::new(),
        content: b"no".to_vec(),
    });
    let mut command = watched
        .job
        .bench
        .shoal(["doctor", "--model", "somebody/private"]);
    watched.run(command.env("HF_ENDPOINT", hub.url()), 4);
    let printed = hub.requests();
    let has_secret = |header: &Option<String>| header.as_deref().is_some_and(|h| h.contains(MARK));
    assert!(
        printed
            .iter()
            .any(|request| has_secret(&request.authorization))
    );
    drop((own, other));
    watched.check();
}

#[test]
#[cfg(feature = "aws")]
fn secrets_of_clouds_are_not_disclosed() {
    let mut watched = Watched::new();
    let cloud = shoal_testing::Ministack::start();
    cloud.python("import boto3; boto3.client('s3').create_bucket(Bucket='lake')");
    let endpoint = cloud.endpoint();
    let refusing = Server::new(|_, _| Response {
        status: "403 Forbidden",
        headers: String::new(),
        content: b"<Error><Code>SignatureDoesNotMatch</Code><Message>no</Message></Error>".to_vec(),
    });
    for (url, store, code) in [
        (endpoint.clone(), "s3://lake/shoal", 0),
        (endpoint.clone(), "s3://nowhere/shoal", 5),
        (refusing.url(), "s3://lake/shoal", 5),
    ] {
        let mut command = watched.job.bench.shoal(["doctor", "--store", store]);
        watched.run(command.env("AWS_ENDPOINT_URL", &url), code);
        let name = format!("run-{}", watched.printed.len());
        let output = format!("{name}.csv");
        let mut command = watched
            .job
            .bench
            .shoal(["run", "input.jsonl", "-o", &output]);
        command.args(["--store", store, "--backend", "lambda", "--yes"]);
        // Either the function does not exist, or every request fails.
        watched.run(
            command.env("AWS_ENDPOINT_URL", &url),
            if code == 0 { 8 } else { code },
        );
        let mut command =
            watched
                .job
                .bench
                .shoal(["doctor", "--backend", "lambda", "--store", store]);
        watched.run(
            command.env("AWS_ENDPOINT_URL", &url),
            if code == 0 { 8 } else { code },
        );
    }
    // The objects in the store.
    let objects = cloud.python(
        "import boto3\ns3 = boto3.client('s3')\nfor o in s3.list_objects_v2(Bucket='lake').get('Contents', []):\n  \
         print(o['Key'], s3.get_object(Bucket='lake', Key=o['Key'])['Body'].read())",
    );
    assert!(
        objects.contains("job.json") && !objects.contains(MARK),
        "{objects}"
    );
    watched.check();
}
