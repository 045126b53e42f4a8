//! Every step as a scalar loop, in the order of operations that the kernels keep. Hyper-parameters
//! are `f64`; what a loop uses is derived from them in `f64` and rounded to `f32` once, before it.

use super::clip::pairwise;
use crate::{
    Adadelta, Adagrad, Adam, Adamax, Adamw, Amsgrad, BiasCorrection, Decay, Error, Form, Ftrl, Lion,
    Momentum, Nadam, Nesterov, Radam, Rmsprop, RowwiseAdagrad, Sgd, Signum,
    optimizer::Engine,
    power::{momentum_product, powers},
    rule::{check, check_length},
    rules::first_moment,
};

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

/// Classic: `u = γ·u + η·g; w −= γ·u + η·g`. Torch: `u = γ·u + g; w −= η·(g + γ·u)`.
///
/// Nesterov, *A method for solving the convex programming problem with convergence rate O(1/k²)*, 1983.
/// Arguments and errors as [`crate::nesterov_step`].
pub fn nesterov_step(w: &mut [f32], g: &[f32], u: &mut [f32], config: &Nesterov) -> Result<(), Error> {
    check(config, 1, w, g, [u])?;
    let lr = config.lr as f32;
    let momentum = config.momentum as f32;
    for i in 0..w.len() {
        let (w_i, g_i) = decayed(w[i], g[i], config.decay, config.weight_decay, config.lr);
        let u_i = state(u[i]);
        match config.form {
            Form::Classic => {
                u[i] = momentum * u_i + lr * g_i;
                w[i] = w_i - (momentum * u[i] + lr * g_i);
            }
            Form::Torch => {
                u[i] = momentum * u_i + g_i;
                w[i] = w_i - lr * (g_i + momentum * u[i]);
            }
        }
    }
    Ok(())
}

/// `s += g·g; w −= (η·g)/(√s + ε)`
///
/// Duchi, Hazan & Singer, *Adaptive Subgradient Methods for Online Learning and Stochastic
/// Optimization*, 2011. Arguments and errors as [`crate::adagrad_step`].
pub fn adagrad_step(w: &mut [f32], g: &[f32], s: &mut [f32], config: &Adagrad) -> Result<(), Error> {
    check(config, 1, w, g, [s])?;
    let (lr, eps) = (config.lr as f32, config.eps as f32);
    for i in 0..w.len() {
        let (w_i, g_i) = decayed(w[i], g[i], config.decay, config.weight_decay, config.lr);
        s[i] = state(s[i]) + g_i * g_i;
        w[i] = w_i - (lr * g_i) / (s[i].sqrt() + eps);
    }
    Ok(())
}

/// `v = ρ·v + ((1−ρ)·g)·g; d = (√(u+ε)/√(v+ε))·g; u = ρ·u + ((1−ρ)·d)·d; w −= η·d`
///
/// Zeiler, *ADADELTA: An Adaptive Learning Rate Method*, 2012. Arguments and errors as
/// [`crate::adadelta_step`].
pub fn adadelta_step(
    w: &mut [f32],
    g: &[f32],
    v: &mut [f32],
    u: &mut [f32],
    config: &Adadelta,
) -> Result<(), Error> {
    check(config, 1, w, g, [v, u])?;
    let (lr, eps) = (config.lr as f32, config.eps as f32);
    let (rho, fresh) = (config.rho as f32, (1.0 - config.rho) as f32);
    for i in 0..w.len() {
        let (w_i, g_i) = decayed(w[i], g[i], config.decay, config.weight_decay, config.lr);
        let u_i = state(u[i]);
        v[i] = rho * state(v[i]) + fresh * g_i * g_i;
        let d = (u_i + eps).sqrt() / (v[i] + eps).sqrt() * g_i;
        u[i] = rho * u_i + fresh * d * d;
        w[i] = w_i - lr * d;
    }
    Ok(())
}

