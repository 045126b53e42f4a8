//! PyTorch's answers, as `golden/README.md` says how to compare: our `f32` result is as close to
//! PyTorch in `f64` as PyTorch's own `f32` is, element by element, at every recorded step.

use downhill::{Adam, Decay, Form, Isa, Momentum, Optimizer, Sgd, optimizer};
use serde_json::Value;

/// A case of `golden/torch.json`.
struct Case<'a> {
    value: &'a Value,
}

impl Case<'_> {
    fn number(&self, option: &str) -> f64 {
        self.value["options"][option].as_f64().unwrap_or(0.0)
    }

    /// The learning rate of step `t`, which may change once.
    fn lr(&self, t: u64) -> f64 {
        match self.value["lr_change"].as_array() {
            Some(change) if t >= change[0].as_u64().unwrap() => change[1].as_f64().unwrap(),
            _ => self.number("lr"),
        }
    }

    fn decay(&self) -> Decay {
        if self.value["decoupled"] == true { Decay::Decoupled } else { Decay::L2 }
    }

    /// PyTorch does not dampen the first step.
    fn dampening(&self, t: u64) -> f64 {
        if t == 1 { 0.0 } else { self.number("dampening") }
    }

    fn is(&self, option: &str) -> bool {
        self.value["options"][option] == true
    }
}

/// A rule of ours at step `t` of a case.
type Configure = fn(&Case, u64) -> Box<dyn Optimizer>;

fn sgd(case: &Case, t: u64) -> Box<dyn Optimizer> {
    optimizer(Sgd { lr: case.lr(t), weight_decay: case.number("weight_decay"), decay: case.decay() })
}

fn momentum(case: &Case, t: u64, form: Form) -> Box<dyn Optimizer> {
    optimizer(Momentum {
        lr: case.lr(t),
        momentum: case.number("momentum"),
        dampening: case.dampening(t),
        form,
        weight_decay: case.number("weight_decay"),
        decay: case.decay(),
    })
}

fn momentum_torch(case: &Case, t: u64) -> Box<dyn Optimizer> {
    momentum(case, t, Form::Torch)
}

fn momentum_classic(case: &Case, t: u64) -> Box<dyn Optimizer> {
    momentum(case, t, Form::Classic)
}

fn adam(case: &Case, t: u64) -> Box<dyn Optimizer> {
    let betas = &case.value["options"]["betas"];
    optimizer(Adam {
        lr: case.lr(t),
        beta1: betas[0].as_f64().unwrap(),
        beta2: betas[1].as_f64().unwrap(),
        eps: case.number("eps"),
        weight_decay: case.number("weight_decay"),
        decay: case.decay(),
        ..Adam::default()
    })
}

/// Which rules of ours must pass a case.
fn rules_of(case: &Case) -> Vec<Configure> {
    match case.value["rule"].as_str().unwrap() {
        "sgd" => vec![sgd],
        // At a constant rate and without dampening the classic form walks the same path.
        "momentum" if case.value["lr_change"].is_null() && case.number("dampening") == 0.0 => {
            vec![momentum_torch, momentum_classic]
        }
        "momentum" => vec![momentum_torch],
        "adam" if !case.is("amsgrad") => vec![adam],
        _ => vec![],
    }
}

#[test]
fn torch() {
    let file: Value = serde_json::from_str(include_str!("golden/torch.json")).unwrap();
    let cases: Vec<_> = file["cases"].as_array().unwrap().iter().map(|value| Case { value }).collect();
    let mut compared = Vec::new();
    for case in &cases {
        for configure in rules_of(case) {
            for isa in Isa::available().into_iter().map(Some).chain([None]) {
                check(&file, case, configure, isa);
            }
            compared.push(case.value["name"].as_str().unwrap());
        }
    }
    println!("{compared:?}");
    let expected = [
        ["sgd", "sgd-l2", "sgd-maximize"].as_slice(),
        &[
            "momentum",
            "momentum",
            "momentum-l2",
            "momentum-l2",
            "momentum-dampened",
            "momentum-lr-change",
        ],
        &["adam", "adam-l2", "adam-maximize", "adamw", "adam-lr-change"],
    ];
    assert_eq!(compared, expected.concat());
}

/// Runs the case with the kernel of an ISA, or with the reference.
fn check(file: &Value, case: &Case, configure: Configure, isa: Option<Isa>) {
    let mut w = floats(&file["w0"]);
    let states = configure(case, 1).state_names().len();
    let mut state = vec![vec![0.0; w.len()]; states];
    for t in 1..=file["steps"].as_u64().unwrap() {
        let mut g = floats(&file["grads"][t as usize - 1]);
        if case.is("maximize") {
            g.iter_mut().for_each(|g| *g = -*g);
        }
        let rule = configure(case, t);
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
