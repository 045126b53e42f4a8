//! Adagrad.

use crate::{
    Error, Isa, State, StateKind,
    decay::{Decay, WeightDecay},
    hyperparameter::{Fields, Range::NonNegative, Visitor},
    lane::{Lane, Lanes},
    rule::{Configuration, Formula, Kernels, kernels},
};

/// The hyper-parameters of [`adagrad_step`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adagrad {
    /// Learning rate η, finite and at least 0. Default 1e-2.
    pub lr: f64,
    /// Added to the denominator, outside the root; finite and at least 0. Default 1e-10. With 0, an
    /// element that never had a gradient is divided by zero, as IEEE says.
    pub eps: f64,
    /// Weight decay λ, finite and at least 0. Default 0. [`Decay::Decoupled`] says what becomes of a
    /// very small one.
    pub weight_decay: f64,
    /// How `weight_decay` enters. Default [`Decay::L2`].
    pub decay: Decay,
}

impl Default for Adagrad {
    fn default() -> Self {
        Self { lr: 1e-2, eps: 1e-10, weight_decay: 0.0, decay: Decay::L2 }
    }
}

impl Fields for Adagrad {
    #[inline(always)]
    fn map(&self, visitor: &mut impl Visitor) -> Result<Self, Error> {
        Ok(Self {
            lr: visitor.number("lr", NonNegative, self.lr)?,
            eps: visitor.number("eps", NonNegative, self.eps)?,
            weight_decay: visitor.number("weight_decay", NonNegative, self.weight_decay)?,
            decay: visitor.choice("decay", self.decay)?,
        })
    }
}

/// One step of Adagrad: `s += g·g; w −= (η·g)/(√s + ε)`.
///
/// *Adaptive Subgradient Methods for Online Learning and Stochastic Optimization* (Duchi, Hazan &
/// Singer, 2011).
///
/// `w` (weights), `s` (state, starts as zeros, or as another initial accumulator that the caller
/// fills in) and `g` (gradient) have the same length, of any size. `w` and `s` are updated.
///
/// # Errors
/// [`Error::Length`] if `g` or `s` is not as long as `w`, [`Error::Hyperparameter`] if a field of
/// `config` is out of its range, [`Error::Isa`] if `DOWNHILL_ISA` is wrong. Nothing is written then.
///
/// # Example
/// ```
/// use downhill::{Adagrad, adagrad_step};
///
/// let (mut w, mut s) = ([1.0, 1.0], [0.0; 2]);
/// adagrad_step(&mut w, &[3.0, 0.01], &mut s, &Adagrad { lr: 0.5, ..Adagrad::default() })?;
/// assert_eq!(w, [0.5, 0.5]); // the first step is lr, whatever the gradient's size
/// # Ok::<(), downhill::Error>(())
/// ```
pub fn adagrad_step(w: &mut [f32], g: &[f32], s: &mut [f32], config: &Adagrad) -> Result<(), Error> {
    config.plain_step(Isa::current()?, w, g, [s], 1)
}

kernels!(Adagrad: 1, |config, w, g, [s], _| adagrad_step(w, g, s, config));

impl Configuration<1> for Adagrad {
    const NAME: &'static str = "adagrad";
    const STATES: [State; 1] = [State::new("s", StateKind::Sum)];

    type Formula = Constants;

    #[inline(always)]
    fn formula(&self, _t: u64) -> Constants {
        Constants { lr: self.lr as f32, eps: self.eps as f32 }
    }

    #[inline(always)]
    fn decay(&self) -> WeightDecay {
        let Self { decay, weight_decay, lr, .. } = *self;
        WeightDecay { decay, weight_decay, lr }
    }
}

#[derive(Clone, Copy)]
pub struct Constants {
    lr: f32,
    eps: f32,
}

impl Formula<1> for Constants {
    #[inline(always)]
    fn update<S: Lanes>(
        self,
        w: Lane<S>,
        g: Lane<S>,
        [s]: [Lane<S>; 1],
    ) -> ([Lane<S>; 1], impl FnOnce() -> Lane<S>) {
        let s = s + g * g;
        let root = s.sqrt();
        (
            [s],
            #[inline(always)]
            move || w - (self.lr * g) / (root + self.eps),
        )
    }
}
