//! What is done to gradients before a step: the norm of all together, and scaling and clipping by it.

/// The sum of the squares of a gradient, in `f64`, its additions in the order that
/// [`crate::grad_squares`] documents.
pub fn squares(g: &[f32]) -> f64 {
    let mut total = 0.0;
    for block in g.chunks(4096) {
        let mut sums = [0.0; 32];
        for (i, &g_i) in block.iter().enumerate() {
            sums[i % 32] += f64::from(g_i) * f64::from(g_i);
        }
        total += pairwise(&sums);
    }
    total
}

pub(super) fn pairwise(sums: &[f64]) -> f64 {
    match sums {
        [sum] => *sum,
        _ => pairwise(&sums[..sums.len() / 2]) + pairwise(&sums[sums.len() / 2..]),
    }
}

/// What gradients are to be multiplied by: `grad_scale·min(1, max_norm/(norm + 1e-6))`, rounded to
/// `f32`, where `norm` is `|grad_scale|·√sum` and `sum` that of the squares of all gradients together. A
/// `max_norm` of 0 is no clipping. The minimum of a NaN and a number is NaN.
///
/// Pascanu, Mikolov & Bengio, *On the difficulty of training recurrent neural networks*, 2013.
pub fn applied_scale(sum: f64, grad_scale: f64, max_norm: f64) -> f32 {
    if max_norm == 0.0 {
        return grad_scale as f32;
    }
    let norm = sum.sqrt() * grad_scale.abs();
    let clip = max_norm / (norm + 1e-6);
    (grad_scale * if clip > 1.0 { 1.0 } else { clip }) as f32
}
