//! Random bits for rounding: a function of seed, step and element, so that nothing depends on which thread or which
//! vector an element is in.

use super::BLOCK;

/// Two elements of a block, so far apart, share a word.
pub(super) const HALF: usize = BLOCK / 2;

pub(super) type Words = [u32; HALF];

/// 2^32 divided by the golden ratio; and 2^64.
const GOLDEN_32: u32 = 0x9e37_79b9;
const GOLDEN_64: u64 = 0x9e37_79b9_7f4a_7c15;

/// What the random bits of one step are made from.
#[derive(Clone, Copy)]
pub(super) struct Key(u64);

impl Key {
    pub fn new(seed: u64, t: u64) -> Self {
        Self(mixed(seed ^ mixed(t)))
    }

    /// 32 random bits for each two elements of a block.
    #[inline(always)]
    pub fn block(self, block: u64) -> Words {
        let key = mixed(self.0.wrapping_add(block));
        let (first, second) = (key as u32, (key >> 32) as u32);
        let mut bits = [0; HALF];
        for (i, bits) in bits.iter_mut().enumerate() {
            *bits = element(first, second, i as u32);
        }
        bits
    }
}

/// A hash of 32 bits (Wellons, "Hash Prospector", 2018: lowbias32), with another part of the key in its middle.
#[inline(always)]
fn element(first: u32, second: u32, i: u32) -> u32 {
    let mut x = i.wrapping_mul(GOLDEN_32).wrapping_add(first);
    x = (x ^ (x >> 16)).wrapping_mul(0x21f0_aaad) ^ second;
    x = (x ^ (x >> 15)).wrapping_mul(0x735a_2d97);
    x ^ (x >> 15)
}

/// SplitMix64 (Steele, Lea & Flood, "Fast Splittable Pseudorandom Number Generators", 2014).
#[inline(always)]
fn mixed(x: u64) -> u64 {
    let mut x = x.wrapping_add(GOLDEN_64);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
