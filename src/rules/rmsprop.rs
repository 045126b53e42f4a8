//! RMSprop, plain, centered and with momentum.

use super::Decay;
use crate::{
    Error, Isa, Optimizer, check,
    lane::{Lane, Lanes},
    optimizer, reference,
    rule::{Configuration, Formula, Kernels, WeightDecay, kernels},
};

/// The hyper-parameters of [`rmsprop_step`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rmsprop {
    /// Learning rate η, finite and at least 0. Default 1e-2.
    pub lr: f64,
    /// Decay rate of the averages, α, in [0, 1]. Default 0.99.
    pub alpha: f64,
    /// Added to the denominator, outside the root; finite and at least 0. Default 1e-8. With 0, an
    /// element whose average is zero is divided by zero, as IEEE says.
    /// Below 1e-17 it no longer hides that an average of squares which grows in portions below 2⁻¹²⁶ (gradients below
    /// 4e-18) stays 0: subnormal states are read as zero.
    pub eps: f64,
    /// How much of the last step is kept, γ, in [0, 1). Default 0; anything else needs the array `u`.
    pub momentum: f64,
    /// Weight decay λ, finite and at least 0. Default 0. [`Decay::Decoupled`] says what becomes of a very small one.
    pub weight_decay: f64,
    /// How `weight_decay` enters. Default [`Decay::L2`].
    pub decay: Decay,
}

impl Default for Rmsprop {
    fn default() -> Self {
        Self { lr: 1e-2, alpha: 0.99, eps: 1e-8, momentum: 0.0, weight_decay: 0.0, decay: Decay::L2 }
    }
}

/// One step of RMSprop. Which of the two optional arrays are passed decides the form.
///
/// `v = α·v + ((1−α)·g)·g`, then
/// - centered, with `g_avg` (ḡ): `ḡ = α·ḡ + (1−α)·g; r = √max(v − ḡ·ḡ, 0) + ε`, else `r = √v + ε`;
/// - with momentum, with `u`: `u = γ·u + g/r; w −= η·u`, else `w −= (η·g)/r`.
///
/// *Lecture 6.5: rmsprop* (Tieleman & Hinton, 2012); centered: after *Generating Sequences With
/// Recurrent Neural Networks* (Graves, 2013), ε outside the root as in PyTorch.
///
/// `w` (weights), `v`, `g_avg`, `u` (state, start as zeros) and `g` (gradient) have the same length, of
/// any size. All but `g` are updated.
///
/// # Errors
/// [`Error::Length`] if `g` or a state is not as long as `w`, [`Error::Hyperparameter`] if a field of
/// `config` is out of its range, or `momentum` is not 0 without `u`, [`Error::Isa`] if `DOWNHILL_ISA` is
/// wrong. Nothing is written then.
///
/// # Example
/// ```
/// use downhill::{Rmsprop, rmsprop_step};
///
/// let (mut w, mut v, mut u) = ([1.0], [0.0], [0.0]);
/// let plain = Rmsprop { alpha: 0.75, ..Rmsprop::default() };
/// rmsprop_step(&mut w, &[4.0], &mut v, None, None, &plain)?;
/// assert_eq!(v, [4.0]);
/// let momentum = Rmsprop { momentum: 0.9, ..plain };
/// rmsprop_step(&mut w, &[4.0], &mut v, None, Some(&mut u), &momentum)?;
/// assert!(rmsprop_step(&mut w, &[4.0], &mut v, None, None, &momentum).is_err());
/// # Ok::<(), downhill::Error>(())
/// ```
pub fn rmsprop_step(
    w: &mut [f32],
    g: &[f32],
    v: &mut [f32],
    g_avg: Option<&mut [f32]>,
    u: Option<&mut [f32]>,
    config: &Rmsprop,
) -> Result<(), Error> {
    let isa = Isa::current()?;
    match (g_avg, u) {
        (None, None) => RmspropForm::<false>(*config).step_on(isa, w, g, [v], 1),
        (None, Some(u)) => RmspropForm::<false>(*config).step_on(isa, w, g, [v, u], 1),
        (Some(g_avg), None) => RmspropForm::<true>(*config).step_on(isa, w, g, [v, g_avg], 1),
        (Some(g_avg), Some(u)) => RmspropForm::<true>(*config).step_on(isa, w, g, [v, g_avg, u], 1),
    }
}

