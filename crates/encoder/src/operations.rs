//! Operations of a pass, counted on the plan; a multiplication and its addition are two.

use crate::plan::{Computes, Layer, LinearPlan, ModelPlan, Step};

/// Operations of the matrix products that [`Session::run`](crate::Session::run) computes for a record
/// of `tokens` tokens. [`Stage::Products`](crate::Stage) is the time that they take;
/// attention is not included.
pub fn products(plan: &ModelPlan, tokens: usize) -> u64 {
    let layers = plan.encoder.layers.iter().map(|layer| {
        let rows = match layer.computes {
            Computes::AllTokens => tokens as u64,
            // As many products per row: one with the keys' weights and one with the values'.
            Computes::OneToken => 1,
        };
        rows * products_per_token(layer)
    });
    let head = plan.head.steps.iter().map(|step| match step {
        Step::Dense(linear, _) => product(linear),
        Step::Normalize => 0,
    });
    layers.chain(head).sum()
}

/// Operations of the layers for a record of `tokens` tokens in a runtime that computes them in
/// full: products and attention of all tokens in every layer, without embeddings and head. It is the
/// common measure for engines that skip some of them.
pub fn in_full(plan: &ModelPlan, tokens: usize) -> u64 {
    let tokens = tokens as u64;
    let attention = 4 * tokens * tokens * plan.hidden() as u64;
    let layers = plan.encoder.layers.iter();
    layers
        .map(|layer| tokens * products_per_token(layer) + attention)
        .sum()
}

fn products_per_token(layer: &Layer) -> u64 {
    layer.linears().map(product).iter().sum()
}

/// One row through a linear layer.
fn product(linear: &LinearPlan) -> u64 {
    2 * linear.outputs as u64 * linear.inputs as u64
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::arch;
    use shoal_kernels::Activation;

    use crate::embedding::{EmbeddingSpec, Module, Pooling};

    /// Width 6 in 2 heads, 10 in between, 3 layers, 2 labels.
    fn plan(embedding: Option<EmbeddingSpec>) -> ModelPlan {
        let config = json!({
            "model_type": "distilbert", "dim": 6, "n_heads": 2, "hidden_dim": 10, "n_layers": 3
        });
        arch::plan(&config, embedding).unwrap()
    }

    // One product is 2 · rows · outputs · inputs.
    const LAYER: u64 = 2 * 5 * 18 * 6 // queries, keys, values
        + 2 * 5 * 6 * 6 // output
        + 2 * 5 * 10 * 6 // expand
        + 2 * 5 * 6 * 10; // contract
    const LAST: u64 = 2 * 6 * 6 // query
        + 2 * (2 * 6 * 3) // for each head, back to the states
        + 2 * (2 * 3 * 6) // for each head, its values
        + 2 * 6 * 6 // output
        + 2 * 10 * 6
        + 2 * 6 * 10;

    #[test]
    fn a_classifier_computes_one_token_of_the_last_layer() {
        let head = 2 * 6 * 6 + 2 * 2 * 6;
        assert_eq!(products(&plan(None), 5), 2 * LAYER + LAST + head);
    }

    #[test]
    fn an_embedding_computes_what_its_pooling_reads() {
        let mut spec = EmbeddingSpec::mean(6);
        assert_eq!(products(&plan(Some(spec.clone())), 5), 3 * LAYER);
        spec.pooling = vec![Pooling::Cls];
        assert_eq!(products(&plan(Some(spec.clone())), 5), 2 * LAYER + LAST);
        spec.pooling = vec![Pooling::Cls, Pooling::Max];
        spec.modules = vec![
            Module::Dense {
                inputs: 12,
                outputs: 7,
                activation: Activation::Tanh,
            },
            Module::Normalize,
        ];
        spec.dimensions = spec.width(6).unwrap();
        let plan = plan(Some(spec));
        assert_eq!(products(&plan, 5), 3 * LAYER + 2 * 7 * 12);
        assert_eq!(plan.output_width(), 7);
    }

    #[test]
    fn a_general_runtime_computes_every_token_in_every_layer() {
        let attention = 2 * 2 * 5 * 5 * 3 // scores of both heads
            + 2 * 2 * 5 * 5 * 3; // weighted values of both heads
        assert_eq!(in_full(&plan(None), 5), 3 * (LAYER + attention));
    }
}
