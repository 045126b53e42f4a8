//! RMSprop, plain, centered and with momentum.

use crate::{
    Error, Isa, Optimizer, State, check,
    decay::{Decay, WeightDecay},
    hyperparameter::{
        Fields,
        Range::{BelowOne, NonNegative, UpToOne},
        Replaced, Visitor,
    },
    lane::{Lane, Lanes},
    optimizer::{Around, Engine, Step},
    rule::{Configuration, Formula, Kernels, kernels},
};

/// The hyper-parameters of [`rmsprop_step`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rmsprop {
    /// Learning rate η, finite and at least 0. Default 1e-2.
    pub lr: f64,
    /// Decay rate of the averages, α, in [0, 1]. Default 0.99.
    pub alpha: f64,
    /// Added to the denominator, outside the root; finite and at least 0. Default 1e-8. With 0, an
    /// element whose average is zero is divided by zero, as IEEE says. Below 1e-17 it no longer hides
    /// that an average of squares which grows in portions below 2⁻¹²⁶ (gradients below 4e-18) stays 0:
    /// subnormal states are read as zero.
    pub eps: f64,
    /// How much of the last step is kept, γ, in [0, 1). Default 0; with anything else there is the state
    /// `u`.
    pub momentum: f64,
    /// Divide by the root of the variance instead of the mean square; then there is the state `g_avg`.
    /// Default false.
    pub centered: bool,
    /// Weight decay λ, finite and at least 0. Default 0. [`Decay::Decoupled`] says what becomes of a
    /// very small one.
    pub weight_decay: f64,
    /// How `weight_decay` enters. Default [`Decay::L2`].
    pub decay: Decay,
}

impl Default for Rmsprop {
    fn default() -> Self {
        Self {
            lr: 1e-2,
            alpha: 0.99,
            eps: 1e-8,
            momentum: 0.0,
            centered: false,
            weight_decay: 0.0,
            decay: Decay::L2,
        }
    }
}

impl Fields for Rmsprop {
    #[inline(always)]
    fn map(&self, visitor: &mut impl Visitor) -> Result<Self, Error> {
        Ok(Self {
            lr: visitor.number("lr", NonNegative, self.lr)?,
            alpha: visitor.number("alpha", UpToOne, self.alpha)?,
            eps: visitor.number("eps", NonNegative, self.eps)?,
            momentum: visitor.number("momentum", BelowOne, self.momentum)?,
            centered: visitor.choice("centered", self.centered)?,
            weight_decay: visitor.number("weight_decay", NonNegative, self.weight_decay)?,
            decay: visitor.choice("decay", self.decay)?,
        })
    }
}

