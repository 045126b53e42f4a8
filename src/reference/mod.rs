//! The scalar truth: each step as a plain loop that can be held beside its paper. No SIMD, no threads.

mod clip;
mod packed;
mod steps;

pub use clip::*;
pub use packed::{Float, step_packed};
pub use steps::*;
