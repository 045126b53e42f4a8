//! Configurations as C passes them.

use std::slice;

use super::{
    arrays::{misaligned, null},
    status::{Failure, downhill_status::*},
};
use crate::{Adam, BiasCorrection, Decay, Form, Momentum, Sgd};

/// How weight_decay enters a step. With weight_decay = 0 neither does any arithmetic.
#[repr(u32)]
#[derive(Clone, Copy)]
pub enum downhill_decay {
    /// g += weight_decay*w before the rule.
    DOWNHILL_DECAY_L2 = 0,
    /// w *= 1 - lr*weight_decay before the update (Loshchilov & Hutter, "Decoupled Weight Decay
    /// Regularization", 2019).
    DOWNHILL_DECAY_DECOUPLED = 1,
}

/// Where lr stands in a rule with momentum. At a constant lr both walk the same path.
#[repr(u32)]
#[derive(Clone, Copy)]
pub enum downhill_form {
    /// u = momentum*u + lr*g; w -= u.
    DOWNHILL_FORM_CLASSIC = 0,
    /// u = momentum*u + (1-dampening)*g; w -= lr*u. As PyTorch has it.
    DOWNHILL_FORM_TORCH = 1,
}

/// What Adam divides its moments by.
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
    /// Finite and >= 0. Default 0.
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
    /// Finite and >= 0. Default 0.
    pub weight_decay: f64,
}

/// The hyper-parameters of downhill_adam_step. Start from downhill_adam_default().
#[repr(C)]
#[derive(Clone, Copy)]
pub struct downhill_adam {
    /// sizeof(downhill_adam), set by downhill_adam_default().
    pub struct_size: u32,
    /// A downhill_bias_correction. Default DOWNHILL_BIAS_CORRECTION_STEP.
    pub bias_correction: u32,
    /// A downhill_decay. Default DOWNHILL_DECAY_L2.
    pub decay: u32,
    /// Learning rate, finite and >= 0. Default 1e-3.
    pub lr: f64,
    /// Decay rate of the first moment, in [0, 1). Default 0.9.
    pub beta1: f64,
    /// Decay rate of the second moment, in [0, 1). Default 0.999.
    pub beta2: f64,
    /// Added to the denominator, outside the root; finite and >= 0. Default 1e-8.
    pub eps: f64,
    /// Finite and >= 0. Default 0.
    pub weight_decay: f64,
}

/// A C configuration that starts with `struct_size`.
pub(super) trait CConfig: Copy {
    type Config;

    /// Enumerations decoded; the hyper-parameters' ranges are checked by the rule itself.
    fn decode(&self) -> Result<Self::Config, Failure>;
}

/// The largest `struct_size` that is taken for a later release's.
const MOST: usize = 4096;

/// Reads a configuration of this release, or a later release's whose additions are all zero.
///
/// # Safety
/// `config` is NULL, or points to a `u32` that says how many initialized bytes stand there.
#[inline]
pub(super) unsafe fn read<C: CConfig>(config: *const C) -> Result<C::Config, Failure> {
    if config.is_null() {
        return Err(null("config"));
    }
    if !config.is_aligned() {
        return Err(misaligned("config", config.addr(), align_of::<C>()));
    }
    let own = size_of::<C>();
    // SAFETY: not NULL and aligned, checked above; `struct_size` is there by this function's contract.
    let size = unsafe { config.cast::<u32>().read() } as usize;
    if size < own || size > MOST {
        return Err(wrong_size(size, own));
    }
    // SAFETY: `size` bytes stand at `config` by this function's contract, and `size >= own`.
    let unknown = unsafe { slice::from_raw_parts(config.add(1).cast::<u8>(), size - own) };
    if unknown.iter().any(|&byte| byte != 0) {
        return Err(unknown_fields(size, own));
    }
    // SAFETY: at least `own` bytes stand at `config`, and every bit pattern is a `C`.
    unsafe { config.read() }.decode()
}

#[cold]
fn wrong_size(size: usize, own: usize) -> Failure {
    invalid(format!(
        "`struct_size` is {size}; it must be {own}, or up to {MOST} if all that follows is zero: start \
         from the configuration's downhill_..._default()"
    ))
}

#[cold]
fn unknown_fields(size: usize, own: usize) -> Failure {
    invalid(format!(
        "`struct_size` is {size} and this release knows {own} bytes; a field past them is not zero"
    ))
}

#[cold]
fn invalid(message: String) -> Failure {
    Failure::new(DOWNHILL_STATUS_INVALID_CONFIG, message)
}

/// What an enumeration's value stands for.
#[inline]
fn choice<T: Copy, const K: usize>(name: &str, value: u32, all: [(u32, T); K]) -> Result<T, Failure> {
    all.iter().find(|(known, _)| *known == value).map(|(_, choice)| *choice).ok_or_else(|| {
        let allowed = all.map(|(known, _)| known.to_string()).join(", ");
        invalid(format!("`{name}` is {value}; it must be one of {allowed}"))
    })
}

#[inline]
fn decay(value: u32) -> Result<Decay, Failure> {
    use downhill_decay::*;
    let l2 = (DOWNHILL_DECAY_L2 as u32, Decay::L2);
    choice("decay", value, [l2, (DOWNHILL_DECAY_DECOUPLED as u32, Decay::Decoupled)])
}

#[inline]
fn form(value: u32) -> Result<Form, Failure> {
    use downhill_form::*;
    let classic = (DOWNHILL_FORM_CLASSIC as u32, Form::Classic);
    choice("form", value, [classic, (DOWNHILL_FORM_TORCH as u32, Form::Torch)])
}

#[inline]
fn bias_correction(value: u32) -> Result<BiasCorrection, Failure> {
    use downhill_bias_correction::*;
    let step = (DOWNHILL_BIAS_CORRECTION_STEP as u32, BiasCorrection::Step);
    let constant = (DOWNHILL_BIAS_CORRECTION_CONSTANT as u32, BiasCorrection::Constant);
    let none = (DOWNHILL_BIAS_CORRECTION_NONE as u32, BiasCorrection::None);
    choice("bias_correction", value, [step, constant, none])
}

impl CConfig for downhill_sgd {
    type Config = Sgd;

    #[inline]
    fn decode(&self) -> Result<Sgd, Failure> {
        let Self { lr, weight_decay, .. } = *self;
        Ok(Sgd { lr, weight_decay, decay: decay(self.decay)? })
    }
}

impl CConfig for downhill_momentum {
    type Config = Momentum;

    #[inline]
    fn decode(&self) -> Result<Momentum, Failure> {
        let Self { lr, momentum, dampening, weight_decay, .. } = *self;
        let (form, decay) = (form(self.form)?, decay(self.decay)?);
        Ok(Momentum { lr, momentum, dampening, form, weight_decay, decay })
    }
}

impl CConfig for downhill_adam {
    type Config = Adam;

    #[inline]
    fn decode(&self) -> Result<Adam, Failure> {
        let bias_correction = bias_correction(self.bias_correction)?;
        let Self { lr, beta1, beta2, eps, weight_decay, .. } = *self;
        Ok(Adam { lr, beta1, beta2, eps, bias_correction, weight_decay, decay: decay(self.decay)? })
    }
}
