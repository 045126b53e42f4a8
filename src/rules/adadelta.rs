//! Adadelta.

use crate::{
    Error, Isa, State,
    decay::{Decay, WeightDecay},
    hyperparameter::{
        Fields,
        Range::{NonNegative, UpToOne},
        Visitor,
    },
    lane::{Lane, Lanes},
    rule::{Configuration, Formula, Kernels, kernels},
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
    /// Weight decay λ, finite and at least 0. Default 0. [`Decay::Decoupled`] says what becomes of a
    /// very small one.
    pub weight_decay: f64,
    /// How `weight_decay` enters. Default [`Decay::L2`].
    pub decay: Decay,
}

impl Default for Adadelta {
    fn default() -> Self {
        Self { lr: 1.0, rho: 0.9, eps: 1e-6, weight_decay: 0.0, decay: Decay::L2 }
    }
}

impl Fields for Adadelta {
    #[inline(always)]
    fn map(&self, visitor: &mut impl Visitor) -> Result<Self, Error> {
        Ok(Self {
            lr: visitor.number("lr", NonNegative, self.lr)?,
            rho: visitor.number("rho", UpToOne, self.rho)?,
            eps: visitor.number("eps", NonNegative, self.eps)?,
            weight_decay: visitor.number("weight_decay", NonNegative, self.weight_decay)?,
            decay: visitor.choice("decay", self.decay)?,
        })
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
    config.plain_step(Isa::current()?, w, g, [v, u], 1)
}

kernels!(Adadelta: 2, |config, w, g, [v, u], _| adadelta_step(w, g, v, u, config));

impl Configuration<2> for Adadelta {
    const NAME: &'static str = "adadelta";
    const STATES: [State; 2] = [State::squares("v"), State::squares("u")];

    type Formula = Constants;

    #[inline(always)]
    fn formula(&self, _t: u64) -> Constants {
        Constants {
            lr: self.lr as f32,
            rho: self.rho as f32,
            one_minus_rho: (1.0 - self.rho) as f32,
            eps: self.eps as f32,
        }
    }

    #[inline(always)]
    fn decay(&self) -> WeightDecay {
        let Self { decay, weight_decay, lr, .. } = *self;
        WeightDecay { decay, weight_decay, lr }
    }
}

#[derive(Clone, Copy)]
pub struct Constants {
    lr: f32,
    rho: f32,
    one_minus_rho: f32,
    eps: f32,
}

impl Formula<2> for Constants {
    #[inline(always)]
    fn update<S: Lanes>(
        self,
        w: Lane<S>,
        g: Lane<S>,
        [v, u]: [Lane<S>; 2],
    ) -> ([Lane<S>; 2], impl FnOnce() -> Lane<S>) {
        let v = self.rho * v + (self.one_minus_rho * g) * g;
        let d = ((u + self.eps).sqrt() / (v + self.eps).sqrt()) * g;
        let u = self.rho * u + (self.one_minus_rho * d) * d;
        (
            [v, u],
            #[inline(always)]
            move || w - self.lr * d,
        )
    }
}
