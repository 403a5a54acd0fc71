//! The HTTP backend: calls workers at URLs.

mod probe;
mod workers;

use std::time::Duration;

use shoal_job::Event;
use shoal_job::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use shoal_job::http::{self, Client, Response, StatusCode, Url, describe};
use shoal_job::waits::waiting_for;
use shoal_job::wire::{Failure, FailureKind, Invocation, Outcome, Receipt};

use crate::{Backend, Caller, DispatchError, FanOut, Work, fan_out};
pub use probe::{WorkerProbe, probe_workers};
use workers::Workers;

const NAME: &str = "http";
/// The maximum size of a response in bytes; outcomes have a few hundred.
const MAX_RESPONSE_BYTES: usize = 1 << 20;
/// The time limit of a readiness request.
const READY_TIMEOUT: Duration = Duration::from_secs(5);
/// Attempts to reach a worker that may have just been started.
const READY_ATTEMPTS: u32 = 10;
/// The pause between two attempts.
const READY_PAUSE: Duration = Duration::from_millis(300);
/// What to do if a worker rejects the token.
const CHECK_TOKEN: &str = "; check that SHOAL_TOKEN is the worker's token";
/// What to do if something else than a worker answers.
const CHECK_URL: &str = " without an outcome; check that a worker runs at this URL";
/// Concurrent calls to a worker that does not report its concurrency.
const DEFAULT_CONCURRENCY: usize = 8;

/// Calls workers over HTTP. Each [`Invocation`] is posted to one of the URLs, which answers with an [`Outcome`].
#[derive(Debug)]
pub struct Http {
    urls: Vec<Url>,
    headers: HeaderMap,
    concurrency: usize,
}

impl Http {
    /// Connects to the workers at `urls` with `concurrency` calls in flight, or as many as the workers report if `None`.
    /// `token` is sent to each of them.
    ///
    /// # Errors
    /// Fails if a URL is malformed or would send the token unencrypted, or if no worker is reachable.
    pub fn connect(
        urls: &[String],
        token: Option<&str>,
        concurrency: Option<usize>,
    ) -> Result<Self, DispatchError> {
        let mut backend = Self {
            urls: parse_all(urls, token).map_err(platform_error)?,
            headers: headers(token).map_err(platform_error)?,
            concurrency: 0,
        };
        let reported = block_on(backend.total_concurrency()).map_err(platform_error)??;
        backend.concurrency = concurrency.unwrap_or(reported).max(1);
        Ok(backend)
    }

    fn client(&self) -> Result<Client, DispatchError> {
        http_client(self.headers.clone()).map_err(platform_error)
    }

    /// The workers, as messages show them.
    fn shown(&self) -> String {
        let urls: Vec<_> = self.urls.iter().map(display_url).collect();
        urls.join(", ")
    }

    /// The number of calls that all reachable workers accept at a time.
    async fn total_concurrency(&self) -> Result<usize, DispatchError> {
        let client = self.client()?;
        let mut last = String::new();
        let waiting = waiting_for(self.shown());
        for _ in 0..READY_ATTEMPTS {
            waiting.next_attempt(READY_ATTEMPTS);
            let requests = self.urls.iter().map(|url| worker_concurrency(&client, url));
            let answers = futures_util::future::join_all(requests).await;
            if answers.iter().any(Result::is_ok) {
                return Ok(answers.into_iter().flatten().sum());
            }
            last = answers
                .into_iter()
                .find_map(Result::err)
                .unwrap_or_default();
            tokio::time::sleep(READY_PAUSE).await;
        }
        Err(platform_error(format!(
            "no worker is reachable: {last}; start a worker, or check the URLs"
        )))
    }
}

/// Runs a future to its end.
fn block_on<F: Future>(future: F) -> Result<F::Output, String> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build();
    let runtime = runtime.map_err(|e| format!("failed to start a runtime: {e}"))?;
    Ok(runtime.block_on(future))
}

