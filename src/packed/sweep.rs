//! The loop over blocks: decode the states into floats, step them by the loop that every step has, encode them.

use std::{array, marker::PhantomData};

use pulp::{Simd, WithSimd};

use super::{
    BLOCK, Packable,
    code::{Block, Code, Dither, Quad, narrowed, widened},
    random::Key,
};
use crate::{many::Scaled, norm::Value, rule::Rule, rules::Decayed, sweep::Sweep, sys::prefetch};

/// How many blocks before their use memory is asked for, where no cache holds the arrays. With less, or with larger
/// blocks, more is asked for at a time than can be under way.
const AHEAD: usize = 8;

/// A rule and the arrays it is to walk over. Of each block there are the codes of its `N` states, and `N` scales or none.
pub(super) struct BlockSweep<'a, P, R, E, C, const N: usize> {
    pub kinds: PhantomData<P>,
    pub rule: Decayed<R>,
    /// What gradients are multiplied by.
    pub scale: f32,
    pub w: &'a mut [E],
    pub g: &'a mut [E],
    pub codes: &'a mut [[C; N]],
    pub scales: &'a mut [u8],
    /// None to round to nearest.
    pub key: Option<Key>,
    /// The number of the first block, which its random bits depend on.
    pub first_block: u64,
    /// Is the gradient to be set to zero behind the step?
    pub zero_grad: bool,
    /// Is memory to be asked for early?
    pub far: bool,
}

impl<P: Packable<N>, R: Rule<N>, E: Element, C: Code, const N: usize> WithSimd
    for BlockSweep<'_, P, R, E, C, N>
{
    type Output = ();

    /// What does not fill a block is stepped as one that zeros fill up.
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { kinds, rule, scale, w, g, codes, scales, key, first_block, zero_grad, far } = self;
        let each = Each { kinds, rule, scale, key, zero_grad };
        let (w, w_rest) = w.as_chunks_mut::<BLOCK>();
        let (g, g_rest) = g.as_chunks_mut::<BLOCK>();
        let mut scales = scales.as_chunks_mut::<N>().0.iter_mut();
        let (whole, rest) = (w.len(), w_rest.len());
        let (mut last_w, mut last_g) = (filled(w_rest, E::ZERO), filled(g_rest, E::ZERO));
        for b in 0..codes.len() {
            if far {
                ask(w.as_flattened(), b + AHEAD, BLOCK);
                ask(g.as_flattened(), b + AHEAD, BLOCK);
                ask(C::quads(codes.as_flattened()), b + AHEAD, N * size_of::<C>() / size_of::<Quad>());
            }
            let (w, g, len) =
                if b < whole { (&mut w[b], &mut g[b], BLOCK) } else { (&mut last_w, &mut last_g, rest) };
            each.step(s, first_block + b as u64, (w, g, &mut codes[b]), scales.next(), len);
        }
        w_rest.copy_from_slice(&last_w[..rest]);
        if zero_grad {
            g_rest.fill(E::ZERO);
        }
    }
}

/// What is the same for each block.
struct Each<P, R> {
    kinds: PhantomData<P>,
    rule: Decayed<R>,
    scale: f32,
    key: Option<Key>,
    zero_grad: bool,
}

/// Weights, gradient and codes of a block.
type Arrays<'a, E, C, const N: usize> = (&'a mut [E; BLOCK], &'a mut [E; BLOCK], &'a mut [C; N]);

impl<P, R> Each<P, R> {
    /// Steps the block of this number, of whose elements `len` are there. What is not has no part in a scale.
    #[inline(always)]
    fn step<S: Simd, E: Element, C: Code, const N: usize>(
        &self,
        s: S,
        number: u64,
        (w, g, codes): Arrays<'_, E, C, N>,
        scales: Option<&mut [u8; N]>,
        len: usize,
    ) where
        P: Packable<N>,
        R: Rule<N>,
    {
        let mut none = [0; N];
        let scales = scales.unwrap_or(&mut none);
        let words;
        let dither = match self.key {
            Some(key) => {
                words = key.block(number);
                Dither::random(&words)
            }
            None => C::NEAREST,
        };
        let mut states: [Block; N] = array::from_fn(|k| codes[k].decode(P::KINDS[k], scales[k]));
        let (states_mut, scale) = (states.each_mut(), self.scale);
        // Here and not around it all, so that codes are made by one kernel for all kinds of decay.
        match self.rule {
            Decayed::Not(rule) => E::step(s, Scaled { rule, scale }, w, g, states_mut, &dither),
            Decayed::L2(rule) => E::step(s, Scaled { rule, scale }, w, g, states_mut, &dither),
            Decayed::Decoupled(rule) => E::step(s, Scaled { rule, scale }, w, g, states_mut, &dither),
        }
        if len < BLOCK {
            for state in &mut states {
                for i in 0..BLOCK {
                    state.0[i] = if i < len { state.0[i] } else { 0.0 };
                }
            }
        }
        let mut encode = |k: usize| {
            scales[k] = codes[k].encode(P::KINDS[k], k, &mut states[k], &dither);
        };
        // One after the other: the compiler would leave a loop a loop, and ask in it which state it is.
        const { assert!(0 < N && N <= 2) };
        encode(0);
        if N == 2 {
            encode(1);
        }
        if self.zero_grad {
            *g = [E::ZERO; BLOCK];
        }
    }
}

/// A slice that is shorter than a block, filled up.
#[inline(always)]
fn filled<T: Copy>(slice: &[T], zero: T) -> [T; BLOCK] {
    let mut block = [zero; BLOCK];
    block[..slice.len()].copy_from_slice(slice);
    block
}

/// Asks for a block of so many elements.
#[inline(always)]
fn ask<T>(slice: &[T], number: usize, len: usize) {
    for line in (0..len).step_by(64 / size_of::<T>()) {
        prefetch(slice, number * len + line);
    }
}

/// What weights and gradients are made of.
pub(super) trait Element: Value + Send {
    const ZERO: Self;

    /// Steps a block whose states are decoded.
    fn step<S: Simd, R: Rule<N>, const N: usize>(
        s: S,
        rule: R,
        w: &mut [Self; BLOCK],
        g: &[Self; BLOCK],
        state: [&mut Block; N],
        dither: &Dither,
    );
}

impl Element for f32 {
    const ZERO: Self = 0.0;

    #[inline(always)]
    fn step<S: Simd, R: Rule<N>, const N: usize>(
        s: S,
        rule: R,
        w: &mut [Self; BLOCK],
        g: &[Self; BLOCK],
        state: [&mut Block; N],
        _: &Dither,
    ) {
        Sweep { rule, w, g: &g[..], state: state.map(|state| &mut state.0[..]), far: false }
            .with_simd(s);
    }
}

/// bfloat16
impl Element for u16 {
    const ZERO: Self = 0;

    #[inline(always)]
    fn step<S: Simd, R: Rule<N>, const N: usize>(
        s: S,
        rule: R,
        w: &mut [Self; BLOCK],
        g: &[Self; BLOCK],
        state: [&mut Block; N],
        dither: &Dither,
    ) {
        let (mut wide, wide_g) = (Block(w.map(widened)), Block(g.map(widened)));
        f32::step(s, rule, &mut wide.0, &wide_g.0, state, dither);
        // A NaN has come from bfloat16 or from an operation: nothing stands in its lower bits.
        let below = dither.of_weights();
        for i in 0..BLOCK {
            w[i] = narrowed(wide.0[i], below[i]);
        }
    }
}

impl Value for u16 {
    #[inline(always)]
    fn float(self) -> f32 {
        widened(self)
    }
}
