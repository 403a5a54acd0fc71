//! Looking at workers before a run: whether they are there, take the token, and have the right time.

use std::time::{SystemTime, UNIX_EPOCH};

use reqwest::header::{DATE, HeaderMap};
use reqwest::{Client, Url};
use serde::Deserialize;
use shoal_job::wire::Outcome;

use super::{ASK_TIMEOUT, describe, headers, http_client, parse, place, read};

/// What a worker says of itself.
#[derive(Debug, Clone)]
pub struct Looked {
    /// Where it is, without what may be a key.
    pub url: String,
    /// Whether it takes calls, or why it does not.
    pub ready: Result<(), String>,
    /// Calls that it takes at a time, where it tells.
    pub concurrency: Option<usize>,
    /// Its version, where it tells.
    pub version: Option<String>,
    /// Whether a call would be let in, or why not.
    pub let_in: Result<(), String>,
    /// Seconds by which its clock is ahead of this machine's, where it tells; it counts whole ones.
    pub clock_ahead: Option<f64>,
}

/// Looks at the workers at `urls`, all at a time; no batch is worked on. `token` is told to each of them.
///
/// # Errors
/// A URL is malformed or would carry the token in the open, or the token cannot be told at all.
pub fn look(urls: &[String], token: Option<&str>) -> Result<Vec<Looked>, String> {
    let urls = urls
        .iter()
        .map(|text| parse(text, token.is_some()))
        .collect::<Result<Vec<_>, _>>()?;
    let client = http_client(headers(token)?)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| format!("failed to start a runtime: {e}"))?;
    let looks = urls.iter().map(|url| look_at(&client, url));
    Ok(runtime.block_on(futures_util::future::join_all(looks)))
}

async fn look_at(client: &Client, url: &Url) -> Looked {
    #[derive(Deserialize)]
    struct Ready {
        ready: bool,
        concurrency: Option<usize>,
        version: Option<String>,
    }
    let mut looked = Looked {
        url: place(url),
        ready: Ok(()),
        concurrency: None,
        version: None,
        let_in: Ok(()),
        clock_ahead: None,
    };
    let asked = unix_seconds();
    // What is no worker of ours need not know this path: then it is the call that tells.
    if let Ok(path) = url.join("/ready") {
        match client.get(path).timeout(ASK_TIMEOUT).send().await {
            Err(e) => {
                let reason = describe(&e);
                looked.ready = Err(reason.clone());
                looked.let_in = Err(reason);
                return looked;
            }
            Ok(answer) => {
                looked.clock_ahead = clock_ahead(answer.headers(), asked, unix_seconds());
                let body = read(answer).await.unwrap_or_default();
                if let Ok(told) = serde_json::from_slice::<Ready>(&body) {
                    looked.concurrency = told.concurrency;
                    looked.version = told.version;
                    if !told.ready {
                        looked.ready =
                            Err("it takes no calls now: it opens its model, or stops".into());
                    }
                }
            }
        }
    }
    // No invocation: whoever lets it in refuses to read it.
    let call = client.post(url.clone()).body("{}").timeout(ASK_TIMEOUT);
    looked.let_in = match call.send().await {
        Err(e) => Err(describe(&e)),
        Ok(answer) => {
            let status = answer.status();
            let body = read(answer).await.unwrap_or_default();
            let is_outcome = serde_json::from_slice::<Outcome>(&body).is_ok();
            match status.as_u16() {
                401 | 403 => Err(format!(
                    "it answered {status}; is SHOAL_TOKEN what the worker was given?"
                )),
                _ if is_outcome => Ok(()),
                _ => Err(format!(
                    "it answered {status} and no outcome; is this the URL of `shoal worker --http`?"
                )),
            }
        }
    };
    looked
}

fn clock_ahead(headers: &HeaderMap, asked: f64, answered: f64) -> Option<f64> {
    let date = httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()?;
    let there = date.duration_since(UNIX_EPOCH).ok()?.as_secs_f64();
    Some(if there > answered {
        there - answered
    } else if there + 1.0 < asked {
        there + 1.0 - asked
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
    fn dates_tell_how_clocks_differ() {
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
