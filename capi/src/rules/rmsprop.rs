//! RMSprop, plain, centered and with momentum.

use super::*;
use downhill::{Rmsprop, rmsprop_step};

/// The hyper-parameters of downhill_rmsprop_step().
#[repr(C)]
#[derive(Clone, Copy)]
pub struct downhill_rmsprop {
    pub struct_size: u32,
    pub rule: u32,
    /// 1: centered, with the state g_avg; 0: not.
    pub centered: u32,
    pub decay: downhill_decay,
    /// Learning rate, finite and >= 0.
    pub lr: f64,
    /// How much of the last step is kept, in [0, 1). Above 0 there is the state u.
    pub momentum: f64,
    /// Decay rate of the averages, in [0, 1].
    pub alpha: f64,
    /// Added to the denominator, outside the root; finite and >= 0.
    pub eps: f64,
    pub weight_decay: f64,
}

const CENTERED: Choices<bool, 2> = [(0, false), (1, true)];

impl CRule for Rmsprop {
    const TAG: u32 = DOWNHILL_RULE_RMSPROP;
    const NAME: &'static str = "rmsprop";
    const STATES: &'static [&'static str] = &["v", "g_avg", "u"];
    type Config = downhill_rmsprop;

    #[inline(always)]
    fn decode(config: downhill_rmsprop) -> Result<Self, Failure> {
        let downhill_rmsprop { lr, momentum, alpha, eps, weight_decay, .. } = config;
        let centered = choice("centered", config.centered, CENTERED)?;
        let decay = decay(config.decay)?;
        Ok(Self { lr, momentum, alpha, eps, centered, weight_decay, decay })
    }

    fn encode(self) -> downhill_rmsprop {
        let Self { lr, momentum, alpha, eps, centered, weight_decay, decay } = self;
        downhill_rmsprop {
            struct_size: size::<downhill_rmsprop>(),
            rule: Self::TAG,
            centered: value_of(centered, CENTERED),
            decay: value_of(decay, DECAYS),
            lr,
            momentum,
            alpha,
            eps,
            weight_decay,
        }
    }

    fn decoded(self) -> Decoded {
        Decoded::Rmsprop(self)
    }
}

/// RMSprop (Tieleman & Hinton, "Lecture 6.5: rmsprop", 2012; centered: Graves, "Generating Sequences
/// With Recurrent Neural Networks", 2013). States: v; g_avg if centered is 1, else NULL; u if momentum >
/// 0, else NULL.
///     v = alpha*v + ((1-alpha)*g)*g; r = sqrt(v) + eps
///     centered: g_avg = alpha*g_avg + (1-alpha)*g; r = sqrt(max(v - g_avg*g_avg, 0)) + eps
///     w -= (lr*g)/r; with momentum: u = momentum*u + g/r; w -= lr*u
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_rmsprop_step(
    n: usize,
    w: *mut f32,
    g: *const f32,
    v: *mut f32,
    g_avg: *mut f32,
    u: *mut f32,
    config: *const downhill_rmsprop,
) -> downhill_status {
    boundary::call(|| {
        // SAFETY: the C caller keeps the preconditions of plain steps.
        let config: Rmsprop = unsafe { read(config)? };
        // A momentum that is out of its range is refused by the step itself.
        let (centered, has_momentum) = (config.centered, config.momentum > 0.0);
        // Without elements the pointers may be anything.
        if n > 0 {
            check_state(("g_avg", g_avg), "centered", centered)?;
            check_state(("u", u), "momentum", has_momentum)?;
        }
        // SAFETY: the same.
        unsafe {
            match (centered, has_momentum) {
                (false, false) => {
                    let (w, g, [v]) = slices(n, w, g, [v], &["v"])?;
                    rmsprop_step(w, g, v, None, None, &config)?;
                }
                (false, true) => {
                    let (w, g, [v, u]) = slices(n, w, g, [v, u], &["v", "u"])?;
                    rmsprop_step(w, g, v, None, Some(u), &config)?;
                }
                (true, false) => {
                    let (w, g, [v, g_avg]) = slices(n, w, g, [v, g_avg], &["v", "g_avg"])?;
                    rmsprop_step(w, g, v, Some(g_avg), None, &config)?;
                }
                (true, true) => {
                    let (w, g, [v, g_avg, u]) = slices(n, w, g, [v, g_avg, u], &["v", "g_avg", "u"])?;
                    rmsprop_step(w, g, v, Some(g_avg), Some(u), &config)?;
                }
            }
        }
        Ok(())
    })
}
