//! BERT: `models/bert/modeling_bert.py` of transformers.

use serde::Deserialize;
use serde_json::Value;
use shoal_kernels::Activation;

use super::Architecture;
use crate::error::ModelError;
use crate::files::CONFIG;
use crate::plan::{
    Computes, EmbeddingsPlan, Layer, LayerPlan, LinearPlan, NormPlan, Positions, Step, TensorPlan,
};

pub(super) struct Bert;

#[derive(Deserialize)]
struct Keys {
    vocab_size: Option<u64>,
    max_position_embeddings: Option<u64>,
    type_vocab_size: Option<u64>,
    hidden_size: Option<u64>,
    intermediate_size: Option<u64>,
    num_attention_heads: Option<u64>,
    num_hidden_layers: Option<u64>,
    hidden_act: Option<String>,
    layer_norm_eps: Option<f64>,
    position_embedding_type: Option<String>,
    is_decoder: Option<bool>,
}

impl Architecture for Bert {
    fn model_types(&self) -> &'static [&'static str] {
        &["bert"]
    }

    fn class(&self) -> &'static str {
        "Bert"
    }

    fn plan(&self, config: &Value) -> Result<LayerPlan, ModelError> {
        let keys: Keys = super::keys(config)?;
        if keys.is_decoder == Some(true) {
            return Err(ModelError::unsupported(
                "is_decoder is set; only encoders are supported",
            ));
        }
        if let Some(other) = keys
            .position_embedding_type
            .filter(|kind| kind != "absolute")
        {
            return Err(ModelError::unsupported(format!(
                "position_embedding_type is {other:?}; supported is \"absolute\""
            )));
        }
        let eps = keys.layer_norm_eps.unwrap_or(1e-12);
        if !(0.0..1.0).contains(&eps) {
            let reason = format!("layer_norm_eps is {eps}, which is not in 0..1");
            return Err(ModelError::corrupt(CONFIG, reason));
        }
        let eps = eps as f32;
        let heads = super::heads(keys.hidden_size, keys.num_attention_heads)?;
        let hidden = heads.hidden();
        let intermediate = super::intermediate(keys.intermediate_size)?;
        let max_positions = super::max_positions(keys.max_position_embeddings)?;
        let activation = super::activation(keys.hidden_act.as_deref())?;
        let vocabulary = super::vocabulary(keys.vocab_size)?;
        let token_types = super::size("type_vocab_size", keys.type_vocab_size, 2, 1 << 10)?;
        let layer = |index: usize| {
            let name = |part: &str| format!("encoder.layer.{index}.{part}");
            let square = |part: &str| LinearPlan::new(name(part), hidden, hidden);
            let norm = |part: &str| NormPlan::new(name(part), hidden, eps);
            Layer {
                query: square("attention.self.query"),
                key: square("attention.self.key"),
                value: square("attention.self.value"),
                output: square("attention.output.dense"),
                attention_norm: norm("attention.output.LayerNorm"),
                expand: LinearPlan::new(name("intermediate.dense"), intermediate, hidden),
                activation,
                contract: LinearPlan::new(name("output.dense"), hidden, intermediate),
                output_norm: norm("output.LayerNorm"),
                computes: Computes::AllTokens,
            }
        };
        let table = |part: &str, rows| TensorPlan {
            name: format!("embeddings.{part}_embeddings.weight"),
            shape: [rows, hidden],
        };
        Ok(LayerPlan {
            prefix: "bert.",
            max_positions,
            heads,
            embeddings: EmbeddingsPlan {
                words: table("word", vocabulary),
                positions: table("position", max_positions),
                token_types: Some(table("token_type", token_types)),
                norm: NormPlan::new("embeddings.LayerNorm", hidden, eps),
            },
            positions: Positions::Learned,
            layers: (0..super::layers(keys.num_hidden_layers, 12)?)
                .map(layer)
                .collect(),
        })
    }

    fn classifier(&self, hidden: usize, labels: usize) -> Vec<Step> {
        let dense = LinearPlan::new("pooler.dense", hidden, hidden);
        let output = LinearPlan::new("classifier", labels, hidden);
        vec![
            Step::Dense(dense, Activation::Tanh),
            Step::Dense(output, Activation::Identity),
        ]
    }
}
