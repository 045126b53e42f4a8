//! How weight decay enters a step.

use crate::hyperparameter::Choice;

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
    /// `1 − η·λ` is rounded to `f32`, whose numbers below 1 are 6e-8 apart, in PyTorch as here. With
    /// `η·λ` below 3e-8 (`lr` and `weight_decay` both 1e-4, say) nothing decays at all, and with 1e-7
    /// (`lr` 1e-5, `weight_decay` 0.01) 19 % too much. Where that matters, decay in every k-th step with
    /// `k·λ`, and with 0 in the others.
    Decoupled,
}

impl Choice for Decay {
    const ALL: &'static [Self] = &[Self::L2, Self::Decoupled];
    const NAMES: &'static [&'static str] = &["l2", "decoupled"];
}

/// Weight decay as a configuration has it.
#[derive(Clone, Copy)]
pub struct WeightDecay {
    /// How it enters.
    pub decay: Decay,
    /// λ
    pub weight_decay: f64,
    /// η
    pub lr: f64,
}
