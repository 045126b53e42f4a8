//! AdaMax.

use pulp::Simd;

use super::{Decay, range};
use crate::{
    Error, Extras, Isa, Report, Tensor, Threads, lanes, many,
    power::powers,
    reference,
    rule::{Configuration, Job, Rule},
    sweep,
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
    /// Weight decay λ, finite and at least 0. Default 0. [`Decay::Decoupled`] says what becomes of a very small one.
    pub weight_decay: f64,
    /// How `weight_decay` enters. Default [`Decay::L2`].
    pub decay: Decay,
}

impl Default for Adamax {
    fn default() -> Self {
        Self { lr: 2e-3, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0, decay: Decay::L2 }
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
    config.step_on(Isa::current()?, w, g, [m, u], t)
}

impl Configuration<2> for Adamax {
    const NAME: &'static str = "adamax";
    const STATES: [&'static str; 2] = ["m", "u"];

    #[inline(always)]
    fn apply(&self, t: u64, job: impl Job<2>) -> Result<(), Error> {
        range::step(t)?;
        range::non_negative("lr", self.lr)?;
        let beta1 = range::below_one("beta1", self.beta1)?;
        let [beta1_t] = powers([self.beta1], t);
        let c1 = 1.0 - beta1_t;
        let rule = Formula {
            beta1,
            fresh1: (1.0 - self.beta1) as f32,
            beta2: range::below_one("beta2", self.beta2)?,
            eps: range::non_negative("eps", self.eps)?,
            a: range::rate(self.lr / c1, self.lr)?,
        };
        self.decay.around(self.weight_decay, self.lr, rule, job)
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

    fn reference(&self, w: &mut [f32], g: &[f32], [m, u]: [&mut [f32]; 2], t: u64) -> Result<(), Error> {
        reference::adamax_step(w, g, m, u, t, self)
    }
}

#[derive(Clone, Copy)]
struct Formula {
    beta1: f32,
    /// `1 − β1`
    fresh1: f32,
    beta2: f32,
    eps: f32,
    a: f32,
}

impl Rule<2> for Formula {
    #[inline(always)]
    fn update<S: Simd>(
        self,
        s: S,
        w: S::f32s,
        g: S::f32s,
        [m, u]: [S::f32s; 2],
    ) -> (S::f32s, [S::f32s; 2]) {
        let beta1 = s.splat_f32s(self.beta1);
        let fresh1 = s.splat_f32s(self.fresh1);
        let beta2 = s.splat_f32s(self.beta2);
        let eps = s.splat_f32s(self.eps);
        let a = s.splat_f32s(self.a);
        let m = s.add_f32s(s.mul_f32s(beta1, m), s.mul_f32s(fresh1, g));
        let u = lanes::max(s, s.mul_f32s(beta2, u), s.add_f32s(lanes::abs(s, g), eps));
        (s.sub_f32s(w, s.div_f32s(s.mul_f32s(a, m), u)), [m, u])
    }
}
