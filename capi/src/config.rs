//! Configurations, and the extras of a whole step, as C sees them. `decode.rs` says what they stand for.

/// How weight_decay enters a step. With weight_decay = 0 neither does any arithmetic.
#[repr(u32)]
#[derive(Clone, Copy)]
pub enum downhill_decay {
    /// g += weight_decay*w before the rule.
    DOWNHILL_DECAY_L2 = 0,
    /// w *= 1 - lr*weight_decay before the update (Loshchilov & Hutter, "Decoupled Weight Decay
    /// Regularization", 2019). That factor is rounded to float, whose numbers below 1 are 6e-8 apart, in PyTorch as
    /// here. With lr*weight_decay below 3e-8 (both 1e-4, say) nothing decays at all, and with 1e-7 (lr 1e-5,
    /// weight_decay 0.01) 19 % too much. Where that matters, decay in every k-th step with k*weight_decay, and with 0
    /// in the others.
    DOWNHILL_DECAY_DECOUPLED = 1,
}

/// Where lr stands in a rule with momentum. At a constant lr, and without dampening, both walk the same
/// path.
#[repr(u32)]
#[derive(Clone, Copy)]
pub enum downhill_form {
    /// lr is in the state: u is the last step.
    DOWNHILL_FORM_CLASSIC = 0,
    /// lr is outside of the state: u sums gradients. As PyTorch has it.
    DOWNHILL_FORM_TORCH = 1,
}

/// What Adam, AdamW and AMSGrad divide their moments by.
#[repr(u32)]
#[derive(Clone, Copy)]
pub enum downhill_bias_correction {
    /// c = 1 - beta^t (Kingma & Ba).
    DOWNHILL_BIAS_CORRECTION_STEP = 0,
    /// c = 1 - beta, at every step.
    DOWNHILL_BIAS_CORRECTION_CONSTANT = 1,
    /// c = 1.
    DOWNHILL_BIAS_CORRECTION_NONE = 2,
}

/// The hyper-parameters of downhill_sgd_step. Start from downhill_sgd_default().
#[repr(C)]
#[derive(Clone, Copy)]
pub struct downhill_sgd {
    /// sizeof(downhill_sgd), set by downhill_sgd_default().
    pub struct_size: u32,
    /// A downhill_decay. Default DOWNHILL_DECAY_L2.
    pub decay: u32,
    /// Learning rate, finite and >= 0. Default 1e-3.
    pub lr: f64,
    /// Finite and >= 0. Default 0. DOWNHILL_DECAY_DECOUPLED says what becomes of a very small one.
    pub weight_decay: f64,
}

/// The hyper-parameters of downhill_momentum_step. Start from downhill_momentum_default().
#[repr(C)]
#[derive(Clone, Copy)]
pub struct downhill_momentum {
    /// sizeof(downhill_momentum), set by downhill_momentum_default().
    pub struct_size: u32,
    /// A downhill_form. Default DOWNHILL_FORM_CLASSIC.
    pub form: u32,
    /// A downhill_decay. Default DOWNHILL_DECAY_L2.
    pub decay: u32,
    /// Learning rate, finite and >= 0. Default 1e-3.
    pub lr: f64,
    /// How much of the last step is kept, in [0, 1). Default 0.9.
    pub momentum: f64,
    /// How much of the gradient is left out of u, in [0, 1]; 0 in the classic form, which has none.
    /// Default 0.
    pub dampening: f64,
    /// Finite and >= 0. Default 0. DOWNHILL_DECAY_DECOUPLED says what becomes of a very small one.
    pub weight_decay: f64,
}

/// The hyper-parameters of downhill_nesterov_step. Start from downhill_nesterov_default().
#[repr(C)]
#[derive(Clone, Copy)]
pub struct downhill_nesterov {
    /// sizeof(downhill_nesterov), set by downhill_nesterov_default().
    pub struct_size: u32,
    /// A downhill_form. Default DOWNHILL_FORM_CLASSIC.
    pub form: u32,
    /// A downhill_decay. Default DOWNHILL_DECAY_L2.
    pub decay: u32,
    /// Learning rate, finite and >= 0. Default 1e-3.
    pub lr: f64,
    /// How much of the last step is kept, in [0, 1). Default 0.9.
    pub momentum: f64,
    /// Finite and >= 0. Default 0. DOWNHILL_DECAY_DECOUPLED says what becomes of a very small one.
    pub weight_decay: f64,
}

/// The hyper-parameters of downhill_adagrad_step. Start from downhill_adagrad_default().
#[repr(C)]
#[derive(Clone, Copy)]
pub struct downhill_adagrad {
    /// sizeof(downhill_adagrad), set by downhill_adagrad_default().
    pub struct_size: u32,
    /// A downhill_decay. Default DOWNHILL_DECAY_L2.
    pub decay: u32,
    /// Learning rate, finite and >= 0. Default 1e-2.
    pub lr: f64,
    /// Added to the denominator, outside the root; finite and >= 0. Default 1e-10.
    pub eps: f64,
    /// Finite and >= 0. Default 0. DOWNHILL_DECAY_DECOUPLED says what becomes of a very small one.
    pub weight_decay: f64,
}

