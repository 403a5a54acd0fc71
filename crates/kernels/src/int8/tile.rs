//! The byte product, generic over the instruction set.

use super::dot::Dot;
use crate::prefetch::prefetch;
use crate::target::{Target, TileShape};

/// One byte product:
/// `y[r, c] = row_scales[r] · scales[c] · Σₖ (a[r, k] − zeros[r]) · b[k, c] + bias[c]`.
pub(crate) struct ByteMatMul<'a> {
    pub(crate) rows: usize,
    /// `[rows, depth]`, rows `a_stride` apart. Columns between the true depth and `depth` have no
    /// effect, because the packed matrix is zero there.
    pub(crate) a: &'a [u8],
    pub(crate) a_stride: usize,
    /// `[rows]`: the scale of each row.
    pub(crate) row_scales: &'a [f32],
    pub(crate) zeros: ZeroPoints<'a>,
    /// A multiple of [`DEPTH_STEP`](super::DEPTH_STEP).
    pub(crate) depth: usize,
    /// The right-hand matrix, packed for the same instruction set.
    pub(crate) panels: &'a [i8],
    pub(crate) columns: usize,
    /// `[padded columns]`: the scale of each column.
    pub(crate) scales: &'a [f32],
    /// `[padded columns]`: the sum of the column's elements.
    pub(crate) sums: &'a [i32],
    /// `[padded columns]`
    pub(crate) bias: &'a [f32],
    /// `[rows, columns]`, rows `y_stride` apart.
    pub(crate) y: &'a mut [f32],
    pub(crate) y_stride: usize,
}

/// The zero points of the rows.
#[derive(Clone, Copy)]
pub(crate) enum ZeroPoints<'a> {
    /// The same for all rows.
    Same(i32),
    /// `[rows]`: one per row.
    Rows(&'a [i32]),
}

/// Columns of the widest register.
const WIDEST: usize = 16;

impl TileShape {
    /// A tile of `rows` rows and `vectors` registers of columns.
    pub(crate) const fn of<D: Dot>(rows: usize, vectors: usize) -> TileShape {
        TileShape {
            rows,
            columns: vectors * D::LANES,
            lanes: D::LANES,
            step: D::STEP,
        }
    }

    /// Panics, at compile time, unless this is the tile of `target`: weights are packed for the
    /// target and read by the tile.
    pub(crate) const fn assert_matches(self, target: Target) {
        let expected = target.byte_tile();
        assert!(
            self.rows == expected.rows
                && self.columns == expected.columns
                && self.lanes == expected.lanes
                && self.step == expected.step
        );
    }
}

/// Computes the product in tiles of `MR` rows and `NV` registers of columns.
///
/// # Panics
/// If a slice is shorter than its shape.
///
/// # Safety
/// The CPU must support the instruction set of `D`, and the caller must be compiled for it.
#[inline(always)]
pub(crate) unsafe fn product<D: Dot, const MR: usize, const NV: usize>(matmul: ByteMatMul<'_>) {
    const { assert!(MR <= 8 && NV <= 3 && D::LANES <= WIDEST) };
    if matmul.rows == 0 || matmul.columns == 0 {
        return;
    }
    matmul.check::<D>();
    let mut matmul = matmul;
    for first in (0..matmul.columns).step_by(NV * D::LANES) {
        let vectors = (matmul.columns - first).div_ceil(D::LANES).min(NV);
        // SAFETY: the lengths were checked, and the caller guarantees the instruction set.
        unsafe {
            match vectors {
                1 => panel_rows::<D, MR, 1>(&mut matmul, first),
                2 if NV >= 2 => panel_rows::<D, MR, 2>(&mut matmul, first),
                _ => panel_rows::<D, MR, NV>(&mut matmul, first),
            }
        }
    }
}

impl ByteMatMul<'_> {
    /// Panics unless every pointer that the tiles compute stays within its slice.
    fn check<D: Dot>(&self) {
        let last = self.rows - 1;
        let padded = self.columns.next_multiple_of(D::LANES);
        assert!(self.depth.is_multiple_of(D::STEP));
        assert!(self.rows == 1 || (self.a_stride >= self.depth && self.y_stride >= self.columns));
        assert!(self.a.len() >= last * self.a_stride + self.depth);
        assert!(self.y.len() >= last * self.y_stride + self.columns);
        assert!(self.row_scales.len() >= self.rows);
        if let ZeroPoints::Rows(zeros) = self.zeros {
            assert!(zeros.len() >= self.rows);
        }
        assert!(self.panels.len() >= padded * self.depth);
        assert!(self.scales.len() >= padded);
        assert!(self.sums.len() >= padded && self.bias.len() >= padded);
    }
}

