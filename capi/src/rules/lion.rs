//! Lion.

use super::*;

/// The hyper-parameters of downhill_lion_step().
#[repr(C)]
#[derive(Clone, Copy)]
pub struct downhill_lion {
    pub struct_size: u32,
    pub rule: u32,
    pub decay: downhill_decay,
    pub reserved: u32,
    /// Learning rate, finite and >= 0.
    pub lr: f64,
    /// Weight of m in the direction of this step, in [0, 1).
    pub beta1: f64,
    /// Decay rate of m, in [0, 1).
    pub beta2: f64,
    pub weight_decay: f64,
}

impl CRule for Lion {
    const TAG: u32 = DOWNHILL_RULE_LION;
    const NAME: &'static str = "lion";
    const STATES: &'static [&'static str] = &["m"];
    type Config = downhill_lion;

    #[inline(always)]
    fn decode(config: downhill_lion) -> Result<Self, Failure> {
        let downhill_lion { lr, beta1, beta2, weight_decay, .. } = config;
        check_reserved(config.reserved)?;
        Ok(Self { lr, beta1, beta2, weight_decay, decay: decay(config.decay)? })
    }

    fn encode(self) -> downhill_lion {
        let Self { lr, beta1, beta2, weight_decay, decay } = self;
        downhill_lion {
            struct_size: size::<downhill_lion>(),
            rule: Self::TAG,
            decay: value_of(decay, DECAYS),
            reserved: 0,
            lr,
            beta1,
            beta2,
            weight_decay,
        }
    }

    fn decoded(self) -> Decoded {
        Decoded::Lion(self)
    }
}

/// Lion (Chen et al., "Symbolic Discovery of Optimization Algorithms", 2023), whose weight decay is
/// decoupled in the paper and not by default. State: m. The sign of a zero is 0, and that of a NaN is
/// NaN.
///     w -= lr*sign(beta1*m + (1-beta1)*g)
///     m = beta2*m + (1-beta2)*g
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_lion_step(
    n: usize,
    w: *mut f32,
    g: *const f32,
    m: *mut f32,
    config: *const downhill_lion,
) -> downhill_status {
    // SAFETY: the C caller keeps the preconditions of plain steps.
    unsafe { plain_step::<Lion, _>(n, w, g, [m], config, 1) }
}
