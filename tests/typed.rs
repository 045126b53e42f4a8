//! The functions of each rule, as Rust calls them: each hands its arrays on in the right order, and
//! allocates nothing.

mod common;

use common::{same, uniform};
use downhill::{
    Adadelta, Adagrad, Adam, Adamax, Error, Isa, Lion, Momentum, Nadam, Nesterov, Rmsprop, Sgd,
    adadelta_step, adagrad_step, adam_step, adamax_step, adamw_step, amsgrad_step, lion_step,
    momentum_step, nadam_step, nesterov_step, reference, rmsprop_step, sgd_step,
};

/// `w`, `g` and three states; a rule with fewer leaves the rest alone.
type Arrays = [Vec<f32>; 5];
type Step = fn(&mut Arrays) -> Result<(), Error>;

const T: u64 = 3;

/// Every step function under a name, with its kernel and with its reference.
fn steps() -> Vec<(&'static str, Step, Step)> {
    vec![
        (
            "sgd",
            |[w, g, ..]| sgd_step(w, g, &Sgd::default()),
            |[w, g, ..]| reference::sgd_step(w, g, &Sgd::default()),
        ),
        (
            "momentum",
            |[w, g, u, ..]| momentum_step(w, g, u, &Momentum::default()),
            |[w, g, u, ..]| reference::momentum_step(w, g, u, &Momentum::default()),
        ),
        (
            "nesterov",
            |[w, g, u, ..]| nesterov_step(w, g, u, &Nesterov::default()),
            |[w, g, u, ..]| reference::nesterov_step(w, g, u, &Nesterov::default()),
        ),
        (
            "adagrad",
            |[w, g, s, ..]| adagrad_step(w, g, s, &Adagrad::default()),
            |[w, g, s, ..]| reference::adagrad_step(w, g, s, &Adagrad::default()),
        ),
        (
            "adadelta",
            |[w, g, v, u, _]| adadelta_step(w, g, v, u, &Adadelta::default()),
            |[w, g, v, u, _]| reference::adadelta_step(w, g, v, u, &Adadelta::default()),
        ),
        (
            "rmsprop",
            |[w, g, v, ..]| rmsprop_step(w, g, v, None, None, &Rmsprop::default()),
            |[w, g, v, ..]| reference::rmsprop_step(w, g, v, None, None, &Rmsprop::default()),
        ),
        (
            "rmsprop, centered",
            |[w, g, v, a, _]| rmsprop_step(w, g, v, Some(a), None, &Rmsprop::default()),
            |[w, g, v, a, _]| reference::rmsprop_step(w, g, v, Some(a), None, &Rmsprop::default()),
        ),
        (
            "rmsprop, momentum",
            |[w, g, v, u, _]| rmsprop_step(w, g, v, None, Some(u), &RMSPROP),
            |[w, g, v, u, _]| reference::rmsprop_step(w, g, v, None, Some(u), &RMSPROP),
        ),
        (
            "rmsprop, centered, momentum",
            |[w, g, v, a, u]| rmsprop_step(w, g, v, Some(a), Some(u), &RMSPROP),
            |[w, g, v, a, u]| reference::rmsprop_step(w, g, v, Some(a), Some(u), &RMSPROP),
        ),
        (
            "adam",
            |[w, g, m, v, _]| adam_step(w, g, m, v, T, &Adam::default()),
            |[w, g, m, v, _]| reference::adam_step(w, g, m, v, T, &Adam::default()),
        ),
        (
            "adamw",
            |[w, g, m, v, _]| adamw_step(w, g, m, v, T, &Adam::adamw()),
            |[w, g, m, v, _]| reference::adam_step(w, g, m, v, T, &Adam::adamw()),
        ),
        (
            "amsgrad",
            |[w, g, m, v, v_max]| amsgrad_step(w, g, m, v, v_max, T, &Adam::default()),
            |[w, g, m, v, v_max]| reference::amsgrad_step(w, g, m, v, v_max, T, &Adam::default()),
        ),
        (
            "adamax",
            |[w, g, m, u, _]| adamax_step(w, g, m, u, T, &Adamax::default()),
            |[w, g, m, u, _]| reference::adamax_step(w, g, m, u, T, &Adamax::default()),
        ),
        (
            "nadam",
            |[w, g, m, v, _]| nadam_step(w, g, m, v, T, &Nadam::default()),
            |[w, g, m, v, _]| reference::nadam_step(w, g, m, v, T, &Nadam::default()),
        ),
        (
            "lion",
            |[w, g, m, ..]| lion_step(w, g, m, &Lion::default()),
            |[w, g, m, ..]| reference::lion_step(w, g, m, &Lion::default()),
        ),
    ]
}

const RMSPROP: Rmsprop = Rmsprop {
    lr: 0.1,
    alpha: 0.9,
    eps: 1e-6,
    momentum: 0.9,
    weight_decay: 0.0,
    decay: downhill::Decay::L2,
};

/// Positive, as a second moment is, and different everywhere.
fn arrays() -> Arrays {
    let mut value = uniform();
    std::array::from_fn(|_| (0..37).map(|_| 0.1 + value().abs()).collect())
}

#[test]
fn every_function_is_its_reference() {
    for (name, step, reference) in steps() {
        let (mut ours, mut expected) = (arrays(), arrays());
        for _ in 0..3 {
            step(&mut ours).unwrap();
            reference(&mut expected).unwrap();
        }
        let equal = |(a, b): (&Vec<f32>, &Vec<f32>)| a.iter().zip(b).all(|(&a, &b)| same(a, b));
        assert!(ours.iter().zip(&expected).all(equal), "{name}");
        assert_ne!(ours[0], arrays()[0], "{name} moved nothing");
    }
}

#[test]
fn no_function_allocates() {
    // The first call of a process looks at the CPU and the environment.
    Isa::current().unwrap();
    for (name, step, _) in steps() {
        let mut arrays = arrays();
        let count = allocation_counter::measure(|| step(&mut arrays).unwrap());
        assert_eq!(count.count_total, 0, "{name}");
    }
}

/// The widest instruction set is the one in use, unless the environment says otherwise.
#[test]
fn the_widest_instruction_set_is_used() {
    let current = Isa::current().unwrap();
    match std::env::var("DOWNHILL_ISA") {
        Ok(name) => assert_eq!(current.name(), name),
        Err(_) => assert_eq!(current, *Isa::available().last().unwrap()),
    }
}

/// λ and what is 0 in `f32` do no arithmetic.
#[test]
fn a_decay_that_rounds_to_zero_does_nothing() {
    let config = Sgd { weight_decay: 1e-50, ..Sgd::default() };
    for step in [sgd_step, reference::sgd_step] {
        let mut w = [f32::INFINITY];
        step(&mut w, &[1.0], &config).unwrap();
        assert_eq!(w, [f32::INFINITY]);
    }
}
