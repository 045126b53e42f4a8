//! What a rule is: a configuration, the constants that it makes for a step, and the formula of one
//! vector of lanes.
//!
//! The traits are public because the public [`Optimizer`](crate::Optimizer) is built on them, and their
//! module is not: the rules are this crate's.

use std::fmt;

use crate::{
    Error, Isa, State,
    check::finite,
    decay::{Decay, WeightDecay},
    hyperparameter::{Checked, Fields},
    lane::{Lane, Lanes},
};

/// The hyper-parameters of a rule with `N` states per element.
pub trait Configuration<const N: usize>:
    Fields + Kernels<N> + fmt::Debug + Send + Sync + 'static
{
    /// The step function's name without `_step`.
    const NAME: &'static str;

    /// The states, in the order of the step function's arguments.
    const STATES: [State; N];

    /// The rule, its constants in `f32`.
    type Formula: Formula<N>;

    /// Checks what the ranges of the fields do not say.
    #[inline(always)]
    fn check_further(&self, _t: u64) -> Result<(), Error> {
        Ok(())
    }

    /// Checks everything but the constants. Not together with `formula`: in a `Result` the compiler
    /// keeps two constants in one word, and a CPU waits 5 ns for a word that has been stored in two
    /// parts, half of what a whole call takes.
    #[inline(always)]
    fn check(&self, t: u64) -> Result<(), Error> {
        self.map(&mut Checked)?;
        self.check_further(t)
    }

    /// The constants of step `t`, after `check`: derived in `f64`, rounded once.
    fn formula(&self, t: u64) -> Self::Formula;

    /// An upper bound of the formula's rates at all steps, up to rounding, if it is cheap; else infinity. With
    /// it `check_at` accepts most configurations without deriving their constants.
    #[inline(always)]
    fn largest_rate(&self) -> f64 {
        f64::INFINITY
    }

    /// The weight decay.
    fn decay(&self) -> WeightDecay;
}

/// The update of one vector with `N` states per element.
pub trait Formula<const N: usize>: Copy + Sync {
    /// Does it have a square root and a division, which take so long that the next vector's should begin
    /// meanwhile?
    const IS_SLOW: bool = true;

    /// Do most of its plain steps have decoupled weight decay? Then the plain loop multiplies by its factor;
    /// otherwise such a step takes the loop that has everything. (On AVX2 that factor costs rules without
    /// square roots up to a tenth.)
    const IS_DECAYED: bool = false;

    /// Is there one loop for the types of [`FusedWeights`], too? They are 8 KB of code for each instruction
    /// set, and a third to a half faster than to convert blocks around the step.
    const IS_FUSED: bool = false;

    /// What was derived from the learning rate, and may be too large for `f32`.
    fn rates(&self) -> [f32; 2] {
        [0.0; 2]
    }

    /// The new states, and how the new weight is computed once it is time.
    ///
    /// In the order that the public function documents, never with a fused multiply-add, which would
    /// give other bits and cost far more on a CPU without it. `#[inline(always)]`, the closure too.
    fn update<S: Lanes>(
        self,
        w: Lane<S>,
        g: Lane<S>,
        state: [Lane<S>; N],
    ) -> ([Lane<S>; N], impl FnOnce() -> Lane<S>);
}

/// The functions that hold a rule's kernels. The macro below writes them: a provided method would be
/// compiled again, with all its kernels, in each crate that uses a rule.
pub trait Kernels<const N: usize> {
    /// A step by the kernel.
    fn plain_step(
        &self,
        isa: Isa,
        w: &mut [f32],
        g: &[f32],
        state: [&mut [f32]; N],
        t: u64,
    ) -> Result<(), Error>;
}

