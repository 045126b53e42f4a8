//! Functions of lanes that are not the same on every instruction set, or not there.

use pulp::Simd;

/// The larger one; NaN if either is. `pulp`'s own passes a NaN on or not, by instruction set and by
/// which operand it is.
#[inline(always)]
pub(super) fn max<S: Simd>(s: S, a: S::f32s, b: S::f32s) -> S::f32s {
    let larger = s.select_f32s(s.less_than_f32s(a, b), b, a);
    s.select_f32s(s.equal_f32s(b, b), larger, b)
}

/// 1, −1, or `+0` for a zero of either sign; a NaN stays one.
#[inline(always)]
pub(super) fn sign<S: Simd>(s: S, x: S::f32s) -> S::f32s {
    let zero = s.splat_f32s(0.0);
    let negative = s.select_f32s(s.less_than_f32s(x, zero), s.splat_f32s(-1.0), zero);
    let sign = s.select_f32s(s.less_than_f32s(zero, x), s.splat_f32s(1.0), negative);
    s.select_f32s(s.equal_f32s(x, x), sign, x)
}
