//! Matrices as slices with a row stride.

/// A row-major matrix of `f32` whose rows start `stride` elements apart.
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
    /// A matrix that starts at the start of `data`.
    pub fn new(data: &'a [f32], stride: usize) -> Rows<'a> {
        Rows { data, stride }
    }

    /// The first `width` elements of a row.
    #[inline(always)]
    pub(crate) fn row(self, index: usize, width: usize) -> &'a [f32] {
        &self.data[index * self.stride..][..width]
    }

    /// The submatrix from this row and column on.
    pub(crate) fn from(self, row: usize, column: usize) -> Rows<'a> {
        let start = (row * self.stride + column).min(self.data.len());
        Rows {
            data: &self.data[start..],
            stride: self.stride,
        }
    }

    #[track_caller]
    pub(crate) fn check(self, rows: usize, width: usize) {
        check(self.data.len(), self.stride, rows, width);
    }
}

impl<'a> RowsMut<'a> {
    /// A matrix that starts at the start of `data`.
    pub fn new(data: &'a mut [f32], stride: usize) -> RowsMut<'a> {
        RowsMut { data, stride }
    }

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