/// Multiplies all rows by the panel that starts at column `first`.
///
/// # Safety
/// As for [`product`]; in addition, `matmul` must have passed its check.
#[inline(always)]
unsafe fn panel_rows<D: Dot, const MR: usize, const NV: usize>(
    matmul: &mut ByteMatMul<'_>,
    first: usize,
) {
    // Each tile prefetches a share of the next panel.
    let share = NV * D::LANES * D::STEP / matmul.rows.div_ceil(MR);
    let mut ahead = (first + NV * D::LANES) * matmul.depth;
    let mut row = 0;
    while row < matmul.rows {
        let height = MR.min(matmul.rows - row);
        // SAFETY: guaranteed by the caller; the tile lies within the matrix.
        unsafe {
            match height {
                1 => tile::<D, 1, NV>(matmul, row, first, ahead, share),
                2 => tile::<D, 2, NV>(matmul, row, first, ahead, share),
                3 => tile::<D, 3, NV>(matmul, row, first, ahead, share),
                4 => tile::<D, 4, NV>(matmul, row, first, ahead, share),
                5 if MR >= 5 => tile::<D, 5, NV>(matmul, row, first, ahead, share),
                6 if MR >= 6 => tile::<D, 6, NV>(matmul, row, first, ahead, share),
                7 if MR >= 7 => tile::<D, 7, NV>(matmul, row, first, ahead, share),
                _ => tile::<D, MR, NV>(matmul, row, first, ahead, share),
            }
        }
        ahead += matmul.depth / D::STEP * share;
        row += height;
    }
}

/// One register tile: `M` rows times `NV` registers of a panel.
///
/// # Safety
/// As for [`panel_rows`]; in addition, the tile must start within the matrix and must not have more
/// rows than remain.
#[inline(always)]
// The compiler unrolls loops over constant ranges completely.
#[allow(clippy::needless_range_loop)]
unsafe fn tile<D: Dot, const M: usize, const NV: usize>(
    matmul: &mut ByteMatMul<'_>,
    row: usize,
    first: usize,
    mut ahead: usize,
    share: usize,
) {
    // SAFETY: `row + M <= rows`, and the panel's registers end at or before the padded columns, so
    // all offsets below lie within the slices whose lengths were checked.
    unsafe {
        let a = matmul.a.as_ptr().add(row * matmul.a_stride);
        let mut panel = matmul.panels.as_ptr().add(first * matmul.depth);
        let column_sums = matmul.sums.as_ptr().add(first);
        // No closures: they would not be compiled for the instruction set.
        let mut rows = [a; M];
        for r in 1..M {
            rows[r] = a.add(r * matmul.a_stride);
        }
        let mut sums = [[D::start(0, column_sums); NV]; M];
        match matmul.zeros {
            ZeroPoints::Same(zero) => {
                let mut first = sums[0];
                for v in 0..NV {
                    first[v] = D::start(zero, column_sums.add(v * D::LANES));
                }
                sums = [first; M];
            }
            ZeroPoints::Rows(zeros) => {
                for r in 0..M {
                    for v in 0..NV {
                        sums[r][v] = D::start(zeros[row + r], column_sums.add(v * D::LANES));
                    }
                }
            }
        }
        let mut k = 0;
        while k < matmul.depth {
            prefetch(matmul.panels, ahead);
            ahead += share;
            let mut columns = [D::load(panel); NV];
            for v in 1..NV {
                columns[v] = D::load(panel.add(v * D::LANES * D::STEP));
            }
            for r in 0..M {
                let value = D::broadcast(rows[r].add(k));
                for v in 0..NV {
                    sums[r][v] = D::dot(sums[r][v], value, columns[v]);
                }
            }
            panel = panel.add(NV * D::LANES * D::STEP);
            k += D::STEP;
        }
        let mut scales = [D::floats(matmul.scales.as_ptr().add(first)); NV];
        let mut bias = [D::floats(matmul.bias.as_ptr().add(first)); NV];
        for v in 1..NV {
            scales[v] = D::floats(matmul.scales.as_ptr().add(first + v * D::LANES));
            bias[v] = D::floats(matmul.bias.as_ptr().add(first + v * D::LANES));
        }
        let used = (NV * D::LANES).min(matmul.columns - first);
        let y = &mut matmul.y[row * matmul.y_stride + first..];
        for r in 0..M {
            let row_scale = matmul.row_scales[row + r];
            let y = &mut y[r * matmul.y_stride..][..used];
            // Registers are stored whole, so the results of a partial panel go through a buffer.
            let mut buffer = [0.0; 3 * WIDEST];
            let full = used == NV * D::LANES;
            let to = if full {
                y.as_mut_ptr()
            } else {
                buffer.as_mut_ptr()
            };
            for v in 0..NV {
                D::finish(
                    sums[r][v],
                    row_scale,
                    scales[v],
                    bias[v],
                    to.add(v * D::LANES),
                );
            }
            if !full {
                y.copy_from_slice(&buffer[..used]);
            }
        }
    }
}
