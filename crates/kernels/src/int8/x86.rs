//! The byte product on SSE2, AVX2, AVX-512 and AVX-512 VNNI.

use std::arch::x86_64::*;

use super::dot::Dot;
use super::tile::{ByteMatMul, product};
use crate::target::{Target, TileShape};

/// AVX-512 VNNI: `vpdpbusd` multiplies 64 pairs of bytes and adds the products to 16 sums, exactly.
struct Avx512Vnni;

// SAFETY: the functions use only AVX-512 F, BW and VNNI, which the caller guarantees, and access
// memory only within the sizes given by the trait.
unsafe impl Dot for Avx512Vnni {
    type Sums = __m512i;
    type Floats = __m512;
    type Operand = __m512i;
    const LANES: usize = 16;
    const STEP: usize = 4;

    #[inline(always)]
    unsafe fn start(zero: i32, sums: *const i32) -> __m512i {
        // SAFETY: guaranteed by the caller, as the trait requires.
        unsafe {
            let sums = _mm512_loadu_si512(sums.cast());
            let product = _mm512_mullo_epi32(_mm512_set1_epi32(zero), sums);
            _mm512_sub_epi32(_mm512_setzero_si512(), product)
        }
    }

    #[inline(always)]
    unsafe fn broadcast(row: *const u8) -> __m512i {
        // SAFETY: guaranteed by the caller, as the trait requires.
        unsafe { _mm512_set1_epi32(row.cast::<i32>().read_unaligned()) }
    }

    #[inline(always)]
    unsafe fn dot(sum: __m512i, row: __m512i, columns: __m512i) -> __m512i {
        // SAFETY: guaranteed by the caller, as the trait requires.
        unsafe { _mm512_dpbusd_epi32(sum, row, columns) }
    }

    #[inline(always)]
    unsafe fn finish(sum: __m512i, row_scale: f32, scales: __m512, bias: __m512, y: *mut f32) {
        // SAFETY: guaranteed by the caller, as the trait requires.
        unsafe {
            let sum = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_set1_ps(row_scale));
            let result = _mm512_fmadd_ps(sum, scales, bias);
            _mm512_storeu_ps(y, result);
        }
    }
}

/// AVX-512 without VNNI: two `vpmaddubsw` produce sums of two products in 16 bits, which are added
/// before one `vpmaddwd` widens them. Four products of 7-bit numbers fit in 16 bits.
struct Avx512;

// SAFETY: the functions use only AVX-512 F and BW, which the caller guarantees, and access memory
// only within the sizes given by the trait.
unsafe impl Dot for Avx512 {
    type Sums = __m512i;
    type Floats = __m512;
    type Operand = [__m512i; 2];
    const LANES: usize = 16;
    const STEP: usize = 8;

    #[inline(always)]
    unsafe fn start(zero: i32, sums: *const i32) -> __m512i {
        // SAFETY: guaranteed by the caller, as the trait requires; it uses only AVX-512 F.
        unsafe { Avx512Vnni::start(zero, sums) }
    }

    #[inline(always)]
    unsafe fn broadcast(row: *const u8) -> [__m512i; 2] {
        // SAFETY: guaranteed by the caller, as the trait requires.
        unsafe {
            [
                _mm512_set1_epi32(row.cast::<i32>().read_unaligned()),
                _mm512_set1_epi32(row.add(4).cast::<i32>().read_unaligned()),
            ]
        }
    }

    #[inline(always)]
    unsafe fn dot(sum: __m512i, row: [__m512i; 2], columns: [__m512i; 2]) -> __m512i {
        // SAFETY: guaranteed by the caller, as the trait requires.
        unsafe {
            let first = _mm512_maddubs_epi16(row[0], columns[0]);
            let second = _mm512_maddubs_epi16(row[1], columns[1]);
            let pairs = _mm512_add_epi16(first, second);
            _mm512_add_epi32(sum, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)))
        }
    }

    #[inline(always)]
    unsafe fn finish(sum: __m512i, row_scale: f32, scales: __m512, bias: __m512, y: *mut f32) {
        // SAFETY: guaranteed by the caller, as the trait requires; it uses only AVX-512 F.
        unsafe { Avx512Vnni::finish(sum, row_scale, scales, bias, y) }
    }
}

/// AVX2: like [`Avx512`], with half the width.
struct Avx2;

// SAFETY: the functions use only AVX2 and FMA, which the caller guarantees, and access memory only
// within the sizes given by the trait.
unsafe impl Dot for Avx2 {
    type Sums = __m256i;
    type Floats = __m256;
    type Operand = [__m256i; 2];
    const LANES: usize = 8;
    const STEP: usize = 8;

    #[inline(always)]
    unsafe fn start(zero: i32, sums: *const i32) -> __m256i {
        // SAFETY: guaranteed by the caller, as the trait requires.
        unsafe {
            let sums = _mm256_loadu_si256(sums.cast());
            let product = _mm256_mullo_epi32(_mm256_set1_epi32(zero), sums);
            _mm256_sub_epi32(_mm256_setzero_si256(), product)
        }
    }

    #[inline(always)]
    unsafe fn broadcast(row: *const u8) -> [__m256i; 2] {
        // SAFETY: guaranteed by the caller, as the trait requires.
        unsafe {
            [
                _mm256_set1_epi32(row.cast::<i32>().read_unaligned()),
                _mm256_set1_epi32(row.add(4).cast::<i32>().read_unaligned()),
            ]
        }
    }

