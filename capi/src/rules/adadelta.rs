//! Adadelta.

use super::*;

/// The hyper-parameters of downhill_adadelta_step().
#[repr(C)]
#[derive(Clone, Copy)]
pub struct downhill_adadelta {
    pub struct_size: u32,
    pub rule: u32,
    pub decay: downhill_decay,
    pub reserved: u32,
    /// Learning rate, finite and >= 0.
    pub lr: f64,
    /// Decay rate of both averages, in [0, 1].
    pub rho: f64,
    /// Added inside both roots; finite and >= 0. With 0 nothing ever moves: u starts as zero, and 0/0 is
    /// NaN where the gradient is zero.
    pub eps: f64,
    pub weight_decay: f64,
}

impl CRule for Adadelta {
    const TAG: u32 = DOWNHILL_RULE_ADADELTA;
    const NAME: &'static str = "adadelta";
    const STATES: &'static [&'static str] = &["v", "u"];
    type Config = downhill_adadelta;

    #[inline(always)]
    fn decode(config: downhill_adadelta) -> Result<Self, Failure> {
        let downhill_adadelta { lr, rho, eps, weight_decay, .. } = config;
        check_reserved(config.reserved)?;
        Ok(Self { lr, rho, eps, weight_decay, decay: decay(config.decay)? })
    }

    fn encode(self) -> downhill_adadelta {
        let Self { lr, rho, eps, weight_decay, decay } = self;
        downhill_adadelta {
            struct_size: size::<downhill_adadelta>(),
            rule: Self::TAG,
            decay: value_of(decay, DECAYS),
            reserved: 0,
            lr,
            rho,
            eps,
            weight_decay,
        }
    }

    fn decoded(self) -> Decoded {
        Decoded::Adadelta(self)
    }
}

/// Adadelta (Zeiler, "ADADELTA: An Adaptive Learning Rate Method", 2012). States: v, u, the averages of
/// squared gradients and of squared steps.
///     v = rho*v + ((1-rho)*g)*g
///     d = (sqrt(u + eps)/sqrt(v + eps))*g
///     u = rho*u + ((1-rho)*d)*d
///     w -= lr*d
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_adadelta_step(
    n: usize,
    w: *mut f32,
    g: *const f32,
    v: *mut f32,
    u: *mut f32,
    config: *const downhill_adadelta,
) -> downhill_status {
    // SAFETY: the C caller keeps the preconditions of plain steps.
    unsafe { plain_step::<Adadelta, _>(n, w, g, [v, u], config, 1) }
}
