//! The whole step, one tensor and one element after another.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    ops::Range,
};

use half::{bf16, f16};

use super::{
    clip::{applied_scale, squares},
    formats::{self, RandomBits},
};
use crate::{
    Error, Extras, Gradient, Group, NonFinite, Numbering, Optimizer, Report, Rounding, Rows, State,
    StateKind, States, Tensor, WeightCopy, Weights,
    step::{Sizes, check_all},
};

/// [`crate::step()`], as a plain loop: every number is widened to `f32`, the gradient multiplied by the
/// scale, the tensor stepped by the rule's reference, its weights kept within bounds, and every number
/// rounded back to its type.
///
/// # Random rounding
/// A number `x` between two neighbours of its type, the fraction `f` of the way from the one that is
/// nearer to zero to the other, becomes the other if `⌊f·2^16⌋ + r ≥ 2^16`. `r` is one half of a word:
/// the lower one for the first 32 elements of a block of 64, the upper one for the others. The weight's
/// word `x` is a hash of seed, step, block and place in the half block. The next values are the states
/// that are rounded at random, in order, and the next word is `(x ^ x >> 16)·0x9e3779b9` mod 2^32.
///
/// # Eight bits
/// Each state of a block of 64 elements has a scale `s`: the exponent field of the largest magnitude,
/// one more where it is 1.75 times a power of two or larger, 0 where all are zero or subnormal. With
/// `l = max(s − 31, 1)` a code `c` of an average of squares means
/// `2^(l − 127 + ⌊c/8⌋)·(1 + (c mod 8)/8)`. With `l = max(s − 15, 1)` a code of the other states means
/// `2^(l − 127)·(2^⌊c/8⌋·(1 + (c mod 8)/8) − 1)`, and `128 + c` the same below zero. With `s = 0` all
/// codes are 0 and mean 0. To encode, `16·r` is added to an `f32`, of which the lower 20 bits are then
/// dropped; to the nearest code with `r = 2^15`.
///
/// # Rows of a table
/// Each row that is listed is stepped like a tensor of its own, whose elements have the numbers that they
/// have in the table. Gradients of a row that is listed more than once are widened and added up in the
/// order of the list, and then multiplied by the scale.
///
/// # Errors
/// As [`crate::step()`].
pub fn step(groups: &mut [Group<'_, '_>], extras: &Extras) -> Result<Report, Error> {
    check_all(groups, extras, &mut Sizes::default())?;
    let mut report = look(groups, extras);
    if report.skipped {
        return Ok(report);
    }
    let scale = report.applied_scale as f32;
    let (mut place, mut result) = (0, Ok(()));
    for Group { config, t, rounding, numbering, clamp_low, clamp_high, tensors } in groups {
        let clamp = [*clamp_low as f32, *clamp_high as f32];
        tensors.each(&mut |tensor| {
            let number = if *numbering == Numbering::ByPlace { place } else { tensor.first_element };
            place = (place + tensor.w.len() as u64).next_multiple_of(64);
            if let Gradient::Absent = tensor.g {
                return;
            }
            let t = if tensor.t == 0 { *t } else { tensor.t };
            let (around, zero_grad) = ((scale, clamp), extras.zero_grad);
            let done = if tensor.rows.is_some() {
                step_rows(*config, t, around, (*rounding, number), tensor, zero_grad)
            } else {
                let bits = RandomBits::new(*rounding, t, number);
                step_tensor(*config, t, around, &bits, tensor, zero_grad)
            };
            if let Err(error) = done {
                result = Err(error);
            }
            report.tensors_updated += 1;
        });
    }
    result.map(|()| report)
}

/// Norm, scale, and whether to step at all.
fn look(groups: &mut [Group<'_, '_>], extras: &Extras) -> Report {
    let (mut sum, mut nonfinite) = (0.0, None);
    for (group, Group { tensors, .. }) in groups.iter_mut().enumerate() {
        let mut tensor = 0;
        tensors.each(&mut |part| {
            let g = gradient(&part.g);
            sum += squares(&g);
            if let Some(element) = g.iter().position(|g| !g.is_finite()) {
                nonfinite.get_or_insert(NonFinite { group, tensor, element, value: g[element] });
            }
            tensor += 1;
        });
    }
    let sum = extras.norm_squared.unwrap_or(sum);
    let scale = applied_scale(sum, extras.grad_scale, extras.max_norm);
    let looks = extras.grad_norm || extras.skip_nonfinite || extras.max_norm > 0.0;
    let largest = sum.sqrt() * f64::from(scale).abs();
    let is_safe = sum.is_finite() && largest <= f64::from(f32::MAX);
    let skipped = extras.skip_nonfinite && !is_safe;
    Report {
        grad_norm: looks.then(|| sum.sqrt() * extras.grad_scale.abs()),
        applied_scale: if skipped { 0.0 } else { scale.into() },
        skipped,
        tensors_updated: 0,
        nonfinite: nonfinite.filter(|_| skipped && !sum.is_finite()),
    }
}

