#![doc = include_str!("../README.md")]

mod error;
mod ffi;
mod isa;
mod optimizer;
mod power;
pub mod reference;
mod rule;
mod rules;
mod sweep;

pub use error::Error;
pub use isa::Isa;
pub use optimizer::{Optimizer, optimizer};
pub use rules::*;
