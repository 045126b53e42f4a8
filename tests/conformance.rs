//! PyTorch's answers, as `golden/README.md` says how to compare: our `f32` result is as close to
//! PyTorch in `f64` as PyTorch's own `f32` is, element by element, at every recorded step.

use downhill::{
    Adadelta, Adagrad, Adam, Adamax, Adamw, Amsgrad, Decay, Form, Isa, Momentum, Nadam, Nesterov,
    Optimizer, Rmsprop, Sgd, optimizer,
};
use serde_json::Value;

/// A case of `golden/torch.json`.
struct Case<'a> {
    value: &'a Value,
}

impl Case<'_> {
    fn number(&self, option: &str) -> f64 {
        self.value["options"][option].as_f64().unwrap_or_else(|| panic!("no option {option}"))
    }

    /// An option that only some of PyTorch's rules have.
    fn number_or_zero(&self, option: &str) -> f64 {
        self.value["options"].get(option).map_or(0.0, |value| value.as_f64().unwrap())
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
        if t == 1 { 0.0 } else { self.number_or_zero("dampening") }
    }

    fn betas(&self) -> [f64; 2] {
        [0, 1].map(|k| self.value["options"]["betas"][k].as_f64().unwrap())
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

fn nesterov(case: &Case, t: u64, form: Form) -> Box<dyn Optimizer> {
    optimizer(Nesterov {
        lr: case.lr(t),
        momentum: case.number("momentum"),
        form,
        weight_decay: case.number("weight_decay"),
        decay: case.decay(),
    })
}

fn adagrad(case: &Case, t: u64) -> Box<dyn Optimizer> {
    optimizer(Adagrad {
        lr: case.lr(t) / (1.0 + (t - 1) as f64 * case.number("lr_decay")),
        eps: case.number("eps"),
        weight_decay: case.number("weight_decay"),
        decay: case.decay(),
    })
}

fn adadelta(case: &Case, t: u64) -> Box<dyn Optimizer> {
    optimizer(Adadelta {
        lr: case.lr(t),
        rho: case.number("rho"),
        eps: case.number("eps"),
        weight_decay: case.number("weight_decay"),
        decay: case.decay(),
    })
}

fn rmsprop(case: &Case, t: u64) -> Box<dyn Optimizer> {
    let config = Rmsprop {
        lr: case.lr(t),
        alpha: case.number("alpha"),
        eps: case.number("eps"),
        momentum: case.number("momentum"),
        weight_decay: case.number("weight_decay"),
        decay: case.decay(),
    };
    config.optimizer(case.is("centered"))
}

fn adam(case: &Case, t: u64) -> Box<dyn Optimizer> {
    let [beta1, beta2] = case.betas();
    let config = Adam {
        lr: case.lr(t),
        beta1,
        beta2,
        eps: case.number("eps"),
        weight_decay: case.number("weight_decay"),
        decay: case.decay(),
        ..Adam::default()
    };
    match (case.is("amsgrad"), config.decay) {
        (true, _) => optimizer(Amsgrad(config)),
        (false, Decay::L2) => optimizer(config),
        (false, Decay::Decoupled) => {
            let Adam { lr, beta1, beta2, eps, bias_correction, weight_decay, .. } = config;
            optimizer(Adamw { lr, beta1, beta2, eps, bias_correction, weight_decay })
        }
    }
}

fn adamax(case: &Case, t: u64) -> Box<dyn Optimizer> {
    let [beta1, beta2] = case.betas();
    optimizer(Adamax {
        lr: case.lr(t),
        beta1,
        beta2,
        eps: case.number("eps"),
        weight_decay: case.number("weight_decay"),
        decay: case.decay(),
    })
}

fn nadam(case: &Case, t: u64) -> Box<dyn Optimizer> {
    let [beta1, beta2] = case.betas();
    optimizer(Nadam {
        lr: case.lr(t),
        beta1,
        beta2,
        eps: case.number("eps"),
        momentum_decay: case.number("momentum_decay"),
        weight_decay: case.number("weight_decay"),
        decay: case.decay(),
    })
}

/// Which rules of ours must pass a case.
fn rules_of(case: &Case) -> Vec<Configure> {
    // At a constant rate and without dampening the classic forms walk the same path.
    let classic_too = case.value["lr_change"].is_null() && case.number_or_zero("dampening") == 0.0;
    let forms: [Configure; 2] = match case.value["rule"].as_str().unwrap() {
        "momentum" => {
            [|case, t| momentum(case, t, Form::Torch), |case, t| momentum(case, t, Form::Classic)]
        }
        "nesterov" => {
            [|case, t| nesterov(case, t, Form::Torch), |case, t| nesterov(case, t, Form::Classic)]
        }
        "sgd" => return vec![sgd],
        "adagrad" => return vec![adagrad],
        "adadelta" => return vec![adadelta],
        "rmsprop" => return vec![rmsprop],
        "adam" => return vec![adam],
        "adamax" => return vec![adamax],
        "nadam" => return vec![nadam],
        other => panic!("torch.json has a rule that this test does not know: {other}"),
    };
    forms[..1 + usize::from(classic_too)].to_vec()
}

#[test]
fn torch() {
    let file: Value = serde_json::from_str(include_str!("golden/torch.json")).unwrap();
    let cases: Vec<_> = file["cases"].as_array().unwrap().iter().map(|value| Case { value }).collect();
    for case in &cases {
        for configure in rules_of(case) {
            for isa in Isa::available().into_iter().map(Some).chain([None]) {
                check(&file, case, configure, isa);
            }
        }
    }
    assert_eq!(cases.len(), 29);
}

/// Runs the case with the kernel of an ISA, or with the reference.
fn check(file: &Value, case: &Case, configure: Configure, isa: Option<Isa>) {
    let mut w = floats(&file["w0"]);
    let states = configure(case, 1).state_names().len();
    let initial = case.number_or_zero("initial_accumulator_value") as f32;
    let mut state = vec![vec![initial; w.len()]; states];
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
