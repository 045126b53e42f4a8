//! Adam.

use pulp::Simd;

use super::{Decay, range};
use crate::{
    Error, Isa, Optimizer, optimizer,
    power::powers,
    reference,
    rule::{Configuration, Job, Rule},
    sweep,
};

/// What Adam divides its moments by: `c1` and `c2`, from β1 and β2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BiasCorrection {
    /// `c = 1 − β^t` (Kingma & Ba): undoes the pull of the zeros that the moments start from.
    #[default]
    Step,
    /// `c = 1 − β`, at every step.
    Constant,
    /// `c = 1`: no correction.
    None,
}

/// The hyper-parameters of [`adam_step`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    /// Learning rate η, finite and at least 0. Default 1e-3.
    pub lr: f64,
    /// Decay rate of the first moment, β1, in [0, 1). Default 0.9.
    pub beta1: f64,
    /// Decay rate of the second moment, β2, in [0, 1). Default 0.999.
    pub beta2: f64,
    /// Added to the denominator, outside the root; finite and at least 0. Default 1e-8. With 0, an
    /// element whose second moment is zero is divided by zero, as IEEE says.
    pub eps: f64,
    /// What the moments are divided by. Default [`BiasCorrection::Step`].
    pub bias_correction: BiasCorrection,
    /// Weight decay λ, finite and at least 0. Default 0.
    pub weight_decay: f64,
    /// How `weight_decay` enters. Default [`Decay::L2`].
    pub decay: Decay,
}

impl Default for Adam {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            bias_correction: BiasCorrection::Step,
            weight_decay: 0.0,
            decay: Decay::L2,
        }
    }
}

/// One step of Adam.
///
/// `m = β1·m + (1−β1)·g; v = β2·v + ((1−β2)·g)·g; w −= (a·m)/(√v·k + ε)` with `a = η/c1`, `k = 1/√c2`
/// and `c1`, `c2` as [`BiasCorrection`] says.
///
/// *Adam: A Method for Stochastic Optimization* (Kingma & Ba, 2014).
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
/// use downhill::{Adam, adam_step};
///
/// let (mut w, mut m, mut v) = ([1.0, 1.0], [0.0; 2], [0.0; 2]);
/// for t in 1..=10 {
///     let g = [w[0], 100.0 * w[1]]; // the gradient of (w0² + 100·w1²)/2
///     adam_step(&mut w, &g, &mut m, &mut v, t, &Adam { lr: 0.1, ..Adam::default() })?;
/// }
/// assert!(w[0] < 0.1 && w[1] < 0.1); // both at one pace, however steep
/// # Ok::<(), downhill::Error>(())
/// ```
pub fn adam_step(
    w: &mut [f32],
    g: &[f32],
    m: &mut [f32],
    v: &mut [f32],
    t: u64,
    config: &Adam,
) -> Result<(), Error> {
    sweep::step(Isa::current()?, config, t, w, g, [m, v])
}

impl Adam {
    /// `(c1, c2)`
    #[inline]
    fn corrections(&self, t: u64) -> (f64, f64) {
        match self.bias_correction {
            BiasCorrection::Step => {
                let (beta1_t, beta2_t) = powers(self.beta1, self.beta2, t);
                (1.0 - beta1_t, 1.0 - beta2_t)
            }
            BiasCorrection::Constant => (1.0 - self.beta1, 1.0 - self.beta2),
            BiasCorrection::None => (1.0, 1.0),
        }
    }
}

impl Configuration<2> for Adam {
    const STATES: [&'static str; 2] = ["m", "v"];

    #[inline(always)]
    fn apply(&self, t: u64, job: impl Job<2>) -> Result<(), Error> {
        if t == 0 {
            return Err(Error::Step);
        }
        range::non_negative("lr", self.lr)?;
        let beta1 = range::below_one("beta1", self.beta1)?;
        let beta2 = range::below_one("beta2", self.beta2)?;
        let eps = range::non_negative("eps", self.eps)?;
        let (c1, c2) = self.corrections(t);
        let rule = Formula {
            beta1,
            fresh1: (1.0 - self.beta1) as f32,
            beta2,
            fresh2: (1.0 - self.beta2) as f32,
            a: range::derived(self.lr / c1, "lr", self.lr, "so small that lr/c1 is finite in f32")?,
            k: (1.0 / c2.sqrt()) as f32,
            eps,
        };
        self.decay.around(self.weight_decay, self.lr, rule, job)
    }
}

impl Optimizer for Adam {
    fn name(&self) -> &'static str {
        "adam"
    }

    fn state_names(&self) -> &'static [&'static str] {
        &Self::STATES
    }

    fn step_on(
        &self,
        isa: Isa,
        w: &mut [f32],
        g: &[f32],
        state: &mut [&mut [f32]],
        t: u64,
    ) -> Result<(), Error> {
        sweep::step(isa, self, t, w, g, optimizer::arrays(state, &Self::STATES)?)
    }

    fn reference_step(
        &self,
        w: &mut [f32],
        g: &[f32],
        state: &mut [&mut [f32]],
        t: u64,
    ) -> Result<(), Error> {
        let [m, v] = optimizer::arrays(state, &Self::STATES)?;
        reference::adam_step(w, g, m, v, t, self)
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
    a: f32,
    k: f32,
    eps: f32,
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
        let a = s.splat_f32s(self.a);
        let k = s.splat_f32s(self.k);
        let eps = s.splat_f32s(self.eps);
        let m = s.add_f32s(s.mul_f32s(beta1, m), s.mul_f32s(fresh1, g));
        let v = s.add_f32s(s.mul_f32s(beta2, v), s.mul_f32s(s.mul_f32s(fresh2, g), g));
        let denominator = s.add_f32s(s.mul_f32s(s.sqrt_f32s(v), k), eps);
        let w = s.sub_f32s(w, s.div_f32s(s.mul_f32s(a, m), denominator));
        (w, [m, v])
    }
}
