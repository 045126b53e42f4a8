//! The rules, one file per family: configuration, checks, the formula over lanes, the step functions.

mod adadelta;
mod adagrad;
mod adam;
mod adamax;
mod decay;
mod lion;
mod momentum;
mod nadam;
mod nesterov;
mod rmsprop;
mod sgd;

pub use adadelta::{Adadelta, adadelta_step};
pub use adagrad::{Adagrad, adagrad_step};
pub use adam::{Adam, Adamw, Amsgrad, BiasCorrection, adam_step, adamw_step, amsgrad_step};
pub use adamax::{Adamax, adamax_step};
pub use decay::Decay;
pub use lion::{Lion, lion_step};
pub use momentum::{Form, Momentum, momentum_step};
pub use nadam::{Nadam, nadam_step};
pub use nesterov::{Nesterov, nesterov_step};
pub use rmsprop::{Rmsprop, rmsprop_step};
pub use sgd::{Sgd, sgd_step};
