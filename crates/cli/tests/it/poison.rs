//! A record that crashes every worker that processes it.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::server::{Request, Response, Server};
use crate::support::{ManyBatches, summary};
use crate::worker_http::{LISTEN, Worker};

const BATCH_SIZE: usize = 20;
/// The record that crashes its worker: its batch, its place in the batch, and its row in the input.
const BATCH: u64 = 7;
const PLACE: u64 = 13;
const ROW: usize = 153;

/// The response of a gateway to a worker, at `url`, that crashes when it processes the record.
fn behind_a_gateway(url: &str, request: &Request) -> Response {
    if includes_record(&request.content) {
        return Response {
            status: "502 Bad Gateway",
            headers: String::new(),
            content: b"the worker has gone".to_vec(),
        };
    }
    let address = url.strip_prefix("http://").unwrap();
    let mut worker = TcpStream::connect(address).unwrap();
    let Request {
        method,
        path,
        content,
        ..
    } = request;
    write!(
        worker,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        content.len()
    )
    .unwrap();
    worker.write_all(content).unwrap();
    let mut answer = String::new();
    worker.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    Response {
        status: match head.split(' ').nth(1).unwrap() {
            "200" => "200 OK",
            _ => "500 Internal Server Error",
        },
        headers: String::new(),
        content: body.into(),
    }
}

/// Whether the record is among those that an invocation processes.
fn includes_record(content: &[u8]) -> bool {
    let Ok(invocation) = serde_json::from_slice::<serde_json::Value>(content) else {
        return false;
    };
    let batch = &invocation["batch"];
    let from = batch["offset"].as_u64().unwrap_or(0);
    let until = batch["until"].as_u64().or(batch["records"].as_u64());
    let is_asked_for = (from..until.unwrap()).contains(&PLACE);
    batch["index"] == BATCH && is_asked_for && invocation["quarantine"].is_null()
}

#[test]
fn a_kept_record_that_crashes_its_worker_gets_its_result_in_its_place() {
    let job = ManyBatches::new(200, BATCH_SIZE);
    let worker = Worker::start(&mut job.bench.shoal(LISTEN));
    let url = worker.url.clone();
    let gateway = Server::new(move |request, _| behind_a_gateway(&url, request));
    let gateway_url = gateway.url();
    let options = [
        "--on-error",
        "keep",
        "--backend",
        "http",
        "--url",
        &gateway_url,
    ];
    assert_eq!(summary(job.run("run", &options))["quarantined"], 1);
    let crashed = job.bench.text("run.csv");
    assert_eq!(crashed.lines().count(), 203);
    let row = crashed.lines().nth(1 + ROW).unwrap();
    assert!(
        row.starts_with(&format!("r{ROW},,,\"it crashes its function")),
        "{row}"
    );
    let retry = ["retry", "run", "--url", &worker.url, "--json", "--quiet"];
    assert_eq!(summary(job.bench.shoal(retry))["quarantined"], 0);
    // The row is replaced, and no other one changes.
    let retried = job.bench.text("run.csv");
    let local = summary(job.run("again", &["--on-error", "keep"]));
    assert_eq!(local["failed"], 2);
    assert_eq!(retried, job.bench.text("again.csv"));
    let changed = crashed
        .lines()
        .zip(retried.lines())
        .filter(|(then, now)| then != now);
    assert_eq!(changed.count(), 1);
}

#[test]
fn a_record_that_crashes_its_worker_is_quarantined_alone_and_can_be_retried() {
    let job = ManyBatches::new(600, BATCH_SIZE);
    let worker = Worker::start(&mut job.bench.shoal(LISTEN));
    let url = worker.url.clone();
    let gateway = Server::new(move |request, _| behind_a_gateway(&url, request));
    let calls = || {
        let is_call = |request: &&Request| request.method == "POST";
        gateway.requests().iter().filter(is_call).count()
    };
    let gateway_url = gateway.url();
    let options = ["--backend", "http", "--url", gateway_url.as_str()];
    let done = summary(job.run("run", &options));
    assert_eq!(
        (&done["quarantined"], &done["failed"]),
        (&1.into(), &3.into())
    );
    let batches = done["batches"].as_u64().unwrap() as usize;
    let bound = 2.0 * (BATCH_SIZE as f64).log2() + 2.0;
    assert!((calls() - batches) as f64 <= bound, "{} calls", calls());

    // All other results are present, in order.
    let id = format!("r{ROW}");
    let expected = String::from_utf8(job.expected.clone()).unwrap();
    let expected = expected.split_inclusive('\n');
    let others: String = expected
        .filter(|line| line.split(',').next() != Some(&id))
        .collect();
    assert_eq!(job.bench.text("run.csv"), others);
    let letters = job.bench.text("run/failed.jsonl");
    let letter = letters.lines().next().unwrap();
    let letter: serde_json::Value = serde_json::from_str(letter).unwrap();
    assert_eq!((&letter["id"], &letter["row"]), (&id.into(), &ROW.into()));
    assert!(
        letter["reason"]
            .as_str()
            .unwrap()
            .contains("crashes its function"),
        "{letter}"
    );

    // A worker that does not crash processes only this record.
    let retry = job
        .bench
        .shoal(["retry", "run", "--url", &worker.url, "--json", "--quiet"]);
    let done = summary(retry);
    assert_eq!(
        (&done["quarantined"], &done["failed"]),
        (&0.into(), &2.into())
    );
    assert_eq!(
        done["records"].as_u64().unwrap() - done["reused_records"].as_u64().unwrap(),
        1
    );
    job.check("run");
    assert_eq!(job.bench.text("run/failed.jsonl").lines().count(), 2);
    let error = job.bench.fails(2, ["retry", "run"]);
    assert!(error.contains("its dead letters cannot be read"), "{error}");
}
