//! Stochastic gradient descent.

use crate::{
    Error, Isa, State,
    decay::{Decay, WeightDecay},
    hyperparameter::{Fields, Range::NonNegative, Visitor},
    lane::{Lane, Lanes},
    rule::{Configuration, Formula, Kernels, kernels},
};

/// The hyper-parameters of [`sgd_step`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// Learning rate η, finite and at least 0. Default 1e-3.
    pub lr: f64,
    /// Weight decay λ, finite and at least 0. Default 0. [`Decay::Decoupled`] says what becomes of a
    /// very small one.
    pub weight_decay: f64,
    /// How `weight_decay` enters. Default [`Decay::L2`].
    pub decay: Decay,
}

impl Default for Sgd {
    fn default() -> Self {
        Self { lr: 1e-3, weight_decay: 0.0, decay: Decay::L2 }
    }
}

impl Fields for Sgd {
    #[inline(always)]
    fn map(&self, visitor: &mut impl Visitor) -> Result<Self, Error> {
        Ok(Self {
            lr: visitor.number("lr", NonNegative, self.lr)?,
            weight_decay: visitor.number("weight_decay", NonNegative, self.weight_decay)?,
            decay: visitor.choice("decay", self.decay)?,
        })
    }
}

/// One step of gradient descent: `w −= η·g`.
///
/// *A Stochastic Approximation Method* (Robbins & Monro, 1951).
///
/// `w` (weights, updated) and `g` (gradient) have the same length, of any size.
///
/// # Errors
/// [`Error::Length`] if `g` is not as long as `w`, [`Error::Hyperparameter`] if a field of `config`
/// is out of its range, [`Error::Isa`] if `DOWNHILL_ISA` is wrong. Nothing is written then.
///
/// # Example
/// ```
/// use downhill::{Sgd, sgd_step};
///
/// let mut w = [1.0, 2.0];
/// sgd_step(&mut w, &[0.5, -1.0], &Sgd { lr: 0.5, ..Sgd::default() })?;
/// assert_eq!(w, [0.75, 2.5]);
/// # Ok::<(), downhill::Error>(())
/// ```
pub fn sgd_step(w: &mut [f32], g: &[f32], config: &Sgd) -> Result<(), Error> {
    config.plain_step(Isa::current()?, w, g, [], 1)
}

kernels!(Sgd: 0, |config, w, g, [], _| sgd_step(w, g, config));

impl Configuration<0> for Sgd {
    const NAME: &'static str = "sgd";
    const STATES: [State; 0] = [];

    type Formula = Constants;

    #[inline(always)]
    fn formula(&self, _t: u64) -> Constants {
        Constants { lr: self.lr as f32 }
    }

    #[inline(always)]
    fn decay(&self) -> WeightDecay {
        let Self { decay, weight_decay, lr, .. } = *self;
        WeightDecay { decay, weight_decay, lr }
    }
}

#[derive(Clone, Copy)]
pub struct Constants {
    pub lr: f32,
}

impl Formula<0> for Constants {
    const IS_SLOW: bool = false;
    const IS_FUSED: bool = true;

    #[inline(always)]
    fn update<S: Lanes>(
        self,
        w: Lane<S>,
        g: Lane<S>,
        []: [Lane<S>; 0],
    ) -> ([Lane<S>; 0], impl FnOnce() -> Lane<S>) {
        (
            [],
            #[inline(always)]
            move || w - self.lr * g,
        )
    }
}
