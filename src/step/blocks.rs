//! Steps tensors whose types are not all `f32`: a few blocks at a time are widened, stepped by the
//! kernel that every step has, and narrowed, while they are in the L1 cache.

use std::{hint, ops::Range};

use half::bf16;

use crate::{
    Gradient, Isa, State, StateKind, States, Tensor, WeightCopy, Weights,
    formats::{
        BLOCK, Key,
        bits8::{Bits8, Kind, decode, encode, of_block},
        narrow::{Narrow, are_usual, join, narrow_nearest, narrow_random, split_all, widen},
        random::{NEAREST, Words, next},
    },
    isa::Kernel,
    lane::Lanes,
    optimizer::Step,
    tensor::{Arrays, MOST_STATES, Shared},
};

/// How many blocks are widened, stepped and narrowed at a time. With more, 32 KiB of stack would no
/// longer do.
const GROUP: usize = 8;

/// The elements of that.
const MOST: usize = GROUP * BLOCK;

/// Floats of a group. Vectors must not cross cache lines: what is stored across two is not at once there
/// to be loaded.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Floats([f32; MOST]);

/// Room for a group as floats. Made once for a chunk: to clear it takes as long as to step a small
/// tensor.
pub(super) struct Scratch {
    w: Floats,
    g: Floats,
    states: [Floats; MOST_STATES],
    words: [Words; GROUP],
}

impl Scratch {
    pub fn new() -> Self {
        let zero = Floats([0.0; MOST]);
        Self { w: zero, g: zero, states: [zero; MOST_STATES], words: [NEAREST; GROUP] }
    }
}

/// States, those in eight bits with codes and scales apart.
enum BlockStates<'a> {
    F32(Arrays<'a, f32>),
    Bf16(Arrays<'a, bf16>),
    Bits8(Bits8<'a>),
}

/// A tensor, or what is between two blocks of it, and how it is rounded.
pub(super) struct Mixed<'a> {
    w: Weights<'a>,
    g: Gradient<'a>,
    states: BlockStates<'a>,
    copy: WeightCopy<'a>,
    /// What the rule's states are.
    kinds: &'static [State],
    key: Key,
    /// Is the memory of what is `f32` to be prefetched? For the rest that is slower than to leave it to the
    /// hardware: as many requests at once as a group needs keep others waiting.
    far: bool,
}

impl<'a> Mixed<'a> {
    pub fn new(tensor: Tensor<'a>, kinds: &'static [State], key: Key, far: bool) -> Self {
        let Tensor { w, g, state, copy, .. } = tensor;
        let states = match state {
            States::F32(arrays) => BlockStates::F32(arrays),
            States::Bf16(arrays) => BlockStates::Bf16(arrays),
            States::Bits8(bytes) => BlockStates::Bits8(Bits8::new(bytes)),
            States::PartOfBits8(part) => BlockStates::Bits8(part),
        };
        Self { w, g, states, copy, kinds, key, far }
    }

    pub fn gradient(&mut self) -> &mut Gradient<'a> {
        &mut self.g
    }

    /// Is there a number to be rounded that random bits decide about?
    fn is_rounded(&self) -> bool {
        matches!(self.w, Weights::Bf16(_) | Weights::F16(_))
            || !matches!(self.states, BlockStates::F32(_))
    }

    /// The index in [`Floats`] of the first element of a group, if that starts at `start`.
    fn offset(&self, start: usize) -> usize {
        if self.is_rounded() { (self.key.skip() + start) % BLOCK } else { 0 }
    }

    /// Steps the first elements of a range, [`MOST`] or fewer, and says which they were. It begins with a
    /// block or with the first element, if anything is rounded at random or in eight bits.
    pub fn step_group(
        &mut self,
        isa: Isa,
        range: Range<usize>,
        scratch: &mut Scratch,
        step: &dyn Step,
    ) -> Range<usize> {
        let offset = self.offset(range.start);
        let range = range.start..range.end.min(range.start + MOST - offset);
        isa.run(Open { part: self, range: range.clone(), offset, scratch });
        self.sweep(range.clone(), offset, scratch, step);
        isa.run(Close { part: self, range: range.clone(), offset, scratch });
        if let BlockStates::Bits8(bytes) = &mut self.states {
            let Scratch { states: wide, words, .. } = scratch;
            let states = self.kinds;
            for (k, wide) in wide.iter_mut().enumerate().take(states.len()) {
                let random = self.key.is_random().then_some(&mut *words);
                isa.run(Encode { bytes, states, k, range: range.clone(), wide, random });
            }
        }
        range
    }

    /// The step itself, on the arrays that are `f32` and on what was widened.
    fn sweep(&mut self, range: Range<usize>, offset: usize, scratch: &mut Scratch, step: &dyn Step) {
        let room = offset..offset + range.len();
        let Scratch { w: wide_w, g: wide_g, states: wide, .. } = scratch;
        let w = match &mut self.w {
            Weights::F32(w) => &mut w[range.clone()],
            _ => &mut wide_w.0[room.clone()],
        };
        let g = match self.g.as_shared() {
            Shared::F32(g) => &g[range.clone()],
            _ => &wide_g.0[room.clone()],
        };
        let states: &mut [&mut [f32]] = match &mut self.states {
            BlockStates::F32(arrays) => {
                return step.plain(w, g, arrays.range(range).as_mut_slice(), self.far);
            }
            _ => &mut wide.each_mut().map(|state| &mut state.0[room.clone()]),
        };
        // What was widened is near.
        step.plain(w, g, &mut states[..self.kinds.len()], false);
    }
}