fn step_tensor(
    config: &dyn Optimizer,
    t: u64,
    (scale, [low, high]): (f32, [f32; 2]),
    bits: &RandomBits,
    Tensor { mut w, mut g, mut state, mut copy, .. }: Tensor<'_>,
    zero_grad: bool,
) -> Result<(), Error> {
    let mut wide_w = weights(&w);
    let n = wide_w.len();
    let mut wide_g = gradient(&g);
    if scale != 1.0 {
        wide_g.iter_mut().for_each(|g| *g *= scale);
    }
    let mut wide_state = states(config, n, &mut state);
    let mut arrays: Vec<&mut [f32]> = wide_state.iter_mut().map(|array| &mut array[..]).collect();
    config.reference_step(&mut wide_w, &wide_g, &mut arrays, t)?;
    for w in &mut wide_w {
        // Not `f32::clamp`, which does not say which zero it gives.
        if *w < low {
            *w = low;
        }
        if *w > high {
            *w = high;
        }
    }
    store_states(config, &wide_state, bits, &mut state);
    store_weights(&wide_w, bits, &mut w);
    store_copy(&weights(&w), &mut copy);
    if zero_grad {
        zero(&mut g);
    }
    Ok(())
}

fn zero(g: &mut Gradient<'_>) {
    match g {
        Gradient::F32Mut(g) => g.fill(0.0),
        Gradient::Bf16Mut(g) => g.fill(bf16::ZERO),
        Gradient::F16Mut(g) => g.fill(f16::ZERO),
        _ => unreachable!("checked before"),
    }
}

fn step_rows(
    config: &dyn Optimizer,
    t: u64,
    around: (f32, [f32; 2]),
    (rounding, number): (Rounding, u64),
    Tensor { mut w, mut g, mut state, mut copy, rows, .. }: Tensor<'_>,
    zero_grad: bool,
) -> Result<(), Error> {
    let Some(Rows { row_length, rows, mut row_t, .. }) = rows else { unreachable!("it has rows") };
    for (row, sum) in sums_of_rows(&gradient(&g), rows, row_length) {
        let t = match &mut row_t {
            None => t,
            Some(row_t) => {
                row_t[row as usize] = row_t[row as usize].saturating_add(1);
                row_t[row as usize]
            }
        };
        let start = row as usize * row_length;
        let range = start..start + row_length;
        let bits = RandomBits::new(rounding, t, number + start as u64);
        let mut tensor = Tensor::new(w.range(range.clone()), &sum[..], States::default());
        tensor.copy = copy.range(range.clone());
        if let States::Bits8(bytes) = &mut state {
            let of_row = bytes_of_row(bytes, range.clone(), config.states().len());
            let mut packed: Vec<u8> = of_row.iter().map(|&byte| bytes[byte]).collect();
            tensor.state = States::from(&mut packed);
            step_tensor(config, t, around, &bits, tensor, false)?;
            of_row.into_iter().zip(packed).for_each(|(place, byte)| bytes[place] = byte);
        } else {
            let of_row = match config.states() {
                [State { kind: StateKind::Row, .. }] => row as usize..row as usize + 1,
                _ => range,
            };
            tensor.state = state.range(of_row, config.states().len());
            step_tensor(config, t, around, &bits, tensor, false)?;
        }
    }
    if zero_grad {
        zero(&mut g);
    }
    Ok(())
}

/// The rows that are listed, each with its gradient: that of its first place in the list, and what is
/// added to it.
fn sums_of_rows(all: &[f32], rows: &[i64], row_length: usize) -> BTreeMap<i64, Vec<f32>> {
    let mut sums = BTreeMap::new();
    for (g, &row) in all.chunks(row_length).zip(rows) {
        match sums.entry(row) {
            Entry::Vacant(place) => {
                place.insert(g.to_vec());
            }
            Entry::Occupied(mut sum) => sum.get_mut().iter_mut().zip(g).for_each(|(sum, g)| *sum += g),
        }
    }
    sums
}

/// Where the states of a range of elements are in the bytes of a table, which are codes and then scales.
fn bytes_of_row(bytes: &[u8], range: Range<usize>, states: usize) -> Vec<usize> {
    let codes = bytes.len() / 65 * 64;
    let blocks = range.start / 64 * states..range.end / 64 * states;
    (64 * blocks.start..64 * blocks.end).chain(codes + blocks.start..codes + blocks.end).collect()
}