/// `v = α·v + ((1−α)·g)·g`. Centered: `ḡ = α·ḡ + (1−α)·g; r = √max(v − ḡ·ḡ, 0) + ε`, else `r = √v + ε`.
/// With momentum: `u = γ·u + g/r; w −= η·u`, else `w −= (η·g)/r`.
///
/// Tieleman & Hinton, *Lecture 6.5: rmsprop*, 2012; centered: Graves, *Generating Sequences With
/// Recurrent Neural Networks*, 2013. Arguments and errors as [`crate::rmsprop_step`].
pub fn rmsprop_step(
    w: &mut [f32],
    g: &[f32],
    v: &mut [f32],
    mut g_avg: Option<&mut [f32]>,
    mut u: Option<&mut [f32]>,
    config: &Rmsprop,
) -> Result<(), Error> {
    config.check_optional(g_avg.is_some(), u.is_some())?;
    config.check_at(1)?;
    let states = [("v", Some(&*v)), ("g_avg", g_avg.as_deref()), ("u", u.as_deref())];
    for (argument, array) in [("g", Some(g))].into_iter().chain(states) {
        check_length(argument, array.map_or(w.len(), <[f32]>::len), w.len())?;
    }
    let (lr, eps, momentum) = (config.lr as f32, config.eps as f32, config.momentum as f32);
    let (alpha, fresh) = (config.alpha as f32, (1.0 - config.alpha) as f32);
    for i in 0..w.len() {
        let (w_i, g_i) = decayed(w[i], g[i], config.decay, config.weight_decay, config.lr);
        v[i] = alpha * state(v[i]) + fresh * g_i * g_i;
        let mut variance = v[i];
        if let Some(g_avg) = &mut g_avg {
            g_avg[i] = alpha * state(g_avg[i]) + fresh * g_i;
            variance = max(variance - g_avg[i] * g_avg[i], 0.0);
        }
        let r = variance.sqrt() + eps;
        if let Some(u) = &mut u {
            u[i] = momentum * state(u[i]) + g_i / r;
            w[i] = w_i - lr * u[i];
        } else {
            w[i] = w_i - (lr * g_i) / r;
        }
    }
    Ok(())
}

/// `m = β1·m + (1−β1)·g; v = β2·v + ((1−β2)·g)·g; w −= (a·m)/(√v·k + ε)`, `a = η/c1`, `k = 1/√c2`
///
/// With `beta1` 0 there is no `m`, and `g` takes its place.
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
    let mut first = first_moment(m, config.beta1)?;
    match &first {
        Some(m) => check(config, t, w, g, [&**m, &*v])?,
        None => check(config, t, w, g, [v])?,
    }
    let Adam { lr, beta1, beta2, eps, .. } = *config;
    let (a, k) = bias_corrected(config, t);
    let (fresh1, fresh2) = ((1.0 - beta1) as f32, (1.0 - beta2) as f32);
    let (beta1, beta2, eps) = (beta1 as f32, beta2 as f32, eps as f32);
    for i in 0..w.len() {
        let (w_i, g_i) = decayed(w[i], g[i], config.decay, config.weight_decay, lr);
        let mut m_i = g_i;
        if let Some(m) = &mut first {
            m_i = beta1 * state(m[i]) + fresh1 * g_i;
            m[i] = m_i;
        }
        v[i] = beta2 * state(v[i]) + fresh2 * g_i * g_i;
        w[i] = w_i - (a * m_i) / (v[i].sqrt() * k + eps);
    }
    Ok(())
}

/// Adam with decoupled weight decay: `w` times `1 − η·λ` first.
///
/// Loshchilov & Hutter, *Decoupled Weight Decay Regularization*, 2019. Arguments and errors as
/// [`crate::adamw_step`].
pub fn adamw_step(
    w: &mut [f32],
    g: &[f32],
    m: &mut [f32],
    v: &mut [f32],
    t: u64,
    config: &Adamw,
) -> Result<(), Error> {
    adam_step(w, g, m, v, t, &config.adam())
}

/// `m`, `v` as Adam; `v_max = max(v_max, v); w −= (a·m)/(√v_max·k + ε)`
///
/// Reddi, Kale & Kumar, *On the Convergence of Adam and Beyond*, 2018. Arguments and errors as
/// [`crate::amsgrad_step`].
pub fn amsgrad_step(
    w: &mut [f32],
    g: &[f32],
    m: &mut [f32],
    v: &mut [f32],
    v_max: &mut [f32],
    t: u64,
    config: &Adam,
) -> Result<(), Error> {
    check(&Amsgrad(*config), t, w, g, [m, v, v_max])?;
    let Adam { lr, beta1, beta2, eps, .. } = *config;
    let (a, k) = bias_corrected(config, t);
    let (fresh1, fresh2) = ((1.0 - beta1) as f32, (1.0 - beta2) as f32);
    let (beta1, beta2, eps) = (beta1 as f32, beta2 as f32, eps as f32);
    for i in 0..w.len() {
        let (w_i, g_i) = decayed(w[i], g[i], config.decay, config.weight_decay, lr);
        m[i] = beta1 * state(m[i]) + fresh1 * g_i;
        v[i] = beta2 * state(v[i]) + fresh2 * g_i * g_i;
        v_max[i] = max(state(v_max[i]), v[i]);
        w[i] = w_i - (a * m[i]) / (v_max[i].sqrt() * k + eps);
    }
    Ok(())
}

