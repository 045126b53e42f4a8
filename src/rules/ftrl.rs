//! FTRL-Proximal.

use crate::{
    Error, Isa, State, StateKind,
    check::finite,
    decay::{Decay, WeightDecay},
    hyperparameter::{
        Fields,
        Range::{NonNegative, Positive},
        Visitor,
    },
    lane::{Lane, Lanes},
    rule::{Configuration, Formula, Kernels, kernels},
};

/// The hyper-parameters of [`ftrl_step`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ftrl {
    /// Learning rate η, above 0, finite, and not so small that `1/η` is infinite. Default 0.1, where most
    /// start a search from: the paper says that the best one differs from model to model.
    pub lr: f64,
    /// Added to the root of the sum of squares, β, which makes early steps smaller; finite and at least
    /// 0. Default 1, "usually good enough" in the paper. With 0 (and `l2` 0) an element whose squares have
    /// been zero so far is divided by zero, as IEEE says, and one with gradients of about 1e-20, whose
    /// sum of squares is subnormal and so read as zero, doubles in every step.
    pub beta: f64,
    /// L1 regularization λ1, finite and at least 0: what makes weights exactly zero. Default 0.
    pub l1: f64,
    /// L2 regularization λ2, finite and at least 0. Default 0.
    pub l2: f64,
    /// Weight decay λ, finite and at least 0. Default 0. Always L2: it is part of the gradient (which
    /// TensorFlow calls shrinkage), where λ2 is a penalty of the proximal step. There is no decoupled
    /// one, because the new weight is not made of the old one.
    pub weight_decay: f64,
}

impl Default for Ftrl {
    fn default() -> Self {
        Self { lr: 0.1, beta: 1.0, l1: 0.0, l2: 0.0, weight_decay: 0.0 }
    }
}

impl Fields for Ftrl {
    #[inline(always)]
    fn map(&self, visitor: &mut impl Visitor) -> Result<Self, Error> {
        Ok(Self {
            lr: visitor.number("lr", Positive, self.lr)?,
            beta: visitor.number("beta", NonNegative, self.beta)?,
            l1: visitor.number("l1", NonNegative, self.l1)?,
            l2: visitor.number("l2", NonNegative, self.l2)?,
            weight_decay: visitor.number("weight_decay", NonNegative, self.weight_decay)?,
        })
    }
}

/// One step of FTRL-Proximal: Adagrad's rates, and weights that are exactly zero where L1 outweighs the
/// sum of their gradients. For sparse linear models.
///
/// With `a = 1/η` and `r = √s`: `s += g·g; z += g − ((√s − r)·a)·w; w = (sign(z)·λ1 − z)/((β + √s)·a + λ2)`,
/// but 0 where `|z| ≤ λ1`. A NaN in `g` makes `z`, `s` and `w` NaN.
///
/// *Ad Click Prediction: a View from the Trenches* (McMahan et al., 2013).
///
/// `w` (weights), `z`, `s` (state, start as zeros) and `g` (gradient) have the same length, of any size.
/// `w`, `z` and `s` are updated.
///
/// The new weight is made of `z` and `s` alone. Weights that are not zero at the start are pulled towards
/// zero by the first step, unless `z` starts from what they are made of: `−(w·(β/η + λ2) + sign(w)·λ1)`.
///
/// # Errors
/// [`Error::Length`] if `g`, `z` or `s` is not as long as `w`, [`Error::Hyperparameter`] if a field of
/// `config` is out of its range, [`Error::Isa`] if `DOWNHILL_ISA` is wrong. Nothing is written then.
///
/// # Example
/// ```
/// use downhill::{Ftrl, ftrl_step};
///
/// let (mut w, mut z, mut s) = ([0.0; 2], [0.0; 2], [0.0; 2]);
/// for _ in 0..5 {
///     let g = [w[0] - 1.0, w[1] - 0.01]; // the gradient of half the squared distance to (1, 0.01)
///     ftrl_step(&mut w, &g, &mut z, &mut s, &Ftrl { lr: 1.0, l1: 0.1, ..Ftrl::default() })?;
/// }
/// assert!(w[0] > 0.5 && w[1] == 0.0);
/// # Ok::<(), downhill::Error>(())
/// ```
pub fn ftrl_step(
    w: &mut [f32],
    g: &[f32],
    z: &mut [f32],
    s: &mut [f32],
    config: &Ftrl,
) -> Result<(), Error> {
    config.plain_step(Isa::current()?, w, g, [z, s], 1)
}

kernels!(Ftrl: 2, |config, w, g, [z, s], _| ftrl_step(w, g, z, s, config));

impl Configuration<2> for Ftrl {
    const NAME: &'static str = "ftrl";
    const STATES: [State; 2] = [State::signed("z"), State::new("s", StateKind::Sum)];

    type Formula = Constants;

    #[inline(always)]
    fn check_further(&self, _t: u64) -> Result<(), Error> {
        finite((1.0 / self.lr) as f32, "lr", self.lr, "so large that 1/lr is finite in f32")
    }

    #[inline(always)]
    fn formula(&self, _t: u64) -> Constants {
        Constants {
            inverse_lr: (1.0 / self.lr) as f32,
            beta: self.beta as f32,
            l1: self.l1 as f32,
            l2: self.l2 as f32,
        }
    }

    #[inline(always)]
    fn decay(&self) -> WeightDecay {
        let Self { weight_decay, lr, .. } = *self;
        WeightDecay { decay: Decay::L2, weight_decay, lr }
    }
}

#[derive(Clone, Copy)]
pub struct Constants {
    inverse_lr: f32,
    beta: f32,
    l1: f32,
    l2: f32,
}

impl Formula<2> for Constants {
    #[inline(always)]
    fn update<S: Lanes>(
        self,
        w: Lane<S>,
        g: Lane<S>,
        [z, s]: [Lane<S>; 2],
    ) -> ([Lane<S>; 2], impl FnOnce() -> Lane<S>) {
        let before = s.sqrt();
        let s = s + g * g;
        let root = s.sqrt();
        let z = z + (g - (root - before) * self.inverse_lr * w);
        (
            [z, s],
            #[inline(always)]
            move || {
                let denominator = (self.beta + root) * self.inverse_lr + self.l2;
                ((Lane::times_sign(self.l1, z) - z) / denominator).zero_where_at_most(z.abs(), self.l1)
            },
        )
    }
}
