//! `config.json`: which encoder it describes, as one [`Config`] for all families.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use shoal_kernels::{Activation, Heads};

use crate::error::ModelError;
use crate::head::Objective;

/// Name of the file, for messages.
pub(crate) const FILE: &str = "config.json";

/// The family of the encoder. It decides how tensors are named and which head follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// `DistilBertForSequenceClassification`
    DistilBert,
    /// `BertForSequenceClassification`
    Bert,
}

/// A validated model configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Family of the encoder.
    pub family: Family,
    /// Rows of the word embedding.
    pub vocabulary: usize,
    /// Longest sequence in tokens.
    pub positions: usize,
    /// Rows of the token type embedding; 0 where the family has none.
    pub token_types: usize,
    /// Number of layers.
    pub layers: usize,
    /// Attention heads; their count times their width is the hidden width.
    pub heads: Heads,
    /// Width of the feed-forward part.
    pub intermediate: usize,
    /// Activation of the feed-forward part.
    pub activation: Activation,
    /// The epsilon of all layer norms.
    pub layer_norm_eps: f32,
    /// Label names, in the order of the logits.
    pub labels: Vec<String>,
    /// What the logits mean.
    pub objective: Objective,
}

/// The keys of both families; a missing one has the default of transformers, as checkpoints rely
/// on it.
#[derive(Deserialize)]
struct Raw {
    model_type: Option<String>,
    architectures: Option<Vec<String>>,
    vocab_size: Option<u64>,
    max_position_embeddings: Option<u64>,
    #[serde(alias = "dim")]
    hidden_size: Option<u64>,
    #[serde(alias = "hidden_dim")]
    intermediate_size: Option<u64>,
    #[serde(alias = "n_heads")]
    num_attention_heads: Option<u64>,
    #[serde(alias = "n_layers")]
    num_hidden_layers: Option<u64>,
    #[serde(alias = "activation")]
    hidden_act: Option<String>,
    layer_norm_eps: Option<f64>,
    type_vocab_size: Option<u64>,
    position_embedding_type: Option<String>,
    is_decoder: Option<bool>,
    id2label: Option<BTreeMap<String, Value>>,
    num_labels: Option<u64>,
    problem_type: Option<String>,
}

impl Config {
    /// Reads the bytes of a `config.json`.
    ///
    /// # Errors
    /// [`ModelError::Unsupported`] for another kind of model, [`ModelError::Corrupt`] for a file
    /// that is not JSON or whose values are out of bounds; both name the key.
    pub fn parse(bytes: &[u8]) -> Result<Config, ModelError> {
        let raw: Raw = serde_json::from_slice(bytes)
            .map_err(|error| ModelError::corrupt(FILE, error.to_string()))?;
        let family = family(&raw)?;
        let number = |key, value: Option<u64>, default: u64, limit: u64| -> Result<usize, _> {
            let value = value.unwrap_or(default);
            if value == 0 || value > limit {
                let reason = format!("{key} is {value}, which is not between 1 and {limit}");
                return Err(ModelError::corrupt(FILE, reason));
            }
            Ok(value as usize)
        };
        // Generous bounds, several times the largest published models: they keep a damaged file
        // from asking for absurd amounts of memory.
        let hidden = number("the hidden size", raw.hidden_size, 768, 1 << 14)?;
        let count = number("the number of heads", raw.num_attention_heads, 12, 1 << 10)?;
        let default_layers = match family {
            Family::DistilBert => 6,
            Family::Bert => 12,
        };
        if hidden % count != 0 {
            let reason = format!("a hidden size of {hidden} cannot be shared by {count} heads");
            return Err(ModelError::corrupt(FILE, reason));
        }
        let layer_norm_eps = match family {
            Family::DistilBert => 1e-12,
            Family::Bert => raw.layer_norm_eps.unwrap_or(1e-12),
        };
        if !(0.0..1.0).contains(&layer_norm_eps) {
            let reason = format!("layer_norm_eps is {layer_norm_eps}, which is not in 0..1");
            return Err(ModelError::corrupt(FILE, reason));
        }
        let labels = labels(&raw)?;
        Ok(Config {
            family,
            vocabulary: number("vocab_size", raw.vocab_size, 30_522, 1 << 24)?,
            positions: number(
                "max_position_embeddings",
                raw.max_position_embeddings,
                512,
                1 << 20,
            )?,
            token_types: match family {
                Family::DistilBert => 0,
                Family::Bert => number("type_vocab_size", raw.type_vocab_size, 2, 1 << 10)?,
            },
            layers: number(
                "the number of layers",
                raw.num_hidden_layers,
                default_layers,
                1 << 10,
            )?,
            heads: Heads {
                count,
                dim: hidden / count,
            },
            intermediate: number(
                "the intermediate size",
                raw.intermediate_size,
                3072,
                1 << 16,
            )?,
            activation: activation(raw.hidden_act.as_deref().unwrap_or("gelu"))?,
            layer_norm_eps: layer_norm_eps as f32,
            objective: objective(raw.problem_type.as_deref(), labels.len())?,
            labels,
        })
    }

