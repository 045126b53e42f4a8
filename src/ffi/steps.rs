//! The step functions.

use super::{
    arrays::slices,
    boundary,
    config::{self, CConfig, downhill_adam, downhill_momentum, downhill_sgd},
    status::downhill_status,
};
use crate::{Isa, rule::Configuration, sweep};

/// A step of any rule: `state` in the order of the rule's own function.
///
/// # Safety
/// The preconditions at the top of the header.
#[inline]
unsafe fn step<C: CConfig<Config: Configuration<N>>, const N: usize>(
    n: usize,
    w: *mut f32,
    g: *const f32,
    state: [*mut f32; N],
    t: u64,
    config: *const C,
) -> downhill_status {
    boundary::call(|| {
        // SAFETY: the caller promises what `read` and `slices` ask for.
        let (config, (w, g, state)) =
            unsafe { (config::read(config)?, slices::<C::Config, N>(n, w, g, state)?) };
        Ok(sweep::step(Isa::current()?, &config, t, w, g, state)?)
    })
}

/// One step of gradient descent (Robbins & Monro, "A Stochastic Approximation Method", 1951). For each
/// element:
///
/// - w -= lr*g
///
/// @param n       number of elements
/// @param w       weights, updated
/// @param g       gradient
/// @param config  hyper-parameters, as from downhill_sgd_default()
/// @return DOWNHILL_STATUS_OK, or what the introduction lists
///
/// Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_sgd_step(
    n: usize,
    w: *mut f32,
    g: *const f32,
    config: *const downhill_sgd,
) -> downhill_status {
    // SAFETY: the C caller keeps the preconditions at the top of the header.
    unsafe { step(n, w, g, [], 1, config) }
}

/// One step of gradient descent with momentum (Rumelhart, Hinton & Williams, "Learning representations
/// by back-propagating errors", 1986). For each element, in the classic form and in the torch form:
///
/// - u = momentum*u + lr*g; w -= u
/// - u = momentum*u + (1-dampening)*g; w -= lr*u
///
/// @param n       number of elements
/// @param w       weights, updated
/// @param g       gradient
/// @param u       state, updated; zeros before the first step
/// @param config  hyper-parameters, as from downhill_momentum_default()
/// @return DOWNHILL_STATUS_OK, or what the introduction lists
///
/// Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_momentum_step(
    n: usize,
    w: *mut f32,
    g: *const f32,
    u: *mut f32,
    config: *const downhill_momentum,
) -> downhill_status {
    // SAFETY: the C caller keeps the preconditions at the top of the header.
    unsafe { step(n, w, g, [u], 1, config) }
}

/// One step of Adam (Kingma & Ba, "Adam: A Method for Stochastic Optimization", 2014). For each
/// element, with c1 and c2 as downhill_bias_correction says, a = lr/c1 and k = 1/sqrt(c2):
///
/// - m = beta1*m + (1-beta1)*g
/// - v = beta2*v + ((1-beta2)*g)*g
/// - w -= (a*m)/(sqrt(v)*k + eps)
///
/// @param n       number of elements
/// @param w       weights, updated
/// @param g       gradient
/// @param m       state, updated; zeros before the first step
/// @param v       state, updated; zeros before the first step
/// @param t       number of this step, counted from 1 by the caller
/// @param config  hyper-parameters, as from downhill_adam_default()
/// @return DOWNHILL_STATUS_OK, or what the introduction lists
///
/// Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_adam_step(
    n: usize,
    w: *mut f32,
    g: *const f32,
    m: *mut f32,
    v: *mut f32,
    t: u64,
    config: *const downhill_adam,
) -> downhill_status {
    // SAFETY: the C caller keeps the preconditions at the top of the header.
    unsafe { step(n, w, g, [m, v], t, config) }
}
