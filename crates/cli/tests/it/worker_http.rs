//! HTTP workers.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::{ManyBatches, describe, failures, summary, terminate, wait_for_receipts};

/// A worker process. Dropping it kills the process.
pub(crate) struct Worker {
    child: Child,
    pub(crate) url: String,
}

impl Worker {
    /// Starts a worker and waits until it is ready.
    pub(crate) fn start(command: &mut Command) -> Self {
        let worker = Self::listen(command);
        while worker.get("/ready").status != 200 {
            std::thread::yield_now();
        }
        worker
    }

    /// Like [`start`](Self::start), but writes the log, which must be JSON, to the file `log`.
    pub(crate) fn start_logging(command: &mut Command, log: &Path) -> Self {
        let file = std::fs::File::create(log).unwrap();
        let mut child = command.stderr(file).spawn().unwrap();
        let url = loop {
            let printed = std::fs::read_to_string(log).unwrap();
            let found = printed.split_once("listening on ");
            if let Some((url, _)) = found.and_then(|(_, url)| url.split_once('"')) {
                break url.to_owned();
            }
            assert!(child.try_wait().unwrap().is_none(), "{printed}");
            std::thread::yield_now();
        };
        let worker = Self { child, url };
        while worker.get("/ready").status != 200 {
            std::thread::yield_now();
        }
        worker
    }

    /// Starts a worker and waits until it listens.
    fn listen(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        log.read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("listening on ").expect(&line);
        let worker = Self {
            child,
            url: url.to_owned(),
        };
        // Further output must not fill the pipe.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        worker
    }

    fn get(&self, path: &str) -> Answer {
        ask(&self.url, &format!("GET {path} HTTP/1.1\r\n"), "")
    }

