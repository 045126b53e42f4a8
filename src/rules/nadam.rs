//! Nadam.

use crate::{
    Error, Isa, State, check,
    decay::{Decay, WeightDecay},
    hyperparameter::{
        Fields,
        Range::{BelowOne, NonNegative},
        Visitor,
    },
    lane::{Lane, Lanes},
    power::{momentum_product, powers},
    rule::{Configuration, Formula, Kernels, kernels},
};

/// The hyper-parameters of [`nadam_step`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Nadam {
    /// Learning rate η, finite and at least 0. Default 2e-3.
    pub lr: f64,
    /// Decay rate of the first moment, β1, in [0, 1). Default 0.9.
    pub beta1: f64,
    /// Decay rate of the second moment, β2, in [0, 1). Default 0.999.
    pub beta2: f64,
    /// Added to the denominator, outside the root; finite and at least 0. Default 1e-8. With 0, an
    /// element whose second moment is zero is divided by zero, as IEEE says. Below 1e-17 it no longer
    /// hides that an average of squares which grows in portions below 2⁻¹²⁶ (gradients below 4e-18)
    /// stays 0: subnormal states are read as zero.
    pub eps: f64,
    /// How fast the momentum warms up, ψ, finite and at least 0. Default 4e-3.
    pub momentum_decay: f64,
    /// Weight decay λ, finite and at least 0. Default 0. [`Decay::Decoupled`] says what becomes of a
    /// very small one.
    pub weight_decay: f64,
    /// How `weight_decay` enters. Default [`Decay::L2`].
    pub decay: Decay,
}

impl Default for Nadam {
    fn default() -> Self {
        Self {
            lr: 2e-3,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            momentum_decay: 4e-3,
            weight_decay: 0.0,
            decay: Decay::L2,
        }
    }
}

impl Fields for Nadam {
    #[inline(always)]
    fn map(&self, visitor: &mut impl Visitor) -> Result<Self, Error> {
        Ok(Self {
            lr: visitor.number("lr", NonNegative, self.lr)?,
            beta1: visitor.number("beta1", BelowOne, self.beta1)?,
            beta2: visitor.number("beta2", BelowOne, self.beta2)?,
            eps: visitor.number("eps", NonNegative, self.eps)?,
            momentum_decay: visitor.number("momentum_decay", NonNegative, self.momentum_decay)?,
            weight_decay: visitor.number("weight_decay", NonNegative, self.weight_decay)?,
            decay: visitor.choice("decay", self.decay)?,
        })
    }
}

/// One step of Nadam: Adam with Nesterov's momentum.
///
/// `m = β1·m + (1−β1)·g; v = β2·v + ((1−β2)·g)·g; r = √(v·(1/c2)) + ε; w −= (a·g)/r; w −= (b·m)/r` with
/// `c2 = 1−β2^t`, `μ_t = β1·(1 − ½·0.96^(t·ψ))`, `Π = μ_1·…·μ_t`, `a = η·(1−μ_t)/(1−Π)` and
/// `b = η·μ_(t+1)/(1−Π·μ_(t+1))`.
///
/// *Incorporating Nesterov Momentum into Adam* (Dozat, 2016).
///
/// `w` (weights), `m`, `v` (state, start as zeros) and `g` (gradient) have the same length, of any
/// size. `w`, `m` and `v` are updated. `t` is the number of this step and counts from 1.
///
/// Π is computed from `t` on every call, so there is no state beside the arrays. Its factors end where
/// it no longer changes `1 − Π`: about 50 with the default β1 and ψ, 2,400 at most.
///
/// # Errors
/// [`Error::Length`] if `g`, `m` or `v` is not as long as `w`, [`Error::Step`] if `t` is 0,
/// [`Error::Hyperparameter`] if a field of `config` is out of its range, [`Error::Isa`] if
/// `DOWNHILL_ISA` is wrong. Nothing is written then.
///
/// # Example
/// ```
/// use downhill::{Nadam, nadam_step};
///
/// let (mut w, mut m, mut v) = ([1.0], [0.0], [0.0]);
/// for t in 1..=100 {
///     let g = [2.0 * w[0]];
///     nadam_step(&mut w, &g, &mut m, &mut v, t, &Nadam { lr: 0.05, ..Nadam::default() })?;
/// }
/// assert!(w[0].abs() < 0.1);
/// # Ok::<(), downhill::Error>(())
/// ```
pub fn nadam_step(
    w: &mut [f32],
    g: &[f32],
    m: &mut [f32],
    v: &mut [f32],
    t: u64,
    config: &Nadam,
) -> Result<(), Error> {
    config.plain_step(Isa::current()?, w, g, [m, v], t)
}

kernels!(Nadam: 2, |config, w, g, [m, v], t| nadam_step(w, g, m, v, t, config));

impl Configuration<2> for Nadam {
    const NAME: &'static str = "nadam";
    const STATES: [State; 2] = [State::signed("m"), State::squares("v")];

    type Formula = Constants;

    #[inline(always)]
    fn check_further(&self, t: u64) -> Result<(), Error> {
        check::step(t)
    }

    #[inline(always)]
    fn formula(&self, t: u64) -> Constants {
        let [mu, next_mu, product] = momentum_product(self.beta1, self.momentum_decay, t);
        let [beta2_t] = powers([self.beta2], t);
        Constants {
            beta1: self.beta1 as f32,
            one_minus_beta1: (1.0 - self.beta1) as f32,
            beta2: self.beta2 as f32,
            one_minus_beta2: (1.0 - self.beta2) as f32,
            inverse_c2: (1.0 / (1.0 - beta2_t)) as f32,
            eps: self.eps as f32,
            a: (self.lr * (1.0 - mu) / (1.0 - product)) as f32,
            b: (self.lr * next_mu / (1.0 - product * next_mu)) as f32,
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
    one_minus_beta2: f32,
    inverse_c2: f32,
    eps: f32,
    a: f32,
    b: f32,
}

impl Formula<2> for Constants {
    #[inline(always)]
    fn rates(&self) -> [f32; 2] {
        [self.a, self.b]
    }

    #[inline(always)]
    fn update<S: Lanes>(
        self,
        w: Lane<S>,
        g: Lane<S>,
        [m, v]: [Lane<S>; 2],
    ) -> ([Lane<S>; 2], impl FnOnce() -> Lane<S>) {
        let m = self.beta1 * m + self.one_minus_beta1 * g;
        let v = self.beta2 * v + (self.one_minus_beta2 * g) * g;
        let root = (v * self.inverse_c2).sqrt();
        (
            [m, v],
            #[inline(always)]
            move || {
                let r = root + self.eps;
                w - (self.a * g) / r - (self.b * m) / r
            },
        )
    }
}
