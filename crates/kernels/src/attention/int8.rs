//! Attention in bytes: both products by the byte kernel, the softmax between them in `f32`.

use super::{AttentionInput, Blocks, QUERY_BLOCK, Queries, Weighed};
use crate::Rows;
use crate::buffer::Buffer;
use crate::elementwise::{LANES, ROUND, exp2_coarse, max_of};
use crate::int8::{ByteMatMul, Column, DEPTH_STEP, packed_len};
use crate::isa::{ByteRange, Isa, Work};
use crate::quantize::{QuantizedRows, magnitude, round, symmetric};

/// The queries, keys and values of a head in bytes, and the scores and weights of a block.
#[derive(Default)]
pub(super) struct Int8 {
    queries: QuantizedRows,
    keys: usize,
    packed_keys: Packed,
    packed_values: Packed,
    scores: Buffer<f32>,
    weights: Buffer<u8>,
    /// Zeros: the products have no bias, and the weights' byte for zero is 0.
    no_bias: Buffer<f32>,
    no_zeros: Buffer<i32>,
    unit_scales: Buffer<f32>,
    inverses: Buffer<f32>,
    row: Buffer<i8>,
}

/// A packed right side with what its units are worth.
#[derive(Default)]
struct Packed {
    panels: Buffer<u32>,
    scales: Buffer<f32>,
    sums: Buffer<i32>,
}

impl Blocks for Int8 {
    fn take_queries(&mut self, isa: Isa, input: &AttentionInput<'_>, column: usize) {
        // Scores come out in the logarithm to base 2.
        let factor = input.scale * std::f32::consts::LOG2_E;
        let q = input.q.from(0, column);
        self.queries
            .fill(isa, q, input.queries, input.heads.dim, factor);
    }

    fn take_keys(
        &mut self,
        isa: Isa,
        input: &AttentionInput<'_>,
        column: usize,
        first: usize,
        keys: usize,
    ) {
        let dim = input.heads.dim;
        let (tile, range) = (isa.byte_tile(), isa.byte_range());
        self.keys = keys;
        let padded = keys.next_multiple_of(tile.lanes);
        let packed = &mut self.packed_keys;
        let panels = packed.panels.grow(packed_len(tile, keys, dim) / 4);
        // The last register's columns beyond the keys are computed, but nobody reads them.
        isa.run(PackKeys {
            tile,
            range,
            keys: input.k.from(first, column),
            count: keys,
            dim,
            row: self.row.grow(dim.next_multiple_of(DEPTH_STEP)),
            panels,
            scales: packed.scales.grow(padded),
            sums: packed.sums.grow(padded),
        });
        let padded = dim.next_multiple_of(tile.lanes);
        let packed = &mut self.packed_values;
        isa.run(PackValues {
            tile,
            range,
            values: input.v.from(first, column),
            count: keys,
            dim,
            panels: packed.panels.grow(packed_len(tile, dim, keys) / 4),
            scales: packed.scales.grow(padded),
            inverses: self.inverses.grow(padded),
            sums: packed.sums.grow(padded),
        });
    }

    fn weigh(
        &mut self,
        isa: Isa,
        input: &AttentionInput<'_>,
        _: usize,
        queries: Queries,
        results: Weighed<'_>,
    ) {
        let Queries { first, rows } = queries;
        let (tile, keys, dim) = (isa.byte_tile(), self.keys, input.heads.dim);
        let padded_keys = keys.next_multiple_of(tile.lanes);
        let padded_dim = dim.next_multiple_of(tile.lanes);
        let no_bias = self.no_bias.grow(padded_keys.max(padded_dim));
        let stride = keys.next_multiple_of(LANES);
        let scores = &mut self.scores.grow(QUERY_BLOCK * stride)[..rows * stride];
        let depth = self.queries.stride();
        let packed = &self.packed_keys;
        isa.byte_matmul(ByteMatMul {
            a: &self.queries.values()[first * depth..],
            a_stride: depth,
            row_scales: &self.queries.scales()[first..],
            zeros: &self.queries.zeros()[first..],
            rows,
            depth,
            panels: bytemuck::cast_slice(packed.panels.get(packed_len(tile, keys, dim) / 4)),
            columns: keys,
            scales: packed.scales.get(padded_keys),
            sums: packed.sums.get(padded_keys),
            bias: no_bias,
            y: scores,
            y_stride: stride,
        });
        let weights = &mut self.weights.grow(QUERY_BLOCK * stride)[..rows * stride];
        isa.run(Softmax {
            scores,
            keys,
            limit: f32::from(isa.byte_range().activation),
            weights,
            stride,
            maxima: results.maxima,
            sums: results.sums,
        });
        let packed = &self.packed_values;
        let unit_scales = self.unit_scales.grow(rows);
        unit_scales.fill(1.0);
        isa.byte_matmul(ByteMatMul {
            a: weights,
            a_stride: stride,
            row_scales: unit_scales,
            zeros: self.no_zeros.grow(rows),
            rows,
            depth: keys.next_multiple_of(DEPTH_STEP),
            panels: bytemuck::cast_slice(packed.panels.get(packed_len(tile, dim, keys) / 4)),
            columns: dim,
            scales: packed.scales.get(padded_dim),
            sums: packed.sums.get(padded_dim),
            bias: no_bias,
            y: results.values,
            y_stride: dim,
        });
    }

    fn decay(below: f32) -> f32 {
        below.exp2()
    }
}

