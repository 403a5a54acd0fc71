//! The sequences of x86-64.

use std::arch::asm;
use std::arch::is_x86_feature_detected as has;
use std::arch::x86_64::*;
use std::hint::black_box;

use super::{CHAINS, Sequence, repeat};

/// Independent sums of the sequences that need registers for intermediate products: together with
/// the operands they fit in 16 registers.
const SHORT_CHAINS: usize = 8;

pub(super) fn available() -> Vec<Sequence> {
    let mut found = Vec::new();
    let mut add = |has, name, run| {
        if has {
            found.push(Sequence { name, run });
        }
    };
    add(has!("fma"), "fma_gflops_256", |steps| {
        // SAFETY: `add` keeps the sequence only if the CPU has the feature.
        unsafe { fma_256(steps) }
    });
    add(true, "mul_add_gflops_128", |steps| {
        // SAFETY: every x86-64 CPU has SSE2.
        unsafe { mul_add_128(steps) }
    });
    add(has!("avx2"), "maddubs_pair_gops", |steps| {
        // SAFETY: as above.
        unsafe { maddubs_pair_256(steps) }
    });
    let avx512 = has!("avx512f") && has!("avx512bw");
    add(avx512, "maddubs_pair_gops_512", |steps| {
        // SAFETY: as above.
        unsafe { maddubs_pair_512(steps) }
    });
    let vnni = has!("avx512f") && has!("avx512vnni");
    add(vnni, "vpdpbusd_gops", |steps| {
        // SAFETY: as above.
        unsafe { vpdpbusd_512(steps) }
    });
    add(true, "madd_gops_128", |steps| {
        // SAFETY: every x86-64 CPU has SSE2.
        unsafe { madd_128(steps) }
    });
    found
}

/// Makes the compiler assume that a register has changed, so that it does not hoist the computation
/// out of the loop.
macro_rules! renew {
    ($register:ident in $class:ident) => {
        // SAFETY: the assembly contains no instruction.
        unsafe {
            asm!("/* {0} */", inout($class) $register,
                 options(nomem, nostack, preserves_flags));
        }
    };
}

#[target_feature(enable = "avx,fma")]
fn fma_256(steps: u64) -> u64 {
    let factor = _mm256_set1_ps(black_box(1.0));
    let addend = _mm256_set1_ps(black_box(0.0));
    let start = _mm256_set1_ps(black_box(1.0));
    repeat::<CHAINS, _>(steps, 8, start, |sum| _mm256_fmadd_ps(sum, factor, addend))
}

/// A product and a sum: the multiply-add of the baseline.
#[target_feature(enable = "sse2")]
fn mul_add_128(steps: u64) -> u64 {
    let mut factor = _mm_set1_ps(black_box(1.0));
    let addend = _mm_set1_ps(black_box(0.0));
    let start = _mm_set1_ps(black_box(1.0));
    repeat::<CHAINS, _>(steps, 4, start, |sum| {
        renew!(factor in xmm_reg);
        _mm_add_ps(sum, _mm_mul_ps(addend, factor))
    })
}

/// Two times 32 byte products, added in pairs; the two results are added in 16 bits and then
/// widened.
#[target_feature(enable = "avx2")]
fn maddubs_pair_256(steps: u64) -> u64 {
    let mut row = _mm256_set1_epi8(black_box(1));
    let column = _mm256_set1_epi8(black_box(1));
    let ones = _mm256_set1_epi16(black_box(1));
    repeat::<SHORT_CHAINS, _>(steps, 64, _mm256_setzero_si256(), |sum| {
        renew!(row in ymm_reg);
        let first = _mm256_maddubs_epi16(row, column);
        renew!(row in ymm_reg);
        let second = _mm256_maddubs_epi16(row, column);
        let pairs = _mm256_add_epi16(first, second);
        _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones))
    })
}

/// Like [`maddubs_pair_256`], with twice the width.
#[target_feature(enable = "avx512f,avx512bw")]
fn maddubs_pair_512(steps: u64) -> u64 {
    let mut row = _mm512_set1_epi8(black_box(1));
    let column = _mm512_set1_epi8(black_box(1));
    let ones = _mm512_set1_epi16(black_box(1));
    repeat::<SHORT_CHAINS, _>(steps, 128, _mm512_setzero_si512(), |sum| {
        renew!(row in zmm_reg);
        let first = _mm512_maddubs_epi16(row, column);
        renew!(row in zmm_reg);
        let second = _mm512_maddubs_epi16(row, column);
        let pairs = _mm512_add_epi16(first, second);
        _mm512_add_epi32(sum, _mm512_madd_epi16(pairs, ones))
    })
}

/// 64 byte products and their sums in one instruction.
#[target_feature(enable = "avx512f,avx512vnni")]
fn vpdpbusd_512(steps: u64) -> u64 {
    let mut row = _mm512_set1_epi32(black_box(0x0101_0101));
    let column = _mm512_set1_epi32(black_box(0x0101_0101));
    repeat::<CHAINS, _>(steps, 64, _mm512_setzero_si512(), |sum| {
        renew!(row in zmm_reg);
        _mm512_dpbusd_epi32(sum, row, column)
    })
}

/// Eight 16-bit products, added in pairs and then to the sum: the byte product of the baseline.
#[target_feature(enable = "sse2")]
fn madd_128(steps: u64) -> u64 {
    let mut row = _mm_set1_epi16(black_box(1));
    let column = _mm_set1_epi16(black_box(1));
    repeat::<CHAINS, _>(steps, 8, _mm_setzero_si128(), |sum| {
        renew!(row in xmm_reg);
        _mm_add_epi32(sum, _mm_madd_epi16(row, column))
    })
}
