//! Adagrad.

use super::*;

/// The hyper-parameters of downhill_adagrad_step().
#[repr(C)]
#[derive(Clone, Copy)]
pub struct downhill_adagrad {
    pub struct_size: u32,
    pub rule: u32,
    pub decay: downhill_decay,
    pub reserved: u32,
    /// Learning rate, finite and >= 0.
    pub lr: f64,
    /// Added to the denominator, outside the root; finite and >= 0.
    pub eps: f64,
    pub weight_decay: f64,
}

impl CRule for Adagrad {
    const TAG: u32 = DOWNHILL_RULE_ADAGRAD;
    const NAME: &'static str = "adagrad";
    const STATES: &'static [&'static str] = &["s"];
    type Config = downhill_adagrad;

    #[inline(always)]
    fn decode(config: downhill_adagrad) -> Result<Self, Failure> {
        let downhill_adagrad { lr, eps, weight_decay, .. } = config;
        check_reserved(config.reserved)?;
        Ok(Self { lr, eps, weight_decay, decay: decay(config.decay)? })
    }

    fn encode(self) -> downhill_adagrad {
        let Self { lr, eps, weight_decay, decay } = self;
        downhill_adagrad {
            struct_size: size::<downhill_adagrad>(),
            rule: Self::TAG,
            decay: value_of(decay, DECAYS),
            reserved: 0,
            lr,
            eps,
            weight_decay,
        }
    }

    fn decoded(self) -> Decoded {
        Decoded::Adagrad(self)
    }
}

/// Adagrad (Duchi, Hazan & Singer, "Adaptive Subgradient Methods for Online Learning and Stochastic
/// Optimization", 2011). State: s, which may also start as another initial accumulator.
///     s += g*g
///     w -= (lr*g)/(sqrt(s) + eps)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_adagrad_step(
    n: usize,
    w: *mut f32,
    g: *const f32,
    s: *mut f32,
    config: *const downhill_adagrad,
) -> downhill_status {
    // SAFETY: the C caller keeps the preconditions of plain steps.
    unsafe { plain_step::<Adagrad, _>(n, w, g, [s], config, 1) }
}
