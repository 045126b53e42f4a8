//! Steps on packed states, one element after another.

use crate::{
    Error, Packing, Rounding, StateFormat,
    packed::{Kind, Packable, check_bytes, check_first_element},
    rule::check_length,
};

/// Elements that have one scale for each state.
const BLOCK: usize = 64;

/// What a weight or a gradient is held in: `f32`, or `u16` for the bits of bfloat16.
pub trait Float: Copy {
    /// The same number.
    fn wide(self) -> f32;

    /// Dropping the lower bits, if any, after this many were added: 16 bits.
    fn narrow(x: f32, below: u32) -> Self;
}

impl Float for f32 {
    fn wide(self) -> f32 {
        self
    }

    fn narrow(x: f32, _below: u32) -> Self {
        x
    }
}

impl Float for u16 {
    fn wide(self) -> f32 {
        f32::from_bits(u32::from(self) * 0x1_0000)
    }

    fn narrow(x: f32, below: u32) -> Self {
        (u64::from(x.to_bits()) + u64::from(below)).div_euclid(0x1_0000) as u16
    }
}

/// One step over a tensor with packed states: [`step_packed`](crate::step_packed) without extras. Every state is decoded,
/// stepped by the rule's reference, and encoded.
///
/// In bfloat16 a state is the upper half of an `f32`, to which 16 bits were added first. A NaN is `0x7fc0`.
///
/// In eight bits each state of a block has a scale `s`: the exponent field of the largest magnitude, one more where it is
/// 1.75 times a power of two or larger, 0 where all are zero or subnormal. With `l = max(s − 31, 1)` a code `c` of an
/// average of squares stands for `2^(l − 127 + ⌊c/8⌋)·(1 + (c mod 8)/8)`. With `l = max(s − 15, 1)` a code of the other
/// states stands for `2^(l − 127)·(2^⌊c/8⌋·(1 + (c mod 8)/8) − 1)`, and `128 + c` for the same below zero. With `s = 0`
/// all codes are 0 and stand for 0. To encode, 20 bits are added to an `f32` of which the lower 20 are then dropped.
///
/// The bits that are added are half of what is dropped, to round to nearest, or random: parts of a word for each two
/// elements that are half a block apart, a hash of the seed, the step and their place. The states of the two take different
/// parts of it, the weights the same.
///
/// # Errors
/// As [`crate::step_packed`], without the number of a tensor.
pub fn step_packed<F: Float, C: Packable<N>, const N: usize>(
    config: &C,
    w: &mut [F],
    g: &[F],
    state: &mut [u8],
    first_element: u64,
    t: u64,
    packing: &Packing,
) -> Result<(), Error> {
    check_length("g", g.len(), w.len())?;
    let n = w.len();
    check_bytes(packing.format, N, n, state.len())?;
    check_first_element(first_element)?;
    let mut states = vec![vec![0.0; n]; N];
    let mut slices = states.iter_mut().map(|state| &mut state[..]);
    decode::<C, N>(state, packing.format, std::array::from_fn(|_| slices.next().expect("N")));
    let mut wide: Vec<f32> = w.iter().map(|w| w.wide()).collect();
    let wide_g: Vec<f32> = g.iter().map(|g| g.wide()).collect();
    let mut slices = states.iter_mut().map(|state| &mut state[..]);
    config.reference(&mut wide, &wide_g, std::array::from_fn(|_| slices.next().expect("N")), t)?;
    let words = Words { rounding: packing.rounding, t, first_element };
    for i in 0..n {
        w[i] = F::narrow(wide[i], words.of_weight(i));
    }
    let mut slices = states.iter().map(|state| &state[..]);
    encode::<C, N>(std::array::from_fn(|_| slices.next().expect("N")), packing.format, &words, state);
    Ok(())
}

/// Where the code of state `k` of element `i` (of `n`) begins, and where its scale is.
fn place(format: StateFormat, states: usize, n: usize, i: usize, k: usize) -> (usize, usize) {
    let (block, i) = (i / BLOCK, i % BLOCK);
    match format {
        StateFormat::Bits8 => {
            let scales = states * BLOCK * n.div_ceil(BLOCK);
            let codes = BLOCK * (states * block + k);
            (codes + 4 * (i % 16) + i / 16, scales + states * block + k)
        }
        StateFormat::Bf16 => (2 * BLOCK * (states * block + k) + 4 * (i % 32) + 2 * (i / 32), 0),
    }
}

fn decode<C: Packable<N>, const N: usize>(packed: &[u8], format: StateFormat, states: [&mut [f32]; N]) {
    for (k, state) in states.into_iter().enumerate() {
        let n = state.len();
        for (i, x) in state.iter_mut().enumerate() {
            let (code, scale) = place(format, N, n, i, k);
            *x = match format {
                StateFormat::Bf16 => u16::from_le_bytes([packed[code], packed[code + 1]]).wide(),
                StateFormat::Bits8 => decoded(C::KINDS[k], packed[scale], packed[code]),
            };
        }
    }
}

