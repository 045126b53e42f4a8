//! Gradient descent with Nesterov's momentum.

use super::*;

/// The hyper-parameters of downhill_nesterov_step().
#[repr(C)]
#[derive(Clone, Copy)]
pub struct downhill_nesterov {
    pub struct_size: u32,
    pub rule: u32,
    pub form: downhill_form,
    pub decay: downhill_decay,
    /// Learning rate, finite and >= 0.
    pub lr: f64,
    /// How much of the last step is kept, in [0, 1).
    pub momentum: f64,
    pub weight_decay: f64,
}

impl CRule for Nesterov {
    const TAG: u32 = DOWNHILL_RULE_NESTEROV;
    const NAME: &'static str = "nesterov";
    const STATES: &'static [&'static str] = &["u"];
    type Config = downhill_nesterov;

    #[inline(always)]
    fn decode(config: downhill_nesterov) -> Result<Self, Failure> {
        let downhill_nesterov { lr, momentum, weight_decay, .. } = config;
        let form = form(config.form)?;
        Ok(Self { lr, momentum, form, weight_decay, decay: decay(config.decay)? })
    }

    fn encode(self) -> downhill_nesterov {
        let Self { lr, momentum, weight_decay, form, decay } = self;
        downhill_nesterov {
            struct_size: size::<downhill_nesterov>(),
            rule: Self::TAG,
            form: value_of(form, FORMS),
            decay: value_of(decay, DECAYS),
            lr,
            momentum,
            weight_decay,
        }
    }

    fn decoded(self) -> Decoded {
        Decoded::Nesterov(self)
    }
}

/// Gradient descent with Nesterov's momentum (Nesterov, "A method for solving the convex programming
/// problem with convergence rate O(1/k^2)", 1983, as in Sutskever et al., "On the importance of
/// initialization and momentum in deep learning", 2013). State: u. In the classic form and in the torch
/// form:
///     u = momentum*u + lr*g; w -= momentum*u + lr*g
///     u = momentum*u + g; w -= lr*(g + momentum*u)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_nesterov_step(
    n: usize,
    w: *mut f32,
    g: *const f32,
    u: *mut f32,
    config: *const downhill_nesterov,
) -> downhill_status {
    // SAFETY: the C caller keeps the preconditions of plain steps.
    unsafe { plain_step::<Nesterov, _>(n, w, g, [u], config, 1) }
}
