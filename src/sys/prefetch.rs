//! The hint with which the kernels ask for memory early.

#[cfg(target_arch = "x86_64")]
use std::{
    arch::x86_64::{_MM_HINT_T0, _MM_HINT_T1, _mm_prefetch},
    ptr,
};

/// Which cache memory is fetched into.
#[derive(Clone, Copy)]
pub(crate) enum Cache {
    Nearest,
    /// It can wait for more lines at a time.
    Second,
}

/// Starts to fetch `slice[index]` into the nearest cache. `index` may be past the end.
#[inline(always)]
pub(crate) fn prefetch<T>(slice: &[T], index: usize) {
    prefetch_at(slice.as_ptr().wrapping_add(index).addr(), Cache::Nearest);
}

/// Starts to fetch what is at an address into a cache. It may be any.
#[inline(always)]
pub(crate) fn prefetch_at(address: usize, cache: Cache) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint reads nothing and faults at no address, and every x86-64 has it.
    unsafe {
        let address = ptr::without_provenance(address);
        match cache {
            Cache::Nearest => _mm_prefetch::<_MM_HINT_T0>(address),
            Cache::Second => _mm_prefetch::<_MM_HINT_T1>(address),
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (address, cache);
}
