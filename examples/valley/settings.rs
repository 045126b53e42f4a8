//! What the pictures say about a rule's hyper-parameters.

use downhill::{Hyperparameter, Optimizer, Range};

/// A hyper-parameter as text, like `γ = 0.9` or `β = 0.9/0.999`.
pub struct Setting {
    pub text: String,
    /// Is it what the library has by default?
    pub default: bool,
}

/// The numbers of a rule that are not 0, which turns most of them off, in the order of its fields.
/// `default` is the same rule with the defaults.
pub fn settings(rule: &dyn Optimizer, default: &dyn Optimizer) -> Vec<Setting> {
    let mut all: Vec<Setting> = Vec::new();
    for (own, default) in rule.hyperparameters().iter().zip(default.hyperparameters()) {
        let Hyperparameter { name, value, range, .. } = *own;
        if matches!(range, Range::OneOf(_)) || value == 0.0 {
            continue;
        }
        let is_default = value == default.value;
        match (name, all.last_mut()) {
            ("beta2", Some(beta1)) => {
                beta1.text = format!("{}/{}", beta1.text, short(value));
                beta1.default &= is_default;
            }
            _ => {
                let text = format!("{} = {}", symbol(name), short(value));
                all.push(Setting { text, default: is_default });
            }
        }
    }
    all
}

/// What papers call it.
fn symbol(name: &'static str) -> &'static str {
    match name {
        "lr" => "η",
        "momentum" => "γ",
        "dampening" => "τ",
        "alpha" => "α",
        "rho" => "ρ",
        "beta1" | "beta" => "β",
        "eps" => "ε",
        "momentum_decay" => "ψ",
        "weight_decay" => "λ",
        other => other,
    }
}

fn short(value: f64) -> String {
    if value < 1e-3 { format!("{value:e}") } else { format!("{value}") }
}