/// Adam's `(a, k)` at step `t`: `a = η/c1`, `k = 1/√c2`.
fn bias_corrected(config: &Adam, t: u64) -> (f32, f32) {
    let (c1, c2) = match config.bias_correction {
        BiasCorrection::Step => (1.0 - powers([config.beta1], t)[0], 1.0 - powers([config.beta2], t)[0]),
        BiasCorrection::Constant => (1.0 - config.beta1, 1.0 - config.beta2),
        BiasCorrection::None => (1.0, 1.0),
    };
    ((config.lr / c1) as f32, (1.0 / c2.sqrt()) as f32)
}

/// `m = β1·m + (1−β1)·g; u = max(β2·u, |g| + ε); w −= (a·m)/u`, `a = η/(1−β1^t)`
///
/// Kingma & Ba, *Adam: A Method for Stochastic Optimization*, 2014, section 7.1, with ε as in PyTorch.
/// Arguments and errors as [`crate::adamax_step`].
pub fn adamax_step(
    w: &mut [f32],
    g: &[f32],
    m: &mut [f32],
    u: &mut [f32],
    t: u64,
    config: &Adamax,
) -> Result<(), Error> {
    check(config, t, w, g, [m, u])?;
    let a = (config.lr / (1.0 - powers([config.beta1], t)[0])) as f32;
    let (beta1, fresh1) = (config.beta1 as f32, (1.0 - config.beta1) as f32);
    let (beta2, eps) = (config.beta2 as f32, config.eps as f32);
    for i in 0..w.len() {
        let (w_i, g_i) = decayed(w[i], g[i], config.decay, config.weight_decay, config.lr);
        m[i] = beta1 * state(m[i]) + fresh1 * g_i;
        u[i] = max(beta2 * state(u[i]), g_i.abs() + eps);
        w[i] = w_i - (a * m[i]) / u[i];
    }
    Ok(())
}

/// `m`, `v` as Adam; `r = √(v·(1/c2)) + ε; w −= (a·g)/r; w −= (b·m)/r` with `c2 = 1−β2^t`,
/// `μ_t = β1·(1 − ½·0.96^(t·ψ))`, `Π = μ_1·…·μ_t`, `a = η·(1−μ_t)/(1−Π)`, `b = η·μ_(t+1)/(1−Π·μ_(t+1))`
///
/// Dozat, *Incorporating Nesterov Momentum into Adam*, 2016. Arguments and errors as
/// [`crate::nadam_step`].
pub fn nadam_step(
    w: &mut [f32],
    g: &[f32],
    m: &mut [f32],
    v: &mut [f32],
    t: u64,
    config: &Nadam,
) -> Result<(), Error> {
    check(config, t, w, g, [m, v])?;
    let Nadam { lr, beta1, beta2, eps, .. } = *config;
    let [mu, next_mu, product] = momentum_product(beta1, config.momentum_decay, t);
    let a = (lr * (1.0 - mu) / (1.0 - product)) as f32;
    let b = (lr * next_mu / (1.0 - product * next_mu)) as f32;
    let inverse_c2 = (1.0 / (1.0 - powers([beta2], t)[0])) as f32;
    let (fresh1, fresh2) = ((1.0 - beta1) as f32, (1.0 - beta2) as f32);
    let (beta1, beta2, eps) = (beta1 as f32, beta2 as f32, eps as f32);
    for i in 0..w.len() {
        let (w_i, g_i) = decayed(w[i], g[i], config.decay, config.weight_decay, lr);
        m[i] = beta1 * state(m[i]) + fresh1 * g_i;
        v[i] = beta2 * state(v[i]) + fresh2 * g_i * g_i;
        let r = (v[i] * inverse_c2).sqrt() + eps;
        w[i] = w_i - (a * g_i) / r;
        w[i] -= (b * m[i]) / r;
    }
    Ok(())
}

