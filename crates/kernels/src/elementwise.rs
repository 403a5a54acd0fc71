//! Activation functions, softmax and sigmoid, mostly as plain loops that the compiler vectorizes.

use pulp::Simd;
use serde::{Deserialize, Serialize};

use crate::isa::{Isa, Work, fma};

/// An activation function, applied element by element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Activation {
    /// `x`
    Identity,
    /// `max(x, 0)`
    Relu,
    /// `x · Φ(x) = x/2 · (1 + erf(x / √2))`, the exact form (Hendrycks and Gimpel, arXiv
    /// 1606.08415). The absolute error is below 5·10⁻⁷ · max(1, |x|).
    Gelu,
    /// `x/2 · (1 + tanh(√(2/π) · (x + 0.044715 x³)))`, the approximation from the same paper, named
    /// `gelu_new` in checkpoints. The absolute error is below 5·10⁻⁷ · max(1, |x|).
    GeluTanh,
    /// Hyperbolic tangent. The absolute error is below 3·10⁻⁷.
    Tanh,
}

/// Applies `activation` to every element of `x` in place.
pub fn activate(isa: Isa, activation: Activation, x: &mut [f32]) {
    struct Activate<'a>(Activation, &'a mut [f32]);
    impl Work for Activate<'_> {
        #[inline(always)]
        fn run<S: Simd, const FUSED: bool>(self, _: S) {
            activate_slice::<FUSED>(self.0, self.1);
        }
    }
    isa.run(Activate(activation, x));
}

/// Like [`activate`], for code that is already compiled for an instruction set.
#[inline(always)]
pub(crate) fn activate_slice<const FUSED: bool>(activation: Activation, x: &mut [f32]) {
    match activation {
        Activation::Identity => {}
        Activation::Relu => {
            for v in x {
                // Unlike `max`, this preserves a NaN.
                *v = if *v < 0.0 { 0.0 } else { *v };
            }
        }
        Activation::Gelu => {
            for v in x {
                let half = 0.5 * *v;
                let erf = erf::<FUSED>(*v * std::f32::consts::FRAC_1_SQRT_2);
                *v = fma::<FUSED>(half, erf, half);
            }
        }
        Activation::GeluTanh => {
            for v in x {
                let cube = *v * *v * *v;
                let inner = 0.797_884_6 * fma::<FUSED>(0.044715, cube, *v);
                *v = 0.5 * *v * (1.0 + tanh::<FUSED>(inner));
            }
        }
        Activation::Tanh => {
            for v in x {
                *v = tanh::<FUSED>(*v);
            }
        }
    }
}

/// Replaces `x` with its softmax, `exp(xᵢ − max) / Σ exp(xⱼ − max)`. The absolute error is below
/// 10⁻⁶. The result is the same on every CPU.
pub fn softmax(x: &mut [f32]) {
    let larger = |max, &v: &f32| if v > max { v } else { max };
    let max = x.iter().fold(f32::NEG_INFINITY, larger);
    let mut sum = 0.0;
    for v in &mut *x {
        *v = exp2::<true>(std::f32::consts::LOG2_E * (*v - max));
        sum += *v;
    }
    let inverse = 1.0 / sum;
    for v in x {
        *v *= inverse;
    }
}

/// Replaces every element of `x` with `1 / (1 + exp(−x))`. The absolute error is below 3·10⁻⁷. The
/// result is the same on every CPU.
pub fn sigmoid(x: &mut [f32]) {
    for v in x {
        *v = 1.0 / (1.0 + exp::<true>(-*v));
    }
}

/// `f32` elements in the widest SIMD register.
pub(crate) const LANES: usize = 16;

/// The largest element; `−∞` if there is none. NaNs are ignored.
#[inline(always)]
pub(crate) fn max_of<S: Simd>(simd: S, row: &[f32]) -> f32 {
    let (registers, rest) = S::as_simd_f32s(row);
    let mut peaks = simd.splat_f32s(f32::NEG_INFINITY);
    for &v in registers {
        peaks = simd.max_f32s(v, peaks);
    }
    let mut max = simd.reduce_max_f32s(peaks);
    for &v in rest {
        max = if v > max { v } else { max };
    }
    max
}

/// Replaces each `x` with `exp(scale · (x − max))` and returns the sum; `scale` must be positive.
#[inline(always)]
pub(crate) fn exp_shifted<S: Simd, const FUSED: bool>(
    simd: S,
    row: &mut [f32],
    scale: f32,
    max: f32,
) -> f32 {
    let scale = scale * std::f32::consts::LOG2_E;
    // Separate loops: in a combined loop the compiler would keep the sum in memory.
    for v in &mut *row {
        *v = exp2::<FUSED>(scale * (*v - max));
    }
    sum_of(simd, row)
}

/// The sum of the elements, in an order that depends only on their number.
#[inline(always)]
pub(crate) fn sum_of<S: Simd>(simd: S, row: &[f32]) -> f32 {
    let (registers, rest) = S::as_simd_f32s(row);
    // Two independent sums hide the latency of an addition.
    let mut sums = [simd.splat_f32s(0.0); 2];
    let (pairs, single) = registers.as_chunks::<2>();
    for pair in pairs {
        sums[0] = simd.add_f32s(sums[0], pair[0]);
        sums[1] = simd.add_f32s(sums[1], pair[1]);
    }
    for &v in single {
        sums[0] = simd.add_f32s(sums[0], v);
    }
    let mut sum = simd.reduce_sum_f32s(simd.add_f32s(sums[0], sums[1]));
    for &v in rest {
        sum += v;
    }
    sum
}

