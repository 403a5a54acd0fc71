//! The worker of AWS Lambda: events are invocations, or requests to the function's URL with an invocation.

mod runtime_api;

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::{Value, json};
use shoal_function::CallLimits;
use shoal_job::wire::{Failure, FailureKind, Invocation, Receipt, Reply};

use super::emf::Metrics;
use super::environments::Environments;
use super::request_guard::{self, RequestGuard};
use super::{Allow, Token, WorkerSettings};
use crate::log::{self, Format, Level};
use crate::{EngineSettings, Error, Precision, Result, Target};

/// The variable with the address of Lambda's events.
const API: &str = "AWS_LAMBDA_RUNTIME_API";
/// The variables with the function's name and version.
const FUNCTION: &str = "AWS_LAMBDA_FUNCTION_NAME";
const VERSION: &str = "AWS_LAMBDA_FUNCTION_VERSION";
/// The name that Lambda requires for the program of a function.
const BOOTSTRAP: &str = "bootstrap";
/// The name of a model that is deployed with the program.
const PACKED: &str = "model.shoal";
/// The only writable folder of a function.
const CACHE: &str = "/tmp/shoal";
/// Time after a call's time limit; callers reserve more.
const GRACE: Duration = Duration::from_secs(2);

/// Whether Lambda started this process, rather than a user of the command.
pub fn is_called() -> bool {
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    let is_bootstrap = Path::new(&name).file_name().is_some_and(|n| n == BOOTSTRAP);
    is_bootstrap || (arguments.next().is_none() && std::env::var_os(API).is_some())
}

/// Answers events until Lambda ends the process. `started` is the start of the process.
///
/// `SHOAL_MODEL`, or the packed model beside this program, is opened before the first event. `SHOAL_PRECISION`, `SHOAL_ISA`
/// and `SHOAL_CACHE_DIR` are engine settings; `SHOAL_TOKEN` is the token for callers of the function's URL. Each invocation
/// is a line of the log (`SHOAL_LOG`, `SHOAL_LOG_FORMAT`; JSON by default), and a line of metrics.
///
/// # Errors
/// This is not an environment of Lambda, or the model cannot be used.
pub fn run(started: Instant) -> Result<()> {
    let variable = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
    for name in [API, FUNCTION, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", VERSION] {
        if variable(name).is_none() {
            return Err(Error::Settings(format!(
                "failed to run as a Lambda function: {name} is not set; outside of Lambda, rename the program from {BOOTSTRAP}"
            )));
        }
    }
    log::start(
        log::variable(log::FORMAT, &Format::ALL)?.unwrap_or(Format::Json),
        log::variable(log::LEVEL, &log::LEVELS)?.or(Some(Level::INFO)),
    );
    let precisions = Precision::ALL.map(|precision| (precision.name(), precision));
    let targets = Target::ALL.map(|target| (target.name(), target));
    let settings = WorkerSettings {
        model: variable("SHOAL_MODEL").or_else(packed_beside),
        engine: EngineSettings {
            precision: log::variable("SHOAL_PRECISION", &precisions)?,
            isa: log::variable("SHOAL_ISA", &targets)?,
            cache_dir: Some(variable("SHOAL_CACHE_DIR").map_or(CACHE.into(), Into::into)),
            ..EngineSettings::default()
        },
    };
    let request_guard = RequestGuard {
        token: Token::find(None)?,
        // The function's role limits the stores.
        allow: Allow::all(),
    };
    let function = Function {
        environments: Environments::new(super::host(&settings, started)?),
        request_guard,
        metrics: Metrics {
            function: variable(FUNCTION).unwrap_or_default(),
            version: variable(VERSION).unwrap_or_default(),
        },
    };
    let api = variable(API).unwrap_or_default();
    runtime_api::answer_events(&api, |event, deadline| {
        let work = || function.handle(event, instant(deadline));
        // A call that panics fails alone.
        catch_unwind(AssertUnwindSafe(work))
            .unwrap_or_else(|_| Err(Failure::new(FailureKind::Crashed, "the function panicked")))
    })
    .map_err(|e| Error::Settings(format!("failed to get events from Lambda: {e}")))
}

/// The packed model beside this program, if it exists.
fn packed_beside() -> Option<String> {
    let path = std::env::current_exe().ok()?.with_file_name(PACKED);
    path.is_file().then(|| path.to_string_lossy().into_owned())
}

struct Function {
    environments: Environments,
    request_guard: RequestGuard,
    metrics: Metrics,
}

impl Function {
    /// Processes a batch, and writes its metrics.
    fn work(
        &self,
        invocation: &Invocation,
        limits: &CallLimits,
    ) -> std::result::Result<Receipt, Failure> {
        let called = Instant::now();
        let result = self.environments.handle(invocation, limits);
        let line = self.metrics.line(invocation, &result, called.elapsed());
        // A function does not fail because of its log.
        let _ = writeln!(std::io::stdout(), "{line}");
        result
    }

