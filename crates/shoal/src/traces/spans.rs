//! Converts the events of a run to spans.

use std::borrow::Cow;
use std::time::{Duration, UNIX_EPOCH};

use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SpanData, SpanEvents, SpanLinks};
use shoal_job::Event;
use shoal_job::wire::Receipt;
use shoal_report::{Call, Phase, RunState};

/// The open spans of one start of a run. Times are Unix times in milliseconds, as in `events.jsonl`.
pub(super) struct Spans {
    ids: RandomIdGenerator,
    trace: TraceId,
    run: Open,
    /// The current stage of the run.
    stage: Option<Open>,
    /// The latest stage that called functions.
    dispatch: SpanId,
    state: RunState,
}

struct Open {
    id: SpanId,
    name: &'static str,
    began: u64,
    attributes: Vec<KeyValue>,
}

impl Spans {
    /// Starts the trace of a run.
    pub(super) fn begin(at: u64) -> Self {
        let ids = RandomIdGenerator::default();
        Self {
            trace: ids.new_trace_id(),
            run: Open {
                id: ids.new_span_id(),
                name: "run",
                began: at,
                attributes: Vec::new(),
            },
            ids,
            stage: None,
            dispatch: SpanId::INVALID,
            state: RunState::default(),
        }
    }

    /// Adds the next event. `out` gets the spans that end with it.
    pub(super) fn apply(&mut self, at: u64, event: &Event, out: &mut dyn FnMut(SpanData)) {
        let change = self.state.apply(at, event);
        self.enter_stage(at, matches!(event, Event::Started { .. }), out);
        for call in &change.unanswered {
            out(self.unanswered(call, at));
        }
        match event {
            Event::Planned { records, batches } => self.run.attributes.extend([
                KeyValue::new("shoal.records", number(*records)),
                KeyValue::new("shoal.batches", number(*batches)),
            ]),
            Event::Started {
                backend,
                concurrency,
                reused_batches,
                ..
            } => {
                let stage = self.stage.as_mut().expect("a start is a stage");
                stage.attributes.extend([
                    KeyValue::new("shoal.backend", backend.clone()),
                    KeyValue::new("shoal.concurrency", number(*concurrency as u64)),
                    KeyValue::new("shoal.reused_batches", number(*reused_batches)),
                ]);
            }
            Event::Finished { receipt, .. } => {
                // A platform with its own fan-out reports only the ends of calls.
                let called = change.answered.map(|call| call.called_unix_ms);
                let began = called.unwrap_or_else(|| began(receipt, at));
                out(self.attempt(began, at, of_receipt(receipt), Status::Ok));
            }
            Event::Superseded { .. } => {
                if let Some(call) = change.answered {
                    let mut attributes = of_call(&call);
                    attributes.push(KeyValue::new("shoal.superseded", true));
                    out(self.attempt(call.called_unix_ms, at, attributes, Status::Ok));
                }
            }
            Event::Failed {
                batch,
                attempt,
                kind,
                reason,
                retry,
                ..
            } => {
                let began = change.answered.map_or(at, |call| call.called_unix_ms);
                let attributes = vec![
                    KeyValue::new("shoal.batch", number(*batch)),
                    KeyValue::new("shoal.attempt", i64::from(*attempt)),
                    KeyValue::new("shoal.failure", kind.name()),
                    KeyValue::new("shoal.retry", *retry),
                ];
                out(self.attempt(began, at, attributes, Status::error(reason.clone())));
            }
            Event::Completed { results, failed } => self.run.attributes.extend([
                KeyValue::new("shoal.results", number(*results)),
                KeyValue::new("shoal.failed", number(*failed)),
            ]),
            _ => {}
        }
    }

    /// Ends all open spans.
    pub(super) fn end(mut self, at: u64, error: Option<String>, out: &mut dyn FnMut(SpanData)) {
        for call in self.state.in_flight.values() {
            out(self.unanswered(call, at));
        }
        self.leave_stage(at, out);
        let status = error.map_or(Status::Ok, Status::error);
        out(close(self.trace, self.run, SpanId::INVALID, at, status));
    }

