//! Loads and stores of a vector's first lanes. `pulp` has such, but calls assembly for them, in which
//! AddressSanitizer sees nothing.

use std::arch::x86_64::__m512;

use pulp::{
    cast, f32x8, f32x16,
    x86::{V3, V4},
};

/// The elements of a slice of at most 16, and zeros.
#[inline(always)]
pub(crate) fn load_16(v4: V4, slice: &[f32]) -> f32x16 {
    let mask = lanes(slice.len());
    // SAFETY: reads as many floats from the slice's start as the mask has bits, which are no more than
    // the slice has.
    cast(unsafe { v4.avx512f._mm512_maskz_loadu_ps(mask, slice.as_ptr()) })
}

/// The first elements of a vector, to a slice of at most 16.
#[inline(always)]
pub(crate) fn store_16(v4: V4, slice: &mut [f32], x: f32x16) {
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

/// The elements of a slice of at most 8, and zeros.
#[inline(always)]
pub(crate) fn load_8(v3: V3, slice: &[f32]) -> f32x8 {
    const LOADED_OR_NOT: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
    let start = 8 - slice.len().min(8);
    let mask: [i32; 8] = *LOADED_OR_NOT[start..].first_chunk().expect("8 of 16 from 8 on at most");
    // SAFETY: reads as many floats from the slice's start as the mask has -1, which are no more than
    // the slice has.
    cast(unsafe { v3.avx._mm256_maskload_ps(slice.as_ptr(), cast(mask)) })
}

/// The first elements of a vector, to a slice of at most 8. Not by a mask, with which a call takes 3 to 8 ns
/// longer on a Zen 4.
#[inline(always)]
pub(crate) fn store_8(slice: &mut [f32], x: f32x8) {
    let [low, high]: [[f32; 4]; 2] = cast(x);
    let (fours, rest) = slice.as_chunks_mut::<4>();
    let last = match fours {
        [] => low,
        [first] => {
            *first = low;
            high
        }
        [first, second, ..] => {
            (*first, *second) = (low, high);
            return;
        }
    };
    match rest {
        [] => {}
        [a] => *a = last[0],
        [a, b] => [*a, *b] = [last[0], last[1]],
        [a, b, c, ..] => [*a, *b, *c] = [last[0], last[1], last[2]],
    }
}
