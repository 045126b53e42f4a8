//! Every step as a scalar loop, in the order of operations that the kernels keep. Hyper-parameters
//! are `f64`; what a loop uses is derived from them in `f64` and rounded to `f32` once, before it.

use crate::{Adam, BiasCorrection, Decay, Error, Form, Momentum, Sgd, power::powers, rule::check};

/// `w −= η·g`
///
/// Robbins & Monro, *A Stochastic Approximation Method*, 1951. Arguments and errors as
/// [`crate::sgd_step`].
pub fn sgd_step(w: &mut [f32], g: &[f32], config: &Sgd) -> Result<(), Error> {
    check(config, 1, w, g, [])?;
    let lr = config.lr as f32;
    for i in 0..w.len() {
        let (w_i, g_i) = decayed(w[i], g[i], config.decay, config.weight_decay, config.lr);
        w[i] = w_i - lr * g_i;
    }
    Ok(())
}

/// Classic: `u = γ·u + η·g; w −= u`. Torch: `u = γ·u + (1−τ)·g; w −= η·u`.
///
/// Rumelhart, Hinton & Williams, *Learning representations by back-propagating errors*, 1986.
/// Arguments and errors as [`crate::momentum_step`].
pub fn momentum_step(w: &mut [f32], g: &[f32], u: &mut [f32], config: &Momentum) -> Result<(), Error> {
    check(config, 1, w, g, [u])?;
    let lr = config.lr as f32;
    let momentum = config.momentum as f32;
    let fresh = (1.0 - config.dampening) as f32;
    for i in 0..w.len() {
        let (w_i, g_i) = decayed(w[i], g[i], config.decay, config.weight_decay, config.lr);
        let u_i = state(u[i]);
        match config.form {
            Form::Classic => {
                u[i] = momentum * u_i + lr * g_i;
                w[i] = w_i - u[i];
            }
            Form::Torch => {
                u[i] = momentum * u_i + fresh * g_i;
                w[i] = w_i - lr * u[i];
            }
        }
    }
    Ok(())
}

/// `m = β1·m + (1−β1)·g; v = β2·v + ((1−β2)·g)·g; w −= (a·m)/(√v·k + ε)`, `a = η/c1`, `k = 1/√c2`
///
/// Kingma & Ba, *Adam: A Method for Stochastic Optimization*, 2014. Arguments and errors as
/// [`crate::adam_step`].
pub fn adam_step(
    w: &mut [f32],
    g: &[f32],
    m: &mut [f32],
    v: &mut [f32],
    t: u64,
    config: &Adam,
) -> Result<(), Error> {
    check(config, t, w, g, [m, v])?;
    let Adam { lr, beta1, beta2, eps, .. } = *config;
    let (c1, c2) = match config.bias_correction {
        BiasCorrection::Step => (1.0 - powers(beta1, beta1, t).0, 1.0 - powers(beta2, beta2, t).0),
        BiasCorrection::Constant => (1.0 - beta1, 1.0 - beta2),
        BiasCorrection::None => (1.0, 1.0),
    };
    let a = (lr / c1) as f32;
    let k = (1.0 / c2.sqrt()) as f32;
    let (fresh1, fresh2) = ((1.0 - beta1) as f32, (1.0 - beta2) as f32);
    let (beta1, beta2, eps) = (beta1 as f32, beta2 as f32, eps as f32);
    for i in 0..w.len() {
        let (w_i, g_i) = decayed(w[i], g[i], config.decay, config.weight_decay, lr);
        m[i] = beta1 * state(m[i]) + fresh1 * g_i;
        v[i] = beta2 * state(v[i]) + fresh2 * g_i * g_i;
        w[i] = w_i - (a * m[i]) / (v[i].sqrt() * k + eps);
    }
    Ok(())
}

/// A weight and its gradient with weight decay λ applied, which at λ = 0 is no arithmetic at all.
///
/// L2: `g += λ·w`. Decoupled (Loshchilov & Hutter, *Decoupled Weight Decay Regularization*, 2019):
/// `w *= 1 − η·λ`.
fn decayed(w: f32, g: f32, decay: Decay, weight_decay: f64, lr: f64) -> (f32, f32) {
    match decay {
        _ if weight_decay == 0.0 => (w, g),
        Decay::L2 => (w, g + weight_decay as f32 * w),
        Decay::Decoupled => (w * (1.0 - lr * weight_decay) as f32, g),
    }
}

/// A state as a step reads it: a subnormal is `+0`.
fn state(x: f32) -> f32 {
    if x.is_subnormal() || x == 0.0 { 0.0 } else { x }
}
