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

use crate::Optimizer;

/// Every rule with its default hyper-parameters, in the order of the C library's tags.
///
/// ```
/// let names: Vec<_> = downhill::rules().iter().map(|rule| rule.name()).collect();
/// assert_eq!(names[..3], ["sgd", "momentum", "nesterov"]);
/// ```
pub fn rules() -> Vec<Box<dyn Optimizer>> {
    vec![
        Sgd::default().into(),
        Momentum::default().into(),
        Nesterov::default().into(),
        Adagrad::default().into(),
        Adadelta::default().into(),
        Rmsprop::default().into(),
        Adam::default().into(),
        Adamw::default().into(),
        Amsgrad::default().into(),
        Adamax::default().into(),
        Nadam::default().into(),
        Lion::default().into(),
    ]
}
