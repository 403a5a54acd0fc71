//! Responses in Lambda's format: *Invoke* (`lambda/latest/api/API_Invoke.html`).

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;
use shoal_job::wire::{Invocation, Receipt, Reply, Stored, Timings};

use crate::environments::Busy;

/// A response with a JSON body.
pub(crate) fn json(body: &impl serde::Serialize) -> Response {
    let body = serde_json::to_vec(body).expect("the body is always JSON");
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// The response to a throttled call.
pub(crate) fn throttled() -> Response {
    let body = json!({
        "Reason": "ConcurrentInvocationLimitExceeded",
        "Type": "User",
        "message": "Rate Exceeded.",
    });
    let header = [("x-amzn-errortype", "TooManyRequestsException")];
    (StatusCode::TOO_MANY_REQUESTS, header, json(&body)).into_response()
}

/// The response of a function that reports success without doing any work.
pub(crate) fn done(invocation: &Invocation, busy: &Busy<'_>, wants_log: bool) -> Response {
    let duration_ms = busy.duration().as_millis();
    let log = wants_log.then(|| {
        let report = format!(
            "REPORT RequestId: 00000000-0000-4000-8000-000000000000\tDuration: {duration_ms}.00 ms\tBilled Duration: {duration_ms} ms\t\
             Memory Size: 1769 MB\tMax Memory Used: 99 MB\t\n"
        );
        [("X-Amz-Log-Result", BASE64_STANDARD.encode(report))]
    });
    let batch = &invocation.batch;
    let records = batch.records.saturating_sub(batch.offset);
    let receipt = Receipt {
        batch: batch.index,
        offset: batch.offset,
        attempt: invocation.attempt,
        records,
        units: records,
        part: Stored::of(b""),
        timings: Timings {
            total: duration_ms as f64,
            ..Timings::default()
        },
        environment: format!("simulated/{}", busy.number).into(),
        cold: busy.cold,
        engine: "none".into(),
        ..Receipt::default()
    };
    let version = [("X-Amz-Executed-Version", "$LATEST")];
    (version, log, json(&Reply::new(invocation, receipt))).into_response()
}
