//! How a block of states is held in fewer bits: plain loops over arrays of fixed length, which the compiler
//! vectorizes for the instruction set that they are inlined into. Nothing in them could be rounded in two ways.

use super::{
    BLOCK, Kind,
    random::{HALF, Words},
};

/// Exponent and mantissa of a float.
const MAGNITUDE: u32 = 0x7fff_ffff;
const SIGN: u32 = 0x8000_0000;
const INFINITY: u32 = 0x7f80_0000;
const LEAST_NORMAL: u32 = 0x0080_0000;

/// The exponent field of the largest finite floats.
const LARGEST_SCALE: u8 = 254;

/// Rounding noise, added to a float's bits before the low bits are cut off. Elements `i` and `i + 32` share one random word:
/// the first state uses its high bits for `i` and its low bits for `i + 32`, the second state the other way round.
#[derive(Clone, Copy)]
pub(super) struct Dither<'a> {
    upper: &'a Words,
    lower: &'a Words,
    middle: &'a Words,
}

impl<'a> Dither<'a> {
    pub fn random(words: &'a Words) -> Self {
        Self { upper: words, lower: words, middle: words }
    }

    /// `count` bits for state `k` of element `i`: the upper ones for the first state in the first half of the block.
    #[inline(always)]
    fn of_state(&self, k: usize, count: u32, second_half: bool, i: usize) -> u32 {
        if (k == 0) != second_half {
            self.upper[i] >> (32 - count)
        } else {
            self.lower[i] & ((1 << count) - 1)
        }
    }

    /// 16 bits for each weight, from the middle of its word: hardly any of them decide about a state, too.
    #[inline(always)]
    pub fn of_weights(&self) -> [u32; BLOCK] {
        let mut below = [0; BLOCK];
        let (first, second) = below.split_at_mut(HALF);
        for i in 0..HALF {
            first[i] = self.middle[i] >> 8 & 0xffff;
            second[i] = first[i];
        }
        below
    }
}

/// Four bytes of codes, of elements that are far apart: then no vector is ever cut or put together.
pub(super) type Quad = [u8; 4];

/// So many quads.
pub(super) trait Quads: Copy + Send + 'static {
    const ZERO: Self;

    fn of(bytes: &[u8]) -> &[Self];

    fn of_mut(bytes: &mut [u8]) -> &mut [Self];

    fn quads(all: &[Self]) -> &[Quad];
}

impl<const L: usize> Quads for [Quad; L] {
    const ZERO: Self = [[0; 4]; L];

    fn of(bytes: &[u8]) -> &[Self] {
        bytes.as_chunks().0.as_chunks().0
    }

    fn of_mut(bytes: &mut [u8]) -> &mut [Self] {
        bytes.as_chunks_mut().0.as_chunks_mut().0
    }

    #[inline(always)]
    fn quads(all: &[Self]) -> &[Quad] {
        all.as_flattened()
    }
}

/// The codes of a block for one state; zeros for a block of zeros.
pub(super) trait Code: Quads {
    /// Has a block a scale for each state?
    const SCALED: bool;

    /// Rounds to nearest, ties away from zero.
    const NEAREST: Dither<'static>;

    fn decode(&self, kind: Kind, scale: u8, x: &mut [f32; BLOCK]);

    /// Encodes state `k`, and gives the scale.
    fn encode(&mut self, kind: Kind, k: usize, x: &mut [f32; BLOCK], dither: &Dither) -> u8;
}

