//! Tests of the byte product and its packing on every instruction set that this CPU supports.

use super::{ByteMatMul, Column, DEPTH_STEP, TileShape, dot, pack_row, packed_len, tile};
use crate::isa::Isa;
use crate::target::{ByteRange, Target};

/// Every instruction set that this CPU supports; prints their names.
fn instruction_sets() -> Vec<Isa> {
    let found = Isa::available();
    println!("tested: {found:?}");
    found
}

/// A reproducible sequence of numbers.
struct Numbers(u64);

impl Numbers {
    /// A number in `low..=high`.
    fn within(&mut self, low: i64, high: i64) -> i64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        low + ((self.0 >> 33) % (high - low + 1) as u64) as i64
    }
}

/// The operands of one product, and their layout.
struct Case {
    rows: usize,
    columns: usize,
    depth: usize,
    /// `[rows, depth]`
    a: Vec<u8>,
    /// `[columns, depth]`
    b: Vec<i8>,
    zeros: Vec<i32>,
    row_scales: Vec<f32>,
    scales: Vec<f32>,
    bias: Vec<f32>,
    /// `[columns]`: used instead of the true sums of the columns.
    sums: Option<Vec<i32>>,
    /// Elements between the rows of `a` and between those of the result.
    gap: usize,
}

impl Case {
    /// A case with scales of 1. The functions return the bytes of `a` at (row, depth) and of `b` at
    /// (column, depth).
    fn new(
        (rows, columns, depth): (usize, usize, usize),
        mut a: impl FnMut(usize, usize) -> u8,
        mut b: impl FnMut(usize, usize) -> i8,
    ) -> Case {
        Case {
            rows,
            columns,
            depth,
            a: (0..rows * depth).map(|i| a(i / depth, i % depth)).collect(),
            b: (0..columns * depth)
                .map(|i| b(i / depth, i % depth))
                .collect(),
            zeros: vec![0; rows],
            row_scales: vec![1.0; rows],
            scales: vec![1.0; columns],
            bias: vec![0.0; columns],
            sums: None,
            gap: 0,
        }
    }

    /// Random bytes and zero points from all of `range`.
    fn random(seed: u64, range: ByteRange, shape: (usize, usize, usize)) -> Case {
        let (mut left, mut right) = (Numbers(seed), Numbers(seed ^ 0x5555));
        let (high, weight) = (i64::from(range.activation), i64::from(range.weight));
        let mut case = Case::new(
            shape,
            |_, _| left.within(0, high) as u8,
            |_, _| right.within(-weight, weight) as i8,
        );
        case.zeros.fill_with(|| left.within(0, high) as i32);
        case
    }

    /// `Σₖ (a[r, k] − zeros[r]) · b[k, c]`, computed naively.
    fn sums_of_products(&self) -> Vec<i64> {
        let mut sums = Vec::with_capacity(self.rows * self.columns);
        for r in 0..self.rows {
            for c in 0..self.columns {
                let mut sum = 0i64;
                for k in 0..self.depth {
                    let a = i64::from(self.a[r * self.depth + k]) - i64::from(self.zeros[r]);
                    sum += a * i64::from(self.b[c * self.depth + k]);
                }
                sums.push(sum);
            }
        }
        sums
    }

    /// The result on `isa`. Fails if anything else is written.
    fn run(&self, isa: Isa) -> Vec<f32> {
        self.run_with(isa.name(), isa.target().byte_tile(), |product| {
            isa.byte_matmul(product);
        })
    }

