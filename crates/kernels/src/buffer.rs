//! Growable scratch whose start stands on a cache line.

use std::marker::PhantomData;

use bytemuck::Pod;

use crate::bytes::AlignedBytes;

/// Scratch that starts on a 64-byte boundary: a 512-bit load then never straddles two cache
/// lines, as nearly all would in a large `Vec`. Grows and never shrinks, so that a worker allocates
/// once.
pub struct Buffer<T> {
    bytes: AlignedBytes,
    element: PhantomData<T>,
}

impl<T: Pod> Buffer<T> {
    /// The first `len` elements to write to: what was written before, or zeros alone where the buffer
    /// had to grow.
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
    /// If it has not been grown to as many.
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
