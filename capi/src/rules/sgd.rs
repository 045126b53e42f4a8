//! Gradient descent.

use super::*;

/// The hyper-parameters of downhill_sgd_step().
#[repr(C)]
#[derive(Clone, Copy)]
pub struct downhill_sgd {
    pub struct_size: u32,
    pub rule: u32,
    pub decay: downhill_decay,
    pub reserved: u32,
    /// Learning rate, finite and >= 0.
    pub lr: f64,
    pub weight_decay: f64,
}

impl CRule for Sgd {
    const TAG: u32 = DOWNHILL_RULE_SGD;
    const NAME: &'static str = "sgd";
    const STATES: &'static [&'static str] = &[];
    type Config = downhill_sgd;

    #[inline(always)]
    fn decode(config: downhill_sgd) -> Result<Self, Failure> {
        let downhill_sgd { lr, weight_decay, .. } = config;
        check_reserved(config.reserved)?;
        Ok(Self { lr, weight_decay, decay: decay(config.decay)? })
    }

    fn encode(self) -> downhill_sgd {
        let Self { lr, weight_decay, decay } = self;
        downhill_sgd {
            struct_size: size::<downhill_sgd>(),
            rule: Self::TAG,
            decay: value_of(decay, DECAYS),
            reserved: 0,
            lr,
            weight_decay,
        }
    }

    fn decoded(self) -> Decoded {
        Decoded::Sgd(self)
    }
}

/// Gradient descent (Robbins & Monro, "A Stochastic Approximation Method", 1951).
///     w -= lr*g
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_sgd_step(
    n: usize,
    w: *mut f32,
    g: *const f32,
    config: *const downhill_sgd,
) -> downhill_status {
    // SAFETY: the C caller keeps the preconditions of plain steps.
    unsafe { plain_step::<Sgd, _>(n, w, g, [], config, 1) }
}
