//! Numbers of 16 bits, and `f32` cut in two: plain loops, which the compiler vectorizes for the
//! instruction set that they are inlined into. Everything is done on integer bits, so that no
//! instruction set can round in another way.

use half::{bf16, f16, slice::HalfFloatSliceExt};
use pulp::bytemuck;

use super::{
    BLOCK, INFINITY, MAGNITUDE, SIGN,
    columns::down,
    random::{HALF, Words},
};
use crate::lane::Lanes;

/// What a gradient is made of.
pub(crate) trait Value: Copy + Sync + 'static {
    fn float(self) -> f32;
}

impl Value for f32 {
    #[inline(always)]
    fn float(self) -> f32 {
        self
    }
}

impl Value for bf16 {
    #[inline(always)]
    fn float(self) -> f32 {
        self.wide()
    }
}

impl Value for f16 {
    #[inline(always)]
    fn float(self) -> f32 {
        self.wide()
    }
}

/// A type of 16 bits.
pub(crate) trait Narrow: Copy + 'static {
    const ZERO: Self;

    /// The same number.
    fn wide(self) -> f32;

    /// The nearest number, ties to even.
    fn nearest(x: f32) -> Self;

    /// Rounded by 16 random bits, which are the lower ones of `r`; the others are zero.
    fn random(x: f32, r: u32) -> Self;

    /// The bits of the least magnitude that `random_usual` is not for.
    const UNUSUAL: u32;

    /// The same for less than that, in fewer operations.
    fn random_usual(x: f32, r: u32) -> Self;

    /// And a block of such numbers.
    #[inline(always)]
    fn random_block<S: Lanes>(_: S, from: &[f32; BLOCK], to: &mut [Self; BLOCK], words: &Words) {
        round_by(from, to, words, Self::random_usual);
    }
}

impl Narrow for bf16 {
    const ZERO: Self = bf16::ZERO;

    #[inline(always)]
    fn wide(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }

    #[inline(always)]
    fn nearest(x: f32) -> Self {
        let x = x.to_bits();
        let rounded = x.wrapping_add(0x7fff + (x >> 16 & 1)) >> 16;
        bf16::from_bits(if is_nan(x) { 0x7fc0 } else { rounded as u16 })
    }

    #[inline(always)]
    fn random(x: f32, r: u32) -> Self {
        let x = x.to_bits();
        let rounded = x.wrapping_add(r) >> 16;
        // Infinite from a finite number that is nearer to the largest one.
        let too_large = (rounded & 0x7fff == 0x7f80) & (x & 0x8000 == 0) & (x & MAGNITUDE != INFINITY);
        let rounded = if too_large { rounded - 1 } else { rounded };
        bf16::from_bits(if is_nan(x) { 0x7fc0 } else { rounded as u16 })
    }

    /// The largest bfloat16: what is less is not rounded to infinity.
    const UNUSUAL: u32 = 0x7f7f_0000;

    #[inline(always)]
    fn random_usual(x: f32, r: u32) -> Self {
        bf16::from_bits((x.to_bits().wrapping_add(r) >> 16) as u16)
    }

    #[inline(always)]
    fn random_block<S: Lanes>(s: S, from: &[f32; BLOCK], to: &mut [Self; BLOCK], words: &Words) {
        // Elsewhere the compiler's own loop is as fast.
        if !S::HAS_UPPER_HALVES {
            return round_by(from, to, words, Self::random_usual);
        }
        let (from, words) = (S::as_simd_f32s(from).0, S::as_simd_u32s(words).0);
        let to: &mut [S::Halves] = bytemuck::cast_slice_mut(to.reinterpret_cast_mut());
        let half = words.len();
        let (from, to) = (&from[..2 * half], &mut to[..2 * half]);
        for pair in 0..half / 2 {
            let (a, b) = (2 * pair, 2 * pair + 1);
            // Read before anything is stored: the compiler does not know that `to` is elsewhere.
            let (r, q) = (words[a], words[b]);
            let sums = [add(s, from[a], lower(s, r)), add(s, from[b], lower(s, q))];
            [to[a], to[b]] = s.upper_halves(sums);
            let (a, b) = (half + a, half + b);
            let sums = [add(s, from[a], down(s, r)), add(s, from[b], down(s, q))];
            [to[a], to[b]] = s.upper_halves(sums);
        }
    }
}

/// The bits of `x`, and `r`.
#[inline(always)]
fn add<S: Lanes>(s: S, x: S::f32s, r: S::u32s) -> S::u32s {
    s.add_u32s(s.transmute_u32s_f32s(x), r)
}

#[inline(always)]
fn lower<S: Lanes>(s: S, word: S::u32s) -> S::u32s {
    s.and_u32s(word, s.splat_u32s(0xffff))
}

/// The least normal number of half precision, 2^-14, and half of the distance between two below it,
/// where it is 2^-24.
const LEAST_NORMAL_HALF: u32 = 0x3880_0000;

/// What the exponent fields of `f32` and half precision differ by, at the place that it has in half
/// precision.
const BIAS: u32 = (127 - 15) << 10;

/// Half precision's infinity.
const INFINITE_HALF: u32 = 0x7c00;

/// 65,520, from which on the nearest number of half precision is infinite.
const NEAREST_IS_INFINITE: u32 = 0x477f_f000;

impl Narrow for f16 {
    const ZERO: Self = f16::ZERO;

    #[inline(always)]
    fn wide(self) -> f32 {
        let x = u32::from(self.to_bits());
        let magnitude = x & 0x7fff;
        let exponent = if magnitude >= INFINITE_HALF { 2 * (127 - 15) } else { 127 - 15 };
        let normal = (magnitude << 13) + (exponent << 23);
        let subnormal = (magnitude as i32 as f32 * f32::from_bits((127 - 24) << 23)).to_bits();
        f32::from_bits((x & 0x8000) << 16 | if magnitude < 0x400 { subnormal } else { normal })
    }

