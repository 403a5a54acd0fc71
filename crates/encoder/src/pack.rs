//! From a checkpoint to the sections of a packed model.

use std::path::Path;

use serde::{Deserialize, Serialize};
use shoal_kernels::{Bytes, Isa, Linear, PackedWeights, Precision, Target, View};

use crate::checkpoint::Checkpoint;
use crate::embedding::Elements;
use crate::error::ModelError;
use crate::model::Model;
use crate::packed::{self, Container};
use crate::tokenizer;
use crate::weights::Tensor;

/// Raised whenever the same checkpoint would be packed otherwise: another order of weights, another
/// rounding. Whoever keeps packed models knows by it which ones to make again.
pub const PACKING: u32 = 1;

/// Names of the sections.
pub(crate) mod section {
    pub(crate) const CONFIG: &str = "config.json";
    /// The tokenizer, in one of two forms.
    pub(crate) const WORD_PIECES: &str = "tokenizer.words";
    pub(crate) const TOKENIZER: &str = "tokenizer.json";
    pub(crate) const WORDS: &str = "embeddings.words";
    pub(crate) const WORD_SCALES: &str = "embeddings.words.scales";
    pub(crate) const POSITIONS: &str = "embeddings.positions";
    pub(crate) const EMBEDDING_NORM: &str = "embeddings.norm";
    pub(crate) const DENSE: &str = "head.dense";
    pub(crate) const CLASSIFIER: &str = "head.classifier";

    /// A part of a layer.
    pub(crate) fn layer(index: usize, part: &str) -> String {
        format!("layers.{index}.{part}")
    }

    /// A part of one head of a layer.
    pub(crate) fn head(index: usize, part: &str, head: usize) -> String {
        format!("layers.{index}.{part}.{head}")
    }
}

/// What a packed model says of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Description {
    /// [`PACKING`]
    pub(crate) packing: u32,
    /// Of the checkpoint.
    pub(crate) fingerprint: String,
    pub(crate) precision: PrecisionName,
    /// Names of the targets that it was packed for.
    pub(crate) isas: Vec<String>,
    /// Tokens that the tokenizer's settings allow.
    pub(crate) limit: Option<usize>,
    pub(crate) words: Elements,
}

/// [`Precision`] in files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PrecisionName {
    F32,
    Int8,
}

impl From<Precision> for PrecisionName {
    fn from(precision: Precision) -> PrecisionName {
        match precision {
            Precision::F32 => PrecisionName::F32,
            Precision::Int8 => PrecisionName::Int8,
        }
    }
}

impl From<PrecisionName> for Precision {
    fn from(name: PrecisionName) -> Precision {
        match name {
            PrecisionName::F32 => Precision::F32,
            PrecisionName::Int8 => Precision::Int8,
        }
    }
}

/// A model packed for the engine, in memory, to be saved or run.
pub struct Packed {
    description: Description,
    sections: Vec<(String, Bytes)>,
}

impl Packed {
    /// Packs `checkpoint`, whose fingerprint is `fingerprint`, for all of `targets`, which this CPU
    /// need not have; those that read the same layout share it. The bytes are the same on every
    /// machine.
    ///
    /// In [`Precision::Int8`] the linear layers of the encoder and the word embeddings become
    /// bytes; the position embeddings, the norms and the head stay `f32`.
    ///
    /// # Errors
    /// [`ModelError`] for tensors that are missing, of another shape, or in `int8` not finite.
    pub fn new(
        checkpoint: &Checkpoint,
        fingerprint: String,
        precision: Precision,
        targets: &[Target],
    ) -> Result<Packed, ModelError> {
        let mut sections = Sections::default();
        sections.bytes(section::CONFIG, checkpoint.config_json.clone());
        match checkpoint.tokenizer.pack()? {
            tokenizer::Packed::WordPiece(bytes) => {
                sections.bytes(section::WORD_PIECES, Bytes::copy_from(bytes));
            }
            tokenizer::Packed::Json(json) => {
                sections.bytes(section::TOKENIZER, Bytes::copy_from(&json));
            }
        }
        let packer = Packer {
            checkpoint,
            precision,
            targets,
        };
        let words = packer.embeddings(&mut sections)?;
        let layers = checkpoint.config.layers;
        for index in 0..layers {
            packer.layer(index, index + 1 == layers, &mut sections)?;
        }
        packer.head(&mut sections)?;
        Ok(Packed {
            description: Description {
                packing: PACKING,
                fingerprint,
                precision: precision.into(),
                isas: targets.iter().map(Target::to_string).collect(),
                limit: checkpoint.limit,
                words,
            },
            sections: sections.0,
        })
    }

