#![doc = include_str!("../README.md")]

mod error;
mod ffi;
mod isa;
mod lanes;
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
