//! Nesterov's momentum, in the two forms in use.

use pulp::Simd;

use super::{Decay, Form, range};
use crate::{
    Error, Extras, Isa, Report, Tensor, Threads, many, reference,
    rule::{Configuration, Job, Rule},
    sweep,
};

/// The hyper-parameters of [`nesterov_step`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Nesterov {
    /// Learning rate η, finite and at least 0. Default 1e-3.
    pub lr: f64,
    /// How much of the last step is kept, γ, in [0, 1). Default 0.9.
    pub momentum: f64,
    /// Where η stands. Default [`Form::Classic`].
    pub form: Form,
    /// Weight decay λ, finite and at least 0. Default 0. [`Decay::Decoupled`] says what becomes of a very small one.
    pub weight_decay: f64,
    /// How `weight_decay` enters. Default [`Decay::L2`].
    pub decay: Decay,
}

impl Default for Nesterov {
    fn default() -> Self {
        Self { lr: 1e-3, momentum: 0.9, form: Form::Classic, weight_decay: 0.0, decay: Decay::L2 }
    }
}

/// One step of gradient descent with Nesterov's momentum.
///
/// [`Form::Classic`]: `u = γ·u + η·g; w −= γ·u + η·g` (with the new `u`).
/// [`Form::Torch`]: `u = γ·u + g; w −= η·(g + γ·u)`.
///
/// *A method for solving the convex programming problem with convergence rate O(1/k²)* (Nesterov,
/// 1983), in the form of *On the importance of initialization and momentum in deep learning*
/// (Sutskever et al., 2013).
///
/// `w` (weights), `u` (state, starts as zeros) and `g` (gradient) have the same length, of any size.
/// `w` and `u` are updated.
///
/// # Errors
/// [`Error::Length`] if `g` or `u` is not as long as `w`, [`Error::Hyperparameter`] if a field of
/// `config` is out of its range, [`Error::Isa`] if `DOWNHILL_ISA` is wrong. Nothing is written then.
///
/// # Example
/// ```
/// use downhill::{Nesterov, nesterov_step};
///
/// let (mut w, mut u) = ([1.0], [0.0]);
/// let config = Nesterov { lr: 0.25, momentum: 0.5, ..Nesterov::default() };
/// nesterov_step(&mut w, &[1.0], &mut u, &config)?; // looks ahead: 0.5·0.25 + 0.25
/// assert_eq!((w, u), ([0.625], [0.25]));
/// # Ok::<(), downhill::Error>(())
/// ```
pub fn nesterov_step(w: &mut [f32], g: &[f32], u: &mut [f32], config: &Nesterov) -> Result<(), Error> {
    config.step_on(Isa::current()?, w, g, [u], 1)
}

impl Configuration<1> for Nesterov {
    const NAME: &'static str = "nesterov";
    const STATES: [&'static str; 1] = ["u"];

    #[inline(always)]
    fn apply(&self, _t: u64, job: impl Job<1>) -> Result<(), Error> {
        let lr = range::non_negative("lr", self.lr)?;
        let momentum = range::below_one("momentum", self.momentum)?;
        match self.form {
            Form::Classic => {
                self.decay.around(self.weight_decay, self.lr, Classic { lr, momentum }, job)
            }
            Form::Torch => self.decay.around(self.weight_decay, self.lr, Torch { lr, momentum }, job),
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
        reference::nesterov_step(w, g, u, self)
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
        let step = s.mul_f32s(lr, g);
        let u = s.add_f32s(s.mul_f32s(momentum, u), step);
        (s.sub_f32s(w, s.add_f32s(s.mul_f32s(momentum, u), step)), [u])
    }
}

#[derive(Clone, Copy)]
struct Torch {
    lr: f32,
    momentum: f32,
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
        let u = s.add_f32s(s.mul_f32s(momentum, u), g);
        (s.sub_f32s(w, s.mul_f32s(lr, s.add_f32s(g, s.mul_f32s(momentum, u)))), [u])
    }
}
