//! The only loop that applies a rule, with subnormal states read as zero: a head up to the first aligned
//! vector, whole vectors, and a tail. Head and tail are one vector each with lanes that are left alone, or
//! single elements, by the same code.

#![expect(
    clippy::needless_range_loop,
    reason = "iterators and their closures may stay calls, without the instruction set"
)]

mod fused;

use std::{array, mem, slice};

use half::bf16;
use pulp::Scalar;

use crate::{
    Error, Isa,
    formats::columns::{F32, Plain, Read, Storage, Vector},
    isa::Kernel,
    lane::{Lane, Lanes},
    optimizer::{Around, FusedWeights, Step},
    rule::{Bare, Before, Configuration, Decayed, Formula, Full, Update, arrays, check_lengths},
    sys::prefetch,
};
use fused::Fused;
pub(crate) use fused::fusible;

/// Memory is prefetched when the arrays exceed every cache: the hardware prefetcher starts too late while
/// square roots and quotients are computed. In cache it only costs instructions.
const FAR: usize = 64 << 20;

/// How many elements an array must have for a head of its own.
pub(crate) const WORTH_A_HEAD: usize = 1024;

/// The same where a head is one vector, for a rule without a root that it would wait for. On a Zen 4 with
/// AVX-512 a head takes SGD on rows of 128 elements from 142 to 120 ns, but Adagrad, which has a root, on 256
/// elements from 75 to 95. With AVX2 it takes momentum on 1,000 elements from 177 to 116.
const WORTH_A_FAST_HEAD: usize = 128;

/// The prefetch distance in bytes. Adam on a Zen 4: 256 to 512 are as fast as streaming, 768 and more
/// slower than none at all, and by a quarter with conversions in between. (On a Xeon there was no
/// difference from 1 to 4 KiB.)
const AHEAD: usize = 384;

/// How many weights are stepped before they are clamped: so few that they are still in the L1
/// cache. Two more operations in the kernel that has scale and L2 would cost steps without bounds 10 % in
/// cache.
const CLAMPED: usize = 2048;

/// Hands `then` the steps whose constants are those of `t`, with what a whole step does around them.
#[inline(always)]
pub(crate) fn with_constants<const N: usize, C: Configuration<N>>(
    isa: Isa,
    config: &C,
    t: u64,
    around: &Around,
    then: &mut dyn FnMut(&dyn Step),
) {
    let Around { scale, clamp } = *around;
    then(&RuleStep::<C, N> { isa, update: Update::new(config, t).scaled(scale), clamp });
}

/// The step of a rule whose constants are known.
pub(crate) struct RuleStep<C: Configuration<N>, const N: usize> {
    pub isa: Isa,
    pub update: Update<C::Formula>,
    /// The bounds of the new weights.
    pub clamp: Option<[f32; 2]>,
}

impl<C: Configuration<N>, const N: usize> Step for RuleStep<C, N> {
    fn plain(&self, w: &mut [f32], g: &[f32], state: &mut [&mut [f32]], far: bool) {
        let Self { isa, update, clamp } = self;
        let mut state = self::state::<C, N>(state);
        let Some(bounds) = *clamp else { return update.sweep(*isa, w, g, state, far) };
        let mut start = 0;
        while start < w.len() {
            let range = start..w.len().min(start + CLAMPED);
            let state = state.each_mut().map(|array| &mut array[range.clone()]);
            update.sweep(*isa, &mut w[range.clone()], &g[range.clone()], state, far);
            isa.run(Clamp { w: &mut w[range.clone()], bounds });
            start = range.end;
        }
    }

    fn fused(&self, w: FusedWeights<'_>, g: &[bf16], state: &mut [&mut [f32]]) -> bool {
        if !C::Formula::IS_FUSED || self.update.prelude.is_l2() || self.clamp.is_some() {
            return false;
        }
        let state = self::state::<C, N>(state);
        self.isa.run(Fused { update: &self.update, w, g, state })
    }
}

/// The states of a rule, as many as it has.
#[inline(always)]
fn state<'a, C: Configuration<N>, const N: usize>(state: &'a mut [&mut [f32]]) -> [&'a mut [f32]; N] {
    arrays::<C, N>(state).expect("as many states as the rule has, checked before")
}

/// Are arrays of `bytes` bytes too large for caches?
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
#[inline(always)]
pub(crate) fn step<const N: usize, C: Configuration<N>>(
    isa: Isa,
    config: &C,
    t: u64,
    w: &mut [f32],
    g: &[f32],
    state: [&mut [f32]; N],
) -> Result<(), Error> {
    check_lengths::<N, C>(w, g, state.each_ref().map(|array| &**array))?;
    config.check(t)?;
    let update = Update::new(config, t);
    update.check(config)?;
    let far = is_far(bytes(w.len(), N));
    update.sweep(isa, w, g, state, far);
    Ok(())
}

