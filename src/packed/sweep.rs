//! The loop over blocks: decode the states into floats, step them by the kernel that every step has, encode them. A few
//! blocks at a time, so that a call is little beside them, and all of them stay in the nearest cache.

use std::ops::Range;

use super::{
    BLOCK, Kind,
    code::{Code, Dither, Quad, narrowed, widened},
    random::{HALF, Key, Words},
};
use crate::{Isa, isa::Kernel, lane::Lanes, many::zero, norm::Value, sys::prefetch};

/// How many blocks are decoded, stepped and encoded at a time. The three calls for them take 30 ns, a twentieth of the
/// whole; with more, 32 KiB of stack would no longer do.
const GROUP: usize = 16;

/// Prefetch distance in blocks, for arrays larger than any cache. Shorter distances or larger blocks request more lines
/// at once than the CPU can keep in flight.
const AHEAD: usize = 8;

/// The elements of a group, as floats. Vectors must not cross cache lines: what is stored across two is not at once there
/// to be loaded.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(super) struct Floats([f32; GROUP * BLOCK]);

impl Floats {
    const ZERO: Self = Self([0.0; GROUP * BLOCK]);
}

/// A group as floats, and its random bits. Made once for all that a thread steps: to clear it takes as long as to step a
/// small tensor.
pub(super) struct Scratch<E: Element, const N: usize> {
    states: [Floats; N],
    words: [Words; GROUP],
    wide: E::Wide,
}

impl<E: Element, const N: usize> Scratch<E, N> {
    pub fn new() -> Self {
        Self { states: [Floats::ZERO; N], words: [[0; HALF]; GROUP], wide: E::WIDE }
    }
}

/// Steps floats: weights, gradient, states.
pub(super) type Step<'a, const N: usize> = &'a (dyn Fn(&mut [f32], &[f32], [&mut [f32]; N]) + Sync);

/// What is the same for all blocks of a step.
#[derive(Clone, Copy)]
pub(super) struct Plan<'a, const N: usize> {
    pub isa: Isa,
    pub kinds: [Kind; N],
    pub step: Step<'a, N>,
    /// None to round to nearest.
    pub key: Option<Key>,
    /// Is the gradient to be set to zero after the step?
    pub zero_grad: bool,
    /// Is memory to be asked for early?
    pub far: bool,
}

/// A tensor, or what is between two blocks of it, with codes and scales apart: of each block the codes of its `N` states,
/// and `N` scales or none.
pub(super) struct Part<'a, C, E, const N: usize> {
    pub w: &'a mut [E],
    pub g: &'a mut [E],
    pub codes: &'a mut [[C; N]],
    pub scales: &'a mut [u8],
    /// The number of the first block, which its random bits depend on.
    pub first_block: u64,
}

impl<C: Code, E: Element, const N: usize> Part<'_, C, E, N> {
    pub fn step(&mut self, plan: &Plan<'_, N>, scratch: &mut Scratch<E, N>) {
        let Plan { isa, kinds, step, key, zero_grad, far } = *plan;
        for first in (0..self.codes.len()).step_by(GROUP) {
            let start = first * BLOCK;
            let n = self.w.len().min(start + GROUP * BLOCK) - start;
            let blocks = first..first + n.div_ceil(BLOCK);
            let scales = if C::SCALED { N * blocks.start..N * blocks.end } else { 0..0 };
            isa.run(Open {
                blocks: blocks.clone(),
                codes: self.codes,
                scales: &self.scales[scales.clone()],
                kinds,
                key: key.map(|key| (key, self.first_block + first as u64)),
                w: self.w,
                g: self.g,
                scratch,
                far,
            });
            let (w, g) = (&mut self.w[start..start + n], &mut self.g[start..start + n]);
            {
                let states = scratch.states.each_mut().map(|state| &mut state.0[..n]);
                let (w, g) = E::as_floats(w, g, &mut scratch.wide);
                step(w, g, states);
            }
            // What fills the last block up has no part in its scale.
            for state in &mut scratch.states {
                state.0[n..n.next_multiple_of(BLOCK)].fill(0.0);
            }
            isa.run(Close {
                codes: &mut self.codes[blocks],
                scales: &mut self.scales[scales],
                kinds,
                w,
                is_random: key.is_some(),
                scratch,
            });
            if zero_grad {
                zero(g, E::ZERO);
            }
        }
    }
}

/// Everything of a group as floats, and its random bits.
struct Open<'a, C, E: Element, const N: usize> {
    blocks: Range<usize>,
    /// All codes, weights and gradients: those that follow are asked for.
    codes: &'a [[C; N]],
    /// Those of the group.
    scales: &'a [u8],
    kinds: [Kind; N],
    /// And the number of the first block.
    key: Option<(Key, u64)>,
    w: &'a [E],
    g: &'a [E],
    scratch: &'a mut Scratch<E, N>,
    far: bool,
}

