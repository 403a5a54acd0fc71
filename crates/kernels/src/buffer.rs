//! Growable scratch whose start stands on a cache line.

/// `f32` scratch that starts on a 64-byte boundary: a 512-bit load then never straddles two
/// cache lines. Grows and never shrinks.
#[derive(Default)]
pub(crate) struct Buffer {
    // Not `Clone`: a copy of the vector would stand elsewhere and need another offset.
    data: Vec<f32>,
    offset: usize,
}

const LINE: usize = 64 / size_of::<f32>();

impl Buffer {
    /// A buffer of `len` zeros.
    pub(crate) fn zeroed(len: usize) -> Buffer {
        let mut buffer = Buffer::default();
        buffer.grow(len);
        buffer
    }

    /// `len` elements to write to; what they hold is whatever was written before.
    pub(crate) fn grow(&mut self, len: usize) -> &mut [f32] {
        if self.data.len() < self.offset + len || self.data.is_empty() {
            self.data = vec![0.0; len + LINE];
            let offset = self.data.as_ptr().align_offset(64);
            // `align_offset` may decline to answer; then any start is as good.
            self.offset = if offset < LINE { offset } else { 0 };
        }
        &mut self.data[self.offset..][..len]
    }

    pub(crate) fn get(&self, len: usize) -> &[f32] {
        &self.data[self.offset..][..len]
    }
}
