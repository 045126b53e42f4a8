//! An element type's way to `f32` and back: bfloat16, half precision, split weights, codes of eight
//! bits.

pub(crate) mod bits8;
pub(crate) mod columns;
pub(crate) mod narrow;
pub(crate) mod random;
mod values;

pub use bits8::Bits8;
pub(crate) use bits8::check_bytes;
pub use bits8::{pack, state_bytes, unpack};
pub(crate) use narrow::Value;
pub(crate) use random::Key;
pub use values::Values;

use crate::Error;

/// How many elements have one scale for each state in eight bits, and their random bits from one place.
pub(crate) const BLOCK: usize = 64;

/// Are two arrays of a conversion equally long?
pub(crate) fn check_equal(
    (argument, len): (&'static str, usize),
    (other, expected): (&'static str, usize),
) -> Result<(), Error> {
    if len == expected { Ok(()) } else { Err(Error::UnequalLength { argument, len, other, expected }) }
}

/// The sign bit of an `f32`, the other bits, and those of infinity.
const SIGN: u32 = 0x8000_0000;
const MAGNITUDE: u32 = 0x7fff_ffff;
const INFINITY: u32 = 0x7f80_0000;
