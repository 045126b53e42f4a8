//! Defaults, sizes and offsets of the C configurations, against those of Rust and the documented order.

use std::fmt::Write;

use downhill::{
    Adadelta, Adagrad, Adam, Adamax, Adamw, Amsgrad, Decay, Extras, Form, Lion, Momentum, Nadam,
    Nesterov, Packing, Rmsprop, Rounding, Sgd, StateFormat,
};
use ffi_tests::{Linking::Static, Standard::*, compile, root, run};

#[test]
fn defaults_and_layout_are_as_documented() {
    let expected = all_layouts();
    for standard in [C99, Cxx11, Cxx17] {
        let program = compile(&root().join("ffi-tests/c/defaults.c"), standard, Static);
        assert_eq!(run(&program, &[]), expected);
    }
}

/// What `defaults.c` prints for every rule, the extras and the packing, from the defaults in Rust.
fn all_layouts() -> String {
    let (sgd, momentum, nesterov) = (Sgd::default(), Momentum::default(), Nesterov::default());
    let (adagrad, adadelta, rmsprop) = (Adagrad::default(), Adadelta::default(), Rmsprop::default());
    let (adamax, nadam, lion) = (Adamax::default(), Nadam::default(), Lion::default());
    [
        layout("sgd", &[decay(sgd.decay)], &[("lr", sgd.lr), ("weight_decay", sgd.weight_decay)]),
        layout(
            "momentum",
            &[form(momentum.form), decay(momentum.decay)],
            &[
                ("lr", momentum.lr),
                ("momentum", momentum.momentum),
                ("dampening", momentum.dampening),
                ("weight_decay", momentum.weight_decay),
            ],
        ),
        layout(
            "nesterov",
            &[form(nesterov.form), decay(nesterov.decay)],
            &[
                ("lr", nesterov.lr),
                ("momentum", nesterov.momentum),
                ("weight_decay", nesterov.weight_decay),
            ],
        ),
        layout(
            "adagrad",
            &[decay(adagrad.decay)],
            &[("lr", adagrad.lr), ("eps", adagrad.eps), ("weight_decay", adagrad.weight_decay)],
        ),
        layout(
            "adadelta",
            &[decay(adadelta.decay)],
            &[
                ("lr", adadelta.lr),
                ("rho", adadelta.rho),
                ("eps", adadelta.eps),
                ("weight_decay", adadelta.weight_decay),
            ],
        ),
        layout(
            "rmsprop",
            &[decay(rmsprop.decay)],
            &[
                ("lr", rmsprop.lr),
                ("momentum", rmsprop.momentum),
                ("alpha", rmsprop.alpha),
                ("eps", rmsprop.eps),
                ("weight_decay", rmsprop.weight_decay),
            ],
        ),
        adam_layout("adam", Adam::default()),
        adam_layout("adamw", adamw()),
        adam_layout("amsgrad", Amsgrad::default().0),
        layout(
            "adamax",
            &[decay(adamax.decay)],
            &[
                ("lr", adamax.lr),
                ("beta1", adamax.beta1),
                ("beta2", adamax.beta2),
                ("eps", adamax.eps),
                ("weight_decay", adamax.weight_decay),
            ],
        ),
        layout(
            "nadam",
            &[decay(nadam.decay)],
            &[
                ("lr", nadam.lr),
                ("beta1", nadam.beta1),
                ("beta2", nadam.beta2),
                ("eps", nadam.eps),
                ("momentum_decay", nadam.momentum_decay),
                ("weight_decay", nadam.weight_decay),
            ],
        ),
        layout(
            "lion",
            &[decay(lion.decay)],
            &[
                ("lr", lion.lr),
                ("beta1", lion.beta1),
                ("beta2", lion.beta2),
                ("weight_decay", lion.weight_decay),
            ],
        ),
        extras_layout(Extras::default()),
        packing_layout(Packing::default()),
    ]
    .concat()
}

/// AdamW as C has it: a configuration of Adam.
fn adamw() -> Adam {
    let Adamw { lr, beta1, beta2, eps, bias_correction, weight_decay } = Adamw::default();
    Adam { lr, beta1, beta2, eps, bias_correction, weight_decay, decay: Decay::Decoupled }
}

fn adam_layout(name: &str, config: Adam) -> String {
    layout(
        name,
        &[("bias_correction", config.bias_correction as u32), decay(config.decay)],
        &[
            ("lr", config.lr),
            ("beta1", config.beta1),
            ("beta2", config.beta2),
            ("eps", config.eps),
            ("weight_decay", config.weight_decay),
        ],
    )
}

/// The default extras set no flag.
fn extras_layout(extras: Extras) -> String {
    let flags = u32::from(extras.zero_grad || extras.skip_nonfinite);
    let doubles = [("grad_scale", extras.grad_scale), ("max_norm", extras.max_norm)];
    layout("extras", &[("flags", flags)], &doubles)
}

/// Weights are float by default. The seed, which is an integer, stands where a double would.
fn packing_layout(Packing { format, rounding }: Packing) -> String {
    let format = match format {
        StateFormat::Bits8 => 0,
        StateFormat::Bf16 => 1,
    };
    let (rounding, seed) = match rounding {
        Rounding::Stochastic { seed } => (0, seed as f64),
        Rounding::Nearest => (1, 0.0),
    };
    let enumerations = [("state_format", format), ("weight_format", 0), ("rounding", rounding)];
    layout("packing", &enumerations, &[("seed", seed)])
}

fn decay(decay: Decay) -> (&'static str, u32) {
    ("decay", decay as u32)
}

fn form(form: Form) -> (&'static str, u32) {
    ("form", form as u32)
}

/// `struct_size`, the enumerations, then the doubles, aligned as this machine aligns them: what `defaults.c` prints.
fn layout(name: &str, enumerations: &[(&str, u32)], doubles: &[(&str, f64)]) -> String {
    let first_double = (4 * (1 + enumerations.len())).next_multiple_of(align_of::<f64>());
    let size = first_double + 8 * doubles.len();
    let mut text = format!("{name}.sizeof {size}\n");
    let mut field = |field: &str, value: f64, offset: usize| {
        writeln!(text, "{name}.{field} {:016x} at {offset}", value.to_bits()).unwrap();
    };
    field("struct_size", size as f64, 0);
    for (&(name, value), offset) in enumerations.iter().zip((4..).step_by(4)) {
        field(name, value.into(), offset);
    }
    for (&(name, value), offset) in doubles.iter().zip((first_double..).step_by(8)) {
        field(name, value, offset);
    }
    text
}
