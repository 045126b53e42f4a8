//! Gradient descent with momentum, in the two forms in use.

use pulp::Simd;

use super::{Decay, range};
use crate::{
    Error, Extras, Isa, Report, Tensor, Threads, many,
    packed::{self, How, Kind, List, Packable},
    reference,
    rule::{Configuration, Job, Rule},
    sweep,
};

/// Where the learning rate stands in a rule with momentum. At a constant rate both forms walk the
/// same path; after a change of rate they differ: `Classic` keeps each past gradient at the rate of
/// its own step, `Torch` applies the current rate to all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// `u = γ·u + η·g; w −= u` (Rumelhart, Hinton & Williams, 1986).
    #[default]
    Classic,
    /// `u = γ·u + (1−τ)·g; w −= η·u`, as PyTorch has it.
    Torch,
}

/// The hyper-parameters of [`momentum_step`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Momentum {
    /// Learning rate η, finite and at least 0. Default 1e-3.
    pub lr: f64,
    /// How much of the last step is kept, γ, in [0, 1). Default 0.9.
    pub momentum: f64,
    /// How much of the gradient is left out of `u`, τ, in [0, 1]. Default 0; [`Form::Classic`] has none.
    pub dampening: f64,
    /// Where η stands. Default [`Form::Classic`].
    pub form: Form,
    /// Weight decay λ, finite and at least 0. Default 0. [`Decay::Decoupled`] says what becomes of a very small one.
    pub weight_decay: f64,
    /// How `weight_decay` enters. Default [`Decay::L2`].
    pub decay: Decay,
}

impl Default for Momentum {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            momentum: 0.9,
            dampening: 0.0,
            form: Form::Classic,
            weight_decay: 0.0,
            decay: Decay::L2,
        }
    }
}

/// One step of gradient descent with momentum.
///
/// [`Form::Classic`]: `u = γ·u + η·g; w −= u`.
/// [`Form::Torch`]: `u = γ·u + (1−τ)·g; w −= η·u`.
///
/// *Learning representations by back-propagating errors* (Rumelhart, Hinton & Williams, 1986).
/// PyTorch does not dampen the very first step: pass `dampening: 0.0` there to do the same.
///
/// `w` (weights), `u` (state, starts as zeros) and `g` (gradient) have the same length, of any size.
/// `w` and `u` are updated.
///
/// # Errors
/// [`Error::Length`] if `g` or `u` is not as long as `w`, [`Error::Hyperparameter`] if a field of
/// `config` is out of its range, or `dampening` is not 0 with [`Form::Classic`], [`Error::Isa`] if
/// `DOWNHILL_ISA` is wrong. Nothing is written then.
///
/// # Example
/// ```
/// use downhill::{Momentum, momentum_step};
///
/// let (mut w, mut u) = ([1.0], [0.0]);
/// let config = Momentum { lr: 0.25, momentum: 0.5, ..Momentum::default() };
/// momentum_step(&mut w, &[1.0], &mut u, &config)?; // u = 0.25
/// momentum_step(&mut w, &[1.0], &mut u, &config)?; // u = 0.125 + 0.25
/// assert_eq!((w, u), ([0.375], [0.375]));
/// # Ok::<(), downhill::Error>(())
/// ```
pub fn momentum_step(w: &mut [f32], g: &[f32], u: &mut [f32], config: &Momentum) -> Result<(), Error> {
    config.step_on(Isa::current()?, w, g, [u], 1)
}

impl Configuration<1> for Momentum {
    const NAME: &'static str = "momentum";
    const STATES: [&'static str; 1] = ["u"];

    #[inline(always)]
    fn apply(&self, _t: u64, job: impl Job<1>) -> Result<(), Error> {
        let lr = range::non_negative("lr", self.lr)?;
        let momentum = range::below_one("momentum", self.momentum)?;
        range::at_most_one("dampening", self.dampening)?;
        match self.form {
            Form::Classic if self.dampening != 0.0 => Err(Error::Hyperparameter {
                argument: "dampening",
                value: self.dampening,
                allowed: "0 in the classic form, which has none",
            }),
            Form::Classic => {
                self.decay.around(self.weight_decay, self.lr, Classic { lr, momentum }, job)
            }
            Form::Torch => {
                let fresh = (1.0 - self.dampening) as f32;
                self.decay.around(self.weight_decay, self.lr, Torch { lr, momentum, fresh }, job)
            }
        }
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

    fn reference(&self, w: &mut [f32], g: &[f32], [u]: [&mut [f32]; 1], _t: u64) -> Result<(), Error> {
        reference::momentum_step(w, g, u, self)
    }
}

impl Packable<1> for Momentum {
    const KINDS: [Kind; 1] = [Kind::Signed];

    fn step_packed_on(&self, tensors: List<'_, '_>, how: How<'_>) -> Result<Report, Error> {
        packed::step(self, tensors, how)
    }
}

#[derive(Clone, Copy)]
struct Classic {
    lr: f32,
    momentum: f32,
}

impl Rule<1> for Classic {
    #[inline(always)]
    fn update<S: Simd>(
        self,
        s: S,
        w: S::f32s,
        g: S::f32s,
        [u]: [S::f32s; 1],
    ) -> (S::f32s, [S::f32s; 1]) {
        let lr = s.splat_f32s(self.lr);
        let momentum = s.splat_f32s(self.momentum);
        let u = s.add_f32s(s.mul_f32s(momentum, u), s.mul_f32s(lr, g));
        (s.sub_f32s(w, u), [u])
    }
}

#[derive(Clone, Copy)]
struct Torch {
    lr: f32,
    momentum: f32,
    /// `1 − τ`
    fresh: f32,
}

impl Rule<1> for Torch {
    #[inline(always)]
    fn update<S: Simd>(
        self,
        s: S,
        w: S::f32s,
        g: S::f32s,
        [u]: [S::f32s; 1],
    ) -> (S::f32s, [S::f32s; 1]) {
        let lr = s.splat_f32s(self.lr);
        let momentum = s.splat_f32s(self.momentum);
        let fresh = s.splat_f32s(self.fresh);
        let u = s.add_f32s(s.mul_f32s(momentum, u), s.mul_f32s(fresh, g));
        (s.sub_f32s(w, s.mul_f32s(lr, u)), [u])
    }
}