    pub(crate) fn post(&self, headers: &str, body: &str) -> Answer {
        ask(&self.url, &format!("POST / HTTP/1.1\r\n{headers}"), body)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The response to a request.
#[derive(Debug)]
pub(crate) struct Answer {
    status: u16,
    text: String,
}

impl Answer {
    /// The kind of the failure in the response.
    pub(crate) fn kind(&self) -> String {
        let body = self.text.split_once("\r\n\r\n").unwrap().1;
        let outcome: serde_json::Value = serde_json::from_str(body).unwrap();
        outcome["failure"]["kind"].as_str().unwrap().to_owned()
    }
}

fn ask(url: &str, head: &str, body: &str) -> Answer {
    let address = url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let length = if head.contains("Content-Length") {
        String::new()
    } else {
        format!("Content-Length: {}\r\n", body.len())
    };
    write!(
        stream,
        "{head}Host: {address}\r\n{length}Connection: close\r\n\r\n{body}"
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let status = text.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, text }
}

pub(crate) const LISTEN: [&str; 3] = ["worker", "--http", "127.0.0.1:0"];

pub(crate) fn invocation(run: &str) -> String {
    format!(r#"{{"run":{run:?},"batch":{{"index":0,"records":1,"slices":[]}},"attempt":1}}"#)
}

#[test]
fn a_run_survives_the_loss_of_a_worker() {
    let job = ManyBatches::new(6000, 20);
    let start = || Worker::start(job.bench.shoal(LISTEN).env("SHOAL_TOKEN", "s3cret"));
    let (mut first, second) = (start(), start());
    let urls = format!("{},{}", first.url, second.url);
    let options = ["--backend", "http", "--url", &urls];
    let mut run = job
        .run("run", &options)
        .env("SHOAL_TOKEN", "s3cret")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for_receipts(&mut run, &job.bench.path("run"));
    first.child.kill().unwrap();
    let end = run.wait_with_output().unwrap();
    assert!(end.status.success(), "{}", describe(&end));
    job.check("run");
    for (kind, retry) in failures(&job.bench.path("run")) {
        assert!(
            retry && matches!(kind.as_str(), "retryable" | "crashed" | "throttled"),
            "{kind}"
        );
    }
    // The backend is recorded without the token.
    let backend = job.bench.text("run/backend.json");
    assert!(backend.contains(&second.url) && !backend.contains("s3cret"));
}

#[test]
fn unauthorized_and_malformed_calls_are_refused() {
    let job = ManyBatches::new(20, 20);
    for folder in ["mine/run", "other"] {
        std::fs::create_dir_all(job.bench.path(folder)).unwrap();
    }
    let at = |name: &str| job.bench.path(name).to_str().unwrap().to_owned();
    job.bench.write("token", "s3cret\n");
    let options = ["--allow", &at("mine"), "--token-file", &at("token")];
    let worker = Worker::start(job.bench.shoal(LISTEN).args(options));
    let own = "Authorization: Bearer s3cret\r\n";
    let too_long = format!("{own}Content-Length: 7000000\r\n");
    for (headers, body, status, kind) in [
        ("", invocation(&at("mine/run")), 401, "refused"),
        (
            "Authorization: Bearer secret\r\n",
            invocation(&at("mine/run")),
            401,
            "refused",
        ),
        (own, "{}".into(), 400, "refused"),
        (own, invocation(&at("other")), 403, "refused"),
        (own, invocation(&at("mine/../other")), 403, "refused"),
        (own, invocation("s3://bucket/run"), 403, "refused"),
        (&too_long, String::new(), 413, "refused"),
        // The folder is allowed, but it contains no job.
        (own, invocation(&at("mine/run")), 422, "input"),
    ] {
        let answer = worker.post(headers, &body);
        assert_eq!(
            (answer.status, answer.kind().as_str()),
            (status, kind),
            "{body}"
        );
    }
    assert_eq!(worker.get("/health").status, 200);
    assert_eq!(worker.get("/ready").status, 200);
    assert_eq!(worker.get("/").status, 405);
    assert_eq!(worker.get("/nothing").status, 404);

    let options = ["--backend", "http", "--url", &worker.url];
    for token in [None, Some("wrong")] {
        let mut run = job.run("run", &options);
        run.envs(token.map(|token| ("SHOAL_TOKEN", token)));
        let output = run.output().unwrap();
        assert_eq!(output.status.code(), Some(8), "{}", describe(&output));
        assert!(
            describe(&output).contains("SHOAL_TOKEN"),
            "{}",
            describe(&output)
        );
    }
}

#[test]
fn slow_callers_and_calls_time_out() {
    let job = ManyBatches::new(100, 100);
    let options = ["--read-timeout", "1", "--call-timeout", "1"];
    let worker = Worker::start(job.bench.shoal(LISTEN).args(options));
    // The connection is closed if the request head is missing or incomplete, or if it is HTTP/2, whose heads are not
    // bounded. A missing body is reported.
    let address = worker.url.strip_prefix("http://").unwrap();
    let heads: [&[u8]; 4] = [
        b"",
        b"POST / HTTP/1.1\r\nHost: x",
        b"PRI * HTTP/2.0\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
    ];
    for head in heads {
        let mut stream = TcpStream::connect(address).unwrap();
        // The test must fail rather than hang.
        let patience = std::time::Duration::from_secs(60);
        stream.set_read_timeout(Some(patience)).unwrap();
        stream.write_all(head).unwrap();
        let mut printed = Vec::new();
        stream.read_to_end(&mut printed).unwrap();
        let printed = String::from_utf8_lossy(&printed);
        assert!(
            printed.is_empty() || printed.starts_with("HTTP/1.1 4"),
            "{printed}"
        );
    }
    let answer = worker.post("Content-Length: 10\r\n", "");
    assert_eq!((answer.status, answer.kind().as_str()), (408, "refused"));
    // The time limit is below the time that a function reserves for writing.
    let batch = job.bench.text("local/batches.jsonl");
    let batch: serde_json::Value = serde_json::from_str(batch.lines().next().unwrap()).unwrap();
    let run = job.bench.path("again");
    std::fs::create_dir(&run).unwrap();
    std::fs::copy(job.bench.path("local/job.json"), run.join("job.json")).unwrap();
    let call = serde_json::json!({ "run": run, "batch": batch, "attempt": 1 }).to_string();
    let answer = worker.post("", &call);
    assert_eq!((answer.status, answer.kind().as_str()), (504, "timed_out"));
}

#[test]
#[cfg(unix)]
fn a_busy_worker_rejects_calls_and_exits_when_its_work_is_done() {
    // One batch that takes seconds.
    let job = ManyBatches::new(60_000, 100_000);
    let options = ["--concurrency", "1"];
    let mut worker = Worker::start(job.bench.shoal(LISTEN).args(options));
    let planned = job.bench.text("local/batches.jsonl");
    let run = job.bench.path("again");
    std::fs::create_dir(&run).unwrap();
    std::fs::copy(job.bench.path("local/job.json"), run.join("job.json")).unwrap();
    let batch: serde_json::Value = serde_json::from_str(&planned).unwrap();
    let long = serde_json::json!({ "run": run, "batch": batch, "attempt": 1 }).to_string();
    let short = invocation("/nowhere");
    std::thread::scope(|scope| {
        let held = scope.spawn(|| {
            // The short call may be accepted first.
            loop {
                let answer = worker.post("", &long);
                if answer.status != 429 {
                    return answer;
                }
            }
        });
        let busy = loop {
            let answer = worker.post("", &short);
            if answer.status == 429 {
                break answer;
            }
            assert!(!held.is_finished(), "the long call has already ended");
        };
        assert_eq!(busy.kind(), "throttled");
        assert!(busy.text.contains("retry-after: 1"), "{}", busy.text);
        assert_eq!(worker.get("/ready").status, 200);
        terminate(&worker.child);
        let address = worker.url.strip_prefix("http://").unwrap();
        while TcpStream::connect(address).is_ok() {
            std::thread::yield_now();
        }
        let answer = held.join().unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text);
    });
    assert!(worker.child.wait().unwrap().success());
}

#[test]
fn certificates_are_verified() {
    let job = ManyBatches::new(100, 20);
    let own_key = rcgen::KeyPair::generate().unwrap();
    let mut authority = rcgen::CertificateParams::default();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = rcgen::CertifiedIssuer::self_signed(authority, own_key).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(["127.0.0.1".to_owned()])
        .unwrap()
        .signed_by(&key, &authority)
        .unwrap();
    let authority = job.bench.write("authority.pem", authority.pem());
    job.bench.write("cert.pem", certificate.pem());
    job.bench.write("key.pem", key.serialize_pem());
    let tls = ["--tls-cert", "cert.pem", "--tls-key", "key.pem"];
    let mut command = job.bench.shoal(LISTEN);
    let worker = Worker::listen(command.args(tls).env("SHOAL_TOKEN", "s3cret"));
    assert!(worker.url.starts_with("https://"), "{}", worker.url);
    let run = || {
        let mut run = job.run("run", &["--backend", "http", "--url", &worker.url]);
        run.env("SHOAL_TOKEN", "s3cret");
        run
    };
    // The certificate is not signed by a known authority.
    let output = run().output().unwrap();
    assert_eq!(output.status.code(), Some(8), "{}", describe(&output));
    assert!(
        describe(&output).contains("certificate"),
        "{}",
        describe(&output)
    );
    let mut run = run();
    run.env("SSL_CERT_FILE", authority);
    summary(run);
    job.check("run");
}

#[test]
fn a_public_worker_requires_a_token_and_allowed_folders() {
    let job = ManyBatches::new(20, 20);
    let listen = ["worker", "--http", "0.0.0.0:0"];
    let message = job.bench.fails(2, listen);
    assert!(message.contains("SHOAL_TOKEN"), "{message}");
    let message = job.bench.fails(2, listen.iter().chain(&["--insecure"]));
    assert!(message.contains("--allow"), "{message}");
    let message = job.bench.fails(2, ["worker", "--stdio", "--insecure"]);
    assert!(message.contains("cannot be used with"), "{message}");

    // A client does not send a token unencrypted. The address is reserved for documentation.
    let options = ["--backend", "http", "--url", "http://192.0.2.1:8080"];
    let mut run = job.run("run", &options);
    let output = run.env("SHOAL_TOKEN", "s3cret").output().unwrap();
    assert_eq!(output.status.code(), Some(8), "{}", describe(&output));
    let printed = describe(&output);
    assert!(
        printed.contains("unencrypted") && !printed.contains("s3cret"),
        "{printed}"
    );
}

#[test]
fn the_error_names_the_unreachable_worker() {
    let job = ManyBatches::new(20, 20);
    // A port on which no process listens.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let options = ["--backend", "http", "--url", &url];
    let output = job.run("run", &options).output().unwrap();
    assert_eq!(output.status.code(), Some(8), "{}", describe(&output));
    assert!(describe(&output).contains(&url), "{}", describe(&output));
    // The plan remains, and the run can be resumed on another backend.
    let worker = Worker::start(&mut job.bench.shoal(LISTEN));
    let resume = ["resume", "run", "--json", "--quiet", "--url", &worker.url];
    assert_eq!(summary(job.bench.shoal(resume))["records"], 22);
    job.check("run");
}
