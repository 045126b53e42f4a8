//! Adam, AdamW and AMSGrad, which share a configuration.

use super::*;
use downhill::BiasCorrection;

/// What the moments of Adam, AdamW and AMSGrad are divided by.
pub type downhill_bias_correction = u32;

/// c = 1 - beta^t (Kingma & Ba).
pub const DOWNHILL_BIAS_CORRECTION_STEP: downhill_bias_correction = 0;
/// c = 1 - beta, at every step.
pub const DOWNHILL_BIAS_CORRECTION_CONSTANT: downhill_bias_correction = 1;
/// c = 1.
pub const DOWNHILL_BIAS_CORRECTION_NONE: downhill_bias_correction = 2;

const BIAS_CORRECTIONS: Choices<BiasCorrection, 3> = [
    (DOWNHILL_BIAS_CORRECTION_STEP, BiasCorrection::Step),
    (DOWNHILL_BIAS_CORRECTION_CONSTANT, BiasCorrection::Constant),
    (DOWNHILL_BIAS_CORRECTION_NONE, BiasCorrection::None),
];

/// The hyper-parameters of downhill_adam_step(), downhill_adamw_step() and downhill_amsgrad_step(). The
/// field rule says for which of them.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct downhill_adam {
    pub struct_size: u32,
    pub rule: u32,
    pub bias_correction: downhill_bias_correction,
    /// For DOWNHILL_RULE_ADAMW it must be DOWNHILL_DECAY_DECOUPLED.
    pub decay: downhill_decay,
    /// Learning rate, finite and >= 0.
    pub lr: f64,
    /// Decay rate of the first moment, in [0, 1). With 0 the first moment is the gradient, and there is
    /// no state m, but for AMSGrad.
    pub beta1: f64,
    /// Decay rate of the second moment, in [0, 1).
    pub beta2: f64,
    /// Added to the denominator, outside the root; finite and >= 0. Below 1e-17 it no longer hides that
    /// a second moment which grows in portions below 2^-126 (gradients below 4e-18) stays 0.
    pub eps: f64,
    pub weight_decay: f64,
}

#[inline(always)]
fn decode(config: downhill_adam) -> Result<Adam, Failure> {
    let downhill_adam { lr, beta1, beta2, eps, weight_decay, .. } = config;
    let bias_correction = choice("bias_correction", config.bias_correction, BIAS_CORRECTIONS)?;
    Ok(Adam { lr, beta1, beta2, eps, bias_correction, weight_decay, decay: decay(config.decay)? })
}

fn encode(rule: u32, config: Adam) -> downhill_adam {
    let Adam { lr, beta1, beta2, eps, bias_correction, weight_decay, decay } = config;
    downhill_adam {
        struct_size: size::<downhill_adam>(),
        rule,
        bias_correction: value_of(bias_correction, BIAS_CORRECTIONS),
        decay: value_of(decay, DECAYS),
        lr,
        beta1,
        beta2,
        eps,
        weight_decay,
    }
}

impl CRule for Adam {
    const TAG: u32 = DOWNHILL_RULE_ADAM;
    const NAME: &'static str = "adam";
    const STATES: &'static [&'static str] = &["m", "v"];
    type Config = downhill_adam;

    #[inline(always)]
    fn decode(config: downhill_adam) -> Result<Self, Failure> {
        decode(config)
    }

    fn encode(self) -> downhill_adam {
        encode(Self::TAG, self)
    }

    fn decoded(self) -> Decoded {
        Decoded::Adam(self)
    }
}

impl CRule for Adamw {
    const TAG: u32 = DOWNHILL_RULE_ADAMW;
    const NAME: &'static str = "adamw";
    const STATES: &'static [&'static str] = &["m", "v"];
    type Config = downhill_adam;

    #[inline(always)]
    fn decode(config: downhill_adam) -> Result<Self, Failure> {
        let Adam { lr, beta1, beta2, eps, bias_correction, weight_decay, decay } = decode(config)?;
        if decay != Decay::Decoupled {
            return Err(not_decoupled(config.decay));
        }
        Ok(Self { lr, beta1, beta2, eps, bias_correction, weight_decay })
    }

    fn encode(self) -> downhill_adam {
        let Self { lr, beta1, beta2, eps, bias_correction, weight_decay } = self;
        let decay = Decay::Decoupled;
        encode(Self::TAG, Adam { lr, beta1, beta2, eps, bias_correction, weight_decay, decay })
    }

    fn decoded(self) -> Decoded {
        Decoded::Adamw(self)
    }
}

