//! The layers of a packed model, ready to run. Every length is checked as they are read.

use shoal_kernels::{Activation, Isa, LayerNorm, Linear, PackedWeights, Pod, Precision, View};

use crate::error::ModelError;
use crate::layout::section;
use crate::packed::Container;
use crate::plan::{
    self, Computes, EmbeddingsPlan, HeadPlan, LayerPlan, LinearPlan, ModelPlan, NormPlan,
};
use crate::table::{Elements, Table};

/// Embeddings, layers and head.
pub(crate) struct Network {
    pub(crate) embeddings: Embeddings,
    pub(crate) layers: Vec<Layer>,
    /// The steps after pooling.
    pub(crate) head: Vec<Step>,
}

pub(crate) struct Embeddings {
    /// `[vocabulary, hidden]`
    pub(crate) words: Table,
    /// `[positions, hidden]`, with the vector of token type 0 added if the architecture has one.
    pub(crate) positions: View<f32>,
    pub(crate) norm: LayerNorm,
}

pub(crate) struct Layer {
    pub(crate) attention: Attention,
    pub(crate) post_attention: PostAttention,
}

/// The linear layers around the attention of a layer, apart from its output.
pub(crate) enum Attention {
    AllTokens {
        /// Queries, keys and values: one layer `[3 · hidden, hidden]`, or with smoothing one layer
        /// `[hidden, hidden]` for each, because their factors differ.
        projections: Vec<Linear>,
    },
    /// See `LayerPlan::compute_one_token`.
    OneToken {
        query: Box<Linear>,
        /// For each head, from its query back to the states: `[hidden, dim]`, the transpose of its
        /// keys' weights.
        keys: Vec<Linear>,
        /// For each head, `[dim, hidden]`.
        values: Vec<Linear>,
    },
}

/// What follows the attention in a layer.
pub(crate) struct PostAttention {
    pub(crate) output: Linear,
    pub(crate) attention_norm: LayerNorm,
    pub(crate) expand: Linear,
    pub(crate) activation: Activation,
    pub(crate) contract: Linear,
    pub(crate) output_norm: LayerNorm,
}

/// A step after pooling.
pub(crate) enum Step {
    Dense(Box<Linear>, Activation),
    Normalize,
}

impl Network {
    /// Reads what `plan` asks for out of `container`, packed for `isa` in `precision`.
    ///
    /// # Errors
    /// [`ModelError::Malformed`] for sections that are missing or have the wrong length.
    pub(crate) fn read(
        container: &Container,
        isa: Isa,
        precision: Precision,
        plan: &ModelPlan,
        words: Elements,
    ) -> Result<Network, ModelError> {
        let reader = Reader {
            container,
            isa,
            precision,
            smooths: plan.smooths(precision),
        };
        let encoder = &plan.encoder;
        Ok(Network {
            embeddings: reader.embeddings(&encoder.embeddings, words)?,
            layers: (0..)
                .zip(&encoder.layers)
                .map(|(index, layer)| reader.layer(index, layer, encoder))
                .collect::<Result<_, _>>()?,
            head: reader.head(&plan.head)?,
        })
    }
}

struct Reader<'a> {
    container: &'a Container,
    isa: Isa,
    precision: Precision,
    /// See [`ModelPlan::smooths`].
    smooths: bool,
}

