//! From a checkpoint to the sections of a packed model.

use std::path::{Path, PathBuf};

use shoal_kernels::{Bytes, Linear, PackedWeights, Precision, Target, View};

use crate::checkpoint::{Checkpoint, Source};
use crate::error::ModelError;
use crate::layout::{Description, PACKING, section};
use crate::packed::{self, Container};
use crate::plan::{Computes, EmbeddingsPlan, HeadPlan, Layer, LinearPlan, NormPlan, Output, Step};
use crate::purpose::Purpose;
use crate::table::Elements;
use crate::weights::Tensor;

/// A model packed for the engine, in memory, to be saved or run.
pub struct Packed {
    description: Description,
    sections: Vec<(String, Bytes)>,
}

impl Packed {
    /// Packs `checkpoint`, whose fingerprint is `fingerprint`, for one purpose and all of `targets`,
    /// which this CPU need not have. Targets with the same layout share their weights. The bytes are
    /// the same on every machine.
    ///
    /// In [`Precision::Int8`] the linear layers of the encoder and the word embeddings are stored in
    /// bytes; position embeddings, norms and head stay `f32`.
    ///
    /// # Errors
    /// [`ModelError::Unsupported`] if the checkpoint does not serve the purpose, or for weights that
    /// are not finite in `int8`; [`ModelError::Corrupt`] for tensors that are missing or have another
    /// shape.
    pub fn new(
        checkpoint: &Checkpoint,
        fingerprint: String,
        purpose: Purpose,
        precision: Precision,
        targets: &[Target],
    ) -> Result<Packed, ModelError> {
        let source = checkpoint.source(purpose)?;
        let mut packer = Packer {
            source: &source,
            precision,
            targets,
            sections: Vec::new(),
        };
        packer.bytes(section::CONFIG, source.config_json.clone());
        let (tokenizer, bytes) = source.tokenizer.store()?;
        packer.bytes(section::TOKENIZER, bytes);
        let encoder = &source.plan.encoder;
        let words = packer.embeddings(&encoder.embeddings)?;
        for (index, layer) in encoder.layers.iter().enumerate() {
            packer.layer(index, layer)?;
        }
        packer.head(&source.plan.head)?;
        let embedding = match &source.plan.head.output {
            Output::Logits(_) => None,
            Output::Embedding(spec) => Some(spec.clone()),
        };
        let sections = packer.sections;
        Ok(Packed {
            description: Description {
                packing: PACKING,
                fingerprint,
                precision,
                isas: targets.iter().map(Target::to_string).collect(),
                truncation: source.truncation,
                tokenizer: tokenizer.cloned(),
                split_special_tokens: source.tokenizer.splits_special_tokens(),
                words,
                embedding,
            },
            sections,
        })
    }

    /// Writes the packed model to `path`, where it appears whole or not at all.
    ///
    /// # Errors
    /// [`ModelError::Write`]
    pub fn save(&self, path: &Path) -> Result<(), ModelError> {
        packed::save(path, &self.description, &self.sections())
    }

    /// The packed model as a file in memory, to be read by [`Model::read`](crate::Model::read);
    /// messages call it `name`.
    ///
    /// # Errors
    /// As [`Container::from_bytes`]; [`ModelError::Write`] if its description is too long.
    pub fn into_container(self, name: impl Into<PathBuf>) -> Result<Container, ModelError> {
        let path = name.into();
        match packed::to_bytes(&self.description, &self.sections()) {
            Ok(bytes) => Container::from_bytes(bytes, path),
            Err(source) => Err(ModelError::Write { path, source }),
        }
    }

    fn sections(&self) -> Vec<(&str, &[u8])> {
        let sections = self.sections.iter();
        sections.map(|(name, bytes)| (&**name, &**bytes)).collect()
    }
}

struct Packer<'a> {
    source: &'a Source<'a>,
    precision: Precision,
    targets: &'a [Target],
    /// In the order in which they are written.
    sections: Vec<(String, Bytes)>,
}

