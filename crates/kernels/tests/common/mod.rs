//! Test data.
// Each test is a separate crate and uses only a part of this module.
#![allow(dead_code)]

use shoal_kernels::{AttentionInput, Heads, Isa, Precision, Rows};

/// Both precisions.
pub(crate) const PRECISIONS: [Precision; 2] = [Precision::F32, Precision::Int8];

/// Reproducible values in -1..1.
pub(crate) fn values(seed: u32, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

/// Reproducible values of the standard normal distribution (Box-Muller).
pub(crate) fn normal_values(seed: u32, len: usize) -> Vec<f32> {
    let uniform = values(seed, 2 * len);
    uniform
        .chunks_exact(2)
        .map(|pair| {
            let radius = (-2.0 * (0.5 * pair[0] + 0.5).max(1e-7).ln()).sqrt();
            radius * (std::f32::consts::PI * pair[1]).cos()
        })
        .collect()
}

/// The largest quantized activation and weight: 255 and 127, or 127 and 63 on instruction sets that
/// add products in 16 bits.
pub(crate) fn byte_limits(isa: Isa) -> (f64, f64) {
    if isa
        .target()
        .layout(Precision::Int8)
        .starts_with("u255i127x")
    {
        (255.0, 127.0)
    } else {
        assert!(isa.target().layout(Precision::Int8).starts_with("u127i63x"));
        (127.0, 63.0)
    }
}

/// Queries, keys and values of one record, interleaved as a fused QKV layer writes them: `[tokens,
/// 3 · hidden]`.
#[derive(Clone)]
pub(crate) struct Record {
    pub(crate) heads: Heads,
    pub(crate) queries: usize,
    pub(crate) keys: usize,
    pub(crate) data: Vec<f32>,
}

impl Record {
    /// A record with values from `fill` (seed, count).
    pub(crate) fn new(
        heads: Heads,
        queries: usize,
        keys: usize,
        seed: u32,
        fill: fn(u32, usize) -> Vec<f32>,
    ) -> Record {
        let tokens = queries.max(keys);
        Record {
            heads,
            queries,
            keys,
            data: fill(seed, tokens * 3 * heads.hidden()),
        }
    }

    /// Multiplies the queries by `factor`.
    pub(crate) fn scale_queries(mut self, factor: f32) -> Record {
        let hidden = self.heads.hidden();
        for row in self.data.chunks_mut(3 * hidden) {
            row[..hidden].iter_mut().for_each(|v| *v *= factor);
        }
        self
    }

    /// The row of one query, key or value: `part` is 0, 1 or 2.
    pub(crate) fn row(&self, part: usize, token: usize) -> &[f32] {
        let hidden = self.heads.hidden();
        &self.data[(3 * token + part) * hidden..][..hidden]
    }

    /// The usual factor of the scores.
    pub(crate) fn scale(&self) -> f32 {
        1.0 / (self.heads.dim as f32).sqrt()
    }

    /// The operands of attention, in place, for `queries` queries from `first` on.
    pub(crate) fn input(&self, first: usize, queries: usize) -> AttentionInput<'_> {
        let hidden = self.heads.hidden();
        let stride = 3 * hidden;
        let from = |at: usize| Rows::new(&self.data[at.min(self.data.len())..], stride);
        AttentionInput {
            heads: self.heads,
            scale: self.scale(),
            q: from(first * stride),
            queries,
            k: from(hidden),
            v: from(2 * hidden),
            keys: self.keys,
        }
    }
}
