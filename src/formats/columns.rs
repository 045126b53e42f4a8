//! How the vectors of the loop are stored: as `f32`, as bfloat16, as both, or split. What
//! `narrow` does to a number is done to a vector here.

use half::{bf16, slice::HalfFloatSliceExt};
use pulp::bytemuck;

use crate::lane::Lanes;

/// An array as the loop sees it.
pub(crate) trait Column<S: Lanes> {
    /// What it is made of.
    type Element;

    /// As many of them as a vector has lanes.
    type Vector;

    /// The vectors of an array, whose length is a multiple of theirs.
    fn vectors(array: &mut [Self::Element]) -> &mut [Self::Vector];
}

/// A gradient.
pub(crate) trait Read<S: Lanes>: Column<S> {
    fn load(s: S, from: &Self::Vector) -> S::f32s;
}

/// Weights, and the array beside them.
pub(crate) trait Storage<S: Lanes> {
    type W: Column<S>;
    type Beside: Column<S>;

    fn load(s: S, w: &Vector<S, Self::W>, beside: &Vector<S, Self::Beside>) -> S::f32s;

    fn store(s: S, x: S::f32s, w: &mut Vector<S, Self::W>, beside: &mut Vector<S, Self::Beside>);
}

pub(crate) type Vector<S, C> = <C as Column<S>>::Vector;
pub(crate) type Element<S, C> = <C as Column<S>>::Element;

/// `f32`.
pub(crate) enum F32 {}

/// Bits of bfloat16.
pub(crate) enum Bf16 {}

/// The lower halves of split weights.
pub(crate) enum Low {}

/// No array: one whose elements have no bytes.
pub(crate) enum Nothing {}

impl<S: Lanes> Column<S> for F32 {
    type Element = f32;
    type Vector = S::f32s;

    #[inline(always)]
    fn vectors(array: &mut [f32]) -> &mut [S::f32s] {
        S::as_mut_simd_f32s(array).0
    }
}

impl<S: Lanes> Column<S> for Bf16 {
    type Element = bf16;
    type Vector = S::Halves;

    #[inline(always)]
    fn vectors(array: &mut [bf16]) -> &mut [S::Halves] {
        bytemuck::cast_slice_mut(array.reinterpret_cast_mut())
    }
}

impl<S: Lanes> Column<S> for Low {
    type Element = i16;
    type Vector = S::Halves;

    #[inline(always)]
    fn vectors(array: &mut [i16]) -> &mut [S::Halves] {
        bytemuck::cast_slice_mut(array)
    }
}

impl<S: Lanes> Column<S> for Nothing {
    type Element = ();
    type Vector = ();

    #[inline(always)]
    fn vectors(array: &mut [()]) -> &mut [()] {
        let count = array.len() / S::F32_LANES;
        &mut array[..count]
    }
}

impl<S: Lanes> Read<S> for F32 {
    #[inline(always)]
    fn load(_: S, from: &S::f32s) -> S::f32s {
        *from
    }
}

impl<S: Lanes> Read<S> for Bf16 {
    #[inline(always)]
    fn load(s: S, from: &S::Halves) -> S::f32s {
        s.transmute_f32s_u32s(up(s, s.widened(*from)))
    }
}

/// `f32` alone.
pub(crate) enum Plain {}

impl<S: Lanes> Storage<S> for Plain {
    type W = F32;
    type Beside = Nothing;

    #[inline(always)]
    fn load(_: S, w: &S::f32s, (): &()) -> S::f32s {
        *w
    }

    #[inline(always)]
    fn store(_: S, x: S::f32s, w: &mut S::f32s, (): &mut ()) {
        *w = x;
    }
}

/// `f32`, and the nearest bfloat16 beside it.
pub(crate) enum Copied {}

impl<S: Lanes> Storage<S> for Copied {
    type W = F32;
    type Beside = Bf16;

    #[inline(always)]
    fn load(_: S, w: &S::f32s, _: &S::Halves) -> S::f32s {
        *w
    }

    #[inline(always)]
    fn store(s: S, x: S::f32s, w: &mut S::f32s, copy: &mut S::Halves) {
        *w = x;
        *copy = s.narrowed(nearest(s, x));
    }
}

/// Split weights.
pub(crate) enum Split {}

impl<S: Lanes> Storage<S> for Split {
    type W = Bf16;
    type Beside = Low;

    #[inline(always)]
    fn load(s: S, high: &S::Halves, low: &S::Halves) -> S::f32s {
        // `low` counts as signed.
        let sign = s.splat_u32s(0x8000);
        let low = s.sub_u32s(s.xor_u32s(s.widened(*low), sign), sign);
        s.transmute_f32s_u32s(s.add_u32s(up(s, s.widened(*high)), low))
    }

    #[inline(always)]
    fn store(s: S, x: S::f32s, high: &mut S::Halves, low: &mut S::Halves) {
        let bits = s.transmute_u32s_f32s(x);
        let is_number = s.equal_f32s(x, x);
        let rounded = down(s, s.add_u32s(bits, s.splat_u32s(0x8000)));
        let nan = s.or_u32s(down(s, bits), s.splat_u32s(0x40));
        *high = s.narrowed(s.select_u32s(is_number, rounded, nan));
        let lower = s.and_u32s(bits, s.splat_u32s(0xffff));
        *low = s.narrowed(s.select_u32s(is_number, lower, s.splat_u32s(0)));
    }
}

/// The bits of the nearest bfloat16, ties to even.
#[inline(always)]
fn nearest<S: Lanes>(s: S, x: S::f32s) -> S::u32s {
    let bits = s.transmute_u32s_f32s(x);
    let odd = s.and_u32s(down(s, bits), s.splat_u32s(1));
    let rounded = down(s, s.add_u32s(bits, s.add_u32s(odd, s.splat_u32s(0x7fff))));
    s.select_u32s(s.equal_f32s(x, x), rounded, s.splat_u32s(0x7fc0))
}

/// The lower 16 bits as the upper ones.
#[inline(always)]
fn up<S: Lanes>(s: S, x: S::u32s) -> S::u32s {
    s.wrapping_dyn_shl_u32s(x, s.splat_u32s(16))
}

/// The upper 16 bits as the lower ones.
#[inline(always)]
pub(crate) fn down<S: Lanes>(s: S, x: S::u32s) -> S::u32s {
    s.wrapping_dyn_shr_u32s(x, s.splat_u32s(16))
}