/// `kernels!(Sgd: 0, |config, w, g, [], _| sgd_step(w, g, config));`: the configuration, how many states it
/// has, and a call of its function. The reference's, of the same name, is called likewise.
///
/// A rule whose number of states depends on its hyper-parameters has one line per number; the first line
/// whose condition holds is used.
macro_rules! kernels {
    (
        $config:ty: $n:literal,
        |$this:ident, $w:ident, $g:ident, $state:pat_param, $t:pat_param| $function:ident($($argument:expr),*)
    ) => {
        $crate::rule::kernels!($config, |$this, $w, $g, $t| $n: $state => $function($($argument),*););
    };
    (
        $config:ty,
        |$this:ident, $w:ident, $g:ident, $t:pat_param|
        $($n:literal: $state:pat_param => $function:ident($($argument:expr),*) $(if $condition:expr)?;)+
    ) => {
        $(impl $crate::rule::Kernels<$n> for $config {
            fn plain_step(
                &self,
                isa: $crate::Isa,
                w: &mut [f32],
                g: &[f32],
                state: [&mut [f32]; $n],
                t: u64,
            ) -> Result<(), $crate::Error> {
                $crate::sweep::step(isa, self, t, w, g, state)
            }
        })+

        impl $crate::optimizer::Engine for $config {
            fn check_at(&self, t: u64) -> Result<(), $crate::Error> {
                let $this = self;
                match () {
                    $(() $(if $condition)? => $crate::rule::check_at::<$n, Self>($this, t),)+
                }
            }

            fn with_constants(
                &self,
                isa: $crate::Isa,
                t: u64,
                around: &$crate::optimizer::Around,
                then: &mut dyn FnMut(&dyn $crate::optimizer::Step),
            ) {
                let $this = self;
                match () {
                    $(() $(if $condition)? => {
                        $crate::sweep::with_constants::<$n, Self>(isa, $this, t, around, then);
                    })+
                }
            }

            fn replace(
                &mut self,
                mut fields: $crate::hyperparameter::Replaced<'_>,
            ) -> Result<(), $crate::Error> {
                *self = $crate::hyperparameter::Fields::map(self, &mut fields)?;
                Ok(())
            }

            fn boxed(&self) -> Box<dyn $crate::Optimizer> {
                Box::new(*self)
            }

            #[cfg(test)]
            fn call_function(
                &self,
                $w: &mut [f32],
                $g: &[f32],
                state: &mut [&mut [f32]],
                $t: u64,
            ) -> Result<(), $crate::Error> {
                let $this = self;
                match () {
                    $(() $(if $condition)? => {
                        let $state = $crate::rule::arrays::<Self, $n>(state)?;
                        $function($($argument),*)
                    })+
                }
            }
        }

        impl $crate::Optimizer for $config {
            fn name(&self) -> &'static str {
                let $this = self;
                match () {
                    $(() $(if $condition)? => $crate::rule::name::<$n, Self>($this),)+
                }
            }

            fn states(&self) -> &'static [$crate::State] {
                let $this = self;
                match () {
                    $(() $(if $condition)? => $crate::rule::states::<$n, Self>($this),)+
                }
            }

            fn step_on(
                &self,
                isa: $crate::Isa,
                w: &mut [f32],
                g: &[f32],
                state: &mut [&mut [f32]],
                t: u64,
            ) -> Result<(), $crate::Error> {
                let $this = self;
                match () {
                    $(() $(if $condition)? => {
                        let state = $crate::rule::arrays::<Self, $n>(state)?;
                        $crate::rule::Kernels::<$n>::plain_step($this, isa, w, g, state, t)
                    })+
                }
            }

            fn reference_step(
                &self,
                $w: &mut [f32],
                $g: &[f32],
                state: &mut [&mut [f32]],
                $t: u64,
            ) -> Result<(), $crate::Error> {
                let $this = self;
                match () {
                    $(() $(if $condition)? => {
                        let $state = $crate::rule::arrays::<Self, $n>(state)?;
                        $crate::reference::$function($($argument),*)
                    })+
                }
            }
        }
    };
}
pub(crate) use kernels;

/// The name of a configuration's rule.
#[inline(always)]
pub(crate) fn name<const N: usize, C: Configuration<N>>(_: &C) -> &'static str {
    C::NAME
}

/// Its states.
#[inline(always)]
pub(crate) fn states<const N: usize, C: Configuration<N>>(_: &C) -> &'static [State] {
    &C::STATES
}

/// What is done to gradient and weight before the formula: `g·scale`, then `g + λ·w` (L2), and
/// `w·(1 − η·λ)` (decoupled). A part that is off is a constant that changes nothing: a factor of 1, and −0
/// in place of `λ·w`.
#[derive(Clone, Copy)]
pub(crate) struct Prelude {
    scale: f32,
    /// 0 for none.
    lambda: f32,
    one_minus_lr_decay: f32,
}

impl Prelude {
    /// Is the factor of the weight finite?
    #[inline(always)]
    pub fn check(&self, WeightDecay { weight_decay, .. }: WeightDecay) -> Result<(), Error> {
        let allowed = "so small that 1 - lr*weight_decay is finite in f32";
        finite(self.one_minus_lr_decay, "weight_decay", weight_decay, allowed)
    }

    #[inline(always)]
    pub fn new(WeightDecay { decay, weight_decay, lr }: WeightDecay) -> Self {
        let lambda = weight_decay as f32;
        let is_l2 = decay == Decay::L2;
        Self {
            scale: 1.0,
            lambda: if is_l2 { lambda } else { 0.0 },
            // With a λ that is 0 in `f32` there is no arithmetic at all: 0·∞ would be NaN.
            one_minus_lr_decay: if is_l2 || lambda == 0.0 {
                1.0
            } else {
                (1.0 - lr * weight_decay) as f32
            },
        }
    }

    /// Is there nothing but the factor of the weight?
    #[inline(always)]
    pub fn is_decay(&self) -> bool {
        self.scale == 1.0 && !self.is_l2()
    }

    /// Is there nothing at all?
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.is_decay() && self.one_minus_lr_decay == 1.0
    }

    #[inline(always)]
    pub fn is_l2(&self) -> bool {
        self.lambda != 0.0
    }

    /// The same for gradients that are multiplied by `scale`.
    pub fn scaled(self, scale: f32) -> Self {
        Self { scale, ..self }
    }

    /// One gradient as [`Full`] makes it of a vector of them.
    #[inline(always)]
    pub fn gradient(&self, w: f32, g: f32) -> f32 {
        g * self.scale + if self.is_l2() { self.lambda * w } else { -0.0 }
    }
}