fn encode<C: Packable<N>, const N: usize>(
    states: [&[f32]; N],
    format: StateFormat,
    words: &Words,
    packed: &mut [u8],
) {
    packed.fill(0);
    for (k, state) in states.into_iter().enumerate() {
        let n = state.len();
        for (i, &x) in state.iter().enumerate() {
            let (code, at) = place(format, N, n, i, k);
            match format {
                StateFormat::Bf16 => {
                    let x = if x.is_nan() { f32::NAN } else { x };
                    let bits = u16::narrow(x, words.of_state(i, k, 16));
                    packed[code..][..2].copy_from_slice(&bits.to_le_bytes());
                }
                StateFormat::Bits8 => {
                    let start = i / BLOCK * BLOCK;
                    let scale = scale(&state[start..n.min(start + BLOCK)]);
                    packed[at] = scale;
                    packed[code] = encoded(C::KINDS[k], scale, x, words.of_state(i, k, 20));
                }
            }
        }
    }
}

/// The exponent field of the largest magnitude, one more where it is 1.75 times a power of two or larger, but that of
/// infinity only where something is not finite. 0 where all are zero or subnormal.
fn scale(block: &[f32]) -> u8 {
    let most = if block.iter().all(|x| x.is_finite()) { 254 } else { 255 };
    let mut scale = 0;
    for x in block {
        let (exponent, mantissa) = (x.to_bits() >> 23 & 0xff, x.to_bits() & 0x7f_ffff);
        let larger = u32::from(exponent > 0 && mantissa >= 0x60_0000);
        scale = scale.max(exponent + larger);
    }
    scale.min(most) as u8
}

/// The power of two that code 0 stands for, as a float's exponent field; 0 in a block of zeros.
fn least(kind: Kind, scale: u8) -> u32 {
    match (scale, kind) {
        (0, _) => 0,
        (_, Kind::NonNegative) => u32::from(scale).saturating_sub(31).max(1),
        (_, Kind::Signed) => u32::from(scale).saturating_sub(15).max(1),
    }
}

/// `2^exponent·(1 + mantissa/8)`, the exponent as a float's field.
fn minifloat(least: u32, code: u8) -> f32 {
    f32::from_bits((least + u32::from(code) / 8) << 23 | (u32::from(code) % 8) << 20)
}

fn decoded(kind: Kind, scale: u8, code: u8) -> f32 {
    let least = least(kind, scale);
    match kind {
        Kind::NonNegative => minifloat(least, code),
        Kind::Signed => {
            let magnitude = minifloat(least, code % 128) - minifloat(least, 0);
            if code < 128 { magnitude } else { -magnitude }
        }
    }
}

/// Adds `below` to the 20 bits that a code does not store, then cuts them off. What is larger than the largest code is
/// that one.
fn encoded(kind: Kind, scale: u8, x: f32, below: u32) -> u8 {
    if scale == 0 {
        return 0;
    }
    let x = if x.is_nan() { f32::NAN } else { x };
    let largest = match kind {
        Kind::NonNegative => decoded(kind, scale, 255),
        Kind::Signed => decoded(kind, scale, 127),
    };
    let x = if scale < 255 { x.clamp(-largest, largest) } else { x };
    let zero = minifloat(least(kind, scale), 0);
    let above = |y: f32| (y.to_bits() - zero.to_bits() + below) / (1 << 20);
    match kind {
        Kind::NonNegative if x.abs() < zero => above(zero) as u8,
        Kind::NonNegative => above(x.abs()) as u8,
        Kind::Signed if x.is_sign_negative() => 128 + above(zero - x) as u8,
        Kind::Signed => above(x + zero) as u8,
    }
}

/// The random bits of a step.
struct Words {
    rounding: Rounding,
    t: u64,
    first_element: u64,
}

impl Words {
    /// `count` bits for state `k`: the upper ones of an element's word for the first state, the lower ones for the second;
    /// the other way round in the second half of a block.
    fn of_state(&self, i: usize, k: usize, count: u32) -> u32 {
        match self.rounding {
            Rounding::Nearest => 1 << (count - 1),
            Rounding::Stochastic { seed } if (k == 0) == (i % BLOCK < BLOCK / 2) => {
                self.word(seed, i) >> (32 - count)
            }
            Rounding::Stochastic { seed } => self.word(seed, i) % (1 << count),
        }
    }

    /// 16 bits for the weight, from the middle of the element's word.
    fn of_weight(&self, i: usize) -> u32 {
        match self.rounding {
            Rounding::Nearest => 1 << 15,
            Rounding::Stochastic { seed } => self.word(seed, i) / 256 % 0x1_0000,
        }
    }

    /// The word of element `i`, which is also that of the element half a block away: a hash of its place in that half
    /// (Wellons, lowbias32, 2018) with two words for the block, which are a hash of seed, step and block (Steele, Lea &
    /// Flood, SplitMix64, 2014).
    fn word(&self, seed: u64, i: usize) -> u32 {
        let block = self.first_element / BLOCK as u64 + (i / BLOCK) as u64;
        let place = (i % (BLOCK / 2)) as u32;
        let key = splitmix(splitmix(seed ^ splitmix(self.t)).wrapping_add(block));
        let mut x = place.wrapping_mul(0x9e37_79b9).wrapping_add(key as u32);
        x ^= x >> 16;
        x = x.wrapping_mul(0x21f0_aaad) ^ (key >> 32) as u32;
        x ^= x >> 15;
        x = x.wrapping_mul(0x735a_2d97);
        x ^ x >> 15
    }
}

fn splitmix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}
