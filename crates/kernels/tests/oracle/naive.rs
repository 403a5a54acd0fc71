//! The operations of the kernels as naive loops that accumulate in `f64`: slow and easy to verify.

use shoal_kernels::{Activation, Heads};

/// `y = activation(x · weightᵀ + bias)`; `x` `[rows, inputs]`, `weight` `[outputs, inputs]`,
/// `bias` `[outputs]`; returns `[rows, outputs]`.
pub(crate) fn linear(
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    inputs: usize,
    activation: Activation,
) -> Vec<f32> {
    let outputs = bias.len();
    let rows = x.len().checked_div(inputs).unwrap_or(0);
    let mut y = Vec::with_capacity(rows * outputs);
    for r in 0..rows {
        for o in 0..outputs {
            let mut sum = f64::from(bias[o]);
            for i in 0..inputs {
                sum += f64::from(x[r * inputs + i]) * f64::from(weight[o * inputs + i]);
            }
            y.push(activate(activation, sum) as f32);
        }
    }
    y
}

/// Applies an activation function to one element.
pub(crate) fn activate(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Identity => x,
        Activation::Relu => x.max(0.0),
        Activation::Gelu => 0.5 * x * (1.0 + libm::erf(x / 2f64.sqrt())),
        Activation::GeluTanh => {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
            0.5 * x * (1.0 + libm::tanh(inner))
        }
        Activation::Tanh => libm::tanh(x),
        other => unreachable!("{other:?} has no naive form"),
    }
}

/// Softmax of each row of `x` (`[rows, columns]`).
pub(crate) fn softmax(x: &[f32], columns: usize) -> Vec<f32> {
    let mut y = Vec::with_capacity(x.len());
    for row in x.chunks(columns.max(1)) {
        let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let terms: Vec<f64> = row
            .iter()
            .map(|&v| libm::exp(f64::from(v) - f64::from(max)))
            .collect();
        let sum: f64 = terms.iter().sum();
        y.extend(terms.iter().map(|term| (term / sum) as f32));
    }
    y
}

/// `1 / (1 + exp(−x))` of one element.
pub(crate) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-x))
}

/// Layer norm of each row of `x` (`[rows, hidden]`), `weight` and `bias` `[hidden]`.
pub(crate) fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32], eps: f32) -> Vec<f32> {
    let hidden = weight.len();
    let mut y = Vec::with_capacity(x.len());
    for row in x.chunks(hidden.max(1)) {
        let count = row.len() as f64;
        let mean = row.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
        let variance = row
            .iter()
            .map(|&v| (f64::from(v) - mean).powi(2))
            .sum::<f64>()
            / count;
        for (i, &v) in row.iter().enumerate() {
            let normal = (f64::from(v) - mean) / (variance + f64::from(eps)).sqrt();
            y.push((normal * f64::from(weight[i]) + f64::from(bias[i])) as f32);
        }
    }
    y
}

/// Attention of one record: `q` `[queries, hidden]`, `kv` `[keys, 2 · hidden]`; returns
/// `[queries, hidden]`.
pub(crate) fn attention(heads: Heads, q: &[f32], kv: &[f32]) -> Vec<f32> {
    let hidden = heads.hidden();
    if q.is_empty() {
        return Vec::new();
    }
    let queries = q.len() / hidden;
    let keys = kv.len() / (2 * hidden);
    let mut out = vec![0.0; q.len()];
    for head in 0..heads.count {
        let first = head * heads.dim;
        for query in 0..queries {
            let mut scores = vec![0.0f64; keys];
            for (key, score) in scores.iter_mut().enumerate() {
                for i in 0..heads.dim {
                    *score += f64::from(q[query * hidden + first + i])
                        * f64::from(kv[key * 2 * hidden + first + i]);
                }
                *score /= (heads.dim as f64).sqrt();
            }
            let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = scores.iter().map(|&s| libm::exp(s - max)).collect();
            let sum: f64 = weights.iter().sum();
            for i in 0..heads.dim {
                let mut value = 0.0;
                for (key, &weight) in weights.iter().enumerate() {
                    value += weight / sum * f64::from(kv[key * 2 * hidden + hidden + first + i]);
                }
                out[query * hidden + first + i] = value as f32;
            }
        }
    }
    out
}
