//! From the events of a run to spans.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SpanData, SpanEvents, SpanLinks};
use shoal_job::Event;
use shoal_job::wire::Receipt;

/// The spans of one start of a run that have not ended yet.
pub(super) struct Spans {
    ids: RandomIdGenerator,
    trace: TraceId,
    run: Open,
    /// What the run does now: one of its stages.
    stage: Option<Open>,
    /// Calls under way, by their environment.
    calls: HashMap<usize, Call>,
}

struct Open {
    id: SpanId,
    name: &'static str,
    began: SystemTime,
    attributes: Vec<KeyValue>,
}

struct Call {
    batch: u64,
    attempt: u32,
    /// The stage that it belongs to.
    stage: SpanId,
    began: SystemTime,
}

impl Spans {
    /// The trace of a run that begins.
    pub(super) fn begin(at: SystemTime) -> Self {
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
            calls: HashMap::new(),
        }
    }

    /// Takes in a step at its time; spans that end with it go to `out`.
    pub(super) fn see(&mut self, at: SystemTime, event: &Event, out: &mut dyn FnMut(SpanData)) {
        match event {
            Event::Planning { records: 0 } => self.enter("plan", at, out),
            Event::Planned { records, batches } => {
                self.leave(at, out);
                self.run.attributes.extend([
                    KeyValue::new("shoal.records", number(*records)),
                    KeyValue::new("shoal.batches", number(*batches)),
                ]);
            }
            Event::Started {
                backend,
                concurrency,
                reused_batches,
                ..
            } => {
                self.enter("dispatch", at, out);
                let stage = self.stage.as_mut().expect("it was entered");
                stage.attributes.extend([
                    KeyValue::new("shoal.backend", backend.clone()),
                    KeyValue::new("shoal.concurrency", number(*concurrency as u64)),
                    KeyValue::new("shoal.reused_batches", number(*reused_batches)),
                ]);
            }
            Event::Dispatched {
                batch,
                attempt,
                worker,
                ..
            } => {
                let call = Call {
                    batch: *batch,
                    attempt: *attempt,
                    stage: self.dispatch(at, out),
                    began: at,
                };
                self.calls.insert(*worker, call);
            }
            Event::Finished { worker, receipt } => {
                let call = self.calls.remove(worker);
                let (stage, began) = match call {
                    Some(call) => (call.stage, call.began),
                    // A platform that fans out by itself tells of it afterwards.
                    None => (self.dispatch(at, out), began(receipt, at)),
                };
                let status = Status::Ok;
                let attributes = of_receipt(receipt);
                out(self.attempt(stage, began, at, attributes, status));
            }
            Event::Superseded {
                batch,
                attempt,
                worker,
                ..
            } => {
                if let Some(Call { stage, began, .. }) = self.calls.remove(worker) {
                    let attributes = vec![
                        KeyValue::new("shoal.batch", number(*batch)),
                        KeyValue::new("shoal.attempt", i64::from(*attempt)),
                        KeyValue::new("shoal.superseded", true),
                    ];
                    out(self.attempt(stage, began, at, attributes, Status::Ok));
                }
            }
            Event::Failed {
                batch,
                attempt,
                worker,
                kind,
                reason,
                retry,
                ..
            } => {
                let call = self.calls.remove(worker);
                let (stage, began) = match call {
                    Some(call) => (call.stage, call.began),
                    None => (self.dispatch(at, out), at),
                };
                let attributes = vec![
                    KeyValue::new("shoal.batch", number(*batch)),
                    KeyValue::new("shoal.attempt", i64::from(*attempt)),
                    KeyValue::new("shoal.failure", kind.name()),
                    KeyValue::new("shoal.retry", *retry),
                ];
                let status = Status::error(reason.clone());
                out(self.attempt(stage, began, at, attributes, status));
            }
            Event::Verifying { .. } => self.enter("verify", at, out),
            Event::Collecting { parts: 0, .. } => self.enter("collect", at, out),
            Event::Completed { results, failed } => {
                self.leave(at, out);
                self.run.attributes.extend([
                    KeyValue::new("shoal.results", number(*results)),
                    KeyValue::new("shoal.failed", number(*failed)),
                ]);
            }
            _ => {}
        }
    }

    /// Ends all that is open.
    pub(super) fn end(
        mut self,
        at: SystemTime,
        error: Option<String>,
        out: &mut dyn FnMut(SpanData),
    ) {
        for (_, call) in std::mem::take(&mut self.calls) {
            let attributes = vec![
                KeyValue::new("shoal.batch", number(call.batch)),
                KeyValue::new("shoal.attempt", i64::from(call.attempt)),
            ];
            let status = Status::error("it was under way when the run ended");
            out(self.attempt(call.stage, call.began, at, attributes, status));
        }
        self.leave(at, out);
        let status = match error {
            None => Status::Ok,
            Some(error) => Status::error(error),
        };
        let run = Open {
            attributes: std::mem::take(&mut self.run.attributes),
            ..self.run
        };
        out(self.close(run, SpanId::INVALID, at, status));
    }

    /// The stage in which batches are worked on; entered again where a part was lost and is made anew.
    fn dispatch(&mut self, at: SystemTime, out: &mut dyn FnMut(SpanData)) -> SpanId {
        let is_there = self
            .stage
            .as_ref()
            .is_some_and(|stage| stage.name == "dispatch");
        if !is_there {
            self.enter("dispatch", at, out);
        }
        self.stage.as_ref().expect("it was entered").id
    }

    fn enter(&mut self, name: &'static str, at: SystemTime, out: &mut dyn FnMut(SpanData)) {
        self.leave(at, out);
        self.stage = Some(Open {
            id: self.ids.new_span_id(),
            name,
            began: at,
            attributes: Vec::new(),
        });
    }

    fn leave(&mut self, at: SystemTime, out: &mut dyn FnMut(SpanData)) {
        if let Some(stage) = self.stage.take() {
            out(self.close(stage, self.run.id, at, Status::Unset));
        }
    }

    fn attempt(
        &self,
        stage: SpanId,
        began: SystemTime,
        at: SystemTime,
        attributes: Vec<KeyValue>,
        status: Status,
    ) -> SpanData {
        let attempt = Open {
            id: self.ids.new_span_id(),
            name: "attempt",
            began,
            attributes,
        };
        SpanData {
            span_kind: SpanKind::Client,
            ..self.close(attempt, stage, at, status)
        }
    }

    fn close(&self, span: Open, parent: SpanId, at: SystemTime, status: Status) -> SpanData {
        SpanData {
            span_context: SpanContext::new(
                self.trace,
                span.id,
                TraceFlags::SAMPLED,
                false,
                TraceState::default(),
            ),
            parent_span_id: parent,
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name: Cow::Borrowed(span.name),
            start_time: span.began,
            end_time: at.max(span.began),
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

/// When the work began of which `receipt` tells; where it does not, as long before `at` as it took.
fn began(receipt: &Receipt, at: SystemTime) -> SystemTime {
    match receipt.started_unix_ms {
        0 => at
            .checked_sub(Duration::from_secs_f64(
                receipt.timings.total.max(0.0) / 1e3,
            ))
            .unwrap_or(at),
        unix_ms => (UNIX_EPOCH + Duration::from_millis(unix_ms)).min(at),
    }
}

/// OpenTelemetry knows signed numbers alone.
fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