    #[inline(always)]
    unsafe fn dot(sum: __m256i, row: [__m256i; 2], columns: [__m256i; 2]) -> __m256i {
        // SAFETY: guaranteed by the caller, as the trait requires.
        unsafe {
            let first = _mm256_maddubs_epi16(row[0], columns[0]);
            let second = _mm256_maddubs_epi16(row[1], columns[1]);
            let pairs = _mm256_add_epi16(first, second);
            _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
        }
    }

    #[inline(always)]
    unsafe fn finish(sum: __m256i, row_scale: f32, scales: __m256, bias: __m256, y: *mut f32) {
        // SAFETY: guaranteed by the caller, as the trait requires.
        unsafe {
            let sum = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), _mm256_set1_ps(row_scale));
            let result = _mm256_fmadd_ps(sum, scales, bias);
            _mm256_storeu_ps(y, result);
        }
    }
}

/// SSE2, which every x86-64 CPU supports: bytes are widened to 16 bits, then `pmaddwd` multiplies
/// them and adds adjacent products exactly. The rows of a tile share the widened columns.
pub(super) struct Sse2;

// SAFETY: the functions use only SSE2 and access memory only within the sizes given by the trait.
unsafe impl Dot for Sse2 {
    type Sums = __m128i;
    type Floats = __m128;
    /// The first two and the last two of each column's four elements.
    type Operand = [__m128i; 2];
    const LANES: usize = 4;
    const STEP: usize = 4;

    #[inline(always)]
    unsafe fn start(zero: i32, sums: *const i32) -> __m128i {
        // SAFETY: the caller guarantees four integers.
        unsafe {
            let sums = sums.cast::<[i32; 4]>().read_unaligned();
            // SSE2 has no product of 32-bit lanes. This is outside the inner loop.
            let [a, b, c, d] = sums.map(|sum| sum.wrapping_mul(zero).wrapping_neg());
            _mm_set_epi32(d, c, b, a)
        }
    }

    #[inline(always)]
    unsafe fn load(panel: *const i8) -> [__m128i; 2] {
        // SAFETY: the caller guarantees 16 bytes.
        unsafe {
            let bytes = _mm_loadu_si128(panel.cast());
            // The arithmetic shift extends the sign of the byte in the upper half of 16 bits.
            let low = _mm_srai_epi16::<8>(_mm_unpacklo_epi8(bytes, bytes));
            let high = _mm_srai_epi16::<8>(_mm_unpackhi_epi8(bytes, bytes));
            let (low, high) = (_mm_castsi128_ps(low), _mm_castsi128_ps(high));
            [
                _mm_castps_si128(_mm_shuffle_ps::<0b10_00_10_00>(low, high)),
                _mm_castps_si128(_mm_shuffle_ps::<0b11_01_11_01>(low, high)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn broadcast(row: *const u8) -> [__m128i; 2] {
        // SAFETY: the caller guarantees 4 bytes.
        unsafe {
            let four = _mm_cvtsi32_si128(row.cast::<i32>().read_unaligned());
            let four = _mm_unpacklo_epi8(four, _mm_setzero_si128());
            [
                _mm_shuffle_epi32::<0b00_00_00_00>(four),
                _mm_shuffle_epi32::<0b01_01_01_01>(four),
            ]
        }
    }

    #[inline(always)]
    unsafe fn dot(sum: __m128i, row: [__m128i; 2], columns: [__m128i; 2]) -> __m128i {
        // SAFETY: guaranteed by the caller, as the trait requires.
        unsafe {
            let sum = _mm_add_epi32(sum, _mm_madd_epi16(row[0], columns[0]));
            _mm_add_epi32(sum, _mm_madd_epi16(row[1], columns[1]))
        }
    }

    #[inline(always)]
    unsafe fn finish(sum: __m128i, row_scale: f32, scales: __m128, bias: __m128, y: *mut f32) {
        // SAFETY: guaranteed by the caller, as the trait requires.
        unsafe {
            let sum = _mm_mul_ps(_mm_cvtepi32_ps(sum), _mm_set1_ps(row_scale));
            let result = _mm_add_ps(_mm_mul_ps(sum, scales), bias);
            _mm_storeu_ps(y, result);
        }
    }
}

/// Defines the product on an instruction set, with the tile of its target.
macro_rules! instruction_set {
    ($name:ident, $dot:ident, $features:literal, $rows:literal x $vectors:literal) => {
        const _: () = TileShape::of::<$dot>($rows, $vectors).assert_matches(Target::$dot);

        /// # Safety
        /// The CPU must support these features.
        #[target_feature(enable = $features)]
        pub(crate) unsafe fn $name(matmul: ByteMatMul<'_>) {
            // SAFETY: the caller guarantees the features, which this function is compiled for.
            unsafe { product::<$dot, $rows, $vectors>(matmul) }
        }
    };
}

// The sums of a tile, the operands and one or two scratch registers just fit in the 32 (AVX2: 16)
// registers.
instruction_set!(avx512_vnni, Avx512Vnni, "avx512f,avx512bw,avx512vnni", 8 x 3);
instruction_set!(avx512, Avx512, "avx512f,avx512bw", 8 x 2);
instruction_set!(avx2, Avx2, "avx2,fma", 4 x 2);
