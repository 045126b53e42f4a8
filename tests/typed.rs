//! The functions of each rule, as Rust calls them: each hands its arrays on in the right order and does
//! what its configuration does, and so does its reference.

mod common;

use std::collections::HashSet;

use common::{Arrays, Rule, every_option, uniform};
use downhill::{
    Adadelta, Adagrad, Adam, Adamax, Adamw, Amsgrad, Decay, Error, Extras, Isa, Lion, Momentum, Nadam,
    Nesterov, Rmsprop, Sgd, Threads, adadelta_step, adagrad_step, adam_step, adamax_step, adamw_step,
    amsgrad_step, lion_step, momentum_step, nadam_step, nesterov_step, reference, rmsprop_step,
    sgd_step,
};

/// `w`, `g` and the states.
type Step = fn(&mut [f32], &[f32], &mut [Vec<f32>]) -> Result<(), Error>;

const T: u64 = 3;

const CENTERED: Rmsprop = rmsprop(0.0, true);
const WITH_MOMENTUM: Rmsprop = rmsprop(0.9, false);
const BOTH: Rmsprop = rmsprop(0.9, true);

const fn rmsprop(momentum: f64, centered: bool) -> Rmsprop {
    let (lr, alpha, eps) = (0.1, 0.9, 1e-6);
    Rmsprop { lr, alpha, eps, momentum, centered, weight_decay: 0.0, decay: Decay::L2 }
}

/// Every step function, with its kernel and with its reference, and the configuration that is to do the
/// same.
fn steps() -> Vec<(Rule, Step, Step)> {
    vec![
        (
            Sgd::default().into(),
            |w, g, _| sgd_step(w, g, &Sgd::default()),
            |w, g, _| reference::sgd_step(w, g, &Sgd::default()),
        ),
        (
            Momentum::default().into(),
            |w, g, s| momentum_step(w, g, &mut s[0], &Momentum::default()),
            |w, g, s| reference::momentum_step(w, g, &mut s[0], &Momentum::default()),
        ),
        (
            Nesterov::default().into(),
            |w, g, s| nesterov_step(w, g, &mut s[0], &Nesterov::default()),
            |w, g, s| reference::nesterov_step(w, g, &mut s[0], &Nesterov::default()),
        ),
        (
            Adagrad::default().into(),
            |w, g, s| adagrad_step(w, g, &mut s[0], &Adagrad::default()),
            |w, g, s| reference::adagrad_step(w, g, &mut s[0], &Adagrad::default()),
        ),
        (
            Adadelta::default().into(),
            |w, g, s| with_two(s, |v, u| adadelta_step(w, g, v, u, &Adadelta::default())),
            |w, g, s| with_two(s, |v, u| reference::adadelta_step(w, g, v, u, &Adadelta::default())),
        ),
        (
            Rmsprop::default().into(),
            |w, g, s| rmsprop_step(w, g, &mut s[0], None, None, &Rmsprop::default()),
            |w, g, s| reference::rmsprop_step(w, g, &mut s[0], None, None, &Rmsprop::default()),
        ),
        (
            CENTERED.into(),
            |w, g, s| with_two(s, |v, avg| rmsprop_step(w, g, v, Some(avg), None, &CENTERED)),
            |w, g, s| with_two(s, |v, avg| reference::rmsprop_step(w, g, v, Some(avg), None, &CENTERED)),
        ),
        (
            WITH_MOMENTUM.into(),
            |w, g, s| with_two(s, |v, u| rmsprop_step(w, g, v, None, Some(u), &WITH_MOMENTUM)),
            |w, g, s| {
                with_two(s, |v, u| reference::rmsprop_step(w, g, v, None, Some(u), &WITH_MOMENTUM))
            },
        ),
        (
            BOTH.into(),
            |w, g, s| with_three(s, |v, avg, u| rmsprop_step(w, g, v, Some(avg), Some(u), &BOTH)),
            |w, g, s| {
                with_three(s, |v, avg, u| reference::rmsprop_step(w, g, v, Some(avg), Some(u), &BOTH))
            },
        ),
        (
            Adam::default().into(),
            |w, g, s| with_two(s, |m, v| adam_step(w, g, m, v, T, &Adam::default())),
            |w, g, s| with_two(s, |m, v| reference::adam_step(w, g, m, v, T, &Adam::default())),
        ),
        (
            Adamw::default().into(),
            |w, g, s| with_two(s, |m, v| adamw_step(w, g, m, v, T, &Adamw::default())),
            |w, g, s| {
                let adamw = Adam { weight_decay: 0.01, decay: Decay::Decoupled, ..Adam::default() };
                with_two(s, |m, v| reference::adam_step(w, g, m, v, T, &adamw))
            },
        ),
        (
            Amsgrad::default().into(),
            |w, g, s| with_three(s, |m, v, most| amsgrad_step(w, g, m, v, most, T, &Adam::default())),
            |w, g, s| {
                with_three(s, |m, v, most| {
                    reference::amsgrad_step(w, g, m, v, most, T, &Adam::default())
                })
            },
        ),
        (
            Adamax::default().into(),
            |w, g, s| with_two(s, |m, u| adamax_step(w, g, m, u, T, &Adamax::default())),
            |w, g, s| with_two(s, |m, u| reference::adamax_step(w, g, m, u, T, &Adamax::default())),
        ),
        (
            Nadam::default().into(),
            |w, g, s| with_two(s, |m, v| nadam_step(w, g, m, v, T, &Nadam::default())),
            |w, g, s| with_two(s, |m, v| reference::nadam_step(w, g, m, v, T, &Nadam::default())),
        ),
        (
            Lion::default().into(),
            |w, g, s| lion_step(w, g, &mut s[0], &Lion::default()),
            |w, g, s| reference::lion_step(w, g, &mut s[0], &Lion::default()),
        ),
    ]
}

