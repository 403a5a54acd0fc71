//! The supported architectures: one file each, which turns `config.json` into a [`LayerPlan`].
//!
//! To add one, write its file and add it to [`ARCHITECTURES`].

mod bert;
mod distilbert;

use serde::de::DeserializeOwned;
use serde_json::Value;
use shoal_kernels::{Activation, Heads};

use crate::classifier::Classifier;
use crate::embedding::EmbeddingSpec;
use crate::error::ModelError;
use crate::files::CONFIG;
use crate::plan::{HeadPlan, LayerPlan, ModelPlan, Step};

/// An architecture of transformers.
pub(crate) trait Architecture: Sync {
    /// The values of `model_type` in `config.json` that mean this architecture.
    fn model_types(&self) -> &'static [&'static str];

    /// What the names of its classes begin with, such as `Bert` of `BertModel`.
    fn class(&self) -> &'static str;

    /// The encoder that `config` describes. A missing key has the default of transformers, as
    /// checkpoints rely on it.
    ///
    /// # Errors
    /// [`ModelError::Unsupported`] for settings that the engine does not implement,
    /// [`ModelError::Corrupt`] for values out of bounds; both name the key.
    fn plan(&self, config: &Value) -> Result<LayerPlan, ModelError>;

    /// The layers of its `…ForSequenceClassification`, which read the first token.
    fn classifier(&self, hidden: usize, labels: usize) -> Vec<Step>;
}

const ARCHITECTURES: &[&dyn Architecture] = &[&distilbert::DistilBert, &bert::Bert];

/// The architecture that `config` names.
///
/// # Errors
/// [`ModelError::Unsupported`] for any other, with a list of those that are supported.
pub(crate) fn find(config: &Value) -> Result<&'static dyn Architecture, ModelError> {
    let model_type = config.get("model_type").and_then(Value::as_str);
    let is_named = |of: &&&'static dyn Architecture| {
        model_type.is_some_and(|name| of.model_types().contains(&name))
    };
    ARCHITECTURES.iter().find(is_named).copied().ok_or_else(|| {
        let found = model_type.map_or("has no model_type".to_owned(), |name| {
            format!("has the model_type {name:?}")
        });
        let types = ARCHITECTURES.iter().flat_map(|of| of.model_types());
        let types: Vec<_> = types.copied().collect();
        ModelError::unsupported(format!(
            "{CONFIG} {found}; supported are {}",
            types.join(", ")
        ))
    })
}

/// The classes in `architectures` of `config`; empty if it names none.
pub(crate) fn classes(config: &Value) -> Vec<&str> {
    let classes = config.get("architectures").and_then(Value::as_array);
    classes
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

/// The whole model: the encoder that `config` describes, with a head that computes embeddings, or
/// with its classifier.
///
/// # Errors
/// As [`find`], [`Architecture::plan`] and [`Classifier::from_config`].
pub(crate) fn plan(
    config: &Value,
    embedding: Option<EmbeddingSpec>,
) -> Result<ModelPlan, ModelError> {
    let architecture = find(config)?;
    let encoder = architecture.plan(config)?;
    let head = match embedding {
        Some(spec) => HeadPlan::of_embedding(spec),
        None => {
            check_classifier(architecture, config)?;
            let classifier = Classifier::from_config(config)?;
            let steps = architecture.classifier(encoder.hidden(), classifier.labels.len());
            HeadPlan::of_classifier(classifier, steps)
        }
    };
    Ok(ModelPlan::new(encoder, head))
}

/// Checks that `config` describes a sequence classifier, or does not say what it describes: then the
/// tensors decide when the weights are read.
fn check_classifier(architecture: &dyn Architecture, config: &Value) -> Result<(), ModelError> {
    let classes = classes(config);
    let classifier = |class: &str| format!("{class}ForSequenceClassification");
    if classes.is_empty() || classes.contains(&&*classifier(architecture.class())) {
        return Ok(());
    }
    let supported: Vec<_> = ARCHITECTURES
        .iter()
        .map(|architecture| classifier(architecture.class()))
        .collect();
    Err(ModelError::unsupported(format!(
        "its architecture is {}, which does not classify texts; supported are {}; without a \
         classifier it can compute embeddings",
        classes.join(", "),
        supported.join(", ")
    )))
}

/// The keys of `config` that `K` names.
fn keys<K: DeserializeOwned>(config: &Value) -> Result<K, ModelError> {
    // By reference, so that nothing of the JSON is copied.
    K::deserialize(config).map_err(|error| ModelError::corrupt(CONFIG, error.to_string()))
}

/// A size between 1 and `limit`. The limits are generous, several times the largest published
/// models: they keep a damaged file from asking for absurd amounts of memory.
fn size(key: &str, value: Option<u64>, default: u64, limit: u64) -> Result<usize, ModelError> {
    let value = value.unwrap_or(default);
    if value == 0 || value > limit {
        let reason = format!("{key} is {value}, which is not between 1 and {limit}");
        return Err(ModelError::corrupt(CONFIG, reason));
    }
    Ok(value as usize)
}

fn vocabulary(value: Option<u64>) -> Result<usize, ModelError> {
    size("vocab_size", value, 30_522, 1 << 24)
}

fn max_positions(value: Option<u64>) -> Result<usize, ModelError> {
    size("max_position_embeddings", value, 512, 1 << 20)
}

fn layers(value: Option<u64>, default: u64) -> Result<usize, ModelError> {
    size("the number of layers", value, default, 1 << 10)
}

fn intermediate(value: Option<u64>) -> Result<usize, ModelError> {
    size("the intermediate size", value, 3072, 1 << 16)
}

fn heads(hidden: Option<u64>, count: Option<u64>) -> Result<Heads, ModelError> {
    let hidden = size("the hidden size", hidden, 768, 1 << 14)?;
    let count = size("the number of heads", count, 12, 1 << 10)?;
    if hidden % count != 0 {
        let reason = format!("a hidden size of {hidden} cannot be shared by {count} heads");
        return Err(ModelError::corrupt(CONFIG, reason));
    }
    Ok(Heads {
        count,
        dim: hidden / count,
    })
}

fn activation(name: Option<&str>) -> Result<Activation, ModelError> {
    match name {
        None | Some("gelu") => Ok(Activation::Gelu),
        Some("relu") => Ok(Activation::Relu),
        Some("gelu_new" | "gelu_pytorch_tanh") => Ok(Activation::GeluTanh),
        Some(other) => Err(ModelError::unsupported(format!(
            "its activation is {other:?}; supported are gelu, gelu_new, gelu_pytorch_tanh and relu"
        ))),
    }
}