impl Packer<'_> {
    fn bytes(&mut self, name: &str, bytes: Bytes) {
        self.sections.push((name.to_owned(), bytes));
    }

    fn floats(&mut self, name: &str, values: &[f32]) {
        self.bytes(name, View::from_slice(values).bytes().clone());
    }

    fn embeddings(&mut self, plan: &EmbeddingsPlan) -> Result<Elements, ModelError> {
        let words = self.source.tensor(&plan.words)?;
        let [vocabulary, hidden] = plan.words.shape;
        let elements = match self.precision {
            Precision::F32 => {
                self.bytes(section::WORDS, words.bytes().clone());
                words.elements()
            }
            Precision::Int8 => {
                let (units, scales) = quantize_rows(words, vocabulary, hidden)?;
                self.bytes(section::WORDS, units.bytes().clone());
                self.bytes(section::WORD_SCALES, scales.bytes().clone());
                Elements::Int8
            }
        };
        let mut positions = self.source.tensor(&plan.positions)?.to_f32();
        if let Some(types) = &plan.token_types {
            let mut first = vec![0.0; hidden];
            self.source.tensor(types)?.row(0, &mut first);
            for row in positions.chunks_exact_mut(hidden) {
                for (value, first) in row.iter_mut().zip(&first) {
                    *value += first;
                }
            }
        }
        self.floats(section::POSITIONS, &positions);
        self.norm(section::EMBEDDING_NORM, &plan.norm)?;
        Ok(elements)
    }

    fn norm(&mut self, section: &str, plan: &NormPlan) -> Result<(), ModelError> {
        let (weight, bias) = self.source.norm(plan)?;
        self.floats(&format!("{section}.weight"), &weight);
        self.floats(&format!("{section}.bias"), &bias);
        Ok(())
    }

    /// A linear layer of the encoder.
    fn linear(&mut self, section: &str, plan: &LinearPlan) -> Result<(), ModelError> {
        let (weight, bias) = self.source.linear(plan)?;
        self.weights(section, self.precision, &weight, &bias)
    }

    /// A linear layer of the encoder that reads the output of `norm`.
    fn after_norm(
        &mut self,
        section: &str,
        plan: &LinearPlan,
        norm: &NormPlan,
    ) -> Result<(), ModelError> {
        if !self.source.plan.smooths(self.precision) {
            return self.linear(section, plan);
        }
        let (mut weight, bias) = self.source.linear(plan)?;
        check_finite(section, &weight)?;
        let (gain, shift) = self.source.norm(norm)?;
        check_finite(&norm.name, &gain)?;
        check_finite(&norm.name, &shift)?;
        let factors = smooth(&mut weight, &gain, &shift);
        self.floats(&section::smoothing(section), &factors);
        self.weights(section, self.precision, &weight, &bias)
    }

    fn weights(
        &mut self,
        name: &str,
        precision: Precision,
        weight: &[f32],
        bias: &[f32],
    ) -> Result<(), ModelError> {
        if precision == Precision::Int8 {
            check_finite(name, weight)?;
        }
        let (outputs, inputs) = (bias.len(), weight.len() / bias.len());
        for &target in self.targets {
            let section = |part| section::linear(target, precision, name, part);
            let panels_name = section("panels");
            if self.sections.iter().any(|(other, _)| *other == panels_name) {
                continue;
            }
            match PackedWeights::pack(target, precision, weight, outputs, inputs) {
                PackedWeights::F32 { panels } => {
                    self.bytes(&panels_name, panels.bytes().clone());
                }
                PackedWeights::Int8 {
                    panels,
                    scales,
                    sums,
                    factors: _,
                } => {
                    self.bytes(&panels_name, panels.bytes().clone());
                    self.bytes(&section("scales"), scales.bytes().clone());
                    self.bytes(&section("sums"), sums.bytes().clone());
                }
            }
            let bias = Linear::pad_bias(target, precision, bias);
            self.bytes(&section("bias"), bias.bytes().clone());
        }
        Ok(())
    }

    fn layer(&mut self, index: usize, plan: &Layer) -> Result<(), ModelError> {
        let name = |part: &str| section::layer(index, part);
        let (source, precision) = (self.source, self.precision);
        let input_norm = source.plan.encoder.input_norm(index);
        match plan.computes {
            Computes::AllTokens if source.plan.smooths(precision) => {
                for (part, plan) in [
                    (section::QUERY, &plan.query),
                    (section::KEY, &plan.key),
                    (section::VALUE, &plan.value),
                ] {
                    self.after_norm(&name(part), plan, input_norm)?;
                }
            }
            Computes::AllTokens => {
                let (mut weight, mut bias) = source.linear(&plan.query)?;
                for plan in [&plan.key, &plan.value] {
                    let (next, next_bias) = source.linear(plan)?;
                    weight.extend(next);
                    bias.extend(next_bias);
                }
                self.weights(&name(section::QUERY_KEY_VALUE), precision, &weight, &bias)?;
            }
            Computes::OneToken => {
                self.after_norm(&name(section::QUERY), &plan.query, input_norm)?;
                let (key, _) = source.linear(&plan.key)?;
                let (value, value_bias) = source.linear(&plan.value)?;
                let (hidden, heads) = (plan.key.inputs, source.plan.encoder.heads);
                let dim = heads.dim;
                for head in 0..heads.count {
                    let rows = head * dim * hidden..(head + 1) * dim * hidden;
                    // Transposed: from a query of this head back to the states.
                    let key = &key[rows.clone()];
                    let transposed: Vec<f32> = (0..hidden * dim)
                        .map(|i| key[i % dim * hidden + i / dim])
                        .collect();
                    let name = section::head(index, section::KEY, head);
                    self.weights(&name, precision, &transposed, &vec![0.0; hidden])?;
                    let name = section::head(index, section::VALUE, head);
                    let bias = &value_bias[head * dim..][..dim];
                    self.weights(&name, precision, &value[rows], bias)?;
                }
            }
        }
        self.linear(&name(section::OUTPUT), &plan.output)?;
        self.norm(&name(section::ATTENTION_NORM), &plan.attention_norm)?;
        self.after_norm(&name(section::EXPAND), &plan.expand, &plan.attention_norm)?;
        self.linear(&name(section::CONTRACT), &plan.contract)?;
        self.norm(&name(section::OUTPUT_NORM), &plan.output_norm)
    }

    /// The head, always in `f32`: it is small, and no later layer averages its errors out.
    fn head(&mut self, plan: &HeadPlan) -> Result<(), ModelError> {
        for (index, step) in plan.steps.iter().enumerate() {
            if let Step::Dense(plan, _) = step {
                let (weight, bias) = self.source.linear(plan)?;
                self.weights(&section::step(index), Precision::F32, &weight, &bias)?;
            }
        }
        Ok(())
    }
}