impl Reader<'_> {
    fn view<T: Pod>(&self, name: &str, len: usize) -> Result<View<T>, ModelError> {
        let view = self.container.view::<T>(name)?;
        if view.len() == len {
            return Ok(view);
        }
        Err(self.container.malformed(format!(
            "the section {name:?} has {} elements instead of {len}",
            view.len()
        )))
    }

    fn embeddings(
        &self,
        plan: &EmbeddingsPlan,
        elements: Elements,
    ) -> Result<Embeddings, ModelError> {
        let [rows, hidden] = plan.words.shape;
        let (name, len) = (section::WORDS, rows * hidden);
        let words = match elements {
            Elements::F32 => Table::F32(self.view(name, len)?),
            Elements::F16 => Table::F16(self.view(name, len)?),
            Elements::Bf16 => Table::Bf16(self.view(name, len)?),
            Elements::Int8 => Table::Int8 {
                units: self.view(name, len)?,
                scales: self.view(section::WORD_SCALES, rows)?,
            },
        };
        let [positions, hidden] = plan.positions.shape;
        Ok(Embeddings {
            words,
            positions: self.view(section::POSITIONS, positions * hidden)?,
            norm: self.norm(section::EMBEDDING_NORM, &plan.norm)?,
        })
    }

    fn norm(&self, name: &str, plan: &NormPlan) -> Result<LayerNorm, ModelError> {
        let values = |part: &str| self.view(&format!("{name}.{part}"), plan.width);
        Ok(LayerNorm::new(values("weight")?, values("bias")?, plan.eps))
    }

    /// A linear layer of the encoder.
    fn linear(&self, name: &str, plan: &LinearPlan) -> Result<Linear, ModelError> {
        self.weights(name, self.precision, plan.outputs, plan.inputs, None)
    }

    /// A linear layer of the encoder that reads the output of a norm.
    fn after_norm(&self, name: &str, plan: &LinearPlan) -> Result<Linear, ModelError> {
        let factors = self.smooths.then(|| self.smoothing(name, plan.inputs));
        let factors = factors.transpose()?;
        self.weights(name, self.precision, plan.outputs, plan.inputs, factors)
    }

    /// The factors of a linear layer's inputs.
    fn smoothing(&self, name: &str, inputs: usize) -> Result<View<f32>, ModelError> {
        let name = section::smoothing(name);
        let factors = self.view::<f32>(&name, inputs)?;
        if factors.iter().all(|factor| factor.is_finite()) {
            return Ok(factors);
        }
        Err(self.container.malformed(format!(
            "the section {name:?} has values that are not finite"
        )))
    }

    fn weights(
        &self,
        name: &str,
        precision: Precision,
        outputs: usize,
        inputs: usize,
        factors: Option<View<f32>>,
    ) -> Result<Linear, ModelError> {
        let section = |part| section::linear(self.isa.target(), precision, name, part);
        let weights = match precision {
            Precision::F32 => PackedWeights::F32 {
                panels: self.container.view(&section("panels"))?,
            },
            Precision::Int8 => PackedWeights::Int8 {
                panels: self.container.view(&section("panels"))?,
                scales: self.container.view(&section("scales"))?,
                sums: self.container.view(&section("sums"))?,
                factors,
            },
        };
        let bias = self.container.view(&section("bias"))?;
        Linear::new(self.isa, outputs, inputs, weights, bias).map_err(|error| {
            self.container
                .malformed(format!("the layer {name:?}: {error}"))
        })
    }

    fn layer(
        &self,
        index: usize,
        plan: &plan::Layer,
        encoder: &LayerPlan,
    ) -> Result<Layer, ModelError> {
        let name = |part: &str| section::layer(index, part);
        let (hidden, heads) = (encoder.hidden(), encoder.heads);
        let attention = match plan.computes {
            Computes::AllTokens if self.smooths => Attention::AllTokens {
                projections: [
                    (section::QUERY, &plan.query),
                    (section::KEY, &plan.key),
                    (section::VALUE, &plan.value),
                ]
                .into_iter()
                .map(|(part, plan)| self.after_norm(&name(part), plan))
                .collect::<Result<_, _>>()?,
            },
            Computes::AllTokens => {
                let name = name(section::QUERY_KEY_VALUE);
                let outputs = plan.query.outputs + plan.key.outputs + plan.value.outputs;
                let projection = self.weights(&name, self.precision, outputs, hidden, None)?;
                Attention::AllTokens {
                    projections: vec![projection],
                }
            }
            Computes::OneToken => {
                let of_heads = |part, outputs, inputs| {
                    (0..heads.count)
                        .map(|head| {
                            let name = section::head(index, part, head);
                            self.weights(&name, self.precision, outputs, inputs, None)
                        })
                        .collect::<Result<Vec<_>, _>>()
                };
                Attention::OneToken {
                    query: Box::new(self.after_norm(&name(section::QUERY), &plan.query)?),
                    keys: of_heads(section::KEY, hidden, heads.dim)?,
                    values: of_heads(section::VALUE, heads.dim, hidden)?,
                }
            }
        };
        Ok(Layer {
            attention,
            post_attention: PostAttention {
                output: self.linear(&name(section::OUTPUT), &plan.output)?,
                attention_norm: self.norm(&name(section::ATTENTION_NORM), &plan.attention_norm)?,
                expand: self.after_norm(&name(section::EXPAND), &plan.expand)?,
                activation: plan.activation,
                contract: self.linear(&name(section::CONTRACT), &plan.contract)?,
                output_norm: self.norm(&name(section::OUTPUT_NORM), &plan.output_norm)?,
            },
        })
    }

    fn head(&self, plan: &HeadPlan) -> Result<Vec<Step>, ModelError> {
        let step = |(index, step): (usize, &plan::Step)| match step {
            plan::Step::Dense(linear, activation) => {
                let (outputs, inputs) = (linear.outputs, linear.inputs);
                let name = section::step(index);
                let linear = self.weights(&name, Precision::F32, outputs, inputs, None)?;
                Ok(Step::Dense(Box::new(linear), *activation))
            }
            plan::Step::Normalize => Ok(Step::Normalize),
        };
        plan.steps.iter().enumerate().map(step).collect()
    }
}