impl<C: Code, E: Element, const N: usize> Kernel for Open<'_, C, E, N> {
    type Output = ();

    #[inline(always)]
    fn run<S: Lanes>(&mut self, _: S) {
        let Scratch { states, words, wide } = &mut *self.scratch;
        let first = self.blocks.start;
        let (w, g) = (&self.w[first * BLOCK..], &self.g[first * BLOCK..]);
        let mut scales = self.scales.as_chunks::<N>().0.iter();
        // Said once more for the optimizer, here and in `Close`: there are at most `GROUP` blocks.
        let codes = self.codes[self.blocks.clone()].iter().enumerate().take(GROUP);
        for ((b, codes), (w, g)) in codes.zip(w.chunks(BLOCK).zip(g.chunks(BLOCK))) {
            if self.far {
                let (number, quads) = (first + b + AHEAD, N * size_of::<C>() / size_of::<Quad>());
                ask(C::quads(self.codes.as_flattened()), number * quads, quads);
                ask(self.w, number * BLOCK, BLOCK);
                ask(self.g, number * BLOCK, BLOCK);
            }
            // Codes without scales do not look at the zeros.
            let scales = scales.next().copied().unwrap_or([0; N]);
            for k in 0..N {
                codes[k].decode(self.kinds[k], scales[k], block(&mut states[k], b));
            }
            if let Some((key, first)) = self.key {
                words[b] = key.block(first + b as u64);
            }
            E::widen(b, w, g, wide);
        }
    }
}

/// And back.
struct Close<'a, C, E: Element, const N: usize> {
    codes: &'a mut [[C; N]],
    scales: &'a mut [u8],
    kinds: [Kind; N],
    w: &'a mut [E],
    /// Or rounded to nearest.
    is_random: bool,
    scratch: &'a mut Scratch<E, N>,
}

impl<C: Code, E: Element, const N: usize> Kernel for Close<'_, C, E, N> {
    type Output = ();

    #[inline(always)]
    fn run<S: Lanes>(&mut self, _: S) {
        let Scratch { states, words, wide } = &mut *self.scratch;
        let mut scales = self.scales.as_chunks_mut::<N>().0.iter_mut();
        let codes = self.codes.iter_mut().enumerate().take(GROUP);
        for ((b, codes), w) in codes.zip(self.w.chunks_mut(BLOCK)) {
            let dither = if self.is_random { Dither::random(&words[b]) } else { C::NEAREST };
            let mut new_scales = [0; N];
            for k in 0..N {
                new_scales[k] = codes[k].encode(self.kinds[k], k, block(&mut states[k], b), &dither);
            }
            if let Some(scales) = scales.next() {
                *scales = new_scales;
            }
            E::narrow(b, w, wide, &dither);
        }
    }
}

/// Block `b` of a group.
#[inline(always)]
fn block(floats: &mut Floats, b: usize) -> &mut [f32; BLOCK] {
    &mut floats.0.as_chunks_mut().0[b]
}

/// Asks for `count` elements from `start` on.
#[inline(always)]
fn ask<T>(slice: &[T], start: usize, count: usize) {
    for i in (start..start + count).step_by(64 / size_of::<T>()) {
        prefetch(slice, i);
    }
}

/// What weights and gradients are made of.
pub(super) trait Element: Value + Send {
    const ZERO: Self;

    /// Room for the weights and the gradient of a group as floats, where they are not.
    type Wide;
    const WIDE: Self::Wide;

    /// Writes block `b` of a group to its floats.
    fn widen(b: usize, w: &[Self], g: &[Self], wide: &mut Self::Wide);

    /// The weights and the gradient of a group as floats: `wide`, or what is floats already.
    fn as_floats<'a>(
        w: &'a mut [Self],
        g: &'a [Self],
        wide: &'a mut Self::Wide,
    ) -> (&'a mut [f32], &'a [f32]);

    /// Writes the weights of block `b` back, rounded.
    fn narrow(b: usize, w: &mut [Self], wide: &Self::Wide, dither: &Dither);
}

impl Element for f32 {
    const ZERO: Self = 0.0;

    type Wide = ();
    const WIDE: () = ();

    #[inline(always)]
    fn widen(_: usize, _: &[Self], _: &[Self], (): &mut ()) {}

    fn as_floats<'a>(w: &'a mut [Self], g: &'a [Self], (): &'a mut ()) -> (&'a mut [f32], &'a [f32]) {
        (w, g)
    }

    #[inline(always)]
    fn narrow(_: usize, _: &mut [Self], (): &(), _: &Dither) {}
}

/// bfloat16
impl Element for u16 {
    const ZERO: Self = 0;

    type Wide = [Floats; 2];
    const WIDE: [Floats; 2] = [Floats::ZERO; 2];

    #[inline(always)]
    fn widen(b: usize, w: &[Self], g: &[Self], [wide_w, wide_g]: &mut [Floats; 2]) {
        for (from, to) in [(w, wide_w), (g, wide_g)] {
            for (to, &from) in block(to, b).iter_mut().zip(from) {
                *to = widened(from);
            }
        }
    }

    fn as_floats<'a>(
        w: &'a mut [Self],
        g: &'a [Self],
        [wide_w, wide_g]: &'a mut [Floats; 2],
    ) -> (&'a mut [f32], &'a [f32]) {
        (&mut wide_w.0[..w.len()], &wide_g.0[..g.len()])
    }

    /// A NaN has come from bfloat16 or from an operation: there is nothing in its lower bits.
    #[inline(always)]
    fn narrow(b: usize, w: &mut [Self], [wide, _]: &[Floats; 2], dither: &Dither) {
        let below = dither.of_weights();
        let wide = &wide.0.as_chunks::<BLOCK>().0[b];
        for ((w, &wide), below) in w.iter_mut().zip(wide).zip(below) {
            *w = narrowed(wide, below);
        }
    }
}

impl Value for u16 {
    #[inline(always)]
    fn float(self) -> f32 {
        widened(self)
    }
}
