//! The core's rate of independent fused multiply-adds on its widest registers, nothing else going
//! on: the ceiling for `f32` products, one thread. Prints a JSON line.

use std::hint::black_box;
use std::time::Instant;

use pulp::{Arch, Simd, WithSimd};

/// Chains enough to hide the latency of the instruction, few enough for the registers of AVX2.
const CHAINS: usize = 12;

struct Chains(u64);

impl WithSimd for Chains {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f64 {
        let factor = simd.splat_f32s(black_box(1.0));
        let addend = simd.splat_f32s(black_box(0.0));
        let mut sums = [simd.splat_f32s(black_box(1.0)); CHAINS];
        for _ in 0..self.0 {
            for sum in &mut sums {
                *sum = simd.mul_add_e_f32s(*sum, factor, addend);
            }
        }
        black_box(sums);
        (self.0 as usize * CHAINS * S::F32_LANES * 2) as f64
    }
}

fn main() {
    let rate = (0..3)
        .map(|_| {
            let start = Instant::now();
            let operations = Arch::new().dispatch(Chains(40_000_000));
            operations / start.elapsed().as_secs_f64() / 1e9
        })
        .fold(0.0, f64::max);
    println!("{{\"peak_gflops\": {rate:.1}}}");
}
