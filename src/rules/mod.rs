//! The rules, one file per family: configuration, checks, the formula over lanes, the step functions.

mod adam;
mod decay;
mod momentum;
mod range;
mod sgd;

pub use adam::{Adam, BiasCorrection, adam_step};
pub use decay::Decay;
pub use momentum::{Form, Momentum, momentum_step};
pub use sgd::{Sgd, sgd_step};