/// Half of what is dropped, wherever the bits are taken from.
const fn nearest(lower: &'static Words) -> Dither<'static> {
    Dither { upper: &[1 << 31; HALF], lower, middle: &[1 << 23; HALF] }
}

/// The upper halves of floats.
pub(super) type Bf16 = [Quad; HALF];

impl Code for Bf16 {
    const SCALED: bool = false;
    const NEAREST: Dither<'static> = nearest(&[1 << 15; HALF]);

    #[inline(always)]
    fn decode(&self, _: Kind, _: u8, x: &mut [f32; BLOCK]) {
        for (i, &quad) in self.iter().enumerate() {
            let quad = u32::from_le_bytes(quad);
            x[i] = f32::from_bits(quad << 16);
            x[HALF + i] = f32::from_bits(quad & 0xffff_0000);
        }
    }

    #[inline(always)]
    fn encode(&mut self, _: Kind, k: usize, x: &mut [f32; BLOCK], dither: &Dither) -> u8 {
        // Encode into a local: the compiler cannot prove that `self` and `dither` do not alias.
        let mut quads = Self::ZERO;
        for (i, quad) in quads.iter_mut().enumerate() {
            let rounded = |second_half: bool| {
                let x = x[HALF * usize::from(second_half) + i];
                let x = if x.is_nan() { f32::NAN } else { x };
                x.to_bits().wrapping_add(dither.of_state(k, 16, second_half, i))
            };
            *quad = (rounded(false) >> 16 | rounded(true) & 0xffff_0000).to_le_bytes();
        }
        *self = quads;
        0
    }
}

#[inline(always)]
pub(super) fn widened(x: u16) -> f32 {
    f32::from_bits(u32::from(x) << 16)
}

/// bfloat16 with these 16 bits added before the lower ones are dropped. A NaN must have none of those, or it may become
/// a number.
#[inline(always)]
pub(super) fn narrowed(x: f32, below: u32) -> u16 {
    (x.to_bits().wrapping_add(below) >> 16) as u16
}

/// How many elements of a block the first bytes of its quads are for.
const QUARTER: usize = BLOCK / 4;

/// Bytes, with a power of two for each block: floats of three bits of mantissa. What is not negative has five bits
/// of exponent: no zero but in a block of zeros, because an element whose v were rounded to zero would be divided by
/// it. What has a sign has four, and an even spacing next to zero, as subnormal floats have.
pub(super) type Bits8 = [Quad; QUARTER];

impl Code for Bits8 {
    const SCALED: bool = true;
    const NEAREST: Dither<'static> = nearest(&[1 << (DROPPED - 1); HALF]);

    #[inline(always)]
    fn decode(&self, kind: Kind, scale: u8, x: &mut [f32; BLOCK]) {
        let least = least(kind, scale);
        for (i, &quad) in self.iter().enumerate() {
            let quad = u32::from_le_bytes(quad);
            for part in 0..4 {
                let code = quad >> (8 * part);
                x[QUARTER * part + i] = match kind {
                    Kind::NonNegative => f32::from_bits(least + ((code & 0xff) << DROPPED)),
                    Kind::Signed => {
                        let above = f32::from_bits(least + ((code & 0x7f) << DROPPED));
                        let magnitude = above - f32::from_bits(least);
                        f32::from_bits(magnitude.to_bits() | code << 24 & SIGN)
                    }
                };
            }
        }
    }

    /// What code 0 stands for is taken from all codes at once, byte by byte.
    #[inline(always)]
    fn encode(&mut self, kind: Kind, k: usize, x: &mut [f32; BLOCK], dither: &Dither) -> u8 {
        let scale = scale(kind, x);
        if scale == 0 {
            *self = Self::ZERO;
            return 0;
        }
        let least = least(kind, scale);
        let mut quads = Self::ZERO;
        for (i, bytes) in quads.iter_mut().enumerate() {
            // Wrapping, though nothing wraps: a check for that would not be vectorized.
            let mut quad = 0;
            for part in 0..4 {
                let x = x[QUARTER * part + i];
                let below = dither.of_state(k, DROPPED, part >= 2, QUARTER * (part % 2) + i);
                quad |= match kind {
                    Kind::NonNegative => x.to_bits().max(least).wrapping_add(below) >> DROPPED & 0xff,
                    Kind::Signed => {
                        let above = x.abs() + f32::from_bits(least);
                        above.to_bits().wrapping_add(below) >> DROPPED & 0x7f
                            | (x.to_bits() & SIGN) >> 24
                    }
                } << (8 * part);
            }
            *bytes = quad.to_le_bytes();
        }
        let least = (least >> DROPPED) as u8;
        for code in quads.as_flattened_mut() {
            *code = match kind {
                Kind::NonNegative => code.wrapping_sub(least),
                Kind::Signed => code.wrapping_sub(least) & 0x7f | *code & 0x80,
            };
        }
        *self = quads;
        scale
    }
}

/// How many of a float's lower bits an eight-bit code lacks.
const DROPPED: u32 = 20;

/// The exponent field of a block's largest magnitude, or of the next power of two where that might be rounded up
/// beyond the largest code; 0 if all are zero or subnormal. Changes values that have no code of their own: every NaN
/// becomes the same one, what should have no sign loses it, and where no power of two follows that is finite, larger
/// values become the largest finite code. (Rounded to infinity instead, one of them would spoil its block for good.)
#[inline(always)]
fn scale(kind: Kind, x: &mut [f32; BLOCK]) -> u8 {
    let magnitude = match kind {
        Kind::NonNegative => u32::MAX,
        Kind::Signed => MAGNITUDE,
    };
    let largest_of =
        |x: &[f32; BLOCK]| x.iter().fold(0, |largest, x| largest.max(x.to_bits() & magnitude));
    let mut largest = largest_of(x);
    if largest > INFINITY {
        for x in x.iter_mut() {
            *x = if x.is_nan() { f32::NAN } else { *x };
            if let Kind::NonNegative = kind {
                *x = x.abs();
            }
        }
        largest = largest_of(x);
    }
    if largest < INFINITY && largest + (2 << DROPPED) >= INFINITY {
        let lost = match kind {
            Kind::NonNegative => 0.0,
            Kind::Signed => f32::from_bits(least(kind, LARGEST_SCALE)),
        };
        let most = f32::from_bits(INFINITY - (1 << DROPPED)) - lost;
        for x in x.iter_mut() {
            *x = x.clamp(-most, most);
        }
        return LARGEST_SCALE;
    }
    if largest < LEAST_NORMAL { 0 } else { ((largest + (2 << DROPPED)) >> 23) as u8 }
}

/// The bits of what code 0 stands for: the least value, or what is taken from it again. A block of zeros has none.
#[inline(always)]
fn least(kind: Kind, scale: u8) -> u32 {
    let exponents = match kind {
        Kind::NonNegative => 31,
        Kind::Signed => 15,
    };
    if scale == 0 { 0 } else { (u32::from(scale).max(exponents + 1) - exponents) << 23 }
}
