//! The step functions.

use std::convert::identity;

use super::{arrays::slices, boundary, config::*, decode::CConfig, read::read, status::downhill_status};
use downhill::{Amsgrad, Isa, RmspropForm, abi::Configuration};

/// A step of any rule: `state` in the order of the rule's own function, and `rule` to choose among the
/// rules that one configuration serves.
///
/// # Safety
/// The preconditions at the top of the header.
#[inline]
pub(super) unsafe fn step<C: CConfig, R: Configuration<N>, const N: usize>(
    n: usize,
    w: *mut f32,
    g: *const f32,
    state: [*mut f32; N],
    t: u64,
    config: *const C,
    rule: impl FnOnce(C::Config) -> R,
) -> downhill_status {
    boundary::call(|| {
        // SAFETY: the caller promises what `read` and `slices` ask for.
        let (config, (w, g, state)) = unsafe { (read(config)?, slices::<R, N>(n, w, g, state)?) };
        Ok(rule(config).step_on(Isa::current()?, w, g, state, t)?)
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
/// @return DOWNHILL_STATUS_OK; or _NULL_POINTER, _MISALIGNED, _OVERLAP, _INVALID_LENGTH,
///         _INVALID_CONFIG, as the introduction says; _PANIC
///
/// Threads: any number at once, on different arrays. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_sgd_step(
    n: usize,
    w: *mut f32,
    g: *const f32,
    config: *const downhill_sgd,
) -> downhill_status {
    // SAFETY: the C caller keeps the preconditions at the top of the header.
    unsafe { step(n, w, g, [], 1, config, identity) }
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
/// @return DOWNHILL_STATUS_OK; or _NULL_POINTER, _MISALIGNED, _OVERLAP, _INVALID_LENGTH,
///         _INVALID_CONFIG, as the introduction says; _PANIC
///
/// Threads: any number at once, on different arrays. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_momentum_step(
    n: usize,
    w: *mut f32,
    g: *const f32,
    u: *mut f32,
    config: *const downhill_momentum,
) -> downhill_status {
    // SAFETY: the C caller keeps the preconditions at the top of the header.
    unsafe { step(n, w, g, [u], 1, config, identity) }
}

/// One step of gradient descent with Nesterov's momentum (Nesterov, "A method for solving the convex
/// programming problem with convergence rate O(1/k^2)", 1983, as in Sutskever et al., "On the
/// importance of initialization and momentum in deep learning", 2013). For each element, in the classic
/// form and in the torch form:
///
/// - u = momentum*u + lr*g; w -= momentum*u + lr*g
/// - u = momentum*u + g; w -= lr*(g + momentum*u)
///
/// @param n       number of elements
/// @param w       weights, updated
/// @param g       gradient
/// @param u       state, updated; zeros before the first step
/// @param config  hyper-parameters, as from downhill_nesterov_default()
/// @return DOWNHILL_STATUS_OK; or _NULL_POINTER, _MISALIGNED, _OVERLAP, _INVALID_LENGTH,
///         _INVALID_CONFIG, as the introduction says; _PANIC
///
/// Threads: any number at once, on different arrays. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_nesterov_step(
    n: usize,
    w: *mut f32,
    g: *const f32,
    u: *mut f32,
    config: *const downhill_nesterov,
) -> downhill_status {
    // SAFETY: the C caller keeps the preconditions at the top of the header.
    unsafe { step(n, w, g, [u], 1, config, identity) }
}

/// One step of Adagrad (Duchi, Hazan & Singer, "Adaptive Subgradient Methods for Online Learning and
/// Stochastic Optimization", 2011). For each element:
///
/// - s += g*g
/// - w -= (lr*g)/(sqrt(s) + eps)
///
/// @param n       number of elements
/// @param w       weights, updated
/// @param g       gradient
/// @param s       state, updated; zeros before the first step, or another initial accumulator
/// @param config  hyper-parameters, as from downhill_adagrad_default()
/// @return DOWNHILL_STATUS_OK; or _NULL_POINTER, _MISALIGNED, _OVERLAP, _INVALID_LENGTH,
///         _INVALID_CONFIG, as the introduction says; _PANIC
///
/// Threads: any number at once, on different arrays. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_adagrad_step(
    n: usize,
    w: *mut f32,
    g: *const f32,
    s: *mut f32,
    config: *const downhill_adagrad,
) -> downhill_status {
    // SAFETY: the C caller keeps the preconditions at the top of the header.
    unsafe { step(n, w, g, [s], 1, config, identity) }
}

