//! Runs for tests and samples, with the events that a dispatcher emits.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};
use shoal_job::event::Event;
use shoal_job::format::OutputFormat;
use shoal_job::spec::{Columns, Job, LAYOUT_VERSION, Parameters};
use shoal_job::wire::{FailureKind, Receipt, Stages, Stored, Timings};
use shoal_job::{Determinism, FunctionSpec, Receipts, Role};

/// 2026-11-24 12:00:00 UTC.
pub(crate) const NOON: u64 = 1_795_521_600_000;

fn dispatched(batch: u64, offset: u64, attempt: u32, worker: usize) -> Event {
    Event::Dispatched {
        batch,
        offset,
        until: None,
        attempt,
        worker,
        second: false,
    }
}

/// A run as its directory has it. Times are in milliseconds since [`NOON`].
pub(crate) struct Scene {
    pub(crate) job: Job,
    pub(crate) receipts: Receipts,
    pub(crate) events: Vec<(u64, Event)>,
}

impl Scene {
    pub(crate) fn new(batches: u64, batch_size: u64) -> Self {
        Self {
            job: job(batches, batch_size),
            receipts: Receipts::default(),
            events: Vec::new(),
        }
    }

    pub(crate) fn emit(&mut self, at: u64, event: Event) -> &mut Self {
        self.events.push((NOON + at, event));
        self
    }

    pub(crate) fn started(&mut self, at: u64, backend: &str, concurrency: usize) -> &mut Self {
        let event = Event::Started {
            backend: backend.into(),
            concurrency,
            reused_batches: self.receipts.finished_batches(),
            reused_records: self.receipts.records(),
        };
        self.emit(at, event)
    }

    pub(crate) fn called(&mut self, at: u64, batch: u64, attempt: u32, worker: usize) -> &mut Self {
        self.emit(at, dispatched(batch, 0, attempt, worker))
    }

    /// The call for the rest of a batch after its first `offset` records.
    #[cfg(test)]
    pub(crate) fn called_for_rest(
        &mut self,
        at: u64,
        batch: u64,
        offset: u64,
        worker: usize,
    ) -> &mut Self {
        self.emit(at, dispatched(batch, offset, 1, worker))
    }

    pub(crate) fn finished(&mut self, at: u64, worker: usize, receipt: Receipt) -> &mut Self {
        self.receipts.insert(receipt.clone());
        let receipt = receipt.into();
        self.emit(at, Event::Finished { worker, receipt })
    }

    pub(crate) fn failed(
        &mut self,
        at: u64,
        batch: u64,
        attempt: u32,
        kind: FailureKind,
        reason: &str,
    ) -> &mut Self {
        let call = self.events.iter().rev().find_map(|(_, event)| match event {
            Event::Dispatched {
                batch: b,
                attempt: a,
                worker,
                ..
            } if (*b, *a) == (batch, attempt) => Some(*worker),
            _ => None,
        });
        let event = Event::Failed {
            batch,
            offset: 0,
            attempt,
            worker: call.unwrap_or_default(),
            kind,
            reason: reason.into(),
            retry: true,
        };
        self.emit(at, event)
    }
}

/// A receipt of 10 records and 1,000 tokens: 2 % of its time is reading, 3 % tokenizing, 90 % the model and 4 % writing.
pub(crate) fn receipt(batch: u64, environment: &str, began: u64, total: f64) -> Receipt {
    let mut stages = Stages::default();
    stages.add("tokenize", total * 0.03);
    stages.add("model", total * 0.90);
    Receipt {
        batch,
        offset: 0,
        remaining: 0,
        attempt: 1,
        records: 10,
        failed: 0,
        quarantined: 0,
        units: 1_000,
        part: Stored::of(b"part"),
        dead_letters: None,
        started_unix_ms: NOON + began,
        timings: Timings {
            init: 0.0,
            read: total * 0.02,
            stages,
            write: total * 0.04,
            total,
        },
        environment: environment.into(),
        peak_memory_bytes: Some(60_000_000),
        engine: "avx2".into(),
        ..Receipt::default()
    }
}

/// The receipt of an environment's first invocation, after an initialization of `init` ms.
pub(crate) fn cold(mut receipt: Receipt, init: f64) -> Receipt {
    receipt.cold = true;
    receipt.timings.init = init;
    receipt
}

fn job(batches: u64, batch_size: u64) -> Job {
    Job {
        layout: LAYOUT_VERSION,
        shoal: "0.1.0".into(),
        inputs: vec!["/data/reviews.csv".into()],
        sources: Vec::new(),
        function: FunctionSpec {
            kind: "encoder".into(),
            reference: "bundled".into(),
            fingerprint: "d1f5e3".into(),
            settings: Map::from_iter([
                ("precision".to_owned(), Value::from("int8")),
                ("max_tokens".to_owned(), Value::from(512)),
            ]),
            task: Map::from_iter([("name".to_owned(), Value::from("classify"))]),
            inputs: vec![Role::text("text"), Role::optional("label")],
            refused: BTreeMap::new(),
            output: Arc::new(arrow_schema::Schema::empty()),
            unit: "tokens".into(),
            determinism: Determinism::Exact,
        },
        parameters: Parameters {
            batch_size,
            output_format: OutputFormat::Csv,
            ..Parameters::default()
        },
        output: "/data/labels.csv".into(),
        columns: Columns {
            inputs: Vec::new(),
            id: None,
            kept: Vec::new(),
            partitions: Vec::new(),
        },
        records: batches * batch_size,
        batches,
    }
}