    /// Ends the span of the previous stage and starts that of the current one, if they differ or the start `is_new`.
    fn enter_stage(&mut self, at: u64, is_new: bool, out: &mut dyn FnMut(SpanData)) {
        let name = match self.state.phase {
            Phase::Planning => Some("plan"),
            Phase::Dispatching => Some("dispatch"),
            Phase::Verifying => Some("verify"),
            Phase::Collecting => Some("collect"),
            Phase::New | Phase::Preparing | Phase::Ended(_) => None,
        };
        if self.stage.as_ref().map(|stage| stage.name) == name && !is_new {
            return;
        }
        self.leave_stage(at, out);
        let ids = &self.ids;
        self.stage = name.map(|name| Open {
            id: ids.new_span_id(),
            name,
            began: at,
            attributes: Vec::new(),
        });
        if let Some(stage) = self.stage.as_ref().filter(|stage| stage.name == "dispatch") {
            self.dispatch = stage.id;
        }
    }

    fn leave_stage(&mut self, at: u64, out: &mut dyn FnMut(SpanData)) {
        if let Some(stage) = self.stage.take() {
            out(close(self.trace, stage, self.run.id, at, Status::Unset));
        }
    }

    fn unanswered(&self, call: &Call, at: u64) -> SpanData {
        let status = Status::error("it was in flight when the run ended");
        self.attempt(call.called_unix_ms, at, of_call(call), status)
    }

    fn attempt(&self, began: u64, at: u64, attributes: Vec<KeyValue>, status: Status) -> SpanData {
        let attempt = Open {
            id: self.ids.new_span_id(),
            name: "attempt",
            began,
            attributes,
        };
        SpanData {
            span_kind: SpanKind::Client,
            ..close(self.trace, attempt, self.dispatch, at, status)
        }
    }
}

fn close(trace: TraceId, span: Open, parent: SpanId, at: u64, status: Status) -> SpanData {
    let time = |unix_ms| UNIX_EPOCH + Duration::from_millis(unix_ms);
    SpanData {
        span_context: SpanContext::new(
            trace,
            span.id,
            TraceFlags::SAMPLED,
            false,
            TraceState::default(),
        ),
        parent_span_id: parent,
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name: Cow::Borrowed(span.name),
        start_time: time(span.began),
        end_time: time(at.max(span.began)),
        attributes: span.attributes,
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status,
        instrumentation_scope: InstrumentationScope::builder("shoal")
            .with_version(crate::VERSION)
            .build(),
    }
}

fn of_call(call: &Call) -> Vec<KeyValue> {
    vec![
        KeyValue::new("shoal.batch", number(call.batch)),
        KeyValue::new("shoal.attempt", i64::from(call.attempt)),
    ]
}

fn of_receipt(receipt: &Receipt) -> Vec<KeyValue> {
    vec![
        KeyValue::new("shoal.batch", number(receipt.batch)),
        KeyValue::new("shoal.attempt", i64::from(receipt.attempt)),
        KeyValue::new("shoal.cold", receipt.cold),
        KeyValue::new("shoal.records", number(receipt.records)),
        KeyValue::new("shoal.failed", number(receipt.failed)),
        KeyValue::new("shoal.units", number(receipt.units)),
        KeyValue::new("shoal.environment", receipt.environment.clone()),
        KeyValue::new("shoal.function_ms", receipt.timings.total),
    ]
}

/// The start of the work of `receipt`; estimated from its duration if unknown.
fn began(receipt: &Receipt, at: u64) -> u64 {
    match receipt.started_unix_ms {
        0 => at.saturating_sub(receipt.timings.total.max(0.0) as u64),
        unix_ms => unix_ms.min(at),
    }
}

/// Numbers of OpenTelemetry are signed.
fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
