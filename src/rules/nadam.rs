//! Nadam.

use pulp::Simd;

use super::{Decay, range};
use crate::{
    Error, Extras, Isa, Report, Tensor, Threads, many,
    power::{momentum_product, powers},
    reference,
    rule::{Configuration, Job, Rule},
    sweep,
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
    /// element whose second moment is zero is divided by zero, as IEEE says.
    /// Below 1e-17 it no longer hides that an average of squares which grows in portions below 2⁻¹²⁶ (gradients below
    /// 4e-18) stays 0: subnormal states are read as zero.
    pub eps: f64,
    /// How fast the momentum warms up, ψ, finite and at least 0. Default 4e-3.
    pub momentum_decay: f64,
    /// Weight decay λ, finite and at least 0. Default 0. [`Decay::Decoupled`] says what becomes of a very small one.
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
/// Π is computed from `t` on every call, so there is no state beside the arrays. Its factors end where it
/// no longer changes `1 − Π`: about 50 with the default β1 and ψ, 2,400 at
/// most.
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
    config.step_on(Isa::current()?, w, g, [m, v], t)
}

impl Configuration<2> for Nadam {
    const NAME: &'static str = "nadam";
    const STATES: [&'static str; 2] = ["m", "v"];

    #[inline(always)]
    fn apply(&self, t: u64, job: impl Job<2>) -> Result<(), Error> {
        range::step(t)?;
        let lr = self.lr;
        range::non_negative("lr", lr)?;
        let beta1 = range::below_one("beta1", self.beta1)?;
        let beta2 = range::below_one("beta2", self.beta2)?;
        range::non_negative("momentum_decay", self.momentum_decay)?;
        let [mu, next_mu, product] = momentum_product(self.beta1, self.momentum_decay, t);
        let c2 = 1.0 - powers([self.beta2], t)[0];
        let rule = Formula {
            beta1,
            fresh1: (1.0 - self.beta1) as f32,
            beta2,
            fresh2: (1.0 - self.beta2) as f32,
            inverse_c2: (1.0 / c2) as f32,
            eps: range::non_negative("eps", self.eps)?,
            a: range::rate(lr * (1.0 - mu) / (1.0 - product), lr)?,
            b: range::rate(lr * next_mu / (1.0 - product * next_mu), lr)?,
        };
        self.decay.around(self.weight_decay, lr, rule, job)
    }

    fn step_on(
        &self,
        isa: Isa,
        w: &mut [f32],
        g: &[f32],
        state: [&mut [f32]; 2],
        t: u64,
    ) -> Result<(), Error> {
        sweep::step(isa, self, t, w, g, state)
    }

    fn step_many_on(
        &self,
        isa: Isa,
        tensors: &mut [Tensor<'_, 2>],
        t: u64,
        extras: &Extras,
        threads: Threads<'_>,
    ) -> Result<Report, Error> {
        many::step(isa, self, t, tensors, extras, threads)
    }

    fn reference(&self, w: &mut [f32], g: &[f32], [m, v]: [&mut [f32]; 2], t: u64) -> Result<(), Error> {
        reference::nadam_step(w, g, m, v, t, self)
    }
}

#[derive(Clone, Copy)]
struct Formula {
    beta1: f32,
    /// `1 − β1`
    fresh1: f32,
    beta2: f32,
    /// `1 − β2`
    fresh2: f32,
    inverse_c2: f32,
    eps: f32,
    a: f32,
    b: f32,
}

impl Rule<2> for Formula {
    #[inline(always)]
    fn update<S: Simd>(
        self,
        s: S,
        w: S::f32s,
        g: S::f32s,
        [m, v]: [S::f32s; 2],
    ) -> (S::f32s, [S::f32s; 2]) {
        let beta1 = s.splat_f32s(self.beta1);
        let fresh1 = s.splat_f32s(self.fresh1);
        let beta2 = s.splat_f32s(self.beta2);
        let fresh2 = s.splat_f32s(self.fresh2);
        let inverse_c2 = s.splat_f32s(self.inverse_c2);
        let eps = s.splat_f32s(self.eps);
        let a = s.splat_f32s(self.a);
        let b = s.splat_f32s(self.b);
        let m = s.add_f32s(s.mul_f32s(beta1, m), s.mul_f32s(fresh1, g));
        let v = s.add_f32s(s.mul_f32s(beta2, v), s.mul_f32s(s.mul_f32s(fresh2, g), g));
        let r = s.add_f32s(s.sqrt_f32s(s.mul_f32s(v, inverse_c2)), eps);
        let w = s.sub_f32s(w, s.div_f32s(s.mul_f32s(a, g), r));
        let w = s.sub_f32s(w, s.div_f32s(s.mul_f32s(b, m), r));
        (w, [m, v])
    }
}
