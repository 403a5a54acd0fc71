//! Growable scratch memory that starts on a cache line.

use std::marker::PhantomData;

use bytemuck::Pod;

use crate::aligned::AlignedBytes;

/// Scratch memory that starts on a 64-byte boundary, so that a 512-bit load never straddles two
/// cache lines, as nearly all would in a large `Vec`. It grows and never shrinks, so that a worker
/// allocates once.
pub struct Buffer<T> {
    bytes: AlignedBytes,
    element: PhantomData<T>,
}

impl<T: Pod> Buffer<T> {
    /// The first `len` elements, mutable: the previous contents, or only zeros if the buffer had to
    /// grow.
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
