//! Comparing a model in `int8` with the same one in `f32`, by what they say of texts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use shoal_encoder::{MICRO_BATCH_TOKENS, Model, Objective, Session, Tokens};
use shoal_function::Decision;
use shoal_job::Cell;

use crate::Result;

/// The bundled sample, by which the default precision is chosen.
const SAMPLE: &str = include_str!("../../../../examples/reviews.jsonl");

/// Share of the sample that must be labelled alike for `int8` to be the default.
pub(super) const ENOUGH: f64 = 0.99;

/// How far a number may differ, as a share of it or of 1, to count as the same.
const SAME_NUMBER: f32 = 0.05;

/// How two models compare on the same texts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Comparison {
    /// Texts that both have labelled.
    pub records: u64,
    /// Texts with the same label (all the same labels; for regression, a number within 5 %).
    pub agreeing: u64,
    /// Texts that have a gold label.
    pub gold: u64,
    /// Of those, texts that `f32` labels so.
    pub right_f32: u64,
    /// Of those, texts that the packed model labels so.
    pub right_packed: u64,
    /// The largest difference between two logits.
    pub largest_logit_difference: f32,
}

impl Comparison {
    /// `agreeing / records`
    pub fn agreement(&self) -> f64 {
        self.agreeing as f64 / self.records as f64
    }

    fn add(&mut self, other: &Self) {
        self.records += other.records;
        self.agreeing += other.agreeing;
        self.gold += other.gold;
        self.right_f32 += other.right_f32;
        self.right_packed += other.right_packed;
        self.largest_logit_difference = self
            .largest_logit_difference
            .max(other.largest_logit_difference);
    }
}

/// A text, and the label that it should get.
pub(super) struct Item {
    pub(super) text: String,
    pub(super) gold: Cell,
}

/// Compares on all texts that `next` gives, a few at a time, on all cores. `progress` is told how many are done.
pub(super) fn compare(
    f32: &Arc<Model>,
    int8: &Arc<Model>,
    max_tokens: usize,
    next: &(dyn Fn() -> Option<Result<Vec<Item>>> + Sync),
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Comparison> {
    let total = Mutex::new(Ok(Comparison::default()));
    let done = AtomicU64::new(0);
    let cores = std::thread::available_parallelism().map_or(1, Into::into);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                let mut worker = Worker {
                    sessions: [Session::new(f32.clone()), Session::new(int8.clone())],
                    decision: Decision::new(f32, None),
                    objective: f32.objective(),
                    sum: Comparison::default(),
                };
                let mut work = || -> Result<()> {
                    while let Some(items) = next() {
                        let items = items?;
                        worker.compare(&items, max_tokens)?;
                        let items = items.len() as u64;
                        progress(done.fetch_add(items, Ordering::Relaxed) + items);
                    }
                    Ok(())
                };
                let end = work();
                let mut total = total.lock().expect("nobody panics while holding it");
                match (end, &mut *total) {
                    (Ok(()), Ok(total)) => total.add(&worker.sum),
                    (Err(error), total @ Ok(_)) => *total = Err(error),
                    (_, Err(_)) => {}
                }
            });
        }
    });
    total.into_inner().expect("all threads have ended")
}

struct Worker {
    /// In `f32` and in `int8`.
    sessions: [Session; 2],
    decision: Decision,
    objective: Objective,
    sum: Comparison,
}

impl Worker {
    fn compare(&mut self, items: &[Item], max_tokens: usize) -> Result<()> {
        let model = self.sessions[0].model().clone();
        let tokens = items
            .iter()
            .map(|item| model.encode(&item.text, max_tokens))
            .collect::<std::result::Result<Vec<Tokens>, _>>()?;
        let mut first = 0;
        while first < items.len() {
            let mut end = first + 1;
            let mut gathered = tokens[first].ids.len();
            while end < items.len() && gathered + tokens[end].ids.len() <= MICRO_BATCH_TOKENS {
                gathered += tokens[end].ids.len();
                end += 1;
            }
            self.micro_batch(&items[first..end], &tokens[first..end]);
            first = end;
        }
        Ok(())
    }

    fn micro_batch(&mut self, items: &[Item], tokens: &[Tokens]) {
        let [f32, int8] = &mut self.sessions;
        let (f32, int8) = (f32.logits(tokens), int8.logits(tokens));
        let labels = f32.len() / items.len();
        let mut scores = Vec::new();
        let logits = f32.chunks_exact(labels).zip(int8.chunks_exact(labels));
        for (item, (f32, int8)) in items.iter().zip(logits) {
            for (a, b) in f32.iter().zip(int8) {
                let largest = &mut self.sum.largest_logit_difference;
                *largest = largest.max((a - b).abs());
            }
            let in_f32 = self.decision.decide(f32, &mut scores);
            let in_int8 = self.decision.decide(int8, &mut scores);
            self.sum.records += 1;
            self.sum.agreeing += u64::from(match self.objective {
                Objective::Regression => {
                    let size = in_f32.1.abs().max(1.0);
                    (in_f32.1 - in_int8.1).abs() <= SAME_NUMBER * size
                }
                _ => in_f32.0 == in_int8.0,
            });
            if let Some(gold) = self.decision.gold(&item.gold) {
                self.sum.gold += 1;
                self.sum.right_f32 += u64::from(in_f32.0 == gold);
                self.sum.right_packed += u64::from(in_int8.0 == gold);
            }
        }
    }
}

/// The share of the bundled sample that both models label alike.
pub(super) fn sample_agreement(f32: &Arc<Model>, int8: &Arc<Model>) -> Result<f64> {
    #[derive(Deserialize)]
    struct Line {
        text: String,
    }
    const CHUNK: usize = 20;
    let items: Vec<Item> = SAMPLE
        .lines()
        .map(|line| Item {
            text: serde_json::from_str::<Line>(line)
                .expect("the sample is JSON Lines")
                .text,
            gold: Cell::Null,
        })
        .collect();
    let chunks = Mutex::new(items);
    let next = || {
        let mut items = chunks.lock().expect("nobody panics while holding it");
        let rest = items.len().saturating_sub(CHUNK);
        let chunk = items.split_off(rest);
        (!chunk.is_empty()).then_some(Ok(chunk))
    };
    Ok(compare(f32, int8, f32.max_tokens(), &next, &|_| {})?.agreement())
}

#[cfg(test)]
mod tests {
    use shoal_encoder::{Isa, Precision};

    use super::*;
    use crate::bundled;

    #[test]
    fn the_bundled_model_may_run_in_int8_on_every_instruction_set() {
        let checkpoint = bundled::checkpoint().unwrap();
        let open = |precision, isa| {
            let fingerprint = bundled::FINGERPRINT.to_owned();
            Arc::new(Model::pack(&checkpoint, fingerprint, precision, isa).unwrap())
        };
        let f32 = open(Precision::F32, Isa::best());
        for isa in Isa::available() {
            let agreement = sample_agreement(&f32, &open(Precision::Int8, isa)).unwrap();
            println!("{isa:?}: {agreement}");
            assert!(agreement >= ENOUGH, "{isa:?}: {agreement}");
        }
    }
}
