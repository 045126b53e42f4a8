#![doc = include_str!("../README.md")]

mod check;
mod error;
mod isa;
mod lane;
mod many;
mod norm;
mod optimizer;
mod packed;
mod power;
pub mod reference;
mod rule;
mod rules;
mod sweep;
mod sys;
mod threads;

pub use error::Error;
pub use isa::Isa;
pub use many::{Extras, NonFinite, Report, Tensor, step_many};
pub use norm::grad_norm;
pub use optimizer::{AnyTensor, Optimizer, optimizer};
pub use packed::{
    PackedOptimizer, PackedTensor, Packing, Rounding, StateFormat, pack, packed_optimizer, step_packed,
    unpack,
};
pub use rules::*;
pub use threads::{Pool, Threads};

/// What the package of the C libraries needs besides. It changes with any release, and is nobody else's to use.
#[doc(hidden)]
#[allow(missing_docs, reason = "nobody else uses it")]
pub mod abi {
    pub use crate::{
        norm::sum_of_squares,
        packed::{How, Listed, Packable},
        rule::{Configuration, Kernels},
        sys::{has_room, in_default_environment, with_room, without_cancellation},
    };
}
