//! Packing the right-hand matrix of a byte product.

use super::DEPTH_STEP;
use crate::target::TileShape;

/// Bytes of a packed matrix with `columns` columns and `depth` rows.
pub(crate) fn packed_len(tile: TileShape, columns: usize, depth: usize) -> usize {
    columns.next_multiple_of(tile.lanes) * depth.next_multiple_of(DEPTH_STEP)
}

/// The positions of a column's elements in a packed matrix, in groups of four bytes: four
/// consecutive elements of the depth.
#[derive(Clone, Copy)]
pub(crate) struct Column {
    base: usize,
    /// Distance from one step of the depth to the next.
    step: usize,
    /// Distance from the first four elements of a step to the second; 0 if a step is four elements.
    second: usize,
}

impl Column {
    /// The positions of `column` in a packed matrix with `columns` columns and `depth` rows.
    pub(crate) fn new(tile: TileShape, columns: usize, depth: usize, column: usize) -> Column {
        let fours = depth.next_multiple_of(DEPTH_STEP) / 4;
        let first = column - column % tile.columns;
        let width = tile
            .columns
            .min(columns.next_multiple_of(tile.lanes) - first);
        let (register, lane) = ((column - first) / tile.lanes, column % tile.lanes);
        let groups = tile.step / 4;
        Column {
            base: first * fours + register * tile.lanes * groups + lane,
            step: width * groups,
            second: if groups == 2 { tile.lanes } else { 0 },
        }
    }

    /// The position of the elements `4 · four..4 · four + 4`.
    #[inline(always)]
    pub(crate) fn at(self, four: usize) -> usize {
        if self.second == 0 {
            self.base + four * self.step
        } else {
            self.base + four / 2 * self.step + four % 2 * self.second
        }
    }
}

/// Writes `row` to the column `column` of a packed matrix with `columns` columns and `row.len()`
/// rows. Padding is left unchanged.
pub(crate) fn pack_row(
    tile: TileShape,
    columns: usize,
    column: usize,
    row: &[i8],
    panels: &mut [i8],
) {
    let positions = Column::new(tile, columns, row.len(), column);
    let (panels, _) = panels.as_chunks_mut::<4>();
    let (fours, rest) = row.as_chunks::<4>();
    for (four, &elements) in fours.iter().enumerate() {
        panels[positions.at(four)] = elements;
    }
    if !rest.is_empty() {
        panels[positions.at(fours.len())][..rest.len()].copy_from_slice(rest);
    }
}
