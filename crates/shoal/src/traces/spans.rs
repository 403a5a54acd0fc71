//! Converts the events of a run to spans.

use std::sync::mpsc::Sender;

use shoal_job::Event;
use shoal_job::unix_ms;
use shoal_job::wire::Receipt;
use shoal_report::{Call, Phase, RunState};

use super::otlp::{Attribute, Kind, Span, Status, new_id};

/// The open spans of one start of a run. Times are Unix times in milliseconds, as in `events.jsonl`.
pub(super) struct Spans {
    ended: Sender<Span>,
    run: Span,
    /// The current stage of the run.
    stage: Option<Span>,
    /// The id of the latest stage that called functions, or of the run.
    dispatch: String,
    state: RunState,
    /// The time of the latest event.
    latest: u64,
}

impl Spans {
    /// Starts the trace of a run. `ended` gets each span when it ends.
    pub(super) fn begin(ended: Sender<Span>) -> Self {
        let latest = unix_ms();
        let run = Span {
            trace_id: new_id::<16>(),
            span_id: new_id::<8>(),
            parent_span_id: String::new(),
            name: "run",
            kind: Kind::Internal,
            began: latest,
            ended: latest,
            attributes: Vec::new(),
            status: None,
        };
        Self {
            ended,
            dispatch: run.span_id.clone(),
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
            } => self.run.attributes.extend([
                Attribute::count("shoal.records", *records),
                Attribute::count("shoal.batches", *batches),
            ]),
            Event::Started {
                backend,
                concurrency,
                reused_batches,
                ..
            } => self
                .stage
                .as_mut()
                .unwrap_or(&mut self.run)
                .attributes
                .extend([
                    Attribute::text("shoal.backend", backend.clone()),
                    Attribute::count("shoal.concurrency", *concurrency as u64),
                    Attribute::count("shoal.reused_batches", *reused_batches),
                ]),
            Event::Finished { receipt, .. } => {
                // A platform with its own fan-out reports only the ends of calls.
                let called = change.answered.map(|call| call.called_unix_ms);
                let began = called.unwrap_or_else(|| began(receipt, at));
                self.attempt(began, at, of_receipt(receipt), Ok(()));
            }
            Event::Superseded { .. } => {
                if let Some(call) = change.answered {
                    let mut attributes = of_call(&call);
                    attributes.push(Attribute::is("shoal.superseded", true));
                    self.attempt(call.called_unix_ms, at, attributes, Ok(()));
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
                    Attribute::count("shoal.batch", *batch),
                    Attribute::count("shoal.attempt", u64::from(*attempt)),
                    Attribute::text("shoal.failure", kind.name()),
                    Attribute::is("shoal.retry", *retry),
                ];
                self.attempt(began, at, attributes, Err(reason.clone()));
            }
            Event::Completed { results, failed } => self.run.attributes.extend([
                Attribute::count("shoal.results", *results),
                Attribute::count("shoal.failed", *failed),
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
        self.run.status = Some(error.map_or(Ok(()), Err));
        let run = self.run.clone();
        self.finish(run, at);
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
        if self.stage.as_ref().map(|stage| stage.name) == name && !is_new {
            return;
        }
        self.leave_stage(at);
        self.stage = name.map(|name| self.below(&self.run.span_id, name, at));
        if let Some(stage) = self.stage.as_ref().filter(|stage| stage.name == "dispatch") {
            self.dispatch = stage.span_id.clone();
        }
    }

    fn leave_stage(&mut self, at: u64) {
        if let Some(stage) = self.stage.take() {
            self.finish(stage, at);
        }
    }

    fn unanswered(&self, call: &Call, at: u64) {
        let status = Err("it was in flight when the run ended".into());
        self.attempt(call.called_unix_ms, at, of_call(call), status);
    }

    fn attempt(&self, began: u64, at: u64, attributes: Vec<Attribute>, status: Status) {
        let attempt = Span {
            kind: Kind::Client,
            attributes,
            status: Some(status),
            ..self.below(&self.dispatch, "attempt", began)
        };
        self.finish(attempt, at);
    }

    /// A new span below the one with the id `parent`.
    fn below(&self, parent: &str, name: &'static str, began: u64) -> Span {
        Span {
            trace_id: self.run.trace_id.clone(),
            span_id: new_id::<8>(),
            parent_span_id: parent.to_owned(),
            name,
            kind: Kind::Internal,
            began,
            ended: began,
            attributes: Vec::new(),
            status: None,
        }
    }

    /// Sends a span that ends at `at`.
    fn finish(&self, mut span: Span, at: u64) {
        span.ended = at.max(span.began);
        // If the sender has stopped, `Traces::end` returns the reason.
        let _ = self.ended.send(span);
    }
}

fn of_call(call: &Call) -> Vec<Attribute> {
    vec![
        Attribute::count("shoal.batch", call.batch),
        Attribute::count("shoal.attempt", u64::from(call.attempt)),
    ]
}

fn of_receipt(receipt: &Receipt) -> Vec<Attribute> {
    vec![
        Attribute::count("shoal.batch", receipt.batch),
        Attribute::count("shoal.attempt", u64::from(receipt.attempt)),
        Attribute::is("shoal.cold", receipt.cold),
        Attribute::count("shoal.records", receipt.records),
        Attribute::count("shoal.failed", receipt.failed),
        Attribute::count("shoal.units", receipt.units),
        Attribute::text("shoal.environment", &*receipt.environment),
        Attribute::number("shoal.function_ms", receipt.timings.total),
    ]
}

/// The start of the work of `receipt`; estimated from its duration if unknown.
fn began(receipt: &Receipt, at: u64) -> u64 {
    match receipt.started_unix_ms {
        0 => at.saturating_sub(receipt.timings.total.max(0.0) as u64),
        unix_ms => unix_ms.min(at),
    }
}
