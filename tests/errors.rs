//! Bad input is refused by name, by kernels and reference alike, and nothing is written.

mod common;

use common::{Arrays, every_option, uniform};
use downhill::{Adam, Decay, Error, Form, Isa, Momentum, Optimizer, Sgd, optimizer};

/// The step of every ISA and of the reference must refuse this configuration, saying `text`.
fn refuse(rule: Box<dyn Optimizer>, t: u64, text: &str) {
    let rule = &*rule;
    let start = Arrays::new(rule, 37, uniform());
    for isa in Isa::available().into_iter().map(Some).chain([None]) {
        for n in [0, 37] {
            let mut arrays = start.clone();
            let error =
                arrays.try_step(rule, isa, t, 0, n).expect_err(&format!("{rule:?} was accepted"));
            assert!(error.to_string().contains(text), "`{error}` does not say `{text}`");
            assert_eq!(arrays.difference(&start), None, "{rule:?} wrote");
        }
    }
}

const NOT_NON_NEGATIVE: [f64; 6] = [-1e-300, -1.0, 1e39, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
const NOT_BELOW_ONE: [f64; 5] = [-0.1, 1.0, 1.5, f64::NAN, f64::INFINITY];

#[test]
fn hyperparameters_out_of_range() {
    for x in NOT_NON_NEGATIVE {
        refuse(
            optimizer(Sgd { lr: x, ..Sgd::default() }),
            1,
            &format!("`lr` is {x:?}; it must be at least 0"),
        );
        refuse(optimizer(Sgd { weight_decay: x, ..Sgd::default() }), 1, "`weight_decay`");
        refuse(optimizer(Momentum { lr: x, ..Momentum::default() }), 1, "`lr`");
        refuse(optimizer(Momentum { weight_decay: x, ..Momentum::default() }), 1, "`weight_decay`");
        refuse(optimizer(Adam { lr: x, ..Adam::default() }), 1, "`lr`");
        refuse(optimizer(Adam { eps: x, ..Adam::default() }), 1, "`eps`");
        refuse(optimizer(Adam { weight_decay: x, ..Adam::default() }), 1, "`weight_decay`");
    }
    for x in NOT_BELOW_ONE {
        refuse(optimizer(Momentum { momentum: x, ..Momentum::default() }), 1, "`momentum`");
        refuse(optimizer(Adam { beta1: x, ..Adam::default() }), 1, "`beta1`");
        refuse(optimizer(Adam { beta2: x, ..Adam::default() }), 1, "`beta2`");
    }
    for x in [-0.1, 1.1, f64::NAN] {
        refuse(
            optimizer(Momentum { dampening: x, form: Form::Torch, ..Momentum::default() }),
            1,
            "`dampening`",
        );
    }
}

#[test]
fn what_is_derived_must_be_finite_too() {
    // 1e38 fits, 1e38/(1 - 0.9) does not; from t = 30 on it does.
    let adam = Adam { lr: 1e38, ..Adam::default() };
    refuse(optimizer(adam), 1, "`lr`");
    let adam = &*optimizer(adam);
    Arrays::new(adam, 3, uniform()).step(adam, Isa::current().unwrap(), 1000, 0, 3);
    let decay = Decay::Decoupled;
    refuse(optimizer(Sgd { lr: 1e30, weight_decay: 1e30, decay }), 1, "`weight_decay`");
}

#[test]
fn dampening_in_the_classic_form() {
    refuse(
        optimizer(Momentum { dampening: 0.1, ..Momentum::default() }),
        1,
        "`dampening` is 0.1; it must be 0",
    );
}

#[test]
fn step_zero() {
    refuse(optimizer(Adam::default()), 0, "`t` is 0");
}

#[test]
fn lengths_that_differ() {
    for rule in every_option() {
        for k in 0..1 + rule.state_names().len() {
            for len in [0, 36, 38] {
                let mut arrays = Arrays::new(&*rule, 37, uniform());
                let start = arrays.clone();
                let name = if k == 0 { "g" } else { rule.state_names()[k - 1] };
                if k == 0 { &mut arrays.g } else { &mut arrays.state[k - 1] }.resize(len, 0.0);
                let expected = Error::Length { argument: name, len, expected: 37 };
                assert!(expected.to_string().starts_with(&format!("`{name}` has {len} elements")));
                for isa in Isa::available().into_iter().map(Some).chain([None]) {
                    let mut state: Vec<&mut [f32]> =
                        arrays.state.iter_mut().map(|x| &mut x[..]).collect();
                    let error = match isa {
                        Some(isa) => rule.step_on(isa, &mut arrays.w, &arrays.g, &mut state, 1),
                        None => rule.reference_step(&mut arrays.w, &arrays.g, &mut state, 1),
                    };
                    assert_eq!(error, Err(expected.clone()));
                    assert_eq!(arrays.w, start.w);
                }
            }
        }
    }
}

#[test]
fn too_few_or_too_many_states() {
    for rule in every_option() {
        let expected = rule.state_names();
        for count in (0..4).filter(|&count| count != expected.len()) {
            let mut state = vec![vec![0.5; 3]; count];
            let mut state: Vec<&mut [f32]> = state.iter_mut().map(|x| &mut x[..]).collect();
            let mut w = [1.0; 3];
            let error = Err(Error::StateCount { count, expected });
            assert_eq!(rule.step_on(Isa::current().unwrap(), &mut w, &[1.0; 3], &mut state, 1), error);
            assert_eq!(rule.reference_step(&mut w, &[1.0; 3], &mut state, 1), error);
            assert_eq!(w, [1.0; 3]);
        }
    }
}

#[test]
fn names_of_instruction_sets() {
    let error = "sse2".parse::<Isa>().unwrap_err().to_string();
    assert!(error.starts_with("`isa` is \"sse2\"; on this CPU it must be one of scalar"), "{error}");
}