fn gradient(g: &Gradient<'_>) -> Vec<f32> {
    match g {
        Gradient::Absent => Vec::new(),
        Gradient::F32(g) => g.to_vec(),
        Gradient::F32Mut(g) => g.to_vec(),
        Gradient::Bf16(g) => g.iter().map(|g| g.to_f32()).collect(),
        Gradient::Bf16Mut(g) => g.iter().map(|g| g.to_f32()).collect(),
        Gradient::F16(g) => g.iter().map(|g| g.to_f32()).collect(),
        Gradient::F16Mut(g) => g.iter().map(|g| g.to_f32()).collect(),
    }
}

fn weights(w: &Weights<'_>) -> Vec<f32> {
    match w {
        Weights::Absent(_) => Vec::new(),
        Weights::F32(w) => w.to_vec(),
        Weights::Bf16(w) => w.iter().map(|w| w.to_f32()).collect(),
        Weights::F16(w) => w.iter().map(|w| w.to_f32()).collect(),
        Weights::Split { high, low } => {
            high.iter().zip(&**low).map(|(&high, &low)| formats::joined(high, low)).collect()
        }
    }
}

fn store_weights(wide: &[f32], bits: &RandomBits, w: &mut Weights<'_>) {
    match w {
        Weights::Absent(_) => {}
        Weights::F32(w) => w.copy_from_slice(wide),
        Weights::Bf16(w) => {
            (0..wide.len()).for_each(|i| w[i] = formats::to_bf16(wide[i], bits.of_weight(i)));
        }
        Weights::F16(w) => {
            (0..wide.len()).for_each(|i| w[i] = formats::to_f16(wide[i], bits.of_weight(i)));
        }
        Weights::Split { high, low } => {
            (0..wide.len()).for_each(|i| (high[i], low[i]) = formats::split(wide[i]));
        }
    }
}

fn store_copy(stored: &[f32], copy: &mut WeightCopy<'_>) {
    match copy {
        WeightCopy::Absent => {}
        WeightCopy::F32(copy) => copy.copy_from_slice(stored),
        WeightCopy::Bf16(copy) => {
            (0..stored.len()).for_each(|i| copy[i] = formats::to_bf16(stored[i], None));
        }
        WeightCopy::F16(copy) => {
            (0..stored.len()).for_each(|i| copy[i] = formats::to_f16(stored[i], None));
        }
    }
}

fn states(config: &dyn Optimizer, n: usize, state: &mut States<'_>) -> Vec<Vec<f32>> {
    match state {
        States::F32(arrays) => arrays.as_mut_slice().iter().map(|array| array.to_vec()).collect(),
        States::Bf16(arrays) => {
            let wide = |array: &&mut [bf16]| array.iter().map(|x| x.to_f32()).collect();
            arrays.as_mut_slice().iter().map(wide).collect()
        }
        States::Bits8(bytes) => {
            let count = config.states().len();
            let kind = |k: usize| config.states()[k].kind;
            (0..count).map(|k| formats::decode(bytes, kind(k), n, count, k)).collect()
        }
        States::PartOfBits8(_) => unreachable!("only threads make one"),
    }
}

fn store_states(config: &dyn Optimizer, wide: &[Vec<f32>], bits: &RandomBits, state: &mut States<'_>) {
    for (k, wide) in wide.iter().enumerate() {
        let kind = config.states()[k].kind;
        // Among those that are rounded at random.
        let place = config.states()[..k].iter().filter(|state| state.kind != StateKind::Maximum).count();
        match state {
            States::F32(arrays) => arrays.as_mut_slice()[k].copy_from_slice(wide),
            States::Bf16(arrays) => {
                for (i, x) in arrays.as_mut_slice()[k].iter_mut().enumerate() {
                    // A maximum keeps whatever was rounded up.
                    let r = if kind == StateKind::Maximum { None } else { bits.of_state(i, place) };
                    *x = formats::to_bf16(wide[i], r);
                }
            }
            States::Bits8(bytes) => {
                formats::encode(wide, bytes, kind, config.states().len(), k, bits);
            }
            States::PartOfBits8(_) => unreachable!("only threads make one"),
        }
    }
}

impl RandomBits {
    /// Those of a tensor whose first element has this number.
    fn new(rounding: Rounding, t: u64, number: u64) -> Self {
        let seed = match rounding {
            Rounding::Stochastic { seed } => Some(seed),
            Rounding::Nearest => None,
        };
        Self { seed, t, number }
    }
}
