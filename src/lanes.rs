//! Functions of lanes that `pulp` has not, has otherwise on each instruction set, or leaves to the optimizer to
//! inline (at `opt-level` 2 it did not, and a kernel called a function for every vector).

use pulp::Simd;

/// `a` where the mask is set, else `b`.
#[inline(always)]
pub(crate) fn select<S: Simd>(s: S, mask: S::m32s, a: S::f32s, b: S::f32s) -> S::f32s {
    s.transmute_f32s_u32s(s.select_u32s(mask, s.transmute_u32s_f32s(a), s.transmute_u32s_f32s(b)))
}

/// `x` without its sign.
#[inline(always)]
pub(crate) fn abs<S: Simd>(s: S, x: S::f32s) -> S::f32s {
    s.transmute_f32s_u32s(s.and_u32s(s.transmute_u32s_f32s(x), s.splat_u32s(0x7fff_ffff)))
}

/// The larger one; NaN if either is. `pulp`'s own passes a NaN on or not, by instruction set and by
/// which operand it is.
#[inline(always)]
pub(crate) fn max<S: Simd>(s: S, a: S::f32s, b: S::f32s) -> S::f32s {
    let larger = select(s, s.less_than_f32s(a, b), b, a);
    select(s, s.equal_f32s(b, b), larger, b)
}

/// 1, −1, or `+0` for a zero of either sign; a NaN stays one.
#[inline(always)]
pub(crate) fn sign<S: Simd>(s: S, x: S::f32s) -> S::f32s {
    let zero = s.splat_f32s(0.0);
    let negative = select(s, s.less_than_f32s(x, zero), s.splat_f32s(-1.0), zero);
    let sign = select(s, s.less_than_f32s(zero, x), s.splat_f32s(1.0), negative);
    select(s, s.equal_f32s(x, x), sign, x)
}
