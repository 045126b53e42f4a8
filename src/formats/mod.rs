//! An element type's way to `f32` and back: bfloat16, half precision, split weights, codes of eight
//! bits.

mod bits8;
mod blocks;
pub(crate) mod columns;
mod convert;
mod fused;
mod narrow;
mod random;

pub use bits8::Bits8;
pub(crate) use bits8::check_bytes;
pub use bits8::{pack, state_bytes, unpack};
pub(crate) use blocks::{Mixed, Scratch};
pub use convert::{Values, convert};
pub use fused::FusedWeights;
pub(crate) use fused::{Fused, fusible};
pub(crate) use narrow::Value;
pub(crate) use random::Key;

/// How many elements have one scale for each state in eight bits, and their random bits from one place.
pub(crate) const BLOCK: usize = 64;

/// How a number is rounded to a type of fewer bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// Up or down at random, and right on average: a state moves however small a step's part in it is.
    ///
    /// Of a number that lies the fraction `f` of the way between two neighbours of its type, away from
    /// zero, the farther one is taken if `⌊f·2^16⌋ + r ≥ 2^16`, with 16 random bits `r` of its own.
    /// Exact numbers, NaN and infinity stay what they are, and a finite number becomes infinite only
    /// where the nearest would be. A state that is a running maximum (`v_max`) is always rounded to
    /// nearest, since a maximum keeps whatever was rounded up.
    Stochastic {
        /// What the random bits are made from, with `t` and the element's number.
        seed: u64,
    },
    /// To the nearest number, of two to the even one (in eight bits to the one that is farther from
    /// zero). A state that should move by less than half of the distance between two numbers stays where
    /// it is: Adam's `v` with `beta2` = 0.999 ends up far from what it should be, and so does a bfloat16
    /// weight that small steps should move. To compare with, not to train with.
    Nearest,
}

impl Default for Rounding {
    fn default() -> Self {
        Self::Stochastic { seed: 0 }
    }
}
