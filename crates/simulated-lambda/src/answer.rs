//! Responses in Lambda's format: *Invoke* (`lambda/latest/api/API_Invoke.html`).

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::http::response::Builder;
use serde_json::json;
use shoal_job::wire::{Invocation, Receipt, Reply, Stored, Timings};

use crate::environments::Busy;

pub(crate) type Answer = Response<Full<Bytes>>;

/// A response with this status and a JSON body.
pub(crate) fn json(status: u16, body: &impl serde::Serialize) -> Answer {
    finish(Response::builder().status(status), body)
}

fn finish(builder: Builder, body: &impl serde::Serialize) -> Answer {
    let body = serde_json::to_vec(body).expect("the body is always JSON");
    builder
        .header("Content-Type", "application/json")
        .body(Full::from(body))
        .expect("the headers are well formed")
}

/// The response to a throttled call.
pub(crate) fn throttled() -> Answer {
    let body = json!({
        "Reason": "ConcurrentInvocationLimitExceeded",
        "Type": "User",
        "message": "Rate Exceeded.",
    });
    let builder = Response::builder()
        .status(429)
        .header("x-amzn-errortype", "TooManyRequestsException");
    finish(builder, &body)
}

/// The response of a function that reports success without doing any work.
pub(crate) fn done(invocation: &Invocation, busy: &Busy<'_>, wants_log: bool) -> Answer {
    let duration_ms = busy.duration().as_millis();
    let mut builder = Response::builder().header("X-Amz-Executed-Version", "$LATEST");
    if wants_log {
        let report = format!(
            "REPORT RequestId: 00000000-0000-4000-8000-000000000000\tDuration: {duration_ms}.00 ms\tBilled Duration: {duration_ms} ms\t\
             Memory Size: 1769 MB\tMax Memory Used: 99 MB\t\n"
        );
        builder = builder.header("X-Amz-Log-Result", BASE64_STANDARD.encode(report));
    }
    let batch = &invocation.batch;
    let records = batch.records.saturating_sub(batch.offset);
    let receipt = Receipt {
        batch: batch.index,
        offset: batch.offset,
        remaining: 0,
        attempt: invocation.attempt,
        records,
        failed: 0,
        quarantined: 0,
        units: records,
        part: Stored::of(b""),
        dead_letters: None,
        started_unix_ms: 0,
        timings: Timings {
            total: duration_ms as f64,
            ..Timings::default()
        },
        environment: format!("simulated/{}", busy.number).into(),
        cold: busy.cold,
        peak_memory_bytes: None,
        billed_ms: None,
        sizing: None,
        engine: "none".into(),
        metrics: Default::default(),
    };
    finish(builder, &Reply::new(invocation, receipt))
}
