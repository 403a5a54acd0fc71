//! Growable scratch memory aligned to a cache line.

use std::marker::PhantomData;

use bytemuck::Pod;

use crate::aligned::AlignedBytes;

/// Scratch memory aligned to 64 bytes, so that consecutive 512-bit loads do not straddle cache
/// lines, as nearly all would in a large `Vec`. It never shrinks, so that a worker allocates
/// rarely.
pub struct Buffer<T> {
    bytes: AlignedBytes,
    element: PhantomData<T>,
}

impl<T: Pod> Buffer<T> {
    /// Returns the first `len` elements, after growing the buffer if it is smaller. They have their
    /// previous contents, or are all zero if the buffer grew.
    pub fn grow(&mut self, len: usize) -> &mut [T] {
        let size = len * size_of::<T>();
        if self.bytes.len() < size {
            self.bytes = AlignedBytes::zeroed(size);
        }
        bytemuck::cast_slice_mut(&mut self.bytes[..size])
    }

    /// The first `len` elements.
    ///
    /// # Panics
    /// If the buffer has fewer elements.
    pub fn get(&self, len: usize) -> &[T] {
        bytemuck::cast_slice(&self.bytes[..len * size_of::<T>()])
    }
}

impl<T> Default for Buffer<T> {
    fn default() -> Buffer<T> {
        Buffer {
            bytes: AlignedBytes::zeroed(0),
            element: PhantomData,
        }
    }
}
