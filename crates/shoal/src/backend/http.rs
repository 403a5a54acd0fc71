//! HTTP workers.

use serde::{Deserialize, Serialize, Serializer};
use shoal_dispatch::{Backend, WorkerProbe, probe_workers, redact_url};

use super::{BackendContext, BackendSettings};
use crate::doctor::Check;
use crate::error::ExitCode;
use crate::{Error, Result, Setting};
use shoal_report::numbers::plural;

/// The variable with the token of HTTP workers.
const TOKEN: &str = "SHOAL_TOKEN";
/// The subject of the checks.
const WORKERS: &str = "workers";

/// HTTP workers: `shoal worker --http`, or any other server that answers invocations.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Http {
    /// URLs of the workers. Their queries, which may be keys, are not serialized.
    #[serde(rename = "url", serialize_with = "redacted")]
    pub urls: Vec<String>,
    /// Batches in flight; as many as the workers accept if `None`.
    pub concurrency: Option<usize>,
    /// Time limit of one call, in seconds.
    pub timeout: Option<u64>,
}

fn redacted<S: Serializer>(urls: &[String], serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_seq(urls.iter().map(|url| redact_url(url)))
}

impl BackendSettings for Http {
    fn check(&self) -> Result<()> {
        if self.urls.is_empty() {
            let reason = "the backend http needs the URL of at least one worker";
            return Err(Error::setting(Setting::Url, reason));
        }
        for url in &self.urls {
            // Before the URL is written to the run directory: it may contain a password.
            shoal_dispatch::check_url(url, token().is_some())?;
        }
        Ok(())
    }

    fn timeout(&self) -> Option<u64> {
        self.timeout
    }

    fn urls(&self) -> &[String] {
        &self.urls
    }

    fn build(&self, _: &BackendContext<'_>) -> Result<Box<dyn Backend>> {
        let token = token();
        let backend =
            shoal_dispatch::Http::connect(&self.urls, token.as_deref(), self.concurrency)?;
        Ok(Box::new(backend))
    }

    fn diagnose(&self, checks: &mut Vec<Check>) {
        match probe_workers(&self.urls, token().as_deref()) {
            Ok(probes) => probes.iter().for_each(|probe| self.report(probe, checks)),
            Err(reason) => checks.push(
                Check::ok(WORKERS, "URLs", reason)
                    .failed(ExitCode::Platform, "change the URLs or SHOAL_TOKEN")
                    .by(Setting::Url),
            ),
        }
    }
}

impl Http {
    /// Adds the checks of one worker: whether it responds, accepts the token, and has this version.
    fn report(&self, probe: &WorkerProbe, checks: &mut Vec<Check>) {
        let url = probe.url.as_str();
        checks.push(match &probe.ready {
            Ok(()) => {
                let calls = match probe.concurrency {
                    Some(count) => {
                        format!("accepts {} at a time", plural(count as u64, "call", "calls"))
                    }
                    None => "answers, and does not report how many calls it accepts".to_owned(),
                };
                Check::ok(WORKERS, url, calls)
            }
            Err(reason) => Check::ok(WORKERS, url, reason.as_str()).failed(
                ExitCode::Platform,
                "start a worker there, or wait until its model is open; make sure that no proxy answers in its place",
            ),
        });
        if probe.ready.is_err() && probe.accepts_calls.is_err() {
            return;
        }
        let with = match token() {
            Some(_) => "with the token of SHOAL_TOKEN",
            None => "without a token",
        };
        checks.push(match &probe.accepts_calls {
            Ok(()) => Check::ok(WORKERS, "token", format!("calls are accepted {with}")),
            Err(reason) => Check::ok(WORKERS, "token", format!("{with}, {reason}"))
                .failed(
                    ExitCode::Platform,
                    "set SHOAL_TOKEN to the token of the worker, and name the URL of the worker itself",
                )
                .by(Setting::Url),
        });
        if let Some(version) = &probe.version {
            checks.push(Check::version(
                WORKERS,
                version,
                "start a worker of this version",
            ));
        }
        if let Some(ahead) = probe.clock_ahead {
            checks.push(Check::clock(WORKERS, ahead, false));
        }
        if let (Some(concurrency), Some(accepted), [_]) =
            (self.concurrency, probe.concurrency, self.urls.as_slice())
            && concurrency > accepted
        {
            let found = format!(
                "{}, but the worker accepts {accepted}",
                plural(concurrency as u64, "call", "calls")
            );
            let fix =
                "start more workers, or lower the concurrency: excess calls are rejected and wait";
            let check = Check::ok(WORKERS, "concurrency", found).warning(fix);
            checks.push(check.by(Setting::Concurrency));
        }
    }
}

/// The token of HTTP workers.
fn token() -> Option<String> {
    std::env::var(TOKEN).ok().filter(|token| !token.is_empty())
}