/// `w −= η·sign(β1·m + (1−β1)·g)` with `sign(0) = 0`; `m = β2·m + (1−β2)·g`
///
/// Chen et al., *Symbolic Discovery of Optimization Algorithms*, 2023. Arguments and errors as
/// [`crate::lion_step`].
pub fn lion_step(w: &mut [f32], g: &[f32], m: &mut [f32], config: &Lion) -> Result<(), Error> {
    check(config, 1, w, g, [m])?;
    let lr = config.lr as f32;
    let (beta1, fresh1) = (config.beta1 as f32, (1.0 - config.beta1) as f32);
    let (beta2, fresh2) = (config.beta2 as f32, (1.0 - config.beta2) as f32);
    for i in 0..w.len() {
        let (w_i, g_i) = decayed(w[i], g[i], config.decay, config.weight_decay, config.lr);
        let m_i = state(m[i]);
        w[i] = w_i - lr * sign(beta1 * m_i + fresh1 * g_i);
        m[i] = beta2 * m_i + fresh2 * g_i;
    }
    Ok(())
}

/// `m = γ·m + (1−γ)·g; w −= η·sign(m)` with `sign(0) = 0`
///
/// Bernstein et al., *signSGD: Compressed Optimisation for Non-Convex Problems*, 2018. Arguments and
/// errors as [`crate::signum_step`].
pub fn signum_step(w: &mut [f32], g: &[f32], m: &mut [f32], config: &Signum) -> Result<(), Error> {
    check(config, 1, w, g, [m])?;
    let lr = config.lr as f32;
    let (momentum, fresh) = (config.momentum as f32, (1.0 - config.momentum) as f32);
    for i in 0..w.len() {
        let (w_i, g_i) = decayed(w[i], g[i], config.decay, config.weight_decay, config.lr);
        m[i] = momentum * state(m[i]) + fresh * g_i;
        w[i] = w_i - lr * sign(m[i]);
    }
    Ok(())
}

/// `m`, `v` as Adam; with `ρ∞ = 2/(1−β2) − 1` and `ρ = ρ∞ − ((2·t)·β2^t)/c2`, if `ρ > 5`:
/// `w −= (a·m)/(√v + ε)`, `a = (η/c1)·(r·√c2)`, `r = √((((ρ−4)·(ρ−2))·ρ∞)/(((ρ∞−4)·(ρ∞−2))·ρ))`, else
/// `w −= a·m`, `a = η/c1`.
///
/// Liu et al., *On the Variance of the Adaptive Learning Rate and Beyond*, 2019, with 5 where that has 4,
/// as in PyTorch. Arguments and errors as [`crate::radam_step`].
pub fn radam_step(
    w: &mut [f32],
    g: &[f32],
    m: &mut [f32],
    v: &mut [f32],
    t: u64,
    config: &Radam,
) -> Result<(), Error> {
    check(config, t, w, g, [m, v])?;
    let Radam { lr, beta1, beta2, eps, .. } = *config;
    let beta2_t = powers([beta2], t)[0];
    let (c1, c2) = (1.0 - powers([beta1], t)[0], 1.0 - beta2_t);
    let rho_inf = 2.0 / (1.0 - beta2) - 1.0;
    let rho = rho_inf - 2.0 * t as f64 * beta2_t / c2;
    let r = ((rho - 4.0) * (rho - 2.0) * rho_inf / ((rho_inf - 4.0) * (rho_inf - 2.0) * rho)).sqrt();
    let a = (if rho > 5.0 { lr / c1 * (r * c2.sqrt()) } else { lr / c1 }) as f32;
    let (fresh1, fresh2) = ((1.0 - beta1) as f32, (1.0 - beta2) as f32);
    let (beta1, beta2, eps) = (beta1 as f32, beta2 as f32, eps as f32);
    for i in 0..w.len() {
        let (w_i, g_i) = decayed(w[i], g[i], config.decay, config.weight_decay, lr);
        m[i] = beta1 * state(m[i]) + fresh1 * g_i;
        v[i] = beta2 * state(v[i]) + fresh2 * g_i * g_i;
        w[i] = if rho > 5.0 { w_i - (a * m[i]) / (v[i].sqrt() + eps) } else { w_i - a * m[i] };
    }
    Ok(())
}

