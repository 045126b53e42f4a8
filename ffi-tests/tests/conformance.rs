//! PyTorch's answers through the C functions, compared as `tests/golden/README.md` says.

use std::{
    fmt::Write as _,
    fs::{self, File},
    path::{Path, PathBuf},
};

use downhill::Isa;
use ffi_tests::{Linking, Standard, command, compile, directory, root, text};
use serde_json::Value;

#[test]
fn torch() {
    let file = fs::read_to_string(root().join("tests/golden/torch.json")).unwrap();
    let file: Value = serde_json::from_str(&file).unwrap();
    let program = compile(&root().join("ffi-tests/c/conformance.c"), Standard::C99, Linking::Static);
    let cases = file["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 34);
    for case in cases {
        let problem = directory("conformance").join(case["name"].as_str().unwrap());
        fs::write(&problem, problem_text(&file, case)).unwrap();
        for isa in Isa::available() {
            compare(case, &run(&program, &problem, isa), file["n"].as_u64().unwrap() as usize);
        }
    }
}

// ---- PyTorch's options as ours

/// Our rule's name. PyTorch's Adam is three rules of ours.
fn rule(case: &Value) -> &str {
    match case["rule"].as_str().unwrap() {
        "adam" if case["options"]["amsgrad"] == true => "amsgrad",
        "adam" if case["decoupled"] == true => "adamw",
        rule => rule,
    }
}

/// The configuration's fields at step `t`.
fn fields(case: &Value, t: u64) -> Vec<(&str, f64)> {
    let number = |option: &str| case["options"][option].as_f64().unwrap_or(0.0);
    let mut lr = number("lr") / (1.0 + (t - 1) as f64 * number("lr_decay"));
    if case["lr_change"][0].as_u64().is_some_and(|change| t >= change) {
        lr = case["lr_change"][1].as_f64().unwrap();
    }
    let decay = f64::from(u8::from(case["decoupled"] == true));
    let mut fields = vec![("lr", lr), ("weight_decay", number("weight_decay")), ("decay", decay)];
    for (k, beta) in ["beta1", "beta2"].into_iter().enumerate() {
        fields.extend(case["options"]["betas"][k].as_f64().map(|value| (beta, value)));
    }
    // What a rule of ours does not have is 0 in PyTorch; `dampening` is not for the first step.
    for name in ["momentum", "dampening", "alpha", "rho", "eps", "momentum_decay"] {
        if number(name) != 0.0 && !(name == "dampening" && t == 1) {
            fields.push((name, number(name)));
        }
    }
    if case["options"]["centered"] == true {
        fields.push(("centered", 1.0));
    }
    fields
}

// ---- the run

/// What `conformance.c` reads.
fn problem_text(file: &Value, case: &Value) -> String {
    let initial = case["options"]["initial_accumulator_value"].as_f64().unwrap_or(0.0);
    let mut text = format!("{} {}\n", rule(case), bits(initial, 1.0));
    writeln!(text, "{} {}\n{}", file["n"], file["steps"], all_bits(&file["w0"], 1.0)).unwrap();
    let sign = if case["options"]["maximize"] == true { -1.0 } else { 1.0 };
    for (t, g) in (1..).zip(file["grads"].as_array().unwrap()) {
        let fields = fields(case, t);
        write!(text, "{}", fields.len()).unwrap();
        for (name, value) in fields {
            write!(text, " {name} {value:?}").unwrap();
        }
        writeln!(text, "\n{}", all_bits(g, sign)).unwrap();
    }
    text
}

fn bits(x: f64, sign: f32) -> String {
    format!("{:08x}", (sign * x as f32).to_bits())
}

fn all_bits(values: &Value, sign: f32) -> String {
    doubles(values).into_iter().map(|x| bits(x, sign)).collect::<Vec<_>>().join(" ")
}

fn doubles(values: &Value) -> Vec<f64> {
    values.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

/// The weights after every step, one step after the other.
fn run(program: &Path, problem: &PathBuf, isa: Isa) -> Vec<f64> {
    let mut command = command(program);
    command.env("DOWNHILL_ISA", isa.name()).stdin(File::open(problem).unwrap());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{problem:?} on {isa}: {}", text(&output.stderr));
    let bits = |line| f32::from_bits(u32::from_str_radix(line, 16).unwrap());
    text(&output.stdout).lines().map(|line| f64::from(bits(line))).collect()
}

/// `max|ours - truth| <= 2*max|torch - truth| + 2e-7` at every recorded step.
fn compare(case: &Value, weights: &[f64], n: usize) {
    let truths = case["truth"].as_object().unwrap();
    assert!(!truths.is_empty());
    for (t, truth) in truths {
        let (truth, torch) = (doubles(truth), doubles(&case["torch"][t]));
        let theirs = torch.iter().zip(&truth).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        let step = t.parse::<usize>().unwrap() - 1;
        for (i, (w, truth)) in weights[step * n..][..n].iter().zip(&truth).enumerate() {
            assert!(
                (w - truth).abs() <= 2.0 * theirs + 2e-7,
                "{} step {t} element {i}: {w}, not {truth}",
                case["name"]
            );
        }
    }
}
