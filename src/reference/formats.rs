//! Element types, as plain as their definitions.

use half::{bf16, f16};

use crate::StateKind;

/// Elements that have one scale for each state in eight bits.
const BLOCK: usize = 64;

/// The random bits of a tensor in a step.
pub(super) struct RandomBits {
    /// None to round to nearest.
    pub seed: Option<u64>,
    pub t: u64,
    /// Of the first element.
    pub number: u64,
}

impl RandomBits {
    /// 16 bits for state `k` of element `i`; None to round to nearest.
    pub fn of_state(&self, i: usize, k: usize) -> Option<u32> {
        self.seed.map(|seed| self.bits(seed, i, k + 1))
    }

    /// 16 bits for the weight of element `i`.
    pub fn of_weight(&self, i: usize) -> Option<u32> {
        self.seed.map(|seed| self.bits(seed, i, 0))
    }

    /// Half of a word. The first one is a hash of the place in half a block (Wellons, lowbias32, 2018)
    /// with two words for the block, which are a hash of seed, step and block (Steele, Lea & Flood,
    /// SplitMix64, 2014). Each next value has another one, made of the one before.
    fn bits(&self, seed: u64, i: usize, value: usize) -> u32 {
        let number = self.number + i as u64;
        let (block, place) = (number / BLOCK as u64, number % BLOCK as u64);
        let key = splitmix(splitmix(seed ^ splitmix(self.t)).wrapping_add(block));
        let mut x = ((place % 32) as u32).wrapping_mul(0x9e37_79b9).wrapping_add(key as u32);
        x ^= x >> 16;
        x = x.wrapping_mul(0x21f0_aaad) ^ (key >> 32) as u32;
        x ^= x >> 15;
        x = x.wrapping_mul(0x735a_2d97);
        x ^= x >> 15;
        for _ in 0..value {
            x = (x ^ x >> 16).wrapping_mul(0x9e37_79b9);
        }
        if place < 32 { x % 0x1_0000 } else { x / 0x1_0000 }
    }
}

fn splitmix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

/// The nearest bfloat16 without random bits, else one of the two neighbours.
pub(super) fn to_bf16(x: f32, r: Option<u32>) -> bf16 {
    let nearest = bf16::from_f32(x);
    let Some(r) = r else { return nearest };
    let lower = (x.to_bits() >> 16) as u16;
    let neighbours = [-1, 0, 1].map(|k| bf16::from_bits(lower.wrapping_add_signed(k)).to_f64());
    match at_random(x, r, neighbours, nearest.is_infinite()) {
        Some(is_upper) => bf16::from_bits(lower + u16::from(is_upper)),
        None => nearest,
    }
}

/// The nearest number of half precision without random bits, else one of the two neighbours.
pub(super) fn to_f16(x: f32, r: Option<u32>) -> f16 {
    let nearest = f16::from_f32(x);
    let Some(r) = r else { return nearest };
    // The neighbour that is nearer to zero is the nearest number, or the one before it.
    let is_beyond = nearest.to_f64().abs() > f64::from(x).abs();
    let lower = nearest.to_bits() - u16::from(is_beyond);
    let neighbours = [-1, 0, 1].map(|k| f16::from_bits(lower.wrapping_add_signed(k)).to_f64());
    match at_random(x, r, neighbours, nearest.is_infinite()) {
        Some(is_upper) => f16::from_bits(lower + u16::from(is_upper)),
        None => nearest,
    }
}

/// Is `x` rounded to the upper one of its neighbours, which are the last two? None if it is exact,
/// infinite or NaN.
fn at_random(
    x: f32,
    r: u32,
    [before, lower, upper]: [f64; 3],
    nearest_is_infinite: bool,
) -> Option<bool> {
    let x = f64::from(x);
    if !x.is_finite() || x == lower {
        return None;
    }
    // Numbers that are not infinite would go on at the same distance.
    let end = if upper.is_infinite() { lower + (lower - before) } else { upper };
    let f = (x - lower) / (end - lower);
    let is_upper = (f * 65536.0).floor() + f64::from(r) >= 65536.0;
    Some(is_upper && (upper.is_finite() || nearest_is_infinite))
}

