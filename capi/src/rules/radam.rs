//! RAdam.

use super::*;

/// The hyper-parameters of downhill_radam_step().
#[repr(C)]
#[derive(Clone, Copy)]
pub struct downhill_radam {
    pub struct_size: u32,
    pub rule: u32,
    pub decay: downhill_decay,
    pub reserved: u32,
    /// Learning rate, finite and >= 0.
    pub lr: f64,
    /// Decay rate of the first moment, in [0, 1).
    pub beta1: f64,
    /// Decay rate of the second moment, in [0, 1). With 2/3 or less the second moment is never used.
    pub beta2: f64,
    /// Added to the root of the second moment, before its bias is corrected; finite and >= 0. Below
    /// 1e-17 it no longer hides that a second moment which grows in portions below 2^-126 (gradients
    /// below 4e-18) stays 0.
    pub eps: f64,
    pub weight_decay: f64,
}

impl CRule for Radam {
    const TAG: u32 = DOWNHILL_RULE_RADAM;
    const NAME: &'static str = "radam";
    const STATES: &'static [&'static str] = &["m", "v"];
    type Config = downhill_radam;

    #[inline(always)]
    fn decode(config: downhill_radam) -> Result<Self, Failure> {
        let downhill_radam { lr, beta1, beta2, eps, weight_decay, .. } = config;
        check_reserved(config.reserved)?;
        Ok(Self { lr, beta1, beta2, eps, weight_decay, decay: decay(config.decay)? })
    }

    fn encode(self) -> downhill_radam {
        let Self { lr, beta1, beta2, eps, weight_decay, decay } = self;
        downhill_radam {
            struct_size: size::<downhill_radam>(),
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
        Decoded::Radam(self)
    }
}

/// RAdam, which is Adam that leaves its second moment out while that is an average of too few gradients
/// (Liu et al., "On the Variance of the Adaptive Learning Rate and Beyond", 2019; with 5 where that has
/// 4, as PyTorch has it). States: m, v. With c1 = 1-beta1^t, c2 = 1-beta2^t, R = 2/(1-beta2) - 1,
/// rho = R - ((2*t)*beta2^t)/c2, r = sqrt((((rho-4)*(rho-2))*R)/(((R-4)*(R-2))*rho)):
///     m = beta1*m + (1-beta1)*g
///     v = beta2*v + ((1-beta2)*g)*g
///     rho > 5: w -= (a*m)/(sqrt(v) + eps) with a = (lr/c1)*(r*sqrt(c2))
///     else:    w -= a*m with a = lr/c1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_radam_step(
    n: usize,
    w: *mut f32,
    g: *const f32,
    m: *mut f32,
    v: *mut f32,
    t: u64,
    config: *const downhill_radam,
) -> downhill_status {
    // SAFETY: the C caller keeps the preconditions of plain steps.
    unsafe { plain_step::<Radam, _>(n, w, g, [m, v], config, t) }
}
