//! Small models with gradients written by hand, and stochastic gradient descent in its walks over a
//! training set: what the rules of `downhill` are run in by its examples and tests. A network that is
//! trained by the scalar reference and by the kernels ends with the same bits.

pub mod data;
mod descent;
mod layers;
pub mod models;

pub use descent::{Mode, Options, Order, Reduction, Trainer};
