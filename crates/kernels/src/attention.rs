//! Multi-head attention of one record over its true length.

use crate::buffer::Buffer;
use crate::elementwise::{Activation, exp_scaled};
use crate::gemm::{MatMul, pack_columns, pack_rows, padded_columns};
use crate::isa::{Isa, Work};

/// How the hidden dimension is divided: `count` heads of `dim` elements each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Number of heads.
    pub count: usize,
    /// Elements of each head.
    pub dim: usize,
}

impl Heads {
    /// Width of a row: all heads side by side.
    pub fn hidden(self) -> usize {
        self.count * self.dim
    }
}

/// Buffers of [`attention`], kept by a worker so that they are allocated once.
#[derive(Default)]
pub struct AttentionScratch {
    keys: Buffer,
    values: Buffer,
    scores: Buffer,
    sums: Vec<f32>,
}

/// Queries whose scores are held at once: a multiple of every tile's rows, and with 512 keys some
/// 100 KB, which the second-level cache holds beside the head's keys and values.
const QUERY_BLOCK: usize = 48;

/// Scaled dot-product attention, `softmax(q · kᵀ / √dim) · v` for every head (Vaswani et al.,
/// arXiv 1706.03762), for one record: no mask and no padding.
///
/// `q` and `out` are `[queries, hidden]`; `kv` is `[keys, 2 · hidden]`, each row the key followed
/// by the value.
///
/// # Panics
/// If the lengths do not fit these shapes, or there are queries but no keys.
pub fn attention(
    isa: Isa,
    heads: Heads,
    q: &[f32],
    kv: &[f32],
    out: &mut [f32],
    scratch: &mut AttentionScratch,
) {
    let hidden = heads.hidden();
    assert_eq!(q.len(), out.len(), "q and out must have the same shape");
    if q.is_empty() {
        return;
    }
    assert_eq!(q.len() % hidden, 0, "q must be [queries, hidden]");
    assert_eq!(kv.len() % (2 * hidden), 0, "kv must be [keys, 2 * hidden]");
    let queries = q.len() / hidden;
    let keys = kv.len() / (2 * hidden);
    assert!(keys > 0, "attention needs at least one key");

    let key_columns = padded_columns(isa, keys);
    let value_columns = padded_columns(isa, heads.dim);
    let scale = 1.0 / (heads.dim as f32).sqrt();
    let packed_keys = scratch.keys.grow(key_columns * heads.dim);
    let packed_values = scratch.values.grow(value_columns * keys);
    let scores = scratch.scores.grow(QUERY_BLOCK.min(queries) * key_columns);
    scratch.sums.resize(QUERY_BLOCK, 0.0);

    for head in 0..heads.count {
        let first = head * heads.dim;
        pack_rows(isa, &kv[first..], 2 * hidden, keys, heads.dim, packed_keys);
        pack_columns(
            isa,
            &kv[hidden + first..],
            2 * hidden,
            heads.dim,
            keys,
            packed_values,
        );
        for start in (0..queries).step_by(QUERY_BLOCK) {
            let rows = QUERY_BLOCK.min(queries - start);
            isa.matmul(MatMul {
                a: &q[start * hidden + first..],
                a_stride: hidden,
                rows,
                depth: heads.dim,
                panels: packed_keys,
                columns: keys,
                bias: None,
                y: scores,
                y_stride: key_columns,
                activation: Activation::Identity,
            });
            let sums = &mut scratch.sums[..rows];
            isa.run(ExpRows {
                scores,
                stride: key_columns,
                keys,
                scale,
                sums,
            });
            let out = &mut out[start * hidden + first..];
            isa.matmul(MatMul {
                a: scores,
                a_stride: key_columns,
                rows,
                depth: keys,
                panels: packed_values,
                columns: heads.dim,
                bias: None,
                y: out,
                y_stride: hidden,
                activation: Activation::Identity,
            });
            // Dividing here costs `dim` products a query instead of `keys`.
            for (row, sum) in sums.iter().enumerate() {
                let inverse = 1.0 / sum;
                for v in &mut out[row * hidden..][..heads.dim] {
                    *v *= inverse;
                }
            }
        }
    }
}

/// The numerators of the softmax in place, their sums aside.
struct ExpRows<'a> {
    scores: &'a mut [f32],
    stride: usize,
    keys: usize,
    scale: f32,
    sums: &'a mut [f32],
}

impl Work for ExpRows<'_> {
    #[inline(always)]
    fn run(self) {
        for (row, sum) in self.scores.chunks_exact_mut(self.stride).zip(self.sums) {
            *sum = exp_scaled(&mut row[..self.keys], self.scale);
        }
    }
}
