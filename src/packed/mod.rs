//! States in fewer bits: a whole step over tensors whose states are codes, and the way there and back.

mod code;
mod layout;
mod many;
mod optimizer;
mod random;
mod sweep;

pub use layout::{pack, unpack};
pub use many::{PackedTensor, step_packed};
pub use optimizer::{PackedOptimizer, packed_optimizer};

use crate::{Error, Report, rule::Configuration};
pub(crate) use layout::check_bytes;
pub use many::{How, Listed};
pub(crate) use many::{List, check_first_element, step};

/// How many elements have one scale for each state.
const BLOCK: usize = 64;

/// How many bits a packed state has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StateFormat {
    /// Eight bits: a code for each state of each element, and a scale for each state of 64 elements.
    #[default]
    Bits8,
    /// Sixteen bits: bfloat16.
    Bf16,
}

impl StateFormat {
    /// How many bytes `n` elements with `states` states each take, in whole blocks of 64 elements; None if that is too many
    /// for memory.
    pub fn bytes(self, states: usize, n: usize) -> Option<usize> {
        let of_block = match self {
            Self::Bits8 => BLOCK + 1,
            Self::Bf16 => 2 * BLOCK,
        };
        n.div_ceil(BLOCK).checked_mul(states)?.checked_mul(of_block)
    }
}

/// How a value is rounded to the nearest code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// Up or down at random, and right on average: a state moves however small a step's part in it is.
    Stochastic {
        /// What the random bits are made from, with `t` and the element's number.
        seed: u64,
    },
    /// To the nearest code. A state that should move by less than half of the distance between two codes
    /// stays where it is: Adam's `v` with `beta2` = 0.999 ends up far from what it should be, and so does a
    /// bfloat16 weight that small steps should move. To compare with, not to train with.
    Nearest,
}

impl Default for Rounding {
    fn default() -> Self {
        Self::Stochastic { seed: 0 }
    }
}

/// How states are packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packing {
    /// How many bits a state has. Default [`StateFormat::Bits8`].
    pub format: StateFormat,
    /// How it is rounded. Default stochastically, with seed 0.
    pub rounding: Rounding,
}

/// What a state can be.
#[derive(Clone, Copy)]
pub enum Kind {
    /// Of either sign, as an average of gradients is.
    Signed,
    /// An average of squares, which is not negative.
    NonNegative,
}

/// A rule whose states can be packed.
pub trait Packable<const N: usize>: Configuration<N> {
    /// What each state can be.
    const KINDS: [Kind; N];

    /// A step over tensors with packed states by the kernel, compiled in this crate as a rule's other kernels are.
    fn step_packed_on(&self, tensors: List<'_, '_>, how: How<'_>) -> Result<Report, Error>;
}

/// `packable!(Adam: 2, [Kind::Signed, Kind::NonNegative]);`
macro_rules! packable {
    ($config:ty: $n:literal, $kinds:expr) => {
        impl Packable<$n> for $config {
            const KINDS: [Kind; $n] = $kinds;

            fn step_packed_on(
                &self,
                tensors: $crate::packed::List<'_, '_>,
                how: $crate::packed::How<'_>,
            ) -> Result<$crate::Report, Error> {
                $crate::packed::step(self, tensors, how)
            }
        }
    };
}
pub(crate) use packable;
