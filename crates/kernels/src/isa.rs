//! Which instruction set the kernels use: the only place that looks at the CPU.

use std::fmt;

use pulp::{Scalar128b, Simd, WithSimd};

use crate::gemm::MatMul;

/// An instruction set that this CPU supports. Holding the value is the proof: it can only be had
/// from [`Isa::best`] and [`Isa::available`], which ask the CPU.
#[derive(Clone, Copy)]
pub struct Isa(Kind);

#[derive(Clone, Copy)]
enum Kind {
    #[cfg(target_arch = "x86_64")]
    Avx512(pulp::x86::V4),
    #[cfg(target_arch = "x86_64")]
    Avx2(pulp::x86::V3),
    #[cfg(target_arch = "aarch64")]
    Neon(pulp::aarch64::Neon),
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
            found.extend(pulp::x86::V4::try_new().map(|simd| Isa(Kind::Avx512(simd))));
            found.extend(pulp::x86::V3::try_new().map(|simd| Isa(Kind::Avx2(simd))));
        }
        #[cfg(target_arch = "aarch64")]
        found.extend(pulp::aarch64::Neon::try_new().map(|simd| Isa(Kind::Neon(simd))));
        found.push(Isa(Kind::Portable));
        found
    }

    /// The name for reports: `avx512f`, `avx2+fma`, `neon` or `portable`.
    pub fn name(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(_) => "avx512f",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(_) => "avx2+fma",
            #[cfg(target_arch = "aarch64")]
            Kind::Neon(_) => "neon",
            Kind::Portable => "portable",
        }
    }

    /// The register tile of the matrix product on this instruction set.
    pub fn tile(self) -> TileShape {
        let (rows, vectors, lanes) = match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(_) => (8, 3, 16),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(_) => (6, 2, 8),
            #[cfg(target_arch = "aarch64")]
            Kind::Neon(_) => (6, 4, 4),
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
            Kind::Avx512(simd) => Simd::vectorize(simd, product.tiled::<8, 3, true>()),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(simd) => Simd::vectorize(simd, product.tiled::<6, 2, true>()),
            #[cfg(target_arch = "aarch64")]
            Kind::Neon(simd) => Simd::vectorize(simd, product.tiled::<6, 4, true>()),
            Kind::Portable => Simd::vectorize(Scalar128b, product.tiled::<6, 2, false>()),
        }
    }

    /// Runs `work` compiled for this instruction set, so that its plain loops use its registers.
    /// `work` and all that it calls must be `#[inline(always)]`.
    #[inline(always)]
    pub(crate) fn run<W: Work>(self, work: W) {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(simd) => Simd::vectorize(simd, Loops(work)),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(simd) => Simd::vectorize(simd, Loops(work)),
            #[cfg(target_arch = "aarch64")]
            Kind::Neon(simd) => Simd::vectorize(simd, Loops(work)),
            Kind::Portable => work.run(),
        }
    }
}

impl fmt::Debug for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Plain loops over slices that the compiler vectorizes once it knows the instruction set.
pub(crate) trait Work {
    fn run(self);
}

struct Loops<W>(W);

impl<W: Work> WithSimd for Loops<W> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        self.0.run();
    }
}
