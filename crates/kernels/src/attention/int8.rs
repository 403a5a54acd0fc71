//! Attention in `int8`: both products use the byte kernel; the softmax between them is `f32`.

use pulp::Simd;

use super::{AttentionInput, BlockAttention, BlockResult, Heads, QUERY_BLOCK, Queries};
use crate::Rows;
use crate::buffer::Buffer;
use crate::elementwise::{LANES, ROUND, exp2_coarse, max_of};
use crate::int8::{ByteMatMul, Column, DEPTH_STEP, ZeroPoints, packed_len};
use crate::isa::{Isa, Work};
use crate::quantize::{magnitude, round, symmetric};
use crate::target::{ByteRange, TileShape};

/// Scratch memory: the quantized queries, keys and values of all heads, and the scores and weights
/// of one block.
#[derive(Default)]
pub(super) struct Int8 {
    queries: Buffer<u8>,
    query_stride: usize,
    query_scales: Buffer<f32>,
    keys: usize,
    packed_keys: Packed,
    packed_values: Packed,
    scores: Buffer<f32>,
    weights: Buffer<u8>,
    /// Zeros, because the products have no bias.
    no_bias: Buffer<f32>,
    unit_scales: Buffer<f32>,
    magnitudes: Buffer<f32>,
    inverses: Buffer<f32>,
    row: Buffer<i8>,
}

/// A packed right-hand matrix per head, with its scales and sums.
#[derive(Default)]
struct Packed {
    panels: Buffer<u32>,
    scales: Buffer<f32>,
    sums: Buffer<i32>,
}

/// The packed right-hand matrix of one head.
struct PackedHead<'a> {
    panels: &'a [i8],
    scales: &'a [f32],
    sums: &'a [i32],
}

impl Packed {
    /// The matrix of `head`. Each head has `words` elements of panels and `padded` columns.
    fn head(&self, head: usize, words: usize, padded: usize) -> PackedHead<'_> {
        let end = head + 1;
        PackedHead {
            panels: bytemuck::cast_slice(&self.panels.get(end * words)[head * words..]),
            scales: &self.scales.get(end * padded)[head * padded..],
            sums: &self.sums.get(end * padded)[head * padded..],
        }
    }
}

impl BlockAttention for Int8 {
    // Quantizes the rows of all heads in memory order: the slices of a single head are short and
    // far apart.
    fn set_queries(&mut self, isa: Isa, input: &AttentionInput<'_>) {
        let Heads { count, dim } = input.heads;
        self.query_stride = dim.next_multiple_of(DEPTH_STEP);
        isa.run(QuantizeQueries {
            range: isa.target().byte_range(),
            // Scores are base-2 logarithms.
            factor: input.scale * std::f32::consts::LOG2_E,
            queries: input.q,
            rows: input.queries,
            heads: input.heads,
            stride: self.query_stride,
            units: self.queries.grow(count * input.queries * self.query_stride),
            scales: self.query_scales.grow(count * input.queries),
        });
    }

    fn set_keys(&mut self, isa: Isa, input: &AttentionInput<'_>, first: usize, keys: usize) {
        let Heads { count, dim } = input.heads;
        let target = isa.target();
        let (tile, range) = (target.byte_tile(), target.byte_range());
        self.keys = keys;
        let padded = keys.next_multiple_of(tile.lanes);
        let packed = &mut self.packed_keys;
        // The padding columns of the last register are computed but never read.
        isa.run(PackKeys {
            tile,
            range,
            keys: input.k.from(first, 0),
            count: keys,
            heads: input.heads,
            row: self.row.grow(dim.next_multiple_of(DEPTH_STEP)),
            panels: packed.panels.grow(count * packed_len(tile, keys, dim) / 4),
            scales: packed.scales.grow(count * padded),
            sums: packed.sums.grow(count * padded),
        });
        let padded = dim.next_multiple_of(tile.lanes);
        let packed = &mut self.packed_values;
        isa.run(PackValues {
            tile,
            range,
            values: input.v.from(first, 0),
            count: keys,
            heads: input.heads,
            panels: packed.panels.grow(count * packed_len(tile, dim, keys) / 4),
            magnitudes: self.magnitudes.grow(count * dim),
            scales: packed.scales.grow(count * padded),
            inverses: self.inverses.grow(count * padded),
            sums: packed.sums.grow(count * padded),
        });
    }

    fn select_head(&mut self, _: Isa, _: &AttentionInput<'_>, _: usize) {
        // `set_keys` packed all heads.
    }

