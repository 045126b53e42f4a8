//! The scalar truth: each step as a plain loop that can be held beside its paper. No SIMD, no threads.

mod clip;
mod formats;
mod steps;
mod whole;

pub use clip::{applied_scale, squares};
pub use steps::*;
pub use whole::step;
