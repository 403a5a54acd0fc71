//! Quantization from `f32` to bytes.
//!
//! Activations are quantized per row (token), asymmetrically: `x ≈ scale · (byte − zero)`. The ends
//! of the range are the smallest and the largest value of the row, extended to include zero, so
//! that nothing saturates. Weights are quantized per column (output), symmetrically.

use crate::buffer::Buffer;
use pulp::{Scalar128b, Simd};

use crate::elementwise::ROUND;
use crate::isa::{Isa, Work, fma};
use crate::target::ByteRange;
use crate::{Rows, int8};

/// Quantized rows, in reusable scratch memory.
#[derive(Default)]
pub(crate) struct QuantizedRows {
    rows: usize,
    /// Distance between the starts of two rows, in bytes: the width, rounded up.
    stride: usize,
    values: Buffer<u8>,
    scales: Buffer<f32>,
    zeros: Buffer<i32>,
    /// One row, multiplied by the factors of its columns.
    scaled: Buffer<f32>,
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

    /// Quantizes `x` (`[rows, columns]`), each column multiplied by its element of `factors`
    /// (`[columns]`) if there are any.
    pub(crate) fn fill(
        &mut self,
        isa: Isa,
        x: Rows<'_>,
        rows: usize,
        columns: usize,
        factors: Option<&[f32]>,
    ) {
        struct Quantize<'a> {
            x: Rows<'a>,
            columns: usize,
            range: ByteRange,
            factors: Option<&'a [f32]>,
            scaled: &'a mut [f32],
            stride: usize,
            values: &'a mut [u8],
            scales: &'a mut [f32],
            zeros: &'a mut [i32],
        }
        impl Work for Quantize<'_> {
            #[inline(always)]
            fn run<S: Simd, const FUSED: bool>(self, simd: S) {
                let rows = self.values.chunks_exact_mut(self.stride);
                let results = self.scales.iter_mut().zip(self.zeros);
                for (index, (values, (scale, zero))) in rows.zip(results).enumerate() {
                    let mut row = self.x.row(index, self.columns);
                    if let Some(factors) = self.factors {
                        for ((scaled, v), factor) in self.scaled.iter_mut().zip(row).zip(factors) {
                            *scaled = v * factor;
                        }
                        row = self.scaled;
                    }
                    (*scale, *zero) = quantize_row::<S, FUSED>(simd, row, self.range, values);
                }
            }
        }
        self.rows = rows;
        self.stride = columns.next_multiple_of(int8::DEPTH_STEP);
        if columns == 0 {
            // Empty rows need a finite scale too.
            self.scales.grow(rows).fill(1.0);
            self.zeros.grow(rows).fill(0);
            return;
        }
        isa.run(Quantize {
            x,
            columns,
            range: isa.target().byte_range(),
            factors,
            scaled: self.scaled.grow(columns),
            stride: self.stride,
            values: self.values.grow(rows * self.stride),
            scales: self.scales.grow(rows),
            zeros: self.zeros.grow(rows),
        });
    }
}

