//! Byte buffers aligned to a cache line.

use std::ops::{Deref, DerefMut};

use bytemuck::{Pod, Zeroable};
use bytes::Bytes;

/// Alignment of owned storage in bytes: the size of a cache line and of the widest SIMD load.
pub const ALIGNMENT: usize = 64;

/// A byte buffer of fixed length, aligned to 64 bytes. To share it, fill it and convert it to
/// [`Bytes`].
pub struct AlignedBytes {
    lines: Vec<Line>,
    len: usize,
}

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; ALIGNMENT]);

// SAFETY: An array of zero bytes is valid.
unsafe impl Zeroable for Line {}
// SAFETY: Every bit pattern is a valid array of bytes. The size equals the alignment, so there is
// no padding.
unsafe impl Pod for Line {}

impl AlignedBytes {
    /// Allocates `len` zero bytes.
    pub fn zeroed(len: usize) -> AlignedBytes {
        AlignedBytes {
            lines: bytemuck::zeroed_vec(len.div_ceil(ALIGNMENT)),
            len,
        }
    }
}

impl AsRef<[u8]> for AlignedBytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<AlignedBytes> for Bytes {
    fn from(bytes: AlignedBytes) -> Bytes {
        Bytes::from_owner(bytes)
    }
}

/// Copies `bytes` to storage aligned to 64 bytes.
pub fn copy_aligned(bytes: &[u8]) -> Bytes {
    let mut copy = AlignedBytes::zeroed(bytes.len());
    copy.copy_from_slice(bytes);
    copy.into()
}

impl Deref for AlignedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.lines)[..self.len]
    }
}

impl DerefMut for AlignedBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..self.len]
    }
}

/// Includes a file as a `&'static [u8]` aligned to 64 bytes; [`include_bytes!`] guarantees no
/// alignment. The path is relative to the source file that invokes the macro.
#[macro_export]
macro_rules! include_aligned {
    ($path:expr $(,)?) => {{
        #[repr(C, align(64))]
        struct Aligned<B: ?Sized>(B);
        static FILE: &Aligned<[u8]> = &Aligned(*include_bytes!($path));
        &FILE.0
    }};
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owned_and_included_bytes_start_on_a_cache_line() {
        for len in [0, 1, 63, 64, 65, 1000] {
            let bytes = AlignedBytes::zeroed(len);
            assert_eq!(bytes.as_ptr().addr() % ALIGNMENT, 0, "{len}");
            assert_eq!(&*bytes, vec![0; len]);
        }
        let text: &'static [u8] = crate::include_aligned!("aligned.rs");
        assert_eq!(text.as_ptr().addr() % ALIGNMENT, 0);
        let copy = copy_aligned(text);
        assert_eq!(copy.as_ptr().addr() % ALIGNMENT, 0);
        assert_eq!(&*copy, text);
    }
}
