//! Matrix product of bytes: `u8` rows times packed `i8` columns, summed exactly in `i32`.
//!
//! The packed matrix is split into panels as wide as the register tile, as for `f32`. A step of the
//! depth is four or eight elements, because the CPU's instructions multiply four adjacent bytes and
//! add the products. Within a step, each group of four bytes of a column is contiguous.
//!
//! Integer sums are exact, so no result depends on how rows are grouped into tiles.

mod dot;
mod pack;
mod tile;
#[cfg(target_arch = "x86_64")]
pub(crate) mod x86;

use crate::target::{Target, TileShape};

pub(crate) use pack::{Column, pack_row, packed_len};
pub(crate) use tile::{ByteMatMul, ZeroPoints};

/// The kernel for the baseline of the architecture.
#[cfg(target_arch = "x86_64")]
type Baseline = x86::Sse2;
#[cfg(not(target_arch = "x86_64"))]
type Baseline = dot::Portable;

const _: () = TileShape::of::<Baseline>(4, 2).assert_matches(Target::Portable);

/// Runs the product on the baseline of the architecture.
pub(crate) fn portable(matmul: ByteMatMul<'_>) {
    // SAFETY: every CPU of the architecture supports the baseline.
    unsafe { tile::product::<Baseline, 4, 2>(matmul) }
}

/// Depths are padded with zeros to a multiple of this, for every instruction set.
pub(crate) const DEPTH_STEP: usize = 8;

#[cfg(test)]
mod tests;
