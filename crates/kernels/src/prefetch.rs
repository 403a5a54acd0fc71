//! Asking for memory ahead of its use.

/// Asks for the cache line `offset` bytes after the start of `from`, which may lie beyond its end,
/// to be brought into the second-level cache. Only a hint, and none where the target has no such
/// instruction.
#[inline(always)]
pub(crate) fn prefetch<T>(from: &[T], offset: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        let address = from.as_ptr().cast::<i8>().wrapping_add(offset);
        // SAFETY: the instruction neither faults nor changes anything, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(address) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (from, offset);
}
