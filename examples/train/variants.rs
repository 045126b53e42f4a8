//! What can be trained with.

use downhill::{Optimizer, Range, rules};

/// A rule with the defaults of all hyper-parameters, or all but one.
#[derive(Clone, Debug)]
pub struct Variant {
    /// `rmsprop`, or `rmsprop-centered`.
    pub name: String,
    pub rule: Box<dyn Optimizer>,
}

/// Every rule, and after them each that has a switch with that on.
pub fn all() -> Vec<Variant> {
    let plain = rules().into_iter().map(|rule| Variant { name: rule.name().to_owned(), rule });
    plain.chain(rules().into_iter().flat_map(switched)).collect()
}

fn switched(rule: Box<dyn Optimizer>) -> impl Iterator<Item = Variant> {
    let switches =
        rule.hyperparameters().into_iter().filter(|one| one.range == Range::OneOf(&["false", "true"]));
    switches.map(move |switch| {
        let mut variant =
            Variant { name: format!("{}-{}", rule.name(), switch.name), rule: rule.clone() };
        variant.rule.set(switch.name, 1.0).expect("the rule has it");
        variant
    })
}

/// The variant of this name.
pub fn named(name: &str) -> Result<Variant, String> {
    let found = all().into_iter().find(|variant| variant.name == name);
    found.ok_or_else(|| format!("it must be one of {}", names()))
}

/// Of all of them.
pub fn names() -> String {
    all().into_iter().map(|variant| variant.name).collect::<Vec<_>>().join(", ")
}

/// One that every rule takes.
pub fn learning_rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(lr) if lr >= 0.0 && (lr as f32).is_finite() => Ok(lr),
        _ => Err("it must be a number, at least 0 and finite in f32".to_owned()),
    }
}
