//! A vector of `f32` that knows its instruction set, with operators, so that a formula reads as in its
//! paper.

use std::{
    ops::{Add, Div, Mul, Sub},
    slice,
};

use pulp::{
    Scalar, Simd,
    bytemuck::{self, Pod, Zeroable},
};

/// An instruction set: what `pulp` has of it, and what `pulp` lacks or defines differently on each.
/// Everything is inlined, always: a call that is left inside a loop leaves the instruction set behind.
pub trait Lanes: Simd {
    /// Numbers of 16 bits, one for each lane.
    type Halves: Copy + Pod;

    /// Is it faster to begin a vector's root before the quotient of the vector before is done? Where the
    /// CPU does not look far enough ahead to do so by itself.
    const PIPELINED: bool = false;

    /// Can it load and store some lanes of a vector about as fast as all?
    const PARTIAL_IS_FAST: bool = false;

    /// Is there [`Lanes::upper_halves`], as one operation?
    const HAS_UPPER_HALVES: bool = false;

    /// The same numbers in 32 bits.
    #[inline(always)]
    fn widened(self, x: Self::Halves) -> Self::u32s {
        let mut wide = self.splat_u32s(0);
        let from: &[u16] = bytemuck::cast_slice(slice::from_ref(&x));
        let to: &mut [u32] = bytemuck::cast_slice_mut(slice::from_mut(&mut wide));
        for (to, from) in to.iter_mut().zip(from) {
            *to = u32::from(*from);
        }
        wide
    }

    /// And back, where the upper 16 bits are 0.
    #[inline(always)]
    fn narrowed(self, x: Self::u32s) -> Self::Halves {
        let mut narrow = Self::Halves::zeroed();
        let to: &mut [u16] = bytemuck::cast_slice_mut(slice::from_mut(&mut narrow));
        for (to, from) in to.iter_mut().zip(bytemuck::cast_slice::<_, u32>(slice::from_ref(&x))) {
            *to = *from as u16;
        }
        narrow
    }

    /// The upper 16 bits of the lanes of two vectors.
    #[inline(always)]
    fn upper_halves(self, _: [Self::u32s; 2]) -> [Self::Halves; 2] {
        unreachable!("only called where HAS_UPPER_HALVES")
    }

    /// The elements of a slice that is no longer than a vector, and zeros.
    #[inline(always)]
    fn load_some(self, slice: &[f32]) -> Self::f32s {
        self.partial_load_f32s(slice)
    }

    /// The first elements of a vector, to a slice that is no longer.
    #[inline(always)]
    fn store_some(self, slice: &mut [f32], x: Self::f32s) {
        self.partial_store_f32s(slice, x);
    }

    /// `x`, or `+0` where the exponent field of `x` is zero.
    ///
    /// A moment whose gradient stops decays into the subnormal range and stays there for ever (0.9 times
    /// 4 ulp rounds to 4 ulp), where arithmetic is many times slower. Tested on integer bits: comparing
    /// floats would itself be slow on subnormals.
    #[inline(always)]
    fn zero_if_subnormal(self, x: Self::f32s) -> Self::f32s {
        let exponent = self.and_u32s(self.transmute_u32s_f32s(x), self.splat_u32s(EXPONENT));
        let none = self.equal_u32s(exponent, self.splat_u32s(0));
        select(self, none, self.splat_f32s(0.0), x)
    }

    /// The larger one; NaN if either is, and `a` of two zeros. (`pulp`'s own passes a NaN on or not, by
    /// instruction set and by which operand it is.)
    #[inline(always)]
    fn larger(self, a: Self::f32s, b: Self::f32s) -> Self::f32s {
        let larger = select(self, self.less_than_f32s(a, b), b, a);
        select(self, self.equal_f32s(b, b), larger, b)
    }

    /// `a·sign(x)`: `a`, `−a`, or 0 for a zero of either sign; a NaN for a NaN.
    #[inline(always)]
    fn with_sign_of(self, a: f32, x: Self::f32s) -> Self::f32s {
        let zero = self.splat_f32s(0.0);
        let negative = select(self, self.less_than_f32s(x, zero), self.splat_f32s(-a), zero);
        let signed = select(self, self.less_than_f32s(zero, x), self.splat_f32s(a), negative);
        select(self, self.equal_f32s(x, x), signed, x)
    }
}

/// The exponent field of a float.
const EXPONENT: u32 = 0x7f80_0000;

impl Lanes for Scalar {
    type Halves = [u16; 1];
}

#[cfg(target_arch = "aarch64")]
impl Lanes for pulp::aarch64::Neon {
    type Halves = [u16; 4];
}

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
impl Lanes for pulp::wasm::Simd128 {
    type Halves = [u16; 4];
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{__m128i, __m256i, _CMP_NGE_UQ, _CMP_NLE_UQ, _CMP_UNORD_Q};

    use pulp::{
        Simd, cast,
        x86::{V3, V4},
    };