    fn handle(
        &self,
        event: Value,
        deadline: Option<Instant>,
    ) -> std::result::Result<Value, Failure> {
        let limits = CallLimits {
            deadline,
            ..CallLimits::default()
        };
        if let Some((authorization, body)) = url_request(&event) {
            let guard = &self.request_guard;
            let authorized = guard.authorize(authorization);
            let (status, outcome) = match authorized.and_then(|()| guard.read(&body)) {
                Ok(invocation) => request_guard::answer(self.work(&invocation, &limits)),
                Err(answer) => answer,
            };
            return Ok(json!({
                "statusCode": status,
                "headers": { "content-type": "application/json" },
                "body": serde_json::to_string(&outcome).expect("an outcome is always JSON"),
                "isBase64Encoded": false,
            }));
        }
        let invocation: Invocation = serde_json::from_value(event).map_err(|e| {
            let reason = format!("failed to read an invocation: {e}");
            Failure::new(FailureKind::Refused, reason)
        })?;
        let _watch = watchdog(&invocation);
        let receipt = self.work(&invocation, &limits)?;
        let reply = Reply::new(&invocation, receipt);
        Ok(serde_json::to_value(reply).expect("a reply is always JSON"))
    }
}

/// Ends the process if a call exceeds its time limit by a grace period; the call drops the result when it is done. Otherwise
/// a blocked call would be billed until Lambda ends it, and cost more than was reserved.
fn watchdog(invocation: &Invocation) -> Option<Sender<()>> {
    let limit = Duration::from_millis(invocation.timeout_ms?) + GRACE;
    let (call, waits) = channel();
    std::thread::spawn(move || {
        if waits.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
            eprintln!("error: the call took longer than {limit:?}; this environment stops");
            std::process::exit(crate::error::ExitCode::Internal as i32);
        }
    });
    Some(call)
}

/// The `Authorization` header and the body of a request to the function's URL (payload format 2.0), if `event` is one.
fn url_request(event: &Value) -> Option<(Option<&str>, Vec<u8>)> {
    if event["version"] != "2.0" || !event["requestContext"].is_object() {
        return None;
    }
    let body = event["body"].as_str().unwrap_or_default();
    let body = if event["isBase64Encoded"] == true {
        // An empty body is rejected as well.
        BASE64_STANDARD.decode(body).unwrap_or_default()
    } else {
        body.as_bytes().to_vec()
    };
    // Lambda converts header names to lower case.
    Some((event["headers"]["authorization"].as_str(), body))
}

/// The instant of a Unix time in milliseconds; `None` if it has passed: emulators of Lambda set no deadline.
fn instant(unix_ms: u64) -> Option<Instant> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    let left = Duration::from_millis(unix_ms).checked_sub(now)?;
    Instant::now().checked_add(left)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::environments::tests::crashing;

    /// A function that crashes when it is called for the run of the invocation.
    fn function(token: Option<&str>) -> (Function, tempfile::TempDir, Invocation) {
        let (host, folder, invocation) = crashing();
        let function = Function {
            environments: Environments::new(host),
            request_guard: RequestGuard {
                token: token.map(|token| Token::new(token).unwrap()),
                allow: Allow::all(),
            },
            metrics: Metrics {
                function: "shoal".into(),
                version: "1".into(),
            },
        };
        (function, folder, invocation)
    }

    fn request(body: &str, is_encoded: bool, authorization: &str) -> Value {
        json!({
            "version": "2.0",
            "requestContext": { "http": { "method": "POST" } },
            "headers": { "authorization": authorization },
            "body": body,
            "isBase64Encoded": is_encoded,
        })
    }

    #[test]
    fn failures_have_an_error_type() {
        let (function, _folder, invocation) = function(None);
        let invocation = serde_json::to_value(invocation).unwrap();
        for (event, error_type) in [
            (json!({ "batch": 1 }), "Shoal.Refused"),
            (invocation.clone(), "Shoal.Crashed"),
            (invocation, "Shoal.Crashed"),
        ] {
            let failure = function.handle(event, None).unwrap_err();
            assert_eq!(failure.kind.error_type(), error_type);
        }
    }

    #[test]
    fn requests_to_the_url_need_the_token_and_are_answered_as_over_http() {
        let (function, _folder, invocation) = function(Some("s3cret"));
        let run = &serde_json::to_string(&invocation).unwrap();
        let encoded = BASE64_STANDARD.encode(run);
        for (event, status) in [
            (request(run, false, "Bearer wrong"), 401),
            (request(run, false, "Bearer s3cret"), 500),
            (request(&encoded, true, "Bearer s3cret"), 500),
            (request(&encoded, false, "Bearer s3cret"), 400),
            (request("%", true, "Bearer s3cret"), 400),
        ] {
            let answer = function.handle(event, None).unwrap();
            assert_eq!(answer["statusCode"], status, "{answer}");
            let body = answer["body"].as_str().unwrap();
            assert!(body.contains(r#"{"failure":"#), "{body}");
        }
    }

    #[test]
    fn past_deadlines_are_none() {
        assert_eq!(instant(1), None);
        let now = Instant::now();
        assert!(instant(u64::MAX).is_none_or(|end| end > now));
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let soon = instant(unix.as_millis() as u64 + 60_000).unwrap();
        assert!(soon > now && soon <= Instant::now() + Duration::from_secs(60));
    }
}