    /// The result of a kernel with this tile.
    fn run_with(
        &self,
        name: &str,
        tile: TileShape,
        kernel: impl FnOnce(ByteMatMul<'_>),
    ) -> Vec<f32> {
        let (rows, columns) = (self.rows, self.columns);
        let padded = columns.next_multiple_of(tile.lanes);
        let depth = self.depth.next_multiple_of(DEPTH_STEP);
        let mut panels = vec![0; packed_len(tile, columns, self.depth)];
        let mut sums = vec![0; padded];
        for (c, column) in self.b.chunks_exact(self.depth).enumerate() {
            pack_row(tile, columns, c, column, &mut panels);
            sums[c] = column.iter().map(|&v| i32::from(v)).sum();
        }
        if let Some(given) = &self.sums {
            sums[..columns].copy_from_slice(given);
        }
        let a_stride = depth + self.gap;
        // Bytes between the true and the padded depth must have no effect.
        let mut a = vec![0xab; (rows - 1) * a_stride + depth];
        for (r, row) in self.a.chunks_exact(self.depth).enumerate() {
            a[r * a_stride..][..self.depth].copy_from_slice(row);
        }
        let pad = |values: &[f32]| [values, &vec![0.0; padded - columns]].concat();
        let untouched = f32::from_bits(0x7fc0_1234);
        let y_stride = columns + self.gap;
        let mut y = vec![untouched; (rows - 1) * y_stride + columns];
        kernel(ByteMatMul {
            rows,
            a: &a,
            a_stride,
            row_scales: &self.row_scales,
            zeros: super::ZeroPoints::Rows(&self.zeros),
            depth,
            panels: &panels,
            columns,
            scales: &pad(&self.scales),
            sums: &sums,
            bias: &pad(&self.bias),
            y: &mut y,
            y_stride,
        });
        let mut result = Vec::with_capacity(rows * columns);
        for row in y.chunks(y_stride) {
            result.extend_from_slice(&row[..columns]);
            for v in &row[columns..] {
                assert_eq!(
                    v.to_bits(),
                    untouched.to_bits(),
                    "{name} wrote outside its rows"
                );
            }
        }
        result
    }

    /// Fails unless every element is the exact sum, rounded once to `f32`.
    #[track_caller]
    fn check(&self, isa: Isa) {
        self.compare(isa.name(), &self.run(isa));
    }

    #[track_caller]
    fn compare(&self, name: &str, actual: &[f32]) {
        let expected = self.sums_of_products();
        assert_eq!(actual.len(), expected.len());
        for (i, (&actual, &expected)) in actual.iter().zip(&expected).enumerate() {
            assert!(
                actual.to_bits() == (expected as f32).to_bits(),
                "{name} [{}, {}] · [{}, {}]: row {}, column {} is {actual}, expected {expected}",
                self.rows,
                self.depth,
                self.depth,
                self.columns,
                i / self.columns,
                i % self.columns,
            );
        }
    }
}

/// Numbers of columns around every register and panel boundary.
fn columns_of(tile: TileShape) -> Vec<usize> {
    let mut columns: Vec<usize> = [tile.lanes, tile.columns, tile.columns + tile.lanes]
        .into_iter()
        .chain([2 * tile.columns])
        .flat_map(|edge| [edge - 1, edge, edge + 1])
        .chain([1, 2])
        .collect();
    columns.sort_unstable();
    columns.dedup();
    columns
}

#[test]
fn products_are_exact_for_every_small_depth() {
    for isa in instruction_sets() {
        let tile = isa.target().byte_tile();
        for depth in 1..=40 {
            for columns in columns_of(tile) {
                for rows in [1, tile.rows + 1] {
                    Case::random(
                        depth as u64,
                        isa.target().byte_range(),
                        (rows, columns, depth),
                    )
                    .check(isa);
                }
            }
        }
    }
}

#[test]
fn products_are_exact_for_every_number_of_rows_and_columns() {
    for isa in instruction_sets() {
        let tile = isa.target().byte_tile();
        for rows in 1..=2 * tile.rows + 1 {
            for columns in 1..=tile.columns + 1 {
                Case::random(7, isa.target().byte_range(), (rows, columns, 9)).check(isa);
            }
            for columns in columns_of(tile) {
                Case::random(8, isa.target().byte_range(), (rows, columns, 24)).check(isa);
            }
        }
    }
}

/// [`dot::Portable`] is used on CPUs other than x86-64.
#[test]
fn the_portable_kernel_is_exact() {
    // The full range of bytes.
    let range = Target::Portable.byte_range();
    let plain = TileShape::of::<dot::Portable>(4, 2);
    assert_eq!(
        plain,
        Target::Portable.byte_tile(),
        "the layout is the same on every CPU"
    );
    for depth in [1, 4, 7, 8, 9, 40, 257] {
        for columns in columns_of(plain) {
            for rows in 1..=9 {
                let case = Case::random(depth as u64, range, (rows, columns, depth));
                let result = case.run_with("plain", plain, |product| {
                    // SAFETY: the kernel uses only the baseline of the target.
                    unsafe { tile::product::<dot::Portable, 4, 2>(product) }
                });
                case.compare("plain", &result);
            }
        }
    }
}

#[test]
fn products_are_exact_for_large_depths() {
    for isa in instruction_sets() {
        let tile = isa.target().byte_tile();
        for depth in [255, 256, 257, 768, 3072] {
            for columns in [tile.columns - 1, 2 * tile.columns] {
                let shape = (tile.rows + 1, columns, depth);
                Case::random(9, isa.target().byte_range(), shape).check(isa);
            }
        }
    }
}

#[test]
fn every_byte_may_be_a_zero_point() {
    for isa in instruction_sets() {
        let range = isa.target().byte_range();
        let rows = usize::from(range.activation) + 1;
        let mut case = Case::random(10, range, (rows, 17, 19));
        case.zeros = (0..rows as i32).collect();
        case.check(isa);
    }
}

#[test]
fn nothing_saturates_at_the_ends_of_the_range() {
    for isa in instruction_sets() {
        let (tile, range) = (isa.target().byte_tile(), isa.target().byte_range());
        for depth in [1, 2, 3, 4, 5, 7, 8, 9, 16, 33, 768, 3072] {
            let signs: [fn(usize, usize) -> bool; 5] = [
                |_, _| true,
                |_, _| false,
                |_, k| k % 2 == 0,
                |_, k| k % 4 < 2,
                |c, k| (c + k) % 3 == 0,
            ];
            for positive in signs {
                let shape = (tile.rows + 1, tile.columns + 1, depth);
                let weight = |c, k| {
                    if positive(c, k) {
                        range.weight
                    } else {
                        -range.weight
                    }
                };
                let mut case = Case::new(shape, |_, _| range.activation, weight);
                case.check(isa);
                // Sums beyond 2^24 are rounded to `f32`. If the accumulators start at the negated
                // expected sums, the result must be exactly 0. All rows are equal here.
                let expected = case.sums_of_products();
                case.zeros.fill(1);
                case.sums = Some(
                    expected[..case.columns]
                        .iter()
                        .map(|&sum| i32::try_from(sum).expect("the sum fits in 32 bits"))
                        .collect(),
                );
                let remainders = case.run(isa);
                assert!(
                    remainders.iter().all(|&v| v == 0.0),
                    "{isa:?} depth {depth}: off by {:?}",
                    remainders.iter().find(|&&v| v != 0.0)
                );
            }
        }
    }
}

#[test]
fn an_extreme_pair_of_bytes_counts_at_every_position() {
    for isa in instruction_sets() {
        let (tile, range) = (isa.target().byte_tile(), isa.target().byte_range());
        for weight in [range.weight, -range.weight] {
            for position in 0..24 {
                let shape = (tile.rows, tile.columns, 24);
                let a = |_, k| if k == position { range.activation } else { 0 };
                let b = |_, k| if k == position { weight } else { 0 };
                Case::new(shape, a, b).check(isa);
            }
        }
    }
}

#[test]
fn rows_may_have_gaps_between_them() {
    for isa in instruction_sets() {
        let tile = isa.target().byte_tile();
        for gap in [1, 3, 64] {
            for columns in [1, tile.lanes, tile.columns - 1, tile.columns + 1] {
                let shape = (2 * tile.rows + 1, columns, 13);
                let mut case = Case::random(11, isa.target().byte_range(), shape);
                case.gap = gap;
                case.check(isa);
            }
        }
    }
}

#[test]
fn sums_are_scaled_and_shifted() {
    for isa in instruction_sets() {
        let tile = isa.target().byte_tile();
        for columns in columns_of(tile) {
            let shape = (tile.rows + 1, columns, 70);
            let mut case = Case::random(12, isa.target().byte_range(), shape);
            let mut numbers = Numbers(13);
            let mut number = || numbers.within(-1000, 1000) as f32 * 1.7e-4;
            case.row_scales.fill_with(&mut number);
            case.scales.fill_with(&mut number);
            case.bias.fill_with(&mut number);
            let actual = case.run(isa);
            for (i, (&actual, sum)) in actual.iter().zip(case.sums_of_products()).enumerate() {
                let (r, c) = (i / columns, i % columns);
                let scale = f64::from(case.row_scales[r]) * f64::from(case.scales[c]);
                let product = sum as f64 * scale;
                let expected = product + f64::from(case.bias[c]);
                // At most three roundings of the product, and one of the result.
                let half = f64::from(f32::EPSILON) / 2.0;
                let tolerance = 1.01 * half * (3.0 * product.abs() + expected.abs());
                assert!(
                    (f64::from(actual) - expected).abs() <= tolerance,
                    "{isa:?} row {r}, column {c} is {actual:e}, expected {expected:e}"
                );
            }
        }
    }
}

#[test]
fn packed_elements_are_at_the_positions_of_their_column() {
    for isa in instruction_sets() {
        let tile = isa.target().byte_tile();
        for columns in columns_of(tile) {
            for depth in (1..=40).chain([257, 768]) {
                let mut numbers = Numbers(depth as u64);
                let source: Vec<i8> = (0..columns * depth)
                    .map(|_| numbers.within(1, 127) as i8)
                    .collect();
                let mut panels = vec![0; packed_len(tile, columns, depth)];
                let mut taken = vec![false; panels.len()];
                for (column, row) in source.chunks_exact(depth).enumerate() {
                    pack_row(tile, columns, column, row, &mut panels);
                    let positions = Column::new(tile, columns, depth, column);
                    for k in 0..depth.next_multiple_of(4) {
                        let at = 4 * positions.at(k / 4) + k % 4;
                        let expected = row.get(k).copied().unwrap_or(0);
                        let what = format!("{isa:?} {columns} columns: {column}, {k} of {depth}");
                        assert!(!taken[at], "{what} shares its position");
                        taken[at] = true;
                        assert_eq!(panels[at], expected, "{what}");
                    }
                }
                let padding = panels.iter().zip(&taken).filter(|(_, taken)| !**taken);
                assert!(
                    padding.into_iter().all(|(&v, _)| v == 0),
                    "{isa:?} padding of {columns} columns, depth {depth}"
                );
            }
        }
    }
}

#[test]
fn a_panel_stores_its_columns_step_by_step() {
    for isa in instruction_sets() {
        let TileShape {
            columns: width,
            lanes,
            step,
            ..
        } = isa.target().byte_tile();
        // The order in which the kernels read: panels, steps, registers, groups of four, columns.
        let (columns, depth) = (2 * width, 24);
        let mut expected = vec![None; columns * depth / 4];
        let mut next = 0;
        for panel in 0..2 {
            for first in (0..depth).step_by(step) {
                for register in 0..width / lanes {
                    for four in (first..first + step).step_by(4) {
                        for lane in 0..lanes {
                            let column = panel * width + register * lanes + lane;
                            expected[next] = Some((column, four / 4));
                            next += 1;
                        }
                    }
                }
            }
        }
        for (at, element) in expected.into_iter().enumerate() {
            let (column, four) = element.expect("the loops cover every position");
            let found = Column::new(isa.target().byte_tile(), columns, depth, column).at(four);
            assert_eq!(found, at, "{isa:?} column {column}, four {four}");
        }
    }
}

#[test]
fn four_products_fit_in_sixteen_bits() {
    for isa in instruction_sets() {
        if isa.target().byte_tile().step == 8 {
            let ByteRange { activation, weight } = isa.target().byte_range();
            let sum = 4 * i32::from(activation) * i32::from(weight);
            assert!(i16::try_from(sum).is_ok(), "{isa:?}: {sum}");
        }
    }
}
