//! Lion.

use crate::{
    Error, Isa, State,
    decay::{Decay, WeightDecay},
    hyperparameter::{
        Fields,
        Range::{BelowOne, NonNegative},
        Visitor,
    },
    lane::{Lane, Lanes},
    rule::{Configuration, Formula, Kernels, kernels},
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
    /// Weight decay λ, finite and at least 0. Default 0. [`Decay::Decoupled`] says what becomes of a
    /// very small one.
    pub weight_decay: f64,
    /// How `weight_decay` enters. Default [`Decay::L2`]; the paper's is [`Decay::Decoupled`].
    pub decay: Decay,
}

impl Default for Lion {
    fn default() -> Self {
        Self { lr: 1e-4, beta1: 0.9, beta2: 0.99, weight_decay: 0.0, decay: Decay::L2 }
    }
}

impl Fields for Lion {
    #[inline(always)]
    fn map(&self, visitor: &mut impl Visitor) -> Result<Self, Error> {
        Ok(Self {
            lr: visitor.number("lr", NonNegative, self.lr)?,
            beta1: visitor.number("beta1", BelowOne, self.beta1)?,
            beta2: visitor.number("beta2", BelowOne, self.beta2)?,
            weight_decay: visitor.number("weight_decay", NonNegative, self.weight_decay)?,
            decay: visitor.choice("decay", self.decay)?,
        })
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
    config.plain_step(Isa::current()?, w, g, [m], 1)
}

kernels!(Lion: 1, |config, w, g, [m], _| lion_step(w, g, m, config));
impl Configuration<1> for Lion {
    const NAME: &'static str = "lion";
    const STATES: [State; 1] = [State::signed("m")];

    type Formula = Constants;

    #[inline(always)]
    fn formula(&self, _t: u64) -> Constants {
        Constants {
            lr: self.lr as f32,
            beta1: self.beta1 as f32,
            one_minus_beta1: (1.0 - self.beta1) as f32,
            beta2: self.beta2 as f32,
            one_minus_beta2: (1.0 - self.beta2) as f32,
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
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
}

impl Formula<1> for Constants {
    const IS_SLOW: bool = false;
    const IS_DECAYED: bool = true;
    const IS_FUSED: bool = true;

    #[inline(always)]
    fn update<S: Lanes>(
        self,
        w: Lane<S>,
        g: Lane<S>,
        [m]: [Lane<S>; 1],
    ) -> ([Lane<S>; 1], impl FnOnce() -> Lane<S>) {
        let direction = self.beta1 * m + self.one_minus_beta1 * g;
        let m = self.beta2 * m + self.one_minus_beta2 * g;
        (
            [m],
            #[inline(always)]
            move || w - Lane::times_sign(self.lr, direction),
        )
    }
}