/// The `f32` of split weights.
pub(super) fn joined(high: bf16, low: i16) -> f32 {
    f32::from_bits((i64::from(high.to_bits()) * 0x1_0000 + i64::from(low)) as u32)
}

/// An `f32` as split weights.
pub(super) fn split(x: f32) -> (bf16, i16) {
    if x.is_nan() {
        return (bf16::from_bits((x.to_bits() >> 16) as u16 | 0x40), 0);
    }
    let high = ((u64::from(x.to_bits()) + 0x8000) / 0x1_0000) as u16;
    (bf16::from_bits(high), x.to_bits() as i16)
}

/// State `k` of `count`, of `n` elements.
pub(super) fn decode(packed: &[u8], kind: StateKind, n: usize, count: usize, k: usize) -> Vec<f32> {
    let of = |i| {
        let (code, scale) = place(count, n, i, k);
        decoded(kind, packed[scale], packed[code])
    };
    (0..n).map(of).collect()
}

/// Encodes state `k` of `count`.
pub(super) fn encode(
    state: &[f32],
    packed: &mut [u8],
    kind: StateKind,
    count: usize,
    k: usize,
    bits: &RandomBits,
) {
    let n = state.len();
    for start in (0..n).step_by(BLOCK) {
        let block = &state[start..n.min(start + BLOCK)];
        let scale = scale(block);
        for i in start..start + BLOCK {
            let (code, at) = place(count, n, i, k);
            packed[at] = scale;
            let r = bits.of_state(i, k).unwrap_or(0x8000);
            packed[code] = state.get(i).map_or(0, |&x| encoded(kind, scale, x, r));
        }
    }
}

/// Where the code of state `k` of element `i` (of `n`) is, and its scale.
fn place(count: usize, n: usize, i: usize, k: usize) -> (usize, usize) {
    let (block, i) = (i / BLOCK, i % BLOCK);
    let scales = count * BLOCK * n.div_ceil(BLOCK);
    let codes = BLOCK * (count * block + k);
    (codes + 4 * (i % 16) + i / 16, scales + count * block + k)
}

/// The exponent field of the largest magnitude, one more where it is 1.75 times a power of two or
/// larger, but that of infinity only where something is not finite. 0 where all are zero or subnormal.
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

/// The power of two that code 0 means, as a float's exponent field; 0 in a block of zeros.
fn least(kind: StateKind, scale: u8) -> u32 {
    match (scale, kind) {
        (0, _) => 0,
        (_, StateKind::Squares) => u32::from(scale).saturating_sub(31).max(1),
        (_, _) => u32::from(scale).saturating_sub(15).max(1),
    }
}

/// `2^exponent·(1 + mantissa/8)`, the exponent as a float's field.
fn minifloat(least: u32, code: u8) -> f32 {
    f32::from_bits((least + u32::from(code) / 8) << 23 | (u32::from(code) % 8) << 20)
}

fn decoded(kind: StateKind, scale: u8, code: u8) -> f32 {
    let least = least(kind, scale);
    match kind {
        StateKind::Squares => minifloat(least, code),
        _ => {
            let magnitude = minifloat(least, code % 128) - minifloat(least, 0);
            if code < 128 { magnitude } else { -magnitude }
        }
    }
}

/// Adds `16·r` to the 20 bits that a code does not store, then cuts them off. What is larger than the
/// largest code is that one.
fn encoded(kind: StateKind, scale: u8, x: f32, r: u32) -> u8 {
    if scale == 0 {
        return 0;
    }
    let x = if x.is_nan() { f32::NAN } else { x };
    let largest = match kind {
        StateKind::Squares => decoded(kind, scale, 255),
        _ => decoded(kind, scale, 127),
    };
    let x = if scale < 255 { x.clamp(-largest, largest) } else { x };
    let zero = minifloat(least(kind, scale), 0);
    let above = |y: f32| (y.to_bits() - zero.to_bits() + 16 * r) / (1 << 20);
    match kind {
        StateKind::Squares if x.abs() < zero => above(zero) as u8,
        StateKind::Squares => above(x.abs()) as u8,
        _ if x.is_sign_negative() => 128 + above(zero - x) as u8,
        _ => above(x + zero) as u8,
    }
}
