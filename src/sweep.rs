//! The only loop that applies a rule: whole vectors, then the tail in shorter ones by the same
//! code, with subnormal states read as zero.

use std::{array, mem};

use pulp::{Scalar, Scalar128b, Simd, WithSimd};

use crate::{
    Error, Isa, lanes,
    rule::{Configuration, Job, Rule, check_lengths},
    sys::prefetch,
};

/// From this many bytes of arrays on, which no cache holds, memory is asked for early. Adam then streams
/// like a loop that computes nothing (without: 0.89 of it on a Xeon, where hardware fetches too late
/// behind roots and quotients); in a cache it would only cost instructions.
const FAR: usize = 64 << 20;

/// How many bytes before their use. From 1 to 4 KiB there is no difference.
const AHEAD: usize = 2 << 10;

/// Are arrays of so many bytes too large for caches?
#[inline(always)]
pub(crate) fn is_far(bytes: usize) -> bool {
    bytes >= FAR
}

/// The bytes of `n` weights, their gradient and `states` states.
#[inline(always)]
pub(crate) fn bytes(n: usize, states: usize) -> usize {
    n * (states + 2) * size_of::<f32>()
}

/// One step of a configured rule over whole arrays, on the calling thread.
#[inline]
pub(crate) fn step<const N: usize, C: Configuration<N>>(
    isa: Isa,
    config: &C,
    t: u64,
    w: &mut [f32],
    g: &[f32],
    state: [&mut [f32]; N],
) -> Result<(), Error> {
    check_lengths::<N, C>(w, g, state.each_ref().map(|array| &**array))?;
    config.apply(t, Step { isa, w, g, state })
}

struct Step<'a, const N: usize> {
    isa: Isa,
    w: &'a mut [f32],
    g: &'a [f32],
    state: [&'a mut [f32]; N],
}

impl<const N: usize> Job<N> for Step<'_, N> {
    #[inline(always)]
    fn run<R: Rule<N>>(self, rule: R) {
        let Self { isa, w, g, state } = self;
        let far = is_far(bytes(w.len(), N));
        isa.run(Sweep { rule, w, g, state, far });
    }
}

/// A rule and the arrays it is to walk over, all equally long.
pub(crate) struct Sweep<'a, R, G, const N: usize> {
    pub rule: R,
    pub w: &'a mut [f32],
    pub g: G,
    pub state: [&'a mut [f32]; N],
    /// Is memory to be asked for early?
    pub far: bool,
}

impl<R: Rule<N>, G: Gradient, const N: usize> WithSimd for Sweep<'_, R, G, N> {
    type Output = ();

    /// The tail goes four elements at a time, then one: up to fifteen single roots and quotients would
    /// cost more than all the rest of a short array.
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        self.whole_vectors(s).whole_vectors(Scalar128b).whole_vectors(Scalar);
    }
}

impl<R: Rule<N>, G: Gradient, const N: usize> Sweep<'_, R, G, N> {
    /// Steps what fills whole vectors, and gives the rest back.
    #[inline(always)]
    fn whole_vectors<S: Simd>(self, s: S) -> Self {
        let Self { rule, w, g, mut state, far } = self;
        let (w, w_rest) = S::as_mut_simd_f32s(w);
        let (g, g_rest) = g.split::<S>();
        let mut state_rest: [&mut [f32]; N] = array::from_fn(|_| Default::default());
        let state = array::from_fn(|k| {
            let (body, rest) = S::as_mut_simd_f32s(mem::take(&mut state[k]));
            state_rest[k] = rest;
            body
        });
        walk(s, rule, w, g, state, far);
        Self { rule, w: w_rest, g: g_rest, state: state_rest, far }
    }
}

/// A gradient: a shared slice is read, and an exclusive one is set to zero behind the step.
pub(crate) trait Gradient: Sized {
    type Vectors<S: Simd>: Lanes<S::f32s>;

    /// What fills whole vectors, and the rest.
    fn split<S: Simd>(self) -> (Self::Vectors<S>, Self);
}

impl<'a> Gradient for &'a [f32] {
    type Vectors<S: Simd> = &'a [S::f32s];

    #[inline(always)]
    fn split<S: Simd>(self) -> (&'a [S::f32s], Self) {
        S::as_simd_f32s(self)
    }
}

impl<'a> Gradient for &'a mut [f32] {
    type Vectors<S: Simd> = &'a mut [S::f32s];

    #[inline(always)]
    fn split<S: Simd>(self) -> (&'a mut [S::f32s], Self) {
        S::as_mut_simd_f32s(self)
    }
}

/// The vectors of a [`Gradient`].
pub(crate) trait Lanes<T> {
    fn all(&self) -> &[T];

    /// Vector `i`, which is not asked for again; `zero` may take its place.
    fn take(&mut self, i: usize, zero: T) -> T;
}

impl<T: Copy> Lanes<T> for &[T] {
    #[inline(always)]
    fn all(&self) -> &[T] {
        self
    }

    #[inline(always)]
    fn take(&mut self, i: usize, _zero: T) -> T {
        self[i]
    }
}

impl<T> Lanes<T> for &mut [T] {
    #[inline(always)]
    fn all(&self) -> &[T] {
        self
    }

    #[inline(always)]
    fn take(&mut self, i: usize, zero: T) -> T {
        mem::replace(&mut self[i], zero)
    }
}

/// The loop. All slices have the same length: `step` has checked it, and all are split at the same
/// place. A function of slices, not of a `Sweep`, because the compiler then knows them apart and
/// vectorizes the scalar instruction set too.
#[inline(always)]
fn walk<S: Simd, R: Rule<N>, const N: usize>(
    s: S,
    rule: R,
    w: &mut [S::f32s],
    mut g: impl Lanes<S::f32s>,
    state: [&mut [S::f32s]; N],
    far: bool,
) {
    let n = w.len();
    // Said once more for the optimizer, which then drops the bounds checks below.
    assert!(g.all().len() == n);
    let state = state.map(|array| &mut array[..n]);
    for i in 0..n {
        if far && S::F32_LANES > 1 {
            let ahead = i + AHEAD / size_of::<S::f32s>();
            prefetch(w, ahead);
            prefetch(g.all(), ahead);
            for array in &state {
                prefetch(array, ahead);
            }
        }
        let mut x = [s.splat_f32s(0.0); N];
        for k in 0..N {
            x[k] = zero_if_subnormal(s, state[k][i]);
        }
        (w[i], x) = rule.update(s, w[i], g.take(i, s.splat_f32s(0.0)), x);
        for k in 0..N {
            state[k][i] = x[k];
        }
    }
}

/// `x`, or `+0` where the exponent field of `x` is zero.
///
/// A moment whose gradient stops decays into the subnormal range and stays there for ever (0.9 times
/// 4 ulp rounds to 4 ulp), where arithmetic is many times slower. Tested on integer bits: comparing
/// floats would itself be slow on subnormals.
#[inline(always)]
fn zero_if_subnormal<S: Simd>(s: S, x: S::f32s) -> S::f32s {
    let exponent = s.and_u32s(s.transmute_u32s_f32s(x), s.splat_u32s(0x7f80_0000));
    let none = s.equal_u32s(exponent, s.splat_u32s(0));
    lanes::select(s, none, s.splat_f32s(0.0), x)
}
