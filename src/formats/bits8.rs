//! States in eight bits: the code, where the codes are in a tensor's bytes, and the way from `f32` and
//! back. The loops over a block are plain ones over arrays of fixed length, which the compiler
//! vectorizes for the instruction set that they are inlined into. Nothing in them could be rounded in
//! two ways.

use std::ops::Range;

use super::{
    BLOCK, INFINITY, MAGNITUDE, SIGN, check_equal,
    random::{NEAREST, Words},
};
use crate::{Error, Optimizer, State, StateKind, optimizer::check_states};

/// The bits of the least normal `f32`.
const LEAST_NORMAL: u32 = 0x0080_0000;

/// The exponent field of the largest finite floats.
const LARGEST_SCALE: u8 = 254;

/// What a state in eight bits can be.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Signed,
    Squares,
}

impl Kind {
    /// None if the state does not fit.
    pub fn of(kind: StateKind) -> Option<Self> {
        match kind {
            StateKind::Signed => Some(Self::Signed),
            StateKind::Squares => Some(Self::Squares),
            StateKind::Sum | StateKind::DecayingMaximum | StateKind::Maximum | StateKind::Row => None,
        }
    }

    /// That of a state that fits, as the checks have seen.
    #[inline(always)]
    pub fn of_checked(state: &State) -> Self {
        Self::of(state.kind).unwrap_or(Self::Signed)
    }
}

/// The codes of a block for one state, in an order in which no vector is ever cut or put together:
/// element `i` has byte `4·(i mod 16) + ⌊i/16⌋`. Floats of three bits of mantissa, with a power of two
/// for each block. What is not negative has five bits of exponent: no zero but in a block of zeros,
/// because an element whose v were rounded to zero would be divided by it. What has a sign has four, and
/// an even spacing next to zero, as subnormal floats have.
pub(crate) type Codes = [[u8; 4]; QUARTER];

/// How many elements of a block the first bytes of its quads are for.
const QUARTER: usize = BLOCK / 4;

/// How many of a float's lower bits a code lacks; and how many of those random bits decide about.
const DROPPED: u32 = 20;
const DECIDED_BY_NONE: u32 = DROPPED - 16;

/// The states of a tensor, or of what is between two of its blocks: of each block the codes of each of
/// its states, and after all of them of each block a scale for each state.
#[derive(Debug)]
pub struct Bits8<'a> {
    pub(crate) codes: &'a mut [u8],
    pub(crate) scales: &'a mut [u8],
}

/// How many of all bytes are codes.
const fn codes_of(bytes: usize) -> usize {
    bytes / (BLOCK + 1) * BLOCK
}

impl<'a> Bits8<'a> {
    /// Of `bytes` that are `state_bytes` of some elements.
    pub(crate) fn new(bytes: &'a mut [u8]) -> Self {
        let (codes, scales) = bytes.split_at_mut(codes_of(bytes.len()));
        Self { codes, scales }
    }

    /// The codes and the scales of these blocks.
    #[inline(always)]
    pub(crate) fn blocks(
        &mut self,
        blocks: Range<usize>,
        states: usize,
    ) -> (&mut [[u8; BLOCK]], &mut [u8]) {
        let places = states * blocks.start..states * blocks.end;
        (&mut self.codes.as_chunks_mut().0[places.clone()], &mut self.scales[places])
    }

    pub(crate) fn reborrow(&mut self) -> Bits8<'_> {
        Bits8 { codes: self.codes, scales: self.scales }
    }

    /// Before an element, which is the first of a block, and from it on.
    pub(crate) fn split_at(self, element: usize, states: usize) -> (Self, Self) {
        let block = element / BLOCK;
        let (codes, codes_rest) = self.codes.split_at_mut(block * states * BLOCK);
        let (scales, scales_rest) = self.scales.split_at_mut(block * states);
        (Self { codes, scales }, Self { codes: codes_rest, scales: scales_rest })
    }
}

#[inline(always)]
pub(crate) fn decode(codes: &Codes, kind: Kind, scale: u8, x: &mut [f32; BLOCK]) {
    let least = least(kind, scale);
    for (i, &quad) in codes.iter().enumerate() {
        let quad = u32::from_le_bytes(quad);
        for part in 0..4 {
            let code = quad >> (8 * part);
            x[QUARTER * part + i] = match kind {
                Kind::Squares => f32::from_bits(least + ((code & 0xff) << DROPPED)),
                Kind::Signed => {
                    let above = f32::from_bits(least + ((code & 0x7f) << DROPPED));
                    let magnitude = above - f32::from_bits(least);
                    f32::from_bits(magnitude.to_bits() | code << 24 & SIGN)
                }
            };
        }
    }
}

