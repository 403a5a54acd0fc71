//! Labels for single texts, without files and batches.

use arrow_array::cast::AsArray;
use arrow_array::types::Float32Type;
use shoal_runners::EncoderSession;
use shoal_tasks::{TaskKind, TaskOptions, classify};

use crate::embedder::each_row;
use crate::{EngineSettings, ModelSettings, Result};

/// Classifies texts on one thread.
pub struct Classifier {
    labels: Vec<String>,
    session: EncoderSession,
}

/// The result for a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// The most probable label.
    pub label: String,
    /// Its probability.
    pub score: f32,
    /// Each label's probability, in the order of [`Classifier::labels`].
    pub scores: Vec<f32>,
}

impl Classifier {
    /// Opens a model folder, a packed model or its URL, or a model of the Hugging Face hub; the bundled model if `None`.
    ///
    /// # Errors
    /// The model cannot be found or used.
    pub fn open(model: Option<&str>) -> Result<Self> {
        Self::open_with(model, &EngineSettings::default())
    }

    /// As [`open`](Self::open), with the given precision, instruction set and cache.
    ///
    /// # Errors
    /// As [`open`](Self::open), and if the CPU lacks the instruction set.
    pub fn open_with(model: Option<&str>, engine: &EngineSettings) -> Result<Self> {
        let runner = ModelSettings {
            reference: model.map(str::to_owned),
            task: TaskOptions {
                kind: Some(TaskKind::Classify),
                classify: classify::Options {
                    scores: true,
                    ..classify::Options::default()
                },
                ..TaskOptions::default()
            },
            max_tokens: None,
            engine: engine.clone(),
        }
        .open()?;
        Ok(Self {
            labels: runner
                .model()
                .classifier()
                .map_or_else(Vec::new, |of| of.labels.clone()),
            session: runner.encoder_session(),
        })
    }

    /// The model's labels.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// Classifies each text, in order. The results are bit-identical to those of [`run`](crate::run).
    ///
    /// # Errors
    /// The tokenizer fails on a text.
    pub fn classify<S: AsRef<str>>(&mut self, texts: &[S]) -> Result<Vec<Prediction>> {
        let mut predictions = Vec::with_capacity(texts.len());
        each_row(&mut self.session, texts, |rows, row| {
            let number =
                |column: usize| rows.column(column).as_primitive::<Float32Type>().value(row);
            predictions.push(Prediction {
                label: rows.column(0).as_string::<i32>().value(row).to_owned(),
                score: number(1),
                scores: (2..rows.num_columns()).map(number).collect(),
            });
        })?;
        Ok(predictions)
    }
}
