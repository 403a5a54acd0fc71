//! Multi-head attention of one record, without padding.

mod float;
mod int8;

use pulp::Simd;

use crate::buffer::Buffer;
use crate::isa::{Isa, Work};
use crate::target::Precision;
use crate::{Rows, RowsMut};

/// The division of the hidden dimension into `count` heads of `dim` elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Number of heads.
    pub count: usize,
    /// Elements of each head.
    pub dim: usize,
}

impl Heads {
    /// Width of a row: all heads concatenated.
    pub fn hidden(self) -> usize {
        self.count * self.dim
    }
}

/// Scratch memory of [`attention`]. Reuse it to avoid an allocation per call.
#[derive(Default)]
pub struct AttentionScratch {
    float: float::Float,
    int8: int8::Int8,
    partial: Buffer<f32>,
    maxima: Buffer<f32>,
    sums: Buffer<f32>,
}

/// Queries per block: a multiple of every tile's rows, and small enough that the scores of a block
/// stay in the L2 cache.
const QUERY_BLOCK: usize = 48;

/// Keys per block. Typical texts fit one block. For longer texts the softmax is updated block by
/// block, so that the memory for scores and packed keys and values does not grow with the length.
const KEY_BLOCK: usize = 512;

/// The operands of [`attention`]: `queries` rows of `q` and of the result, `keys` rows of `k` and
/// `v`, all `heads.hidden()` wide.
#[derive(Clone, Copy)]
pub struct AttentionInput<'a> {
    /// The division of each row into heads.
    pub heads: Heads,
    /// Factor of the scores, usually `1 / √dim`. Must be positive.
    pub scale: f32,
    /// `[queries, hidden]`
    pub q: Rows<'a>,
    /// Number of queries.
    pub queries: usize,
    /// `[keys, hidden]`
    pub k: Rows<'a>,
    /// `[keys, hidden]`
    pub v: Rows<'a>,
    /// Number of keys; at least one if there is a query.
    pub keys: usize,
}

/// Computes scaled dot-product attention `out = softmax(scale · q · kᵀ) · v` for every head of one
/// record, without mask or padding (Vaswani et al., arXiv 1706.03762), and overwrites `out`
/// (`[queries, hidden]`). Across blocks of keys the softmax keeps a running maximum and sum
/// (Milakov and Gimelshein, arXiv 1805.02867). Nothing is written if `hidden` is 0.
///
/// In [`Precision::Int8`], queries, keys and softmax weights are quantized per row and values per
/// column, with scales from this record alone. On instruction sets that limit activations to 7 bits
/// (AVX2, and AVX-512 without VNNI), attention is computed in `f32` instead.
///
/// # Panics
/// If a slice is too short for its shape, or if there are queries but no keys.
pub fn attention(
    isa: Isa,
    precision: Precision,
    input: AttentionInput<'_>,
    out: RowsMut<'_>,
    scratch: &mut AttentionScratch,
) {
    let hidden = input.heads.hidden();
    if input.queries == 0 || hidden == 0 {
        return;
    }
    assert!(input.keys > 0, "attention needs at least one key");
    input.q.check(input.queries, hidden);
    input.k.check(input.keys, hidden);
    input.v.check(input.keys, hidden);
    out.check(input.queries, hidden);
    let running = RunningSoftmax {
        isa,
        partial: scratch.partial.grow(QUERY_BLOCK * input.heads.dim),
        maxima: scratch.maxima.grow(input.heads.count * input.queries),
        sums: scratch.sums.grow(input.heads.count * input.queries),
    };
    match precision {
        Precision::Int8 if isa.target().byte_range().activation == u8::MAX => {
            running.attend(input, out, &mut scratch.int8)
        }
        _ => running.attend(input, out, &mut scratch.float),
    }
}

