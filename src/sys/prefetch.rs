//! The hint with which the kernels ask for memory early.

/// Starts to fetch `slice[index]` into the cache. `index` may be past the end.
#[inline(always)]
pub(crate) fn prefetch<T>(slice: &[T], index: usize) {
    prefetch_at(slice.as_ptr().wrapping_add(index).addr());
}

/// Starts to fetch what is at an address into the cache. It may be any.
#[inline(always)]
pub(crate) fn prefetch_at(address: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::{
            arch::x86_64::{_MM_HINT_T0, _mm_prefetch},
            ptr,
        };
        // SAFETY: a hint reads nothing and faults at no address, and every x86-64 has it.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(ptr::without_provenance(address)) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
