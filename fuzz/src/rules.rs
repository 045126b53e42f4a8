//! Every rule of the C interface: how its configuration lies in memory, its two functions, and its reference.

use std::ffi::c_void;

use arbitrary::Arbitrary;
use downhill::{
    Adadelta, Adagrad, Adam, Adamax, Amsgrad, BiasCorrection, Decay, Form, Lion, Momentum, Nadam,
    Nesterov, Optimizer, Rmsprop, RmspropForm, Sgd, optimizer,
};

use crate::{abi::*, input::Fields};

#[derive(Arbitrary, Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    Sgd,
    Momentum,
    Nesterov,
    Adagrad,
    Adadelta,
    Rmsprop,
    Adam,
    Adamw,
    Amsgrad,
    Adamax,
    Nadam,
    Lion,
}

impl Rule {
    /// How many states its function takes.
    pub fn states(self) -> usize {
        match self {
            Self::Sgd => 0,
            Self::Momentum | Self::Nesterov | Self::Adagrad | Self::Lion => 1,
            Self::Adadelta | Self::Adam | Self::Adamw | Self::Adamax | Self::Nadam => 2,
            Self::Rmsprop | Self::Amsgrad => 3,
        }
    }

    /// Which of them are not NULL for want of an option.
    pub fn used(self, is_null: [bool; 3]) -> Vec<usize> {
        (0..self.states()).filter(|&slot| self != Self::Rmsprop || slot == 0 || !is_null[slot]).collect()
    }

    pub fn counts_steps(self) -> bool {
        matches!(self, Self::Adam | Self::Adamw | Self::Amsgrad | Self::Adamax | Self::Nadam)
    }

    /// The configuration as the header's structure: its enumerations, then its numbers.
    pub fn config(self, x: &Fields) -> Vec<u8> {
        let (decay, form, correction) = (x.decay.0, x.form.0, x.bias_correction.0);
        let (lr, beta1, beta2) = (x.lr.0, x.beta1.0, x.beta2.0);
        let (eps, weight_decay) = (x.eps.0, x.weight_decay.0);
        match self {
            Self::Sgd => structure::<downhill_sgd>(&[decay], &[lr, weight_decay]),
            Self::Momentum => {
                structure::<downhill_momentum>(&[form, decay], &[lr, beta1, x.dampening.0, weight_decay])
            }
            Self::Nesterov => structure::<downhill_nesterov>(&[form, decay], &[lr, beta1, weight_decay]),
            Self::Adagrad => structure::<downhill_adagrad>(&[decay], &[lr, eps, weight_decay]),
            Self::Adadelta => structure::<downhill_adadelta>(&[decay], &[lr, beta1, eps, weight_decay]),
            Self::Rmsprop => {
                structure::<downhill_rmsprop>(&[decay], &[lr, beta1, beta2, eps, weight_decay])
            }
            Self::Adam | Self::Adamw | Self::Amsgrad => {
                structure::<downhill_adam>(&[correction, decay], &[lr, beta1, beta2, eps, weight_decay])
            }
            Self::Adamax => {
                structure::<downhill_adamax>(&[decay], &[lr, beta1, beta2, eps, weight_decay])
            }
            Self::Nadam => structure::<downhill_nadam>(
                &[decay],
                &[lr, beta1, beta2, eps, x.momentum_decay.0, weight_decay],
            ),
            Self::Lion => structure::<downhill_lion>(&[decay], &[lr, beta1, beta2, weight_decay]),
        }
    }

    /// The rule in Rust, with these optional states of RMSprop's, or None if an enumeration's value is unknown.
    pub fn optimizer(self, x: &Fields, slots: &[usize]) -> Option<Box<dyn Optimizer>> {
        let decay = [Decay::L2, Decay::Decoupled];
        let decay = *decay.get(x.decay.0 as usize)?;
        let form = || [Form::Classic, Form::Torch].get(x.form.0 as usize).copied();
        let (lr, beta1, beta2) = (x.lr.0, x.beta1.0, x.beta2.0);
        let (eps, weight_decay) = (x.eps.0, x.weight_decay.0);
        let adam = || {
            let all = [BiasCorrection::Step, BiasCorrection::Constant, BiasCorrection::None];
            let bias_correction = *all.get(x.bias_correction.0 as usize)?;
            Some(Adam { lr, beta1, beta2, eps, bias_correction, weight_decay, decay })
        };
        Some(match self {
            Self::Sgd => optimizer(Sgd { lr, weight_decay, decay }),
            Self::Momentum => {
                let (form, dampening) = (form()?, x.dampening.0);
                optimizer(Momentum { lr, momentum: beta1, dampening, form, weight_decay, decay })
            }
            Self::Nesterov => {
                optimizer(Nesterov { lr, momentum: beta1, form: form()?, weight_decay, decay })
            }
            Self::Adagrad => optimizer(Adagrad { lr, eps, weight_decay, decay }),
            Self::Adadelta => optimizer(Adadelta { lr, rho: beta1, eps, weight_decay, decay }),
            Self::Rmsprop => {
                rmsprop(Rmsprop { lr, momentum: beta1, alpha: beta2, eps, weight_decay, decay }, slots)
            }
            Self::Adam => optimizer(adam()?),
            // C's function does what `decay` says.
            Self::Adamw => optimizer(adam()?),
            Self::Amsgrad => optimizer(Amsgrad(adam()?)),
            Self::Adamax => optimizer(Adamax { lr, beta1, beta2, eps, weight_decay, decay }),
            Self::Nadam => {
                let momentum_decay = x.momentum_decay.0;
                optimizer(Nadam { lr, beta1, beta2, eps, momentum_decay, weight_decay, decay })
            }
            Self::Lion => optimizer(Lion { lr, beta1, beta2, weight_decay, decay }),
        })
    }