#[cold]
fn not_decoupled(decay: u32) -> Failure {
    invalid(format!("`decay` is {decay}; for `adamw` it must be {DOWNHILL_DECAY_DECOUPLED}, decoupled"))
}

impl CRule for Amsgrad {
    const TAG: u32 = DOWNHILL_RULE_AMSGRAD;
    const NAME: &'static str = "amsgrad";
    const STATES: &'static [&'static str] = &["m", "v", "v_max"];
    type Config = downhill_adam;

    #[inline(always)]
    fn decode(config: downhill_adam) -> Result<Self, Failure> {
        decode(config).map(Self)
    }

    fn encode(self) -> downhill_adam {
        encode(Self::TAG, self.0)
    }

    fn decoded(self) -> Decoded {
        Decoded::Amsgrad(self)
    }
}

/// The step of Adam or AdamW.
///
/// # Safety
/// The preconditions at the top of the header.
#[inline]
unsafe fn step<R>(
    n: usize,
    w: *mut f32,
    g: *const f32,
    [m, v]: [*mut f32; 2],
    config: *const downhill_adam,
    t: u64,
    beta1: impl FnOnce(&R) -> f64,
) -> downhill_status
where
    R: CRule<Config = downhill_adam> + Configuration<1> + Configuration<2>,
{
    boundary::call(|| {
        // SAFETY: this function's contract.
        let config = unsafe { read::<R>(config)? };
        let has_m = beta1(&config) != 0.0;
        // Without elements the pointers may be anything.
        if n > 0 {
            check_state(("m", m), "beta1", has_m)?;
        }
        // SAFETY: the same.
        unsafe {
            if has_m {
                let (w, g, state) = slices(n, w, g, [m, v], &["m", "v"])?;
                Ok(config.plain_step(Isa::current()?, w, g, state, t)?)
            } else {
                let (w, g, state) = slices(n, w, g, [v], &["v"])?;
                Ok(config.plain_step(Isa::current()?, w, g, state, t)?)
            }
        }
    })
}

/// Adam (Kingma & Ba, "Adam: A Method for Stochastic Optimization", 2014). States: m if beta1 > 0, else
/// NULL; v. With c1 and c2 as downhill_bias_correction says, a = lr/c1 and k = 1/sqrt(c2):
///     m = beta1*m + (1-beta1)*g; without m it is g
///     v = beta2*v + ((1-beta2)*g)*g
///     w -= (a*m)/(sqrt(v)*k + eps)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_adam_step(
    n: usize,
    w: *mut f32,
    g: *const f32,
    m: *mut f32,
    v: *mut f32,
    t: u64,
    config: *const downhill_adam,
) -> downhill_status {
    // SAFETY: the C caller keeps the preconditions of plain steps.
    unsafe { step(n, w, g, [m, v], config, t, |config: &Adam| config.beta1) }
}

/// AdamW (Loshchilov & Hutter, "Decoupled Weight Decay Regularization", 2019): downhill_adam_step() with
/// decoupled weight decay. Start from downhill_adamw_default().
///     w *= 1 - lr*weight_decay; then as Adam
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_adamw_step(
    n: usize,
    w: *mut f32,
    g: *const f32,
    m: *mut f32,
    v: *mut f32,
    t: u64,
    config: *const downhill_adam,
) -> downhill_status {
    // SAFETY: the C caller keeps the preconditions of plain steps.
    unsafe { step(n, w, g, [m, v], config, t, |config: &Adamw| config.beta1) }
}

/// AMSGrad (Reddi, Kale & Kumar, "On the Convergence of Adam and Beyond", 2018), with the bias
/// correction of Adam, as PyTorch has it. States: m, v, v_max. With a and k as Adam, and a maximum that
/// is NaN if either number is:
///     m = beta1*m + (1-beta1)*g
///     v = beta2*v + ((1-beta2)*g)*g
///     v_max = max(v_max, v)
///     w -= (a*m)/(sqrt(v_max)*k + eps)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_amsgrad_step(
    n: usize,
    w: *mut f32,
    g: *const f32,
    m: *mut f32,
    v: *mut f32,
    v_max: *mut f32,
    t: u64,
    config: *const downhill_adam,
) -> downhill_status {
    // SAFETY: the C caller keeps the preconditions of plain steps.
    unsafe { plain_step::<Amsgrad, _>(n, w, g, [m, v, v_max], config, t) }
}
