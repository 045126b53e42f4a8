//! How numbers are rounded to types of fewer bits, and how the elements are numbered on which random
//! rounding depends.

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
    /// To the nearest number, ties to even (in eight bits away from zero). A state that should move by
    /// less than half of the distance between two numbers stays where it is: Adam's `v` with `beta2` =
    /// 0.999 ends up far from what it should be, and so does a bfloat16 weight that small steps should
    /// move. To compare with, not to train with.
    Nearest,
}

impl Default for Rounding {
    fn default() -> Self {
        Self::Stochastic { seed: 0 }
    }
}

/// How elements are numbered, which random rounding depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Numbering {
    /// By their place in the call: all tensors of all groups follow each other from 0, each from the
    /// next multiple of 64 on, those without a gradient included.
    #[default]
    ByPlace,
    /// By [`Tensor::first_element`](crate::Tensor::first_element): for models that are stepped in
    /// pieces, or by several ranks. Give each tensor numbers of its own, and a part of a tensor those
    /// that it has in the whole; then the bits are those of the whole.
    Given,
}
