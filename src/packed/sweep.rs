//! The loop over blocks: decode the states into floats, step them by the kernel that every step has, encode them. A few
//! blocks at a time, so that a call is little beside them, and all of them stay in the nearest cache.

use super::{
    BLOCK, Kind,
    code::{Code, Dither, Quad, narrowed, widened},
    random::{HALF, Key, Words},
};
use crate::{Isa, isa::Kernel, lane::Lanes, norm::Value, sys::prefetch};

/// How many blocks are decoded, stepped and encoded at a time. With four, the calls between take an eighth of the time.
const GROUP: usize = 8;

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

/// Steps floats: weights, gradient, states. The last argument: is the memory of weights and gradient far?
pub(super) type Step<'a, const N: usize> =
    &'a (dyn Fn(&mut [f32], &[f32], [&mut [f32]; N], bool) + Sync);

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
    pub fn step(&mut self, plan: &Plan<'_, N>) {
        let mut states = [Floats::ZERO; N];
        let mut words = [[0; HALF]; GROUP];
        let mut wide = E::WIDE;
        for first in (0..self.codes.len()).step_by(GROUP) {
            let start = first * BLOCK;
            let end = self.w.len().min(start + GROUP * BLOCK);
            let blocks = first..end.div_ceil(BLOCK);
            let scales = if C::SCALED { N * blocks.start..N * blocks.end } else { 0..0 };
            plan.isa.run(Decode {
                codes: &self.codes[first..],
                scales: &self.scales[scales.clone()],
                kinds: plan.kinds,
                key: plan.key.map(|key| (key, self.first_block + first as u64)),
                states: &mut states,
                words: &mut words[..blocks.len()],
                far: plan.far,
            });
            let words = plan.key.map(|_| &words[..]);
            let (w, g) = (&mut self.w[start..end], &mut self.g[start..end]);
            let n = w.len();
            E::step(plan, w, g, words, &mut wide, &mut |w, g, far| {
                (plan.step)(w, g, states.each_mut().map(|state| &mut state.0[..n]), far);
            });
            // What fills the last block up has no part in its scale.
            for state in &mut states {
                state.0[n..].fill(0.0);
            }
            let scales = &mut self.scales[scales];
            plan.isa.run(Encode { codes: &mut self.codes[blocks], scales, kinds: plan.kinds, states: &mut states, words });
            if plan.zero_grad {
                g.fill(E::ZERO);
            }
        }
    }
}

/// The states of a group from their codes, and its random bits: as many blocks as there are words for.
struct Decode<'a, C, const N: usize> {
    /// Those that follow, too.
    codes: &'a [[C; N]],
    scales: &'a [u8],
    kinds: [Kind; N],
    /// And the number of the first block.
    key: Option<(Key, u64)>,
    states: &'a mut [Floats; N],
    words: &'a mut [Words],
    far: bool,
}

impl<C: Code, const N: usize> Kernel for Decode<'_, C, N> {
    type Output = ();

    #[inline(always)]
    fn run<S: Lanes>(&mut self, _: S) {
        let Self { codes, scales, kinds, key, states, words, far } = self;
        for (b, words) in words.iter_mut().enumerate() {
            if *far {
                let quads = N * size_of::<C>() / size_of::<Quad>();
                ask(C::quads(codes.as_flattened()), (b + AHEAD) * quads, quads);
            }
            for k in 0..N {
                let scale = if C::SCALED { scales[N * b + k] } else { 0 };
                codes[b][k].decode(kinds[k], scale, block(&mut states[k], b));
            }
            if let Some((key, first)) = key {
                *words = key.block(*first + b as u64);
            }
        }
    }
}

/// And back.
struct Encode<'a, C, const N: usize> {
    codes: &'a mut [[C; N]],
    scales: &'a mut [u8],
    kinds: [Kind; N],
    states: &'a mut [Floats; N],
    words: Option<&'a [Words]>,
}

