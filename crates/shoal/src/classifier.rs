//! Labelling single texts, without files and batches.

use std::sync::Arc;

use shoal_encoder::{MICRO_BATCH_TOKENS, Model, Session};
use shoal_function::Decision;

use crate::Result;
use crate::model::{EngineSettings, Source};

/// A model with one thread's scratch memory.
pub struct Classifier {
    model: Arc<Model>,
    session: Session,
    decision: Decision,
}

/// What the model says of a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// The most probable label.
    pub label: String,
    /// Its probability.
    pub score: f32,
    /// Each label's probability, in the order of [`Classifier::labels`].
    pub scores: Vec<f32>,
    /// Whether the text was longer than the model reads.
    pub truncated: bool,
}

impl Classifier {
    /// Opens a model folder, a packed model or its URL, or a model of the Hugging Face hub; the bundled model where `None`.
    ///
    /// # Errors
    /// The model cannot be found or used.
    pub fn open(model: Option<&str>) -> Result<Self> {
        Self::open_with(model, &EngineSettings::default())
    }

    /// As [`open`](Self::open), with a precision, instruction set and cache of one's own choice.
    ///
    /// # Errors
    /// As [`open`](Self::open), and for an instruction set that there is not.
    pub fn open_with(model: Option<&str>, engine: &EngineSettings) -> Result<Self> {
        let (model, _) = Source::find(model)?.open(engine, None)?;
        Ok(Self {
            session: Session::new(model.clone()),
            decision: Decision::new(&model, None),
            model,
        })
    }

    /// The model's labels.
    pub fn labels(&self) -> &[String] {
        self.model.labels()
    }

    /// Labels each text, in order. The results are the same, to the bit, as those of [`run`](crate::run).
    ///
    /// # Errors
    /// The tokenizer fails on a text.
    pub fn classify<S: AsRef<str>>(&mut self, texts: &[S]) -> Result<Vec<Prediction>> {
        let limit = self.model.max_tokens();
        let mut predictions = Vec::with_capacity(texts.len());
        let mut waiting = Vec::new();
        for text in texts {
            let tokens = self.model.encode(text.as_ref(), limit)?;
            let gathered: usize = waiting
                .iter()
                .map(|t: &shoal_encoder::Tokens| t.ids.len())
                .sum();
            if gathered + tokens.ids.len() > MICRO_BATCH_TOKENS {
                self.flush(&mut waiting, &mut predictions);
            }
            waiting.push(tokens);
        }
        self.flush(&mut waiting, &mut predictions);
        Ok(predictions)
    }

    fn flush(
        &mut self,
        waiting: &mut Vec<shoal_encoder::Tokens>,
        predictions: &mut Vec<Prediction>,
    ) {
        if waiting.is_empty() {
            return;
        }
        let logits = self.session.logits(waiting);
        let labels = self.model.labels().len();
        for (tokens, logits) in waiting.iter().zip(logits.chunks_exact(labels)) {
            let mut scores = Vec::new();
            let (label, score) = self.decision.decide(logits, &mut scores);
            predictions.push(Prediction {
                label,
                score,
                scores,
                truncated: tokens.truncated,
            });
        }
        waiting.clear();
    }
}