/// Keeps weights within bounds.
struct Clamp<'a> {
    w: &'a mut [f32],
    bounds: [f32; 2],
}

impl Kernel for Clamp<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Lanes>(&mut self, s: S) {
        let (vectors, rest) = S::as_mut_simd_f32s(self.w);
        for i in 0..vectors.len() {
            vectors[i] = Lane::new(s, vectors[i]).clamp(self.bounds).x;
        }
        for i in 0..rest.len() {
            rest[i] = Lane::new(Scalar, rest[i]).clamp(self.bounds).x;
        }
    }
}

impl<F> Update<F> {
    /// Steps arrays that are equally long. `far`: is memory to be prefetched?
    #[inline(always)]
    pub fn sweep<const N: usize>(
        &self,
        isa: Isa,
        w: &mut [f32],
        g: &[f32],
        state: [&mut [f32]; N],
        far: bool,
    ) where
        F: Formula<N>,
    {
        if F::IS_DECAYED && self.prelude.is_decay() {
            isa.run(Sweep { update: self, before: Decayed, w, g, state, far });
        } else if !F::IS_DECAYED && self.prelude.is_empty() {
            isa.run(Sweep { update: self, before: Bare, w, g, state, far });
        } else {
            isa.run(Sweep { update: self, before: Full, w, g, state, far });
        }
    }
}

/// How many elements are in front of the first one that has this alignment, where it pays to step them
/// apart, from a length of `worth` on. (Arrays that are allocated alike are mostly alike in this, too. Large
/// ones of `malloc` start 16 bytes into a line.) Vectors that cross cache lines cost Adam 4 to 9 % in
/// cache, and SGD 20 to 50 %.
#[inline(always)]
pub(crate) fn head_of<E>(w: &[E], alignment: usize, worth: usize) -> usize {
    let head = w.as_ptr().align_offset(alignment);
    if w.len() < worth || head > alignment / size_of::<E>() { 0 } else { head }
}

/// A rule and the arrays it is to walk over, all equally long.
struct Sweep<'a, F, B, const N: usize> {
    update: &'a Update<F>,
    before: B,
    w: &'a mut [f32],
    g: &'a [f32],
    state: [&'a mut [f32]; N],
    far: bool,
}

impl<F: Formula<N>, B: Before, const N: usize> Kernel for Sweep<'_, F, B, N> {
    type Output = ();

    #[inline(always)]
    fn run<S: Lanes>(&mut self, s: S) {
        let worth = if S::PARTIAL_IS_FAST && !F::IS_SLOW { WORTH_A_FAST_HEAD } else { WORTH_A_HEAD };
        if S::F32_LANES > 1
            && let Some(mut head) = self.split_head::<S>(worth)
        {
            head.tail(s);
        }
        self.whole_vectors(s);
        self.tail(s);
    }
}

impl<F: Formula<N>, B: Before, const N: usize> Sweep<'_, F, B, N> {
    /// Gives the elements of the head, and keeps the others.
    #[inline(always)]
    fn split_head<S: Lanes>(&mut self, worth: usize) -> Option<Self> {
        let head = head_of(self.w, size_of::<S::f32s>(), worth);
        if head == 0 {
            return None;
        }
        let (w, g);
        (w, self.w) = mem::take(&mut self.w).split_at_mut(head);
        (g, self.g) = self.g.split_at(head);
        let mut state: [&mut [f32]; N] = array::from_fn(|_| Default::default());
        for k in 0..N {
            (state[k], self.state[k]) = mem::take(&mut self.state[k]).split_at_mut(head);
        }
        Some(Self { update: self.update, before: self.before, w, g, state, far: self.far })
    }

    /// The tail is one vector with lanes that are left alone, where the CPU has such; elsewhere, where
    /// vectors have four lanes, it goes one element at a time.
    #[inline(always)]
    fn tail<S: Lanes>(&mut self, s: S) {
        if self.w.is_empty() {
            return;
        }
        if S::PARTIAL_IS_FAST {
            return self.partial(s);
        }
        if S::F32_LANES > 1 {
            self.whole_vectors(Scalar);
        }
    }

    /// Steps what is less than a vector. The lanes beyond it are zeros that nobody stores.
    #[inline(always)]
    fn partial<S: Lanes>(&mut self, s: S) {
        let mut loaded = [s.splat_f32s(0.0); N];
        for k in 0..N {
            loaded[k] = s.load_some(self.state[k]);
        }
        let (w, g) = (s.load_some(self.w), s.load_some(self.g));
        let mut state: [&mut [S::f32s]; N] = array::from_fn(|_| Default::default());
        for (state, loaded) in state.iter_mut().zip(&mut loaded) {
            *state = slice::from_mut(loaded);
        }
        let w = begin(s, *self.update, self.before, w, g, &mut state, 0)().x;
        s.store_some(self.w, w);
        for k in 0..N {
            s.store_some(self.state[k], loaded[k]);
        }
    }

    /// Steps what fills whole vectors, and keeps the rest.
    #[inline(always)]
    fn whole_vectors<S: Lanes>(&mut self, s: S) {
        let (w, g);
        (w, self.w) = S::as_mut_simd_f32s(mem::take(&mut self.w));
        (g, self.g) = S::as_simd_f32s(self.g);
        let mut state: [&mut [S::f32s]; N] = array::from_fn(|_| Default::default());
        for k in 0..N {
            (state[k], self.state[k]) = S::as_mut_simd_f32s(mem::take(&mut self.state[k]));
        }
        let beside = &mut [(); usize::MAX][..w.len()];
        if self.far && S::F32_LANES > 1 {
            walk::<true, S, F, B, Plain, F32, N>(s, *self.update, self.before, w, beside, g, state);
        } else {
            walk::<false, S, F, B, Plain, F32, N>(s, *self.update, self.before, w, beside, g, state);
        }
    }
}

