//! Gradient descent with momentum, in the two forms in use.

use crate::{
    Error, Isa, State,
    decay::{Decay, WeightDecay},
    hyperparameter::{
        Choice, Fields,
        Range::{BelowOne, NonNegative, UpToOne},
        Visitor,
    },
    lane::{Lane, Lanes},
    rule::{Configuration, Formula, Kernels, kernels},
};

/// Where the learning rate is in a rule with momentum. At a constant rate both forms walk the
/// same path; after a change of rate they differ: `Classic` keeps each past gradient at the rate of
/// its own step, `Torch` applies the current rate to all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// `u = γ·u + η·g; w −= u` (Rumelhart, Hinton & Williams, 1986).
    #[default]
    Classic,
    /// `u = γ·u + (1−τ)·g; w −= η·u`, as PyTorch has it.
    Torch,
}

impl Choice for Form {
    const ALL: &'static [Self] = &[Self::Classic, Self::Torch];
    const NAMES: &'static [&'static str] = &["classic", "torch"];
}

/// The hyper-parameters of [`momentum_step`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Momentum {
    /// Learning rate η, finite and at least 0. Default 1e-3.
    pub lr: f64,
    /// How much of the last step is kept, γ, in [0, 1). Default 0.9.
    pub momentum: f64,
    /// How much of the gradient is left out of `u`, τ, in [0, 1]. Default 0; [`Form::Classic`] has none.
    pub dampening: f64,
    /// Where η is. Default [`Form::Classic`].
    pub form: Form,
    /// Weight decay λ, finite and at least 0. Default 0. [`Decay::Decoupled`] says what becomes of a
    /// very small one.
    pub weight_decay: f64,
    /// How `weight_decay` enters. Default [`Decay::L2`].
    pub decay: Decay,
}

impl Default for Momentum {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            momentum: 0.9,
            dampening: 0.0,
            form: Form::Classic,
            weight_decay: 0.0,
            decay: Decay::L2,
        }
    }
}

impl Fields for Momentum {
    #[inline(always)]
    fn map(&self, visitor: &mut impl Visitor) -> Result<Self, Error> {
        Ok(Self {
            lr: visitor.number("lr", NonNegative, self.lr)?,
            momentum: visitor.number("momentum", BelowOne, self.momentum)?,
            dampening: visitor.number("dampening", UpToOne, self.dampening)?,
            form: visitor.choice("form", self.form)?,
            weight_decay: visitor.number("weight_decay", NonNegative, self.weight_decay)?,
            decay: visitor.choice("decay", self.decay)?,
        })
    }
}

/// One step of gradient descent with momentum.
///
/// [`Form::Classic`]: `u = γ·u + η·g; w −= u`.
/// [`Form::Torch`]: `u = γ·u + (1−τ)·g; w −= η·u`.
///
/// *Learning representations by back-propagating errors* (Rumelhart, Hinton & Williams, 1986).
/// PyTorch does not dampen the very first step: pass `dampening: 0.0` there to do the same.
///
/// `w` (weights), `u` (state, starts as zeros) and `g` (gradient) have the same length, of any size.
/// `w` and `u` are updated.
///
/// # Errors
/// [`Error::Length`] if `g` or `u` is not as long as `w`, [`Error::Hyperparameter`] if a field of
/// `config` is out of its range, or `dampening` is not 0 with [`Form::Classic`], [`Error::Isa`] if
/// `DOWNHILL_ISA` is wrong. Nothing is written then.
///
/// # Example
/// ```
/// use downhill::{Momentum, momentum_step};
///
/// let (mut w, mut u) = ([1.0], [0.0]);
/// let config = Momentum { lr: 0.25, momentum: 0.5, ..Momentum::default() };
/// momentum_step(&mut w, &[1.0], &mut u, &config)?; // u = 0.25
/// momentum_step(&mut w, &[1.0], &mut u, &config)?; // u = 0.125 + 0.25
/// assert_eq!((w, u), ([0.375], [0.375]));
/// # Ok::<(), downhill::Error>(())
/// ```
pub fn momentum_step(w: &mut [f32], g: &[f32], u: &mut [f32], config: &Momentum) -> Result<(), Error> {
    config.plain_step(Isa::current()?, w, g, [u], 1)
}

kernels!(Momentum: 1, |config, w, g, [u], _| momentum_step(w, g, u, config));
impl Configuration<1> for Momentum {
    const NAME: &'static str = "momentum";
    const STATES: [State; 1] = [State::signed("u")];

    type Formula = Constants;

    #[inline(always)]
    fn check_further(&self, _t: u64) -> Result<(), Error> {
        if self.form == Form::Classic && self.dampening != 0.0 {
            return Err(Error::Hyperparameter {
                argument: "dampening",
                value: self.dampening,
                allowed: "0 in the classic form, which has none",
            });
        }
        Ok(())
    }

    #[inline(always)]
    fn formula(&self, _t: u64) -> Constants {
        let (lr, one_minus_dampening) = (self.lr as f32, (1.0 - self.dampening) as f32);
        let (a, b) = match self.form {
            Form::Classic => (lr, 1.0),
            Form::Torch => (one_minus_dampening, lr),
        };
        Constants { momentum: self.momentum as f32, a, b }
    }

    #[inline(always)]
    fn decay(&self) -> WeightDecay {
        let Self { decay, weight_decay, lr, .. } = *self;
        WeightDecay { decay, weight_decay, lr }
    }
}

#[derive(Clone, Copy)]
pub struct Constants {
    momentum: f32,
    /// η in the classic form, 1 − τ in the torch form.
    a: f32,
    /// 1 in the classic form, η in the torch form.
    b: f32,
}

impl Formula<1> for Constants {
    const IS_SLOW: bool = false;
    const IS_FUSED: bool = true;

    #[inline(always)]
    fn update<S: Lanes>(
        self,
        w: Lane<S>,
        g: Lane<S>,
        [u]: [Lane<S>; 1],
    ) -> ([Lane<S>; 1], impl FnOnce() -> Lane<S>) {
        let u = self.momentum * u + self.a * g;
        (
            [u],
            #[inline(always)]
            move || w - self.b * u,
        )
    }
}