/// `eˣ` with a relative error below 3·10⁻⁷ for −87 ≤ x ≤ 88, and constant beyond these bounds.
///
/// Range reduction and polynomial are those of Cephes `expf` (Moshier, 1989).
#[inline(always)]
pub(crate) fn exp<const FUSED: bool>(x: f32) -> f32 {
    // Comparisons in this form preserve a NaN and compile to one instruction.
    let x = if x < -87.0 { -87.0 } else { x };
    let x = if x > 88.0 { 88.0 } else { x };
    let shifted = fma::<FUSED>(x, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = fma::<FUSED>(n, -0.693_359_4, x);
    let r = fma::<FUSED>(n, 2.121_944_4e-4, r);
    let p = polynomial::<FUSED, 6>(
        r,
        [
            1.987_569_1e-4,
            1.398_199_9e-3,
            8.333_452e-3,
            4.166_579_6e-2,
            1.666_666_5e-1,
            5e-1,
        ],
    );
    let mantissa = fma::<FUSED>(p * r, r, r) + 1.0;
    let power = shifted.to_bits().wrapping_add(127) << 23;
    mantissa * f32::from_bits(power)
}

/// `2ˣ` with a relative error below 2·10⁻⁷ for −125 ≤ x ≤ 0, and constant below −125.
#[inline(always)]
pub(crate) fn exp2<const FUSED: bool>(x: f32) -> f32 {
    exp2_by::<FUSED, 6>(
        x,
        [
            1.327_647_2e-3,
            9.675_541e-3,
            5.550_713e-2,
            2.402_212e-1,
            6.931_469_4e-1,
            1.0,
        ],
    )
}

/// Like [`exp2`], with a relative error below 10⁻⁴, which is enough for results that are rounded to
/// bytes.
#[inline(always)]
pub(crate) fn exp2_coarse<const FUSED: bool>(x: f32) -> f32 {
    exp2_by::<FUSED, 4>(
        x,
        [5.517_167e-2, 2.426_111_3e-1, 6.932_61e-1, 9.999_280_7e-1],
    )
}

/// `2ˣ` by a minimax polynomial (Remez) on ± 1/2, scaled by a power of two. It is constant below
/// −125, where a result slightly below a power of two would be subnormal.
#[inline(always)]
fn exp2_by<const FUSED: bool, const N: usize>(x: f32, coefficients: [f32; N]) -> f32 {
    // This form preserves a NaN.
    let x = if x < -125.0 { -125.0 } else { x };
    let shifted = x + ROUND;
    let p = polynomial::<FUSED, N>(x - (shifted - ROUND), coefficients);
    f32::from_bits(p.to_bits().wrapping_add(shifted.to_bits() << 23))
}

/// Adding 1.5 · 2²³ to a number within ± 2²² rounds it to the nearest integer, ties to even, and
/// leaves that integer in the low bits of the mantissa.
pub(crate) const ROUND: f32 = 12_582_912.0;

/// Evaluates a polynomial by Horner's rule; `coefficients` start with the highest power.
#[inline(always)]
fn polynomial<const FUSED: bool, const N: usize>(x: f32, coefficients: [f32; N]) -> f32 {
    let mut sum = coefficients[0];
    for coefficient in &coefficients[1..] {
        sum = fma::<FUSED>(sum, x, *coefficient);
    }
    sum
}

/// `tanh x = 1 − 2 / (e²ˣ + 1)`
#[inline(always)]
fn tanh<const FUSED: bool>(x: f32) -> f32 {
    1.0 - 2.0 / (exp::<FUSED>(2.0 * x) + 1.0)
}

/// The error function as a quotient of two polynomials in x². The absolute error is below 5·10⁻⁷;
/// the coefficients are those of Eigen's and XLA's `f32` kernels.
#[inline(always)]
fn erf<const FUSED: bool>(x: f32) -> f32 {
    let x = if x < -4.0 { -4.0 } else { x };
    let x = if x > 4.0 { 4.0 } else { x };
    let s = x * x;
    let p = polynomial::<FUSED, 7>(
        s,
        [
            -2.726_142_3e-10,
            2.770_681_4e-8,
            -2.101_024e-6,
            -5.692_506_5e-5,
            -7.349_906e-4,
            -2.954_6e-3,
            -1.609_603_3e-2,
        ],
    );
    let q = polynomial::<FUSED, 5>(
        s,
        [
            -1.456_607_2e-5,
            -2.133_740_6e-4,
            -1.682_827e-3,
            -7.373_329_3e-3,
            -1.426_473_9e-2,
        ],
    );
    // Beyond ±4 the quotient is slightly below ±1, an error that GELU multiplies by a large |x|.
    if s >= 16.0 { x * 0.25 } else { x * p / q }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest relative error of [`exp2_coarse`] from −125 to 0, and where it occurs.
    fn worst_of_coarse<const FUSED: bool>() -> (f64, f32) {
        let steps = 125 * 4096;
        (0..=steps)
            .map(|i| {
                let x = i as f32 / -4096.0;
                let exact = libm::exp2(f64::from(x));
                ((f64::from(exp2_coarse::<FUSED>(x)) / exact - 1.0).abs(), x)
            })
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .expect("the range is not empty")
    }

    #[test]
    fn coarse_exp2_stays_within_its_documented_error() {
        for (error, x) in [worst_of_coarse::<true>(), worst_of_coarse::<false>()] {
            assert!(error < 1e-4, "2^{x} has a relative error of {error:e}");
        }
    }

    #[test]
    fn coarse_exp2_is_constant_below_its_range() {
        let least = exp2_coarse::<false>(-125.0);
        for x in [-125.1, -127.0, -1e30, f32::NEG_INFINITY] {
            assert_eq!(exp2_coarse::<false>(x).to_bits(), least.to_bits(), "{x}");
        }
        assert!(exp2_coarse::<false>(f32::NAN).is_nan());
    }
}
