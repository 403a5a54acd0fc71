//! HTTP workers: whether they respond, accept the token, and have this version.

use shoal_dispatch::WorkerProbe;

use super::{Check, clock};
use crate::Setting;
use crate::backend::{Http, token};
use crate::error::ExitCode;

const ABOUT: &str = "workers";

pub(super) fn look(http: &Http, checks: &mut Vec<Check>) {
    match shoal_dispatch::probe_workers(&http.urls, token().as_deref()) {
        Ok(looked) => looked
            .iter()
            .for_each(|looked| of_worker(looked, http, checks)),
        Err(reason) => {
            let fix = "change the URLs or SHOAL_TOKEN as the message says";
            let check = Check::ok(ABOUT, "URLs", reason).failed(ExitCode::Platform, fix);
            checks.push(check.by(Setting::Url));
        }
    }
}

fn of_worker(looked: &WorkerProbe, http: &Http, checks: &mut Vec<Check>) {
    let url = looked.url.as_str();
    let ready = match &looked.ready {
        Ok(()) => {
            let at_a_time = match looked.concurrency {
                Some(1) => "accepts 1 call at a time".to_owned(),
                Some(count) => format!("accepts {count} calls at a time"),
                None => "answers, and does not report how many calls it accepts".to_owned(),
            };
            Check::ok(ABOUT, url, at_a_time)
        }
        Err(reason) => Check::ok(ABOUT, url, reason.as_str()).failed(
            ExitCode::Platform,
            "start a worker there, or wait until its model is open; make sure that no proxy answers in its place",
        ),
    };
    let is_there = looked.ready.is_ok() || looked.accepts_calls.is_ok();
    checks.push(ready);
    if !is_there {
        return;
    }
    let with = match token() {
        Some(_) => "with the token of SHOAL_TOKEN",
        None => "without a token",
    };
    checks.push(match &looked.accepts_calls {
        Ok(()) => Check::ok(ABOUT, "token", format!("calls are accepted {with}")),
        Err(reason) => Check::ok(ABOUT, "token", format!("{with}, {reason}"))
            .failed(
                ExitCode::Platform,
                "set SHOAL_TOKEN to the token of the worker, and name the URL of the worker itself",
            )
            .by(Setting::Url),
    });
    if let Some(version) = &looked.version {
        let check = Check::ok(ABOUT, "version", format!("shoal {version}"));
        checks.push(if version == crate::VERSION {
            check
        } else {
            check.warning(format!(
                "this is shoal {}: results are bit-identical within one version only; start a worker of this one",
                crate::VERSION
            ))
        });
    }
    if let Some(ahead) = looked.clock_ahead {
        checks.push(clock(ABOUT, "clock", ahead, false));
    }
    let most = http.concurrency.zip(looked.concurrency);
    if let (Some((wanted, takes)), [_]) = (most, http.urls.as_slice())
        && wanted > takes
    {
        checks.push(
            Check::ok(
                ABOUT,
                "concurrency",
                format!("{wanted} calls for {takes} places"),
            )
            .warning(
                "start more workers, or lower the concurrency: excess calls are rejected and wait",
            )
            .by(Setting::Concurrency),
        );
    }
}
