//! The scalar truth: each step as a plain loop that can be held beside its paper, and a mini-batch
//! trainer with small models to run them in. No SIMD, no threads.

mod clip;
pub mod data;
mod layers;
pub mod models;
mod packed;
mod steps;
pub mod trainer;

pub use clip::*;
pub use packed::{Float, step_packed};
pub use steps::*;
