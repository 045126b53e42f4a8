//! Weight decay: a rule around a rule, chosen once per call.

use pulp::Simd;

use super::range;
use crate::{
    Error,
    rule::{Job, Rule},
};

/// How `weight_decay` (λ) enters a step. With λ = 0, or so small that it is 0 in `f32`, neither does any
/// arithmetic: 0·∞ would be NaN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Decay {
    /// `g += λ·w` before the rule: the gradient of `λ/2·‖w‖²`, which adaptive rules then rescale.
    #[default]
    L2,
    /// `w *= 1 − η·λ` before the update, the gradient untouched: *Decoupled Weight Decay
    /// Regularization* (Loshchilov & Hutter, 2019).
    ///
    /// `1 − η·λ` is rounded to `f32`, whose numbers below 1 are 6e-8 apart, in PyTorch as here. With `η·λ` below
    /// 3e-8 (`lr` and `weight_decay` both 1e-4, say) nothing decays at all, and with 1e-7 (`lr` 1e-5, `weight_decay`
    /// 0.01) 19 % too much. Where that matters, decay in every k-th step with `k·λ`, and with 0 in the others.
    Decoupled,
}

impl Decay {
    /// Runs `job` with `rule`, this kind of decay around it.
    #[inline(always)]
    pub(super) fn around<R: Rule<N>, const N: usize>(
        self,
        weight_decay: f64,
        lr: f64,
        rule: R,
        job: impl Job<N>,
    ) -> Result<(), Error> {
        let rounded = range::non_negative("weight_decay", weight_decay)?;
        job.run_decayed(match self {
            _ if rounded == 0.0 => Decayed::Not(rule),
            Self::L2 => Decayed::L2(L2 { rule, weight_decay: rounded }),
            Self::Decoupled => {
                Decayed::Decoupled(Decoupled { rule, keep: range::keep(lr, weight_decay)? })
            }
        });
        Ok(())
    }
}

/// A rule, and weight decay around it if there is any.
#[derive(Clone, Copy)]
pub enum Decayed<R> {
    Not(R),
    L2(L2<R>),
    Decoupled(Decoupled<R>),
}

#[derive(Clone, Copy)]
pub struct L2<R> {
    rule: R,
    weight_decay: f32,
}

impl<R: Rule<N>, const N: usize> Rule<N> for L2<R> {
    #[inline(always)]
    fn update<S: Simd>(
        self,
        s: S,
        w: S::f32s,
        g: S::f32s,
        state: [S::f32s; N],
    ) -> (S::f32s, [S::f32s; N]) {
        let g = s.add_f32s(g, s.mul_f32s(s.splat_f32s(self.weight_decay), w));
        self.rule.update(s, w, g, state)
    }
}

#[derive(Clone, Copy)]
pub struct Decoupled<R> {
    rule: R,
    /// `1 − η·λ`
    keep: f32,
}

impl<R: Rule<N>, const N: usize> Rule<N> for Decoupled<R> {
    #[inline(always)]
    fn update<S: Simd>(
        self,
        s: S,
        w: S::f32s,
        g: S::f32s,
        state: [S::f32s; N],
    ) -> (S::f32s, [S::f32s; N]) {
        let w = s.mul_f32s(w, s.splat_f32s(self.keep));
        self.rule.update(s, w, g, state)
    }
}
