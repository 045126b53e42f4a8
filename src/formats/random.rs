//! Random bits for rounding: a function of seed, step, element and which of its values is rounded, so that nothing depends
//! on which thread or which vector an element is in.

use super::BLOCK;

/// Two elements of a block that are this far apart share a word: its lower half is for the first, the upper for the second.
pub(super) const HALF: usize = BLOCK / 2;

/// 16 random bits for each element of a block.
pub(super) type Words = [u32; HALF];

/// What is added to round to nearest, where 16 bits are dropped.
pub(super) const NEAREST: Words = [0x8000_8000; HALF];

/// The values of an element that may be rounded: its states, and behind them its weight.
pub(super) const WEIGHT: usize = 7;

/// 2^32 divided by the golden ratio; and 2^64.
const GOLDEN_32: u32 = 0x9e37_79b9;
const GOLDEN_64: u64 = 0x9e37_79b9_7f4a_7c15;

/// What the random bits of one step are made from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key(u64);

impl Key {
    pub fn new(seed: u64, t: u64) -> Self {
        Self(mixed(seed ^ mixed(t)))
    }

    /// The random bits of one value (a state's place, or [`WEIGHT`]) of all elements of a block.
    #[inline(always)]
    pub(super) fn words(self, block: u64, value: usize) -> Words {
        let key = mixed(self.0.wrapping_add(8 * block + value as u64));
        let (first, second) = (key as u32, (key >> 32) as u32);
        let mut words = [0; HALF];
        for (i, word) in words.iter_mut().enumerate() {
            *word = element(first, second, i as u32);
        }
        words
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
