//! Selects the instruction set of the kernels. Apart from [`peak`](crate::peak), only this module
//! queries the CPU's features.

use std::fmt;

use pulp::{Scalar128b, Simd, WithSimd};

use crate::gemm::{MatMul, Tiled};
use crate::int8::{self, ByteMatMul};
use crate::target::Target;

/// An instruction set that this CPU supports. The value is the proof of support: only functions
/// that query the CPU create one. [`Target`] describes the same instruction set without that proof.
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

impl Isa {
    /// The fastest instruction set that this CPU supports.
    pub fn best() -> Isa {
        Isa::available()[0]
    }

    /// Every instruction set that this CPU supports, fastest first. The last one, `portable`, works
    /// on every CPU.
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

    /// The instruction set without the proof of support, for packing weights.
    pub fn target(self) -> Target {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512Vnni(_) => Target::Avx512Vnni,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(_) => Target::Avx512,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(_) => Target::Avx2,
            Kind::Portable => Target::Portable,
        }
    }

    /// The instruction set of `target`, if this CPU supports it.
    pub fn of(target: Target) -> Option<Isa> {
        Isa::available()
            .into_iter()
            .find(|isa| isa.target() == target)
    }

    /// The instruction set with this name, if this CPU supports it.
    pub fn named(name: &str) -> Option<Isa> {
        Isa::of(Target::named(name)?)
    }

    /// [`Target::name`]
    pub fn name(self) -> &'static str {
        self.target().name()
    }

    /// Runs the matrix product with the tile of [`Target::tile`]. Its accumulators (rows × vectors)
    /// and the operands just fit in the 32 (AVX2 and SSE: 16) vector registers.
    pub(crate) fn matmul(self, product: MatMul<'_>) {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512Vnni(simd) | Kind::Avx512(simd) => {
                Simd::vectorize(simd, Tiled::<8, 3, true>(product))
            }
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(simd) => Simd::vectorize(simd, Tiled::<6, 2, true>(product)),
            Kind::Portable => Simd::vectorize(Scalar128b, Tiled::<6, 2, false>(product)),
        }
    }

    /// Runs the byte product with the tile of [`Target::byte_tile`].
    pub(crate) fn byte_matmul(self, product: ByteMatMul<'_>) {
        // SAFETY: the value proves that the CPU supports the instruction set.
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

    /// Runs `work` compiled for this instruction set, so that the compiler vectorizes its plain
    /// loops. `work` and everything it calls must be `#[inline(always)]`.
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

/// Computations on slices: plain loops, which the compiler vectorizes for the instruction set, and
/// reductions, which use explicit SIMD.
pub(crate) trait Work {
    /// `FUSED` is whether the CPU has a fused multiply-add; see [`fma`].
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

/// `a · b + c`, fused if the CPU supports it. Emulating a fused multiply-add in software would be
/// many times slower than a product and a sum.
#[inline(always)]
pub(crate) fn fma<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_instruction_set_is_found_by_its_name() {
        let available = Isa::available();
        println!("available: {available:?}");
        for isa in &available {
            assert_eq!(Isa::named(isa.name()).map(Isa::name), Some(isa.name()));
            assert_eq!(format!("{isa:?}"), isa.name());
        }
        assert_eq!(Isa::best().name(), available[0].name());
        assert_eq!(available[available.len() - 1].name(), "portable");
        assert!(Isa::named("neon").is_none());
        // Fastest first, like the list of all targets.
        let positions = available.iter().map(|isa| {
            Target::ALL
                .iter()
                .position(|target| *target == isa.target())
        });
        assert!(positions.is_sorted());
    }
}
