//! What the models are made of: an affine map, two activations, two losses, each for one sample.
//!
//! The inner loops run along contiguous rows, and no element takes part in another's sum, so that a
//! compiler can do several at once without reordering anything.

use rand_pcg::{Pcg32, rand_core::Rng};

/// `z = b + Σ x_i·W_i`, where `W_i` is the row of weights that leaves input `i`. Its parameters are the
/// rows of `W` one after another (inputs × outputs), then `b`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Affine {
    pub inputs: usize,
    pub outputs: usize,
}

impl Affine {
    pub fn parameters(self) -> usize {
        self.inputs * self.outputs + self.outputs
    }

    /// `z` starts as `b`; then `z += x_i·W_i` for one input after another.
    pub fn forward(self, w: &[f32], x: &[f32], z: &mut [f32]) {
        let (rows, b) = w.split_at(self.inputs * self.outputs);
        z.copy_from_slice(b);
        for (row, &x_i) in rows.chunks_exact(self.outputs).zip(x) {
            add_multiple(z, x_i, row);
        }
    }

    /// From `d = ∂L/∂z`: `∂L/∂W_i = x_i·d` and `∂L/∂b = d` are added to `g`.
    pub fn backward(self, x: &[f32], d: &[f32], g: &mut [f32]) {
        let (rows, b) = g.split_at_mut(self.inputs * self.outputs);
        for (row, &x_i) in rows.chunks_exact_mut(self.outputs).zip(x) {
            add_multiple(row, x_i, d);
        }
        for (g_k, &d_k) in b.iter_mut().zip(d) {
            *g_k += d_k;
        }
    }

    /// From `d = ∂L/∂z`: `∂L/∂x_i = Σ W_ik·d_k`, for every input.
    pub fn inputs_gradient<'a>(self, w: &'a [f32], d: &'a [f32]) -> impl Iterator<Item = f32> + 'a {
        let rows = w[..self.inputs * self.outputs].chunks_exact(self.outputs);
        rows.map(move |row| row.iter().zip(d).fold(0.0, |sum, (w_k, d_k)| sum + w_k * d_k))
    }

    /// `W` uniform in ±√(6/(inputs + outputs)), `b` zero.
    ///
    /// Glorot & Bengio, *Understanding the difficulty of training deep feedforward neural networks*,
    /// 2010.
    pub fn initialize(self, random: &mut Pcg32, w: &mut Vec<f32>) {
        let bound = (6.0 / (self.inputs + self.outputs) as f64).sqrt() as f32;
        w.extend((0..self.inputs * self.outputs).map(|_| bound * symmetric(random)));
        w.extend((0..self.outputs).map(|_| 0.0));
    }
}

/// `y += a·x`
fn add_multiple(y: &mut [f32], a: f32, x: &[f32]) {
    for (y_k, x_k) in y.iter_mut().zip(x) {
        *y_k += a * x_k;
    }
}

/// Uniform in [−1, 1), from the 24 bits that an `f32` holds exactly.
fn symmetric(random: &mut Pcg32) -> f32 {
    let bits = (random.next_u32() >> 8) as f32;
    bits / (1 << 23) as f32 - 1.0
}

/// What a hidden unit does to the `z` that reaches it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activation {
    /// `h = tanh z`
    #[default]
    Tanh,
    /// `h = z` where `z > 0`, else 0.
    Relu,
}

impl Activation {
    pub(super) fn apply(self, z: f32) -> f32 {
        match self {
            Self::Tanh => libm::tanh(z.into()) as f32,
            // Written so that a NaN passes.
            Self::Relu => {
                if z <= 0.0 {
                    0.0
                } else {
                    z
                }
            }
        }
    }

    /// `∂h/∂z` times `d`, from the `h` that `apply` gave: `d·(1 − h·h)` for tanh.
    pub(super) fn derivative(self, h: f32, d: f32) -> f32 {
        match self {
            Self::Tanh => d * (1.0 - h * h),
            Self::Relu => {
                if h <= 0.0 {
                    0.0
                } else {
                    d
                }
            }
        }
    }
}

/// `L = ½·Σ (y_k − target_k)²`. `y` becomes `∂L/∂y = y − target`.
pub(super) fn squared_error(y: &mut [f32], target: &[f32]) -> f32 {
    let mut sum = 0.0;
    for (y_k, target_k) in y.iter_mut().zip(target) {
        *y_k -= target_k;
        sum += *y_k * *y_k;
    }
    0.5 * sum
}

/// `L = −ln p_class` with `p_k = e^{z_k}/Σ e^{z_j}`. `z` becomes `∂L/∂z`, which is `p`, less 1 at
/// `class`.
///
/// The largest `z` is subtracted first, so that no exponential overflows.
pub(super) fn cross_entropy(z: &mut [f32], class: usize) -> f32 {
    let max = z[largest(z)];
    for z_k in &mut *z {
        *z_k -= max;
    }
    let z_class = z[class];
    let mut sum = 0.0;
    for z_k in &mut *z {
        *z_k = libm::exp((*z_k).into()) as f32;
        sum += *z_k;
    }
    for z_k in &mut *z {
        *z_k /= sum;
    }
    z[class] -= 1.0;
    libm::log(sum.into()) as f32 - z_class
}

/// Where the largest value is, the first of equals.
pub(super) fn largest(z: &[f32]) -> usize {
    let mut best = 0;
    for (k, &z_k) in z.iter().enumerate() {
        if z_k > z[best] {
            best = k;
        }
    }
    best
}