    fn attend(
        &mut self,
        isa: Isa,
        input: &AttentionInput<'_>,
        queries: Queries,
        results: BlockResult<'_>,
    ) {
        let Queries { head, first, rows } = queries;
        let (tile, keys, dim) = (isa.target().byte_tile(), self.keys, input.heads.dim);
        let padded_keys = keys.next_multiple_of(tile.lanes);
        let padded_dim = dim.next_multiple_of(tile.lanes);
        let no_bias = self.no_bias.grow(padded_keys.max(padded_dim));
        let stride = keys.next_multiple_of(LANES);
        let scores = &mut self.scores.grow(QUERY_BLOCK * stride)[..rows * stride];
        let depth = self.query_stride;
        let first_query = head * input.queries + first;
        let words = packed_len(tile, keys, dim) / 4;
        let packed = self.packed_keys.head(head, words, padded_keys);
        isa.byte_matmul(ByteMatMul {
            a: &self.queries.get((first_query + rows) * depth)[first_query * depth..],
            a_stride: depth,
            row_scales: &self.query_scales.get(first_query + rows)[first_query..],
            zeros: ZeroPoints::Same(QUERY_ZERO),
            rows,
            depth,
            panels: packed.panels,
            columns: keys,
            scales: packed.scales,
            sums: packed.sums,
            bias: no_bias,
            y: scores,
            y_stride: stride,
        });
        let weights = &mut self.weights.grow(QUERY_BLOCK * stride)[..rows * stride];
        isa.run(Softmax {
            scores,
            keys,
            limit: f32::from(isa.target().byte_range().activation),
            weights,
            stride,
            maxima: results.maxima,
            sums: results.sums,
        });
        let words = packed_len(tile, dim, keys) / 4;
        let packed = self.packed_values.head(head, words, padded_dim);
        let unit_scales = self.unit_scales.grow(rows);
        unit_scales.fill(1.0);
        isa.byte_matmul(ByteMatMul {
            a: weights,
            a_stride: stride,
            row_scales: unit_scales,
            zeros: ZeroPoints::Same(0),
            rows,
            depth: keys.next_multiple_of(DEPTH_STEP),
            panels: packed.panels,
            columns: dim,
            scales: packed.scales,
            sums: packed.sums,
            bias: no_bias,
            y: results.values,
            y_stride: dim,
        });
    }

    fn decay(difference: f32) -> f32 {
        difference.exp2()
    }
}

/// The zero point of all queries: they are quantized symmetrically and stored as `u8`.
const QUERY_ZERO: i32 = 128;

/// Quantizes the queries, each head separately.
struct QuantizeQueries<'a> {
    range: ByteRange,
    factor: f32,
    queries: Rows<'a>,
    rows: usize,
    heads: Heads,
    stride: usize,
    /// `[heads, rows, stride]`
    units: &'a mut [u8],
    /// `[heads, rows]`
    scales: &'a mut [f32],
}

impl Work for QuantizeQueries<'_> {
    #[inline(always)]
    fn run<S: Simd, const FUSED: bool>(self, simd: S) {
        let Heads { count, dim } = self.heads;
        for row in 0..self.rows {
            for head in 0..count {
                let query = &self.queries.row(row, (head + 1) * dim)[head * dim..];
                let (scale, inverse) = symmetric(magnitude(simd, query), self.range);
                let at = head * self.rows + row;
                self.scales[at] = scale * self.factor;
                let bytes = &mut self.units[at * self.stride..][..self.stride];
                for (byte, &v) in bytes.iter_mut().zip(query) {
                    *byte = (round(v * inverse) + QUERY_ZERO) as u8;
                }
                bytes[dim..].fill(0);
            }
        }
    }
}

/// Quantizes the keys, each head separately, and packs them as columns.
struct PackKeys<'a> {
    tile: TileShape,
    range: ByteRange,
    keys: Rows<'a>,
    count: usize,
    heads: Heads,
    /// One key of one head, padded.
    row: &'a mut [i8],
    /// One packed matrix per head.
    panels: &'a mut [u32],
    /// `[heads, padded keys]` each.
    scales: &'a mut [f32],
    sums: &'a mut [i32],
}

impl Work for PackKeys<'_> {
    #[inline(always)]
    fn run<S: Simd, const FUSED: bool>(self, simd: S) {
        let Heads { count, dim } = self.heads;
        let len = packed_len(self.tile, self.count, dim) / 4;
        let padded = self.count.next_multiple_of(self.tile.lanes);
        self.row.fill(0);
        for first in (0..self.count).step_by(self.tile.lanes) {
            // The keys of one register are adjacent in the panel.
            let positions = Column::new(self.tile, self.count, dim, first);
            let end = self.count.min(first + self.tile.lanes);
            for key in first..end {
                for head in 0..count {
                    let source = &self.keys.row(key, (head + 1) * dim)[head * dim..];
                    let (scale, inverse) = symmetric(magnitude(simd, source), self.range);
                    for (unit, &v) in self.row.iter_mut().zip(source) {
                        *unit = round(v * inverse) as i8;
                    }
                    let at = head * padded + key;
                    self.scales[at] = scale;
                    self.sums[at] = self.row.iter().map(|&unit| i32::from(unit)).sum();
                    let panels = &mut self.panels[head * len..][..len];
                    let fours: &[u32] = bytemuck::cast_slice(self.row);
                    for (four, &units) in fours.iter().enumerate() {
                        panels[positions.at(four) + key - first] = units;
                    }
                }
            }
        }
    }
}

