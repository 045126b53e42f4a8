//! AdaMax.

use super::*;

/// The hyper-parameters of downhill_adamax_step().
#[repr(C)]
#[derive(Clone, Copy)]
pub struct downhill_adamax {
    pub struct_size: u32,
    pub rule: u32,
    pub decay: downhill_decay,
    pub reserved: u32,
    /// Learning rate, finite and >= 0.
    pub lr: f64,
    /// Decay rate of the first moment, in [0, 1).
    pub beta1: f64,
    /// Decay rate of the infinity norm, in [0, 1).
    pub beta2: f64,
    /// Added to |g|, and so kept in u; finite and >= 0.
    pub eps: f64,
    pub weight_decay: f64,
}

impl CRule for Adamax {
    const TAG: u32 = DOWNHILL_RULE_ADAMAX;
    const NAME: &'static str = "adamax";
    const STATES: &'static [&'static str] = &["m", "u"];
    type Config = downhill_adamax;

    #[inline(always)]
    fn decode(config: downhill_adamax) -> Result<Self, Failure> {
        let downhill_adamax { lr, beta1, beta2, eps, weight_decay, .. } = config;
        check_reserved(config.reserved)?;
        Ok(Self { lr, beta1, beta2, eps, weight_decay, decay: decay(config.decay)? })
    }

    fn encode(self) -> downhill_adamax {
        let Self { lr, beta1, beta2, eps, weight_decay, decay } = self;
        downhill_adamax {
            struct_size: size::<downhill_adamax>(),
            rule: Self::TAG,
            decay: value_of(decay, DECAYS),
            reserved: 0,
            lr,
            beta1,
            beta2,
            eps,
            weight_decay,
        }
    }

    fn decoded(self) -> Decoded {
        Decoded::Adamax(self)
    }
}

/// AdaMax, which is Adam with the infinity norm (Kingma & Ba, "Adam: A Method for Stochastic
/// Optimization", 2014, section 7.1). States: m, u. With a = lr/(1-beta1^t), and a maximum that is NaN
/// if either number is:
///     m = beta1*m + (1-beta1)*g
///     u = max(beta2*u, |g| + eps)
///     w -= (a*m)/u
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_adamax_step(
    n: usize,
    w: *mut f32,
    g: *const f32,
    m: *mut f32,
    u: *mut f32,
    t: u64,
    config: *const downhill_adamax,
) -> downhill_status {
    // SAFETY: the C caller keeps the preconditions of plain steps.
    unsafe { plain_step::<Adamax, _>(n, w, g, [m, u], config, t) }
}