/// The hyper-parameters of downhill_adadelta_step. Start from downhill_adadelta_default().
#[repr(C)]
#[derive(Clone, Copy)]
pub struct downhill_adadelta {
    /// sizeof(downhill_adadelta), set by downhill_adadelta_default().
    pub struct_size: u32,
    /// A downhill_decay. Default DOWNHILL_DECAY_L2.
    pub decay: u32,
    /// Learning rate, finite and >= 0. Default 1, as in the paper.
    pub lr: f64,
    /// Decay rate of both averages, in [0, 1]. Default 0.9.
    pub rho: f64,
    /// Added inside both roots; finite and >= 0. With 0 nothing ever moves: u starts as zero, and 0/0
    /// is NaN where the gradient is zero. Default 1e-6.
    pub eps: f64,
    /// Finite and >= 0. Default 0. DOWNHILL_DECAY_DECOUPLED says what becomes of a very small one.
    pub weight_decay: f64,
}

/// The hyper-parameters of downhill_rmsprop_step. Start from downhill_rmsprop_default().
#[repr(C)]
#[derive(Clone, Copy)]
pub struct downhill_rmsprop {
    /// sizeof(downhill_rmsprop), set by downhill_rmsprop_default().
    pub struct_size: u32,
    /// A downhill_decay. Default DOWNHILL_DECAY_L2.
    pub decay: u32,
    /// Learning rate, finite and >= 0. Default 1e-2.
    pub lr: f64,
    /// How much of the last step is kept, in [0, 1). Anything but 0 needs the array u. Default 0.
    pub momentum: f64,
    /// Decay rate of the averages, in [0, 1]. Default 0.99.
    pub alpha: f64,
    /// Added to the denominator, outside the root; finite and >= 0. Default 1e-8.
    pub eps: f64,
    /// Finite and >= 0. Default 0. DOWNHILL_DECAY_DECOUPLED says what becomes of a very small one.
    pub weight_decay: f64,
}

/// The hyper-parameters of downhill_adam_step, downhill_adamw_step and downhill_amsgrad_step. Start
/// from downhill_adam_default(), downhill_adamw_default() or downhill_amsgrad_default().
#[repr(C)]
#[derive(Clone, Copy)]
pub struct downhill_adam {
    /// sizeof(downhill_adam), set by the default function.
    pub struct_size: u32,
    /// A downhill_bias_correction. Default DOWNHILL_BIAS_CORRECTION_STEP.
    pub bias_correction: u32,
    /// A downhill_decay. Default DOWNHILL_DECAY_L2; AdamW's is DOWNHILL_DECAY_DECOUPLED.
    pub decay: u32,
    /// Learning rate, finite and >= 0. Default 1e-3.
    pub lr: f64,
    /// Decay rate of the first moment, in [0, 1). Default 0.9.
    pub beta1: f64,
    /// Decay rate of the second moment, in [0, 1). Default 0.999.
    pub beta2: f64,
    /// Added to the denominator, outside the root; finite and >= 0. Default 1e-8. Below 1e-17 it no longer hides that a
    /// second moment which grows in portions below 2^-126 (gradients below 4e-18) stays 0.
    pub eps: f64,
    /// Finite and >= 0. Default 0; AdamW's is 1e-2.
    pub weight_decay: f64,
}

/// The hyper-parameters of downhill_adamax_step. Start from downhill_adamax_default().
#[repr(C)]
#[derive(Clone, Copy)]
pub struct downhill_adamax {
    /// sizeof(downhill_adamax), set by downhill_adamax_default().
    pub struct_size: u32,
    /// A downhill_decay. Default DOWNHILL_DECAY_L2.
    pub decay: u32,
    /// Learning rate, finite and >= 0. Default 2e-3.
    pub lr: f64,
    /// Decay rate of the first moment, in [0, 1). Default 0.9.
    pub beta1: f64,
    /// Decay rate of the infinity norm, in [0, 1). Default 0.999.
    pub beta2: f64,
    /// Added to |g|, and so kept in u; finite and >= 0. Default 1e-8.
    pub eps: f64,
    /// Finite and >= 0. Default 0. DOWNHILL_DECAY_DECOUPLED says what becomes of a very small one.
    pub weight_decay: f64,
}

/// The hyper-parameters of downhill_nadam_step. Start from downhill_nadam_default().
#[repr(C)]
#[derive(Clone, Copy)]
pub struct downhill_nadam {
    /// sizeof(downhill_nadam), set by downhill_nadam_default().
    pub struct_size: u32,
    /// A downhill_decay. Default DOWNHILL_DECAY_L2.
    pub decay: u32,
    /// Learning rate, finite and >= 0. Default 2e-3.
    pub lr: f64,
    /// Decay rate of the first moment, in [0, 1). Default 0.9.
    pub beta1: f64,
    /// Decay rate of the second moment, in [0, 1). Default 0.999.
    pub beta2: f64,
    /// Added to the denominator, outside the root; finite and >= 0. Default 1e-8. Below 1e-17 it no longer hides that a
    /// second moment which grows in portions below 2^-126 (gradients below 4e-18) stays 0.
    pub eps: f64,
    /// How fast the momentum warms up, finite and >= 0. Default 4e-3.
    pub momentum_decay: f64,
    /// Finite and >= 0. Default 0. DOWNHILL_DECAY_DECOUPLED says what becomes of a very small one.
    pub weight_decay: f64,
}

