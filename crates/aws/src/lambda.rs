//! The lambda backend: direct invocations of a deployed function.
//!
//! This is the cheapest fan-out on AWS: it costs only requests and duration, and only Lambda's scaling rate limits how
//! fast environments start. Functions write their own parts and receipts, so a crash of the client loses nothing.

use std::sync::OnceLock;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine};
use serde::Deserialize;
use shoal_dispatch::{Backend, Caller, DispatchError, FanOut, Ramp, Work, fan_out};
use shoal_job::Event;
use shoal_job::http::header::{HeaderName, HeaderValue};
use shoal_job::wire::{Failure, FailureKind, Invocation, Receipt, Reply};

use crate::client::{Answer, CallError, Client, Request};
use crate::config::Config;
use crate::{Account, DeployedFunction, limits};

/// The scaling rate of a function: 1,000 environments immediately, and 1,000 more every 10 s. Lambda, *Understanding
/// Lambda function scaling* (`lambda/latest/dg/lambda-concurrency.html`).
pub const RAMP: Ramp = Ramp {
    start: 1000,
    step: 1000,
    every: Duration::from_secs(10),
};

const NAME: &str = "lambda";
/// Reads the configuration of the function with this name or ARN. Blocks: call it from ordinary threads only.
///
/// # Errors
/// [`DispatchError::Platform`] if there is no such function, or if its configuration cannot be read.
pub fn deployed(config: &Config, function: &str) -> Result<DeployedFunction, DispatchError> {
    let account = Account::new(config);
    let found = account.and_then(|account| account.function(function));
    found.map_err(|e| DispatchError::Platform {
        backend: NAME,
        reason: e.to_string(),
    })
}

/// Invokes a Lambda function directly.
#[derive(Debug, Clone)]
pub struct Lambda {
    config: Config,
    function: String,
    concurrency: usize,
}

impl Lambda {
    /// Creates a backend for the function with this name or ARN and up to `concurrency` calls in flight.
    pub fn new(config: Config, function: impl Into<String>, concurrency: usize) -> Self {
        Self {
            config,
            function: function.into(),
            concurrency,
        }
    }
}

impl Backend for Lambda {
    fn name(&self) -> &'static str {
        NAME
    }

    fn concurrency(&self) -> usize {
        self.concurrency
    }

    fn run(&self, work: &Work<'_>, emit: &mut dyn FnMut(Event)) -> Result<(), DispatchError> {
        // Each call in flight needs a connection. If the limit cannot be raised, calls beyond it fail.
        let _ = rlimit::increase_nofile_limit(u64::MAX);
        let calls = Calls {
            lambda: self,
            client: OnceLock::new(),
        };
        let settings = FanOut {
            concurrency: self.concurrency,
            ramp: Some(RAMP),
            allow_speculation: true,
        };
        fan_out(&calls, settings, work, emit)
    }
}

struct Calls<'a> {
    lambda: &'a Lambda,
    /// Created by the first call, because it binds to the runtime in which it is created.
    client: OnceLock<Result<Client, String>>,
}

impl Caller for Calls<'_> {
    async fn call(&self, _lane: usize, invocation: &Invocation) -> Result<Receipt, Failure> {
        let payload = serde_json::to_vec(invocation).expect("an invocation is always JSON");
        limits::check_payload(&payload)
            .map_err(|e| Failure::new(FailureKind::Input, e.to_string()))?;
        let client = self.client.get_or_init(|| Client::new(&self.lambda.config));
        let client = client
            .as_ref()
            .map_err(|reason| Failure::new(FailureKind::Refused, reason.as_str()))?;
        // The end of the log contains the billed duration.
        let request = Request::invoke(&self.lambda.function, payload).with(
            HeaderName::from_static("x-amz-log-type"),
            HeaderValue::from_static("Tail"),
        );
        // The fan-out does the retries, since it must know about every call, and a running function sends nothing.
        match client.send(&request, None).await {
            Ok(answer) => receipt(&answer),
            Err(error) => Err(self.failure(&error)),
        }
    }
}

