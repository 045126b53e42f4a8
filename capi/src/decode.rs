//! What the configurations of C stand for. All of it is inlined, as `read` is and says why.

use super::{config::*, read::invalid, status::Failure};
use downhill::{
    Adadelta, Adagrad, Adam, Adamax, BiasCorrection, Decay, Extras, Form, Lion, Momentum, Nadam,
    Nesterov, Packing, Rmsprop, Rounding, Sgd, StateFormat,
};

/// A C structure that starts with `struct_size`.
pub(super) trait CConfig: Copy {
    type Config;

    /// What functions call a pointer to it.
    const ARGUMENT: &'static str = "config";

    /// Enumerations decoded; the hyper-parameters' ranges are checked by the rule itself.
    fn decode(&self) -> Result<Self::Config, Failure>;
}

/// What an enumeration's value stands for.
#[inline(always)]
fn choice<T: Copy, const K: usize>(name: &str, value: u32, all: [(u32, T); K]) -> Result<T, Failure> {
    all.iter().find(|(known, _)| *known == value).map(|(_, choice)| *choice).ok_or_else(|| {
        let allowed = all.map(|(known, _)| known.to_string()).join(", ");
        invalid(format!("`{name}` is {value}; it must be one of {allowed}"))
    })
}

#[inline(always)]
fn decay(value: u32) -> Result<Decay, Failure> {
    use downhill_decay::*;
    let l2 = (DOWNHILL_DECAY_L2 as u32, Decay::L2);
    choice("decay", value, [l2, (DOWNHILL_DECAY_DECOUPLED as u32, Decay::Decoupled)])
}

#[inline(always)]
fn form(value: u32) -> Result<Form, Failure> {
    use downhill_form::*;
    let classic = (DOWNHILL_FORM_CLASSIC as u32, Form::Classic);
    choice("form", value, [classic, (DOWNHILL_FORM_TORCH as u32, Form::Torch)])
}

#[inline(always)]
fn bias_correction(value: u32) -> Result<BiasCorrection, Failure> {
    use downhill_bias_correction::*;
    let step = (DOWNHILL_BIAS_CORRECTION_STEP as u32, BiasCorrection::Step);
    let constant = (DOWNHILL_BIAS_CORRECTION_CONSTANT as u32, BiasCorrection::Constant);
    let none = (DOWNHILL_BIAS_CORRECTION_NONE as u32, BiasCorrection::None);
    choice("bias_correction", value, [step, constant, none])
}

impl CConfig for downhill_sgd {
    type Config = Sgd;

    #[inline(always)]
    fn decode(&self) -> Result<Sgd, Failure> {
        let Self { lr, weight_decay, .. } = *self;
        Ok(Sgd { lr, weight_decay, decay: decay(self.decay)? })
    }
}

impl CConfig for downhill_momentum {
    type Config = Momentum;

    #[inline(always)]
    fn decode(&self) -> Result<Momentum, Failure> {
        let Self { lr, momentum, dampening, weight_decay, .. } = *self;
        let form = form(self.form)?;
        Ok(Momentum { lr, momentum, dampening, form, weight_decay, decay: decay(self.decay)? })
    }
}

impl CConfig for downhill_nesterov {
    type Config = Nesterov;

    #[inline(always)]
    fn decode(&self) -> Result<Nesterov, Failure> {
        let Self { lr, momentum, weight_decay, .. } = *self;
        let form = form(self.form)?;
        Ok(Nesterov { lr, momentum, form, weight_decay, decay: decay(self.decay)? })
    }
}

impl CConfig for downhill_adagrad {
    type Config = Adagrad;

    #[inline(always)]
    fn decode(&self) -> Result<Adagrad, Failure> {
        let Self { lr, eps, weight_decay, .. } = *self;
        Ok(Adagrad { lr, eps, weight_decay, decay: decay(self.decay)? })
    }
}

impl CConfig for downhill_adadelta {
    type Config = Adadelta;

    #[inline(always)]
    fn decode(&self) -> Result<Adadelta, Failure> {
        let Self { lr, rho, eps, weight_decay, .. } = *self;
        Ok(Adadelta { lr, rho, eps, weight_decay, decay: decay(self.decay)? })
    }
}

impl CConfig for downhill_rmsprop {
    type Config = Rmsprop;

