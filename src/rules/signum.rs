//! Signum: momentum of which only the sign is used.

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

/// The hyper-parameters of [`signum_step`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Signum {
    /// Learning rate η, finite and at least 0. Default 1e-4.
    pub lr: f64,
    /// Decay rate of `m`, γ, in [0, 1). Default 0.9. With 0 the rule is signSGD.
    pub momentum: f64,
    /// Weight decay λ, finite and at least 0. Default 0. [`Decay::Decoupled`] says what becomes of a
    /// very small one.
    pub weight_decay: f64,
    /// How `weight_decay` enters. Default [`Decay::L2`].
    pub decay: Decay,
}

impl Default for Signum {
    fn default() -> Self {
        Self { lr: 1e-4, momentum: 0.9, weight_decay: 0.0, decay: Decay::L2 }
    }
}

impl Fields for Signum {
    #[inline(always)]
    fn map(&self, visitor: &mut impl Visitor) -> Result<Self, Error> {
        Ok(Self {
            lr: visitor.number("lr", NonNegative, self.lr)?,
            momentum: visitor.number("momentum", BelowOne, self.momentum)?,
            weight_decay: visitor.number("weight_decay", NonNegative, self.weight_decay)?,
            decay: visitor.choice("decay", self.decay)?,
        })
    }
}

/// One step of Signum: `m = γ·m + (1−γ)·g; w −= η·sign(m)`, with `sign(0) = 0` and the sign of a NaN a
/// NaN. With γ = 0 it is signSGD.
///
/// *signSGD: Compressed Optimisation for Non-Convex Problems* (Bernstein et al., 2018).
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
/// use downhill::{Signum, signum_step};
///
/// let (mut w, mut m) = ([1.0; 3], [0.0; 3]);
/// let config = Signum { lr: 0.25, momentum: 0.5, ..Signum::default() };
/// signum_step(&mut w, &[8.0, -0.5, 0.0], &mut m, &config)?; // m = 4, −0.25, 0
/// signum_step(&mut w, &[-2.0, -0.5, 0.0], &mut m, &config)?; // m = 1, −0.375, 0
/// assert_eq!((w, m), ([0.5, 1.5, 1.0], [1.0, -0.375, 0.0])); // lr each time, against the sign of m
/// # Ok::<(), downhill::Error>(())
/// ```
pub fn signum_step(w: &mut [f32], g: &[f32], m: &mut [f32], config: &Signum) -> Result<(), Error> {
    config.plain_step(Isa::current()?, w, g, [m], 1)
}

kernels!(Signum: 1, |config, w, g, [m], _| signum_step(w, g, m, config));
impl Configuration<1> for Signum {
    const NAME: &'static str = "signum";
    const STATES: [State; 1] = [State::signed("m")];

    type Formula = Constants;

    #[inline(always)]
    fn formula(&self, _t: u64) -> Constants {
        Constants {
            lr: self.lr as f32,
            momentum: self.momentum as f32,
            one_minus_momentum: (1.0 - self.momentum) as f32,
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
    momentum: f32,
    one_minus_momentum: f32,
}

impl Formula<1> for Constants {
    const IS_SLOW: bool = false;

    #[inline(always)]
    fn update<S: Lanes>(
        self,
        w: Lane<S>,
        g: Lane<S>,
        [m]: [Lane<S>; 1],
    ) -> ([Lane<S>; 1], impl FnOnce() -> Lane<S>) {
        let m = self.momentum * m + self.one_minus_momentum * g;
        (
            [m],
            #[inline(always)]
            move || w - Lane::times_sign(self.lr, m),
        )
    }
}
