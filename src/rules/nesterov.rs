//! Nesterov's momentum, in the two forms in use.

use super::Form;
use crate::{
    Error, Isa, State,
    decay::{Decay, WeightDecay},
    hyperparameter::{
        Fields,
        Range::{BelowOne, NonNegative},
        Visitor,
    },
    lane::{Lane, Lanes},
    rule::{Configuration, Formula, Kernels, kernels},
};

/// The hyper-parameters of [`nesterov_step`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Nesterov {
    /// Learning rate η, finite and at least 0. Default 1e-3.
    pub lr: f64,
    /// How much of the last step is kept, γ, in [0, 1). Default 0.9.
    pub momentum: f64,
    /// Where η is. Default [`Form::Classic`].
    pub form: Form,
    /// Weight decay λ, finite and at least 0. Default 0. [`Decay::Decoupled`] says what becomes of a
    /// very small one.
    pub weight_decay: f64,
    /// How `weight_decay` enters. Default [`Decay::L2`].
    pub decay: Decay,
}

impl Default for Nesterov {
    fn default() -> Self {
        Self { lr: 1e-3, momentum: 0.9, form: Form::Classic, weight_decay: 0.0, decay: Decay::L2 }
    }
}

impl Fields for Nesterov {
    #[inline(always)]
    fn map(&self, visitor: &mut impl Visitor) -> Result<Self, Error> {
        Ok(Self {
            lr: visitor.number("lr", NonNegative, self.lr)?,
            momentum: visitor.number("momentum", BelowOne, self.momentum)?,
            form: visitor.choice("form", self.form)?,
            weight_decay: visitor.number("weight_decay", NonNegative, self.weight_decay)?,
            decay: visitor.choice("decay", self.decay)?,
        })
    }
}

/// One step of gradient descent with Nesterov's momentum.
///
/// [`Form::Classic`]: `u = γ·u + η·g; w −= γ·u + η·g` (with the new `u`).
/// [`Form::Torch`]: `u = γ·u + g; w −= η·(g + γ·u)`.
///
/// *A method for solving the convex programming problem with convergence rate O(1/k²)* (Nesterov,
/// 1983), in the form of *On the importance of initialization and momentum in deep learning*
/// (Sutskever et al., 2013).
///
/// `w` (weights), `u` (state, starts as zeros) and `g` (gradient) have the same length, of any size.
/// `w` and `u` are updated.
///
/// # Errors
/// [`Error::Length`] if `g` or `u` is not as long as `w`, [`Error::Hyperparameter`] if a field of
/// `config` is out of its range, [`Error::Isa`] if `DOWNHILL_ISA` is wrong. Nothing is written then.
///
/// # Example
/// ```
/// use downhill::{Nesterov, nesterov_step};
///
/// let (mut w, mut u) = ([1.0], [0.0]);
/// let config = Nesterov { lr: 0.25, momentum: 0.5, ..Nesterov::default() };
/// nesterov_step(&mut w, &[1.0], &mut u, &config)?; // looks ahead: 0.5·0.25 + 0.25
/// assert_eq!((w, u), ([0.625], [0.25]));
/// # Ok::<(), downhill::Error>(())
/// ```
pub fn nesterov_step(w: &mut [f32], g: &[f32], u: &mut [f32], config: &Nesterov) -> Result<(), Error> {
    config.plain_step(Isa::current()?, w, g, [u], 1)
}

kernels!(Nesterov: 1, |config, w, g, [u], _| nesterov_step(w, g, u, config));

impl Configuration<1> for Nesterov {
    const NAME: &'static str = "nesterov";
    const STATES: [State; 1] = [State::signed("u")];

    type Formula = Constants;

    #[inline(always)]
    fn formula(&self, _t: u64) -> Constants {
        let lr = self.lr as f32;
        let (a, b) = match self.form {
            Form::Classic => (lr, 1.0),
            Form::Torch => (1.0, lr),
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
    /// η in the classic form, 1 in the torch form.
    a: f32,
    /// 1 in the classic form, η in the torch form.
    b: f32,
}

impl Formula<1> for Constants {
    const IS_SLOW: bool = false;

    #[inline(always)]
    fn update<S: Lanes>(
        self,
        w: Lane<S>,
        g: Lane<S>,
        [u]: [Lane<S>; 1],
    ) -> ([Lane<S>; 1], impl FnOnce() -> Lane<S>) {
        let step = self.a * g;
        let u = self.momentum * u + step;
        (
            [u],
            #[inline(always)]
            move || w - self.b * (self.momentum * u + step),
        )
    }
}
