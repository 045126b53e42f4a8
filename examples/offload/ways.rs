//! The same step two ways: in one call, and in passes over all tensors, one after another.

use std::time::{Duration, Instant};

use downhill::{Adamw, Error, Extras, Group, Tensor, Threads, grad_squares, step};
use half::bf16;
use pulp::Arch;
use rayon::prelude::*;

use crate::model::{Arrays, LOSS_SCALE, Model};

const MAX_NORM: f64 = 1.0;
const GRAD_SCALE: f64 = 1.0 / LOSS_SCALE;

/// What the passes do, and the bytes that they read and write for a parameter.
pub const PASSES: [(&str, usize); 4] = [
    ("norm of the bf16 gradients", 2),
    ("gradients to f32, unscaled and clipped", 6),
    ("AdamW in f32", 28),
    ("weights to bf16", 6),
];

/// Of the call: the gradients twice, since a norm is needed; weights and states read and written; the
/// copy.
pub const CALL_BYTES: usize = 30;

/// The rule for what decays, and for what does not.
fn rules() -> [Adamw; 2] {
    let decayed = Adamw { lr: 6e-4, beta2: 0.95, weight_decay: 0.1, ..Adamw::default() };
    [decayed, Adamw { weight_decay: 0.0, ..decayed }]
}

/// Everything in one call. Was it not skipped?
pub fn one_call(model: &mut Model, t: u64, threads: Threads<'_>) -> Result<bool, Error> {
    let extras =
        Extras { grad_scale: GRAD_SCALE, max_norm: MAX_NORM, skip_nonfinite: true, ..Extras::default() };
    with_groups(model, t, Arrays::tensor, |groups| step(groups, &extras, threads))
        .map(|report| !report.skipped)
}

/// Calls `f` with the two groups, whose tensors are made by `tensor`.
fn with_groups<T>(
    model: &mut Model,
    t: u64,
    tensor: impl Fn(&mut Arrays) -> Tensor<'_>,
    f: impl FnOnce(&mut [Group<'_, '_>]) -> T,
) -> T {
    let [decayed, not_decayed] = rules();
    let mut matrices: Vec<Tensor> = model.matrices.iter_mut().map(&tensor).collect();
    let mut vectors: Vec<Tensor> = model.vectors.iter_mut().map(&tensor).collect();
    f(&mut [Group::new(&decayed, t, &mut matrices), Group::new(&not_decayed, t, &mut vectors)])
}

/// The passes of one step, with what each took. None if it was skipped.
///
/// The norm and AdamW are this library's own, and the two conversions are compiled for this CPU: what
/// the call can gain is only what it saves in memory traffic. That the norm comes first, so that
/// unscaling and clipping are one multiplication, is the best that passes can do.
pub fn passes(model: &mut Model, t: u64, threads: Threads<'_>) -> Result<Option<[Duration; 4]>, Error> {
    let mut watch = Stopwatch(Instant::now());
    let sums = with_groups(model, t, Arrays::tensor, |groups| grad_squares(groups, threads))?;
    let norm = sums.iter().sum::<f64>().sqrt() * GRAD_SCALE;
    let norm_time = watch.lap();
    if !norm.is_finite() {
        return Ok(None);
    }
    let scale = (GRAD_SCALE * (MAX_NORM / (norm + 1e-6)).min(1.0)) as f32;
    let gradients = model.tensors().flat_map(|arrays| parts(&arrays.g, &mut arrays.wide_g));
    convert(gradients, threads, |g: bf16| g.to_f32() * scale);
    let widen_time = watch.lap();
    with_groups(model, t, Arrays::wide_tensor, |groups| step(groups, &Extras::default(), threads))?;
    let step_time = watch.lap();
    let weights = model.tensors().flat_map(|arrays| parts(&arrays.w, &mut arrays.model));
    convert(weights, threads, nearest);
    Ok(Some([norm_time, widen_time, step_time, watch.lap()]))
}

struct Stopwatch(Instant);

impl Stopwatch {
    fn lap(&mut self) -> Duration {
        let start = std::mem::replace(&mut self.0, Instant::now());
        self.0 - start
    }
}

type Part<'a, T, U> = (&'a [T], &'a mut [U]);

fn parts<'a, T, U>(from: &'a [T], to: &'a mut [U]) -> impl Iterator<Item = Part<'a, T, U>> {
    const ELEMENTS: usize = 1 << 16;
    from.chunks(ELEMENTS).zip(to.chunks_mut(ELEMENTS))
}

/// One pass, by the caller or by all threads.
fn convert<'a, T: Copy + Sync + 'a, U: Send + 'a>(
    parts: impl Iterator<Item = Part<'a, T, U>>,
    threads: Threads<'_>,
    f: impl Fn(T) -> U + Sync,
) {
    let arch = Arch::new();
    let convert = |(from, to): Part<'_, T, U>| {
        arch.dispatch(|| from.iter().zip(to).for_each(|(&from, to)| *to = f(from)));
    };
    match threads {
        Threads::Caller => parts.for_each(convert),
        _ => parts.collect::<Vec<_>>().into_par_iter().for_each(convert),
    }
}

/// The nearest bfloat16, of two the even one: `bf16::from_f32` without a branch, so that it is
/// vectorized.
#[inline(always)]
fn nearest(x: f32) -> bf16 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
    let bits = if x.is_nan() { bits | 0x0040_0000 } else { rounded };
    bf16::from_bits((bits >> 16) as u16)
}
