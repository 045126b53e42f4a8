//! Nadam.

use super::*;

/// The hyper-parameters of downhill_nadam_step().
#[repr(C)]
#[derive(Clone, Copy)]
pub struct downhill_nadam {
    pub struct_size: u32,
    pub rule: u32,
    pub decay: downhill_decay,
    pub reserved: u32,
    /// Learning rate, finite and >= 0.
    pub lr: f64,
    /// Decay rate of the first moment, in [0, 1).
    pub beta1: f64,
    /// Decay rate of the second moment, in [0, 1).
    pub beta2: f64,
    /// As downhill_adam's.
    pub eps: f64,
    /// How fast the momentum warms up, finite and >= 0.
    pub momentum_decay: f64,
    pub weight_decay: f64,
}

impl CRule for Nadam {
    const TAG: u32 = DOWNHILL_RULE_NADAM;
    const NAME: &'static str = "nadam";
    const STATES: &'static [&'static str] = &["m", "v"];
    type Config = downhill_nadam;

    #[inline(always)]
    fn decode(config: downhill_nadam) -> Result<Self, Failure> {
        let downhill_nadam { lr, beta1, beta2, eps, momentum_decay, weight_decay, .. } = config;
        check_reserved(config.reserved)?;
        Ok(Self { lr, beta1, beta2, eps, momentum_decay, weight_decay, decay: decay(config.decay)? })
    }

    fn encode(self) -> downhill_nadam {
        let Self { lr, beta1, beta2, eps, momentum_decay, weight_decay, decay } = self;
        downhill_nadam {
            struct_size: size::<downhill_nadam>(),
            rule: Self::TAG,
            decay: value_of(decay, DECAYS),
            reserved: 0,
            lr,
            beta1,
            beta2,
            eps,
            momentum_decay,
            weight_decay,
        }
    }

    fn decoded(self) -> Decoded {
        Decoded::Nadam(self)
    }
}

/// Nadam, which is Adam with Nesterov's momentum (Dozat, "Incorporating Nesterov Momentum into Adam",
/// 2016). States: m, v. With c2 = 1-beta2^t, mu(t) = beta1*(1 - 0.5*0.96^(t*momentum_decay)), P =
/// mu(1)*...*mu(t) (of which factors are left out that no longer change 1-P), a = lr*(1-mu(t))/(1-P), b
/// = lr*mu(t+1)/(1-P*mu(t+1)):
///     m = beta1*m + (1-beta1)*g
///     v = beta2*v + ((1-beta2)*g)*g
///     r = sqrt(v*(1/c2)) + eps
///     w -= (a*g)/r; w -= (b*m)/r
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_nadam_step(
    n: usize,
    w: *mut f32,
    g: *const f32,
    m: *mut f32,
    v: *mut f32,
    t: u64,
    config: *const downhill_nadam,
) -> downhill_status {
    // SAFETY: the C caller keeps the preconditions of plain steps.
    unsafe { plain_step::<Nadam, _>(n, w, g, [m, v], config, t) }
}
