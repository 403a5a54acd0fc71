//! Matrix product of `f32` with a packed right-hand matrix.
//!
//! The right-hand matrix is split into panels as wide as the register tile. A panel stores its rows
//! consecutively, so that the inner loop reads it sequentially. The left-hand matrix is read in
//! place. A tile of the result stays in registers for the whole depth: no partial sum is stored in
//! memory, and every element is one chain `fma(a[k], b[k], sum)` with `k` ascending, starting from
//! the bias. The chain is the same in a full tile, in the last rows and in the last columns, so a
//! row's result does not depend on its neighbours.

use pulp::{Simd, WithSimd};

use crate::prefetch::prefetch;
use crate::rows::Rows;
use crate::target::Target;

/// The number of columns of a packed matrix: `columns` rounded up to full registers.
pub(crate) fn padded_columns(target: Target, columns: usize) -> usize {
    columns.next_multiple_of(target.tile().lanes)
}

/// Packs the transpose of `source` (`columns` rows of `depth` elements) into `panels`, which must
/// hold `padded_columns × depth` elements: row `c` of the source becomes column `c` of the packed
/// matrix. Padding is overwritten with zeros.
pub(crate) fn pack_rows(
    target: Target,
    source: Rows<'_>,
    columns: usize,
    depth: usize,
    panels: &mut [f32],
) {
    for (first, width, panel) in panels_of(target, columns, depth, panels) {
        for c in 0..width {
            if first + c < columns {
                for (k, &value) in source.row(first + c, depth).iter().enumerate() {
                    panel[k * width + c] = value;
                }
            } else {
                for k in 0..depth {
                    panel[k * width + c] = 0.0;
                }
            }
        }
    }
}

/// Packs `source` (`depth` rows of `columns` elements) into `panels`, which must hold
/// `padded_columns × depth` elements. Padding is overwritten with zeros.
pub(crate) fn pack_columns(
    target: Target,
    source: Rows<'_>,
    columns: usize,
    depth: usize,
    panels: &mut [f32],
) {
    for (first, width, panel) in panels_of(target, columns, depth, panels) {
        let used = width.min(columns - first);
        for (k, packed) in panel.chunks_exact_mut(width).enumerate() {
            packed[..used].copy_from_slice(&source.row(k, columns)[first..][..used]);
            packed[used..].fill(0.0);
        }
    }
}

/// The panels of a packed matrix as (first column, width, elements). All are as wide as the tile,
/// except the last, which has only the remaining columns, rounded up to full registers.
fn panels_of(
    target: Target,
    columns: usize,
    depth: usize,
    panels: &mut [f32],
) -> impl Iterator<Item = (usize, usize, &mut [f32])> {
    let tile = target.tile().columns;
    let padded = padded_columns(target, columns);
    panels[..padded * depth]
        .chunks_mut((tile * depth).max(1))
        .enumerate()
        .map(move |(index, panel)| {
            let first = index * tile;
            (first, tile.min(padded - first), panel)
        })
}

/// One matrix product: `y = a · b + bias`, with `b` packed.
pub(crate) struct MatMul<'a> {
    /// `[rows, depth]`, rows `a_stride` apart.
    pub(crate) a: &'a [f32],
    pub(crate) a_stride: usize,
    pub(crate) rows: usize,
    pub(crate) depth: usize,
    /// `b`, `[depth, columns]`, packed for the target of the instruction set.
    pub(crate) panels: &'a [f32],
    pub(crate) columns: usize,
    /// `[padded columns]`; zeros if `None`.
    pub(crate) bias: Option<&'a [f32]>,
    /// `[rows, columns]`, rows `y_stride` apart.
    pub(crate) y: &'a mut [f32],
    pub(crate) y_stride: usize,
}

/// A product computed in tiles of `MR` rows and `NV` registers of columns. `FUSED` is whether the
/// CPU has a fused multiply-add; see [`fma`](crate::isa::fma).
pub(crate) struct Tiled<'a, const MR: usize, const NV: usize, const FUSED: bool>(
    pub(crate) MatMul<'a>,
);