/// The hyper-parameters of downhill_lion_step. Start from downhill_lion_default().
#[repr(C)]
#[derive(Clone, Copy)]
pub struct downhill_lion {
    /// sizeof(downhill_lion), set by downhill_lion_default().
    pub struct_size: u32,
    /// A downhill_decay. Default DOWNHILL_DECAY_L2; the paper's is DOWNHILL_DECAY_DECOUPLED.
    pub decay: u32,
    /// Learning rate, finite and >= 0. Default 1e-4.
    pub lr: f64,
    /// Weight of m in the direction of this step, in [0, 1). Default 0.9.
    pub beta1: f64,
    /// Decay rate of m, in [0, 1). Default 0.99.
    pub beta2: f64,
    /// Finite and >= 0. Default 0. DOWNHILL_DECAY_DECOUPLED says what becomes of a very small one.
    pub weight_decay: f64,
}

/// A flag of downhill_extras: set the gradients to zero after the step, unless it is skipped.
pub const DOWNHILL_ZERO_GRAD: u32 = 1;
/// A flag of downhill_extras: if any gradient is NaN or infinite, or may become infinite when it is scaled (the norm times
/// what gradients are to be multiplied by is beyond the largest float), change nothing at all and return
/// DOWNHILL_STATUS_SKIPPED. The gradients are not set to zero then, not even with DOWNHILL_ZERO_GRAD.
///
/// A skipped step is not counted: the next call has the same t. If it were, Adam's bias correction would be for steps
/// that its moments have not seen, and after three skips its first step 0.58 of what it should be.
///
/// It does not see a finite gradient whose square overflows, 5.8e20 for Adam's (1-beta2)*g*g and 1.8e19 for Adagrad's
/// g*g: that makes v infinite, and its weight never moves again. max_norm prevents it.
pub const DOWNHILL_SKIP_NONFINITE: u32 = 2;

/// What a step over many tensors does besides the update. Start from downhill_extras_default().
#[repr(C)]
#[derive(Clone, Copy)]
pub struct downhill_extras {
    /// sizeof(downhill_extras), set by downhill_extras_default().
    pub struct_size: u32,
    /// DOWNHILL_ZERO_GRAD, DOWNHILL_SKIP_NONFINITE, both (with |) or none. Default 0.
    pub flags: u32,
    /// What gradients are multiplied by: the inverse of a loss scale, one over a number of samples, -1 to
    /// maximize. Finite. Default 1.
    pub grad_scale: f64,
    /// The norm of all scaled gradients together above which they are scaled down to it, finite and >= 0.
    /// Default 0: no clipping. A norm that is NaN makes all weights NaN, and an infinite one multiplies all
    /// gradients by 0, if DOWNHILL_SKIP_NONFINITE does not prevent it.
    pub max_norm: f64,
}

/// How many bits a packed state has.
#[repr(u32)]
#[derive(Clone, Copy)]
pub enum downhill_state_format {
    /// A byte for each state of each element, and one for each state of 64 elements.
    DOWNHILL_STATE_FORMAT_BITS8 = 0,
    /// bfloat16.
    DOWNHILL_STATE_FORMAT_BF16 = 1,
}

/// What weights and gradients beside packed states are.
#[repr(u32)]
#[derive(Clone, Copy)]
pub enum downhill_weight_format {
    /// float
    DOWNHILL_WEIGHT_FORMAT_F32 = 0,
    /// bfloat16: the upper half of a float, as a uint16_t. Weights are rounded as states are.
    DOWNHILL_WEIGHT_FORMAT_BF16 = 1,
}

/// What becomes of the bits that a code has not.
#[repr(u32)]
#[derive(Clone, Copy)]
pub enum downhill_rounding {
    /// Up or down at random, and right on average: a state moves however small a step's part in it is.
    DOWNHILL_ROUNDING_STOCHASTIC = 0,
    /// To the nearest code. A state that should move by less than half of the distance between two codes stays
    /// where it is, and Adam's v ends up far from what it should be: to compare with, not to train with.
    DOWNHILL_ROUNDING_NEAREST = 1,
}

/// How states are packed. Start from downhill_packing_default().
#[repr(C)]
#[derive(Clone, Copy)]
pub struct downhill_packing {
    /// sizeof(downhill_packing), set by downhill_packing_default().
    pub struct_size: u32,
    /// A downhill_state_format. Default DOWNHILL_STATE_FORMAT_BITS8.
    pub state_format: u32,
    /// A downhill_weight_format. Default DOWNHILL_WEIGHT_FORMAT_F32.
    pub weight_format: u32,
    /// A downhill_rounding. Default DOWNHILL_ROUNDING_STOCHASTIC.
    pub rounding: u32,
    /// What random bits are made from, with t and the element's number. Default 0.
    pub seed: u64,
}
