//! FTRL-Proximal.

use super::*;

/// The hyper-parameters of downhill_ftrl_step().
#[repr(C)]
#[derive(Clone, Copy)]
pub struct downhill_ftrl {
    pub struct_size: u32,
    pub rule: u32,
    /// It must be DOWNHILL_DECAY_L2: the new weight is not made of the old one.
    pub decay: downhill_decay,
    pub reserved: u32,
    /// Learning rate, finite and > 0, and not so small that 1/lr is infinite.
    pub lr: f64,
    /// Added to the root of the sum of squares, finite and >= 0. With 0 (and l2 = 0) an element whose
    /// squares have been zero so far is divided by zero, as IEEE says, and one with gradients of about
    /// 1e-20, whose sum of squares is subnormal and so read as zero, doubles in every step.
    pub beta: f64,
    /// L1 regularization, finite and >= 0: what makes weights exactly zero.
    pub l1: f64,
    /// L2 regularization, finite and >= 0.
    pub l2: f64,
    pub weight_decay: f64,
}

impl CRule for Ftrl {
    const TAG: u32 = DOWNHILL_RULE_FTRL;
    const NAME: &'static str = "ftrl";
    const STATES: &'static [&'static str] = &["z", "s"];
    type Config = downhill_ftrl;

    #[inline(always)]
    fn decode(config: downhill_ftrl) -> Result<Self, Failure> {
        let downhill_ftrl { lr, beta, l1, l2, weight_decay, .. } = config;
        check_reserved(config.reserved)?;
        if decay(config.decay)? != Decay::L2 {
            return Err(not_l2(config.decay));
        }
        Ok(Self { lr, beta, l1, l2, weight_decay })
    }

    fn encode(self) -> downhill_ftrl {
        let Self { lr, beta, l1, l2, weight_decay } = self;
        downhill_ftrl {
            struct_size: size::<downhill_ftrl>(),
            rule: Self::TAG,
            decay: DOWNHILL_DECAY_L2,
            reserved: 0,
            lr,
            beta,
            l1,
            l2,
            weight_decay,
        }
    }

    fn decoded(self) -> Decoded {
        Decoded::Ftrl(self)
    }
}

#[cold]
fn not_l2(decay: u32) -> Failure {
    invalid(format!("`decay` is {decay}; for `ftrl` it must be {DOWNHILL_DECAY_L2}, L2"))
}

/// FTRL-Proximal (McMahan et al., "Ad Click Prediction: a View from the Trenches", 2013), for sparse
/// linear models. States: z, s. The new weight is made of them alone: weights that are not zero at the
/// start are pulled towards zero by the first step, unless z starts from
/// -(w*(beta/lr + l2) + sign(w)*l1). A NaN in g makes z, s and w NaN. With a = 1/lr:
///     r = sqrt(s)
///     s += g*g
///     z += g - ((sqrt(s) - r)*a)*w
///     w = (sign(z)*l1 - z)/((beta + sqrt(s))*a + l2), but 0 where |z| <= l1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_ftrl_step(
    n: usize,
    w: *mut f32,
    g: *const f32,
    z: *mut f32,
    s: *mut f32,
    config: *const downhill_ftrl,
) -> downhill_status {
    // SAFETY: the C caller keeps the preconditions of plain steps.
    unsafe { plain_step::<Ftrl, _>(n, w, g, [z, s], config, 1) }
}
