//! Tests the suite's servers with a minimal client, because the real clients are tested against these servers.

use std::io;

use serde_json::Value;
use shoal_conformance::{BackendHarness, Protocol, TestRun, TestServer};
use shoal_dispatch::{Backend, Caller, DispatchError, FanOut, Work, fan_out};
use shoal_job::Event;
use shoal_job::wire::{Failure, FailureKind, Invocation, Outcome, Receipt, Reply};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const CONCURRENCY: usize = 4;

/// The harness for one of the servers.
pub(crate) struct PlainServer {
    protocol: Protocol,
    server: TestServer,
}

impl PlainServer {
    pub(crate) fn new(protocol: Protocol) -> Self {
        Self {
            protocol,
            server: TestServer::start(protocol),
        }
    }
}

impl BackendHarness for PlainServer {
    fn name(&self) -> &'static str {
        match self.protocol {
            Protocol::Worker => "test server, worker protocol",
            Protocol::Lambda => "test server, lambda protocol",
        }
    }

    fn backend<'a>(&'a self, _: &'a TestRun) -> Box<dyn Backend + 'a> {
        Box::new(Client(self))
    }
}

struct Client<'a>(&'a PlainServer);

impl Backend for Client<'_> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn concurrency(&self) -> usize {
        CONCURRENCY
    }

    fn run(&self, work: &Work<'_>, emit: &mut dyn FnMut(Event)) -> Result<(), DispatchError> {
        let settings = FanOut {
            concurrency: CONCURRENCY,
            ramp: None,
            allow_speculation: true,
        };
        fan_out(self, settings, work, emit)
    }
}

impl Caller for Client<'_> {
    async fn call(&self, _: usize, invocation: &Invocation) -> Result<Receipt, Failure> {
        let url = self.0.server.url();
        let address = url.strip_prefix("http://").expect("the URL is HTTP");
        let path = match self.0.protocol {
            Protocol::Worker => "/",
            Protocol::Lambda => "/2015-03-31/functions/shoal/invocations",
        };
        let body = serde_json::to_string(invocation).expect("an invocation is always JSON");
        let answer = post(address, path, &body).await.map_err(|e| {
            let reason = format!("failed to call {address}: {e}");
            Failure::new(FailureKind::Crashed, reason)
        })?;
        match self.0.protocol {
            Protocol::Worker => parse_worker_answer(&answer),
            Protocol::Lambda => parse_lambda_answer(&answer),
        }
    }
}

/// The head and the body of a response.
struct Answer {
    head: String,
    body: String,
}

async fn post(address: &str, path: &str, body: &str) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&answer);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = header(head, "Content-Length").and_then(|length| length.parse().ok());
            if length == Some(body.len()) {
                return Ok(Answer {
                    head: head.to_owned(),
                    body: body.to_owned(),
                });
            }
        }
        if stream.read_buf(&mut answer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    let mut values = lines.filter(|(n, _)| n.eq_ignore_ascii_case(name));
    values.next().map(|(_, value)| value)
}

fn parse_worker_answer(answer: &Answer) -> Result<Receipt, Failure> {
    match serde_json::from_str(&answer.body).expect("a worker answers with an outcome") {
        Outcome::Receipt(receipt) => {
            assert!(answer.head.starts_with("HTTP/1.1 200 "));
            Ok(*receipt)
        }
        Outcome::Failure(failure) => {
            let is_throttled = answer.head.starts_with("HTTP/1.1 429 ");
            assert_eq!(is_throttled, failure.kind == FailureKind::Throttled);
            Err(failure)
        }
    }
}

fn parse_lambda_answer(answer: &Answer) -> Result<Receipt, Failure> {
    let Answer { head, body } = answer;
    if head.starts_with("HTTP/1.1 429 ") {
        assert_eq!(
            header(head, "x-amzn-errortype"),
            Some("TooManyRequestsException")
        );
        return Err(Failure::new(FailureKind::Throttled, body));
    }
    // "REPORT " in base64.
    let log = header(head, "X-Amz-Log-Result");
    assert!(
        log.is_some_and(|log| log.starts_with("UkVQT1JUI")),
        "{log:?}"
    );
    if header(head, "X-Amz-Function-Error").is_none() {
        let reply: Reply = serde_json::from_str(body).expect("a function answers with a reply");
        return Ok(reply.receipt);
    }
    let error: Value = serde_json::from_str(body).expect("an error is JSON");
    let kind = match error["errorType"].as_str().expect("an error has a type") {
        "Runtime.ExitError" => FailureKind::Crashed,
        "Sandbox.Timedout" => FailureKind::TimedOut,
        shoal => FailureKind::of_error_type(shoal).expect("the type is one of shoal's"),
    };
    Err(Failure::new(kind, error["errorMessage"].to_string()))
}