/// One step of Adadelta (Zeiler, "ADADELTA: An Adaptive Learning Rate Method", 2012). For each element:
///
/// - v = rho*v + ((1-rho)*g)*g
/// - d = (sqrt(u + eps)/sqrt(v + eps))*g
/// - u = rho*u + ((1-rho)*d)*d
/// - w -= lr*d
///
/// @param n       number of elements
/// @param w       weights, updated
/// @param g       gradient
/// @param v       state (average of squared gradients), updated; zeros before the first step
/// @param u       state (average of squared steps), updated; zeros before the first step
/// @param config  hyper-parameters, as from downhill_adadelta_default()
/// @return DOWNHILL_STATUS_OK; or _NULL_POINTER, _MISALIGNED, _OVERLAP, _INVALID_LENGTH,
///         _INVALID_CONFIG, as the introduction says; _PANIC
///
/// Threads: any number at once, on different arrays. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_adadelta_step(
    n: usize,
    w: *mut f32,
    g: *const f32,
    v: *mut f32,
    u: *mut f32,
    config: *const downhill_adadelta,
) -> downhill_status {
    // SAFETY: the C caller keeps the preconditions at the top of the header.
    unsafe { step(n, w, g, [v, u], 1, config, identity) }
}

/// One step of RMSprop (Tieleman & Hinton, "Lecture 6.5: rmsprop", 2012; centered: Graves, "Generating
/// Sequences With Recurrent Neural Networks", 2013). Which of the two optional arrays are passed
/// decides the form: with g_avg it is centered, with u it has momentum. For each element:
///
/// - v = alpha*v + ((1-alpha)*g)*g
/// - r = sqrt(v) + eps; but with g_avg:
///   g_avg = alpha*g_avg + (1-alpha)*g; r = sqrt(max(v - g_avg*g_avg, 0)) + eps
/// - w -= (lr*g)/r; but with u:
///   u = momentum*u + g/r; w -= lr*u
///
/// The maximum of a NaN and a number is NaN. Without u, momentum must be 0; with n = 0 all pointers may
/// be anything, as everywhere, and momentum is then only checked against its range.
///
/// @param n       number of elements
/// @param w       weights, updated
/// @param g       gradient
/// @param v       state, updated; zeros before the first step
/// @param g_avg   state, updated; zeros before the first step; NULL: not centered
/// @param u       state, updated; zeros before the first step; NULL: no momentum
/// @param config  hyper-parameters, as from downhill_rmsprop_default()
/// @return DOWNHILL_STATUS_OK; or _NULL_POINTER, _MISALIGNED, _OVERLAP, _INVALID_LENGTH,
///         _INVALID_CONFIG, as the introduction says; _PANIC
///
/// Threads: any number at once, on different arrays. Since 0.1.0.
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
    // Without elements no pointer says anything: all options, which no configuration contradicts.
    let passed = |array: *mut f32| n == 0 || !array.is_null();
    // SAFETY: the C caller keeps the preconditions at the top of the header.
    unsafe {
        match (passed(g_avg), passed(u)) {
            (false, false) => step(n, w, g, [v], 1, config, RmspropForm::<false>),
            (false, true) => step(n, w, g, [v, u], 1, config, RmspropForm::<false>),
            (true, false) => step(n, w, g, [v, g_avg], 1, config, RmspropForm::<true>),
            (true, true) => step(n, w, g, [v, g_avg, u], 1, config, RmspropForm::<true>),
        }
    }
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
/// @return DOWNHILL_STATUS_OK; or _NULL_POINTER, _MISALIGNED, _OVERLAP, _INVALID_LENGTH, _INVALID_STEP,
///         _INVALID_CONFIG, as the introduction says; _PANIC
///
/// Threads: any number at once, on different arrays. Since 0.1.0.
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
    unsafe { step(n, w, g, [m, v], t, config, identity) }
}

/// One step of AdamW (Loshchilov & Hutter, "Decoupled Weight Decay Regularization", 2019):
/// downhill_adam_step under its other name, for configurations that start from
/// downhill_adamw_default(), with decoupled weight decay. For each element, with a and k as in
/// downhill_adam_step:
///
/// - w *= 1 - lr*weight_decay
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
/// @param config  hyper-parameters, as from downhill_adamw_default()
/// @return DOWNHILL_STATUS_OK; or _NULL_POINTER, _MISALIGNED, _OVERLAP, _INVALID_LENGTH, _INVALID_STEP,
///         _INVALID_CONFIG, as the introduction says; _PANIC
///
/// Threads: any number at once, on different arrays. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_adamw_step(
    n: usize,
    w: *mut f32,
    g: *const f32,
    m: *mut f32,
    v: *mut f32,
    t: u64,
    config: *const downhill_adam,
) -> downhill_status {
    // SAFETY: the C caller keeps the preconditions at the top of the header.
    unsafe { step(n, w, g, [m, v], t, config, identity) }
}