/// Widens everything that is not `f32`.
struct Open<'a, 'b> {
    part: &'b mut Mixed<'a>,
    range: Range<usize>,
    offset: usize,
    scratch: &'b mut Scratch,
}

impl Kernel for Open<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Lanes>(&mut self, _: S) {
        let Self { part, range, offset, scratch } = self;
        let Mixed { w, g, states, kinds, .. } = &mut **part;
        match w {
            Weights::F32(_) | Weights::Absent(_) => {}
            Weights::Bf16(w) => open(w, range, &mut scratch.w, *offset),
            Weights::F16(w) => open(w, range, &mut scratch.w, *offset),
            Weights::Split { high, low } => {
                join(&high[range.clone()], &low[range.clone()], &mut scratch.w.0[*offset..]);
            }
        }
        match g.as_shared() {
            Shared::F32(_) => {}
            Shared::Bf16(g) => open(g, range, &mut scratch.g, *offset),
            Shared::F16(g) => open(g, range, &mut scratch.g, *offset),
        }
        match states {
            BlockStates::F32(_) => {}
            BlockStates::Bf16(arrays) => {
                for (array, wide) in arrays.as_mut_slice().iter().zip(&mut scratch.states) {
                    open(array, range, wide, *offset);
                }
            }
            BlockStates::Bits8(bytes) => open_codes(bytes, kinds, range, &mut scratch.states),
        }
    }
}

/// Rounds the results back to their types, and writes the copy.
struct Close<'a, 'b> {
    part: &'b mut Mixed<'a>,
    range: Range<usize>,
    offset: usize,
    scratch: &'b mut Scratch,
}

impl Kernel for Close<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Lanes>(&mut self, s: S) {
        let Self { part, range, offset, scratch } = self;
        let (is_rounded, offset) = (part.is_rounded(), *offset);
        let room = offset..offset + range.len();
        let Mixed { w, states, copy, kinds, key, .. } = &mut **part;
        let Scratch { w: wide_w, states: wide, words, .. } = &mut **scratch;
        let mut is_random = false;
        if is_rounded {
            for (words, block) in
                words.iter_mut().zip(blocks_of(&(key.skip() + range.start..key.skip() + range.end)))
            {
                let random = key.words(block);
                is_random = random.is_some();
                *words = random.unwrap_or(NEAREST);
            }
        }
        let stored = match w {
            Weights::Absent(_) => &[],
            Weights::F32(w) => &w[range.clone()],
            Weights::Bf16(w) => {
                let random = is_random.then_some(&mut *words);
                narrow(s, wide_w, offset, &mut w[range.clone()], random, false);
                widen(&w[range.clone()], &mut wide_w.0[offset..]);
                &wide_w.0[room]
            }
            Weights::F16(w) => {
                let random = is_random.then_some(&mut *words);
                narrow(s, wide_w, offset, &mut w[range.clone()], random, false);
                widen(&w[range.clone()], &mut wide_w.0[offset..]);
                &wide_w.0[room]
            }
            Weights::Split { high, low } => {
                split_all(&wide_w.0[offset..], &mut high[range.clone()], &mut low[range.clone()]);
                &wide_w.0[room]
            }
        };
        copy_to(copy, range, stored);
        // Those in eight bits are another kernel's: in this one the compiler would run out of registers.
        if let BlockStates::Bf16(arrays) = states {
            for (k, array) in arrays.as_mut_slice().iter_mut().enumerate() {
                let is_random = is_random && kinds[k].kind != StateKind::Maximum;
                let random = is_random.then_some(&mut *words);
                narrow(s, &wide[k], offset, &mut array[range.clone()], random, true);
            }
        }
    }
}

