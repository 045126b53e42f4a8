//! AdaMax.

use crate::{
    Error, Isa, State, StateKind, check,
    decay::{Decay, WeightDecay},
    hyperparameter::{
        Fields,
        Range::{BelowOne, NonNegative},
        Visitor,
    },
    lane::{Lane, Lanes},
    power::powers,
    rule::{Configuration, Formula, Kernels, kernels},
};

/// The hyper-parameters of [`adamax_step`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adamax {
    /// Learning rate η, finite and at least 0. Default 2e-3.
    pub lr: f64,
    /// Decay rate of the first moment, β1, in [0, 1). Default 0.9.
    pub beta1: f64,
    /// Decay rate of the infinity norm, β2, in [0, 1). Default 0.999.
    pub beta2: f64,
    /// Added to `|g|`, and so kept in `u`; finite and at least 0. Default 1e-8. With 0, an element that
    /// never had a gradient is divided by zero, as IEEE says.
    pub eps: f64,
    /// Weight decay λ, finite and at least 0. Default 0. [`Decay::Decoupled`] says what becomes of a
    /// very small one.
    pub weight_decay: f64,
    /// How `weight_decay` enters. Default [`Decay::L2`].
    pub decay: Decay,
}

impl Default for Adamax {
    fn default() -> Self {
        Self { lr: 2e-3, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0, decay: Decay::L2 }
    }
}

impl Fields for Adamax {
    #[inline(always)]
    fn map(&self, visitor: &mut impl Visitor) -> Result<Self, Error> {
        Ok(Self {
            lr: visitor.number("lr", NonNegative, self.lr)?,
            beta1: visitor.number("beta1", BelowOne, self.beta1)?,
            beta2: visitor.number("beta2", BelowOne, self.beta2)?,
            eps: visitor.number("eps", NonNegative, self.eps)?,
            weight_decay: visitor.number("weight_decay", NonNegative, self.weight_decay)?,
            decay: visitor.choice("decay", self.decay)?,
        })
    }
}

/// One step of AdaMax: Adam with the infinity norm.
///
/// `m = β1·m + (1−β1)·g; u = max(β2·u, |g| + ε); w −= (a·m)/u` with `a = η/(1−β1^t)`. The maximum of a
/// NaN and a number is NaN.
///
/// *Adam: A Method for Stochastic Optimization* (Kingma & Ba, 2014), section 7.1, with ε as in PyTorch.
///
/// `w` (weights), `m`, `u` (state, start as zeros) and `g` (gradient) have the same length, of any
/// size. `w`, `m` and `u` are updated. `t` is the number of this step and counts from 1.
///
/// # Errors
/// [`Error::Length`] if `g`, `m` or `u` is not as long as `w`, [`Error::Step`] if `t` is 0,
/// [`Error::Hyperparameter`] if a field of `config` is out of its range, [`Error::Isa`] if
/// `DOWNHILL_ISA` is wrong. Nothing is written then.
///
/// # Example
/// ```
/// use downhill::{Adamax, adamax_step};
///
/// let (mut w, mut m, mut u) = ([1.0, 1.0], [0.0; 2], [0.0; 2]);
/// adamax_step(&mut w, &[8.0, -0.5], &mut m, &mut u, 1, &Adamax { lr: 0.25, ..Adamax::default() })?;
/// assert!((w[0] - 0.75).abs() < 1e-6 && (w[1] - 1.25).abs() < 1e-6);
/// # Ok::<(), downhill::Error>(())
/// ```
pub fn adamax_step(
    w: &mut [f32],
    g: &[f32],
    m: &mut [f32],
    u: &mut [f32],
    t: u64,
    config: &Adamax,
) -> Result<(), Error> {
    config.plain_step(Isa::current()?, w, g, [m, u], t)
}

kernels!(Adamax: 2, |config, w, g, [m, u], t| adamax_step(w, g, m, u, t, config));

impl Configuration<2> for Adamax {
    const NAME: &'static str = "adamax";
    const STATES: [State; 2] = [State::signed("m"), State::new("u", StateKind::DecayingMaximum)];

    type Formula = Constants;

    #[inline(always)]
    fn check_further(&self, t: u64) -> Result<(), Error> {
        check::step(t)
    }

    #[inline(always)]
    fn formula(&self, t: u64) -> Constants {
        let [beta1_t] = powers([self.beta1], t);
        Constants {
            beta1: self.beta1 as f32,
            one_minus_beta1: (1.0 - self.beta1) as f32,
            beta2: self.beta2 as f32,
            eps: self.eps as f32,
            a: (self.lr / (1.0 - beta1_t)) as f32,
        }
    }

    #[inline(always)]
    fn largest_rate(&self) -> f64 {
        self.lr / (1.0 - self.beta1)
    }

    #[inline(always)]
    fn decay(&self) -> WeightDecay {
        let Self { decay, weight_decay, lr, .. } = *self;
        WeightDecay { decay, weight_decay, lr }
    }
}

#[derive(Clone, Copy)]
pub struct Constants {
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    eps: f32,
    a: f32,
}

impl Formula<2> for Constants {
    #[inline(always)]
    fn rates(&self) -> [f32; 2] {
        [self.a; 2]
    }

    #[inline(always)]
    fn update<S: Lanes>(
        self,
        w: Lane<S>,
        g: Lane<S>,
        [m, u]: [Lane<S>; 2],
    ) -> ([Lane<S>; 2], impl FnOnce() -> Lane<S>) {
        let m = self.beta1 * m + self.one_minus_beta1 * g;
        let u = (self.beta2 * u).max(g.abs() + self.eps);
        (
            [m, u],
            #[inline(always)]
            move || w - (self.a * m) / u,
        )
    }
}
