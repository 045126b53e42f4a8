//! Lion.

use pulp::Simd;

use super::{Decay, range};
use crate::{
    Error, Extras, Isa, Report, Tensor, Threads, lanes, many,
    packed::{self, How, Kind, List, Packable},
    reference,
    rule::{Configuration, Job, Rule},
    sweep,
};

/// The hyper-parameters of [`lion_step`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lion {
    /// Learning rate η, finite and at least 0. Default 1e-4.
    pub lr: f64,
    /// Weight of `m` in the direction of this step, β1, in [0, 1). Default 0.9.
    pub beta1: f64,
    /// Decay rate of `m`, β2, in [0, 1). Default 0.99.
    pub beta2: f64,
    /// Weight decay λ, finite and at least 0. Default 0. [`Decay::Decoupled`] says what becomes of a very small one.
    pub weight_decay: f64,
    /// How `weight_decay` enters. Default [`Decay::L2`]; the paper's is [`Decay::Decoupled`].
    pub decay: Decay,
}

impl Default for Lion {
    fn default() -> Self {
        Self { lr: 1e-4, beta1: 0.9, beta2: 0.99, weight_decay: 0.0, decay: Decay::L2 }
    }
}

/// One step of Lion: `w −= η·sign(β1·m + (1−β1)·g); m = β2·m + (1−β2)·g`, with `sign(0) = 0` and the
/// sign of a NaN a NaN.
///
/// *Symbolic Discovery of Optimization Algorithms* (Chen et al., 2023).
///
/// `w` (weights), `m` (state, starts as zeros) and `g` (gradient) have the same length, of any size.
/// `w` and `m` are updated.
///
/// # Errors
/// [`Error::Length`] if `g` or `m` is not as long as `w`, [`Error::Hyperparameter`] if a field of
/// `config` is out of its range, [`Error::Isa`] if `DOWNHILL_ISA` is wrong. Nothing is written then.
///
/// # Example
/// ```
/// use downhill::{Lion, lion_step};
///
/// let (mut w, mut m) = ([1.0, 1.0, 1.0], [0.0; 3]);
/// lion_step(&mut w, &[50.0, -0.01, 0.0], &mut m, &Lion { lr: 0.25, ..Lion::default() })?;
/// assert_eq!(w, [0.75, 1.25, 1.0]); // lr, in the direction of the sign
/// # Ok::<(), downhill::Error>(())
/// ```
pub fn lion_step(w: &mut [f32], g: &[f32], m: &mut [f32], config: &Lion) -> Result<(), Error> {
    config.step_on(Isa::current()?, w, g, [m], 1)
}

impl Configuration<1> for Lion {
    const NAME: &'static str = "lion";
    const STATES: [&'static str; 1] = ["m"];

    #[inline(always)]
    fn apply(&self, _t: u64, job: impl Job<1>) -> Result<(), Error> {
        let rule = Formula {
            lr: range::non_negative("lr", self.lr)?,
            beta1: range::below_one("beta1", self.beta1)?,
            fresh1: (1.0 - self.beta1) as f32,
            beta2: range::below_one("beta2", self.beta2)?,
            fresh2: (1.0 - self.beta2) as f32,
        };
        self.decay.around(self.weight_decay, self.lr, rule, job)
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

    fn reference(&self, w: &mut [f32], g: &[f32], [m]: [&mut [f32]; 1], _t: u64) -> Result<(), Error> {
        reference::lion_step(w, g, m, self)
    }
}

impl Packable<1> for Lion {
    const KINDS: [Kind; 1] = [Kind::Signed];

    fn step_packed_on(&self, tensors: List<'_, '_>, how: How<'_>) -> Result<Report, Error> {
        packed::step(self, tensors, how)
    }
}

#[derive(Clone, Copy)]
struct Formula {
    lr: f32,
    beta1: f32,
    /// `1 − β1`
    fresh1: f32,
    beta2: f32,
    /// `1 − β2`
    fresh2: f32,
}

impl Rule<1> for Formula {
    #[inline(always)]
    fn update<S: Simd>(
        self,
        s: S,
        w: S::f32s,
        g: S::f32s,
        [m]: [S::f32s; 1],
    ) -> (S::f32s, [S::f32s; 1]) {
        let lr = s.splat_f32s(self.lr);
        let beta1 = s.splat_f32s(self.beta1);
        let fresh1 = s.splat_f32s(self.fresh1);
        let beta2 = s.splat_f32s(self.beta2);
        let fresh2 = s.splat_f32s(self.fresh2);
        let direction = s.add_f32s(s.mul_f32s(beta1, m), s.mul_f32s(fresh1, g));
        let w = s.sub_f32s(w, s.mul_f32s(lr, lanes::sign(s, direction)));
        (w, [s.add_f32s(s.mul_f32s(beta2, m), s.mul_f32s(fresh2, g))])
    }
}