    /// Width of a token's vector.
    pub fn hidden(&self) -> usize {
        self.heads.hidden()
    }
}

const SUPPORTED: &str =
    "supported are DistilBertForSequenceClassification and BertForSequenceClassification";

fn family(raw: &Raw) -> Result<Family, ModelError> {
    let (family, architecture) = match raw.model_type.as_deref() {
        Some("distilbert") => (Family::DistilBert, "DistilBertForSequenceClassification"),
        Some("bert") => (Family::Bert, "BertForSequenceClassification"),
        found => {
            let found = found.map_or("has no model_type".to_owned(), |name| {
                format!("has the model_type {name:?}")
            });
            let what = format!("{FILE} {found}; {SUPPORTED} (model_type distilbert and bert)");
            return Err(ModelError::unsupported(what));
        }
    };
    // Without the key, the classifier's tensors decide when the weights are read.
    if let Some(found) = &raw.architectures
        && !found.is_empty()
        && !found.iter().any(|name| name == architecture)
    {
        let what = format!("its architecture is {}; {SUPPORTED}", found.join(", "));
        return Err(ModelError::unsupported(what));
    }
    if raw.is_decoder == Some(true) {
        return Err(ModelError::unsupported(
            "is_decoder is set; only encoders are supported",
        ));
    }
    match raw.position_embedding_type.as_deref() {
        None | Some("absolute") => Ok(family),
        Some(other) => Err(ModelError::unsupported(format!(
            "position_embedding_type is {other:?}; supported is \"absolute\""
        ))),
    }
}

fn activation(name: &str) -> Result<Activation, ModelError> {
    match name {
        "gelu" => Ok(Activation::Gelu),
        "relu" => Ok(Activation::Relu),
        "gelu_new" | "gelu_pytorch_tanh" => Ok(Activation::GeluTanh),
        other => Err(ModelError::unsupported(format!(
            "its activation is {other:?}; supported are gelu, gelu_new, gelu_pytorch_tanh and relu"
        ))),
    }
}

fn labels(raw: &Raw) -> Result<Vec<String>, ModelError> {
    const LIMIT: u64 = 1 << 16;
    let Some(named) = &raw.id2label else {
        let count = raw.num_labels.unwrap_or(2);
        if count == 0 || count > LIMIT {
            let reason = format!("num_labels is {count}, which is not between 1 and {LIMIT}");
            return Err(ModelError::corrupt(FILE, reason));
        }
        return Ok((0..count).map(|id| format!("LABEL_{id}")).collect());
    };
    if named.is_empty() || named.len() as u64 > LIMIT {
        let reason = format!(
            "id2label has {} entries, which is not between 1 and {LIMIT}",
            named.len()
        );
        return Err(ModelError::corrupt(FILE, reason));
    }
    (0..named.len())
        .map(|id| match named.get(&id.to_string()) {
            Some(Value::String(name)) => Ok(name.clone()),
            // Some checkpoints number their labels, as stars from 1 to 5.
            Some(Value::Number(name)) => Ok(name.to_string()),
            Some(other) => {
                let reason = format!("id2label names the id {id} {other}, which is no text");
                Err(ModelError::corrupt(FILE, reason))
            }
            None => {
                let count = named.len();
                let reason = format!("id2label has {count} entries but none for the id {id}");
                Err(ModelError::corrupt(FILE, reason))
            }
        })
        .collect()
}

/// As transformers' text-classification pipeline decides.
fn objective(problem_type: Option<&str>, labels: usize) -> Result<Objective, ModelError> {
    match problem_type {
        Some("regression") => Ok(Objective::Regression),
        Some("multi_label_classification") => Ok(Objective::MultiLabel),
        // A single label is a yes-or-no score, as cross-encoders have it; a softmax would always
        // say 1.
        None | Some("single_label_classification") if labels == 1 => Ok(Objective::MultiLabel),
        None | Some("single_label_classification") => Ok(Objective::SingleLabel),
        Some(other) => Err(ModelError::unsupported(format!(
            "problem_type is {other:?}; supported are single_label_classification, \
             multi_label_classification and regression"
        ))),
    }
}
