//! The HTTP backend: workers that answer at URLs.

mod look;
mod workers;

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, Response, StatusCode, Url, redirect};
use shoal_job::Event;
use shoal_job::wire::{Failure, FailureKind, Invocation, Outcome, Receipt};

use crate::{Backend, Caller, DispatchError, FanOut, Work, fan_out};
pub use look::{Looked, look};
use workers::Workers;

const NAME: &str = "http";
/// The largest answer that is read, in bytes; outcomes are a few hundred.
const LARGEST_ANSWER: usize = 1 << 20;
/// How long a worker may take to take up a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may be silent before the system looks whether the other end is still there: a call may take
/// minutes.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// How long workers are asked for how many calls they take.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);
/// How often workers are asked again that are not there; they may have been started a moment ago.
const ASKS: u32 = 10;
/// Time between two of them.
const ASK_AGAIN: Duration = Duration::from_millis(300);
/// Calls for each URL that does not tell how many it takes.
const UNKNOWN_CONCURRENCY: usize = 8;

/// Calls workers over HTTP: each [`Invocation`] is posted to one of the URLs, which answers an [`Outcome`].
#[derive(Debug)]
pub struct Http {
    urls: Vec<Url>,
    headers: HeaderMap,
    concurrency: usize,
}

impl Http {
    /// A backend of the workers at `urls`, with `concurrency` calls in flight; as many as the workers say that they take,
    /// where `None`. `token` is told to each of them.
    ///
    /// # Errors
    /// A URL is malformed or would carry the token in the open, or no worker can be reached.
    pub fn connect(
        urls: &[String],
        token: Option<&str>,
        concurrency: Option<usize>,
    ) -> Result<Self, DispatchError> {
        let urls = urls
            .iter()
            .map(|text| parse(text, token.is_some()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(unusable)?;
        let headers = headers(token).map_err(unusable)?;
        let mut backend = Self {
            urls,
            headers,
            concurrency: 0,
        };
        let taken = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| unusable(format!("failed to start a runtime: {e}")))?
            .block_on(backend.ask())?;
        backend.concurrency = concurrency.unwrap_or(taken).max(1);
        Ok(backend)
    }

    fn client(&self) -> Result<Client, DispatchError> {
        http_client(self.headers.clone()).map_err(unusable)
    }

    /// How many calls the workers take at a time, all together.
    async fn ask(&self) -> Result<usize, DispatchError> {
        let client = self.client()?;
        let mut last = String::new();
        for _ in 0..ASKS {
            let asked = self.urls.iter().map(|url| ask(&client, url));
            let answers = futures_util::future::join_all(asked).await;
            let (there, missing): (Vec<_>, Vec<_>) =
                answers.into_iter().partition(std::result::Result::is_ok);
            if !there.is_empty() {
                return Ok(there.into_iter().flatten().sum());
            }
            last = missing
                .into_iter()
                .find_map(std::result::Result::err)
                .unwrap_or_default();
            tokio::time::sleep(ASK_AGAIN).await;
        }
        Err(unusable(format!(
            "no worker can be reached: {last}; start workers with `shoal worker --http`, and name their URLs with --url"
        )))
    }
}

/// What each request carries.
fn headers(token: Option<&str>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(token) = token {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", token.trim()))
            .map_err(|_| "the token (SHOAL_TOKEN) cannot stand in a header")?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    Ok(headers)
}

fn http_client(headers: HeaderMap) -> Result<Client, String> {
    Client::builder()
        .default_headers(headers)
        // A call that is sent elsewhere would lose its body, or tell the token to strangers.
        .redirect(redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_keepalive(KEEPALIVE)
        .build()
        .map_err(|e| describe(&e))
}

fn unusable(reason: String) -> DispatchError {
    DispatchError::Platform {
        backend: NAME,
        reason,
    }
}

/// Whether calls may be sent to `url`, with or without a token.
///
/// # Errors
/// It is malformed, holds a password, or would carry the token in the open.
pub fn check_url(url: &str, has_token: bool) -> Result<(), DispatchError> {
    parse(url, has_token).map(drop).map_err(unusable)
}

/// Stands for what is behind the `?` of a URL, where that is not told.
const NOT_TOLD: &str = "…";

/// `url` as it may be kept and shown: what stands behind its `?` may be a key.
pub fn shown_url(url: &str) -> String {
    match url.split_once(['?', '#']) {
        Some((place, _)) => format!("{place}?{NOT_TOLD}"),
        None => url.to_owned(),
    }
}

/// The URL that `text` is. A token may cross this machine in the open, and nothing else.
fn parse(text: &str, has_token: bool) -> Result<Url, String> {
    let shown = shown_url(text);
    let url = Url::parse(text).map_err(|e| format!("--url {shown} is malformed: {e}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("--url {shown} is no URL of HTTP"));
    }
    if text.ends_with(&format!("?{NOT_TOLD}")) {
        return Err(format!(
            "what stands behind the ? of {shown} is not kept, as it may be a key; give the whole URL again (--url)"
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!(
            "--url {} holds a user or password; a token is given as SHOAL_TOKEN",
            place(&url)
        ));
    }
    let is_here = match url.host_str() {
        Some(host) => {
            let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
            host == "localhost" || address.is_ok_and(|address| address.is_loopback())
        }
        None => false,
    };
    if has_token && url.scheme() == "http" && !is_here {
        return Err(format!(
            "the token (SHOAL_TOKEN) would go to {} in the open; use https, or unset it",
            place(&url)
        ));
    }
    Ok(url)
}

/// A URL as it is shown: a query may hold a key.
fn place(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    // Refused by schemes that have none.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.to_string()
}

/// How many calls the worker at `url` takes.
async fn ask(client: &Client, url: &Url) -> Result<usize, String> {
    let Ok(ready) = url.join("/ready") else {
        return Ok(UNKNOWN_CONCURRENCY);
    };
    let answer = client.get(ready).timeout(ASK_TIMEOUT).send().await;
    let answer = answer.map_err(|e| format!("{}: {}", place(url), describe(&e)))?;
    let Ok(body) = read(answer).await else {
        return Ok(UNKNOWN_CONCURRENCY);
    };
    Ok(calls_of(&body))
}

/// The calls that a worker takes at a time, by its answer. More than that is not believed of one URL: whoever wants it says
/// `--concurrency`.
fn calls_of(ready: &[u8]) -> usize {
    const MOST: usize = 1024;
    #[derive(serde::Deserialize)]
    struct Ready {
        concurrency: usize,
    }
    serde_json::from_slice(ready).map_or(UNKNOWN_CONCURRENCY, |ready: Ready| {
        ready.concurrency.min(MOST)
    })
}

/// The whole of an answer, which must not be large.
async fn read(mut answer: Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|e| describe(&e))? {
        if body.len() + chunk.len() > LARGEST_ANSWER {
            return Err(format!("its answer has more than {LARGEST_ANSWER} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// An error with its causes, and without the URL, which may hold a key.
fn describe(error: &reqwest::Error) -> String {
    let mut text = String::from(if error.is_connect() {
        "failed to connect"
    } else if error.is_timeout() {
        "timed out"
    } else {
        "the connection broke"
    });
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// The workers, and what calls them.
struct Calls<'a> {
    client: Client,
    workers: &'a Workers,
}

/// What one worker said to a call.
enum Said {
    /// The answer.
    Outcome(Box<Result<Receipt, Failure>>),
    /// It did not take the call; it may take others.
    Busy(String),
    /// It did not take the call, and will take none for a while.
    Away(String),
    /// The call was lost in the middle, and the worker may be too: the batch may have killed it, or the network the call.
    Lost(Failure),
}

impl Caller for Calls<'_> {
    async fn call(&self, lane: usize, invocation: &Invocation) -> Result<Receipt, Failure> {
        let mut last = String::from("all workers are away");
        for worker in self.workers.for_lane(lane) {
            let url = self.workers.url(worker);
            match self.post(url, invocation).await {
                Said::Outcome(result) => {
                    self.workers.is_there(worker);
                    return *result;
                }
                Said::Busy(reason) => {
                    self.workers.is_there(worker);
                    last = reason;
                }
                Said::Away(reason) => {
                    self.workers.rest(worker);
                    last = reason;
                }
                Said::Lost(failure) => {
                    self.workers.lost(worker);
                    return Err(failure);
                }
            }
        }
        Err(Failure::new(FailureKind::Throttled, last))
    }
}

impl Calls<'_> {
    async fn post(&self, url: &Url, invocation: &Invocation) -> Said {
        let body = serde_json::to_vec(invocation).expect("an invocation is always JSON");
        let at = |reason: &str| format!("worker {}: {reason}", place(url));
        let answer = match self.client.post(url.clone()).body(body).send().await {
            Ok(answer) => answer,
            Err(e) if e.is_connect() => return Said::Away(at(&describe(&e))),
            Err(e) => {
                let reason = at(&describe(&e));
                return Said::Lost(Failure::new(FailureKind::Crashed, reason));
            }
        };
        let status = answer.status();
        match read(answer).await {
            Ok(body) => understand(status, &body, at),
            Err(reason) => Said::Lost(Failure::new(FailureKind::Crashed, at(&reason))),
        }
    }
}

fn understand(status: StatusCode, body: &[u8], at: impl Fn(&str) -> String) -> Said {
    let failed = |kind, reason: &str| Said::Outcome(Box::new(Err(Failure::new(kind, at(reason)))));
    match (status.as_u16(), serde_json::from_slice::<Outcome>(body)) {
        (200, Ok(Outcome::Receipt(receipt))) => Said::Outcome(Box::new(Ok(*receipt))),
        (503, _) => Said::Away(at("it takes no calls now (503)")),
        (429, _) => Said::Busy(at("it is busy (429)")),
        (_, Ok(Outcome::Failure(failure))) => failed(failure.kind, &failure.reason),
        (502, _) => Said::Lost(Failure::new(
            FailureKind::Crashed,
            at("it ended in the middle of the call, or is not there (502)"),
        )),
        (504, _) => failed(FailureKind::TimedOut, "it had no more time (504)"),
        (408 | 425 | 500..=599, _) => {
            failed(FailureKind::Retryable, &format!("it answered {status}"))
        }
        (401 | 403, _) => failed(
            FailureKind::Refused,
            &format!("it answered {status}; is SHOAL_TOKEN what the worker was given?"),
        ),
        (_, _) => failed(
            FailureKind::Refused,
            &format!(
                "it answered {status} and no outcome; is this the URL of `shoal worker --http`?"
            ),
        ),
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
            second_attempts: true,
        };
        fan_out(&calls, settings, work, emit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_worker_says_of_itself_is_believed_within_limits() {
        assert_eq!(calls_of(br#"{"ready":true,"concurrency":7}"#), 7);
        assert_eq!(calls_of(br#"{"concurrency":18446744073709551615}"#), 1024);
        assert_eq!(calls_of(b"alive"), UNKNOWN_CONCURRENCY);
        assert_eq!(calls_of(br#"{"concurrency":-1}"#), UNKNOWN_CONCURRENCY);
    }

    #[test]
    fn what_is_kept_of_a_url_holds_no_key() {
        assert_eq!(shown_url("https://host/a?code=k#x"), "https://host/a?…");
        assert_eq!(shown_url("https://host/a#k"), "https://host/a?…");
        assert_eq!(shown_url("https://host/a"), "https://host/a");
        let kept = shown_url("https://host/a?code=k");
        let error = check_url(&kept, false).unwrap_err().to_string();
        assert!(error.contains("give the whole URL again"), "{error}");
    }

    #[test]
    fn tokens_do_not_leave_this_machine_in_the_open() {
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
    fn answers_are_understood_by_their_body_then_by_their_status() {
        let failure = |kind: &str| format!(r#"{{"failure":{{"kind":"{kind}","reason":"so"}}}}"#);
        let kind = |status: u16, body: &str| match understand(
            StatusCode::from_u16(status).unwrap(),
            body.as_bytes(),
            str::to_owned,
        ) {
            Said::Outcome(result) => result.err().map(|failure| failure.kind),
            Said::Lost(failure) => Some(failure.kind),
            Said::Busy(_) | Said::Away(_) => Some(FailureKind::Throttled),
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
