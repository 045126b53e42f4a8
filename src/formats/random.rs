//! Random bits for rounding: a function of seed, step, element and which of its values is rounded, so
//! that nothing depends on which thread or which vector an element is in.

use super::BLOCK;
use crate::Rounding;

/// Two elements of a block that are this far apart share a word: its lower half is for the first, the
/// upper for the second.
pub(crate) const HALF: usize = BLOCK / 2;

/// 16 random bits for each element of a block.
pub(crate) type Words = [u32; HALF];

/// What is added to round to nearest, where 16 bits are dropped.
pub(crate) const NEAREST: Words = [0x8000_8000; HALF];

/// 2^32 divided by the golden ratio; and 2^64.
const GOLDEN_32: u32 = 0x9e37_79b9;
const GOLDEN_64: u64 = 0x9e37_79b9_7f4a_7c15;

/// What the random bits of a tensor, or of a part of one, are made from, in one step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    /// None to round to nearest.
    random: Option<Random>,
    /// How many elements of its block come before the first one. Nonzero only in a row of a table, which then
    /// has no states in eight bits.
    skip: usize,
}

#[derive(Clone, Copy, Debug)]
struct Random {
    /// Of seed and step.
    hash: u64,
    /// The number of the first block.
    block: u64,
}

impl Key {
    /// That of elements of which the first has this number.
    #[inline]
    pub fn of(rounding: Rounding, t: u64, number: u64) -> Self {
        let block = number / BLOCK as u64;
        let random = match rounding {
            Rounding::Stochastic { seed } => Some(Random { hash: mixed(seed ^ mixed(t)), block }),
            Rounding::Nearest => None,
        };
        Self { random, skip: (number % BLOCK as u64) as usize }
    }

    /// Is anything rounded at random?
    pub(crate) fn is_random(self) -> bool {
        self.random.is_some()
    }

    #[inline(always)]
    pub(crate) fn skip(self) -> usize {
        self.skip
    }

    /// That of the part from an element on, which is the first of a block.
    pub fn after(self, element: usize) -> Self {
        let blocks = (element / BLOCK) as u64;
        let random = self.random.map(|random| Random { block: random.block + blocks, ..random });
        Self { random, ..self }
    }

    /// Those of the weights of a block, or None to round to nearest; [`next`] makes those of the states.
    #[inline(always)]
    pub(crate) fn words(self, block: usize) -> Option<Words> {
        let random = self.random?;
        let key = mixed(random.hash.wrapping_add(random.block + block as u64));
        let (first, second) = (key as u32, (key >> 32) as u32);
        let mut words = [0; HALF];
        for (i, word) in words.iter_mut().enumerate() {
            *word = element(first, second, i as u32);
        }
        Some(words)
    }
}

/// The random bits of the next value of each element: of the first state after the weight, of the second
/// after the first, of those that are rounded at random. Cheaper than another hash; no two values of an
/// element, or of two, have bits that depend on each other (`tests/rounding.rs`).
#[inline(always)]
pub(crate) fn next(words: &Words) -> Words {
    let mut next = [0; HALF];
    for i in 0..HALF {
        next[i] = (words[i] ^ (words[i] >> 16)).wrapping_mul(GOLDEN_32);
    }
    next
}

/// A hash of 32 bits (Wellons, "Hash Prospector", 2018: lowbias32), with another part of the key in its
/// middle.
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