    use super::{EXPONENT, Lanes, select};
    use crate::sys::partial;

    impl Lanes for V3 {
        type Halves = [u16; 8];

        const PIPELINED: bool = true;
        const PARTIAL_IS_FAST: bool = true;

        #[inline(always)]
        fn load_some(self, slice: &[f32]) -> Self::f32s {
            partial::load_8(self, slice)
        }

        #[inline(always)]
        fn store_some(self, slice: &mut [f32], x: Self::f32s) {
            partial::store_8(slice, x);
        }

        #[inline(always)]
        fn widened(self, x: [u16; 8]) -> Self::u32s {
            cast(self.avx2._mm256_cvtepu16_epi32(cast(x)))
        }

        #[inline(always)]
        fn narrowed(self, x: Self::u32s) -> [u16; 8] {
            let [low, high]: [__m128i; 2] = cast(x);
            cast(self.sse4_1._mm_packus_epi32(low, high))
        }

        /// Two operations instead of three: `vpsignd` gives 0 where its second operand is.
        #[inline(always)]
        fn zero_if_subnormal(self, x: Self::f32s) -> Self::f32s {
            let x: __m256i = cast(x);
            let exponent = self.avx2._mm256_and_si256(x, cast(self.splat_u32s(EXPONENT)));
            cast(self.avx2._mm256_sign_epi32(x, exponent))
        }

        /// `vmaxps` gives its second operand if either is NaN, and of two zeros. Where `b` is NaN all bits
        /// are set, which is a NaN, too: to choose `b` itself takes an Intel CPU three operations instead
        /// of one.
        #[inline(always)]
        fn larger(self, a: Self::f32s, b: Self::f32s) -> Self::f32s {
            let is_nan = self.avx._mm256_cmp_ps::<_CMP_UNORD_Q>(cast(b), cast(b));
            cast(self.avx._mm256_or_ps(cast(self.max_f32s(b, a)), is_nan))
        }

        /// A table instead of three choices. A comparison gives −1 where it is true, and those with a NaN
        /// are: `is_positive + 2·is_negative` is 0, −1, −2 or −3, whose lowest two bits are 0, 3, 2, 1.
        #[inline(always)]
        fn with_sign_of(self, a: f32, x: Self::f32s) -> Self::f32s {
            let (x, zero) = (cast(x), self.avx._mm256_setzero_ps());
            let is_positive: __m256i = cast(self.avx._mm256_cmp_ps::<_CMP_NLE_UQ>(x, zero));
            let is_negative: __m256i = cast(self.avx._mm256_cmp_ps::<_CMP_NGE_UQ>(x, zero));
            let place = self.avx2._mm256_add_epi32(is_positive, is_negative);
            let place = self.avx2._mm256_add_epi32(place, is_negative);
            let table = [0.0, f32::NAN, -a, a, 0.0, f32::NAN, -a, a];
            cast(self.avx._mm256_permutevar_ps(cast(table), place))
        }
    }

    impl Lanes for V4 {
        type Halves = [u16; 16];

        const PARTIAL_IS_FAST: bool = true;
        const HAS_UPPER_HALVES: bool = true;

        #[inline(always)]
        fn widened(self, x: [u16; 16]) -> Self::u32s {
            cast(self.avx512f._mm512_cvtepu16_epi32(cast(x)))
        }

        #[inline(always)]
        fn narrowed(self, x: Self::u32s) -> [u16; 16] {
            cast(self.avx512f._mm512_cvtepi32_epi16(cast(x)))
        }

        #[inline(always)]
        fn upper_halves(self, [a, b]: [Self::u32s; 2]) -> [[u16; 16]; 2] {
            const ODD: [u16; 32] = {
                let mut odd = [0; 32];
                let mut i = 0;
                while i < 32 {
                    odd[i] = 2 * i as u16 + 1;
                    i += 1;
                }
                odd
            };
            cast(self.avx512bw._mm512_permutex2var_epi16(cast(a), cast(ODD), cast(b)))
        }

        #[inline(always)]
        fn load_some(self, slice: &[f32]) -> Self::f32s {
            partial::load_16(self, slice)
        }

        #[inline(always)]
        fn store_some(self, slice: &mut [f32], x: Self::f32s) {
            partial::store_16(self, slice, x);
        }

        /// As on AVX2, but here a choice is one operation.
        #[inline(always)]
        fn larger(self, a: Self::f32s, b: Self::f32s) -> Self::f32s {
            select(self, self.equal_f32s(b, b), self.max_f32s(b, a), b)
        }

        /// The CPU has a table of eight kinds of numbers: for both kinds of NaN itself (2), for zeros 0
        /// (8), for what is positive 1 (a), for what is negative −1 (9).
        #[inline(always)]
        fn with_sign_of(self, a: f32, x: Self::f32s) -> Self::f32s {
            let table = cast(self.splat_u32s(0xa9a9_a822));
            let x = cast(x);
            let sign = self.avx512f._mm512_fixupimm_ps::<0>(x, x, table);
            self.mul_f32s(self.splat_f32s(a), cast(sign))
        }
    }
}