/// Gives the codes and the scale; zeros for a block of zeros. What code 0 means is taken from all codes
/// at once, byte by byte.
#[inline(always)]
pub(crate) fn encode(kind: Kind, x: &mut [f32; BLOCK], words: &Words) -> (Codes, u8) {
    let mut codes = [[0; 4]; QUARTER];
    let scale = scale(kind, x);
    if scale == 0 {
        return (codes, 0);
    }
    let least = least(kind, scale);
    for (i, bytes) in codes.iter_mut().enumerate() {
        // Wrapping, though nothing wraps: a check for that would not be vectorized.
        let mut quad = 0;
        for part in 0..4 {
            let x = x[QUARTER * part + i];
            let word = words[QUARTER * (part % 2) + i];
            let below = if part < 2 { word & 0xffff } else { word >> 16 } << DECIDED_BY_NONE;
            quad |= match kind {
                Kind::Squares => x.to_bits().max(least).wrapping_add(below) >> DROPPED & 0xff,
                Kind::Signed => {
                    let above = x.abs() + f32::from_bits(least);
                    above.to_bits().wrapping_add(below) >> DROPPED & 0x7f | (x.to_bits() & SIGN) >> 24
                }
            } << (8 * part);
        }
        *bytes = quad.to_le_bytes();
    }
    let least = (least >> DROPPED) as u8;
    for code in codes.as_flattened_mut() {
        *code = match kind {
            Kind::Squares => code.wrapping_sub(least),
            Kind::Signed => code.wrapping_sub(least) & 0x7f | *code & 0x80,
        };
    }
    (codes, scale)
}

