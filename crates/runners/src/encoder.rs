//! The encoder as a runner.

use std::sync::Arc;
use std::time::{Duration, Instant};

use shoal_encoder::{MICRO_BATCH_TOKENS, Model, ModelError, Session, Tokens};
use shoal_function::{Answers, RecordRef, Runner, Usage};
use shoal_job::wire::{Failure, FailureKind};
use shoal_job::{Cell, Determinism, FunctionSpec, Metrics};
use shoal_tasks::{Decoder, Task, TaskError, TaskOptions};

/// The metric that counts texts truncated at the token limit.
pub const TRUNCATED: &str = "truncated";

/// A runner of a model with a task.
#[derive(Clone)]
pub struct EncoderRunner {
    model: Arc<Model>,
    task: Arc<dyn Task>,
    max_tokens: usize,
    spec: FunctionSpec,
}

impl EncoderRunner {
    /// The kind of this runner in a job.
    pub const KIND: &str = "encoder";

    /// A runner of `model`, named `reference` by the user, with the task of `options`. `max_tokens` lowers the limit of the
    /// model.
    ///
    /// # Errors
    /// The model does not support the task, an option has no effect, or the limit is out of range.
    pub fn new(
        reference: &str,
        model: Arc<Model>,
        options: &TaskOptions,
        max_tokens: Option<usize>,
    ) -> Result<Self, TaskError> {
        let limit = model.max_tokens();
        if let Some(wanted) = max_tokens
            && !(2..=limit).contains(&wanted)
        {
            let reason = format!(
                "this model supports 2 to {limit} tokens, including two special tokens, not {wanted}"
            );
            let option = "max-tokens".to_owned();
            return Err(TaskError::Value { option, reason });
        }
        let task: Arc<dyn Task> = shoal_tasks::open(&model, options)?.into();
        let max_tokens = max_tokens.unwrap_or(limit);
        let settings = [
            ("precision", model.precision().to_string().into()),
            ("max_tokens", max_tokens.into()),
        ]
        .map(|(name, value)| (name.to_owned(), value));
        let spec = FunctionSpec {
            kind: Self::KIND.to_owned(),
            reference: reference.to_owned(),
            fingerprint: model.fingerprint().to_owned(),
            settings: settings.into_iter().collect(),
            task: shoal_tasks::spec(task.as_ref()),
            inputs: task.inputs(),
            refused: task.refused(),
            output: task.output(),
            unit: "tokens".to_owned(),
            determinism: Determinism::Exact,
        };
        Ok(Self {
            model,
            task,
            max_tokens,
            spec,
        })
    }

    /// The model.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// The task.
    pub fn task(&self) -> &Arc<dyn Task> {
        &self.task
    }

    /// The tokens of `text`, with the prompt.
    ///
    /// # Errors
    /// The tokenizer returns an id without an embedding.
    pub fn encode(&self, text: &str) -> Result<Tokens, ModelError> {
        let prompt = self.task.prompt();
        self.model.encode_with_prompt(prompt, text, self.max_tokens)
    }

    /// The token limit, at which texts are truncated.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// A session, for use without jobs and batches.
    pub fn encoder_session(&self) -> EncoderSession {
        EncoderSession {
            runner: self.clone(),
            session: Session::new(self.model.clone()),
            decoder: self.task.decoder(),
            tokens: Vec::new(),
            inputs: Vec::new(),
            waiting: 0,
            units: 0,
            tokenize: Duration::ZERO,
            run: Duration::ZERO,
            metrics: Metrics::default(),
        }
    }
}

impl Runner for EncoderRunner {
    fn spec(&self) -> &FunctionSpec {
        &self.spec
    }

    fn session(&self) -> Result<Box<dyn shoal_function::Session>, Failure> {
        Ok(Box::new(self.encoder_session()))
    }
}

/// Collects records into micro-batches and runs them.
pub struct EncoderSession {
    runner: EncoderRunner,
    session: Session,
    decoder: Box<dyn Decoder>,
    /// The current micro-batch: tokens, and the inputs besides the text.
    tokens: Vec<Tokens>,
    inputs: Vec<Vec<Cell>>,
    /// Number of tokens in the micro-batch.
    waiting: usize,
    units: u64,
    tokenize: Duration,
    run: Duration,
    metrics: Metrics,
}

impl EncoderSession {
    fn run(&mut self) -> Option<Answers> {
        if self.tokens.is_empty() {
            return None;
        }
        let started = Instant::now();
        let outputs = self.session.run(&self.tokens);
        let width = outputs.len() / self.tokens.len();
        for (output, inputs) in outputs.chunks_exact(width).zip(&self.inputs) {
            self.decoder.push(output, inputs, &mut self.metrics);
        }
        self.tokens.clear();
        self.inputs.clear();
        self.waiting = 0;
        let rows = self.decoder.finish();
        self.run += started.elapsed();
        Some(Answers::all(rows))
    }
}

impl shoal_function::Session for EncoderSession {
    fn push(&mut self, record: RecordRef<'_>) -> Result<Option<Answers>, Failure> {
        let started = Instant::now();
        let (text, others) = match record.inputs {
            [Cell::Text(text), others @ ..] => (text, others),
            _ => {
                let reason = "failed to read a record: its first input is not a text";
                return Err(Failure::new(FailureKind::Input, reason));
            }
        };
        let tokens = self.runner.encode(text);
        let tokens = tokens.map_err(|e| Failure::new(FailureKind::Model, e.to_string()))?;
        self.tokenize += started.elapsed();
        if tokens.truncated {
            self.metrics.add(&[TRUNCATED], 1);
        }
        let length = tokens.ids.len();
        self.units += length as u64;
        let answers = if self.waiting + length > MICRO_BATCH_TOKENS {
            self.run()
        } else {
            None
        };
        self.waiting += length;
        self.tokens.push(tokens);
        // The text is not kept; its place stays empty, so that the other inputs keep theirs.
        let kept = std::iter::once(Cell::Null).chain(others.iter().cloned());
        self.inputs.push(kept.collect());
        Ok(answers)
    }

    fn flush(&mut self) -> Result<Option<Answers>, Failure> {
        Ok(self.run())
    }

    fn take_usage(&mut self) -> Usage {
        Usage {
            units: std::mem::take(&mut self.units),
            stages: vec![
                ("tokenize", std::mem::take(&mut self.tokenize)),
                ("model", std::mem::take(&mut self.run)),
            ],
            metrics: std::mem::take(&mut self.metrics),
            engine: self.runner.model.isa().name().to_owned(),
        }
    }
}
