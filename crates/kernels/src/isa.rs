//! Which instruction set the kernels use: the only place that looks at the CPU.

use std::fmt;

use pulp::{Scalar128b, Simd, WithSimd};

use crate::gemm::MatMul;
use crate::int8::{self, ByteMatMul, ByteTile};
use crate::linear::Precision;

/// An instruction set that this CPU supports. Holding the value is the proof: it can only be had
/// from [`Isa::best`] and [`Isa::available`], which ask the CPU.
#[derive(Clone, Copy)]
pub struct Isa(Kind);

#[derive(Clone, Copy)]
enum Kind {
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni(pulp::x86::V4),
    #[cfg(target_arch = "x86_64")]
    Avx512(pulp::x86::V4),
    #[cfg(target_arch = "x86_64")]
    Avx2(pulp::x86::V3),
    Portable,
}

/// The register tile of the matrix product: so many rows of the left matrix and columns of the
/// packed right matrix are computed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TileShape {
    /// Rows of the tile.
    pub rows: usize,
    /// Columns of the tile, in elements; the width of a packed panel.
    pub columns: usize,
    /// Elements of one SIMD register; packed panels are padded to a multiple of it.
    pub lanes: usize,
}

/// The ranges of quantized numbers: activations from 0, weights on both sides of 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ByteRange {
    pub(crate) activation: u8,
    pub(crate) weight: i8,
}

impl Isa {
    /// The fastest instruction set that this CPU supports.
    pub fn best() -> Isa {
        Isa::available()[0]
    }

    /// Every instruction set that this CPU supports, fastest first; the last one, `portable`,
    /// works on every CPU.
    pub fn available() -> Vec<Isa> {
        let mut found = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if let Some(simd) = pulp::x86::V4::try_new() {
                if std::arch::is_x86_feature_detected!("avx512vnni") {
                    found.push(Isa(Kind::Avx512Vnni(simd)));
                }
                found.push(Isa(Kind::Avx512(simd)));
            }
            found.extend(pulp::x86::V3::try_new().map(|simd| Isa(Kind::Avx2(simd))));
        }
        found.push(Isa(Kind::Portable));
        found
    }

    /// The name for reports: `avx512-vnni`, `avx512`, `avx2` or `portable`.
    pub fn name(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512Vnni(_) => "avx512-vnni",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(_) => "avx512",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(_) => "avx2",
            Kind::Portable => "portable",
        }
    }

    /// The instruction set of this name, if the CPU supports it.
    pub fn named(name: &str) -> Option<Isa> {
        Isa::available().into_iter().find(|isa| isa.name() == name)
    }

    /// Names of all instruction sets that there are kernels for, whether or not this CPU has them.
    pub const NAMES: [&str; 4] = ["avx512-vnni", "avx512", "avx2", "portable"];

    /// The order and range of packed weights: instruction sets with the same layout can read each
    /// other's.
    pub fn layout(self, precision: Precision) -> String {
        match precision {
            Precision::F32 => format!("f32x{}", self.tile().columns),
            Precision::Int8 => {
                let ByteRange { activation, weight } = self.byte_range();
                let ByteTile {
                    columns,
                    lanes,
                    step,
                    ..
                } = self.byte_tile();
                format!("u{activation}i{weight}x{columns}l{lanes}s{step}")
            }
        }
    }

    /// The register tile of the matrix product on this instruction set.
    pub fn tile(self) -> TileShape {
        let (rows, vectors, lanes) = match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512Vnni(_) | Kind::Avx512(_) => (8, 3, 16),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(_) => (6, 2, 8),
            Kind::Portable => (6, 2, 4),
        };
        TileShape {
            rows,
            columns: vectors * lanes,
            lanes,
        }
    }

    /// Runs the matrix product with the tile of [`Isa::tile`]: rows × vectors accumulators, which
    /// with the operands just fit the 32 (16 on AVX2 and SSE) vector registers.
    pub(crate) fn matmul(self, product: MatMul<'_>) {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512Vnni(simd) | Kind::Avx512(simd) => {
                Simd::vectorize(simd, product.tiled::<8, 3, true>())
            }
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(simd) => Simd::vectorize(simd, product.tiled::<6, 2, true>()),
            Kind::Portable => Simd::vectorize(Scalar128b, product.tiled::<6, 2, false>()),
        }
    }

    /// The register tile of the byte product, and the shape of its packed panels.
    pub(crate) fn byte_tile(self) -> ByteTile {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512Vnni(_) => int8::x86::AVX512_VNNI,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(_) => int8::x86::AVX512,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(_) => int8::x86::AVX2,
            Kind::Portable => int8::PORTABLE,
        }
    }

    /// The ranges of bytes whose products the instructions add exactly. `vpmaddubsw` adds two
    /// products in 16 bits, and the kernels add two of its sums before they widen:
    /// 4 · 127 · 63 = 32,004 still fits.
    pub(crate) fn byte_range(self) -> ByteRange {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(_) | Kind::Avx2(_) => ByteRange {
                activation: 127,
                weight: 63,
            },
            _ => ByteRange {
                activation: 255,
                weight: 127,
            },
        }
    }

    /// Runs the byte product with the tile of [`Isa::byte_tile`].
    pub(crate) fn byte_matmul(self, product: ByteMatMul<'_>) {
        // SAFETY: the value proves that the CPU has the instruction set.
        unsafe {
            match self.0 {
                #[cfg(target_arch = "x86_64")]
                Kind::Avx512Vnni(_) => int8::x86::avx512_vnni(product),
                #[cfg(target_arch = "x86_64")]
                Kind::Avx512(_) => int8::x86::avx512(product),
                #[cfg(target_arch = "x86_64")]
                Kind::Avx2(_) => int8::x86::avx2(product),
                Kind::Portable => int8::portable(product),
            }
        }
    }

    /// Runs `work` compiled for this instruction set, so that its plain loops use its registers.
    /// `work` and all that it calls must be `#[inline(always)]`.
    #[inline(always)]
    pub(crate) fn run<W: Work>(self, work: W) {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512Vnni(simd) | Kind::Avx512(simd) => {
                Simd::vectorize(simd, Loops::<W, true>(work))
            }
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(simd) => Simd::vectorize(simd, Loops::<W, true>(work)),
            Kind::Portable => Simd::vectorize(Scalar128b, Loops::<W, false>(work)),
        }
    }
}

