//! Stochastic gradient descent.

use pulp::Simd;

use super::{Decay, range};
use crate::{
    Error, Extras, Isa, Report, Tensor, Threads, many, reference,
    rule::{Configuration, Job, Rule},
    sweep,
};

/// The hyper-parameters of [`sgd_step`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// Learning rate η, finite and at least 0. Default 1e-3.
    pub lr: f64,
    /// Weight decay λ, finite and at least 0. Default 0. [`Decay::Decoupled`] says what becomes of a very small one.
    pub weight_decay: f64,
    /// How `weight_decay` enters. Default [`Decay::L2`].
    pub decay: Decay,
}

impl Default for Sgd {
    fn default() -> Self {
        Self { lr: 1e-3, weight_decay: 0.0, decay: Decay::L2 }
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
    config.step_on(Isa::current()?, w, g, [], 1)
}

impl Configuration<0> for Sgd {
    const NAME: &'static str = "sgd";
    const STATES: [&'static str; 0] = [];

    #[inline(always)]
    fn apply(&self, _t: u64, job: impl Job<0>) -> Result<(), Error> {
        let lr = range::non_negative("lr", self.lr)?;
        self.decay.around(self.weight_decay, self.lr, Formula { lr }, job)
    }

    fn step_on(
        &self,
        isa: Isa,
        w: &mut [f32],
        g: &[f32],
        state: [&mut [f32]; 0],
        t: u64,
    ) -> Result<(), Error> {
        sweep::step(isa, self, t, w, g, state)
    }

    fn step_many_on(
        &self,
        isa: Isa,
        tensors: &mut [Tensor<'_, 0>],
        t: u64,
        extras: &Extras,
        threads: Threads<'_>,
    ) -> Result<Report, Error> {
        many::step(isa, self, t, tensors, extras, threads)
    }

    fn reference(&self, w: &mut [f32], g: &[f32], []: [&mut [f32]; 0], _t: u64) -> Result<(), Error> {
        reference::sgd_step(w, g, self)
    }
}

#[derive(Clone, Copy)]
struct Formula {
    lr: f32,
}

impl Rule<0> for Formula {
    #[inline(always)]
    fn update<S: Simd>(self, s: S, w: S::f32s, g: S::f32s, _: [S::f32s; 0]) -> (S::f32s, [S::f32s; 0]) {
        (s.sub_f32s(w, s.mul_f32s(s.splat_f32s(self.lr), g)), [])
    }
}