impl Rmsprop {
    /// This configuration as an object beside other rules, as [`optimizer`](crate::optimizer()) makes
    /// one of other configurations: centered or not, with the state `u` if `momentum` is not 0.
    pub fn optimizer(self, centered: bool) -> Box<dyn Optimizer> {
        match (centered, self.momentum == 0.0) {
            (false, true) => optimizer::<1>(RmspropForm::<false>(self)),
            (false, false) => optimizer::<2>(RmspropForm::<false>(self)),
            (true, true) => optimizer::<2>(RmspropForm::<true>(self)),
            (true, false) => optimizer::<3>(RmspropForm::<true>(self)),
        }
    }
}

/// [`rmsprop_step`] for [`step_many`](crate::step_many) and [`optimizer`](crate::optimizer()): centered or
/// not, with the states `v, [g_avg], [u]`. How many there are says whether `u` is among them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RmspropForm<const CENTERED: bool>(pub Rmsprop);

/// Is `u` among `n` states?
const fn has_momentum(n: usize, centered: bool) -> bool {
    let least = 1 + centered as usize;
    assert!(n == least || n == least + 1, "RMSprop has the states v, g_avg if it is centered, [u]");
    n > least
}

impl<const N: usize, const CENTERED: bool> Configuration<N> for RmspropForm<CENTERED>
where
    Self: Kernels<N>,
{
    const NAME: &'static str = "rmsprop";
    const STATES: [&'static str; N] = {
        let mut names = ["v"; N];
        if CENTERED {
            names[1] = "g_avg";
        }
        if has_momentum(N, CENTERED) {
            names[N - 1] = "u";
        }
        names
    };

    type Formula = Constants<CENTERED>;

    #[inline(always)]
    fn check(&self, _t: u64) -> Result<(), Error> {
        let Rmsprop { lr, alpha, eps, momentum, .. } = self.0;
        check::non_negative("lr", lr)?;
        check::at_most_one("alpha", alpha)?;
        check::non_negative("eps", eps)?;
        check::below_one("momentum", momentum)?;
        if momentum != 0.0 && !has_momentum(N, CENTERED) {
            return Err(Error::Hyperparameter {
                argument: "momentum",
                value: momentum,
                allowed: "0 without the array `u`",
            });
        }
        Ok(())
    }

    #[inline(always)]
    fn formula(&self, _t: u64) -> Constants<CENTERED> {
        let Rmsprop { lr, alpha, eps, momentum, .. } = self.0;
        Constants {
            lr: lr as f32,
            alpha: alpha as f32,
            one_minus_alpha: (1.0 - alpha) as f32,
            eps: eps as f32,
            momentum: momentum as f32,
        }
    }

    #[inline(always)]
    fn decay(&self) -> WeightDecay {
        let Rmsprop { decay, weight_decay, lr, .. } = self.0;
        WeightDecay { decay, weight_decay, lr }
    }
}

kernels!(RmspropForm<false>: 1, |this, w, g, [v], _| reference::rmsprop_step(w, g, v, None, None, &this.0));
kernels!(RmspropForm<false>: 2, |this, w, g, [v, u], _| reference::rmsprop_step(w, g, v, None, Some(u), &this.0));
kernels!(RmspropForm<true>: 2, |this, w, g, [v, g_avg], _| reference::rmsprop_step(w, g, v, Some(g_avg), None, &this.0));
kernels!(RmspropForm<true>: 3, |this, w, g, [v, g_avg, u], _| {
    reference::rmsprop_step(w, g, v, Some(g_avg), Some(u), &this.0)
});

#[derive(Clone, Copy)]
pub struct Constants<const CENTERED: bool> {
    lr: f32,
    alpha: f32,
    one_minus_alpha: f32,
    eps: f32,
    momentum: f32,
}

impl<const N: usize, const CENTERED: bool> Formula<N> for Constants<CENTERED> {
    #[inline(always)]
    fn update<S: Lanes>(
        self,
        w: Lane<S>,
        g: Lane<S>,
        mut state: [Lane<S>; N],
    ) -> ([Lane<S>; N], impl FnOnce() -> Lane<S>) {
        let v = self.alpha * state[0] + (self.one_minus_alpha * g) * g;
        state[0] = v;
        let variance = if CENTERED {
            let g_avg = self.alpha * state[1] + self.one_minus_alpha * g;
            state[1] = g_avg;
            // Rounding can leave a little less than zero, whose root would be NaN.
            (v - g_avg * g_avg).max_zero()
        } else {
            v
        };
        let root = variance.sqrt();
        if has_momentum(N, CENTERED) {
            state[N - 1] = self.momentum * state[N - 1] + g / (root + self.eps);
        }
        let last = state[N - 1];
        (
            state,
            #[inline(always)]
            move || {
                if has_momentum(N, CENTERED) {
                    w - self.lr * last
                } else {
                    w - (self.lr * g) / (root + self.eps)
                }
            },
        )
    }
}
