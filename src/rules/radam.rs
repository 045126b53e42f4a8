//! RAdam.

use crate::{
    Error, Isa, State, check,
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

/// The hyper-parameters of [`radam_step`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Radam {
    /// Learning rate η, finite and at least 0. Default 1e-3.
    pub lr: f64,
    /// Decay rate of the first moment, β1, in [0, 1). Default 0.9.
    pub beta1: f64,
    /// Decay rate of the second moment, β2, in [0, 1). Default 0.999. With 2/3 or less the second moment
    /// is never used.
    pub beta2: f64,
    /// Added to the root of the second moment, before its bias is corrected; finite and at least 0.
    /// Default 1e-8. With 0, an element whose second moment is zero is divided by zero, as IEEE says.
    /// Below 1e-17 it no longer hides that an average of squares which grows in portions below 2⁻¹²⁶
    /// (gradients below 4e-18) stays 0: subnormal states are read as zero.
    pub eps: f64,
    /// Weight decay λ, finite and at least 0. Default 0. [`Decay::Decoupled`] says what becomes of a
    /// very small one.
    pub weight_decay: f64,
    /// How `weight_decay` enters. Default [`Decay::L2`].
    pub decay: Decay,
}

impl Default for Radam {
    fn default() -> Self {
        Self { lr: 1e-3, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0, decay: Decay::L2 }
    }
}

impl Fields for Radam {
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

/// One step of RAdam: Adam that leaves its second moment out while that is an average of too few
/// gradients, and then makes the learning rate smaller by how uncertain it still is.
///
/// `m = β1·m + (1−β1)·g; v = β2·v + ((1−β2)·g)·g`, then, with `c1 = 1−β1^t`, `c2 = 1−β2^t`,
/// `ρ∞ = 2/(1−β2) − 1` and `ρ = ρ∞ − ((2·t)·β2^t)/c2`:
/// - `ρ > 5`: `w −= (a·m)/(√v + ε)` with `a = (η/c1)·(r·√c2)` and
///   `r = √((((ρ−4)·(ρ−2))·ρ∞)/(((ρ∞−4)·(ρ∞−2))·ρ))`;
/// - else `w −= a·m` with `a = η/c1`: with the default β2 in the first five steps.
///
/// *On the Variance of the Adaptive Learning Rate and Beyond* (Liu et al., 2019), with 5 where that has
/// 4, and ε where it is, as in PyTorch.
///
/// `w` (weights), `m`, `v` (state, start as zeros) and `g` (gradient) have the same length, of any
/// size. `w`, `m` and `v` are updated. `t` is the number of this step and counts from 1.
///
/// # Errors
/// [`Error::Length`] if `g`, `m` or `v` is not as long as `w`, [`Error::Step`] if `t` is 0,
/// [`Error::Hyperparameter`] if a field of `config` is out of its range, [`Error::Isa`] if
/// `DOWNHILL_ISA` is wrong. Nothing is written then.
///
/// # Example
/// ```
/// use downhill::{Radam, radam_step};
///
/// let (mut w, mut m, mut v) = ([1.0, 1.0], [0.0; 2], [0.0; 2]);
/// let config = Radam { lr: 0.5, ..Radam::default() };
/// radam_step(&mut w, &[1.0, 0.5], &mut m, &mut v, 1, &config)?;
/// assert!((w[0] - 0.5).abs() < 1e-6 && (w[1] - 0.75).abs() < 1e-6); // as far as the gradient is steep
/// # Ok::<(), downhill::Error>(())
/// ```
pub fn radam_step(
    w: &mut [f32],
    g: &[f32],
    m: &mut [f32],
    v: &mut [f32],
    t: u64,
    config: &Radam,
) -> Result<(), Error> {
    config.plain_step(Isa::current()?, w, g, [m, v], t)
}

kernels!(Radam: 2, |config, w, g, [m, v], t| radam_step(w, g, m, v, t, config));

/// What the learning rate is multiplied by where the second moment is used: `r·√c2`.
#[inline]
fn rectification(beta2: f64, beta2_t: f64, t: u64) -> Option<f64> {
    let (most, c2) = (2.0 / (1.0 - beta2) - 1.0, 1.0 - beta2_t);
    let rho = most - 2.0 * t as f64 * beta2_t / c2;
    let r = || ((rho - 4.0) * (rho - 2.0) * most / ((most - 4.0) * (most - 2.0) * rho)).sqrt();
    (rho > 5.0).then(|| r() * c2.sqrt())
}

impl Configuration<2> for Radam {
    const NAME: &'static str = "radam";
    const STATES: [State; 2] = [State::signed("m"), State::squares("v")];

    type Formula = Constants;

    #[inline(always)]
    fn check_further(&self, t: u64) -> Result<(), Error> {
        check::step(t)
    }

    #[inline(always)]
    fn formula(&self, t: u64) -> Constants {
        let [beta1_t, beta2_t] = powers([self.beta1, self.beta2], t);
        let rectification = rectification(self.beta2, beta2_t, t);
        Constants {
            beta1: self.beta1 as f32,
            one_minus_beta1: (1.0 - self.beta1) as f32,
            beta2: self.beta2 as f32,
            one_minus_beta2: (1.0 - self.beta2) as f32,
            a: (self.lr / (1.0 - beta1_t) * rectification.unwrap_or(1.0)) as f32,
            eps: self.eps as f32,
            is_rectified: rectification.is_some(),
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
    a: f32,
    eps: f32,
    is_rectified: bool,
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
        [m, v]: [Lane<S>; 2],
    ) -> ([Lane<S>; 2], impl FnOnce() -> Lane<S>) {
        let m = self.beta1 * m + self.one_minus_beta1 * g;
        let v = self.beta2 * v + (self.one_minus_beta2 * g) * g;
        let root = v.sqrt();
        (
            [m, v],
            // Division by 1 is exact, so one kernel does both.
            #[inline(always)]
            move || w - (self.a * m) / (root + self.eps).only_if(self.is_rectified, 1.0),
        )
    }
}
