//! An HTTP server for the scripted function, on the loopback interface.

use std::future::{IntoFuture, pending};
use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;
use shoal_job::wire::{Failure, FailureKind, Invocation, Outcome, Reply};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

use crate::function::{Act, Function, throttled};

/// The protocol of a [`TestServer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// `shoal worker --http`: an invocation is posted to any path and answered with an outcome. `GET /ready` returns the
    /// concurrency.
    Worker,
    /// `Invoke` of AWS Lambda: `POST /2015-03-31/functions/NAME/invocations`.
    Lambda,
}

/// A server for the scripted function. Dropping it closes the port and all connections.
#[derive(Debug)]
pub struct TestServer {
    address: SocketAddr,
    _runtime: Runtime,
}

impl TestServer {
    /// Starts a server for runs in local folders.
    ///
    /// # Panics
    /// Panics if no port is available.
    pub fn start(protocol: Protocol) -> Self {
        Self::start_with(protocol, Function::find_and_act)
    }

    /// Starts a server that answers calls by `function`.
    ///
    /// # Panics
    /// Panics if no port is available.
    pub fn start_with(
        protocol: Protocol,
        function: impl Fn(&Invocation) -> Act + Send + Sync + 'static,
    ) -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("the system can start a runtime");
        let listener = runtime
            .block_on(TcpListener::bind(("127.0.0.1", 0)))
            .expect("a port is free");
        let address = listener.local_addr().expect("the listener is bound");
        let router = match protocol {
            Protocol::Worker => Router::new()
                .route("/ready", get(|| async { r#"{"concurrency": 8}"# }))
                .fallback(post(answer)),
            Protocol::Lambda => {
                Router::new().route("/2015-03-31/functions/{name}/invocations", post(answer))
            }
        };
        let served = Served {
            protocol,
            function: Box::new(function),
            requests: AtomicU64::new(0),
        };
        let router = router.with_state(Arc::new(served));
        runtime.spawn(axum::serve(listener, router).into_future());
        Self {
            address,
            _runtime: runtime,
        }
    }

    /// The server's URL: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

struct Served {
    protocol: Protocol,
    function: Box<dyn Fn(&Invocation) -> Act + Send + Sync>,
    requests: AtomicU64,
}

async fn answer(State(served): State<Arc<Served>>, body: Bytes) -> Response {
    let Ok(invocation) = serde_json::from_slice::<Invocation>(&body) else {
        return (StatusCode::BAD_REQUEST, "the body is not an invocation").into_response();
    };
    let protocol = served.protocol;
    let number = served.requests.fetch_add(1, Ordering::Relaxed);
    // The function blocks on the store.
    let call = tokio::task::spawn_blocking(move || {
        let act = (served.function)(&invocation);
        (invocation, act)
    });
    let (invocation, act) = call.await.expect("the function does not panic");
    if act == Act::Hang && (protocol == Protocol::Worker || invocation.timeout_ms.is_none()) {
        // Ends when the client disconnects.
        return pending().await;
    }
    match protocol {
        Protocol::Worker => worker_answer(act),
        Protocol::Lambda => lambda_answer(&invocation, act, number),
    }
}

/// The response of a worker.
fn worker_answer(act: Act) -> Response {
    let result = match act {
        Act::Answer(result) => *result,
        Act::Throttle => Err(throttled()),
        // A panic closes the connection. The panic hook does not print this one.
        Act::Crash | Act::Hang => resume_unwind(Box::new("injected by the script")),
    };
    let status = match &result {
        Ok(_) => StatusCode::OK,
        Err(failure) => match failure.kind {
            FailureKind::Throttled => StatusCode::TOO_MANY_REQUESTS,
            FailureKind::Input => StatusCode::UNPROCESSABLE_ENTITY,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        },
    };
    let body = serde_json::to_string(&Outcome::from(result)).expect("an outcome is always JSON");
    (status, body).into_response()
}

/// The response of AWS Lambda. *Invoke* (`lambda/latest/api/API_Invoke.html`), and *Lambda function error handling*.
fn lambda_answer(invocation: &Invocation, act: Act, number: u64) -> Response {
    let id = format!("00000000-0000-4000-8000-{number:012}");
    let function_error = |error_type: &str, message: &str| {
        let body = json!({"errorType": error_type, "errorMessage": message}).to_string();
        ([("X-Amz-Function-Error", "Unhandled")], body).into_response()
    };
    let response = match act {
        Act::Answer(result) => match *result {
            Ok(receipt) => serde_json::to_string(&Reply::new(invocation, receipt))
                .expect("a reply is always JSON")
                .into_response(),
            Err(Failure { kind, reason }) => function_error(&kind.error_type(), &reason),
        },
        Act::Throttle => {
            let body = json!({
                "Reason": "ReservedFunctionConcurrentInvocationLimitExceeded",
                "Type": "User",
                "message": "Rate Exceeded.",
            });
            let header = [("x-amzn-errortype", "TooManyRequestsException")];
            return (StatusCode::TOO_MANY_REQUESTS, header, body.to_string()).into_response();
        }
        Act::Crash => function_error(
            "Runtime.ExitError",
            &format!("RequestId: {id} Error: Runtime exited with error: exit status 1"),
        ),
        Act::Hang => {
            let seconds = invocation.timeout_ms.unwrap_or_default() as f64 / 1e3;
            let message =
                format!("RequestId: {id} Error: Task timed out after {seconds:.2} seconds");
            function_error("Sandbox.Timedout", &message)
        }
    };
    let log = format!(
        "REPORT RequestId: {id}\tDuration: 12.34 ms\tBilled Duration: 13 ms\tMemory Size: 1769 MB\tMax Memory Used: 99 MB\t\
         Init Duration: 30.1 ms\t\n"
    );
    let headers = [
        ("x-amzn-RequestId", id),
        ("X-Amz-Executed-Version", "$LATEST".into()),
        ("X-Amz-Log-Result", BASE64_STANDARD.encode(log)),
    ];
    (headers, response).into_response()
}