impl fmt::Debug for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Loops over slices: plain ones, which the compiler vectorizes once it knows the instruction set,
/// and reductions, for which it needs to be told the instructions.
pub(crate) trait Work {
    /// `FUSED` says whether the CPU multiplies and adds in one instruction; see [`fma`].
    fn run<S: Simd, const FUSED: bool>(self, simd: S);
}

struct Loops<W, const FUSED: bool>(W);

impl<W: Work, const FUSED: bool> WithSimd for Loops<W, FUSED> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        self.0.run::<S, FUSED>(simd);
    }
}

/// `a · b + c`, in one instruction where the CPU has it; where it does not, emulating that
/// instruction's single rounding would be many times slower than a product and a sum.
#[inline(always)]
pub(crate) fn fma<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PackedWeights;

    #[test]
    fn every_instruction_set_has_a_name_that_finds_it() {
        let available = Isa::available();
        println!("available: {available:?}");
        for isa in &available {
            assert!(Isa::NAMES.contains(&isa.name()), "{isa:?}");
            assert_eq!(Isa::named(isa.name()).map(Isa::name), Some(isa.name()));
            assert_eq!(format!("{isa:?}"), isa.name());
        }
        assert_eq!(Isa::best().name(), available[0].name());
        assert_eq!(available[available.len() - 1].name(), "portable");
        // Fastest first, as the list of all names is.
        let places = available
            .iter()
            .map(|isa| Isa::NAMES.iter().position(|name| *name == isa.name()));
        assert!(places.is_sorted());
    }

    #[test]
    fn unknown_names_find_nothing() {
        for name in ["", "AVX2", "avx", "sse2", "neon", "portable "] {
            assert!(Isa::named(name).is_none(), "{name}");
        }
    }

    #[test]
    fn equal_layouts_are_packed_to_equal_bytes() {
        let (outputs, inputs) = (101, 37);
        let weight: Vec<f32> = (0..outputs * inputs)
            .map(|i| (i * 7919 % 1009) as f32 / 504.5 - 1.0)
            .collect();
        let parts = |isa, precision| -> Vec<Vec<u8>> {
            match PackedWeights::pack(isa, precision, &weight, outputs, inputs) {
                PackedWeights::F32 { panels } => vec![panels.bytes().to_vec()],
                PackedWeights::Int8 {
                    panels,
                    scales,
                    sums,
                } => vec![
                    panels.bytes().to_vec(),
                    scales.bytes().to_vec(),
                    sums.bytes().to_vec(),
                ],
            }
        };
        for precision in [Precision::F32, Precision::Int8] {
            for one in Isa::available() {
                for other in Isa::available() {
                    let same = one.layout(precision) == other.layout(precision);
                    assert_eq!(
                        parts(one, precision) == parts(other, precision),
                        same,
                        "{one:?} and {other:?}: {} and {}",
                        one.layout(precision),
                        other.layout(precision)
                    );
                }
            }
        }
    }
}
