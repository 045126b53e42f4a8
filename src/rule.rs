//! What a rule is: a pure function of one vector of lanes, `(w, g, state) -> (w', state')`.
//!
//! The traits are public because [`optimizer`](crate::optimizer()) takes any configuration, and their
//! module is not: the rules are this crate's.

use std::fmt;

use pulp::Simd;

use crate::{Error, Extras, Isa, Report, Tensor, Threads, rules::Decayed};

/// The formula of an update with `N` states per element, its constants already in `f32`.
///
/// `update` must be `#[inline(always)]`, like everything that takes a `Simd`: a call left inside the
/// loop would leave the instruction set behind. It computes in the order that the public function
/// documents, never with a fused multiply-add, which would give other bits and cost far more on a CPU
/// without it, nor with `pulp`'s minimum and maximum, which differ between instruction sets.
pub trait Rule<const N: usize>: Copy + Sync {
    fn update<S: Simd>(
        self,
        s: S,
        w: S::f32s,
        g: S::f32s,
        state: [S::f32s; N],
    ) -> (S::f32s, [S::f32s; N]);
}

/// What is to be done with a rule, whose type is known only once the options have been looked at.
pub trait Job<const N: usize>: Sized {
    fn run<R: Rule<N>>(self, rule: R);

    /// The same with weight decay around the rule, for a job that makes more of a rule than a loop.
    #[inline(always)]
    fn run_decayed<R: Rule<N>>(self, rule: Decayed<R>) {
        match rule {
            Decayed::Not(rule) => self.run(rule),
            Decayed::L2(rule) => self.run(rule),
            Decayed::Decoupled(rule) => self.run(rule),
        }
    }
}

/// The hyper-parameters of a family of rules with `N` states per element.
pub trait Configuration<const N: usize>: fmt::Debug + Send + Sync + 'static {
    /// The step function's name without `_step`.
    const NAME: &'static str;

    /// The states' names, in the order of the step function's arguments.
    const STATES: [&'static str; N];

    /// Checks everything, then hands the rule that these options make at step `t` to `job`. This is
    /// where hyper-parameters become `f32`: derived in `f64`, rounded once.
    fn apply(&self, t: u64, job: impl Job<N>) -> Result<(), Error>;

    /// The kernel's step. Every rule has its own, for all that they are alike: a provided method would
    /// be compiled again, with all its kernels, in each crate that makes an `optimizer`.
    fn step_on(
        &self,
        isa: Isa,
        w: &mut [f32],
        g: &[f32],
        state: [&mut [f32]; N],
        t: u64,
    ) -> Result<(), Error>;

    /// The kernel's step over many tensors. Every rule has its own, for the same reason.
    fn step_many_on(
        &self,
        isa: Isa,
        tensors: &mut [Tensor<'_, N>],
        t: u64,
        extras: &Extras,
        threads: Threads<'_>,
    ) -> Result<Report, Error>;

    /// The scalar reference's step.
    fn reference(&self, w: &mut [f32], g: &[f32], state: [&mut [f32]; N], t: u64) -> Result<(), Error>;
}

/// All the checks of a step and nothing else.
pub(crate) fn check<const N: usize, C: Configuration<N>>(
    config: &C,
    t: u64,
    w: &[f32],
    g: &[f32],
    state: [&[f32]; N],
) -> Result<(), Error> {
    struct Nothing;
    impl<const N: usize> Job<N> for Nothing {
        fn run<R: Rule<N>>(self, _: R) {}
    }
    check_lengths::<N, C>(w, g, state)?;
    config.apply(t, Nothing)
}

/// Are `g` and every state as long as `w`?
#[inline]
pub(crate) fn check_lengths<const N: usize, C: Configuration<N>>(
    w: &[f32],
    g: &[f32],
    state: [&[f32]; N],
) -> Result<(), Error> {
    check_length("g", g.len(), w.len())?;
    C::STATES
        .into_iter()
        .zip(state)
        .try_for_each(|(name, array)| check_length(name, array.len(), w.len()))
}

#[inline]
pub(crate) fn check_length(argument: &'static str, len: usize, expected: usize) -> Result<(), Error> {
    if len == expected { Ok(()) } else { Err(Error::Length { argument, len, expected }) }
}
