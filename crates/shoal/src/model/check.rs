//! Compares a model in `int8` with the same one in `f32` by their results.

use std::sync::atomic::{AtomicU64, Ordering};

use arrow_array::RecordBatch;
use arrow_select::concat::concat_batches;
use serde::Serialize;
use shoal_function::{Answers, RecordRef, Runner, Session};
use shoal_job::{Metrics, Record};
use shoal_runners::{EncoderRunner, EncoderSession};
use shoal_tasks::classify::CONFUSION;

use crate::machine::cores;
use crate::{Error, Result};

/// The results of two models on the same records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Comparison {
    /// Number of records.
    pub records: u64,
    /// The sum of the task's [agreement](shoal_tasks::Task::agreement) over the records.
    pub agreeing: f64,
    /// What is measured, such as "same label".
    pub measure: &'static str,
    /// Records with a gold label.
    pub gold: u64,
    /// Records that `f32` gives their gold label.
    pub right_f32: u64,
    /// Records that the packed model gives their gold label.
    pub right_packed: u64,
}

impl Comparison {
    /// The mean agreement, from 0 to 1.
    pub fn agreement(&self) -> f64 {
        self.agreeing / self.records as f64
    }

    fn add(&mut self, other: &Self) {
        self.records += other.records;
        self.agreeing += other.agreeing;
        self.measure = other.measure;
        self.gold += other.gold;
        self.right_f32 += other.right_f32;
        self.right_packed += other.right_packed;
    }
}

/// Compares two models on all records of `next`, which returns a few at a time, on all cores. `progress` gets the number of
/// compared records.
pub(super) fn compare(
    f32: &EncoderRunner,
    packed: &EncoderRunner,
    next: &(dyn Fn() -> Option<Result<Vec<Record>>> + Sync),
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Comparison> {
    let done = AtomicU64::new(0);
    let compare = || -> Result<Comparison> {
        let mut sessions = [f32.encoder_session(), packed.encoder_session()];
        let mut sum = Comparison::default();
        while let Some(records) = next() {
            let records = records?;
            sum.add(&compare_records(f32, &mut sessions, &records)?);
            let count = records.len() as u64;
            progress(done.fetch_add(count, Ordering::Relaxed) + count);
        }
        Ok(sum)
    };
    let mut total = Comparison::default();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores()).map(|_| scope.spawn(compare)).collect();
        for thread in threads {
            let sum = thread.join().expect("a comparison does not panic")?;
            if sum.records > 0 {
                total.add(&sum);
            }
        }
        Ok(total)
    })
}

fn compare_records(
    f32: &EncoderRunner,
    [one, other]: &mut [EncoderSession; 2],
    records: &[Record],
) -> Result<Comparison> {
    let (in_f32, f32_metrics) = rows(f32, one, records)?;
    let (in_packed, packed_metrics) = rows(f32, other, records)?;
    let (gold, right_f32) = right(&f32_metrics);
    let (_, right_packed) = right(&packed_metrics);
    let task = f32.task();
    Ok(Comparison {
        records: records.len() as u64,
        agreeing: task.agreement(&in_f32, &in_packed),
        measure: task.agreement_measure(),
        gold,
        right_f32,
        right_packed,
    })
}

/// The rows of all `records`, and the metrics.
fn rows(
    runner: &EncoderRunner,
    session: &mut EncoderSession,
    records: &[Record],
) -> Result<(RecordBatch, Metrics)> {
    let failed = |failure| Error::Batch { batch: 0, failure };
    let mut answers = Vec::new();
    for Record { id, inputs, .. } in records {
        answers.extend(session.push(RecordRef { id, inputs }).map_err(failed)?);
    }
    answers.extend(session.flush().map_err(failed)?);
    let rows = answers.iter().map(|Answers { rows, .. }| rows);
    let rows = concat_batches(&runner.spec().output, rows).expect("all have the same columns");
    Ok((rows, session.take_usage().metrics))
}

/// The number of records with a gold label, and of those with that label as their result.
fn right(metrics: &Metrics) -> (u64, u64) {
    let golds = metrics
        .group(CONFUSION)
        .into_iter()
        .flat_map(Metrics::groups);
    golds.fold((0, 0), |(gold, right), (name, labels)| {
        let all: u64 = labels.counts().map(|(_, count)| count).sum();
        (gold + all, right + labels.count(name))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use shoal_encoder::{Isa, Model, Precision, Purpose};
    use shoal_job::Cell;

    use super::*;
    use crate::{TaskOptions, bundled};

    const SAMPLE: &str = include_str!("../../../../examples/reviews.jsonl");

    #[test]
    fn the_bundled_model_may_run_in_int8_on_every_instruction_set() {
        let checkpoint = bundled::checkpoint().unwrap();
        let open = |precision, isa| {
            let fingerprint = bundled::FINGERPRINT.to_owned();
            let model = Model::pack(&checkpoint, fingerprint, Purpose::Classify, precision, isa);
            let model = Arc::new(model.unwrap());
            EncoderRunner::new("bundled", model, &TaskOptions::default(), None).unwrap()
        };
        let f32 = open(Precision::F32, Isa::best());
        let records = SAMPLE.lines().map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let text = line["text"].as_str().unwrap().to_owned();
            Record {
                id: Cell::Null,
                inputs: vec![Cell::Text(text), Cell::Null],
                kept: Vec::new(),
            }
        });
        let records: Vec<Record> = records.collect();
        for isa in Isa::available() {
            let int8 = open(Precision::Int8, isa);
            let chunks = Mutex::new(records.chunks(20));
            let next = || Some(Ok(chunks.lock().unwrap().next()?.to_vec()));
            let compared = compare(&f32, &int8, &next, &|_| {}).unwrap();
            assert_eq!(compared.records, records.len() as u64);
            assert!(compared.agreement() >= 0.99, "{isa:?}: {compared:?}");
        }
    }
}