/// With `a = 1/η` and `r = √s`: `s += g·g; z += g − ((√s − r)·a)·w;`
/// `w = (sign(z)·λ1 − z)/((β + √s)·a + λ2)`, but 0 where `|z| ≤ λ1`.
///
/// McMahan et al., *Ad Click Prediction: a View from the Trenches*, 2013. Arguments and errors as
/// [`crate::ftrl_step`].
pub fn ftrl_step(
    w: &mut [f32],
    g: &[f32],
    z: &mut [f32],
    s: &mut [f32],
    config: &Ftrl,
) -> Result<(), Error> {
    check(config, 1, w, g, [z, s])?;
    let a = (1.0 / config.lr) as f32;
    let (beta, l1, l2) = (config.beta as f32, config.l1 as f32, config.l2 as f32);
    for i in 0..w.len() {
        let (w_i, g_i) = decayed(w[i], g[i], Decay::L2, config.weight_decay, config.lr);
        let r = state(s[i]).sqrt();
        s[i] = state(s[i]) + g_i * g_i;
        z[i] = state(z[i]) + (g_i - (s[i].sqrt() - r) * a * w_i);
        let is_zero = z[i].abs() <= l1;
        w[i] = if is_zero { 0.0 } else { (sign(z[i]) * l1 - z[i]) / ((beta + s[i].sqrt()) * a + l2) };
    }
    Ok(())
}

/// One row: `s += mean(g·g); r = η/(√s + ε); w −= r·g`. The mean is in `f64`, added up in the order that
/// [`crate::rowwise_adagrad_step`] documents. Arguments and errors are those of that function.
///
/// Duchi, Hazan & Singer, *Adaptive Subgradient Methods for Online Learning and Stochastic Optimization*,
/// 2011; with one state for a row as in FBGEMM and TorchRec.
pub fn rowwise_adagrad_step(
    w: &mut [f32],
    g: &[f32],
    s: &mut f32,
    config: &RowwiseAdagrad,
) -> Result<(), Error> {
    check_length("g", g.len(), w.len())?;
    config.check_at(1)?;
    if w.is_empty() {
        return Ok(());
    }
    let (lr, eps) = (config.lr as f32, config.eps as f32);
    let decayed = |w, g| decayed(w, g, config.decay, config.weight_decay, config.lr);
    let mut sums = [0.0; 32];
    for i in 0..w.len() {
        let (_, g_i) = decayed(w[i], g[i]);
        sums[i % 32] += f64::from(g_i) * f64::from(g_i);
    }
    *s = state(*s) + (pairwise(&sums) / w.len() as f64) as f32;
    let rate = lr / (s.sqrt() + eps);
    for i in 0..w.len() {
        let (w_i, g_i) = decayed(w[i], g[i]);
        w[i] = w_i - rate * g_i;
    }
    Ok(())
}

/// A weight and its gradient with weight decay λ applied, which at λ = 0 is no arithmetic at all.
/// L2: `g += λ·w`. Decoupled (Loshchilov & Hutter, *Decoupled Weight Decay Regularization*, 2019):
/// `w *= 1 − η·λ`.
fn decayed(w: f32, g: f32, decay: Decay, weight_decay: f64, lr: f64) -> (f32, f32) {
    match decay {
        _ if weight_decay as f32 == 0.0 => (w, g),
        Decay::L2 => (w, g + weight_decay as f32 * w),
        Decay::Decoupled => (w * (1.0 - lr * weight_decay) as f32, g),
    }
}

/// A state as a step reads it: a subnormal is `+0`.
fn state(x: f32) -> f32 {
    if x.is_subnormal() || x == 0.0 { 0.0 } else { x }
}

/// The larger one; NaN if either is, which `f32::max` would hide.
fn max(a: f32, b: f32) -> f32 {
    if a.is_nan() || a > b {
        a
    } else if b.is_nan() || a < b {
        b
    } else {
        a
    }
}

/// 1, −1 or `+0`; a NaN stays one. (`f32::signum` has no zero.)
fn sign(x: f32) -> f32 {
    if x > 0.0 {
        1.0
    } else if x < 0.0 {
        -1.0
    } else {
        x.abs()
    }
}
