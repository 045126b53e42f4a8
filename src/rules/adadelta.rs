//! Adadelta.

use pulp::Simd;

use super::{Decay, range};
use crate::{
    Error, Extras, Isa, Report, Tensor, Threads, many, reference,
    rule::{Configuration, Job, Rule},
    sweep,
};

/// The hyper-parameters of [`adadelta_step`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adadelta {
    /// Learning rate η, finite and at least 0. Default 1, the paper's.
    pub lr: f64,
    /// Decay rate of both averages, ρ, in [0, 1]. Default 0.9.
    pub rho: f64,
    /// Added inside both roots; finite and at least 0. Default 1e-6. With 0 nothing ever moves: `u`
    /// starts as zero, and 0/0 is NaN where the gradient is zero.
    pub eps: f64,
    /// Weight decay λ, finite and at least 0. Default 0. [`Decay::Decoupled`] says what becomes of a very small one.
    pub weight_decay: f64,
    /// How `weight_decay` enters. Default [`Decay::L2`].
    pub decay: Decay,
}

impl Default for Adadelta {
    fn default() -> Self {
        Self { lr: 1.0, rho: 0.9, eps: 1e-6, weight_decay: 0.0, decay: Decay::L2 }
    }
}

/// One step of Adadelta.
///
/// `v = ρ·v + ((1−ρ)·g)·g; d = (√(u+ε)/√(v+ε))·g; u = ρ·u + ((1−ρ)·d)·d; w −= η·d`
///
/// *ADADELTA: An Adaptive Learning Rate Method* (Zeiler, 2012).
///
/// `w` (weights), `v`, `u` (state, start as zeros: averages of squared gradients and of squared
/// steps) and `g` (gradient) have the same length, of any size. `w`, `v` and `u` are updated.
///
/// # Errors
/// [`Error::Length`] if `g`, `v` or `u` is not as long as `w`, [`Error::Hyperparameter`] if a field of
/// `config` is out of its range, [`Error::Isa`] if `DOWNHILL_ISA` is wrong. Nothing is written then.
///
/// # Example
/// ```
/// use downhill::{Adadelta, adadelta_step};
///
/// let (mut w, mut v, mut u) = ([1.0], [0.0], [0.0]);
/// for _ in 0..1000 {
///     let g = [2.0 * w[0]];
///     adadelta_step(&mut w, &g, &mut v, &mut u, &Adadelta::default())?;
/// }
/// assert!(w[0].abs() < 0.1);
/// # Ok::<(), downhill::Error>(())
/// ```
pub fn adadelta_step(
    w: &mut [f32],
    g: &[f32],
    v: &mut [f32],
    u: &mut [f32],
    config: &Adadelta,
) -> Result<(), Error> {
    config.step_on(Isa::current()?, w, g, [v, u], 1)
}

impl Configuration<2> for Adadelta {
    const NAME: &'static str = "adadelta";
    const STATES: [&'static str; 2] = ["v", "u"];

    #[inline(always)]
    fn apply(&self, _t: u64, job: impl Job<2>) -> Result<(), Error> {
        let lr = range::non_negative("lr", self.lr)?;
        let rho = range::at_most_one("rho", self.rho)?;
        let eps = range::non_negative("eps", self.eps)?;
        let rule = Formula { lr, rho, fresh: (1.0 - self.rho) as f32, eps };
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

    fn reference(
        &self,
        w: &mut [f32],
        g: &[f32],
        [v, u]: [&mut [f32]; 2],
        _t: u64,
    ) -> Result<(), Error> {
        reference::adadelta_step(w, g, v, u, self)
    }
}

#[derive(Clone, Copy)]
struct Formula {
    lr: f32,
    rho: f32,
    /// `1 − ρ`
    fresh: f32,
    eps: f32,
}

impl Rule<2> for Formula {
    #[inline(always)]
    fn update<S: Simd>(
        self,
        s: S,
        w: S::f32s,
        g: S::f32s,
        [v, u]: [S::f32s; 2],
    ) -> (S::f32s, [S::f32s; 2]) {
        let lr = s.splat_f32s(self.lr);
        let rho = s.splat_f32s(self.rho);
        let fresh = s.splat_f32s(self.fresh);
        let eps = s.splat_f32s(self.eps);
        let v = s.add_f32s(s.mul_f32s(rho, v), s.mul_f32s(s.mul_f32s(fresh, g), g));
        let ratio = s.div_f32s(s.sqrt_f32s(s.add_f32s(u, eps)), s.sqrt_f32s(s.add_f32s(v, eps)));
        let d = s.mul_f32s(ratio, g);
        let u = s.add_f32s(s.mul_f32s(rho, u), s.mul_f32s(s.mul_f32s(fresh, d), d));
        (s.sub_f32s(w, s.mul_f32s(lr, d)), [v, u])
    }
}