    /// Writes the packed model to `path`, where it appears whole or not at all.
    ///
    /// # Errors
    /// [`ModelError::Write`]
    pub fn save(&self, path: &Path) -> Result<(), ModelError> {
        let lengths: Vec<_> = self
            .sections
            .iter()
            .map(|(name, bytes)| (name.as_str(), bytes.len() as u64))
            .collect();
        packed::save(path, &self.description, &lengths, |writer| {
            for (name, bytes) in &self.sections {
                writer.section(name, |out| out.write_all(bytes))?;
            }
            Ok(())
        })
    }

    /// The model, to run on `isa`, which must be one of those that it was packed for.
    ///
    /// # Errors
    /// As [`Model::read`].
    pub fn into_model(self, isa: Isa) -> Result<Model, ModelError> {
        let sections: Vec<_> = self
            .sections
            .iter()
            .map(|(name, bytes)| (name.as_str(), &**bytes))
            .collect();
        let bytes =
            packed::to_bytes(&self.description, &sections).map_err(|source| ModelError::Write {
                path: "the packed model".into(),
                source,
            })?;
        drop(self);
        Model::read(&Container::from_bytes(bytes, "the packed model")?, &[isa])
    }
}

/// The sections in the order in which they are written.
#[derive(Default)]
struct Sections(Vec<(String, Bytes)>);

impl Sections {
    fn bytes(&mut self, name: &str, bytes: Bytes) {
        self.0.push((name.to_owned(), bytes));
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(other, _)| other == name)
    }

    fn floats(&mut self, name: &str, values: &[f32]) {
        self.bytes(name, View::from_slice(values).bytes().clone());
    }
}

/// Name of a linear layer's section.
pub(crate) fn linear_section(
    target: Target,
    precision: Precision,
    name: &str,
    part: &str,
) -> String {
    format!("{}/{name}.{part}", target.layout(precision))
}

struct Packer<'a> {
    checkpoint: &'a Checkpoint,
    precision: Precision,
    targets: &'a [Target],
}