/// One step of RMSprop. Two of its three states are there or not: `g_avg` if `centered` is true, `u` if
/// `momentum` is not 0.
///
/// `v = α·v + ((1−α)·g)·g`, then
/// - centered: `g_avg = α·g_avg + (1−α)·g; r = √max(v − g_avg·g_avg, 0) + ε`, else `r = √v + ε`;
/// - with momentum: `u = γ·u + g/r; w −= η·u`, else `w −= (η·g)/r`.
///
/// *Lecture 6.5: rmsprop* (Tieleman & Hinton, 2012); centered: after *Generating Sequences With
/// Recurrent Neural Networks* (Graves, 2013), ε outside the root as in PyTorch.
///
/// `w` (weights), `v`, `g_avg`, `u` (state, start as zeros) and `g` (gradient) have the same length, of
/// any size. All but `g` are updated.
///
/// # Errors
/// [`Error::OptionalState`] if `g_avg` or `u` is missing, or passed but not a state of `config`,
/// [`Error::Length`] if `g` or a state is not as long as `w`, [`Error::Hyperparameter`] if a field of
/// `config` is out of its range, [`Error::Isa`] if `DOWNHILL_ISA` is wrong. Nothing is written then.
///
/// # Example
/// ```
/// use downhill::{Rmsprop, rmsprop_step};
///
/// let (mut w, mut v, mut u) = ([1.0], [0.0], [0.0]);
/// let plain = Rmsprop { alpha: 0.75, ..Rmsprop::default() };
/// rmsprop_step(&mut w, &[4.0], &mut v, None, None, &plain)?;
/// assert_eq!(v, [4.0]);
/// let momentum = Rmsprop { momentum: 0.9, ..plain };
/// rmsprop_step(&mut w, &[4.0], &mut v, None, Some(&mut u), &momentum)?;
/// assert!(rmsprop_step(&mut w, &[4.0], &mut v, None, None, &momentum).is_err());
/// # Ok::<(), downhill::Error>(())
/// ```
pub fn rmsprop_step(
    w: &mut [f32],
    g: &[f32],
    v: &mut [f32],
    g_avg: Option<&mut [f32]>,
    u: Option<&mut [f32]>,
    config: &Rmsprop,
) -> Result<(), Error> {
    config.check_optional(g_avg.is_some(), u.is_some())?;
    let isa = Isa::current()?;
    match (g_avg, u) {
        (None, None) => Layout::<false, 1>(*config).plain_step(isa, w, g, [v], 1),
        (None, Some(u)) => Layout::<false, 2>(*config).plain_step(isa, w, g, [v, u], 1),
        (Some(g_avg), None) => Layout::<true, 2>(*config).plain_step(isa, w, g, [v, g_avg], 1),
        (Some(g_avg), Some(u)) => Layout::<true, 3>(*config).plain_step(isa, w, g, [v, g_avg, u], 1),
    }
}

impl Rmsprop {
    /// Are `g_avg` and `u` there if and only if they should be?
    #[inline(always)]
    pub(crate) fn check_optional(&self, g_avg: bool, u: bool) -> Result<(), Error> {
        // A momentum out of its range is that error, whether there is a `u` or not.
        check::below_one("momentum", self.momentum)?;
        let states = [
            ("g_avg", g_avg, self.centered, "`centered` is true"),
            ("u", u, self.momentum != 0.0, "`momentum` is not 0"),
        ];
        for (argument, is_passed, is_wanted, condition) in states {
            if is_passed != is_wanted {
                return Err(Error::OptionalState { argument, is_passed, condition });
            }
        }
        Ok(())
    }

    /// Calls `f` with the rule that has these states.
    fn form<T>(&self, f: impl FnOnce(&dyn Optimizer) -> T) -> T {
        match (self.centered, self.momentum != 0.0) {
            (false, false) => f(&Layout::<false, 1>(*self)),
            (false, true) => f(&Layout::<false, 2>(*self)),
            (true, false) => f(&Layout::<true, 2>(*self)),
            (true, true) => f(&Layout::<true, 3>(*self)),
        }
    }
}

impl Engine for Rmsprop {
    fn check_at(&self, t: u64) -> Result<(), Error> {
        self.form(|rule| rule.check_at(t))
    }

    fn with_constants(&self, isa: Isa, t: u64, around: &Around, then: &mut dyn FnMut(&dyn Step)) {
        self.form(|rule| rule.with_constants(isa, t, around, then));
    }

    fn replace(&mut self, mut fields: Replaced<'_>) -> Result<(), Error> {
        *self = self.map(&mut fields)?;
        Ok(())
    }

    fn boxed(&self) -> Box<dyn Optimizer> {
        Box::new(*self)
    }

    #[cfg(test)]
    fn call_function(
        &self,
        w: &mut [f32],
        g: &[f32],
        state: &mut [&mut [f32]],
        t: u64,
    ) -> Result<(), Error> {
        self.form(|rule| rule.call_function(w, g, state, t))
    }
}

/// The states are `v`, `g_avg` if `centered` is true, `u` if `momentum` is not 0.
impl Optimizer for Rmsprop {
    fn name(&self) -> &'static str {
        "rmsprop"
    }

    fn states(&self) -> &'static [State] {
        self.form(|rule| rule.states())
    }

    fn step_on(
        &self,
        isa: Isa,
        w: &mut [f32],
        g: &[f32],
        state: &mut [&mut [f32]],
        t: u64,
    ) -> Result<(), Error> {
        self.form(|rule| rule.step_on(isa, w, g, state, t))
    }

    fn reference_step(
        &self,
        w: &mut [f32],
        g: &[f32],
        state: &mut [&mut [f32]],
        t: u64,
    ) -> Result<(), Error> {
        self.form(|rule| rule.reference_step(w, g, state, t))
    }
}

