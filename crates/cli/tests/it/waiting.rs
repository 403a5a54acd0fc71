//! What does not answer is reported, and Ctrl-C ends the command in every phase.

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::server::{Response, Server};
use crate::support::{Bench, interrupt, jsonl, tiny};

const INTERRUPTED: i32 = 130;
/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// A listener that accepts connections and never answers.
struct Silent {
    address: String,
    _connections: Arc<Mutex<Vec<TcpStream>>>,
}

impl Silent {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let connections = Arc::new(Mutex::new(Vec::new()));
        let kept = connections.clone();
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                kept.lock().unwrap().push(connection.unwrap());
            }
        });
        Self {
            address,
            _connections: connections,
        }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// A command that does not end by itself.
struct Hanging {
    child: Child,
    lines: Receiver<String>,
}

impl Hanging {
    fn start(mut command: Command) -> Self {
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (send, receive) = channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        let lines = receive;
        Self { child, lines }
    }

    /// Waits for a line that contains `text`.
    fn says(&self, text: &str) -> String {
        let until = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => seen.push(line),
                Err(e) => panic!("{text:?} is not in {seen:#?}: {e}"),
            }
        }
    }

    /// The first Ctrl-C says what happens, and the second ends the command at once.
    fn ends_at_the_second_interrupt(mut self, stopping: &str) {
        interrupt(&self.child);
        let line = self.says(&format!("stopping {stopping}"));
        assert!(line.contains("; Ctrl-C again stops at once"), "{line}");
        assert!(self.child.try_wait().unwrap().is_none(), "it ended early");
        interrupt(&self.child);
        let asked = Instant::now();
        assert_eq!(self.child.wait().unwrap().code(), Some(INTERRUPTED));
        // A second on an idle machine.
        assert!(asked.elapsed() < Duration::from_secs(10));
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `shoal` with these arguments, where every service is `silent`.
fn command(bench: &Bench, silent: &Silent, args: &[&str]) -> Command {
    bench.write("in.jsonl", jsonl(20));
    let mut command = bench.shoal(args);
    command.envs([
        ("AWS_ENDPOINT_URL", silent.url().as_str()),
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_REGION", "us-east-1"),
        ("HF_ENDPOINT", silent.url().as_str()),
    ]);
    command
}

/// Starts `shoal` where every service is silent: it must report that it waits for `what`, and end at the second Ctrl-C.
#[track_caller]
fn waits(args: &[&str], what: impl Fn(&str) -> String) {
    let (bench, silent) = (Bench::new(), Silent::new());
    let what = what(&silent.url());
    let args: Vec<_> = args
        .iter()
        .map(|arg| arg.replace("SILENT", &silent.url()))
        .collect();
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let hanging = Hanging::start(command(&bench, &silent, &args));
    hanging.says(&format!("waiting for {what}"));
    let what = what.split(" (").next().unwrap();
    hanging.ends_at_the_second_interrupt(&format!("as soon as {what}"));
}

#[test]
fn a_silent_store_of_inputs_is_reported() {
    let model = ["-o", "out.csv", "--model", tiny()];
    let args = [&["run", "s3://bucket/in.jsonl"], &model[..]].concat();
    waits(&args, |_| {
        "s3://bucket/in.jsonl (attempt 1 of at most 10)".into()
    });
    let args = [&["run", "SILENT/in.jsonl"], &model[..]].concat();
    waits(&args, |url| {
        format!("{url}/in.jsonl (attempt 1 of at most 10)")
    });
    waits(&["plan", "s3://bucket/in.jsonl"], |_| {
        "s3://bucket/in.jsonl (attempt 1".into()
    });
}

#[test]
fn a_silent_store_of_runs_is_reported() {
    let args = [
        "run",
        "in.jsonl",
        "-o",
        "out.csv",
        "--store",
        "s3://bucket/shoal",
        "--model",
        tiny(),
    ];
    waits(&args, |_| "s3://bucket/shoal/runs/in-".into());
}

#[test]
fn silent_workers_are_reported_for_every_attempt() {
    let args = [
        "run",
        "in.jsonl",
        "-o",
        "out.csv",
        "--backend",
        "http",
        "--url",
        "SILENT",
        "--model",
        tiny(),
    ];
    waits(&args, |url| format!("{url}/ (attempt 2 of at most 10)"));
}

#[cfg(feature = "hub")]
#[test]
fn a_silent_hub_is_reported() {
    let args = ["run", "in.jsonl", "-o", "out.csv", "--model", "owner/name"];
    waits(&args, |url| {
        format!("{url}/owner/name/resolve/main/config.json")
    });
    let args = [
        "run",
        "in.jsonl",
        "-o",
        "out.csv",
        "--model",
        "SILENT/model.shoal",
    ];
    waits(&args, |url| format!("{url}/model.shoal (attempt 1"));
}

#[test]
fn a_command_that_reads_a_silent_run_directory_reports_it() {
    let (bench, silent) = (Bench::new(), Silent::new());
    let run = "s3://bucket/runs/mine";
    for args in [
        ["status", run],
        ["report", run],
        ["resume", run],
        ["collect", run],
    ] {
        let mut hanging = Hanging::start(command(&bench, &silent, &args));
        hanging.says(&format!("waiting for {run}"));
        // Nothing is in progress: the first one ends it.
        interrupt(&hanging.child);
        assert!(!hanging.child.wait().unwrap().success());
    }
}

#[test]
fn quiet_commands_do_not_report_waits() {
    let (bench, silent) = (Bench::new(), Silent::new());
    let args = ["run", "s3://bucket/in.jsonl", "-o", "out.csv", "--quiet"];
    let hanging = Hanging::start(command(&bench, &silent, &args));
    let first = hanging.lines.recv_timeout(Duration::from_secs(4));
    assert!(first.is_err(), "{first:?}");
}

/// Calls over HTTP are left alone, so the first Ctrl-C ends the run.
#[test]
fn a_run_whose_worker_never_ends_a_call_is_ended() {
    let bench = Bench::new();
    bench.write("in.jsonl", jsonl(20));
    let (called, calls) = channel();
    let (end, ended) = channel::<()>();
    let worker = Server::new(move |request, _| {
        let ready = br#"{"ready":true,"concurrency":1}"#.to_vec();
        if request.method == "POST" {
            let _ = called.send(());
            let _ = ended.recv();
        }
        Response {
            status: "200 OK",
            headers: String::new(),
            content: ready,
        }
    });
    let url = worker.url();
    let mut hanging = Hanging::start(bench.shoal([
        "run",
        "in.jsonl",
        "-o",
        "out.csv",
        "--backend",
        "http",
        "--url",
        &url,
        "--model",
        tiny(),
    ]));
    calls.recv_timeout(PATIENCE).unwrap();
    interrupt(&hanging.child);
    hanging.says("stopping after what is in progress");
    assert_eq!(hanging.child.wait().unwrap().code(), Some(INTERRUPTED));
    drop(end);
}

/// The reader of the output does not read.
#[test]
fn a_run_that_cannot_write_its_output_is_ended() {
    let bench = Bench::new();
    bench.write("in.jsonl", jsonl(5000));
    let args = [
        "run",
        "in.jsonl",
        "-o",
        "-",
        "--run-dir",
        "mine",
        "--model",
        tiny(),
    ];
    let hanging = Hanging::start(bench.shoal(args));
    let events = bench.path("mine/events.jsonl");
    let until = Instant::now() + PATIENCE;
    let is_collecting =
        || std::fs::read_to_string(&events).is_ok_and(|log| log.contains("\"collecting\""));
    while !is_collecting() {
        assert!(Instant::now() < until);
        std::thread::yield_now();
    }
    hanging.ends_at_the_second_interrupt("after what is in progress");
}

#[test]
fn missing_credentials_say_what_to_set_as_doctor_does() {
    let bench = Bench::new();
    bench.write("in.jsonl", jsonl(3));
    let advice = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE";
    let printed = |args: &[&str]| {
        let mut command = bench.shoal(args);
        command.env("AWS_EC2_METADATA_DISABLED", "true");
        let output = command.env("AWS_REGION", "us-east-1").output().unwrap();
        assert!(!output.status.success());
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    let store = ["--store", "s3://bucket/shoal"];
    let run = ["run", "in.jsonl", "-o", "out.csv", "--model", tiny()];
    for args in [
        &["run", "s3://bucket/in.jsonl", "-o", "out.csv"][..],
        &[&run[..], &store].concat(),
        &[
            "run",
            "in.jsonl",
            "-o",
            "out.csv",
            "--model",
            "s3://bucket/x.shoal",
        ],
        &["status", "s3://bucket/runs/x"],
        &[&["doctor", "in.jsonl"], &store[..]].concat(),
        #[cfg(feature = "aws")]
        &[&["deploy", "aws", "--dry-run"], &store[..]].concat(),
    ] {
        let text = printed(args);
        assert!(text.contains(advice), "{args:?}: {text}");
    }
}
