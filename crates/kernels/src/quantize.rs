//! From `f32` to bytes and what a byte is worth.
//!
//! Activations are quantized row by row (a token each), asymmetrically: `x ≈ scale · (byte − zero)`
//! with the row's least and largest value (and zero) at the ends of the range, so that nothing
//! saturates. Weights are quantized column by column (an output each), symmetrically.

use crate::buffer::Buffer;
use crate::elementwise::{LANES, ROUND};
use crate::isa::{ByteRange, Isa, Work, fma};
use crate::{Rows, int8};

/// Rows of bytes. Scratch that a worker keeps.
#[derive(Default)]
pub(crate) struct QuantizedRows {
    rows: usize,
    /// Bytes from one row to the next: the width, rounded up.
    stride: usize,
    values: Buffer<u8>,
    scales: Buffer<f32>,
    zeros: Buffer<i32>,
}

impl QuantizedRows {
    pub(crate) fn stride(&self) -> usize {
        self.stride
    }

    pub(crate) fn values(&self) -> &[u8] {
        self.values.get(self.rows * self.stride)
    }

    pub(crate) fn scales(&self) -> &[f32] {
        self.scales.get(self.rows)
    }

    pub(crate) fn zeros(&self) -> &[i32] {
        self.zeros.get(self.rows)
    }

    /// Quantizes `x` (`[rows, columns]`), whose rows are `columns` wide. `factor` is multiplied
    /// to what a byte is worth.
    pub(crate) fn fill(&mut self, isa: Isa, x: Rows<'_>, rows: usize, columns: usize, factor: f32) {
        struct Quantize<'a> {
            x: Rows<'a>,
            columns: usize,
            range: ByteRange,
            factor: f32,
            stride: usize,
            values: &'a mut [u8],
            scales: &'a mut [f32],
            zeros: &'a mut [i32],
        }
        impl Work for Quantize<'_> {
            #[inline(always)]
            fn run<const FUSED: bool>(self) {
                let rows = self.values.chunks_exact_mut(self.stride);
                let worths = self.scales.iter_mut().zip(self.zeros);
                for (index, (values, (scale, zero))) in rows.zip(worths).enumerate() {
                    let row = self.x.row(index, self.columns);
                    (*scale, *zero) = quantize_row::<FUSED>(row, self.range, values);
                    *scale *= self.factor;
                }
            }
        }
        self.rows = rows;
        self.stride = columns.next_multiple_of(int8::DEPTH_STEP);
        if rows == 0 || columns == 0 {
            return;
        }
        isa.run(Quantize {
            x,
            columns,
            range: isa.byte_range(),
            factor,
            stride: self.stride,
            values: self.values.grow(rows * self.stride),
            scales: self.scales.grow(rows),
            zeros: self.zeros.grow(rows),
        });
    }
}

/// Quantizes a row; returns what one unit is worth and the byte that stands for zero. Bytes beyond
/// the row are left as they are.
#[inline(always)]
fn quantize_row<const FUSED: bool>(row: &[f32], range: ByteRange, bytes: &mut [u8]) -> (f32, i32) {
    let (low, high) = extent(row);
    let limit = f32::from(range.activation);
    let width = high - low;
    if width <= 0.0 {
        bytes[..row.len()].fill(0);
        return (1.0, 0);
    }
    let (scale, inverse) = (width / limit, limit / width);
    let zero = (-low * inverse + ROUND) - ROUND;
    for (byte, &v) in bytes.iter_mut().zip(row) {
        let unit = fma::<FUSED>(v, inverse, zero);
        // In this form a NaN becomes 0.
        let unit = if unit > 0.0 { unit } else { 0.0 };
        let unit = if unit < limit { unit } else { limit };
        *byte = (unit + ROUND).to_bits() as u8;
    }
    (scale, zero as i32)
}

/// The least and the largest of zero and the elements.
#[inline(always)]
fn extent(row: &[f32]) -> (f32, f32) {
    let (mut lows, mut highs) = ([0.0f32; LANES], [0.0f32; LANES]);
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for (i, &v) in chunk.iter().enumerate() {
            lows[i] = if v < lows[i] { v } else { lows[i] };
            highs[i] = if v > highs[i] { v } else { highs[i] };
        }
    }
    for (i, &v) in rest.iter().enumerate() {
        lows[i] = if v < lows[i] { v } else { lows[i] };
        highs[i] = if v > highs[i] { v } else { highs[i] };
    }
    (
        lows.into_iter().fold(0.0, f32::min),
        highs.into_iter().fold(0.0, f32::max),
    )
}

/// The largest absolute value.
#[inline(always)]
pub(crate) fn magnitude(row: &[f32]) -> f32 {
    let (low, high) = extent(row);
    if -low > high { -low } else { high }
}

/// Symmetric quantization: what one unit is worth and its inverse, for numbers whose largest
/// absolute value is `magnitude`. Zeros alone are worth nothing.
#[inline(always)]
pub(crate) fn symmetric(magnitude: f32, range: ByteRange) -> (f32, f32) {
    let limit = f32::from(range.weight);
    if magnitude > 0.0 && magnitude.is_finite() {
        (magnitude / limit, limit / magnitude)
    } else {
        (0.0, 0.0)
    }
}

/// Quantizes `row` to `units` from −127 to 127 and returns what one unit is worth.
///
/// # Panics
/// If the lengths differ.
pub fn quantize_symmetric(row: &[f32], units: &mut [i8]) -> f32 {
    assert_eq!(row.len(), units.len(), "as many units as elements");
    let range = ByteRange {
        activation: u8::MAX,
        weight: i8::MAX,
    };
    let (scale, inverse) = symmetric(magnitude(row), range);
    for (unit, &v) in units.iter_mut().zip(row) {
        *unit = round(v * inverse) as i8;
    }
    scale
}

/// The nearest integer, which must be within ± 127; ties to even.
#[inline(always)]
pub(crate) fn round(v: f32) -> i32 {
    (v + ROUND).to_bits() as i32 - ROUND.to_bits() as i32
}
