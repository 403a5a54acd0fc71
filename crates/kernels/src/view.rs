//! Typed views of bytes.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use bytemuck::Pod;

use bytes::Bytes;

use crate::aligned::{ALIGNMENT, AlignedBytes};

/// A slice of elements in shared [`Bytes`], in native byte order. Cloning does not copy the
/// elements.
#[derive(Clone)]
pub struct View<T> {
    /// Aligned for `T`, with a length that is a multiple of the size of `T`.
    bytes: Bytes,
    element: PhantomData<fn() -> T>,
}

impl<T: Pod> View<T> {
    /// A view of the elements stored in `bytes`, without copying.
    ///
    /// # Errors
    /// [`ViewError`] if `bytes` are not aligned for `T`, or are not a whole number of elements.
    pub fn new(bytes: Bytes) -> Result<View<T>, ViewError> {
        const { assert!(size_of::<T>() > 0 && align_of::<T>() <= ALIGNMENT) };
        if !bytes.as_ptr().addr().is_multiple_of(align_of::<T>()) {
            return Err(ViewError::Misaligned {
                alignment: align_of::<T>(),
            });
        }
        if !bytes.len().is_multiple_of(size_of::<T>()) {
            return Err(ViewError::Ragged {
                len: bytes.len(),
                size: size_of::<T>(),
            });
        }
        Ok(View {
            bytes,
            element: PhantomData,
        })
    }

    /// Allocates `len` elements in storage aligned to 64 bytes. `fill` receives zeros and writes
    /// the elements.
    ///
    /// # Panics
    /// If the size in bytes exceeds `usize`.
    pub fn build(len: usize, fill: impl FnOnce(&mut [T])) -> View<T> {
        const { assert!(size_of::<T>() > 0 && align_of::<T>() <= ALIGNMENT) };
        let size = len
            .checked_mul(size_of::<T>())
            .expect("the elements fit in the address space");
        let mut storage = AlignedBytes::zeroed(size);
        fill(bytemuck::cast_slice_mut(&mut storage));
        View {
            bytes: storage.into(),
            element: PhantomData,
        }
    }

    /// Copies `elements` to storage aligned to 64 bytes.
    pub fn from_slice(elements: &[T]) -> View<T> {
        View::build(elements.len(), |copy| copy.copy_from_slice(elements))
    }

    /// The same elements as bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl<T: Pod> Deref for View<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        bytemuck::cast_slice(&self.bytes)
    }
}

impl<T> fmt::Debug for View<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let element = std::any::type_name::<T>();
        write!(f, "View<{element}>({} bytes)", self.bytes.len())
    }
}

/// Bytes cannot be viewed as elements of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ViewError {
    /// The bytes start at an address that is not a multiple of the type's alignment.
    #[error("it does not start at a multiple of {alignment} bytes")]
    Misaligned {
        /// The alignment in bytes.
        alignment: usize,
    },
    /// The number of bytes is not a multiple of the type's size.
    #[error("its {len} bytes are not a whole number of elements of {size} bytes")]
    Ragged {
        /// Number of bytes.
        len: usize,
        /// Bytes of one element.
        size: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_returns_its_elements() {
        fn check<T: Pod + PartialEq + fmt::Debug>(elements: &[T]) {
            let view = View::from_slice(elements);
            assert_eq!(&*view, elements);
            assert_eq!(view.as_ptr().addr() % ALIGNMENT, 0);
            assert_eq!(view.bytes().len(), size_of_val(elements));
            let again = View::<T>::new(view.bytes().clone()).unwrap();
            assert_eq!(again.clone().as_ptr(), view.as_ptr(), "nothing is copied");
        }
        check::<u8>(&[0, 1, 255]);
        check::<i8>(&[-128, 0, 127]);
        check::<u16>(&[0, 65_535]);
        check::<i32>(&[i32::MIN, 7]);
        check::<u32>(&[u32::MAX; 40]);
        check::<f32>(&[1.5, -0.0, f32::INFINITY]);
        check::<f32>(&[]);
    }

    #[test]
    fn misaligned_or_partial_elements_are_refused() {
        let bytes = crate::copy_aligned(&[0; 64]);
        let part = |start, end| bytes.slice(start..end);
        assert_eq!(
            View::<f32>::new(part(2, 10)).unwrap_err(),
            ViewError::Misaligned { alignment: 4 }
        );
        assert_eq!(
            View::<f32>::new(part(4, 10)).unwrap_err(),
            ViewError::Ragged { len: 6, size: 4 }
        );
        assert_eq!(View::<u16>::new(part(2, 10)).unwrap().len(), 4);
        assert_eq!(View::<i8>::new(part(3, 10)).unwrap().len(), 7);
    }

    #[test]
    fn a_view_can_be_shared_between_threads() {
        fn shared<T: Send + Sync + Clone>() {}
        shared::<View<f32>>();
        shared::<Bytes>();
    }
}