impl Calls<'_> {
    fn failure(&self, error: &CallError) -> Failure {
        let kind = match error {
            CallError::Service(answer) => {
                if let Some(failure) = function_failure(&answer.body) {
                    // Emulators return a function's error this way; Lambda returns 200 and a header.
                    return failure;
                }
                kind_of(&answer.code, answer.status)
            }
            CallError::Lost(_) | CallError::Unreadable(_) => FailureKind::Retryable,
            CallError::Unsent(_) => FailureKind::Refused,
        };
        let function = &self.lambda.function;
        Failure::new(
            kind,
            format!("failed to invoke function {function}: {error}"),
        )
    }
}

/// The kind of an error that Lambda itself returns. *Invoke, Errors*
/// (`lambda/latest/api/API_Invoke.html#API_Invoke_Errors`).
fn kind_of(code: &str, status: u16) -> FailureKind {
    match code {
        "TooManyRequestsException"
        | "ThrottlingException"
        | "EC2ThrottledException"
        | "ENILimitReachedException" => FailureKind::Throttled,
        "RequestTooLargeException" => FailureKind::Input,
        // While a function is created or updated.
        "ResourceNotReadyException" | "ResourceConflictException" => FailureKind::Retryable,
        _ if status == 429 => FailureKind::Throttled,
        _ if status >= 500 => FailureKind::Retryable,
        _ => FailureKind::Refused,
    }
}

/// The receipt or the failure in the function's answer.
fn receipt(answer: &Answer) -> Result<Receipt, Failure> {
    let header = |name| answer.headers.get(name)?.to_str().ok();
    let payload = &*answer.body;
    if let Some(error) = header("x-amz-function-error") {
        return Err(function_failure(payload).unwrap_or_else(|| {
            let reason = format!("the function failed without a reason ({error})");
            Failure::new(FailureKind::Crashed, reason)
        }));
    }
    let reply: Reply = serde_json::from_slice(payload).map_err(|e| {
        // Not a shoal function, or another version of it.
        let reason = format!(
            "failed to parse the function's answer: {e}; check that the function was deployed by this version of shoal"
        );
        Failure::new(FailureKind::Refused, reason)
    })?;
    let mut receipt = reply.receipt;
    let billed_ms = header("x-amz-log-result").and_then(billed_ms);
    receipt.billed_ms = billed_ms.or(receipt.billed_ms);
    Ok(receipt)
}

/// The failure in an error payload.
fn function_failure(payload: &[u8]) -> Option<Failure> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct FunctionError {
        #[serde(default)]
        error_type: String,
        error_message: String,
    }
    let FunctionError {
        error_type,
        error_message,
    } = serde_json::from_slice(payload).ok()?;
    let kind = FailureKind::of_error_type(&error_type).unwrap_or({
        if error_type == "Sandbox.Timedout" || error_message.contains("Task timed out after") {
            FailureKind::TimedOut
        } else {
            // `Runtime.ExitError`, `Function.…`: the process exited, for example because it ran out of memory.
            FailureKind::Crashed
        }
    });
    let reason = match kind {
        FailureKind::Crashed if !error_type.is_empty() => {
            format!("the function failed ({error_type}): {error_message}")
        }
        _ => error_message,
    };
    Some(Failure::new(kind, reason))
}

