//! Attention in `f32`.

use pulp::Simd;

use super::{AttentionInput, BlockAttention, BlockResult, QUERY_BLOCK, Queries};
use crate::buffer::Buffer;
use crate::elementwise::{exp_shifted, exp2, max_of};
use crate::gemm::{MatMul, pack_columns, pack_rows, padded_columns};
use crate::isa::{Isa, Work};

/// Scratch memory: the packed keys and values of one head, and the scores of one block.
#[derive(Default)]
pub(super) struct Float {
    /// The first key of the current block, and the number of its keys.
    first: usize,
    keys: usize,
    packed_keys: Buffer<f32>,
    packed_values: Buffer<f32>,
    scores: Buffer<f32>,
}

impl BlockAttention for Float {
    fn set_queries(&mut self, _: Isa, _: &AttentionInput<'_>) {
        // Queries are read in place.
    }

    fn set_keys(&mut self, _: Isa, _: &AttentionInput<'_>, first: usize, keys: usize) {
        (self.first, self.keys) = (first, keys);
    }

    fn select_head(&mut self, isa: Isa, input: &AttentionInput<'_>, head: usize) {
        let (target, keys, dim) = (isa.target(), self.keys, input.heads.dim);
        let packed = self.packed_keys.grow(padded_columns(target, keys) * dim);
        let source = input.k.from(self.first, head * dim);
        pack_rows(target, source, keys, dim, packed);
        let packed = self.packed_values.grow(padded_columns(target, dim) * keys);
        let source = input.v.from(self.first, head * dim);
        pack_columns(target, source, dim, keys, packed);
    }

    fn attend(
        &mut self,
        isa: Isa,
        input: &AttentionInput<'_>,
        queries: Queries,
        results: BlockResult<'_>,
    ) {
        let Queries { head, first, rows } = queries;
        let (keys, dim) = (self.keys, input.heads.dim);
        let stride = padded_columns(isa.target(), keys);
        let q = input.q.from(first, head * dim);
        let scores = &mut self.scores.grow(QUERY_BLOCK * stride)[..rows * stride];
        isa.matmul(MatMul {
            a: q.data,
            a_stride: q.stride,
            rows,
            depth: dim,
            panels: self.packed_keys.get(stride * dim),
            columns: keys,
            bias: None,
            y: scores,
            y_stride: stride,
        });
        isa.run(ExpRows {
            scores,
            stride,
            keys,
            scale: input.scale,
            maxima: results.maxima,
            sums: results.sums,
        });
        isa.matmul(MatMul {
            a: scores,
            a_stride: stride,
            rows,
            depth: keys,
            panels: self
                .packed_values
                .get(padded_columns(isa.target(), dim) * keys),
            columns: dim,
            bias: None,
            y: results.values,
            y_stride: dim,
        });
    }

    fn decay(difference: f32) -> f32 {
        exp2::<false>(difference)
    }
}

/// Replaces each row of scores with the numerators of its softmax. Stores the row's maximum, scaled
/// to a base-2 logarithm, and the sum of the numerators.
struct ExpRows<'a> {
    scores: &'a mut [f32],
    stride: usize,
    keys: usize,
    scale: f32,
    maxima: &'a mut [f32],
    sums: &'a mut [f32],
}

impl Work for ExpRows<'_> {
    #[inline(always)]
    fn run<S: Simd, const FUSED: bool>(self, simd: S) {
        let rows = self.scores.chunks_exact_mut(self.stride);
        for ((row, max), sum) in rows.zip(self.maxima).zip(self.sums) {
            let row = &mut row[..self.keys];
            let highest = max_of(simd, row);
            *sum = exp_shifted::<S, FUSED>(simd, row, self.scale, highest);
            *max = self.scale * std::f32::consts::LOG2_E * highest;
        }
    }
}