/// The headers of every request.
fn headers(token: Option<&str>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(token) = token {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", token.trim()))
            .map_err(|_| "the token (SHOAL_TOKEN) is not a valid header value")?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    Ok(headers)
}

fn http_client(headers: HeaderMap) -> Result<Client, String> {
    http::client()
        .default_headers(headers)
        .build()
        .map_err(|e| describe(&e))
}

fn platform_error(reason: String) -> DispatchError {
    DispatchError::Platform {
        backend: NAME,
        reason,
    }
}

/// Checks that calls may be sent to `url`, with or without a token.
///
/// # Errors
/// Fails if the URL is malformed, contains a password, or would send the token unencrypted.
pub fn check_url(url: &str, has_token: bool) -> Result<(), DispatchError> {
    parse(url, has_token).map(drop).map_err(platform_error)
}

/// Replaces the query of a URL, which may contain a key.
const REDACTED: &str = "…";

/// Replaces the query and the fragment of `url`, which may contain a key, so that the URL can be stored and shown.
pub fn redact_url(url: &str) -> String {
    match url.split_once(['?', '#']) {
        Some((base, _)) => format!("{base}?{REDACTED}"),
        None => url.to_owned(),
    }
}

fn parse_all(urls: &[String], token: Option<&str>) -> Result<Vec<Url>, String> {
    urls.iter()
        .map(|text| parse(text, token.is_some()))
        .collect()
}

/// Parses a worker's URL. A token may be sent unencrypted only to a loopback address.
fn parse(text: &str, has_token: bool) -> Result<Url, String> {
    let shown = redact_url(text);
    let url = Url::parse(text).map_err(|e| format!("URL {shown} is malformed: {e}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("URL {shown} is not an HTTP or HTTPS URL"));
    }
    if text.ends_with(&format!("?{REDACTED}")) {
        return Err(format!(
            "the query of {shown} was not stored, because it may contain a key; give the whole URL again"
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!(
            "URL {} contains a user or password; set SHOAL_TOKEN to send a token",
            display_url(&url)
        ));
    }
    let is_loopback = url.host_str().is_some_and(|host| {
        let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    });
    if has_token && url.scheme() == "http" && !is_loopback {
        return Err(format!(
            "the token (SHOAL_TOKEN) would be sent to {} unencrypted; use https, or unset it",
            display_url(&url)
        ));
    }
    Ok(url)
}

/// A URL without its query, fragment, user and password, for messages.
fn display_url(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    // These fail for schemes that have no user and password.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.to_string()
}

/// The number of calls that the worker at `url` accepts at a time.
async fn worker_concurrency(client: &Client, url: &Url) -> Result<usize, String> {
    let Ok(ready) = url.join("/ready") else {
        return Ok(DEFAULT_CONCURRENCY);
    };
    let answer = client.get(ready).timeout(READY_TIMEOUT).send().await;
    let answer = answer.map_err(|e| format!("{}: {}", display_url(url), describe(&e)))?;
    let Ok(body) = read(answer).await else {
        return Ok(DEFAULT_CONCURRENCY);
    };
    Ok(parse_concurrency(&body))
}

/// The concurrency in a worker's readiness answer, up to a limit: an explicit setting is needed to exceed it.
fn parse_concurrency(ready: &[u8]) -> usize {
    const MAX: u64 = 1024;
    let ready: serde_json::Value = serde_json::from_slice(ready).unwrap_or_default();
    let reported = ready["concurrency"].as_u64();
    reported.map_or(DEFAULT_CONCURRENCY, |calls| calls.min(MAX) as usize)
}

/// Reads the body of a response, up to [`MAX_RESPONSE_BYTES`].
async fn read(mut answer: Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|e| describe(&e))? {
        if body.len() + chunk.len() > MAX_RESPONSE_BYTES {
            return Err(format!(
                "its response has more than {MAX_RESPONSE_BYTES} bytes"
            ));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The workers and the client that calls them.
struct Calls<'a> {
    client: Client,
    workers: &'a Workers,
}

/// The result of sending a call to one worker.
enum CallResult {
    /// The worker answered with an outcome.
    Answered(Box<Result<Receipt, Failure>>),
    /// The worker rejected the call, but may accept others.
    Busy(String),
    /// The worker is unreachable or rejects all calls for now.
    Unavailable(String),
    /// The connection was lost during the call. The batch may have crashed the worker.
    Lost(Failure),
}

impl Caller for Calls<'_> {
    async fn call(&self, lane: usize, invocation: &Invocation) -> Result<Receipt, Failure> {
        let mut last = String::from("no worker is available");
        for worker in self.workers.for_lane(lane) {
            let url = self.workers.url(worker);
            match self.post(url, invocation).await {
                CallResult::Answered(result) => {
                    self.workers.mark_available(worker);
                    return *result;
                }
                CallResult::Busy(reason) => {
                    self.workers.mark_available(worker);
                    last = reason;
                }
                CallResult::Unavailable(reason) => {
                    self.workers.mark_unavailable(worker);
                    last = reason;
                }
                CallResult::Lost(failure) => {
                    self.workers.mark_lost(worker);
                    return Err(failure);
                }
            }
        }
        Err(Failure::new(FailureKind::Throttled, last))
    }
}

impl Calls<'_> {
    async fn post(&self, url: &Url, invocation: &Invocation) -> CallResult {
        let body = serde_json::to_vec(invocation).expect("an invocation is always JSON");
        let at = |reason: &str| format!("worker {}: {reason}", display_url(url));
        let answer = match self.client.post(url.clone()).body(body).send().await {
            Ok(answer) => answer,
            Err(e) if e.is_connect() => return CallResult::Unavailable(at(&describe(&e))),
            Err(e) => {
                let reason = at(&describe(&e));
                return CallResult::Lost(Failure::new(FailureKind::Crashed, reason));
            }
        };
        let status = answer.status();
        match read(answer).await {
            Ok(body) => interpret(status, &body, at),
            Err(reason) => CallResult::Lost(Failure::new(FailureKind::Crashed, at(&reason))),
        }
    }
}

fn interpret(status: StatusCode, body: &[u8], at: impl Fn(&str) -> String) -> CallResult {
    let failed =
        |kind, reason: &str| CallResult::Answered(Box::new(Err(Failure::new(kind, at(reason)))));
    let refused = |advice| {
        failed(
            FailureKind::Refused,
            &format!("it answered {status}{advice}"),
        )
    };
    match (status.as_u16(), serde_json::from_slice::<Outcome>(body)) {
        (200, Ok(Outcome::Receipt(receipt))) => CallResult::Answered(Box::new(Ok(*receipt))),
        (503, _) => CallResult::Unavailable(at("it accepts no calls at the moment (503)")),
        (429, _) => CallResult::Busy(at("it is busy (429)")),
        (_, Ok(Outcome::Failure(failure))) => failed(failure.kind, &failure.reason),
        (502, _) => CallResult::Lost(Failure::new(
            FailureKind::Crashed,
            at("it exited during the call, or is not running (502)"),
        )),
        (504, _) => failed(FailureKind::TimedOut, "it timed out (504)"),
        (408 | 425 | 500..=599, _) => {
            failed(FailureKind::Retryable, &format!("it answered {status}"))
        }
        (401 | 403, _) => refused(CHECK_TOKEN),
        (_, _) => refused(CHECK_URL),
    }
}

impl Backend for Http {
    fn name(&self) -> &'static str {
        NAME
    }

    fn concurrency(&self) -> usize {
        self.concurrency
    }

    fn run(&self, work: &Work<'_>, emit: &mut dyn FnMut(Event)) -> Result<(), DispatchError> {
        let calls = Calls {
            client: self.client()?,
            workers: &Workers::new(self.urls.clone()),
        };
        let settings = FanOut {
            concurrency: self.concurrency,
            ramp: None,
            allow_speculation: true,
        };
        fan_out(&calls, settings, work, emit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reported_concurrency_is_capped() {
        assert_eq!(parse_concurrency(br#"{"ready":true,"concurrency":7}"#), 7);
        assert_eq!(
            parse_concurrency(br#"{"concurrency":18446744073709551615}"#),
            1024
        );
        assert_eq!(parse_concurrency(b"alive"), DEFAULT_CONCURRENCY);
        assert_eq!(
            parse_concurrency(br#"{"concurrency":-1}"#),
            DEFAULT_CONCURRENCY
        );
    }

    #[test]
    fn redacted_urls_contain_no_key() {
        assert_eq!(redact_url("https://host/a?code=k#x"), "https://host/a?…");
        assert_eq!(redact_url("https://host/a#k"), "https://host/a?…");
        assert_eq!(redact_url("https://host/a"), "https://host/a");
        let redacted = redact_url("https://host/a?code=k");
        let error = check_url(&redacted, false).unwrap_err().to_string();
        assert!(error.contains("give the whole URL again"), "{error}");
    }

    #[test]
    fn tokens_are_not_sent_unencrypted_to_other_machines() {
        for (url, has_token, ok) in [
            ("http://example.org:8080/", false, true),
            ("http://example.org:8080/", true, false),
            ("https://example.org/", true, true),
            ("http://127.0.0.1:8080", true, true),
            ("http://[::1]:8080", true, true),
            ("http://localhost:8080", true, true),
            ("http://localhost.example.org", true, false),
            ("http://127.0.0.1.example.org", true, false),
            ("ftp://example.org", false, false),
            ("example.org", false, false),
        ] {
            assert_eq!(parse(url, has_token).is_ok(), ok, "{url}");
        }
        let message = parse("http://me:secret@example.org/?key=secret", true).unwrap_err();
        assert!(!message.contains("secret"), "{message}");
    }

    #[test]
    fn answers_are_interpreted_by_body_first_then_by_status() {
        let failure = |kind: &str| format!(r#"{{"failure":{{"kind":"{kind}","reason":"so"}}}}"#);
        let kind = |status: u16, body: &str| match interpret(
            StatusCode::from_u16(status).unwrap(),
            body.as_bytes(),
            str::to_owned,
        ) {
            CallResult::Answered(result) => result.err().map(|failure| failure.kind),
            CallResult::Lost(failure) => Some(failure.kind),
            CallResult::Busy(_) | CallResult::Unavailable(_) => Some(FailureKind::Throttled),
        };
        use FailureKind as K;
        for (status, body, expected) in [
            (422, failure("input"), K::Input),
            (500, failure("crashed"), K::Crashed),
            (401, failure("refused"), K::Refused),
            (429, failure("throttled"), K::Throttled),
            (503, failure("throttled"), K::Throttled),
            (200, "<html>".into(), K::Refused),
            (302, String::new(), K::Refused),
            (404, "nothing here".into(), K::Refused),
            (429, String::new(), K::Throttled),
            (500, String::new(), K::Retryable),
            (502, "bad gateway".into(), K::Crashed),
            (504, String::new(), K::TimedOut),
        ] {
            assert_eq!(kind(status, &body), Some(expected), "{status} {body}");
        }
    }
}
