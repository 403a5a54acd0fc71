//! Traces of runs, as a collector receives them.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::server::{Response, Server};
use crate::support::{ManyBatches, describe};

/// A collector that accepts every request.
fn collector() -> Server {
    Server::new(|_, _| Response {
        status: "200 OK",
        headers: "Content-Type: application/json\r\n".into(),
        content: b"{}".to_vec(),
    })
}

/// One span, as it was sent.
#[derive(Debug)]
struct Span {
    name: String,
    id: String,
    parent: String,
    trace: String,
    began: u128,
    ended: u128,
    failed: bool,
    attributes: BTreeMap<String, Value>,
}

/// All spans that `collector` received, which must follow the protocol.
fn spans(collector: &Server) -> Vec<Span> {
    let mut spans = Vec::new();
    for request in collector.requests() {
        assert_eq!(
            (request.method.as_str(), request.path.as_str()),
            ("POST", "/v1/traces")
        );
        let sent: Value = serde_json::from_slice(&request.content).unwrap();
        for resource in sent["resourceSpans"].as_array().unwrap() {
            let of_resource = attributes(&resource["resource"]["attributes"]);
            assert_eq!(of_resource["service.name"], "shoal");
            let scopes = resource["scopeSpans"].as_array().unwrap();
            for span in scopes
                .iter()
                .flat_map(|scope| scope["spans"].as_array().unwrap())
            {
                let text = |name: &str| span[name].as_str().unwrap_or_default().to_owned();
                let nanoseconds = |name: &str| text(name).parse().unwrap();
                let (trace, id) = (text("traceId"), text("spanId"));
                assert_eq!((trace.len(), id.len()), (32, 16), "{span}");
                spans.push(Span {
                    name: text("name"),
                    parent: text("parentSpanId"),
                    began: nanoseconds("startTimeUnixNano"),
                    ended: nanoseconds("endTimeUnixNano"),
                    failed: span["status"]["code"] == 2,
                    attributes: attributes(&span["attributes"]),
                    trace,
                    id,
                });
            }
        }
    }
    spans
}

/// Attributes by name. In the protocol's JSON, integers are strings.
fn attributes(list: &Value) -> BTreeMap<String, Value> {
    let list = list.as_array().unwrap().iter();
    list.map(|attribute| {
        let value = attribute["value"].as_object().unwrap().values().next();
        (
            attribute["key"].as_str().unwrap().to_owned(),
            value.unwrap().clone(),
        )
    })
    .collect()
}

fn one<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let mut found = spans.iter().filter(|span| span.name == name);
    let span = found.next().unwrap_or_else(|| panic!("{name}: {spans:?}"));
    assert!(found.next().is_none(), "{name}: {spans:?}");
    span
}

#[test]
fn a_run_is_one_trace_with_a_span_for_each_attempt() {
    let job = ManyBatches::new(60, 20);
    let collector = collector();
    let output = job
        .run("run", &["--otlp", &collector.url()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", describe(&output));
    let spans = spans(&collector);
    let run = one(&spans, "run");
    assert_eq!((run.parent.as_str(), run.failed), ("", false));
    assert_eq!(run.attributes["shoal.batches"], "4");
    for stage in ["plan", "dispatch", "verify", "collect"] {
        assert_eq!(one(&spans, stage).parent, run.id, "{stage}");
    }
    let dispatch = one(&spans, "dispatch");
    assert_eq!(dispatch.attributes["shoal.backend"], "local");
    let attempts: Vec<_> = spans.iter().filter(|span| span.name == "attempt").collect();
    assert_eq!(attempts.len(), 4);
    for attempt in &attempts {
        assert_eq!((&attempt.parent, attempt.failed), (&dispatch.id, false));
        assert_eq!(attempt.attributes["shoal.attempt"], "1");
        assert!(attempt.attributes["shoal.environment"].is_string());
        assert!(attempt.attributes["shoal.cold"].is_boolean());
    }
    let records: u64 = attempts
        .iter()
        .map(|attempt| {
            attempt.attributes["shoal.records"]
                .as_str()
                .unwrap()
                .parse::<u64>()
                .unwrap()
        })
        .sum();
    assert_eq!(records, 62);
    for span in &spans {
        assert_eq!(span.trace, run.trace);
        assert!(run.began <= span.began && span.began <= span.ended && span.ended <= run.ended);
    }
    // The text of a record is not sent.
    let sent = collector.requests();
    let has = |text: &str| {
        sent.iter()
            .any(|request| String::from_utf8_lossy(&request.content).contains(text))
    };
    assert!(has("shoal.records") && !job.texts().iter().any(|text| has(text)));
}

#[test]
fn a_failed_run_has_a_failed_span() {
    let job = ManyBatches::new(60, 20);
    let collector = collector();
    let output = job
        .run("run", &["--on-error", "fail", "--otlp", "env"])
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(7), "{}", describe(&output));
    assert!(one(&spans(&collector), "run").failed);
}

#[test]
fn an_unreachable_or_refusing_collector_causes_one_warning() {
    let job = ManyBatches::new(60, 20);
    let refusing = Server::new(|_, _| Response {
        status: "403 Forbidden",
        headers: String::new(),
        content: Vec::new(),
    });
    for (name, url) in [
        ("away", "http://127.0.0.1:1".to_owned()),
        ("refused", refusing.url()),
    ] {
        let output = job.run(name, &["--otlp", &url]).output().unwrap();
        assert!(output.status.success(), "{}", describe(&output));
        let printed = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(
            printed.matches("warning: the trace was not sent").count(),
            1,
            "{printed}"
        );
        job.check(name);
    }
    let output = job.run("wrong", &["--otlp", "localhost"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", describe(&output));
    // Without the option, the variable has no effect.
    let collector = collector();
    let output = job
        .run("untraced", &[])
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url())
        .output()
        .unwrap();
    assert!(output.status.success() && collector.requests().is_empty());
}
