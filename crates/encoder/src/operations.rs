//! Operations of a pass, counted from the shapes; a multiplication with its addition counts as two.

use crate::config::Config;

/// Operations of the matrix products that [`Session::logits`](crate::Session::logits) computes for
/// a record of `tokens` tokens: every layer but the last for all tokens, the last layer and the
/// head for the first token alone. They are what [`StageTimes::products`](crate::StageTimes) is
/// the time of; attention is not in it.
pub fn products(config: &Config, tokens: usize) -> u64 {
    let hidden = config.hidden() as u64;
    let labels = config.labels.len() as u64;
    let rows = (config.layers as u64 - 1) * tokens as u64 + 1;
    rows * layer(config) + 2 * hidden * (hidden + labels)
}

/// Operations of the layers for a record of `tokens` tokens in a runtime that computes them in
/// full: products and attention of all tokens in every layer, without embeddings and head. Engines
/// that skip some are comparable when all are credited with these.
pub fn in_full(config: &Config, tokens: usize) -> u64 {
    let (tokens, hidden) = (tokens as u64, config.hidden() as u64);
    config.layers as u64 * (tokens * layer(config) + 4 * tokens * tokens * hidden)
}

/// The products of one layer for one token. The last layer has as many: one product with the keys'
/// weights and one with the values', only that they are on the other side of the attention.
fn layer(config: &Config) -> u64 {
    let (hidden, intermediate) = (config.hidden() as u64, config.intermediate as u64);
    2 * hidden * (4 * hidden + 2 * intermediate)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Width 6 in 2 heads, 10 in between, 3 layers, 2 labels.
    fn config() -> Config {
        Config::parse(
            br#"{"model_type": "distilbert", "dim": 6, "n_heads": 2, "hidden_dim": 10, "n_layers": 3}"#,
        )
        .unwrap()
    }

    #[test]
    fn products_are_those_that_a_session_computes() {
        // One product is 2 · rows · outputs · inputs.
        let (rows, one) = (5, 1);
        let layer = 2 * rows * 18 * 6 // queries, keys, values
            + 2 * rows * 6 * 6 // output
            + 2 * rows * 10 * 6 // expand
            + 2 * rows * 6 * 10; // contract
        let last = 2 * one * 6 * 6 // query
            + 2 * (2 * one * 6 * 3) // for each head, back to the states
            + 2 * (2 * one * 3 * 6) // for each head, its values
            + 2 * one * 6 * 6 // output
            + 2 * one * 10 * 6
            + 2 * one * 6 * 10;
        let head = 2 * one * 6 * 6 + 2 * one * 2 * 6;
        assert_eq!(products(&config(), 5), 2 * layer + last + head);
    }

    #[test]
    fn a_general_runtime_computes_every_token_in_every_layer() {
        let layer = 2 * 5 * (18 * 6 + 6 * 6 + 10 * 6 + 6 * 10) // products
            + 2 * 2 * 5 * 5 * 3 // scores of both heads
            + 2 * 2 * 5 * 5 * 3; // weighted values of both heads
        assert_eq!(in_full(&config(), 5), 3 * layer);
    }
}
