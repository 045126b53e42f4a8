//! Steps tensors whose types are not all `f32`: a few blocks at a time are widened, stepped by the kernel that every step
//! has, and narrowed, while they are in the nearest cache.

use std::ops::Range;

use half::bf16;

use super::{
    BLOCK, Key,
    bits8::{Bits8, Kind, decode, encode, of_block},
    narrow::{Narrow, join, narrow_nearest, narrow_random, split_all, widen},
    random::{NEAREST, WEIGHT},
};
use crate::{
    Isa, StateKind,
    isa::Kernel,
    lane::Lanes,
    rule::Step,
    tensor::{Arrays, Gradient, MOST_STATES, Shared, WeightCopy, Weights},
};

/// How many blocks are widened, stepped and narrowed at a time. With more, 32 KiB of stack would no longer do.
const GROUP: usize = 8;

/// The elements of that.
const MOST: usize = GROUP * BLOCK;

/// Floats of a group. Vectors must not cross cache lines: what is stored across two is not at once there to be loaded.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Floats([f32; MOST]);

/// Room for a group as floats. Made once for all that a thread steps: to clear it takes as long as to step a small tensor.
pub(crate) struct Scratch {
    w: Floats,
    g: Floats,
    states: [Floats; MOST_STATES],
}

impl Scratch {
    pub fn new() -> Self {
        let zero = Floats([0.0; MOST]);
        Self { w: zero, g: zero, states: [zero; MOST_STATES] }
    }
}

/// States as the loop over blocks has them.
#[derive(Debug)]
pub(crate) enum BlockStates<'a> {
    F32(Arrays<'a, f32>),
    Bf16(Arrays<'a, bf16>),
    Bits8(Bits8<'a>),
}

/// A tensor, or what is between two blocks of it, and how it is rounded.
#[derive(Debug)]
pub(crate) struct Mixed<'a, 'b> {
    pub w: &'b mut Weights<'a>,
    pub g: &'b Gradient<'a>,
    pub states: &'b mut BlockStates<'a>,
    pub copy: &'b mut WeightCopy<'a>,
    /// What the rule's states are.
    pub kinds: &'static [crate::State],
    /// None to round to nearest.
    pub key: Option<Key>,
    /// The number of the first element.
    pub number: u64,
    /// Is the memory of what is `f32` to be asked for early? For the rest that is slower than to leave it to the hardware: as
    /// many requests at once as a group needs keep others waiting.
    pub far: bool,
}

impl Mixed<'_, '_> {
    /// Steps the elements from `start` on, of which there are at most [`MOST`], and says where it ended.
    pub fn step_group(
        &mut self,
        isa: Isa,
        start: usize,
        scratch: &mut Scratch,
        step: Step<'_>,
    ) -> usize {
        let end = self.w.len().min(start + MOST);
        let range = start..end;
        isa.run(Open { part: self, range: range.clone(), scratch });
        self.sweep(range.clone(), scratch, step);
        isa.run(Close { part: self, range, scratch });
        end
    }

    /// The step itself, on the arrays that are `f32` and on what was widened.
    fn sweep(&mut self, range: Range<usize>, scratch: &mut Scratch, step: Step<'_>) {
        let n = range.len();
        let Scratch { w: wide_w, g: wide_g, states: wide } = scratch;
        let w = match &mut self.w {
            Weights::F32(w) => &mut w[range.clone()],
            _ => &mut wide_w.0[..n],
        };
        let g = match self.g.as_shared() {
            Shared::F32(g) => &g[range.clone()],
            _ => &wide_g.0[..n],
        };
        let states: &mut [&mut [f32]] = match &mut self.states {
            BlockStates::F32(arrays) => {
                let mut states: [&mut [f32]; MOST_STATES] = Default::default();
                let count = arrays.count();
                for (state, array) in states.iter_mut().zip(arrays.as_mut_slice()) {
                    *state = &mut array[range.clone()];
                }
                return step(w, g, &mut states[..count], self.far);
            }
            _ => &mut wide.each_mut().map(|state| &mut state.0[..n]),
        };
        // What was widened is near.
        step(w, g, &mut states[..self.kinds.len()], false);
    }
}

/// Everything that is not `f32`, widened.
struct Open<'a, 'b, 'c> {
    part: &'c mut Mixed<'a, 'b>,
    range: Range<usize>,
    scratch: &'c mut Scratch,
}

impl Kernel for Open<'_, '_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Lanes>(&mut self, _: S) {
        let Self { part, range, scratch } = self;
        let Mixed { w, g, states, kinds, .. } = &mut **part;
        match w {
            Weights::F32(_) | Weights::Absent(_) => {}
            Weights::Bf16(w) => open(w, range, &mut scratch.w),
            Weights::F16(w) => open(w, range, &mut scratch.w),
            Weights::Split { high, low } => {
                join(&high[range.clone()], &low[range.clone()], &mut scratch.w.0);
            }
        }
        match g.as_shared() {
            Shared::F32(_) => {}
            Shared::Bf16(g) => open(g, range, &mut scratch.g),
            Shared::F16(g) => open(g, range, &mut scratch.g),
        }
        match states {
            BlockStates::F32(_) => {}
            BlockStates::Bf16(arrays) => {
                for (array, wide) in arrays.as_mut_slice().iter().zip(&mut scratch.states) {
                    open(array, range, wide);
                }
            }
            BlockStates::Bits8(bytes) => open_codes(bytes, kinds, range, &mut scratch.states),
        }
    }
}