/// The billed duration in the end of a function's log, which Lambda returns in base64.
fn billed_ms(log: &str) -> Option<f64> {
    let log = BASE64_STANDARD.decode(log).ok()?;
    let log = String::from_utf8_lossy(&log);
    let report = log.lines().rfind(|line| line.starts_with("REPORT "))?;
    let (_, billed) = report.split_once("Billed Duration: ")?;
    billed.split_once(" ms")?.0.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;

    use shoal_job::wire::Sizing;

    use super::*;

    /// The result of [`deployed`] for one response of Lambda.
    fn deployed_as(status: &str, answer: &str) -> Result<DeployedFunction, DispatchError> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let config = Config::of_emulator("eu-central-1", &endpoint);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = BufReader::new(stream.try_clone().unwrap()).lines();
                let first = request.next().unwrap().unwrap();
                let path = "/2015-03-31/functions/shoal/configuration";
                assert!(first.starts_with(&format!("GET {path} ")), "{first}");
                assert!(request.any(|line| line.unwrap().is_empty()));
                let length = answer.len();
                let head =
                    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close");
                write!(stream, "{head}\r\n\r\n{answer}").unwrap();
            });
            deployed(&config, "shoal")
        })
    }

    #[test]
    fn the_configuration_of_a_function_is_read() {
        let answer = r#"{"MemorySize": 1769, "Timeout": 900, "Architectures": ["arm64"]}"#;
        let expected = |architecture: &str, memory_mb, timeout_seconds| DeployedFunction {
            sizing: Sizing {
                memory_mb,
                architecture: architecture.into(),
                region: "eu-central-1".into(),
            },
            timeout_seconds,
            shoal: None,
            trouble: None,
        };
        assert_eq!(
            deployed_as("200 OK", answer).unwrap(),
            expected("arm64", 1769, 900)
        );
        let answer = r#"{"MemorySize": 128, "Timeout": 3}"#;
        assert_eq!(
            deployed_as("200 OK", answer).unwrap(),
            expected("x86_64", 128, 3)
        );
        for (status, answer, reason) in [
            ("200 OK", "{}", "did not return"),
            (
                "404 Not Found",
                r#"{"Message": "Function not found: shoal"}"#,
                "GetFunctionConfiguration",
            ),
        ] {
            let error = deployed_as(status, answer).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn function_errors_have_the_right_kind() {
        let kind = |payload: &str| function_failure(payload.as_bytes()).map(|f| f.kind);
        assert_eq!(
            kind(r#"{"errorType":"Shoal.Input","errorMessage":"gone"}"#),
            Some(FailureKind::Input)
        );
        assert_eq!(
            kind(r#"{"errorType":"Runtime.ExitError","errorMessage":"exit status 137"}"#),
            Some(FailureKind::Crashed)
        );
        assert_eq!(
            kind(
                r#"{"errorType":"Sandbox.Timedout","errorMessage":"RequestId: x Error: Task timed out after 3.00 seconds"}"#
            ),
            Some(FailureKind::TimedOut)
        );
        assert_eq!(
            kind(r#"{"errorMessage":"2026-01-01T00:00:00Z x Task timed out after 3.00 seconds"}"#),
            Some(FailureKind::TimedOut)
        );
        assert_eq!(kind("Internal Server Error"), None);
        assert_eq!(kind(r#"{"message":"no such function"}"#), None);
    }

    #[test]
    fn platform_errors_have_the_right_kind() {
        assert_eq!(
            kind_of("TooManyRequestsException", 429),
            FailureKind::Throttled
        );
        assert_eq!(kind_of("", 429), FailureKind::Throttled);
        assert_eq!(kind_of("ServiceException", 500), FailureKind::Retryable);
        assert_eq!(
            kind_of("ResourceConflictException", 409),
            FailureKind::Retryable
        );
        assert_eq!(
            kind_of("ResourceNotFoundException", 404),
            FailureKind::Refused
        );
        assert_eq!(kind_of("AccessDeniedException", 403), FailureKind::Refused);
        assert_eq!(kind_of("RequestTooLargeException", 413), FailureKind::Input);
    }

    #[test]
    fn the_billed_duration_is_read_from_the_log() {
        let log = "START RequestId: a\nEND RequestId: a\nREPORT RequestId: a\tDuration: 12.34 ms\tBilled Duration: 43 ms\t\
                   Memory Size: 1769 MB\tMax Memory Used: 99 MB\tInit Duration: 30.10 ms\t\n";
        let encoded = BASE64_STANDARD.encode(log);
        assert_eq!(billed_ms(&encoded), Some(43.0));
        assert_eq!(billed_ms(""), None);
        assert_eq!(billed_ms("not base64!"), None);
        assert_eq!(billed_ms(&BASE64_STANDARD.encode("START\n")), None);
    }
}
