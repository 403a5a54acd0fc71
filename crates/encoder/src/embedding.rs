//! Sentence embeddings as sentence-transformers defines them: pooling, then further modules.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shoal_kernels::Activation;

/// How an embedding is computed from the states of a record's tokens.
///
/// Read from the files of a sentence-transformers folder; see [`Checkpoint::open`](crate::Checkpoint::open).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct EmbeddingSpec {
    /// Pooling modes, whose results are concatenated in this order; at least one.
    pub pooling: Vec<Pooling>,
    /// Whether pooling includes the tokens of a prompt.
    pub include_prompt: bool,
    /// What follows pooling, in order.
    pub modules: Vec<Module>,
    /// Values of an embedding.
    pub dimensions: usize,
    /// Values that `encode` of sentence-transformers keeps by default (`truncate_dim`). Truncation is
    /// the caller's part: sessions return all [`dimensions`](EmbeddingSpec::dimensions).
    pub truncate_dim: Option<usize>,
    /// Texts to put before an input, by name.
    pub prompts: BTreeMap<String, String>,
    /// Name of the prompt that `encode` of sentence-transformers uses if none is given; a key of
    /// [`prompts`](EmbeddingSpec::prompts).
    pub default_prompt: Option<String>,
}

/// A pooling mode: how a record's token states (`[tokens, hidden]`) become one vector (`[hidden]`), as
/// `sentence_transformer/modules/pooling.py` of sentence-transformers 6.2 does. Tokens of an excluded
/// prompt do not count. If no token is left, [`Pooling::Cls`] takes the first token of all,
/// [`Pooling::Max`] is −∞ and the others are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Pooling {
    /// The first token.
    Cls,
    /// The greatest value of each dimension.
    Max,
    /// `Σ xᵢ / n`
    Mean,
    /// `Σ xᵢ / √n`
    #[serde(rename = "mean_sqrt_len_tokens")]
    MeanSqrtLen,
    /// `Σ i·xᵢ / Σ i`, positions counted from 1, a prompt's included.
    WeightedMean,
    /// The last token.
    LastToken,
}

/// A step after pooling. Always computed in `f32`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
#[non_exhaustive]
pub enum Module {
    /// A linear layer and an activation (`base/modules/dense.py`).
    Dense {
        /// Width of the input.
        inputs: usize,
        /// Width of the output.
        outputs: usize,
        /// Applied to the output.
        activation: Activation,
    },
    /// Division by the Euclidean norm, or by 10⁻¹² if that is larger (`base/modules/normalize.py`).
    Normalize,
}

/// Most pooling modes, and most modules after pooling.
const MAX_STEPS: usize = 32;
/// Most values of a vector between two steps.
pub(crate) const MAX_WIDTH: usize = 1 << 16;

impl Pooling {
    /// All modes, in the order in which the boolean keys of older folders concatenate them.
    pub const ALL: [Pooling; 6] = [
        Pooling::Cls,
        Pooling::Max,
        Pooling::Mean,
        Pooling::MeanSqrtLen,
        Pooling::WeightedMean,
        Pooling::LastToken,
    ];
}

impl EmbeddingSpec {
    /// The mean of all tokens, which sentence-transformers takes for a folder of transformers.
    pub(crate) fn mean(hidden: usize) -> EmbeddingSpec {
        EmbeddingSpec {
            pooling: vec![Pooling::Mean],
            include_prompt: true,
            modules: Vec::new(),
            dimensions: hidden,
            truncate_dim: None,
            prompts: BTreeMap::new(),
            default_prompt: None,
        }
    }

    /// Checks a specification that was read from a file. On failure, what is wrong.
    pub(crate) fn check(&self, hidden: usize) -> Result<(), String> {
        let width = self.width(hidden)?;
        if self.dimensions != width {
            return Err(format!(
                "it has {} dimensions, not {width}",
                self.dimensions
            ));
        }
        match &self.default_prompt {
            Some(name) if !self.prompts.contains_key(name) => Err(format!(
                "its default prompt {name:?} is not among its prompts"
            )),
            _ => Ok(()),
        }
    }

    /// Values of the embedding of an encoder with states of width `hidden`: what
    /// [`dimensions`](EmbeddingSpec::dimensions) must be. On failure, what is wrong.
    pub(crate) fn width(&self, hidden: usize) -> Result<usize, String> {
        let steps = self.pooling.len().max(self.modules.len());
        if self.pooling.is_empty() || steps > MAX_STEPS {
            return Err(format!(
                "{} pooling modes and {} modules after pooling; 1 to {MAX_STEPS} and 0 to {MAX_STEPS} \
                 are supported",
                self.pooling.len(),
                self.modules.len()
            ));
        }
        let mut width = self.pooling.len() * hidden;
        for module in &self.modules {
            if let Module::Dense {
                inputs, outputs, ..
            } = *module
            {
                if inputs != width {
                    return Err(format!(
                        "a Dense module reads {inputs} values (in_features), but gets {width}"
                    ));
                }
                width = outputs;
                if width == 0 || width > MAX_WIDTH {
                    return Err(format!(
                        "out_features is {width}, which is not between 1 and {MAX_WIDTH}"
                    ));
                }
            }
        }
        Ok(width)
    }
}