/// Attention of one block of queries to one block of keys, one head at a time.
trait BlockAttention {
    /// Prepares the queries of all heads.
    fn set_queries(&mut self, isa: Isa, input: &AttentionInput<'_>);

    /// Prepares the keys and values of all heads, rows `first..first + keys`.
    fn set_keys(&mut self, isa: Isa, input: &AttentionInput<'_>, first: usize, keys: usize);

    /// Selects the head that the next queries belong to.
    fn select_head(&mut self, isa: Isa, input: &AttentionInput<'_>, head: usize);

    /// Computes, for `queries` of the selected head and the prepared keys, the maximum score as a
    /// base-2 logarithm, the sum of the weights, and the weighted sum of the values. The weight of
    /// the maximum score is a constant.
    fn attend(
        &mut self,
        isa: Isa,
        input: &AttentionInput<'_>,
        queries: Queries,
        results: BlockResult<'_>,
    );

    /// `2^difference`: the factor of a partial result, where `difference` (at most 0) is its
    /// maximum minus the new running maximum.
    fn decay(difference: f32) -> f32;
}

/// The queries `first..first + rows` of a head.
#[derive(Clone, Copy)]
struct Queries {
    head: usize,
    first: usize,
    rows: usize,
}

struct BlockResult<'a> {
    /// `[rows]` each.
    maxima: &'a mut [f32],
    sums: &'a mut [f32],
    /// `[rows, dim]`
    values: &'a mut [f32],
}

/// Attention across blocks of keys.
struct RunningSoftmax<'a> {
    isa: Isa,
    /// `[QUERY_BLOCK, dim]`
    partial: &'a mut [f32],
    /// `[heads, queries]` each.
    maxima: &'a mut [f32],
    sums: &'a mut [f32],
}

impl RunningSoftmax<'_> {
    fn attend<B: BlockAttention>(
        self,
        input: AttentionInput<'_>,
        out: RowsMut<'_>,
        blocks: &mut B,
    ) {
        let Heads { count, dim } = input.heads;
        blocks.set_queries(self.isa, &input);
        for first_key in (0..input.keys).step_by(KEY_BLOCK) {
            let keys = KEY_BLOCK.min(input.keys - first_key);
            blocks.set_keys(self.isa, &input, first_key, keys);
            let is_last = first_key + keys == input.keys;
            for head in 0..count {
                blocks.select_head(self.isa, &input, head);
                for first in (0..input.queries).step_by(QUERY_BLOCK) {
                    let rows = QUERY_BLOCK.min(input.queries - first);
                    let (mut maxima, mut sums) = ([0.0; QUERY_BLOCK], [0.0; QUERY_BLOCK]);
                    let values = &mut self.partial[..rows * dim];
                    let results = BlockResult {
                        maxima: &mut maxima[..rows],
                        sums: &mut sums[..rows],
                        values,
                    };
                    blocks.attend(self.isa, &input, Queries { head, first, rows }, results);
                    let running = head * input.queries + first;
                    self.isa.run(Merge {
                        decay: B::decay,
                        is_first: first_key == 0,
                        is_last,
                        block: (&maxima[..rows], &sums[..rows], values),
                        maxima: &mut self.maxima[running..][..rows],
                        sums: &mut self.sums[running..][..rows],
                        out: &mut out.data[first * out.stride + head * dim..],
                        stride: out.stride,
                        dim,
                    });
                }
            }
        }
    }
}

/// Merges the result of a block of keys into the result of the previous blocks.
struct Merge<'a> {
    decay: fn(f32) -> f32,
    is_first: bool,
    is_last: bool,
    block: (&'a [f32], &'a [f32], &'a [f32]),
    maxima: &'a mut [f32],
    sums: &'a mut [f32],
    out: &'a mut [f32],
    stride: usize,
    dim: usize,
}

impl Work for Merge<'_> {
    #[inline(always)]
    fn run<S: Simd, const FUSED: bool>(self, _: S) {
        let (maxima, sums, values) = self.block;
        for row in 0..maxima.len() {
            let values = &values[row * self.dim..][..self.dim];
            let out = &mut self.out[row * self.stride..][..self.dim];
            // Factors of the previous blocks and of this one.
            let (mut before, mut here) = (0.0, 1.0);
            let mut sum = sums[row];
            if !self.is_first {
                let (old, new) = (self.maxima[row], maxima[row]);
                let max = if old > new { old } else { new };
                before = (self.decay)(old - max);
                here = (self.decay)(new - max);
                sum = self.sums[row] * before + sums[row] * here;
                self.maxima[row] = max;
            } else {
                self.maxima[row] = maxima[row];
            }
            self.sums[row] = sum;
            // Normalizing the result takes `dim` products per query; normalizing the weights would
            // take `keys`.
            let factor = if self.is_last { 1.0 / sum } else { 1.0 };
            (before, here) = (before * factor, here * factor);
            if self.is_first {
                for (out, value) in out.iter_mut().zip(values) {
                    *out = value * here;
                }
            } else {
                for (out, value) in out.iter_mut().zip(values) {
                    *out = *out * before + value * here;
                }
            }
        }
    }
}