    #[inline(always)]
    fn nearest(x: f32) -> Self {
        let bits = x.to_bits();
        let magnitude = bits & MAGNITUDE;
        let normal = (magnitude.wrapping_add(0xfff + (magnitude >> 13 & 1)) >> 13).wrapping_sub(BIAS);
        // From 0.5 to 1 two floats are 2^-24 apart, which is what half precision's subnormal numbers
        // are.
        let subnormal = (f32::from_bits(magnitude) + 0.5).to_bits().wrapping_sub(0.5_f32.to_bits());
        half_of(bits, if magnitude < LEAST_NORMAL_HALF { subnormal } else { normal })
    }

    #[inline(always)]
    fn random(x: f32, r: u32) -> Self {
        let bits = x.to_bits();
        let magnitude = bits & MAGNITUDE;
        let rounded = random_magnitude(magnitude, r);
        let too_large = (rounded == INFINITE_HALF) & (magnitude < NEAREST_IS_INFINITE);
        half_of(bits, if too_large { rounded - 1 } else { rounded })
    }

    /// 65,504, the largest number of half precision.
    const UNUSUAL: u32 = 0x477f_e000;

    #[inline(always)]
    fn random_usual(x: f32, r: u32) -> Self {
        let bits = x.to_bits();
        let magnitude = random_magnitude(bits & MAGNITUDE, r);
        f16::from_bits(((bits & SIGN) >> 16 | magnitude) as u16)
    }
}

/// The bits of a magnitude of `f32`, rounded to half precision with an unbounded exponent.
#[inline(always)]
fn random_magnitude(magnitude: u32, r: u32) -> u32 {
    let normal = (magnitude.wrapping_add(r >> 3) >> 13).wrapping_sub(BIAS);
    // In units of 2^-40: below 2^-14 these are integers of 26 bits, rounded towards zero.
    let exponent = magnitude >> 23;
    let shift = 112_u32.wrapping_sub(exponent).min(31);
    let units = ((magnitude & 0x7f_ffff | 0x80_0000) << 2) >> shift;
    let subnormal = (units + r) >> 16;
    if magnitude < LEAST_NORMAL_HALF { subnormal } else { normal }
}

/// Half precision with the sign of an `f32` of these bits, and its NaN.
#[inline(always)]
fn half_of(bits: u32, magnitude: u32) -> f16 {
    let magnitude = if is_nan(bits) { 0x7e00 } else { magnitude.min(INFINITE_HALF) };
    f16::from_bits(((bits & SIGN) >> 16 | magnitude) as u16)
}

#[inline(always)]
fn is_nan(bits: u32) -> bool {
    bits & MAGNITUDE > INFINITY
}

/// The `f32` that split weights are.
#[inline(always)]
pub(crate) fn joined(high: bf16, low: i16) -> f32 {
    f32::from_bits((u32::from(high.to_bits()) << 16).wrapping_add(low as u32))
}

/// An `f32` as split weights.
#[inline(always)]
pub(crate) fn split(x: f32) -> (bf16, i16) {
    let x = x.to_bits();
    let (high, low) =
        if is_nan(x) { (x >> 16 | 0x40, 0) } else { (x.wrapping_add(0x8000) >> 16, x & 0xffff) };
    (bf16::from_bits(high as u16), low as u16 as i16)
}

/// Widens as many numbers as both have.
#[inline(always)]
pub(crate) fn widen<E: Narrow>(from: &[E], to: &mut [f32]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = from.wide();
    }
}

/// Rounds as many numbers as both have to the nearest ones.
#[inline(always)]
pub(crate) fn narrow_nearest<E: Narrow>(from: &[f32], to: &mut [E]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = E::nearest(*from);
    }
}

/// Is `random_usual` for all of these?
#[inline(always)]
pub(crate) fn are_usual<E: Narrow>(from: &[f32]) -> bool {
    from.iter().fold(0, |largest, x| largest.max(x.to_bits() & MAGNITUDE)) < E::UNUSUAL
}

/// Rounds a block at random. `is_usual`: [`are_usual`] of those that count.
#[inline(always)]
pub(crate) fn narrow_random<S: Lanes, E: Narrow>(
    s: S,
    from: &[f32; BLOCK],
    to: &mut [E; BLOCK],
    words: &Words,
    is_usual: bool,
) {
    if is_usual {
        E::random_block(s, from, to, words);
    } else {
        round_by(from, to, words, E::random);
    }
}

#[inline(always)]
fn round_by<E: Narrow>(
    from: &[f32; BLOCK],
    to: &mut [E; BLOCK],
    words: &Words,
    rounded: impl Fn(f32, u32) -> E,
) {
    // A local, because the compiler cannot prove that `to` is apart from what is read.
    let from = *from;
    for i in 0..HALF {
        to[i] = rounded(from[i], words[i] & 0xffff);
    }
    for i in 0..HALF {
        to[HALF + i] = rounded(from[HALF + i], words[i] >> 16);
    }
}

/// Joins as many weights as all have.
#[inline(always)]
pub(crate) fn join(high: &[bf16], low: &[i16], to: &mut [f32]) {
    for (to, (high, low)) in to.iter_mut().zip(high.iter().zip(low)) {
        *to = joined(*high, *low);
    }
}

/// Splits as many weights as all have.
#[inline(always)]
pub(crate) fn split_all(from: &[f32], high: &mut [bf16], low: &mut [i16]) {
    for (from, (high, low)) in from.iter().zip(high.iter_mut().zip(low)) {
        (*high, *low) = split(*from);
    }
}