/// Quantizes a row; returns the scale and the zero point. Bytes beyond the row are left unchanged.
#[inline(always)]
fn quantize_row<S: Simd, const FUSED: bool>(
    simd: S,
    row: &[f32],
    range: ByteRange,
    bytes: &mut [u8],
) -> (f32, i32) {
    let (low, high) = extent(simd, row);
    let limit = f32::from(range.activation);
    let width = high - low;
    let (scale, inverse) = (width / limit, limit / width);
    // All values are zero, or so close to zero that the scale has no inverse.
    if inverse.is_infinite() {
        bytes[..row.len()].fill(0);
        return (1.0, 0);
    }
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

/// The smallest and the largest of the elements and zero.
#[inline(always)]
fn extent<S: Simd>(simd: S, row: &[f32]) -> (f32, f32) {
    let (registers, rest) = S::as_simd_f32s(row);
    let (mut lows, mut highs) = (simd.splat_f32s(0.0), simd.splat_f32s(0.0));
    for &v in registers {
        lows = simd.min_f32s(v, lows);
        highs = simd.max_f32s(v, highs);
    }
    let (mut low, mut high) = (simd.reduce_min_f32s(lows), simd.reduce_max_f32s(highs));
    for &v in rest {
        low = if v < low { v } else { low };
        high = if v > high { v } else { high };
    }
    (low, high)
}

/// The largest absolute value.
#[inline(always)]
pub(crate) fn magnitude<S: Simd>(simd: S, row: &[f32]) -> f32 {
    let (registers, rest) = S::as_simd_f32s(row);
    let mut peaks = simd.splat_f32s(0.0);
    for &v in registers {
        peaks = simd.max_f32s(simd.abs_f32s(v), peaks);
    }
    let mut peak = simd.reduce_max_f32s(peaks);
    for &v in rest {
        peak = if v.abs() > peak { v.abs() } else { peak };
    }
    peak
}

/// Symmetric quantization: the scale and its inverse for numbers whose largest absolute value is
/// `magnitude`. Both are zero if that is 0, not finite, or so small that the scale has no inverse.
#[inline(always)]
pub(crate) fn symmetric(magnitude: f32, range: ByteRange) -> (f32, f32) {
    let limit = f32::from(range.weight);
    let inverse = limit / magnitude;
    if inverse.is_finite() && magnitude.is_finite() {
        (magnitude / limit, inverse)
    } else {
        (0.0, 0.0)
    }
}

/// Quantizes `row` symmetrically to `units` from −127 to 127, so that `row[i] ≈ scale · units[i]`,
/// and returns the scale. The scale is 0 if the largest absolute value is 0, infinite, or so small
/// that the scale has no inverse.
///
/// # Panics
/// If the lengths differ.
pub fn quantize_symmetric(row: &[f32], units: &mut [i8]) -> f32 {
    assert_eq!(row.len(), units.len(), "units must have the length of row");
    let range = ByteRange {
        activation: u8::MAX,
        weight: i8::MAX,
    };
    let (scale, inverse) = symmetric(magnitude(Scalar128b, row), range);
    for (unit, &v) in units.iter_mut().zip(row) {
        *unit = round(v * inverse) as i8;
    }
    scale
}

/// The nearest integer, ties to even. `v` must be within ± 2²².
#[inline(always)]
pub(crate) fn round(v: f32) -> i32 {
    (v + ROUND).to_bits() as i32 - ROUND.to_bits() as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows that are difficult to quantize, `width` wide, with their names.
    fn kinds(width: usize) -> Vec<(&'static str, Vec<f32>)> {
        let mut state = width as u32;
        let values: Vec<f32> = (0..width)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) as f32 / (1 << 23) as f32 - 1.0
            })
            .collect();
        let times = |factor: f32| values.iter().map(|v| v * factor).collect();
        let absolute = |sign: f32| values.iter().map(|v| sign * (v.abs() + 0.1)).collect();
        let outlier = |size: f32| {
            let mut row = values.clone();
            row[width / 2] = size;
            row
        };
        let mut sparse = values.clone();
        sparse.iter_mut().step_by(2).for_each(|v| *v = 0.0);
        vec![
            ("zeros", vec![0.0; width]),
            ("negative zeros", vec![-0.0; width]),
            ("constant", vec![0.3; width]),
            ("negative constant", vec![-7.7; width]),
            ("mixed", values.clone()),
            ("sparse", sparse),
            ("outlier", outlier(1e4)),
            ("negative outlier", outlier(-1e4)),
            ("tiny", times(1e-30)),
            ("huge", times(1e30)),
            ("positive", absolute(1.0)),
            ("negative", absolute(-1.0)),
        ]
    }

    fn widths() -> impl Iterator<Item = usize> {
        (1..=70).chain([768])
    }

    #[test]
    fn quantizing_a_row_is_off_by_at_most_half_a_unit() {
        println!("tested: {:?}", Isa::available());
        let mut quantized = QuantizedRows::default();
        for isa in Isa::available() {
            let limit = isa.target().byte_range().activation;
            for width in widths() {
                let kinds = kinds(width);
                // Rows may have gaps between them.
                let stride = width + 3;
                let mut x = vec![f32::NAN; kinds.len() * stride];
                for ((_, row), to) in kinds.iter().zip(x.chunks_mut(stride)) {
                    to[..width].copy_from_slice(row);
                }
                quantized.fill(isa, Rows::new(&x, stride), kinds.len(), width, None);
                assert_eq!(quantized.stride(), width.next_multiple_of(8));
                for (index, (kind, row)) in kinds.iter().enumerate() {
                    let bytes = &quantized.values()[index * quantized.stride()..][..width];
                    let (scale, zero) = (quantized.scales()[index], quantized.zeros()[index]);
                    assert!(
                        (0..=i32::from(limit)).contains(&zero),
                        "{isa:?} {kind}: {zero}"
                    );
                    for (i, (&byte, &v)) in bytes.iter().zip(row).enumerate() {
                        let what = format!("{isa:?} {kind} row of {width}, element {i}: {v:e}");
                        assert!(byte <= limit, "{what} is byte {byte}");
                        let units = i32::from(byte) - zero;
                        let restored = f64::from(scale) * f64::from(units);
                        let error = (restored - f64::from(v)).abs();
                        assert!(
                            error <= f64::from(scale) / 2.0 * (1.0 + 1e-3),
                            "{what} was restored as {restored:e}, scale {scale:e}"
                        );
                        if v == 0.0 {
                            assert_eq!(units, 0, "{what} is not exact");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_row_uses_the_whole_range() {
        let mut quantized = QuantizedRows::default();
        for isa in Isa::available() {
            let limit = isa.target().byte_range().activation;
            quantized.fill(isa, Rows::new(&[-1.0, 0.5, 3.0], 3), 1, 3, None);
            assert_eq!(quantized.values()[0], 0, "{isa:?}");
            assert_eq!(quantized.values()[2], limit, "{isa:?}");
            let scale = 4.0 / f32::from(limit);
            assert_eq!(quantized.scales()[0], scale, "{isa:?}");
        }
    }

    #[test]
    fn numbers_too_small_for_a_scale_become_zero() {
        let mut quantized = QuantizedRows::default();
        for isa in Isa::available() {
            for tiny in [1e-37, 1e-38, 1e-40, f32::from_bits(1)] {
                for row in [[0.0, tiny], [-tiny, tiny], [-tiny, 0.0]] {
                    quantized.fill(isa, Rows::new(&row, 2), 1, 2, None);
                    let (scale, zero) = (quantized.scales()[0], quantized.zeros()[0]);
                    for (&byte, v) in quantized.values().iter().zip(row) {
                        let restored = scale * (i32::from(byte) - zero) as f32;
                        assert!(
                            (restored - v).abs() <= tiny,
                            "{isa:?} {v:e} of {row:?} was restored as {restored:e}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn values_that_are_not_finite_stay_in_range() {
        let mut quantized = QuantizedRows::default();
        for isa in Isa::available() {
            for bad in [
                f32::NAN,
                f32::INFINITY,
                f32::NEG_INFINITY,
                f32::MAX,
                f32::MIN,
            ] {
                for width in [1, 3, 16, 17, 70] {
                    for at in [0, width / 2, width - 1] {
                        let mut row = vec![0.5; width];
                        row[at] = bad;
                        quantized.fill(isa, Rows::new(&row, width), 1, width, None);
                        let limit = isa.target().byte_range().activation;
                        let bytes = &quantized.values()[..width];
                        assert!(bytes.iter().all(|&byte| byte <= limit), "{isa:?} {bad}");
                        quantize_symmetric(&row, &mut vec![0; width]);
                    }
                }
            }
        }
    }

    #[test]
    fn an_empty_matrix_is_quantized_to_nothing() {
        for isa in Isa::available() {
            let mut quantized = QuantizedRows::default();
            quantized.fill(isa, Rows::new(&[], 0), 3, 0, None);
            assert_eq!(quantized.values(), []);
            assert_eq!(quantized.zeros(), [0; 3]);
            assert!(quantized.scales().iter().all(|scale| scale.is_finite()));
            quantized.fill(isa, Rows::new(&[], 5), 0, 5, None);
            assert_eq!(quantized.values(), []);
        }
    }

    #[test]
    fn symmetric_quantization_is_off_by_at_most_half_a_unit() {
        for limit in [127, 63] {
            let range = ByteRange {
                activation: u8::MAX,
                weight: limit,
            };
            for (kind, row) in widths().flat_map(kinds) {
                let (scale, inverse) = symmetric(magnitude(Scalar128b, &row), range);
                for &v in &row {
                    let unit = round(v * inverse);
                    let what = format!("{kind} row of {}: {v:e}", row.len());
                    assert!(unit.abs() <= i32::from(limit), "{what} is {unit}");
                    let restored = f64::from(scale) * f64::from(unit);
                    assert!(
                        (restored - f64::from(v)).abs() <= f64::from(scale) / 2.0 * (1.0 + 1e-3),
                        "{what} was restored as {restored:e}, scale {scale:e}"
                    );
                    if v == 0.0 {
                        assert_eq!(unit, 0, "{what} is not exact");
                    }
                }
                if limit == 127 {
                    let mut units = vec![1; row.len()];
                    assert_eq!(quantize_symmetric(&row, &mut units), scale, "{kind}");
                    let expected = row.iter().map(|v| round(v * inverse) as i8);
                    assert!(units.iter().copied().eq(expected), "{kind}");
                }
            }
        }
    }

    #[test]
    fn symmetric_quantization_of_numbers_too_small_for_a_scale_is_zero() {
        for tiny in [1e-37, 1e-38, 1e-40, f32::from_bits(1)] {
            let mut units = [1; 3];
            let scale = quantize_symmetric(&[tiny, -tiny, 0.0], &mut units);
            for (unit, v) in units.into_iter().zip([tiny, -tiny, 0.0]) {
                let restored = scale * f32::from(unit);
                assert!(
                    (restored - v).abs() <= tiny,
                    "{v:e} was restored as {restored:e}"
                );
            }
        }
    }

    #[test]
    #[should_panic(expected = "units must have the length of row")]
    fn symmetric_quantization_refuses_different_lengths() {
        quantize_symmetric(&[0.0; 3], &mut [0; 2]);
    }
}
