//! Converts the events of a run to spans.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::trace::{
    Span, SpanBuilder, SpanKind, Status, TraceContextExt, Tracer, TracerProvider,
};
use opentelemetry::{Context, InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider, SpanProcessor};
use shoal_job::Event;
use shoal_job::unix_ms;
use shoal_job::wire::Receipt;
use shoal_report::{Call, Phase, RunState};

/// The open spans of one start of a run. Times are Unix times in milliseconds, as in `events.jsonl`.
pub(super) struct Spans {
    tracer: SdkTracer,
    run: Context,
    /// The current stage of the run, and its name.
    stage: Option<(&'static str, Context)>,
    /// The latest stage that called functions.
    dispatch: Context,
    state: RunState,
    /// The time of the latest event.
    latest: u64,
}

impl Spans {
    /// Starts the trace of a run. `ended` gets each span when it ends.
    pub(super) fn begin(ended: impl SpanProcessor + 'static) -> Self {
        let provider = SdkTracerProvider::builder()
            .with_sampler(Sampler::AlwaysOn)
            .with_span_processor(ended)
            .build();
        let scope = InstrumentationScope::builder("shoal").with_version(crate::VERSION);
        let tracer = provider.tracer_with_scope(scope.build());
        let latest = unix_ms();
        let run = open(&tracer, "run", latest, &Context::new());
        Self {
            tracer,
            dispatch: run.clone(),
            run,
            stage: None,
            state: RunState::default(),
            latest,
        }
    }

    /// The current time; never before an earlier one, though the clock may be set back.
    fn now(&mut self) -> u64 {
        self.latest = self.latest.max(unix_ms());
        self.latest
    }

    /// Adds the next event.
    pub(super) fn apply(&mut self, event: &Event) {
        let at = self.now();
        let change = self.state.apply(at, event);
        self.enter_stage(at, matches!(event, Event::Started { .. }));
        for call in &change.unanswered {
            self.unanswered(call, at);
        }
        match event {
            Event::Planned {
                records, batches, ..
            } => self.run.span().set_attributes([
                KeyValue::new("shoal.records", number(*records)),
                KeyValue::new("shoal.batches", number(*batches)),
            ]),
            Event::Started {
                backend,
                concurrency,
                reused_batches,
                ..
            } => self.dispatch.span().set_attributes([
                KeyValue::new("shoal.backend", backend.clone()),
                KeyValue::new("shoal.concurrency", number(*concurrency as u64)),
                KeyValue::new("shoal.reused_batches", number(*reused_batches)),
            ]),
            Event::Finished { receipt, .. } => {
                // A platform with its own fan-out reports only the ends of calls.
                let called = change.answered.map(|call| call.called_unix_ms);
                let began = called.unwrap_or_else(|| began(receipt, at));
                self.attempt(began, at, of_receipt(receipt), Status::Ok);
            }
            Event::Superseded { .. } => {
                if let Some(call) = change.answered {
                    let mut attributes = of_call(&call);
                    attributes.push(KeyValue::new("shoal.superseded", true));
                    self.attempt(call.called_unix_ms, at, attributes, Status::Ok);
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
                self.attempt(began, at, attributes, Status::error(reason.clone()));
            }
            Event::Completed { results, failed } => self.run.span().set_attributes([
                KeyValue::new("shoal.results", number(*results)),
                KeyValue::new("shoal.failed", number(*failed)),
            ]),
            _ => {}
        }
    }

    /// Ends all open spans.
    pub(super) fn end(mut self, error: Option<String>) {
        let at = self.now();
        for call in self.state.in_flight.values() {
            self.unanswered(call, at);
        }
        self.leave_stage(at);
        let run = self.run.span();
        run.set_status(error.map_or(Status::Ok, Status::error));
        run.end_with_timestamp(time(at));
    }

    /// Ends the span of the previous stage and starts that of the current one, if they differ or the start `is_new`.
    fn enter_stage(&mut self, at: u64, is_new: bool) {
        let name = match self.state.phase {
            Phase::Planning => Some("plan"),
            Phase::Dispatching => Some("dispatch"),
            Phase::Verifying => Some("verify"),
            Phase::Collecting => Some("collect"),
            Phase::New | Phase::Preparing | Phase::Ended(_) => None,
        };
        if self.stage.as_ref().map(|(stage, _)| *stage) == name && !is_new {
            return;
        }
        self.leave_stage(at);
        self.stage = name.map(|name| (name, open(&self.tracer, name, at, &self.run)));
        if let Some(("dispatch", stage)) = &self.stage {
            self.dispatch = stage.clone();
        }
    }

    fn leave_stage(&mut self, at: u64) {
        if let Some((_, stage)) = self.stage.take() {
            stage.span().end_with_timestamp(time(at));
        }
    }

    fn unanswered(&self, call: &Call, at: u64) {
        let status = Status::error("it was in flight when the run ended");
        self.attempt(call.called_unix_ms, at, of_call(call), status);
    }

    fn attempt(&self, began: u64, at: u64, attributes: Vec<KeyValue>, status: Status) {
        let attempt = SpanBuilder::from_name("attempt")
            .with_kind(SpanKind::Client)
            .with_start_time(time(began))
            .with_attributes(attributes);
        let mut attempt = self.tracer.build_with_context(attempt, &self.dispatch);
        attempt.set_status(status);
        attempt.end_with_timestamp(time(at.max(began)));
    }
}

/// Starts a span below that of `parent`.
fn open(tracer: &SdkTracer, name: &'static str, at: u64, parent: &Context) -> Context {
    let span = SpanBuilder::from_name(name).with_start_time(time(at));
    parent.with_span(tracer.build_with_context(span, parent))
}

fn time(unix_ms: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(unix_ms)
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
