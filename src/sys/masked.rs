//! Loads and stores of a vector's first lanes. `pulp` has such, but calls assembly for them, in which
//! AddressSanitizer sees nothing.

use std::arch::x86_64::__m512;

use pulp::{cast, f32x16, x86::V4};

/// The elements of a slice of at most 16, and zeros.
#[inline(always)]
pub(crate) fn load(v4: V4, slice: &[f32]) -> f32x16 {
    let mask = lanes(slice.len());
    // SAFETY: reads as many floats from the slice's start as the mask has bits, which are no more than
    // the slice has.
    cast(unsafe { v4.avx512f._mm512_maskz_loadu_ps(mask, slice.as_ptr()) })
}

/// The first elements of a vector, to a slice of at most 16.
#[inline(always)]
pub(crate) fn store(v4: V4, slice: &mut [f32], x: f32x16) {
    let (mask, x) = (lanes(slice.len()), cast::<_, __m512>(x));
    // SAFETY: writes as many floats to the slice's start as the mask has bits, which are no more than
    // the slice has.
    unsafe { v4.avx512f._mm512_mask_storeu_ps(slice.as_mut_ptr(), mask, x) };
}

/// A bit for each of the first `count` lanes.
#[inline(always)]
fn lanes(count: usize) -> u16 {
    if count < 16 { (1 << count) - 1 } else { u16::MAX }
}
