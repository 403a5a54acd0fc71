//! Spans in the JSON of OpenTelemetry's protocol, and the connection to a collector: *OTLP Specification 1.9*.

use std::time::Duration;

use percent_encoding::percent_decode_str;
use serde::Serialize;
use serde_json::{Value, json};
use shoal_job::http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use shoal_job::http::{self, Client, describe};

/// The time limit of a request, for which a finished run may wait.
const TIMEOUT: Duration = Duration::from_secs(5);
/// OpenTelemetry's variable with headers for the collector: `name=value,…`, percent-encoded.
const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";

/// An attribute of a span.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Attribute {
    key: &'static str,
    value: Value,
}

impl Attribute {
    pub(super) fn text(key: &'static str, text: impl Into<String>) -> Self {
        let value = json!({ "stringValue": text.into() });
        Self { key, value }
    }

    pub(super) fn is(key: &'static str, value: bool) -> Self {
        let value = json!({ "boolValue": value });
        Self { key, value }
    }

    /// Integers are text in this protocol, and signed.
    pub(super) fn count(key: &'static str, count: u64) -> Self {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let value = json!({ "intValue": count.to_string() });
        Self { key, value }
    }

    pub(super) fn number(key: &'static str, number: f64) -> Self {
        let value = json!({ "doubleValue": number });
        Self { key, value }
    }
}

/// The kind of a span.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// Work of this process.
    Internal = 1,
    /// A call of something else.
    Client = 3,
}

/// The end of a span: success, or an error with its reason.
pub(super) type Status = Result<(), String>;

/// A span that has ended.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Span {
    pub(super) trace_id: String,
    pub(super) span_id: String,
    /// Empty for the first of a trace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) parent_span_id: String,
    pub(super) name: &'static str,
    #[serde(serialize_with = "as_number")]
    pub(super) kind: Kind,
    /// Unix time in milliseconds, as all times here.
    #[serde(rename = "startTimeUnixNano", serialize_with = "as_nanoseconds")]
    pub(super) began: u64,
    #[serde(rename = "endTimeUnixNano", serialize_with = "as_nanoseconds")]
    pub(super) ended: u64,
    pub(super) attributes: Vec<Attribute>,
    /// `None` if the span has no status of its own.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_status")]
    pub(super) status: Option<Status>,
}

fn as_number<S: serde::Serializer>(kind: &Kind, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u32(*kind as u32)
}

fn as_nanoseconds<S: serde::Serializer>(unix_ms: &u64, to: S) -> Result<S::Ok, S::Error> {
    let nanoseconds = u128::from(*unix_ms) * 1_000_000;
    to.collect_str(&nanoseconds)
}

fn as_status<S: serde::Serializer>(status: &Option<Status>, to: S) -> Result<S::Ok, S::Error> {
    match status {
        Some(Err(reason)) => json!({ "code": 2, "message": reason }),
        _ => json!({ "code": 1 }),
    }
    .serialize(to)
}

/// A random identifier of `BYTES` bytes, in hexadecimal digits.
pub(super) fn new_id<const BYTES: usize>() -> String {
    // Zeros would be invalid.
    (0..BYTES)
        .map(|_| format!("{:02x}", fastrand::u8(1..)))
        .collect()
}

/// The collector.
pub(super) struct Collector {
    client: Client,
    url: String,
}

impl Collector {
    /// The collector with the base URL `base`. Does not call it.
    ///
    /// # Errors
    /// `OTEL_EXPORTER_OTLP_HEADERS` is malformed.
    pub(super) fn new(base: &str) -> Result<Self, String> {
        let variable = std::env::var(HEADERS).unwrap_or_default();
        let client = http::client()
            .default_headers(headers(&variable)?)
            .timeout(TIMEOUT)
            .build()
            .map_err(|e| describe(&e))?;
        Ok(Self {
            client,
            url: format!("{}/v1/traces", base.trim_end_matches('/')),
        })
    }

    /// Sends spans.
    pub(super) async fn send(&self, spans: &[Span]) -> Result<(), String> {
        let service = [
            Attribute::text("service.name", "shoal"),
            Attribute::text("service.version", crate::VERSION),
        ];
        let scope = json!({ "name": "shoal", "version": crate::VERSION });
        let content = json!({ "resourceSpans": [{
            "resource": { "attributes": service },
            "scopeSpans": [{ "scope": scope, "spans": spans }],
        }] });
        let request = self.client.post(&self.url);
        let request = request.header(CONTENT_TYPE, "application/json");
        let answer = request.body(content.to_string()).send().await;
        let status = answer.map_err(|e| describe(&e))?.status();
        match status.is_success() {
            true => Ok(()),
            false => Err(format!("the collector answered with HTTP {status}")),
        }
    }
}

fn headers(variable: &str) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for pair in variable.split(',').filter(|pair| !pair.trim().is_empty()) {
        let parsed = pair.split_once('=').and_then(|(name, value)| {
            let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
            let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
            let mut value = HeaderValue::from_str(&value).ok()?;
            value.set_sensitive(true);
            Some((name, value))
        });
        let (name, value) = parsed.ok_or_else(|| {
            // It may contain a key.
            format!("{HEADERS} must be headers as name=value, separated by commas")
        })?;
        headers.insert(name, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_the_specification_says() {
        let found = headers("authorization=Basic%20YTpi, x-team=a=b,").unwrap();
        assert_eq!(found["authorization"], "Basic YTpi");
        assert_eq!(found["x-team"], "a=b");
        assert!(headers("").unwrap().is_empty());
        for wrong in ["secret", "a b=c", "a=%0A"] {
            let error = headers(wrong).unwrap_err();
            assert!(error.contains(HEADERS) && !error.contains(wrong), "{error}");
        }
    }
}