/// Quantizes each column of the values over all keys and packs it. The depth of the packed matrix
/// is the number of keys; four consecutive keys of a column are adjacent.
struct PackValues<'a> {
    tile: TileShape,
    range: ByteRange,
    values: Rows<'a>,
    count: usize,
    heads: Heads,
    /// One packed matrix per head.
    panels: &'a mut [u32],
    /// `[heads · dim]`
    magnitudes: &'a mut [f32],
    /// `[heads, padded dim]` each.
    scales: &'a mut [f32],
    inverses: &'a mut [f32],
    sums: &'a mut [i32],
}

impl Work for PackValues<'_> {
    #[inline(always)]
    fn run<S: Simd, const FUSED: bool>(self, _: S) {
        let Heads { count, dim } = self.heads;
        let hidden = self.heads.hidden();
        self.magnitudes.fill(0.0);
        for key in 0..self.count {
            for (max, v) in self.magnitudes.iter_mut().zip(self.values.row(key, hidden)) {
                let v = v.abs();
                *max = if v > *max { v } else { *max };
            }
        }
        let lanes = self.tile.lanes;
        let padded = dim.next_multiple_of(lanes);
        self.scales.fill(0.0);
        self.inverses.fill(0.0);
        self.sums.fill(0);
        for (index, &magnitude) in self.magnitudes.iter().enumerate() {
            let at = index / dim * padded + index % dim;
            (self.scales[at], self.inverses[at]) = symmetric(magnitude, self.range);
        }
        let len = packed_len(self.tile, dim, self.count) / 4;
        let nothing = [0.0; LANES];
        for four in 0..self.count.next_multiple_of(DEPTH_STEP) / 4 {
            for head in 0..count {
                for first in (0..dim).step_by(lanes) {
                    let at = Column::new(self.tile, dim, self.count, first).at(four);
                    let words = &mut self.panels[head * len + at..][..lanes];
                    let inverses = &self.inverses[head * padded + first..][..lanes];
                    let sums = &mut self.sums[head * padded + first..][..lanes];
                    let used = lanes.min(dim - first);
                    let mut rows: [&[f32]; 4] = [&nothing[..used]; 4];
                    for (i, row) in rows.iter_mut().enumerate() {
                        if 4 * four + i < self.count {
                            let values = self.values.row(4 * four + i, hidden);
                            *row = &values[head * dim + first..][..used];
                        }
                    }
                    if used == LANES {
                        interleave::<LANES>(rows, inverses, sums, words);
                    } else {
                        for i in 0..used {
                            let rows = rows.map(|row| &row[i..]);
                            interleave::<1>(rows, &inverses[i..], &mut sums[i..], &mut words[i..]);
                        }
                        words[used..].fill(0);
                    }
                }
            }
        }
    }
}

/// Quantizes the first `N` elements of four rows, interleaves them and adds their sums to `sums`.
#[inline(always)]
fn interleave<const N: usize>(
    rows: [&[f32]; 4],
    inverses: &[f32],
    sums: &mut [i32],
    words: &mut [u32],
) {
    let rows = rows.map(|row| row.first_chunk::<N>().expect("N elements"));
    let inverses = inverses.first_chunk::<N>().expect("N elements");
    let sums = sums.first_chunk_mut::<N>().expect("N elements");
    let words = words.first_chunk_mut::<N>().expect("N elements");
    for c in 0..N {
        let mut word = 0;
        let mut sum = 0i32;
        for (i, row) in rows.iter().enumerate() {
            let unit = round(row[c] * inverses[c]);
            // Only the arbitrary integers that NaNs round to can overflow.
            sum = sum.wrapping_add(unit);
            word |= (unit as u32 & 0xff) << (8 * i);
        }
        sums[c] = sums[c].wrapping_add(sum);
        words[c] = word.to_le();
    }
}

/// Converts each row of scores, which are base-2 logarithms, to softmax weights in bytes. The
/// weight of the row's maximum is `limit`.
struct Softmax<'a> {
    /// Rows padded to a multiple of `LANES`, of which the first `keys` elements are scores.
    scores: &'a mut [f32],
    keys: usize,
    limit: f32,
    /// Rows of the same stride as the scores.
    weights: &'a mut [u8],
    stride: usize,
    maxima: &'a mut [f32],
    sums: &'a mut [f32],
}

impl Work for Softmax<'_> {
    #[inline(always)]
    fn run<S: Simd, const FUSED: bool>(self, simd: S) {
        let rows = self.scores.chunks_exact_mut(self.stride);
        let weights = self.weights.chunks_exact_mut(self.stride);
        let results = self.maxima.iter_mut().zip(self.sums);
        for ((scores, weights), (max, sum)) in rows.zip(weights).zip(results) {
            // The weight of padding is zero.
            scores[self.keys..].fill(f32::NEG_INFINITY);
            *max = max_of(simd, scores);
            // Separate loops: in a combined loop the compiler would keep the sum in memory.
            for (weight, score) in weights.iter_mut().zip(&*scores) {
                let exact = self.limit * exp2_coarse::<FUSED>(score - *max);
                *weight = (exact + ROUND).to_bits() as u8;
            }
            *sum = weights.iter().map(|&weight| u32::from(weight)).sum::<u32>() as f32;
        }
    }
}