/// The blocks of a range of elements.
#[inline(always)]
fn blocks_of(range: &Range<usize>) -> Range<usize> {
    range.start / BLOCK..range.end.div_ceil(BLOCK)
}

/// Widens a range of an array.
#[inline(always)]
fn open<E: Narrow>(array: &[E], range: &Range<usize>, wide: &mut Floats, offset: usize) {
    widen(&array[range.clone()], &mut wide.0[offset..offset + range.len()]);
}

/// Narrows floats, to nearest or at random: with these bits, or, if they are for the value before, with
/// the next ones. (Those of all blocks are not made in a loop of their own: the compiler would make
/// those of several blocks side by side, a lane for each.) The first number is `offset` after the first
/// block's start.
#[inline(always)]
fn narrow<S: Lanes, E: Narrow>(
    s: S,
    from: &Floats,
    offset: usize,
    to: &mut [E],
    random: Option<&mut [Words; GROUP]>,
    is_next: bool,
) {
    let Some(words) = random else { return narrow_nearest(&from.0[offset..], to) };
    // For all blocks at once: the largest of the lanes of a vector takes as long as to round the block.
    let is_usual = are_usual::<E>(&from.0[offset..offset + to.len()]);
    let (mut from, mut words) = (from.0.as_chunks::<BLOCK>().0, &mut words[..]);
    let (first, to) = to.split_at_mut(if offset == 0 { 0 } else { to.len().min(BLOCK - offset) });
    if !first.is_empty() {
        narrow_part(s, &from[0], offset, first, &mut words[0], is_next, is_usual);
        (from, words) = (&from[1..], &mut words[1..]);
    }
    let (blocks, rest) = to.as_chunks_mut::<BLOCK>();
    let whole = blocks.len();
    for ((from, to), words) in from.iter().zip(blocks).zip(&mut *words) {
        if is_next {
            *words = next(words);
        }
        narrow_random(s, from, to, hint::black_box(words), is_usual);
    }
    if !rest.is_empty() {
        narrow_part(s, &from[whole], 0, rest, &mut words[whole], is_next, is_usual);
    }
}

/// Narrows less than a block.
#[inline(always)]
fn narrow_part<S: Lanes, E: Narrow>(
    s: S,
    from: &[f32; BLOCK],
    offset: usize,
    to: &mut [E],
    words: &mut Words,
    is_next: bool,
    is_usual: bool,
) {
    if is_next {
        *words = next(words);
    }
    let mut rounded = [E::ZERO; BLOCK];
    narrow_random(s, from, &mut rounded, words, is_usual);
    to.copy_from_slice(&rounded[offset..offset + to.len()]);
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
    bytes: &mut Bits8<'_>,
    states: &[State],
    range: &Range<usize>,
    wide: &mut [Floats; MOST_STATES],
) {
    let (count, blocks) = (states.len(), blocks_of(range));
    let (codes, scales) = bytes.blocks(blocks.clone(), count);
    for (k, state) in states.iter().enumerate() {
        let kind = Kind::of_checked(state);
        // Indices: of `zip`, `skip` and `step_by` together some are left as calls, which end the
        // instruction set.
        for (b, x) in wide[k].0.as_chunks_mut().0[..blocks.len()].iter_mut().enumerate() {
            let place = count * b + k;
            decode(of_block(&codes[place]), kind, scales[place], x);
        }
    }
}

/// Encodes state `k`.
struct Encode<'a, 'b> {
    bytes: &'b mut Bits8<'a>,
    states: &'static [State],
    k: usize,
    range: Range<usize>,
    wide: &'b mut Floats,
    random: Option<&'b mut [Words; GROUP]>,
}

impl Kernel for Encode<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Lanes>(&mut self, _: S) {
        let Self { bytes, states, k, range, wide, random } = self;
        let (count, blocks) = (states.len(), blocks_of(range));
        let (codes, scales) = bytes.blocks(blocks.clone(), count);
        let kind = Kind::of_checked(&states[*k]);
        // What fills the last block up has no part in its scale.
        wide.0[range.len()..range.len().next_multiple_of(BLOCK)].fill(0.0);
        for (b, x) in wide.0.as_chunks_mut().0[..blocks.len()].iter_mut().enumerate() {
            let new = match random {
                Some(words) => {
                    words[b] = next(&words[b]);
                    hint::black_box(&words[b])
                }
                None => &NEAREST,
            };
            let (encoded, new_scale) = encode(kind, x, new);
            let place = count * b + *k;
            codes[place].copy_from_slice(encoded.as_flattened());
            scales[place] = new_scale;
        }
    }
}
