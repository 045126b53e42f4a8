//! PyTorch's answers, as `golden/README.md` says how to compare: our `f32` result is as close to PyTorch
//! in `f64` as PyTorch's own `f32` is, element by element, at every recorded step.

mod common;

use std::collections::HashSet;

use common::{Rule, options_of, with};
use downhill::{Isa, rules};
use serde_json::Value;

/// Options of PyTorch's that choose the rule, or that the test itself does. All others are
/// hyper-parameters of ours.
const NOT_OURS: [&str; 7] = [
    "amsgrad",
    "betas",
    "decoupled_weight_decay",
    "initial_accumulator_value",
    "lr_decay",
    "maximize",
    "nesterov",
];

/// A case of `golden/torch.json`.
struct Case<'a> {
    value: &'a Value,
}

impl Case<'_> {
    fn rule(&self) -> &str {
        self.value["rule"].as_str().unwrap()
    }

    /// A number, or 1 for true.
    fn option(&self, name: &str) -> Option<f64> {
        let value = self.value["options"].get(name)?;
        value.as_f64().or_else(|| value.as_bool().map(|is_on| f64::from(u8::from(is_on))))
    }

    /// The learning rate of step `t`, which may change once.
    fn lr(&self, t: u64) -> f64 {
        let lr = match self.value["lr_change"].as_array() {
            Some(change) if t >= change[0].as_u64().unwrap() => change[1].as_f64().unwrap(),
            _ => self.option("lr").unwrap(),
        };
        lr / (1.0 + (t - 1) as f64 * self.option("lr_decay").unwrap_or(0.0))
    }

    /// Our hyper-parameter at step `t`, if PyTorch has it.
    fn hyperparameter(&self, name: &str, t: u64) -> Option<f64> {
        let beta = |k: usize| self.value["options"]["betas"][k].as_f64();
        match name {
            "lr" => Some(self.lr(t)),
            "beta1" => beta(0),
            "beta2" => beta(1),
            "decay" => self.option("decoupled_weight_decay"),
            // PyTorch does not dampen the first step.
            "dampening" if t == 1 => Some(0.0),
            _ => self.option(name),
        }
    }

    /// Our rule at step `t`, with momentum in this form if it has forms.
    fn configured(&self, t: u64, form: &str) -> Rule {
        let listed = rules().into_iter().find(|rule| rule.name() == self.rule());
        let mut rule = listed.unwrap_or_else(|| panic!("no rule {}", self.rule()));
        for parameter in rule.hyperparameters() {
            if parameter.name == "form" {
                rule = with(&rule, "form", parameter.range.parse(form).unwrap());
            } else if let Some(value) = self.hyperparameter(parameter.name, t) {
                rule = with(&rule, parameter.name, value);
            }
        }
        rule
    }

    /// The forms of momentum that must pass. At a constant rate and without dampening the classic form
    /// walks the same path.
    fn forms(&self) -> &[&str] {
        let has_forms =
            self.configured(1, "torch").hyperparameters().iter().any(|one| one.name == "form");
        let is_constant = self.value["lr_change"].is_null();
        let is_dampened = self.option("dampening").is_some_and(|dampening| dampening != 0.0);
        if has_forms && is_constant && !is_dampened { &["torch", "classic"] } else { &["torch"] }
    }

    /// Every option is a hyper-parameter of the rule, or listed above, or does nothing.
    fn check_options(&self) {
        let ours = self.configured(1, "torch").hyperparameters();
        for name in self.value["options"].as_object().unwrap().keys() {
            let is_known = NOT_OURS.contains(&&name[..]) || ours.iter().any(|one| one.name == name);
            assert!(is_known || self.option(name) == Some(0.0), "{}: {name}", self.value["name"]);
        }
    }
}

fn file() -> Value {
    serde_json::from_str(include_str!("golden/torch.json")).unwrap()
}

fn cases(file: &Value) -> Vec<Case<'_>> {
    file["cases"].as_array().unwrap().iter().map(|value| Case { value }).collect()
}

#[test]
fn torch() {
    let file = file();
    for case in cases(&file) {
        case.check_options();
        for form in case.forms() {
            for isa in Isa::available().into_iter().map(Some).chain([None]) {
                check(&file, &case, form, isa);
            }
        }
    }
}

/// Every rule that PyTorch has too, with weight decay, and in each layout of its states.
#[test]
fn every_rule_has_cases() {
    let file = file();
    let missing: Vec<_> = file["not_in_torch"].as_array().unwrap().iter().collect();
    for rule in rules() {
        let of_rule: Vec<_> =
            cases(&file).into_iter().filter(|case| case.rule() == rule.name()).collect();
        assert_eq!(of_rule.is_empty(), missing.contains(&&Value::from(rule.name())), "{rule:?}");
        let decays = of_rule.iter().any(|case| case.option("weight_decay") > Some(0.0));
        assert!(of_rule.is_empty() || decays, "{rule:?} without weight decay");
        let layout = |rule: &Rule| rule.states().iter().map(|state| state.name).collect::<Vec<_>>();
        let tested: HashSet<_> =
            of_rule.iter().map(|case| layout(&case.configured(1, "torch"))).collect();
        let all: HashSet<_> = options_of(&rule).iter().map(layout).collect();
        assert!(of_rule.is_empty() || tested == all, "{rule:?}: {tested:?} of {all:?}");
    }
    assert_eq!(cases(&file).len(), 34);
}

/// Runs the case with the kernel of an ISA, or with the reference.
fn check(file: &Value, case: &Case, form: &str, isa: Option<Isa>) {
    let mut w = floats(&file["w0"]);
    let states = case.configured(1, form).states().len();
    let initial = case.option("initial_accumulator_value").unwrap_or(0.0) as f32;
    let mut state = vec![vec![initial; w.len()]; states];
    for t in 1..=file["steps"].as_u64().unwrap() {
        let mut g = floats(&file["grads"][t as usize - 1]);
        if case.option("maximize") == Some(1.0) {
            g.iter_mut().for_each(|g| *g = -*g);
        }
        let rule = case.configured(t, form);
        let mut state: Vec<&mut [f32]> = state.iter_mut().map(|x| &mut x[..]).collect();
        match isa {
            Some(isa) => rule.step_on(isa, &mut w, &g, &mut state, t).unwrap(),
            None => rule.reference_step(&mut w, &g, &mut state, t).unwrap(),
        }
        if let Some(truth) = case.value["truth"].get(t.to_string()) {
            compare(&w, &doubles(truth), &doubles(&case.value["torch"][t.to_string()]), case, t);
        }
    }
}

/// `max|ours − truth| ≤ 2·max|torch − truth| + 2e-7`
fn compare(w: &[f32], truth: &[f64], torch: &[f64], case: &Case, t: u64) {
    assert_eq!((w.len(), truth.len()), (truth.len(), torch.len()));
    let theirs = torch.iter().zip(truth).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    for (i, (&w, &truth)) in w.iter().zip(truth).enumerate() {
        let ours = (f64::from(w) - truth).abs();
        assert!(
            ours <= 2.0 * theirs + 2e-7,
            "{} step {t} element {i}: {w} is off by {ours:e}",
            case.value["name"]
        );
    }
}

fn doubles(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

fn floats(value: &Value) -> Vec<f32> {
    doubles(value).iter().map(|&x| x as f32).collect()
}
