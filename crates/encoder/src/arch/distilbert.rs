//! DistilBERT: `models/distilbert/modeling_distilbert.py` of transformers.

use serde::Deserialize;
use serde_json::Value;
use shoal_kernels::Activation;

use super::Architecture;
use crate::error::ModelError;
use crate::plan::{
    Computes, EmbeddingsPlan, Layer, LayerPlan, LinearPlan, NormPlan, Positions, Step, TensorPlan,
};

pub(super) struct DistilBert;

#[derive(Deserialize)]
struct Keys {
    vocab_size: Option<u64>,
    max_position_embeddings: Option<u64>,
    dim: Option<u64>,
    hidden_dim: Option<u64>,
    n_heads: Option<u64>,
    n_layers: Option<u64>,
    activation: Option<String>,
    // The names that these keys have in other architectures (`attribute_map`); they win over the others.
    hidden_size: Option<u64>,
    num_attention_heads: Option<u64>,
    num_hidden_layers: Option<u64>,
}

/// The layer norms' epsilon, which the configuration does not name.
const EPS: f32 = 1e-12;

impl Architecture for DistilBert {
    fn model_types(&self) -> &'static [&'static str] {
        &["distilbert"]
    }

    fn class(&self) -> &'static str {
        "DistilBert"
    }

    fn plan(&self, config: &Value) -> Result<LayerPlan, ModelError> {
        let keys: Keys = super::keys(config)?;
        let heads = super::heads(
            keys.hidden_size.or(keys.dim),
            keys.num_attention_heads.or(keys.n_heads),
        )?;
        let hidden = heads.hidden();
        let intermediate = super::intermediate(keys.hidden_dim)?;
        let max_positions = super::max_positions(keys.max_position_embeddings)?;
        let activation = super::activation(keys.activation.as_deref())?;
        let vocabulary = super::vocabulary(keys.vocab_size)?;
        let layer = |index: usize| {
            let name = |part: &str| format!("transformer.layer.{index}.{part}");
            let square = |part: &str| LinearPlan::new(name(part), hidden, hidden);
            let norm = |part: &str| NormPlan::new(name(part), hidden, EPS);
            Layer {
                query: square("attention.q_lin"),
                key: square("attention.k_lin"),
                value: square("attention.v_lin"),
                output: square("attention.out_lin"),
                attention_norm: norm("sa_layer_norm"),
                expand: LinearPlan::new(name("ffn.lin1"), intermediate, hidden),
                activation,
                contract: LinearPlan::new(name("ffn.lin2"), hidden, intermediate),
                output_norm: norm("output_layer_norm"),
                computes: Computes::AllTokens,
            }
        };
        let table = |part: &str, rows| TensorPlan {
            name: format!("embeddings.{part}_embeddings.weight"),
            shape: [rows, hidden],
        };
        Ok(LayerPlan {
            prefix: "distilbert.",
            max_positions,
            heads,
            embeddings: EmbeddingsPlan {
                words: table("word", vocabulary),
                positions: table("position", max_positions),
                token_types: None,
                norm: NormPlan::new("embeddings.LayerNorm", hidden, EPS),
            },
            positions: Positions::Learned,
            layers: (0..super::layers(keys.num_hidden_layers.or(keys.n_layers), 6)?)
                .map(layer)
                .collect(),
        })
    }

    fn classifier(&self, hidden: usize, labels: usize) -> Vec<Step> {
        let dense = LinearPlan::new("pre_classifier", hidden, hidden);
        let output = LinearPlan::new("classifier", labels, hidden);
        vec![
            Step::Dense(dense, Activation::Relu),
            Step::Dense(output, Activation::Identity),
        ]
    }
}
