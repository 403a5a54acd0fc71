//! The API from which a function gets its events: *Using the Lambda runtime API for custom runtimes*
//! (`lambda/latest/dg/runtimes-api.html`).

use serde_json::{Value, json};
use shoal_job::http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use shoal_job::http::{self, Client, Error, Response, describe};
use shoal_job::wire::{Failure, FailureKind};

const REQUEST_ID: &str = "lambda-runtime-aws-request-id";
const DEADLINE: &str = "lambda-runtime-deadline-ms";
/// A part of an event's identity that newer environments send, and expect with the answer.
const INVOCATION_ID: &str = "lambda-runtime-invocation-id";
const ERROR_TYPE: &str = "lambda-runtime-function-error-type";

/// Gets one event after the other from the API at the address `api`, and answers each with what `answer` returns for it and
/// its deadline, a Unix time in milliseconds. Lambda ends the process between two events.
///
/// # Errors
/// The API is not reachable, or does not follow its protocol.
pub(super) fn answer_events(
    api: &str,
    answer: impl Fn(Value, u64) -> Result<Value, Failure>,
) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| format!("failed to start a runtime: {e}"))?;
    let lost = |e: Error| describe(&e);
    // A proxy would not reach an address inside the environment.
    let client = http::client().no_proxy().build().map_err(lost)?;
    let base = format!("http://{api}/2018-06-01/runtime/invocation");
    loop {
        // Answered when there is an event, perhaps after hours.
        let next = client.get(format!("{base}/next"));
        let next = runtime.block_on(async { next.send().await });
        let next = next.map_err(lost)?;
        let event = Event::new(&next)?;
        let body = runtime.block_on(next.bytes()).map_err(lost)?;
        let result = match serde_json::from_slice(&body) {
            Ok(content) => answer(content, event.deadline),
            Err(e) => Err(Failure::new(
                FailureKind::Refused,
                format!("failed to read an event: {e}"),
            )),
        };
        let sent = event.answer(&client, &base, result);
        runtime.block_on(sent).map_err(lost)?;
    }
}

struct Event {
    id: HeaderValue,
    invocation: Option<HeaderValue>,
    deadline: u64,
}

impl Event {
    /// From the headers of a response.
    fn new(response: &Response) -> Result<Self, String> {
        let (status, headers) = (response.status(), response.headers());
        if !status.is_success() {
            return Err(format!("the API answered with HTTP {status}"));
        }
        let deadline = headers.get(DEADLINE).and_then(|value| value.to_str().ok());
        Ok(Self {
            id: headers
                .get(REQUEST_ID)
                .cloned()
                .ok_or_else(|| format!("an event has no {REQUEST_ID}"))?,
            invocation: headers.get(INVOCATION_ID).cloned(),
            deadline: deadline.and_then(|text| text.parse().ok()).unwrap_or(0),
        })
    }

    /// Sends the result of the event.
    async fn answer(
        &self,
        client: &Client,
        base: &str,
        result: Result<Value, Failure>,
    ) -> Result<Response, Error> {
        let id = self.id.to_str().unwrap_or_default();
        let mut request = match &result {
            Ok(reply) => client
                .post(format!("{base}/{id}/response"))
                .body(reply.to_string()),
            Err(failure) => {
                let name = failure.kind.error_type();
                let error = json!({ "errorType": name, "errorMessage": failure.reason });
                client
                    .post(format!("{base}/{id}/error"))
                    .header(ERROR_TYPE, name)
                    .body(error.to_string())
            }
        };
        if let Some(invocation) = &self.invocation {
            request = request.header(HeaderName::from_static(INVOCATION_ID), invocation);
        }
        request
            .header(CONTENT_TYPE, "application/json")
            .send()
            .await
    }
}
