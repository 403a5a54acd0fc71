//! Vectors for single texts, without files and batches.

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::Float32Type;
use shoal_function::{Answers, RecordRef, Session};
use shoal_job::Cell;
use shoal_runners::EncoderSession;
use shoal_tasks::{TaskKind, TaskOptions, embed};

use crate::{EngineSettings, Error, ModelSettings, Result};

/// Embeds texts on one thread.
pub struct Embedder {
    session: EncoderSession,
    dimensions: usize,
}

impl Embedder {
    /// Opens a model folder, as sentence-transformers writes it, a packed model or its URL, or a model of the Hugging Face
    /// hub.
    ///
    /// # Errors
    /// The model cannot be found or used, or does not compute vectors.
    pub fn open(model: &str) -> Result<Self> {
        Self::open_with(
            model,
            &embed::Options::default(),
            &EngineSettings::default(),
        )
    }

    /// As [`open`](Self::open), with a prompt, a number of dimensions or normalization, and with a precision, instruction
    /// set and cache.
    ///
    /// # Errors
    /// As [`open`](Self::open), and if the model or the CPU does not support an option.
    pub fn open_with(
        model: &str,
        options: &embed::Options,
        engine: &EngineSettings,
    ) -> Result<Self> {
        let runner = ModelSettings {
            reference: Some(model.to_owned()),
            task: TaskOptions {
                kind: Some(TaskKind::Embed),
                embed: options.clone(),
                ..TaskOptions::default()
            },
            max_tokens: None,
            engine: engine.clone(),
        }
        .open()?;
        let column = runner.task().output().field(0).data_type().clone();
        let arrow_schema::DataType::FixedSizeList(_, dimensions) = column else {
            unreachable!("the task embed has one column of vectors");
        };
        Ok(Self {
            session: runner.encoder_session(),
            dimensions: dimensions as usize,
        })
    }

    /// The number of values of a vector.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// A vector of [`dimensions`](Self::dimensions) values for each text, in order. The results are bit-identical
    /// to those of [`run`](crate::run).
    ///
    /// # Errors
    /// The tokenizer fails on a text.
    pub fn embed<S: AsRef<str>>(&mut self, texts: &[S]) -> Result<Vec<Vec<f32>>> {
        let mut vectors = Vec::with_capacity(texts.len());
        each_row(&mut self.session, texts, |rows, row| {
            let vector = rows.column(0).as_fixed_size_list().value(row);
            vectors.push(vector.as_primitive::<Float32Type>().values().to_vec());
        })?;
        Ok(vectors)
    }
}

/// Processes `texts` in `session`, and calls `take` for the row of each, in order.
pub(crate) fn each_row<S: AsRef<str>>(
    session: &mut EncoderSession,
    texts: &[S],
    mut take: impl FnMut(&RecordBatch, usize),
) -> Result<()> {
    let mut answered = |answers: Option<Answers>| {
        if let Some(Answers { rows, .. }) = answers {
            (0..rows.num_rows()).for_each(|row| take(&rows, row));
        }
    };
    let failed = |failure| Error::Batch { batch: 0, failure };
    for text in texts {
        let text = [Cell::Text(text.as_ref().to_owned())];
        let record = RecordRef {
            id: &Cell::Null,
            inputs: &text,
        };
        answered(session.push(record).map_err(failed)?);
    }
    answered(session.flush().map_err(failed)?);
    Ok(())
}
