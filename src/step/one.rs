//! The step of one tensor, of whatever types: by the rule's kernel alone, by the loop that is fused with
//! conversions, or in blocks.

use std::{hint, ops::Range};

use super::blocks::{Mixed, Scratch};
use crate::{
    Gradient, Isa, Optimizer, Tensor, WeightCopy, Weights,
    formats::Key,
    optimizer::{FusedWeights, Step},
    sweep::fusible,
    tensor::{Arrays, Shared, States},
    threads,
};

/// What is the same for all tensors.
#[derive(Clone, Copy)]
pub(super) struct How {
    pub isa: Isa,
    pub scale: f32,
    pub zero_grad: bool,
    /// Is memory to be prefetched?
    pub far: bool,
    pub is_mixed: bool,
}

/// Calls `f` with room for blocks if some are mixed.
pub(super) fn with_scratch(how: &How, f: impl FnOnce(Option<&mut Scratch>)) {
    if how.is_mixed { with_new_scratch(f) } else { f(None) }
}

/// Twice it does not fit into 32 KiB of stack. So it is not moved from where it is made, and only in the
/// frame of this function, which is not part of its caller's.
#[inline(never)]
fn with_new_scratch(f: impl FnOnce(Option<&mut Scratch>)) {
    let mut scratch = Scratch::new();
    f(Some(&mut scratch));
}

/// Steps a tensor, and sets the gradient to zero while it is in cache.
#[inline]
pub(super) fn step_tensor(
    tensor: &mut Tensor<'_>,
    step: &dyn Step,
    config: &dyn Optimizer,
    key: impl FnOnce() -> Key,
    how: &How,
    scratch: Option<&mut Scratch>,
) {
    let far = how.far;
    if let Tensor {
        w: Weights::F32(w),
        g: g @ (Gradient::F32(_) | Gradient::F32Mut(_)),
        state: States::F32(state),
        copy: WeightCopy::Absent,
        ..
    } = tensor
    {
        return match g {
            Gradient::F32Mut(g) if how.zero_grad => step_and_zero(step, w, g, state, far),
            Gradient::F32Mut(g) => step.plain(w, g, state.as_mut_slice(), far),
            Gradient::F32(g) => step.plain(w, g, state.as_mut_slice(), far),
            _ => unreachable!("matched above"),
        };
    }
    let scratch = scratch.expect("the checks have seen that some are mixed");
    let fused = step_fused(tensor, step, how);
    let rest = [0..fused.start, fused.end..tensor.w.len()];
    step_mixed(tensor, rest, step, config, key(), how, scratch);
}

/// Steps the elements that one loop can step, and says which: an empty range if there is no loop for these
/// types, this rule, or this instruction set.
fn step_fused(tensor: &mut Tensor<'_>, step: &dyn Step, how: &How) -> Range<usize> {
    let Tensor { w, g, state: States::F32(state), copy, .. } = tensor else { return 0..0 };
    let aligned = match (&*w, state.as_mut_slice()) {
        (_, [state, ..]) => &**state,
        (Weights::F32(w), []) => &**w,
        _ => &[],
    };
    let all = fusible(w.len(), aligned);
    let mut start = all.start;
    while start < all.end {
        let end = if how.zero_grad { all.end.min(start + threads::GRAIN) } else { all.end };
        let range = start..end;
        let Shared::Bf16(part) = g.as_shared() else { return 0..0 };
        let Some(w) = fused(w, copy, range.clone()) else { return 0..0 };
        if !step.fused(w, &part[range.clone()], state.range(range.clone()).as_mut_slice()) {
            return 0..0;
        }
        if how.zero_grad {
            zero_gradient(g, range);
        }
        start = end;
    }
    all
}

/// Steps parts of a tensor in blocks.
fn step_mixed(
    tensor: &mut Tensor<'_>,
    parts: [Range<usize>; 2],
    step: &dyn Step,
    config: &dyn Optimizer,
    key: Key,
    how: &How,
    scratch: &mut Scratch,
) {
    let mut mixed = Mixed::new(tensor.reborrow(), config.states(), key, how.far);
    for part in parts {
        let mut start = part.start;
        while start < part.end {
            let range = mixed.step_group(how.isa, start..part.end, scratch, step);
            start = range.end;
            if how.zero_grad {
                zero_gradient(mixed.gradient(), range);
            }
        }
    }
}

/// Sets a part of a gradient to zero, while it is in cache.
pub(super) fn zero_gradient(g: &mut Gradient<'_>, range: Range<usize>) {
    match g {
        Gradient::F32Mut(g) => zero(&mut g[range], 0.0),
        Gradient::Bf16Mut(g) => zero(&mut g[range], half::bf16::ZERO),
        Gradient::F16Mut(g) => zero(&mut g[range], half::f16::ZERO),
        // Refused by the checks.
        Gradient::Absent | Gradient::F32(_) | Gradient::Bf16(_) | Gradient::F16(_) => {}
    }
}

/// A plain step over `f32` arrays that zeroes the gradient block by block.
fn step_and_zero(step: &dyn Step, w: &mut [f32], g: &mut [f32], state: &mut Arrays<'_, f32>, far: bool) {
    let mut start = 0;
    while start < w.len() {
        let end = w.len().min(start + threads::GRAIN);
        let mut state = state.range(start..end);
        step.plain(&mut w[start..end], &g[start..end], state.as_mut_slice(), far);
        zero(&mut g[start..end], 0.0);
        start = end;
    }
}

/// Sets a gradient to zero, by a loop and not by `memset`. A user's ThreadSanitizer sees a call of that
/// by a worker, but not the locks by which work reaches it, and reports a race with whoever wrote the
/// gradient.
fn zero<E: Copy>(g: &mut [E], zero: E) {
    g.fill(hint::black_box(zero));
}

/// A range of a tensor's weights and copy, if there is a loop for what these are.
fn fused<'a>(
    w: &'a mut Weights<'_>,
    copy: &'a mut WeightCopy<'_>,
    range: Range<usize>,
) -> Option<FusedWeights<'a>> {
    match (w, copy) {
        (Weights::F32(w), WeightCopy::Absent) => Some(FusedWeights::F32(&mut w[range])),
        (Weights::F32(w), WeightCopy::Bf16(copy)) => {
            Some(FusedWeights::Copied(&mut w[range.clone()], &mut copy[range]))
        }
        (Weights::Split { high, low }, WeightCopy::Absent) => {
            Some(FusedWeights::Split(&mut high[range.clone()], &mut low[range]))
        }
        _ => None,
    }
}