/// Quantizes each key by itself and packs it as a column.
struct PackKeys<'a> {
    tile: crate::int8::ByteTile,
    range: ByteRange,
    keys: Rows<'a>,
    count: usize,
    dim: usize,
    row: &'a mut [i8],
    panels: &'a mut [u32],
    scales: &'a mut [f32],
    sums: &'a mut [i32],
}

impl Work for PackKeys<'_> {
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        self.row.fill(0);
        for key in 0..self.count {
            let source = self.keys.row(key, self.dim);
            let (scale, inverse) = symmetric(magnitude(source), self.range);
            let mut sum = 0;
            for (unit, &v) in self.row.iter_mut().zip(source) {
                let rounded = round(v * inverse);
                // Only what a NaN is rounded to could overflow.
                sum = i32::wrapping_add(sum, rounded);
                *unit = rounded as i8;
            }
            (self.scales[key], self.sums[key]) = (scale, sum);
            let place = Column::new(self.tile, self.count, self.dim, key);
            let fours: &[u32] = bytemuck::cast_slice(self.row);
            for (four, &units) in fours.iter().enumerate() {
                self.panels[place.at(four)] = units;
            }
        }
    }
}

/// Quantizes each column of the values over all keys and packs them: in the packed matrix, keys
/// are the depth, and four keys of a column stand side by side.
struct PackValues<'a> {
    tile: crate::int8::ByteTile,
    range: ByteRange,
    values: Rows<'a>,
    count: usize,
    dim: usize,
    panels: &'a mut [u32],
    scales: &'a mut [f32],
    inverses: &'a mut [f32],
    sums: &'a mut [i32],
}

impl Work for PackValues<'_> {
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let magnitudes = &mut *self.scales;
        magnitudes.fill(0.0);
        for key in 0..self.count {
            for (max, v) in magnitudes.iter_mut().zip(self.values.row(key, self.dim)) {
                let v = v.abs();
                *max = if v > *max { v } else { *max };
            }
        }
        for (scale, inverse) in self.scales.iter_mut().zip(&mut *self.inverses) {
            (*scale, *inverse) = symmetric(*scale, self.range);
        }
        self.sums.fill(0);
        let fours = self.count.next_multiple_of(DEPTH_STEP) / 4;
        let lanes = self.tile.lanes;
        let registers = self.dim.div_ceil(lanes);
        for four in 0..fours {
            for register in 0..registers {
                let first = register * lanes;
                let at = Column::new(self.tile, self.dim, self.count, first).at(four);
                let mut rows = [[0.0; LANES]; 4];
                let used = lanes.min(self.dim - first);
                for (i, row) in rows.iter_mut().enumerate() {
                    let key = 4 * four + i;
                    if key < self.count {
                        let source = &self.values.row(key, self.dim)[first..][..used];
                        match <&[f32; LANES]>::try_from(source) {
                            Ok(source) => *row = *source,
                            Err(_) => row[..used].copy_from_slice(source),
                        }
                    }
                }
                let words = &mut self.panels[at..][..lanes];
                let inverses = &self.inverses[first..][..lanes];
                let sums = &mut self.sums[first..][..lanes];
                if lanes == LANES {
                    interleave::<LANES>(&rows, inverses, sums, words);
                } else {
                    interleave::<4>(&rows, inverses, sums, words);
                }
            }
        }
    }
}

/// Four rows as bytes, element by element side by side; what they add up to is added to `sums`.
/// `N` divides the number of columns.
#[inline(always)]
fn interleave<const N: usize>(
    rows: &[[f32; LANES]; 4],
    inverses: &[f32],
    sums: &mut [i32],
    words: &mut [u32],
) {
    let columns = words.len();
    for first in (0..columns).step_by(N) {
        for c in first..first + N {
            let mut word = 0;
            let mut sum = 0i32;
            for (i, row) in rows.iter().enumerate() {
                let unit = round(row[c] * inverses[c]);
                // Only what a NaN is rounded to could overflow.
                sum = sum.wrapping_add(unit);
                word |= (unit as u32 & 0xff) << (8 * i);
            }
            sums[c] = sums[c].wrapping_add(sum);
            words[c] = word.to_le();
        }
    }
}

/// From scores in the logarithm to base 2 to weights in bytes, `limit` at the maximum.
struct Softmax<'a> {
    /// Rows of a multiple of `LANES`, of which the first `keys` are scores.
    scores: &'a mut [f32],
    keys: usize,
    limit: f32,
    /// Rows as wide as those of the scores.
    weights: &'a mut [u8],
    stride: usize,
    maxima: &'a mut [f32],
    sums: &'a mut [f32],
}

impl Work for Softmax<'_> {
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let rows = self.scores.chunks_exact_mut(self.stride);
        let weights = self.weights.chunks_exact_mut(self.stride);
        let results = self.maxima.iter_mut().zip(self.sums);
        for ((scores, weights), (max, sum)) in rows.zip(weights).zip(results) {
            *max = max_of(&scores[..self.keys]);
            // What stands beyond weighs nothing.
            scores[self.keys..].fill(f32::NEG_INFINITY);
            let mut sums = [0u32; LANES];
            let (scores, _) = scores.as_chunks::<LANES>();
            let (weights, _) = weights.as_chunks_mut::<LANES>();
            for (scores, weights) in scores.iter().zip(weights) {
                for i in 0..LANES {
                    let weight = self.limit * exp2_coarse::<FUSED>(scores[i] - *max);
                    let weight = (weight + ROUND).to_bits() & 0xff;
                    sums[i] += weight;
                    weights[i] = weight as u8;
                }
            }
            *sum = sums.iter().sum::<u32>() as f32;
        }
    }
}