impl<const MR: usize, const NV: usize, const FUSED: bool> WithSimd for Tiled<'_, MR, NV, FUSED> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let mut product = self.0;
        if product.rows == 0 || product.columns == 0 {
            return;
        }
        let width = NV * S::F32_LANES;
        let panels = product.panels;
        for first in (0..product.columns).step_by(width) {
            let panel = &panels[first * product.depth..];
            let vectors = (product.columns - first).div_ceil(S::F32_LANES).min(NV);
            match vectors {
                1 => panel_rows::<S, MR, 1, FUSED>(simd, &mut product, first, panel),
                2 if NV >= 2 => panel_rows::<S, MR, 2, FUSED>(simd, &mut product, first, panel),
                3 if NV >= 3 => panel_rows::<S, MR, 3, FUSED>(simd, &mut product, first, panel),
                4 if NV >= 4 => panel_rows::<S, MR, 4, FUSED>(simd, &mut product, first, panel),
                _ => unreachable!("a tile is at most four registers wide"),
            }
        }
    }
}

/// Multiplies all rows by one panel, which stays in the L2 cache.
#[inline(always)]
fn panel_rows<S: Simd, const MR: usize, const NV: usize, const FUSED: bool>(
    simd: S,
    product: &mut MatMul<'_>,
    first: usize,
    panel: &[f32],
) {
    let width = NV * S::F32_LANES;
    let used = width.min(product.columns - first);
    // Each tile prefetches a share of the next panel.
    let (ahead, tiles) = (panel, product.rows.div_ceil(MR));
    let share = width * size_of::<f32>() / tiles;
    let mut next = product.depth * width * size_of::<f32>();
    let (panel, _) = S::as_simd_f32s(&panel[..product.depth * width]);
    let (panel, _) = panel.as_chunks::<NV>();
    let mut bias = [simd.splat_f32s(0.0); NV];
    if let Some(values) = product.bias {
        bias.copy_from_slice(S::as_simd_f32s(&values[first..][..width]).0);
    }
    let mut row = 0;
    while row < product.rows {
        let rows = MR.min(product.rows - row);
        let a = &product.a[row * product.a_stride..];
        let y = &mut product.y[row * product.y_stride + first..];
        let (a_stride, y_stride) = (product.a_stride, product.y_stride);
        macro_rules! rows {
            ($count:literal) => {
                tile::<S, $count, NV, FUSED>(
                    simd,
                    a,
                    a_stride,
                    panel,
                    &bias,
                    y,
                    y_stride,
                    used,
                    (ahead, next, share),
                )
            };
        }
        match rows {
            1 => rows!(1),
            2 => rows!(2),
            3 => rows!(3),
            4 => rows!(4),
            5 => rows!(5),
            6 => rows!(6),
            7 if MR >= 7 => rows!(7),
            8 if MR >= 8 => rows!(8),
            _ => unreachable!("a tile is at most eight rows high"),
        }
        next += product.depth * share;
        row += rows;
    }
}

/// One register tile: `M` rows of `a` times a panel.
///
/// `ahead` is prefetched from the byte offset `next`, `share` bytes per element of the depth.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
// The compiler unrolls loops over constant ranges completely. With iterators it would keep the sums
// of large tiles in memory instead of registers.
#[allow(clippy::needless_range_loop)]
fn tile<S: Simd, const M: usize, const NV: usize, const FUSED: bool>(
    simd: S,
    a: &[f32],
    a_stride: usize,
    panel: &[[S::f32s; NV]],
    bias: &[S::f32s; NV],
    y: &mut [f32],
    y_stride: usize,
    used: usize,
    (ahead, next, share): (&[f32], usize, usize),
) {
    let depth = panel.len();
    let rows: [&[f32]; M] = std::array::from_fn(|r| &a[r * a_stride..][..depth]);
    let mut sums = [*bias; M];
    for k in 0..depth {
        let b = panel[k];
        prefetch(ahead, next + k * share);
        for r in 0..M {
            let value = simd.splat_f32s(rows[r][k]);
            for v in 0..NV {
                sums[r][v] = if FUSED {
                    simd.mul_add_e_f32s(value, b[v], sums[r][v])
                } else {
                    simd.add_f32s(simd.mul_f32s(value, b[v]), sums[r][v])
                };
            }
        }
    }
    if used == NV * S::F32_LANES {
        for r in 0..M {
            let (y, _) = S::as_mut_simd_f32s(&mut y[r * y_stride..][..used]);
            y[..NV].copy_from_slice(&sums[r]);
        }
    } else {
        for r in 0..M {
            // Without this copy, the index known only at run time would keep all sums in memory.
            let row = sums[r];
            let (full, rest) = S::as_mut_simd_f32s(&mut y[r * y_stride..][..used]);
            let count = full.len();
            full.copy_from_slice(&row[..count]);
            if !rest.is_empty() {
                simd.partial_store_f32s(rest, row[count]);
            }
        }
    }
}
