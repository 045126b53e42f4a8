//! Every rule with every option, from the one list of all rules. Nothing here names one.

use downhill::{Hyperparameter, Optimizer, Range, rules};

pub type Rule = Box<dyn Optimizer>;

/// The rule with another value of one hyper-parameter.
pub fn with(rule: &Rule, name: &str, value: f64) -> Rule {
    let mut rule = rule.clone();
    rule.set(name, value).unwrap();
    rule
}

/// Every rule with every combination of its options: each choice, and what is 0 by default also with a
/// number, and what takes a state away with 0. All numbers are others than the defaults.
pub fn every_option() -> Vec<Rule> {
    rules().iter().flat_map(options_of).collect()
}

/// Every combination of the options of one rule that it accepts.
pub fn options_of(rule: &Rule) -> Vec<Rule> {
    let mut all = vec![rule.clone()];
    for parameter in rule.hyperparameters() {
        let mut values = values_of(&parameter);
        if with(rule, parameter.name, 0.0).states() != rule.states() {
            values.push(0.0);
        }
        all = all
            .iter()
            .flat_map(|rule| values.iter().map(|&value| with(rule, parameter.name, value)))
            .collect();
    }
    all.retain(is_accepted);
    all
}

fn values_of(parameter: &Hyperparameter) -> Vec<f64> {
    let Hyperparameter { name, value, range, .. } = *parameter;
    match range {
        Range::OneOf(names) => (0..names.len()).map(|place| place as f64).collect(),
        _ if name == "lr" => vec![0.05],
        _ if name == "weight_decay" => vec![0.0, 0.1],
        Range::NonNegative if value == 0.0 => vec![0.0, 0.1],
        Range::NonNegative => vec![100.0 * value],
        _ if value == 0.0 => vec![0.0, 0.3],
        // The tenth power, 0.35 for 0.9 and 0.99 for 0.999. Not by `powi`, which has other bits
        // elsewhere.
        _ => vec![[value; 10].iter().product()],
    }
}

/// Does its step take these hyper-parameters? Some do not go together.
pub fn is_accepted(rule: &Rule) -> bool {
    let mut state: Vec<&mut [f32]> = rule.states().iter().map(|_| &mut [][..]).collect();
    rule.step(&mut [], &[], &mut state, 1).is_ok()
}
