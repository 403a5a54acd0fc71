//! Software prefetching.

/// Prefetches into the second-level cache the cache line that is `offset` bytes after the start of
/// `from`, which may be beyond its end. Does nothing on targets without such an instruction.
#[inline(always)]
pub(crate) fn prefetch<T>(from: &[T], offset: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        let address = from.as_ptr().cast::<i8>().wrapping_add(offset);
        // SAFETY: the instruction neither faults nor has side effects, for any address.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(address) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (from, offset);
}