/// And back.
struct Close<'a, 'b, 'c> {
    part: &'c mut Mixed<'a, 'b>,
    range: Range<usize>,
    scratch: &'c mut Scratch,
}

impl Kernel for Close<'_, '_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Lanes>(&mut self, _: S) {
        let Self { part, range, scratch } = self;
        let Mixed { w, states, copy, kinds, key, number, .. } = &mut **part;
        let first_block = (*number + range.start as u64) / BLOCK as u64;
        let random = key.map(|key| (key, first_block));
        match states {
            BlockStates::F32(_) => {}
            BlockStates::Bf16(arrays) => {
                for (k, array) in arrays.as_mut_slice().iter_mut().enumerate() {
                    let random = random.filter(|_| kinds[k].kind != StateKind::Maximum);
                    narrow(&scratch.states[k], &mut array[range.clone()], random, k);
                }
            }
            BlockStates::Bits8(bytes) => close_codes(bytes, kinds, range, &mut scratch.states, random),
        }
        match w {
            Weights::Absent(_) => {}
            Weights::F32(w) => return copy_to(copy, range, &w[range.clone()]),
            Weights::Bf16(w) => {
                narrow(&scratch.w, &mut w[range.clone()], random, WEIGHT);
                // The copy is of what is stored.
                widen(&w[range.clone()], &mut scratch.w.0);
            }
            Weights::F16(w) => {
                narrow(&scratch.w, &mut w[range.clone()], random, WEIGHT);
                widen(&w[range.clone()], &mut scratch.w.0);
            }
            Weights::Split { high, low } => {
                split_all(&scratch.w.0, &mut high[range.clone()], &mut low[range.clone()]);
            }
        }
        copy_to(copy, range, &scratch.w.0[..range.len()]);
    }
}

/// Widens a range of an array.
#[inline(always)]
fn open<E: Narrow>(array: &[E], range: &Range<usize>, wide: &mut Floats) {
    widen(&array[range.clone()], &mut wide.0);
}

/// Narrows floats: at random with a key and the number of the first block, or to nearest.
#[inline(always)]
fn narrow<E: Narrow>(from: &Floats, to: &mut [E], random: Option<(Key, u64)>, value: usize) {
    let Some((key, first_block)) = random else { return narrow_nearest(&from.0, to) };
    for (b, (from, to)) in from.0.as_chunks().0.iter().zip(to.chunks_mut(BLOCK)).enumerate() {
        narrow_random(from, to, &key.words(first_block + b as u64, value));
    }
}

#[inline(always)]
fn copy_to(copy: &mut WeightCopy<'_>, range: &Range<usize>, from: &[f32]) {
    match copy {
        WeightCopy::Absent => {}
        WeightCopy::F32(copy) => copy[range.clone()].copy_from_slice(from),
        WeightCopy::Bf16(copy) => narrow_nearest(from, &mut copy[range.clone()]),
        WeightCopy::F16(copy) => narrow_nearest(from, &mut copy[range.clone()]),
    }
}

#[inline(always)]
fn open_codes(
    bytes: &Bits8<'_>,
    states: &[crate::State],
    range: &Range<usize>,
    wide: &mut [Floats; MOST_STATES],
) {
    let count = states.len();
    let blocks = range.start / BLOCK..range.end.div_ceil(BLOCK);
    let codes = &bytes.codes.as_chunks::<BLOCK>().0[count * blocks.start..count * blocks.end];
    let scales = &bytes.scales[count * blocks.start..count * blocks.end];
    for (k, state) in states.iter().enumerate() {
        let kind = Kind::of(state.kind).unwrap_or(Kind::Signed);
        // Indices: of `zip`, `skip` and `step_by` together some are left as calls, which end the instruction set.
        for (b, x) in wide[k].0.as_chunks_mut().0[..blocks.len()].iter_mut().enumerate() {
            let place = count * b + k;
            decode(of_block(&codes[place]), kind, scales[place], x);
        }
    }
}

#[inline(always)]
fn close_codes(
    bytes: &mut Bits8<'_>,
    states: &[crate::State],
    range: &Range<usize>,
    wide: &mut [Floats; MOST_STATES],
    random: Option<(Key, u64)>,
) {
    let count = states.len();
    let blocks = range.start / BLOCK..range.end.div_ceil(BLOCK);
    let codes = &mut bytes.codes.as_chunks_mut::<BLOCK>().0[count * blocks.start..count * blocks.end];
    let scales = &mut bytes.scales[count * blocks.start..count * blocks.end];
    for (k, state) in states.iter().enumerate() {
        let kind = Kind::of(state.kind).unwrap_or(Kind::Signed);
        // What fills the last block up has no part in its scale.
        wide[k].0[range.len()..range.len().next_multiple_of(BLOCK)].fill(0.0);
        for (b, x) in wide[k].0.as_chunks_mut().0[..blocks.len()].iter_mut().enumerate() {
            let words = match random {
                Some((key, first_block)) => key.words(first_block + b as u64, k),
                None => NEAREST,
            };
            let (encoded, new_scale) = encode(kind, x, &words);
            let place = count * b + k;
            codes[place].copy_from_slice(encoded.as_flattened());
            scales[place] = new_scale;
        }
    }
}
