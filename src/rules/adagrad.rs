//! Adagrad.

use pulp::Simd;

use super::{Decay, range};
use crate::{
    Error, Extras, Isa, Report, Tensor, Threads, many, reference,
    rule::{Configuration, Job, Rule},
    sweep,
};

/// The hyper-parameters of [`adagrad_step`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adagrad {
    /// Learning rate η, finite and at least 0. Default 1e-2.
    pub lr: f64,
    /// Added to the denominator, outside the root; finite and at least 0. Default 1e-10. With 0, an
    /// element that never had a gradient is divided by zero, as IEEE says.
    pub eps: f64,
    /// Weight decay λ, finite and at least 0. Default 0. [`Decay::Decoupled`] says what becomes of a very small one.
    pub weight_decay: f64,
    /// How `weight_decay` enters. Default [`Decay::L2`].
    pub decay: Decay,
}

impl Default for Adagrad {
    fn default() -> Self {
        Self { lr: 1e-2, eps: 1e-10, weight_decay: 0.0, decay: Decay::L2 }
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
    config.step_on(Isa::current()?, w, g, [s], 1)
}

impl Configuration<1> for Adagrad {
    const NAME: &'static str = "adagrad";
    const STATES: [&'static str; 1] = ["s"];

    #[inline(always)]
    fn apply(&self, _t: u64, job: impl Job<1>) -> Result<(), Error> {
        let lr = range::non_negative("lr", self.lr)?;
        let eps = range::non_negative("eps", self.eps)?;
        self.decay.around(self.weight_decay, self.lr, Formula { lr, eps }, job)
    }

    fn step_on(
        &self,
        isa: Isa,
        w: &mut [f32],
        g: &[f32],
        state: [&mut [f32]; 1],
        t: u64,
    ) -> Result<(), Error> {
        sweep::step(isa, self, t, w, g, state)
    }

    fn step_many_on(
        &self,
        isa: Isa,
        tensors: &mut [Tensor<'_, 1>],
        t: u64,
        extras: &Extras,
        threads: Threads<'_>,
    ) -> Result<Report, Error> {
        many::step(isa, self, t, tensors, extras, threads)
    }

    fn reference(&self, w: &mut [f32], g: &[f32], [s]: [&mut [f32]; 1], _t: u64) -> Result<(), Error> {
        reference::adagrad_step(w, g, s, self)
    }
}

#[derive(Clone, Copy)]
struct Formula {
    lr: f32,
    eps: f32,
}

impl Rule<1> for Formula {
    #[inline(always)]
    fn update<S: Simd>(
        self,
        s: S,
        w: S::f32s,
        g: S::f32s,
        [sum]: [S::f32s; 1],
    ) -> (S::f32s, [S::f32s; 1]) {
        let lr = s.splat_f32s(self.lr);
        let eps = s.splat_f32s(self.eps);
        let sum = s.add_f32s(sum, s.mul_f32s(g, g));
        let denominator = s.add_f32s(s.sqrt_f32s(sum), eps);
        (s.sub_f32s(w, s.div_f32s(s.mul_f32s(lr, g), denominator)), [sum])
    }
}
