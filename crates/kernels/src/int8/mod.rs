//! Matrix product of bytes: `u8` rows times packed `i8` columns, summed exactly in `i32`.
//!
//! The packed matrix is cut into panels as wide as the register tile, as for `f32`; but a step of
//! the depth is four (or eight) elements, since the CPU's instructions multiply four neighbouring
//! bytes and add the products. Within a step, each column's four bytes stand side by side.
//!
//! Integer sums are exact, so nothing here can depend on how rows are grouped.

mod dot;
mod pack;
mod tile;
#[cfg(target_arch = "x86_64")]
pub(crate) mod x86;

use crate::target::Target;

pub(crate) use dot::ByteTile;
pub(crate) use pack::{Column, pack_row, packed_len};
pub(crate) use tile::{ByteMatMul, Zeros};

/// The target's own instructions, which every CPU has.
#[cfg(target_arch = "x86_64")]
type Baseline = x86::Sse2;
#[cfg(not(target_arch = "x86_64"))]
type Baseline = dot::Portable;

const _: () = ByteTile::of::<Baseline>(4, 2).must_be_that_of(Target::Portable);

pub(crate) fn portable(matmul: ByteMatMul<'_>) {
    // SAFETY: every CPU has the target's own instructions.
    unsafe { tile::product::<Baseline, 4, 2>(matmul) }
}

/// Depths are padded with zeros to a multiple of this, whatever the instruction set's step.
pub(crate) const DEPTH_STEP: usize = 8;

#[cfg(test)]
mod tests;
