//! Matrices as slices with a row stride.

/// A row-major matrix of `f32` whose rows start `stride` elements apart. The number and width of
/// the rows are given to the kernels, which check that the slice is long enough.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) stride: usize,
}

/// Like [`Rows`], but mutable.
pub struct RowsMut<'a> {
    pub(crate) data: &'a mut [f32],
    pub(crate) stride: usize,
}

impl<'a> Rows<'a> {
    /// A matrix whose first row starts at `data[0]`.
    pub fn new(data: &'a [f32], stride: usize) -> Rows<'a> {
        Rows { data, stride }
    }

    /// The first `width` elements of a row.
    #[inline(always)]
    pub(crate) fn row(self, index: usize, width: usize) -> &'a [f32] {
        &self.data[index * self.stride..][..width]
    }

    /// The submatrix that starts at this row and column.
    pub(crate) fn from(self, row: usize, column: usize) -> Rows<'a> {
        let start = (row * self.stride + column).min(self.data.len());
        Rows {
            data: &self.data[start..],
            stride: self.stride,
        }
    }

    /// Panics unless there are `rows` rows of `width` elements that do not overlap.
    #[track_caller]
    pub(crate) fn check(self, rows: usize, width: usize) {
        check(self.data.len(), self.stride, rows, width);
    }
}

impl<'a> RowsMut<'a> {
    /// A matrix whose first row starts at `data[0]`.
    pub fn new(data: &'a mut [f32], stride: usize) -> RowsMut<'a> {
        RowsMut { data, stride }
    }

    /// Panics unless there are `rows` rows of `width` elements that do not overlap.
    #[track_caller]
    pub(crate) fn check(&self, rows: usize, width: usize) {
        check(self.data.len(), self.stride, rows, width);
    }
}

#[track_caller]
fn check(len: usize, stride: usize, rows: usize, width: usize) {
    assert!(
        rows == 0 || (stride >= width || rows == 1) && (rows - 1) * stride + width <= len,
        "{len} elements with a row stride of {stride} do not hold {rows} rows of {width}"
    );
}