    /// The plain step.
    ///
    /// # Safety
    /// The preconditions at the top of the header.
    pub unsafe fn step(
        self,
        n: usize,
        w: *mut f32,
        g: *const f32,
        [a, b, c]: [*mut f32; 3],
        t: u64,
        config: *const c_void,
    ) -> downhill_status {
        // SAFETY: as this function's.
        unsafe {
            match self {
                Self::Sgd => downhill_sgd_step(n, w, g, config.cast()),
                Self::Momentum => downhill_momentum_step(n, w, g, a, config.cast()),
                Self::Nesterov => downhill_nesterov_step(n, w, g, a, config.cast()),
                Self::Adagrad => downhill_adagrad_step(n, w, g, a, config.cast()),
                Self::Adadelta => downhill_adadelta_step(n, w, g, a, b, config.cast()),
                Self::Rmsprop => downhill_rmsprop_step(n, w, g, a, b, c, config.cast()),
                Self::Adam => downhill_adam_step(n, w, g, a, b, t, config.cast()),
                Self::Adamw => downhill_adamw_step(n, w, g, a, b, t, config.cast()),
                Self::Amsgrad => downhill_amsgrad_step(n, w, g, a, b, c, t, config.cast()),
                Self::Adamax => downhill_adamax_step(n, w, g, a, b, t, config.cast()),
                Self::Nadam => downhill_nadam_step(n, w, g, a, b, t, config.cast()),
                Self::Lion => downhill_lion_step(n, w, g, a, config.cast()),
            }
        }
    }

    /// The whole step.
    ///
    /// # Safety
    /// The preconditions at the top of the header.
    pub unsafe fn step_many(
        self,
        list: &List,
        t: u64,
        config: *const c_void,
        besides: &Besides,
    ) -> downhill_status {
        let List { count, tensors } = *list;
        let Besides { extras, pool, report } = *besides;
        // SAFETY: as this function's.
        unsafe {
            match self {
                Self::Sgd => downhill_sgd_step_many(count, tensors, config.cast(), extras, pool, report),
                Self::Momentum => {
                    downhill_momentum_step_many(count, tensors, config.cast(), extras, pool, report)
                }
                Self::Nesterov => {
                    downhill_nesterov_step_many(count, tensors, config.cast(), extras, pool, report)
                }
                Self::Adagrad => {
                    downhill_adagrad_step_many(count, tensors, config.cast(), extras, pool, report)
                }
                Self::Adadelta => {
                    downhill_adadelta_step_many(count, tensors, config.cast(), extras, pool, report)
                }
                Self::Rmsprop => {
                    downhill_rmsprop_step_many(count, tensors, config.cast(), extras, pool, report)
                }
                Self::Adam => {
                    downhill_adam_step_many(count, tensors, t, config.cast(), extras, pool, report)
                }
                Self::Adamw => {
                    downhill_adamw_step_many(count, tensors, t, config.cast(), extras, pool, report)
                }
                Self::Amsgrad => {
                    downhill_amsgrad_step_many(count, tensors, t, config.cast(), extras, pool, report)
                }
                Self::Adamax => {
                    downhill_adamax_step_many(count, tensors, t, config.cast(), extras, pool, report)
                }
                Self::Nadam => {
                    downhill_nadam_step_many(count, tensors, t, config.cast(), extras, pool, report)
                }
                Self::Lion => {
                    downhill_lion_step_many(count, tensors, config.cast(), extras, pool, report)
                }
            }
        }
    }
}

/// A list of tensors as C passes it.
#[derive(Clone, Copy)]
pub struct List {
    pub count: usize,
    pub tensors: *const downhill_tensor,
}

/// What whole steps take besides.
#[derive(Clone, Copy)]
pub struct Besides {
    pub extras: *const downhill_extras,
    pub pool: *mut downhill_pool,
    pub report: *mut downhill_report,
}

fn rmsprop(config: Rmsprop, slots: &[usize]) -> Box<dyn Optimizer> {
    match slots {
        [0] => optimizer::<1>(RmspropForm::<false>(config)),
        [0, 2] => optimizer::<2>(RmspropForm::<false>(config)),
        [0, 1] => optimizer::<2>(RmspropForm::<true>(config)),
        _ => optimizer::<3>(RmspropForm::<true>(config)),
    }
}

/// `T` as it lies in memory: its size, enumerations or flags, and doubles, each where C aligns it.
pub fn structure<T>(words: &[u32], numbers: &[f64]) -> Vec<u8> {
    let mut bytes = (size_of::<T>() as u32).to_ne_bytes().to_vec();
    bytes.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
    bytes.resize(bytes.len().next_multiple_of(align_of::<f64>()), 0);
    bytes.extend(numbers.iter().flat_map(|number| number.to_ne_bytes()));
    assert_eq!(bytes.len(), size_of::<T>());
    bytes
}