/// Smoothing, as in SmoothQuant (arXiv 2211.10438) with α = 5/8: divides the inputs of a linear layer
/// by `s = a^(5/8) / w^(3/8)` and multiplies the columns of `weight` by it, so that neither has
/// outliers which widen the scale of all others. `w` is the largest absolute weight of the column. `a`
/// bounds nearly all values of the input, which a norm with `gain` and `shift` makes:
/// `3 · |gain| + |shift|`.
///
/// Returns `1 / s`. The powers are square roots, which are the same numbers on every machine.
fn smooth(weight: &mut [f32], gain: &[f32], shift: &[f32]) -> Vec<f32> {
    let inputs = gain.len();
    let mut magnitudes = vec![0f32; inputs];
    for row in weight.chunks_exact(inputs) {
        for (magnitude, v) in magnitudes.iter_mut().zip(row) {
            *magnitude = magnitude.max(v.abs());
        }
    }
    let channels = magnitudes.iter().zip(gain).zip(shift);
    let scales: Vec<f32> = channels
        .map(|((magnitude, gain), shift)| {
            // The limits are far from the values of trained models and keep all results finite.
            let extent = (3.0 * gain.abs() + shift.abs()).clamp(1e-5, 1e5);
            let magnitude = magnitude.clamp(1e-5, 1e5);
            let eighth = |v: f32| v.sqrt().sqrt().sqrt();
            let quarter = |v: f32| v.sqrt().sqrt();
            extent.sqrt() * eighth(extent) / (quarter(magnitude) * eighth(magnitude))
        })
        .collect();
    for row in weight.chunks_exact_mut(inputs) {
        for (v, scale) in row.iter_mut().zip(&scales) {
            *v *= scale;
        }
    }
    scales.iter().map(|scale| 1.0 / scale).collect()
}

/// The rows of a table in bytes, with one scale per row.
fn quantize_rows(
    table: &Tensor,
    rows: usize,
    width: usize,
) -> Result<(View<i8>, View<f32>), ModelError> {
    let mut scales = vec![0.0; rows];
    let mut row = vec![0.0; width];
    let mut result = Ok(());
    let units = View::build(rows * width, |units| {
        for (index, units) in units.chunks_exact_mut(width).enumerate() {
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

fn check_finite(name: &str, values: &[f32]) -> Result<(), ModelError> {
    if values.iter().all(|v| v.is_finite()) {
        return Ok(());
    }
    Err(ModelError::unsupported(format!(
        "{name:?} has values that are infinite or not a number, which int8 cannot represent; use f32"
    )))
}
