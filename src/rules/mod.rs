//! The rules, one file per family: configuration, checks, the formula over lanes, the step functions.

mod adadelta;
mod adagrad;
mod adam;
mod adamax;
mod ftrl;
mod lion;
mod momentum;
mod nadam;
mod nesterov;
mod radam;
mod rmsprop;
mod rowwise_adagrad;
mod sgd;
mod signum;

pub use adadelta::{Adadelta, adadelta_step};
pub use adagrad::{Adagrad, adagrad_step};
pub(crate) use adam::first_moment;
pub use adam::{Adam, Adamw, Amsgrad, BiasCorrection, adam_step, adamw_step, amsgrad_step};
pub use adamax::{Adamax, adamax_step};
pub use ftrl::{Ftrl, ftrl_step};
pub use lion::{Lion, lion_step};
pub use momentum::{Form, Momentum, momentum_step};
pub use nadam::{Nadam, nadam_step};
pub use nesterov::{Nesterov, nesterov_step};
pub use radam::{Radam, radam_step};
pub use rmsprop::{Rmsprop, rmsprop_step};
pub use rowwise_adagrad::{RowwiseAdagrad, rowwise_adagrad_step};
pub use sgd::{Sgd, sgd_step};
pub use signum::{Signum, signum_step};

use crate::Optimizer;

/// Every rule whose states have an element for each weight, with its default hyper-parameters, in the order
/// of the C library's tags.
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
        Signum::default().into(),
        Radam::default().into(),
        Ftrl::default().into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Range;

    /// Every rule with every combination of its choices, with momentum or a first moment and without.
    fn variants() -> Vec<Box<dyn Optimizer>> {
        rules().into_iter().flat_map(variants_of).collect()
    }

    fn variants_of(rule: Box<dyn Optimizer>) -> Vec<Box<dyn Optimizer>> {
        let mut all = vec![rule.clone()];
        for parameter in rule.hyperparameters() {
            let values = match parameter.range {
                Range::OneOf(names) => (0..names.len()).map(|place| place as f64).collect(),
                _ if ["momentum", "beta1"].contains(&parameter.name) => vec![0.0, 0.5],
                _ => vec![parameter.value],
            };
            let with = |rule: &dyn Optimizer, value| {
                let mut rule = rule.boxed();
                rule.set(parameter.name, value).unwrap();
                rule
            };
            all = all.iter().flat_map(|rule| values.iter().map(|&value| with(&**rule, value))).collect();
        }
        all
    }

    /// `w`, `g` and the states, positive as a second moment is, and different everywhere.
    fn arrays(rule: &dyn Optimizer) -> Vec<Vec<f32>> {
        let array = |k: usize| (0..37).map(|i| 0.1 + ((k * 37 + i) * 7 % 23) as f32 / 23.0).collect();
        (0..2 + rule.states().len()).map(array).collect()
    }

    type Call<'a> = &'a dyn Fn(&mut [f32], &[f32], &mut [&mut [f32]]) -> Result<(), crate::Error>;

    /// The arrays after a call, and how often it allocated.
    fn after(rule: &dyn Optimizer, call: Call<'_>) -> (Vec<Vec<f32>>, u64) {
        let mut arrays = arrays(rule);
        let [w, g, states @ ..] = &mut arrays[..] else { unreachable!("there are two") };
        let mut states: Vec<&mut [f32]> = states.iter_mut().map(|array| &mut array[..]).collect();
        let count = allocation_counter::measure(|| call(w, g, &mut states).unwrap()).count_total;
        (arrays, count)
    }

    /// A function that took its states in another order would have other bits.
    #[test]
    fn each_function_does_what_its_configuration_and_the_reference_do_and_allocates_nothing() {
        const T: u64 = 7;
        // The first call of a process looks at the CPU and the environment.
        crate::Isa::current().unwrap();
        for rule in &variants() {
            let (arrays, count) = after(&**rule, &|w, g, states| rule.call_function(w, g, states, T));
            assert_eq!(count, 0, "{rule:?}");
            assert_eq!(arrays, after(&**rule, &|w, g, states| rule.step(w, g, states, T)).0, "{rule:?}");
            let reference = after(&**rule, &|w, g, states| rule.reference_step(w, g, states, T)).0;
            assert_eq!(arrays, reference, "{rule:?}");
            assert_ne!(arrays[0], self::arrays(&**rule)[0], "{rule:?} moved nothing");
        }
    }
}