/// `a` where the mask is set, else `b`. (`pulp` leaves its own for floats to the optimizer to inline,
/// which at `opt-level` 2 it did not.)
#[inline(always)]
fn select<S: Simd>(s: S, mask: S::m32s, a: S::f32s, b: S::f32s) -> S::f32s {
    s.transmute_f32s_u32s(s.select_u32s(mask, s.transmute_u32s_f32s(a), s.transmute_u32s_f32s(b)))
}

/// A vector.
#[derive(Clone, Copy)]
pub struct Lane<S: Lanes> {
    s: S,
    pub(crate) x: S::f32s,
}

impl<S: Lanes> Lane<S> {
    #[inline(always)]
    pub(crate) fn new(s: S, x: S::f32s) -> Self {
        Self { s, x }
    }

    /// `x` in all lanes.
    #[inline(always)]
    pub(crate) fn splat(s: S, x: f32) -> Self {
        Self { s, x: s.splat_f32s(x) }
    }

    #[inline(always)]
    pub(crate) fn sqrt(self) -> Self {
        Self { x: self.s.sqrt_f32s(self.x), ..self }
    }

    /// The larger one; NaN if either is.
    #[inline(always)]
    pub(crate) fn max(self, other: Self) -> Self {
        Self { x: self.s.larger(self.x, other.x), ..self }
    }

    /// The same, and `+0` for what is less than zero.
    #[inline(always)]
    pub(crate) fn max_zero(self) -> Self {
        self.max(Self::splat(self.s, 0.0))
    }

    /// Without its sign.
    #[inline(always)]
    pub(crate) fn abs(self) -> Self {
        let s = self.s;
        let bits = s.and_u32s(s.transmute_u32s_f32s(self.x), s.splat_u32s(0x7fff_ffff));
        Self { x: s.transmute_f32s_u32s(bits), ..self }
    }

    /// `a·sign(x)`: [`Lanes::with_sign_of`].
    #[inline(always)]
    pub(crate) fn times_sign(a: f32, x: Self) -> Self {
        Self { x: x.s.with_sign_of(a, x.x), ..x }
    }

    /// Itself if `condition`, the same for all lanes, else `other` in all of them.
    #[inline(always)]
    pub(crate) fn only_if(self, condition: bool, other: f32) -> Self {
        let s = self.s;
        let all = s.equal_u32s(s.splat_u32s(condition.into()), s.splat_u32s(1));
        Self { x: select(s, all, self.x, s.splat_f32s(other)), ..self }
    }

    /// From `low` to `high`: the bound that it is beyond, else itself. A NaN stays one.
    #[inline(always)]
    pub(crate) fn clamp(self, [low, high]: [f32; 2]) -> Self {
        let Self { s, x } = self;
        let (low, high) = (s.splat_f32s(low), s.splat_f32s(high));
        let x = select(s, s.less_than_f32s(x, low), low, x);
        Self { x: select(s, s.less_than_f32s(high, x), high, x), ..self }
    }

    /// Itself, but `+0` where `x ≤ most`. (Where `x` is NaN it is not.)
    #[inline(always)]
    pub(crate) fn zero_where_at_most(self, x: Self, most: f32) -> Self {
        let s = self.s;
        let at_most = s.less_than_or_equal_f32s(x.x, s.splat_f32s(most));
        Self { x: select(s, at_most, s.splat_f32s(0.0), self.x), ..self }
    }

    /// Subnormal states are read as zero: [`Lanes::zero_if_subnormal`].
    #[inline(always)]
    pub(crate) fn zero_if_subnormal(self) -> Self {
        Self { x: self.s.zero_if_subnormal(self.x), ..self }
    }
}

/// An operator between two vectors, and between a vector and a number that is the same for all lanes.
macro_rules! operator {
    ($Operator:ident, $operator:ident, $function:ident) => {
        impl<S: Lanes> $Operator for Lane<S> {
            type Output = Self;

            #[inline(always)]
            fn $operator(self, other: Self) -> Self {
                Self { x: self.s.$function(self.x, other.x), ..self }
            }
        }

        impl<S: Lanes> $Operator<f32> for Lane<S> {
            type Output = Self;

            #[inline(always)]
            fn $operator(self, other: f32) -> Self {
                self.$operator(Self::splat(self.s, other))
            }
        }

        impl<S: Lanes> $Operator<Lane<S>> for f32 {
            type Output = Lane<S>;

            #[inline(always)]
            fn $operator(self, other: Lane<S>) -> Lane<S> {
                Lane::splat(other.s, self).$operator(other)
            }
        }
    };
}

operator!(Add, add, add_f32s);
operator!(Sub, sub, sub_f32s);
operator!(Mul, mul, mul_f32s);
operator!(Div, div, div_f32s);