impl<C: Code, const N: usize> Kernel for Encode<'_, C, N> {
    type Output = ();

    #[inline(always)]
    fn run<S: Lanes>(&mut self, _: S) {
        let Self { codes, scales, kinds, states, words } = self;
        for (b, codes) in codes.iter_mut().enumerate() {
            let dither = words.map_or(C::NEAREST, |words| Dither::random(&words[b]));
            for k in 0..N {
                let scale = codes[k].encode(kinds[k], k, block(&mut states[k], b), &dither);
                if C::SCALED {
                    scales[N * b + k] = scale;
                }
            }
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

    /// Room for the weights and the gradient of a group as floats.
    type Wide;
    const WIDE: Self::Wide;

    /// Calls `step` with the weights and the gradient of a group as floats. The random bits are for weights that have to
    /// be rounded.
    fn step<const N: usize>(
        plan: &Plan<'_, N>,
        w: &mut [Self],
        g: &[Self],
        words: Option<&[Words]>,
        wide: &mut Self::Wide,
        step: &mut dyn FnMut(&mut [f32], &[f32], bool),
    );
}

impl Element for f32 {
    const ZERO: Self = 0.0;

    type Wide = ();
    const WIDE: () = ();

    fn step<const N: usize>(
        plan: &Plan<'_, N>,
        w: &mut [Self],
        g: &[Self],
        _: Option<&[Words]>,
        (): &mut (),
        step: &mut dyn FnMut(&mut [f32], &[f32], bool),
    ) {
        step(w, g, plan.far);
    }
}

/// bfloat16
impl Element for u16 {
    const ZERO: Self = 0;

    type Wide = [Floats; 2];
    const WIDE: [Floats; 2] = [Floats::ZERO; 2];

    fn step<const N: usize>(
        plan: &Plan<'_, N>,
        w: &mut [Self],
        g: &[Self],
        words: Option<&[Words]>,
        [wide_w, wide_g]: &mut [Floats; 2],
        step: &mut dyn FnMut(&mut [f32], &[f32], bool),
    ) {
        let (n, far) = (w.len(), plan.far);
        plan.isa.run(Widen { from: w, to: &mut wide_w.0[..n], far });
        plan.isa.run(Widen { from: g, to: &mut wide_g.0[..n], far });
        step(&mut wide_w.0[..n], &wide_g.0[..n], false);
        plan.isa.run(Narrow { from: &wide_w.0[..n], to: w, words });
    }
}

struct Widen<'a> {
    from: &'a [u16],
    to: &'a mut [f32],
    far: bool,
}

impl Kernel for Widen<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Lanes>(&mut self, _: S) {
        let Self { from, to, far } = self;
        for (b, (from_block, to)) in from.chunks(BLOCK).zip(to.chunks_mut(BLOCK)).enumerate() {
            if *far {
                ask(from, (b + AHEAD) * BLOCK, BLOCK);
            }
            for (to, &from) in to.iter_mut().zip(from_block) {
                *to = widened(from);
            }
        }
    }
}

struct Narrow<'a> {
    from: &'a [f32],
    to: &'a mut [u16],
    words: Option<&'a [Words]>,
}

impl Kernel for Narrow<'_> {
    type Output = ();

    /// A NaN has come from bfloat16 or from an operation: there is nothing in its lower bits.
    #[inline(always)]
    fn run<S: Lanes>(&mut self, _: S) {
        let Self { from, to, words } = self;
        for (b, (from, to)) in from.chunks(BLOCK).zip(to.chunks_mut(BLOCK)).enumerate() {
            // Only weights are looked at, which all codes round alike.
            let dither = words.map_or(Dither::NEAREST_WEIGHT, |words| Dither::random(&words[b]));
            let below = dither.of_weights();
            for ((to, &from), below) in to.iter_mut().zip(from).zip(below) {
                *to = narrowed(from, below);
            }
        }
    }
}

impl Value for u16 {
    #[inline(always)]
    fn float(self) -> f32 {
        widened(self)
    }
}