impl Packer<'_> {
    fn embeddings(&self, sections: &mut Sections) -> Result<Elements, ModelError> {
        let config = &self.checkpoint.config;
        let hidden = config.hidden();
        let words = self.checkpoint.tensor(
            "embeddings.word_embeddings.weight",
            &[config.vocabulary, hidden],
        )?;
        let elements = match self.precision {
            Precision::F32 => {
                sections.bytes(section::WORDS, words.bytes().clone());
                words.elements()
            }
            Precision::Int8 => {
                let (units, scales) = self.bytes_of_rows(words)?;
                sections.bytes(section::WORDS, units.bytes().clone());
                sections.bytes(section::WORD_SCALES, scales.bytes().clone());
                Elements::Int8
            }
        };
        let mut positions = self
            .checkpoint
            .tensor(
                "embeddings.position_embeddings.weight",
                &[config.positions, hidden],
            )?
            .to_f32();
        if config.token_types > 0 {
            // Every token of a single text is of type 0.
            let mut first = vec![0.0; hidden];
            self.checkpoint
                .tensor(
                    "embeddings.token_type_embeddings.weight",
                    &[config.token_types, hidden],
                )?
                .row(0, &mut first);
            for row in positions.chunks_exact_mut(hidden) {
                for (value, first) in row.iter_mut().zip(&first) {
                    *value += first;
                }
            }
        }
        sections.floats(section::POSITIONS, &positions);
        self.norm(section::EMBEDDING_NORM, "embeddings.LayerNorm", sections)?;
        Ok(elements)
    }

    /// The rows of a table in bytes, each with a scale of its own.
    fn bytes_of_rows(&self, table: &Tensor) -> Result<(View<i8>, View<f32>), ModelError> {
        let (rows, hidden) = (
            self.checkpoint.config.vocabulary,
            self.checkpoint.config.hidden(),
        );
        let mut scales = vec![0.0; rows];
        let mut row = vec![0.0; hidden];
        let mut result = Ok(());
        let units = View::build(rows * hidden, |units| {
            for (index, units) in units.chunks_exact_mut(hidden).enumerate() {
                table.row(index, &mut row);
                if result.is_ok() {
                    result = check_finite(table.name(), &row);
                }
                scales[index] = shoal_kernels::quantize_symmetric(&row, units);
            }
        });
        result?;
        Ok((units, View::from_slice(&scales)))
    }

    fn norm(&self, to: &str, from: &str, sections: &mut Sections) -> Result<(), ModelError> {
        let (weight, bias) = self.checkpoint.norm(from)?;
        sections.floats(&format!("{to}.weight"), &weight);
        sections.floats(&format!("{to}.bias"), &bias);
        Ok(())
    }

    fn linear(
        &self,
        name: &str,
        precision: Precision,
        weight: &[f32],
        bias: &[f32],
        sections: &mut Sections,
    ) -> Result<(), ModelError> {
        if precision == Precision::Int8 {
            check_finite(name, weight)?;
        }
        let (outputs, inputs) = (bias.len(), weight.len() / bias.len());
        for &target in self.targets {
            let section = |part| linear_section(target, precision, name, part);
            if sections.has(&section("panels")) {
                continue;
            }
            match PackedWeights::pack(target, precision, weight, outputs, inputs) {
                PackedWeights::F32 { panels } => {
                    sections.bytes(&section("panels"), panels.bytes().clone());
                }
                PackedWeights::Int8 {
                    panels,
                    scales,
                    sums,
                } => {
                    sections.bytes(&section("panels"), panels.bytes().clone());
                    sections.bytes(&section("scales"), scales.bytes().clone());
                    sections.bytes(&section("sums"), sums.bytes().clone());
                }
            }
            let bias = Linear::pad_bias(target, precision, bias);
            sections.bytes(&section("bias"), bias.bytes().clone());
        }
        Ok(())
    }

    /// One layer; see [`crate::model::Layer`] for what is special of the last one.
    fn layer(&self, index: usize, last: bool, sections: &mut Sections) -> Result<(), ModelError> {
        let (checkpoint, precision) = (self.checkpoint, self.precision);
        let (config, names) = (&checkpoint.config, checkpoint.names());
        let from = |part: &str| format!("{}.{index}.{part}", names.layer);
        let to = |part: &str| section::layer(index, part);
        let (hidden, intermediate) = (config.hidden(), config.intermediate);
        let square = |part| checkpoint.linear(&from(part), hidden, hidden);

        let (mut weight, mut bias) = square(names.query)?;
        let (key, key_bias) = square(names.key)?;
        let (value, value_bias) = square(names.value)?;
        if last {
            self.linear(&to("query"), precision, &weight, &bias, sections)?;
            let dim = config.heads.dim;
            for head in 0..config.heads.count {
                let rows = head * dim * hidden..(head + 1) * dim * hidden;
                // Transposed: from a query of this head back to the states.
                let key = &key[rows.clone()];
                let transposed: Vec<f32> = (0..hidden * dim)
                    .map(|i| key[i % dim * hidden + i / dim])
                    .collect();
                let name = section::head(index, "key", head);
                self.linear(&name, precision, &transposed, &vec![0.0; hidden], sections)?;
                let name = section::head(index, "value", head);
                let bias = &value_bias[head * dim..][..dim];
                self.linear(&name, precision, &value[rows], bias, sections)?;
            }
        } else {
            weight.extend(key);
            weight.extend(value);
            bias.extend(key_bias);
            bias.extend(value_bias);
            self.linear(&to("query_key_value"), precision, &weight, &bias, sections)?;
        }
        let (weight, bias) = square(names.output)?;
        self.linear(&to("output"), precision, &weight, &bias, sections)?;
        self.norm(&to("attention_norm"), &from(names.attention_norm), sections)?;
        let (weight, bias) = checkpoint.linear(&from(names.expand), intermediate, hidden)?;
        self.linear(&to("expand"), precision, &weight, &bias, sections)?;
        let (weight, bias) = checkpoint.linear(&from(names.contract), hidden, intermediate)?;
        self.linear(&to("contract"), precision, &weight, &bias, sections)?;
        self.norm(&to("output_norm"), &from(names.output_norm), sections)
    }

    /// The head stays `f32`: it is small, and nothing after it evens its errors out.
    fn head(&self, sections: &mut Sections) -> Result<(), ModelError> {
        let (checkpoint, config) = (self.checkpoint, &self.checkpoint.config);
        let hidden = config.hidden();
        let (weight, bias) = checkpoint.linear(checkpoint.names().head, hidden, hidden)?;
        self.linear(section::DENSE, Precision::F32, &weight, &bias, sections)?;
        let (weight, bias) = checkpoint.linear("classifier", config.labels.len(), hidden)?;
        self.linear(
            section::CLASSIFIER,
            Precision::F32,
            &weight,
            &bias,
            sections,
        )
    }
}

fn check_finite(name: &str, values: &[f32]) -> Result<(), ModelError> {
    if values.iter().all(|v| v.is_finite()) {
        return Ok(());
    }
    Err(ModelError::unsupported(format!(
        "{name:?} holds infinite or undefined numbers, which bytes cannot stand for; use f32"
    )))
}
