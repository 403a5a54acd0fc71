//! Probes workers before a run: reachability, token, version and clock.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use shoal_job::http::header::{DATE, HeaderMap};
use shoal_job::http::{Client, Url, describe};
use shoal_job::waits::waiting_for;
use shoal_job::wire::Outcome;

use super::{
    CHECK_TOKEN, CHECK_URL, READY_TIMEOUT, block_on, display_url, headers, http_client, parse_all,
    read,
};

/// The state of a worker.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct WorkerProbe {
    /// Its URL, without a query that may contain a key.
    pub url: String,
    /// Whether the worker is ready, or why not.
    pub ready: Result<(), String>,
    /// The number of calls that it accepts at a time, if reported.
    pub concurrency: Option<usize>,
    /// Its version, if reported.
    pub version: Option<String>,
    /// Whether the worker accepts a call with this token, or why not.
    pub accepts_calls: Result<(), String>,
    /// Seconds by which its clock is ahead of this machine's, if reported; accurate to a second.
    pub clock_ahead: Option<f64>,
}

/// Probes the workers at `urls` concurrently, without processing a batch. `token` is sent to each of them.
///
/// # Errors
/// Fails if a URL is malformed or would send the token unencrypted, or if the token is not a valid header value.
pub fn probe_workers(urls: &[String], token: Option<&str>) -> Result<Vec<WorkerProbe>, String> {
    let urls = parse_all(urls, token)?;
    let client = http_client(headers(token)?)?;
    let probes = urls.iter().map(|url| probe_worker(&client, url));
    let shown: Vec<_> = urls.iter().map(display_url).collect();
    let _waiting = waiting_for(shown.join(", "));
    block_on(futures_util::future::join_all(probes))
}

async fn probe_worker(client: &Client, url: &Url) -> WorkerProbe {
    #[derive(Deserialize)]
    struct Ready {
        ready: bool,
        concurrency: Option<usize>,
        version: Option<String>,
    }
    let mut probe = WorkerProbe {
        url: display_url(url),
        ready: Ok(()),
        concurrency: None,
        version: None,
        accepts_calls: Ok(()),
        clock_ahead: None,
    };
    let asked = unix_seconds();
    // A gateway need not serve this path; then the call below decides.
    if let Ok(path) = url.join("/ready") {
        match client.get(path).timeout(READY_TIMEOUT).send().await {
            Err(e) => {
                let reason = describe(&e);
                probe.ready = Err(reason.clone());
                probe.accepts_calls = Err(reason);
                return probe;
            }
            Ok(answer) => {
                probe.clock_ahead = clock_ahead(answer.headers(), asked, unix_seconds());
                let body = read(answer).await.unwrap_or_default();
                if let Ok(ready) = serde_json::from_slice::<Ready>(&body) {
                    probe.concurrency = ready.concurrency;
                    probe.version = ready.version;
                    if !ready.ready {
                        probe.ready =
                            Err("it is not ready: it is loading its model or shutting down".into());
                    }
                }
            }
        }
    }
    // The body is not an invocation: a worker that accepts the call answers that it cannot parse it.
    let call = client.post(url.clone()).body("{}").timeout(READY_TIMEOUT);
    probe.accepts_calls = match call.send().await {
        Err(e) => Err(describe(&e)),
        Ok(answer) => {
            let status = answer.status();
            let body = read(answer).await.unwrap_or_default();
            let is_outcome = serde_json::from_slice::<Outcome>(&body).is_ok();
            match status.as_u16() {
                401 | 403 => Err(format!("it answered {status}{CHECK_TOKEN}")),
                _ if is_outcome => Ok(()),
                _ => Err(format!("it answered {status}{CHECK_URL}")),
            }
        }
    };
    probe
}

fn clock_ahead(headers: &HeaderMap, asked: f64, answered: f64) -> Option<f64> {
    let date = httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()?;
    let remote = date.duration_since(UNIX_EPOCH).ok()?.as_secs_f64();
    Some(if remote > answered {
        remote - answered
    } else if remote + 1.0 < asked {
        remote + 1.0 - asked
    } else {
        0.0
    })
}

fn unix_seconds() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_header_gives_the_clock_difference() {
        let mut headers = HeaderMap::new();
        assert_eq!(clock_ahead(&headers, 0.0, 0.0), None);
        headers.insert(DATE, "Sun, 06 Nov 1994 08:49:37 GMT".parse().unwrap());
        let then = 784_111_777.0;
        for (asked, answered, expected) in [
            (then + 0.2, then + 0.9, 0.0),
            (then - 40.0, then - 30.0, 30.0),
            (then + 61.0, then + 62.0, -60.0),
        ] {
            assert_eq!(clock_ahead(&headers, asked, answered), Some(expected));
        }
    }
}
