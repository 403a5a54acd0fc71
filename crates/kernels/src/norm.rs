//! Layer normalization.

use pulp::Simd;

use crate::elementwise::sum_of;
use crate::isa::{Isa, Work, fma};
use crate::view::View;

/// The parameters of a layer norm over rows of `weight.len()` elements.
pub struct LayerNorm {
    weight: View<f32>,
    bias: View<f32>,
    eps: f32,
}

impl LayerNorm {
    /// Creates a layer norm with scale `weight` and shift `bias`, both `[hidden]`. `eps` is added
    /// to the variance.
    ///
    /// # Panics
    /// If `weight` and `bias` differ in length.
    pub fn new(weight: View<f32>, bias: View<f32>, eps: f32) -> LayerNorm {
        assert_eq!(weight.len(), bias.len(), "weight and bias must be [hidden]");
        LayerNorm { weight, bias, eps }
    }

    /// Width of a row.
    pub fn hidden(&self) -> usize {
        self.weight.len()
    }
}

/// Replaces each row of `x` (`[rows, hidden]`) with the layer norm of `x + residual` (of `x` if
/// `residual` is `None`): `(v − mean) / √(variance + eps) · weight + bias`, with the biased
/// variance (Ba, Kiros and Hinton, arXiv 1607.06450). The sum stays in the L1 cache.
///
/// # Panics
/// If `x` is not a whole number of rows, or `residual` differs from it in length.
pub fn layer_norm(isa: Isa, norm: &LayerNorm, x: &mut [f32], residual: Option<&[f32]>) {
    struct Rows<'a>(&'a LayerNorm, &'a mut [f32], Option<&'a [f32]>);
    impl Work for Rows<'_> {
        #[inline(always)]
        fn run<S: Simd, const FUSED: bool>(self, simd: S) {
            let hidden = self.0.hidden();
            for (index, row) in self.1.chunks_exact_mut(hidden).enumerate() {
                if let Some(residual) = self.2 {
                    for (v, r) in row.iter_mut().zip(&residual[index * hidden..][..hidden]) {
                        *v += r;
                    }
                }
                normalize::<S, FUSED>(simd, self.0, row);
            }
        }
    }
    if let Some(residual) = residual {
        assert_eq!(residual.len(), x.len(), "residual must have the shape of x");
    }
    if x.is_empty() {
        return;
    }
    assert_eq!(x.len() % norm.hidden(), 0, "x must be [rows, hidden]");
    isa.run(Rows(norm, x, residual));
}

#[inline(always)]
fn normalize<S: Simd, const FUSED: bool>(simd: S, norm: &LayerNorm, row: &mut [f32]) {
    let count = row.len() as f32;
    let mean = sum_of(simd, row) / count;
    // Two passes: computing the variance as a difference of large sums would lose precision.
    let variance = sum_of_squares(simd, row, mean) / count;
    let scale = 1.0 / (variance + norm.eps).sqrt();
    for ((v, weight), bias) in row.iter_mut().zip(&*norm.weight).zip(&*norm.bias) {
        *v = fma::<FUSED>((*v - mean) * scale, *weight, *bias);
    }
}

/// `Σ (v − mean)²`
#[inline(always)]
fn sum_of_squares<S: Simd>(simd: S, row: &[f32], mean: f32) -> f32 {
    let (registers, rest) = S::as_simd_f32s(row);
    let means = simd.splat_f32s(mean);
    let mut sums = simd.splat_f32s(0.0);
    for &v in registers {
        let distance = simd.sub_f32s(v, means);
        sums = simd.mul_add_e_f32s(distance, distance, sums);
    }
    let mut sum = simd.reduce_sum_f32s(sums);
    for &v in rest {
        sum += (v - mean) * (v - mean);
    }
    sum
}
