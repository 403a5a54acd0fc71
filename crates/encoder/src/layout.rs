//! What a packed model contains: its description and the names of its sections.

use serde::{Deserialize, Serialize};
use shoal_kernels::{Precision, Target};

use crate::embedding::EmbeddingSpec;
use crate::table::Elements;
use crate::tokenizer::{Settings, Truncation};

/// The version of the packing. It changes whenever the same checkpoint is packed to other bytes, for
/// example with another order of weights or another rounding. Packed models of another version must be
/// made again.
pub const PACKING: u32 = 5;

/// What a packed model says about itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Description {
    /// [`PACKING`]
    pub(crate) packing: u32,
    /// Of the checkpoint.
    pub(crate) fingerprint: String,
    pub(crate) precision: Precision,
    /// Names of the targets that it was packed for.
    pub(crate) isas: Vec<String>,
    pub(crate) truncation: Truncation,
    /// The tokenizer, if its vocabulary is packed.
    pub(crate) tokenizer: Option<Settings>,
    /// Whether special tokens in a text are text, if the tokenizer is a `tokenizer.json`.
    pub(crate) split_special_tokens: bool,
    pub(crate) words: Elements,
    /// The head of a model that computes embeddings; absent in a classifier.
    pub(crate) embedding: Option<EmbeddingSpec>,
}

/// Names of the sections.
pub(crate) mod section {
    use super::{Precision, Target};

    pub(crate) const CONFIG: &str = "config.json";
    /// The packed vocabulary, or else a `tokenizer.json`.
    pub(crate) const TOKENIZER: &str = "tokenizer";
    pub(crate) const WORDS: &str = "embeddings.words";
    pub(crate) const WORD_SCALES: &str = "embeddings.words.scales";
    pub(crate) const POSITIONS: &str = "embeddings.positions";
    pub(crate) const EMBEDDING_NORM: &str = "embeddings.norm";

    /// Parts of a layer.
    pub(crate) const QUERY_KEY_VALUE: &str = "query_key_value";
    pub(crate) const QUERY: &str = "query";
    pub(crate) const KEY: &str = "key";
    pub(crate) const VALUE: &str = "value";
    pub(crate) const OUTPUT: &str = "output";
    pub(crate) const ATTENTION_NORM: &str = "attention_norm";
    pub(crate) const EXPAND: &str = "expand";
    pub(crate) const CONTRACT: &str = "contract";
    pub(crate) const OUTPUT_NORM: &str = "output_norm";

    /// The factors of a linear layer's inputs, shared by all targets.
    pub(crate) fn smoothing(name: &str) -> String {
        format!("{name}.smoothing")
    }

    /// A part of a layer.
    pub(crate) fn layer(index: usize, part: &str) -> String {
        format!("layers.{index}.{part}")
    }

    /// A part of one attention head of a layer.
    pub(crate) fn head(index: usize, part: &str, head: usize) -> String {
        format!("layers.{index}.{part}.{head}")
    }

    /// A step after pooling.
    pub(crate) fn step(index: usize) -> String {
        format!("head.{index}")
    }

    /// A part of a linear layer, which is packed for a target.
    pub(crate) fn linear(target: Target, precision: Precision, name: &str, part: &str) -> String {
        format!("{}/{name}.{part}", target.layout(precision))
    }
}
