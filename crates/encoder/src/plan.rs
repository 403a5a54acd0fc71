//! What a model computes, from token ids to its output: shapes, names of tensors, activations.
//! Packing, reading, running and counting all walk this plan.

use shoal_kernels::{Activation, Heads, Precision};

use crate::classifier::Classifier;
use crate::embedding::{EmbeddingSpec, Module, Pooling};
use crate::purpose::Purpose;

/// The encoder and the task head of one model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelPlan {
    pub(crate) encoder: LayerPlan,
    pub(crate) head: HeadPlan,
}

/// An encoder, as its [`Architecture`](crate::arch::Architecture) describes it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LayerPlan {
    /// Put before every tensor name in checkpoints that carry a task head; absent in others.
    pub(crate) prefix: &'static str,
    /// Most tokens of a record.
    pub(crate) max_positions: usize,
    /// Attention heads; together they are as wide as a token's state.
    pub(crate) heads: Heads,
    pub(crate) embeddings: EmbeddingsPlan,
    pub(crate) positions: Positions,
    /// At least one.
    pub(crate) layers: Vec<Layer>,
}

/// How the encoder knows the order of its tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Positions {
    /// A learned vector per position, added to the word's vector. Attention itself sees no order.
    Learned,
}

/// The sum of the word, position and token type vectors, then a norm.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct EmbeddingsPlan {
    /// `[vocabulary, hidden]`
    pub(crate) words: TensorPlan,
    /// `[positions, hidden]`
    pub(crate) positions: TensorPlan,
    /// `[types, hidden]`; every token of a single text is of type 0.
    pub(crate) token_types: Option<TensorPlan>,
    pub(crate) norm: NormPlan,
}

/// One transformer layer: attention, residual and norm, feed-forward, residual and norm.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Layer {
    pub(crate) query: LinearPlan,
    pub(crate) key: LinearPlan,
    pub(crate) value: LinearPlan,
    pub(crate) output: LinearPlan,
    pub(crate) attention_norm: NormPlan,
    pub(crate) expand: LinearPlan,
    pub(crate) activation: Activation,
    pub(crate) contract: LinearPlan,
    pub(crate) output_norm: NormPlan,
    pub(crate) computes: Computes,
}

/// The tokens of a record for which a layer computes a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Computes {
    AllTokens,
    /// Only the token that the head reads; see [`LayerPlan::compute_one_token`].
    OneToken,
}

/// A tensor of a checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TensorPlan {
    pub(crate) name: String,
    /// Rows, columns.
    pub(crate) shape: [usize; 2],
}

/// A linear layer: the tensors `NAME.weight` (`[outputs, inputs]`) and `NAME.bias` (`[outputs]`).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LinearPlan {
    pub(crate) name: String,
    pub(crate) outputs: usize,
    pub(crate) inputs: usize,
}

/// A layer norm: the tensors `NAME.weight` and `NAME.bias`, both `[width]`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NormPlan {
    pub(crate) name: String,
    pub(crate) width: usize,
    pub(crate) eps: f32,
}

/// What follows the encoder: pooling, then steps on one vector per record. A classifier pools the first token.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HeadPlan {
    pub(crate) pooling: Vec<Pooling>,
    pub(crate) steps: Vec<Step>,
    pub(crate) output: Output,
}

/// A step after pooling.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    Dense(LinearPlan, Activation),
    Normalize,
}

/// What the values of a record's output are.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Output {
    Logits(Classifier),
    Embedding(EmbeddingSpec),
}

impl LinearPlan {
    pub(crate) fn new(name: impl Into<String>, outputs: usize, inputs: usize) -> LinearPlan {
        LinearPlan {
            name: name.into(),
            outputs,
            inputs,
        }
    }
}

impl NormPlan {
    pub(crate) fn new(name: impl Into<String>, width: usize, eps: f32) -> NormPlan {
        NormPlan {
            name: name.into(),
            width,
            eps,
        }
    }
}

impl Layer {
    /// All linear layers.
    pub(crate) fn linears(&self) -> [&LinearPlan; 6] {
        [
            &self.query,
            &self.key,
            &self.value,
            &self.output,
            &self.expand,
            &self.contract,
        ]
    }
}

