//! Signum: momentum of which only the sign is used.

use super::*;

/// The hyper-parameters of downhill_signum_step().
#[repr(C)]
#[derive(Clone, Copy)]
pub struct downhill_signum {
    pub struct_size: u32,
    pub rule: u32,
    pub decay: downhill_decay,
    pub reserved: u32,
    /// Learning rate, finite and >= 0.
    pub lr: f64,
    /// Decay rate of m, in [0, 1). With 0 the rule is signSGD.
    pub momentum: f64,
    pub weight_decay: f64,
}

impl CRule for Signum {
    const TAG: u32 = DOWNHILL_RULE_SIGNUM;
    const NAME: &'static str = "signum";
    const STATES: &'static [&'static str] = &["m"];
    type Config = downhill_signum;

    #[inline(always)]
    fn decode(config: downhill_signum) -> Result<Self, Failure> {
        let downhill_signum { lr, momentum, weight_decay, .. } = config;
        check_reserved(config.reserved)?;
        Ok(Self { lr, momentum, weight_decay, decay: decay(config.decay)? })
    }

    fn encode(self) -> downhill_signum {
        let Self { lr, momentum, weight_decay, decay } = self;
        downhill_signum {
            struct_size: size::<downhill_signum>(),
            rule: Self::TAG,
            decay: value_of(decay, DECAYS),
            reserved: 0,
            lr,
            momentum,
            weight_decay,
        }
    }

    fn decoded(self) -> Decoded {
        Decoded::Signum(self)
    }
}

/// Signum (Bernstein et al., "signSGD: Compressed Optimisation for Non-Convex Problems", 2018), with
/// momentum = 0 signSGD. State: m. The sign of a zero is 0, and that of a NaN is NaN.
///     m = momentum*m + (1-momentum)*g
///     w -= lr*sign(m)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_signum_step(
    n: usize,
    w: *mut f32,
    g: *const f32,
    m: *mut f32,
    config: *const downhill_signum,
) -> downhill_status {
    // SAFETY: the C caller keeps the preconditions of plain steps.
    unsafe { plain_step::<Signum, _>(n, w, g, [m], config, 1) }
}
