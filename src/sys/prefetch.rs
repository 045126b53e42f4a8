//! The hints with which memory is prefetched.

#[cfg(target_arch = "x86_64")]
use std::{
    arch::x86_64::{_MM_HINT_T0, _MM_HINT_T1, _mm_prefetch},
    ptr,
};

/// Bytes of a cache line.
pub(crate) const LINE: usize = 64;

/// Starts to fetch `slice[index]` into the L1 cache. `index` may be past the end.
#[inline(always)]
pub(crate) fn prefetch<T>(slice: &[T], index: usize) {
    prefetch_at(slice.as_ptr().wrapping_add(index).addr());
}

/// Starts to fetch what is at an address into the L1 cache. It may be any address.
#[inline(always)]
pub(crate) fn prefetch_at(address: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint reads nothing and faults at no address, and every x86-64 has it.
    unsafe {
        _mm_prefetch::<_MM_HINT_T0>(ptr::without_provenance(address));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// The same into the L2 cache, which can wait for more lines at a time.
#[inline(always)]
pub(crate) fn prefetch_to_l2(address: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: as for [`prefetch_at`].
    unsafe {
        _mm_prefetch::<_MM_HINT_T1>(ptr::without_provenance(address));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
