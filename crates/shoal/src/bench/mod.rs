//! How fast a model runs on this machine, and how near to what the machine can do.
//!
//! [`Bench::sequences`] times given token ids, [`Bench::grid`] made-up ones by length and size of the micro-batch;
//! [`Bench::logits`] gives what the timed passes compute.

mod grid;
mod measure;
mod sequences;

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use shoal_encoder::{Model, Precision, Tokens};

use shoal_function::Runner;

use crate::{EngineSettings, Error, ModelSettings, Result};
pub(crate) use grid::made_up_records;
pub use grid::{Cell, DEFAULT_LENGTHS, Grid, GridReport};
pub use measure::{Peak, StageSeconds};
pub use sequences::SequencesReport;

/// A model that is to be timed, and on how many threads.
pub struct Bench {
    model: Arc<Model>,
    setup: Setup,
}

/// What is timed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Setup {
    /// How the products are computed: `f32` or `int8`.
    pub precision: &'static str,
    /// The instruction set.
    pub isa: &'static str,
    /// Workers, each on a thread of its own.
    pub threads: usize,
    /// The model's reference.
    pub model: String,
}

impl Bench {
    /// Opens a model as [`Classifier::open_with`](crate::Classifier::open_with) does, to be timed on `threads` threads.
    ///
    /// # Errors
    /// There are no threads, or the model cannot be found or used.
    pub fn open(model: Option<&str>, engine: &EngineSettings, threads: usize) -> Result<Self> {
        if threads == 0 {
            return Err(Error::Settings("failed to start: --threads is 0".into()));
        }
        let runner = ModelSettings {
            reference: model.map(str::to_owned),
            engine: engine.clone(),
            ..ModelSettings::default()
        }
        .open()?;
        let model = runner.model().clone();
        let setup = Setup {
            precision: model.precision().name(),
            isa: model.isa().name(),
            threads,
            model: runner.spec().reference.clone(),
        };
        Ok(Self { model, setup })
    }

    /// Reads sequences of token ids for this model: a JSON array of arrays of integers.
    ///
    /// # Errors
    /// The file cannot be read, holds something else or nothing, or a sequence is not one for this model.
    pub fn read_sequences(&self, path: &Path) -> Result<Vec<Tokens>> {
        sequences::read(path, self.model.plan())
    }

    fn precision(&self) -> Precision {
        self.model.precision()
    }
}

/// Consecutive sequences as long as they fit into `budget` tokens, at least one at a time.
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
    fn micro_batches_keep_to_their_budget() {
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