/// One step of AMSGrad (Reddi, Kale & Kumar, "On the Convergence of Adam and Beyond", 2018), with the
/// bias correction of Adam, as PyTorch has it. For each element, with a and k as in downhill_adam_step:
///
/// - m = beta1*m + (1-beta1)*g
/// - v = beta2*v + ((1-beta2)*g)*g
/// - v_max = max(v_max, v)
/// - w -= (a*m)/(sqrt(v_max)*k + eps)
///
/// The maximum of a NaN and a number is NaN.
///
/// @param n       number of elements
/// @param w       weights, updated
/// @param g       gradient
/// @param m       state, updated; zeros before the first step
/// @param v       state, updated; zeros before the first step
/// @param v_max   state, updated; zeros before the first step
/// @param t       number of this step, counted from 1 by the caller
/// @param config  hyper-parameters, as from downhill_amsgrad_default()
/// @return DOWNHILL_STATUS_OK; or _NULL_POINTER, _MISALIGNED, _OVERLAP, _INVALID_LENGTH, _INVALID_STEP,
///         _INVALID_CONFIG, as the introduction says; _PANIC
///
/// Threads: any number at once, on different arrays. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_amsgrad_step(
    n: usize,
    w: *mut f32,
    g: *const f32,
    m: *mut f32,
    v: *mut f32,
    v_max: *mut f32,
    t: u64,
    config: *const downhill_adam,
) -> downhill_status {
    // SAFETY: the C caller keeps the preconditions at the top of the header.
    unsafe { step(n, w, g, [m, v, v_max], t, config, Amsgrad) }
}

/// One step of AdaMax, which is Adam with the infinity norm (Kingma & Ba, "Adam: A Method for
/// Stochastic Optimization", 2014, section 7.1). For each element, with a = lr/(1-beta1^t):
///
/// - m = beta1*m + (1-beta1)*g
/// - u = max(beta2*u, |g| + eps)
/// - w -= (a*m)/u
///
/// The maximum of a NaN and a number is NaN.
///
/// @param n       number of elements
/// @param w       weights, updated
/// @param g       gradient
/// @param m       state, updated; zeros before the first step
/// @param u       state, updated; zeros before the first step
/// @param t       number of this step, counted from 1 by the caller
/// @param config  hyper-parameters, as from downhill_adamax_default()
/// @return DOWNHILL_STATUS_OK; or _NULL_POINTER, _MISALIGNED, _OVERLAP, _INVALID_LENGTH, _INVALID_STEP,
///         _INVALID_CONFIG, as the introduction says; _PANIC
///
/// Threads: any number at once, on different arrays. Since 0.1.0.
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
    // SAFETY: the C caller keeps the preconditions at the top of the header.
    unsafe { step(n, w, g, [m, u], t, config, identity) }
}

/// One step of Nadam, which is Adam with Nesterov's momentum (Dozat, "Incorporating Nesterov Momentum
/// into Adam", 2016), with these constants:
///
/// - c2 = 1-beta2^t
/// - mu(t) = beta1*(1 - 0.5*0.96^(t*momentum_decay)), P = mu(1)*...*mu(t)
/// - a = lr*(1-mu(t))/(1-P), b = lr*mu(t+1)/(1-P*mu(t+1))
///
/// For each element:
///
/// - m = beta1*m + (1-beta1)*g
/// - v = beta2*v + ((1-beta2)*g)*g
/// - r = sqrt(v*(1/c2)) + eps
/// - w -= (a*g)/r
/// - w -= (b*m)/r
///
/// P is computed from t in every call. Its factors end where it no longer changes 1-P: about 50 with the
/// defaults, 2,400 at most.
///
/// @param n       number of elements
/// @param w       weights, updated
/// @param g       gradient
/// @param m       state, updated; zeros before the first step
/// @param v       state, updated; zeros before the first step
/// @param t       number of this step, counted from 1 by the caller
/// @param config  hyper-parameters, as from downhill_nadam_default()
/// @return DOWNHILL_STATUS_OK; or _NULL_POINTER, _MISALIGNED, _OVERLAP, _INVALID_LENGTH, _INVALID_STEP,
///         _INVALID_CONFIG, as the introduction says; _PANIC
///
/// Threads: any number at once, on different arrays. Since 0.1.0.
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
    // SAFETY: the C caller keeps the preconditions at the top of the header.
    unsafe { step(n, w, g, [m, v], t, config, identity) }
}

/// One step of Lion (Chen et al., "Symbolic Discovery of Optimization Algorithms", 2023). For each
/// element:
///
/// - w -= lr*sign(beta1*m + (1-beta1)*g)
/// - m = beta2*m + (1-beta2)*g
///
/// The sign of a zero is 0, and that of a NaN is NaN.
///
/// @param n       number of elements
/// @param w       weights, updated
/// @param g       gradient
/// @param m       state, updated; zeros before the first step
/// @param config  hyper-parameters, as from downhill_lion_default()
/// @return DOWNHILL_STATUS_OK; or _NULL_POINTER, _MISALIGNED, _OVERLAP, _INVALID_LENGTH,
///         _INVALID_CONFIG, as the introduction says; _PANIC
///
/// Threads: any number at once, on different arrays. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_lion_step(
    n: usize,
    w: *mut f32,
    g: *const f32,
    m: *mut f32,
    config: *const downhill_lion,
) -> downhill_status {
    // SAFETY: the C caller keeps the preconditions at the top of the header.
    unsafe { step(n, w, g, [m], 1, config, identity) }
}