fn with_two<T>(state: &mut [Vec<f32>], f: impl FnOnce(&mut [f32], &mut [f32]) -> T) -> T {
    let [a, b] = state else { panic!("two states") };
    f(a, b)
}

fn with_three<T>(state: &mut [Vec<f32>], f: impl FnOnce(&mut [f32], &mut [f32], &mut [f32]) -> T) -> T {
    let [a, b, c] = state else { panic!("three states") };
    f(a, b, c)
}

#[test]
fn every_rule_and_layout_has_its_function() {
    let layout = |rule: &Rule| (rule.name(), rule.states().len());
    let listed: HashSet<_> = steps().iter().map(|(rule, ..)| layout(rule)).collect();
    assert_eq!(listed, every_option().iter().map(layout).collect());
}

/// Positive, as a second moment is, and different everywhere.
fn arrays(rule: &Rule) -> Arrays {
    let mut value = uniform();
    Arrays::new(&**rule, 37, || 0.1 + value().abs())
}

#[test]
fn every_function_is_its_reference_and_its_configuration() {
    for (rule, step, reference) in steps() {
        let start = arrays(&rule);
        let [mut ours, mut expected, mut configured, mut whole] = [(); 4].map(|()| start.clone());
        for _ in 0..3 {
            step(&mut ours.w, &ours.g, &mut ours.state).unwrap();
            reference(&mut expected.w, &expected.g, &mut expected.state).unwrap();
            let isa = Isa::current().unwrap();
            configured.step(&*rule, isa, T, 0, 37);
            let extras = Extras::default();
            whole.whole_step(&*rule, Some(isa), &[20, 17], T, &extras, Threads::Caller).unwrap();
        }
        for arrays in [ours, configured, whole] {
            assert_eq!(arrays.difference(&expected), None, "{rule:?}");
        }
        assert_ne!(expected.w, start.w, "{rule:?} moved nothing");
    }
}

#[test]
fn no_function_allocates() {
    // The first call of a process looks at the CPU and the environment.
    Isa::current().unwrap();
    for (rule, step, _) in steps() {
        let Arrays { mut w, g, mut state } = arrays(&rule);
        let count = allocation_counter::measure(|| step(&mut w, &g, &mut state).unwrap());
        assert_eq!(count.count_total, 0, "{rule:?}");
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
