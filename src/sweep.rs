//! The only loop that applies a rule: whole vectors, then the tail in shorter ones by the same code, with subnormal states
//! read as zero.

use std::{array, mem};

use pulp::{Scalar, Scalar128b};

use crate::{
    Error, Isa,
    isa::Kernel,
    lane::{Lane, Lanes},
    rule::{Before, Configuration, Formula, Prelude, check_lengths},
    sys::prefetch,
};

/// Memory is asked for early when the arrays exceed every cache. On a Xeon this lifts Adam from 0.89 of streaming speed
/// to 1.0: the hardware prefetcher starts too late behind the root and the quotient. In cache it only costs instructions.
const FAR: usize = 64 << 20;

/// How many elements are stepped between two requests for memory; those of the next piece but one are asked for.
const PIECE: usize = 256;

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
    let update = Update::new(config, t)?;
    let far = is_far(bytes(w.len(), N));
    update.sweep(isa, w, g, state, far);
    Ok(())
}

/// A rule with its constants, ready to step arrays.
#[derive(Clone, Copy)]
pub(crate) struct Update<F> {
    formula: F,
    prelude: Prelude,
}

impl<F> Update<F> {
    /// Checks the configuration.
    #[inline]
    pub fn new<const N: usize, C: Configuration<N, Formula = F>>(
        config: &C,
        t: u64,
    ) -> Result<Self, Error> {
        Ok(Self { formula: config.formula(t)?, prelude: Prelude::new(config.decay())? })
    }

    /// The same for gradients that are multiplied by `scale`.
    pub fn scaled(mut self, scale: f32) -> Self {
        self.prelude.scale = scale;
        self
    }

    /// Steps arrays that are equally long. `far`: is memory to be asked for early?
    #[inline]
    pub fn sweep<const N: usize>(
        self,
        isa: Isa,
        w: &mut [f32],
        g: &[f32],
        state: [&mut [f32]; N],
        far: bool,
    ) where
        F: Formula<N>,
    {
        let Self { formula, prelude } = self;
        match prelude.bare() {
            Some(before) => isa.run(Sweep { formula, before, w, g, state, far }),
            None => isa.run(Sweep { formula, before: prelude.full(), w, g, state, far }),
        }
    }
}

/// A rule and the arrays it is to walk over, all equally long.
struct Sweep<'a, F, B, const N: usize> {
    formula: F,
    before: B,
    w: &'a mut [f32],
    g: &'a [f32],
    state: [&'a mut [f32]; N],
    far: bool,
}

impl<F: Formula<N>, B: Before, const N: usize> Kernel for Sweep<'_, F, B, N> {
    type Output = ();

    /// The tail goes four elements at a time, then one: up to fifteen single roots and quotients would
    /// cost more than all the rest of a short array.
    #[inline(always)]
    fn run<S: Lanes>(self, s: S) {
        let tail = self.whole_vectors(s);
        if S::F32_LANES > 4 {
            tail.whole_vectors(Scalar128b).whole_vectors(Scalar);
        } else if S::F32_LANES > 1 {
            tail.whole_vectors(Scalar);
        }
    }
}

impl<F: Formula<N>, B: Before, const N: usize> Sweep<'_, F, B, N> {
    /// Steps what fills whole vectors, and gives the rest back.
    #[inline(always)]
    fn whole_vectors<S: Lanes>(self, s: S) -> Self {
        let Self { formula, before, w, g, mut state, far } = self;
        let (w, w_rest) = S::as_mut_simd_f32s(w);
        let (g, g_rest) = S::as_simd_f32s(g);
        let mut state_rest: [&mut [f32]; N] = array::from_fn(|_| Default::default());
        let mut body: [&mut [S::f32s]; N] = array::from_fn(|_| Default::default());
        for k in 0..N {
            (body[k], state_rest[k]) = S::as_mut_simd_f32s(mem::take(&mut state[k]));
        }
        walk(s, formula, before, w, g, body, far && S::F32_LANES > 1);
        Self { formula, before, w: w_rest, g: g_rest, state: state_rest, far }
    }
}

/// The loop, piece by piece where memory is far. All slices have the same length. A function of slices, not of a `Sweep`,
/// because the compiler then knows them apart and vectorizes the scalar instruction set too.
#[inline(always)]
fn walk<S: Lanes, F: Formula<N>, B: Before, const N: usize>(
    s: S,
    formula: F,
    before: B,
    w: &mut [S::f32s],
    g: &[S::f32s],
    state: [&mut [S::f32s]; N],
    far: bool,
) {
    let n = w.len();
    // Said once more for the optimizer, which then drops the bounds checks below.
    let g = &g[..n];
    let mut state = state;
    for array in &mut state {
        *array = &mut mem::take(array)[..n];
    }
    let piece = if far { PIECE / S::F32_LANES } else { n };
    let mut start = 0;
    while start < n {
        let end = if far { n.min(start + piece) } else { n };
        if far {
            ask(w, start + 2 * piece, piece);
            ask(g, start + 2 * piece, piece);
            for array in &state {
                ask(array, start + 2 * piece, piece);
            }
        }
        if F::IS_SLOW && S::PIPELINED {
            let mut weight = begin(s, formula, before, w[start], g[start], &mut state, start);
            for i in start + 1..end {
                let next = begin(s, formula, before, w[i], g[i], &mut state, i);
                w[i - 1] = weight().x;
                weight = next;
            }
            w[end - 1] = weight().x;
        } else {
            for i in start..end {
                w[i] = begin(s, formula, before, w[i], g[i], &mut state, i)().x;
            }
        }
        start = end;
    }
}

/// Updates the states of vector `i`, and says how its weight is computed.
#[inline(always)]
fn begin<S: Lanes, F: Formula<N>, B: Before, const N: usize>(
    s: S,
    formula: F,
    before: B,
    w: S::f32s,
    g: S::f32s,
    state: &mut [&mut [S::f32s]; N],
    i: usize,
) -> impl FnOnce() -> Lane<S> + use<S, F, B, N> {
    let (w, g) = before.apply(Lane::new(s, w), Lane::new(s, g));
    let mut x = [Lane::splat(s, 0.0); N];
    for k in 0..N {
        x[k] = Lane::new(s, state[k][i]).zero_if_subnormal();
    }
    let (x, weight) = formula.update(w, g, x);
    for k in 0..N {
        state[k][i] = x[k].x;
    }
    weight
}

/// Asks for `count` elements from `start` on.
#[inline(always)]
fn ask<T>(array: &[T], start: usize, count: usize) {
    for i in (start..start + count).step_by((64 / size_of::<T>()).max(1)) {
        prefetch(array, i);
    }
}