/// How much of a [`Prelude`] there is. Each makes a kernel of its own of every formula.
pub(crate) trait Before: Copy {
    /// Weight and gradient as the formula is to see them.
    fn apply<S: Lanes>(self, prelude: Prelude, w: Lane<S>, g: Lane<S>) -> (Lane<S>, Lane<S>);
}

/// Nothing.
#[derive(Clone, Copy)]
pub(crate) struct Bare;

impl Before for Bare {
    #[inline(always)]
    fn apply<S: Lanes>(self, _: Prelude, w: Lane<S>, g: Lane<S>) -> (Lane<S>, Lane<S>) {
        (w, g)
    }
}

/// The factor of the weight alone, which a plain step of AdamW has.
#[derive(Clone, Copy)]
pub(crate) struct Decayed;

impl Before for Decayed {
    #[inline(always)]
    fn apply<S: Lanes>(self, prelude: Prelude, w: Lane<S>, g: Lane<S>) -> (Lane<S>, Lane<S>) {
        (w * prelude.one_minus_lr_decay, g)
    }
}

/// That, and the factor of the gradient, which a whole step of AdamW has.
#[derive(Clone, Copy)]
pub(crate) struct Scaled;

impl Before for Scaled {
    #[inline(always)]
    fn apply<S: Lanes>(self, prelude: Prelude, w: Lane<S>, g: Lane<S>) -> (Lane<S>, Lane<S>) {
        (w * prelude.one_minus_lr_decay, g * prelude.scale)
    }
}

/// Everything.
#[derive(Clone, Copy)]
pub(crate) struct Full;

impl Before for Full {
    #[inline(always)]
    fn apply<S: Lanes>(self, prelude: Prelude, w: Lane<S>, g: Lane<S>) -> (Lane<S>, Lane<S>) {
        let Prelude { scale, lambda, one_minus_lr_decay } = prelude;
        let decay = (lambda * w).only_if(prelude.is_l2(), -0.0);
        (w * one_minus_lr_decay, g * scale + decay)
    }
}

/// A rule with its constants, ready to step arrays.
#[derive(Clone, Copy)]
pub(crate) struct Update<F> {
    pub formula: F,
    pub prelude: Prelude,
}

impl<F> Update<F> {
    /// The constants of step `t`, after `config.check(t)`.
    #[inline(always)]
    pub fn new<const N: usize, C: Configuration<N, Formula = F>>(config: &C, t: u64) -> Self {
        Self { formula: config.formula(t), prelude: Prelude::new(config.decay()) }
    }

    /// Checks the constants themselves.
    #[inline(always)]
    pub fn check<const N: usize, C: Configuration<N, Formula = F>>(
        &self,
        config: &C,
    ) -> Result<(), Error>
    where
        F: Formula<N>,
    {
        let decay = config.decay();
        let allowed = "so small that what is derived from it (lr/c1) is finite in f32";
        for rate in self.formula.rates() {
            finite(rate, "lr", decay.lr, allowed)?;
        }
        self.prelude.check(decay)
    }

    /// The same for gradients that are multiplied by `scale`.
    pub fn scaled(self, scale: f32) -> Self {
        Self { prelude: self.prelude.scaled(scale), ..self }
    }
}

/// All the checks of a step and nothing else.
pub(crate) fn check<const N: usize, C: Configuration<N>>(
    config: &C,
    t: u64,
    w: &[f32],
    g: &[f32],
    state: [&[f32]; N],
) -> Result<(), Error> {
    check_lengths::<N, C>(w, g, state)?;
    check_at(config, t)
}

/// All checks of a configuration.
pub(crate) fn check_at<const N: usize, C: Configuration<N>>(config: &C, t: u64) -> Result<(), Error> {
    config.check(t)?;
    // Half of what `f32` has room for, because of rounding.
    if config.largest_rate() < f64::from(f32::MAX) / 2.0 {
        let decay = config.decay();
        return Prelude::new(decay).check(decay);
    }
    Update::new(config, t).check(config)
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
        .try_for_each(|(state, array)| check_length(state.name, array.len(), w.len()))
}

#[inline]
pub(crate) fn check_length(argument: &'static str, len: usize, expected: usize) -> Result<(), Error> {
    if len == expected { Ok(()) } else { Err(Error::Length { argument, len, expected }) }
}

/// A list of state arrays as the fixed number that the rule has.
#[inline(always)]
pub(crate) fn arrays<'a, C: Configuration<N>, const N: usize>(
    state: &'a mut [&mut [f32]],
) -> Result<[&'a mut [f32]; N], Error> {
    let count = state.len();
    let state: &mut [&mut [f32]; N] =
        state.try_into().map_err(|_| Error::StateCount { count, expected: &C::STATES })?;
    Ok(state.each_mut().map(|array| &mut **array))
}