/// RMSprop with `N` states, one of which is `g_avg` if it is centered. One more is `u`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Layout<const CENTERED: bool, const N: usize>(pub Rmsprop);

impl<const CENTERED: bool, const N: usize> Fields for Layout<CENTERED, N> {
    #[inline(always)]
    fn map(&self, visitor: &mut impl Visitor) -> Result<Self, Error> {
        Ok(Self(self.0.map(visitor)?))
    }
}

/// Is `u` among `n` states?
const fn has_momentum(n: usize, centered: bool) -> bool {
    n > 1 + centered as usize
}

impl<const N: usize, const CENTERED: bool> Configuration<N> for Layout<CENTERED, N>
where
    Self: Kernels<N>,
{
    const NAME: &'static str = "rmsprop";
    const STATES: [State; N] = {
        let mut states = [State::squares("v"); N];
        if CENTERED {
            states[1] = State::signed("g_avg");
        }
        if has_momentum(N, CENTERED) {
            states[N - 1] = State::signed("u");
        }
        states
    };

    type Formula = Constants<CENTERED>;

    #[inline(always)]
    fn formula(&self, _t: u64) -> Constants<CENTERED> {
        let Rmsprop { lr, alpha, eps, momentum, .. } = self.0;
        Constants {
            lr: lr as f32,
            alpha: alpha as f32,
            one_minus_alpha: (1.0 - alpha) as f32,
            eps: eps as f32,
            momentum: momentum as f32,
        }
    }

    #[inline(always)]
    fn decay(&self) -> WeightDecay {
        let Rmsprop { decay, weight_decay, lr, .. } = self.0;
        WeightDecay { decay, weight_decay, lr }
    }
}

kernels!(Layout<false, 1>: 1, |layout, w, g, [v], _| rmsprop_step(w, g, v, None, None, &layout.0));
kernels!(Layout<false, 2>: 2, |layout, w, g, [v, u], _| rmsprop_step(w, g, v, None, Some(u), &layout.0));
kernels!(Layout<true, 2>: 2, |layout, w, g, [v, g_avg], _|
    rmsprop_step(w, g, v, Some(g_avg), None, &layout.0)
);
kernels!(Layout<true, 3>: 3, |layout, w, g, [v, g_avg, u], _|
    rmsprop_step(w, g, v, Some(g_avg), Some(u), &layout.0)
);

#[derive(Clone, Copy)]
pub struct Constants<const CENTERED: bool> {
    lr: f32,
    alpha: f32,
    one_minus_alpha: f32,
    eps: f32,
    momentum: f32,
}

impl<const N: usize, const CENTERED: bool> Formula<N> for Constants<CENTERED> {
    #[inline(always)]
    fn update<S: Lanes>(
        self,
        w: Lane<S>,
        g: Lane<S>,
        mut state: [Lane<S>; N],
    ) -> ([Lane<S>; N], impl FnOnce() -> Lane<S>) {
        let v = self.alpha * state[0] + (self.one_minus_alpha * g) * g;
        state[0] = v;
        let variance = if CENTERED {
            let g_avg = self.alpha * state[1] + self.one_minus_alpha * g;
            state[1] = g_avg;
            // Rounding can leave a little less than zero, whose root would be NaN.
            (v - g_avg * g_avg).max_zero()
        } else {
            v
        };
        let root = variance.sqrt();
        if has_momentum(N, CENTERED) {
            state[N - 1] = self.momentum * state[N - 1] + g / (root + self.eps);
        }
        let last = state[N - 1];
        (
            state,
            #[inline(always)]
            move || {
                if has_momentum(N, CENTERED) {
                    w - self.lr * last
                } else {
                    w - (self.lr * g) / (root + self.eps)
                }
            },
        )
    }
}
