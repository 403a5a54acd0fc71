//! Immutable bytes shared by many owners, whatever their storage.

use std::fmt;
use std::ops::{Deref, DerefMut, Range};
use std::sync::Arc;

use bytemuck::{Pod, Zeroable};

use crate::mapped::MappedFile;

/// Alignment of owned storage in bytes: a cache line, which is also the widest SIMD load.
pub const ALIGNMENT: usize = 64;

/// Immutable bytes in owned memory, a mapped file or the program itself, shared without copying.
/// Cloning costs at most a reference count.
#[derive(Clone)]
pub struct Bytes {
    source: Source,
    range: Range<usize>,
}

#[derive(Clone)]
enum Source {
    Static(&'static [u8]),
    Mapped(Arc<MappedFile>),
    Owned(Arc<AlignedBytes>),
}

impl Bytes {
    /// Copies `bytes` to storage that starts on a 64-byte boundary.
    pub fn copy_from(bytes: &[u8]) -> Bytes {
        let mut copy = AlignedBytes::zeroed(bytes.len());
        copy.copy_from_slice(bytes);
        copy.into()
    }

    /// The bytes in `range`, relative to the start of `self`. Nothing is copied; the whole source
    /// lives as long as any part of it.
    ///
    /// `None` if the range ends before it starts or exceeds the bytes.
    pub fn slice(&self, range: Range<usize>) -> Option<Bytes> {
        if range.start > range.end || range.end > self.range.len() {
            return None;
        }
        let start = self.range.start + range.start;
        Some(Bytes {
            source: self.source.clone(),
            range: start..start + range.len(),
        })
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let all: &[u8] = match &self.source {
            Source::Static(bytes) => bytes,
            Source::Mapped(file) => file,
            Source::Owned(bytes) => bytes,
        };
        &all[self.range.clone()]
    }
}

impl From<&'static [u8]> for Bytes {
    fn from(bytes: &'static [u8]) -> Bytes {
        Bytes {
            range: 0..bytes.len(),
            source: Source::Static(bytes),
        }
    }
}

impl From<MappedFile> for Bytes {
    fn from(file: MappedFile) -> Bytes {
        Bytes {
            range: 0..file.len(),
            source: Source::Mapped(Arc::new(file)),
        }
    }
}

impl From<AlignedBytes> for Bytes {
    fn from(bytes: AlignedBytes) -> Bytes {
        Bytes {
            range: 0..bytes.len(),
            source: Source::Owned(Arc::new(bytes)),
        }
    }
}

/// Prints the storage and the length only: a panic should not print a model.
impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.source {
            Source::Static(_) => "static",
            Source::Mapped(_) => "mapped",
            Source::Owned(_) => "owned",
        };
        write!(f, "Bytes({} {kind})", self.range.len())
    }
}

/// A fixed-length allocation that starts on a 64-byte boundary, to be filled and then shared as
/// [`Bytes`].
pub struct AlignedBytes {
    lines: Vec<Line>,
    len: usize,
}

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; ALIGNMENT]);

// SAFETY: All bits zero are a valid array of bytes.
unsafe impl Zeroable for Line {}
// SAFETY: Any bits are a valid array of bytes. Its size equals its alignment, so there is no
// padding.
unsafe impl Pod for Line {}

impl AlignedBytes {
    /// `len` zeros.
    pub fn zeroed(len: usize) -> AlignedBytes {
        AlignedBytes {
            lines: bytemuck::zeroed_vec(len.div_ceil(ALIGNMENT)),
            len,
        }
    }
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

/// Includes a file as a `&'static [u8]` that starts on a 64-byte boundary; [`include_bytes!`]
/// guarantees no alignment. The path is relative to the source file.
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
    use std::path::Path;

    use super::*;

    #[test]
    fn every_source_returns_its_bytes_and_slices() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bytes.rs");
        let text: &'static [u8] = crate::include_aligned!("bytes.rs");
        assert_eq!(text.as_ptr().addr() % ALIGNMENT, 0);
        for bytes in [
            Bytes::from(text),
            Bytes::from(MappedFile::open(&path).unwrap()),
            Bytes::copy_from(text),
        ] {
            assert_eq!(&*bytes, text, "{bytes:?}");
            let part = bytes.slice(10..100).unwrap();
            assert_eq!(&*part, &text[10..100]);
            assert_eq!(&*part.slice(5..90).unwrap(), &text[15..100]);
            assert!(part.slice(5..91).is_none(), "beyond the part");
            assert!(bytes.slice(text.len()..text.len()).unwrap().is_empty());
            assert!(bytes.slice(0..usize::MAX).is_none());
            #[expect(clippy::reversed_empty_ranges)]
            let reversed = bytes.slice(7..6);
            assert!(reversed.is_none());
        }
    }

    #[test]
    fn owned_bytes_start_on_a_cache_line() {
        for len in [0, 1, 63, 64, 65, 1000] {
            let bytes = AlignedBytes::zeroed(len);
            assert_eq!(bytes.as_ptr().addr() % ALIGNMENT, 0, "{len}");
            assert_eq!(&*bytes, vec![0; len]);
        }
    }
}