    #[inline(always)]
    fn decode(&self) -> Result<Rmsprop, Failure> {
        let Self { lr, momentum, alpha, eps, weight_decay, .. } = *self;
        Ok(Rmsprop { lr, momentum, alpha, eps, weight_decay, decay: decay(self.decay)? })
    }
}

impl CConfig for downhill_adam {
    type Config = Adam;

    #[inline(always)]
    fn decode(&self) -> Result<Adam, Failure> {
        let Self { lr, beta1, beta2, eps, weight_decay, .. } = *self;
        let bias_correction = bias_correction(self.bias_correction)?;
        Ok(Adam { lr, beta1, beta2, eps, bias_correction, weight_decay, decay: decay(self.decay)? })
    }
}

impl CConfig for downhill_adamax {
    type Config = Adamax;

    #[inline(always)]
    fn decode(&self) -> Result<Adamax, Failure> {
        let Self { lr, beta1, beta2, eps, weight_decay, .. } = *self;
        Ok(Adamax { lr, beta1, beta2, eps, weight_decay, decay: decay(self.decay)? })
    }
}

impl CConfig for downhill_nadam {
    type Config = Nadam;

    #[inline(always)]
    fn decode(&self) -> Result<Nadam, Failure> {
        let Self { lr, beta1, beta2, eps, momentum_decay, weight_decay, .. } = *self;
        Ok(Nadam { lr, beta1, beta2, eps, momentum_decay, weight_decay, decay: decay(self.decay)? })
    }
}

impl CConfig for downhill_lion {
    type Config = Lion;

    #[inline(always)]
    fn decode(&self) -> Result<Lion, Failure> {
        let Self { lr, beta1, beta2, weight_decay, .. } = *self;
        Ok(Lion { lr, beta1, beta2, weight_decay, decay: decay(self.decay)? })
    }
}

impl CConfig for downhill_extras {
    type Config = Extras;

    const ARGUMENT: &'static str = "extras";

    fn decode(&self) -> Result<Extras, Failure> {
        let Self { flags, grad_scale, max_norm, .. } = *self;
        let known = DOWNHILL_ZERO_GRAD | DOWNHILL_SKIP_NONFINITE;
        if flags & !known != 0 {
            return Err(invalid(format!(
                "`flags` is {flags:#x}; it has bits that are not of {known:#x}"
            )));
        }
        let zero_grad = flags & DOWNHILL_ZERO_GRAD != 0;
        let skip_nonfinite = flags & DOWNHILL_SKIP_NONFINITE != 0;
        Ok(Extras { grad_scale, max_norm, zero_grad, skip_nonfinite, grad_norm: false })
    }
}

/// What weights and gradients beside packed states are.
#[derive(Clone, Copy)]
pub(super) enum WeightFormat {
    F32,
    Bf16,
}

pub(super) fn state_format(value: u32) -> Result<StateFormat, Failure> {
    use downhill_state_format::*;
    let bits8 = (DOWNHILL_STATE_FORMAT_BITS8 as u32, StateFormat::Bits8);
    choice("state_format", value, [bits8, (DOWNHILL_STATE_FORMAT_BF16 as u32, StateFormat::Bf16)])
}

fn weight_format(value: u32) -> Result<WeightFormat, Failure> {
    use downhill_weight_format::*;
    let f32 = (DOWNHILL_WEIGHT_FORMAT_F32 as u32, WeightFormat::F32);
    choice("weight_format", value, [f32, (DOWNHILL_WEIGHT_FORMAT_BF16 as u32, WeightFormat::Bf16)])
}

impl CConfig for downhill_packing {
    type Config = (Packing, WeightFormat);

    const ARGUMENT: &'static str = "packing";

    fn decode(&self) -> Result<Self::Config, Failure> {
        use downhill_rounding::*;
        let &Self { rounding, seed, .. } = self;
        let stochastic = (DOWNHILL_ROUNDING_STOCHASTIC as u32, Rounding::Stochastic { seed });
        let nearest = (DOWNHILL_ROUNDING_NEAREST as u32, Rounding::Nearest);
        let rounding = choice("rounding", rounding, [stochastic, nearest])?;
        let format = state_format(self.state_format)?;
        Ok((Packing { format, rounding }, weight_format(self.weight_format)?))
    }
}