impl LayerPlan {
    /// Tokens that it has embeddings for.
    pub(crate) fn vocabulary(&self) -> usize {
        self.embeddings.words.shape[0]
    }

    pub(crate) fn hidden(&self) -> usize {
        self.heads.hidden()
    }

    /// The norm whose output is the input of the layer `index`.
    pub(crate) fn input_norm(&self, index: usize) -> &NormPlan {
        match index.checked_sub(1) {
            Some(previous) => &self.layers[previous].output_norm,
            None => &self.embeddings.norm,
        }
    }

    /// Whether the last layer has one state per record.
    pub(crate) fn computes_one_token(&self) -> bool {
        let last = self.layers.last();
        last.is_some_and(|layer| layer.computes == Computes::OneToken)
    }

    /// An optimization pass: the last layer computes one token per record. Only for heads that read
    /// no other token of it.
    ///
    /// With one query `q` per head, its score against a token's state `x` is `q · (K x + b)`. Up to a
    /// constant that the softmax cancels, that is `(Kᵀ q) · x`. The weighted mean of the values is
    /// `V · mean(x) + b`. So the query attends to the states themselves, and no keys or values are
    /// computed. This holds only where a score depends on the two states alone, not on their distance.
    fn compute_one_token(&mut self) {
        match self.positions {
            Positions::Learned => {
                if let Some(last) = self.layers.last_mut() {
                    last.computes = Computes::OneToken;
                }
            }
        }
    }
}

impl HeadPlan {
    pub(crate) fn of_classifier(classifier: Classifier, steps: Vec<Step>) -> HeadPlan {
        HeadPlan {
            pooling: vec![Pooling::Cls],
            steps,
            output: Output::Logits(classifier),
        }
    }

    pub(crate) fn of_embedding(spec: EmbeddingSpec) -> HeadPlan {
        let step = |(index, module): (usize, &Module)| match module {
            Module::Dense {
                inputs,
                outputs,
                activation,
            } => {
                let linear = LinearPlan::new(dense_module(index), *outputs, *inputs);
                Step::Dense(linear, *activation)
            }
            Module::Normalize => Step::Normalize,
        };
        HeadPlan {
            pooling: spec.pooling.clone(),
            steps: spec.modules.iter().enumerate().map(step).collect(),
            output: Output::Embedding(spec),
        }
    }
}

/// The name of the linear layer of a `Dense` module; `index` counts all modules after pooling.
pub(crate) fn dense_module(index: usize) -> String {
    format!("modules.{index}.linear")
}

impl ModelPlan {
    pub(crate) fn new(mut encoder: LayerPlan, head: HeadPlan) -> ModelPlan {
        // The first that its prompt does not cover.
        if head.pooling == [Pooling::Cls] {
            encoder.compute_one_token();
        }
        ModelPlan { encoder, head }
    }

    /// What the model was opened for.
    pub fn purpose(&self) -> Purpose {
        match self.head.output {
            Output::Logits(_) => Purpose::Classify,
            Output::Embedding(_) => Purpose::Embed,
        }
    }

    /// Whether linear layers that read the output of a norm are packed with smoothing. The error of
    /// `int8` matters more to nearest neighbors than to labels.
    pub(crate) fn smooths(&self, precision: Precision) -> bool {
        precision == Precision::Int8 && self.purpose() == Purpose::Embed
    }

    /// Rows of the word embedding: token ids are below this.
    pub fn vocabulary(&self) -> usize {
        self.encoder.embeddings.words.shape[0]
    }

    /// Tokens that a record may have at most.
    pub fn max_positions(&self) -> usize {
        self.encoder.max_positions
    }

    /// Width of a token's state.
    pub fn hidden(&self) -> usize {
        self.encoder.hidden()
    }

    /// Values of one record's output: the labels of a classifier, the dimensions of an embedding.
    pub fn output_width(&self) -> usize {
        match &self.head.output {
            Output::Logits(classifier) => classifier.labels.len(),
            Output::Embedding(spec) => spec.dimensions,
        }
    }
}