/// The exponent field of a block's largest magnitude, or of the next power of two where that might be
/// rounded up beyond the largest code; 0 if all are zero or subnormal. Changes values that have no code
/// of their own: every NaN becomes the same one, what should have no sign loses it, and where no power
/// of two follows that is finite, larger values become the largest finite code. (Rounded to infinity
/// instead, one of them would spoil its block for good.)
#[inline(always)]
fn scale(kind: Kind, x: &mut [f32; BLOCK]) -> u8 {
    let magnitude = match kind {
        Kind::Squares => u32::MAX,
        Kind::Signed => MAGNITUDE,
    };
    let largest_of =
        |x: &[f32; BLOCK]| x.iter().fold(0, |largest, x| largest.max(x.to_bits() & magnitude));
    let mut largest = largest_of(x);
    if largest > INFINITY {
        for x in x.iter_mut() {
            *x = if x.is_nan() { f32::NAN } else { *x };
            if let Kind::Squares = kind {
                *x = x.abs();
            }
        }
        largest = largest_of(x);
    }
    if largest < INFINITY && largest + (2 << DROPPED) >= INFINITY {
        let lost = match kind {
            Kind::Squares => 0.0,
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

/// The bits of what code 0 means: the least value, or what is taken from it again. A block of zeros
/// has none.
#[inline(always)]
fn least(kind: Kind, scale: u8) -> u32 {
    let exponents = match kind {
        Kind::Squares => 31,
        Kind::Signed => 15,
    };
    if scale == 0 { 0 } else { (u32::from(scale).max(exponents + 1) - exponents) << 23 }
}

/// How many bytes the states of `n` elements take in eight bits: `states · 65 · ⌈n/64⌉`, for each state
/// and block of 64 elements 64 codes and a scale. They start as zeros.
///
/// ```
/// use downhill::{Adam, Adamax, state_bytes};
///
/// assert_eq!(state_bytes(&Adam::default(), 1000)?, 2 * 16 * 65); // m and v, 16 blocks
/// let error = state_bytes(&Adamax::default(), 1000).unwrap_err();
/// assert_eq!(error.to_string(), "`u` of adamax cannot be held in eight bits: it is neither a signed value nor an average of squares");
/// # Ok::<(), downhill::Error>(())
/// ```
///
/// # Errors
/// [`Error::NotInBits8`] for a rule with a state that is neither a signed value nor an average of
/// squares, but a sum or a maximum. [`Error::TooLong`] if that is too many bytes for memory.
pub fn state_bytes(config: &dyn Optimizer, n: usize) -> Result<usize, Error> {
    let states = config.states();
    for state in states {
        if Kind::of(state.kind).is_none() {
            return Err(Error::NotInBits8 { argument: state.name, rule: config.name() });
        }
    }
    let of_block = states.len() * (BLOCK + 1);
    n.div_ceil(BLOCK).checked_mul(of_block).ok_or(Error::TooLong { argument: "n", len: n })
}

/// Packs the states of a rule in eight bits: each number rounded to the nearest code, ties away from
/// zero. An average of squares should not be negative: its absolute value is packed.
///
/// To go on from a checkpoint bit by bit, keep the packed bytes themselves: they are the same on every
/// machine. What is unpacked and packed again is as near as a code is.
///
/// # Layout
/// Block by block of 64 elements, and in each the codes of the first state, then those of the second,
/// and so on. Where the last block has fewer elements, the codes of the others are 0. Four bytes are for
/// elements that are 16 apart: element `i` of a block has byte `4·(i mod 16) + ⌊i/16⌋`. After all codes
/// come the scales: of each block one byte for every state. [`reference::step`](crate::reference::step)
/// says what codes and scales mean.
///
/// # Errors
/// As [`state_bytes`]; [`Error::StateCount`] if `states` are not one array for each state of the rule;
/// [`Error::UnequalLength`] if they differ in length; [`Error::PackedLength`] if `packed` does not have
/// `state_bytes` for them. Nothing is written then.
///
/// # Example
/// ```
/// use downhill::{Adam, pack, state_bytes, unpack};
///
/// let (m, v) = ([0.5, -0.25, 0.0], [4.0, 1e-8, 0.0]);
/// let mut packed = vec![0; state_bytes(&Adam::default(), 3)?];
/// pack(&Adam::default(), &[&m, &v], &mut packed)?;
/// let (mut m2, mut v2) = ([0.0; 3], [0.0; 3]);
/// unpack(&Adam::default(), &packed, &mut [&mut m2, &mut v2])?;
/// assert!((m2[0] - 0.5).abs() < 1e-4 && (m2[1] + 0.25).abs() < 1e-4 && m2[2] == 0.0);
/// assert!(v2[0] == 4.0 && (v2[1] / 1e-8 - 1.0).abs() < 0.07);
/// # Ok::<(), downhill::Error>(())
/// ```
pub fn pack(config: &dyn Optimizer, states: &[&[f32]], packed: &mut [u8]) -> Result<(), Error> {
    check_states(config, states.len())?;
    let n = check_lengths(config, states.iter().map(|state| state.len()), packed.len())?;
    let Bits8 { codes, scales } = Bits8::new(packed);
    let places = codes.as_chunks_mut::<BLOCK>().0.iter_mut().zip(scales);
    for (place, (codes, scale)) in places.enumerate() {
        let (block, k) = (place / states.len(), place % states.len());
        let start = block * BLOCK;
        let end = n.min(start + BLOCK);
        let mut x = [0.0; BLOCK];
        x[..end - start].copy_from_slice(&states[k][start..end]);
        let (encoded, new_scale) = encode(Kind::of_checked(&config.states()[k]), &mut x, &NEAREST);
        codes.copy_from_slice(encoded.as_flattened());
        *scale = new_scale;
    }
    Ok(())
}

/// Unpacks the states of a rule: what the codes mean, exactly.
///
/// # Errors
/// As [`pack()`].
pub fn unpack(config: &dyn Optimizer, packed: &[u8], states: &mut [&mut [f32]]) -> Result<(), Error> {
    check_states(config, states.len())?;
    let n = check_lengths(config, states.iter().map(|state| state.len()), packed.len())?;
    let (codes, scales) = packed.split_at(codes_of(packed.len()));
    let places = codes.as_chunks::<BLOCK>().0.iter().zip(scales);
    for (place, (codes, &scale)) in places.enumerate() {
        let (block, k) = (place / states.len(), place % states.len());
        let start = block * BLOCK;
        let end = n.min(start + BLOCK);
        let mut x = [0.0; BLOCK];
        decode(of_block(codes), Kind::of_checked(&config.states()[k]), scale, &mut x);
        states[k][start..end].copy_from_slice(&x[..end - start]);
    }
    Ok(())
}

/// The bytes of a block as its codes.
#[inline(always)]
pub(crate) fn of_block(bytes: &[u8; BLOCK]) -> &Codes {
    bytes.as_chunks().0.try_into().expect("a block")
}

/// Gives how long all states are, if they are equally long and `packed` bytes are right for that.
fn check_lengths(
    config: &dyn Optimizer,
    lengths: impl Iterator<Item = usize>,
    packed: usize,
) -> Result<usize, Error> {
    let states = config.states();
    let mut n = None;
    for (state, len) in states.iter().zip(lengths) {
        let expected = *n.get_or_insert(len);
        check_equal((state.name, len), (states[0].name, expected))?;
    }
    let n = n.unwrap_or(0);
    check_bytes("packed", config, n, packed)?;
    Ok(n)
}

/// Do the packed states of `n` elements have as many bytes as they take?
pub(crate) fn check_bytes(
    argument: &'static str,
    config: &dyn Optimizer,
    n: usize,
    len: usize,
) -> Result<(), Error> {
    let expected = state_bytes(config, n)?;
    if len == expected { Ok(()) } else { Err(Error::PackedLength { argument, len, expected }) }
}
