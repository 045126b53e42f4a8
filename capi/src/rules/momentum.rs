//! Gradient descent with momentum.

use super::*;

/// The hyper-parameters of downhill_momentum_step().
#[repr(C)]
#[derive(Clone, Copy)]
pub struct downhill_momentum {
    pub struct_size: u32,
    pub rule: u32,
    pub form: downhill_form,
    pub decay: downhill_decay,
    /// Learning rate, finite and >= 0.
    pub lr: f64,
    /// How much of the last step is kept, in [0, 1).
    pub momentum: f64,
    /// How much of the gradient is left out of u, in [0, 1]; 0 in the classic form, which has none.
    pub dampening: f64,
    pub weight_decay: f64,
}

impl CRule for Momentum {
    const TAG: u32 = DOWNHILL_RULE_MOMENTUM;
    const NAME: &'static str = "momentum";
    const STATES: &'static [&'static str] = &["u"];
    type Config = downhill_momentum;

    #[inline(always)]
    fn decode(config: downhill_momentum) -> Result<Self, Failure> {
        let downhill_momentum { lr, momentum, dampening, weight_decay, .. } = config;
        let form = form(config.form)?;
        Ok(Self { lr, momentum, dampening, form, weight_decay, decay: decay(config.decay)? })
    }

    fn encode(self) -> downhill_momentum {
        let Self { lr, momentum, dampening, weight_decay, form, decay } = self;
        downhill_momentum {
            struct_size: size::<downhill_momentum>(),
            rule: Self::TAG,
            form: value_of(form, FORMS),
            decay: value_of(decay, DECAYS),
            lr,
            momentum,
            dampening,
            weight_decay,
        }
    }

    fn decoded(self) -> Decoded {
        Decoded::Momentum(self)
    }
}

/// Gradient descent with momentum (Rumelhart, Hinton & Williams, "Learning representations by
/// back-propagating errors", 1986). State: u. In the classic form and in the torch form:
///     u = momentum*u + lr*g; w -= u
///     u = momentum*u + (1-dampening)*g; w -= lr*u
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_momentum_step(
    n: usize,
    w: *mut f32,
    g: *const f32,
    u: *mut f32,
    config: *const downhill_momentum,
) -> downhill_status {
    // SAFETY: the C caller keeps the preconditions of plain steps.
    unsafe { plain_step::<Momentum, _>(n, w, g, [u], config, 1) }
}