/// The loop. All slices have the same length. A function of slices, not of a `Sweep`, because the
/// compiler then knows them apart and vectorizes the scalar instruction set too.
#[inline(always)]
pub(crate) fn walk<
    const FAR: bool,
    S: Lanes,
    F: Formula<N>,
    B: Before,
    W: Storage<S>,
    G: Read<S>,
    const N: usize,
>(
    s: S,
    update: Update<F>,
    before: B,
    w: &mut [Vector<S, W::W>],
    beside: &mut [Vector<S, W::Beside>],
    g: &[Vector<S, G>],
    state: [&mut [S::f32s]; N],
) {
    let n = w.len();
    // Said once more for the optimizer, which then drops the bounds checks below.
    let (g, beside) = (&g[..n], &mut beside[..n]);
    let mut state = state;
    for k in 0..N {
        state[k] = &mut mem::take(&mut state[k])[..n];
    }
    if F::IS_SLOW && S::PIPELINED {
        if n == 0 {
            return;
        }
        let (first, g_first) = (W::load(s, &w[0], &beside[0]), G::load(s, &g[0]));
        let mut weight = begin(s, update, before, first, g_first, &mut state, 0);
        for i in 1..n {
            if FAR {
                prefetch_all(w, beside, g, &state, i);
            }
            let (w_i, g_i) = (W::load(s, &w[i], &beside[i]), G::load(s, &g[i]));
            let next = begin(s, update, before, w_i, g_i, &mut state, i);
            W::store(s, weight().x, &mut w[i - 1], &mut beside[i - 1]);
            weight = next;
        }
        W::store(s, weight().x, &mut w[n - 1], &mut beside[n - 1]);
    } else {
        for i in 0..n {
            if FAR {
                prefetch_all(w, beside, g, &state, i);
            }
            let (w_i, g_i) = (W::load(s, &w[i], &beside[i]), G::load(s, &g[i]));
            let weight = begin(s, update, before, w_i, g_i, &mut state, i);
            W::store(s, weight().x, &mut w[i], &mut beside[i]);
        }
    }
}

/// Prefetches what comes after vector `i`.
#[inline(always)]
fn prefetch_all<W, B, G, T, const N: usize>(
    w: &[W],
    beside: &[B],
    g: &[G],
    state: &[&mut [T]; N],
    i: usize,
) {
    prefetch_after(w, i);
    prefetch_after(beside, i);
    prefetch_after(g, i);
    for k in 0..N {
        prefetch_after(state[k], i);
    }
}

#[inline(always)]
fn prefetch_after<T>(array: &[T], i: usize) {
    if size_of::<T>() > 0 {
        prefetch(array, i + AHEAD / size_of::<T>());
    }
}

/// Updates the states of vector `i`, and says how its weight is computed.
#[inline(always)]
fn begin<S: Lanes, F: Formula<N>, B: Before, const N: usize>(
    s: S,
    update: Update<F>,
    before: B,
    w: S::f32s,
    g: S::f32s,
    state: &mut [&mut [S::f32s]; N],
    i: usize,
) -> impl FnOnce() -> Lane<S> + use<S, F, B, N> {
    let (w, g) = before.apply(update.prelude, Lane::new(s, w), Lane::new(s, g));
    let mut x = [Lane::splat(s, 0.0); N];
    for k in 0..N {
        x[k] = Lane::new(s, state[k][i]).zero_if_subnormal();
    }
    let (x, weight) = update.formula.update(w, g, x);
    for k in 0..N {
        state[k][i] = x[k].x;
    }
    weight
}
