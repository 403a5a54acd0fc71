//! Measures the speed of a model on this machine, relative to the machine's peak.
//!
//! [`Bench::sequences`] times given token ids, [`Bench::grid`] random ones by length and size of the micro-batch;
//! [`Bench::logits`] returns the results of given token ids.

mod grid;
mod measure;
mod sequences;

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use shoal_encoder::{Model, Precision, Target, Tokens};
use shoal_function::Runner;

use crate::{EngineSettings, Error, ModelSettings, Result, Setting};
pub(crate) use grid::random_records;
pub use grid::{Cell, DEFAULT_LENGTHS, Grid, GridReport};
pub use measure::{Peak, StageSeconds};
pub use sequences::SequencesReport;

/// A model to time, and the number of threads.
pub struct Bench {
    model: Arc<Model>,
    setup: Setup,
}

/// What was timed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Setup {
    /// The precision.
    pub precision: Precision,
    /// The instruction set.
    pub isa: Target,
    /// The number of threads.
    pub threads: usize,
    /// The model's reference.
    pub model: String,
}

impl Bench {
    /// Opens a model as [`Classifier::open_with`](crate::Classifier::open_with), to time it on `threads` threads.
    ///
    /// # Errors
    /// `threads` is 0, or the model cannot be found or used.
    pub fn open(model: Option<&str>, engine: &EngineSettings, threads: usize) -> Result<Self> {
        if threads == 0 {
            return Err(Error::setting(Setting::Threads, "it must be at least 1"));
        }
        let runner = ModelSettings {
            reference: model.map(str::to_owned),
            engine: engine.clone(),
            ..ModelSettings::default()
        }
        .open()?;
        let model = runner.model().clone();
        let setup = Setup {
            precision: model.precision(),
            isa: model.isa().target(),
            threads,
            model: runner.spec().reference.clone(),
        };
        Ok(Self { model, setup })
    }

    /// Reads sequences of token ids: a JSON array of arrays of integers.
    ///
    /// # Errors
    /// The file cannot be read, is invalid or has no sequences, or the model cannot process a sequence.
    pub fn read_sequences(&self, path: &Path) -> Result<Vec<Tokens>> {
        sequences::read(path, self.model.plan())
    }
}

/// Splits sequences into micro-batches of at most `budget` tokens, with at least one sequence.
fn cut(mut sequences: &[Tokens], budget: usize) -> Vec<&[Tokens]> {
    let mut micro_batches = Vec::new();
    while let [first, rest @ ..] = sequences {
        let mut tokens = first.ids.len();
        let mut end = 1;
        for sequence in rest {
            tokens += sequence.ids.len();
            if tokens > budget {
                break;
            }
            end += 1;
        }
        let (micro_batch, rest) = sequences.split_at(end);
        micro_batches.push(micro_batch);
        sequences = rest;
    }
    micro_batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn micro_batches_stay_within_their_budget() {
        let sequences: Vec<_> = [3, 4, 5, 9, 1, 1]
            .map(|length| Tokens::from_ids(vec![0; length]))
            .into();
        let lengths =
            |budget| -> Vec<usize> { cut(&sequences, budget).iter().map(|m| m.len()).collect() };
        assert_eq!(lengths(0), [1; 6]);
        assert_eq!(lengths(7), [2, 1, 1, 2]);
        assert_eq!(lengths(12), [3, 3]);
        assert_eq!(lengths(100), [6]);
        assert!(cut(&[], 7).is_empty());
    }
}
