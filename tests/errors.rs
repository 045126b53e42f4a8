//! Bad input is refused by name, by kernels and reference alike, and nothing is written.

mod common;

use common::{Arrays, Rule, every_option, uniform};
use downhill::{
    Adadelta, Adagrad, Adam, Adamax, Adamw, Amsgrad, Decay, Error, Form, Isa, Lion, Momentum, Nadam,
    Nesterov, Rmsprop, Sgd, optimizer, rmsprop_step,
};

/// The step of every ISA and of the reference must refuse this configuration, saying `text`.
fn refuse(rule: Rule, t: u64, text: &str) {
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

const NOT_AT_MOST_ONE: [f64; 4] = [-0.1, 1.1, f64::NAN, f64::INFINITY];

/// Every rule with `x` as one of its hyper-parameters.
fn with_lr(lr: f64) -> [Rule; 12] {
    [
        optimizer(Sgd { lr, ..Sgd::default() }),
        optimizer(Momentum { lr, ..Momentum::default() }),
        optimizer(Nesterov { lr, ..Nesterov::default() }),
        optimizer(Adagrad { lr, ..Adagrad::default() }),
        optimizer(Adadelta { lr, ..Adadelta::default() }),
        Rmsprop { lr, ..Rmsprop::default() }.optimizer(true),
        optimizer(Adam { lr, ..Adam::default() }),
        optimizer(Adamw(Adam { lr, ..Adam::adamw() })),
        optimizer(Amsgrad(Adam { lr, ..Adam::default() })),
        optimizer(Adamax { lr, ..Adamax::default() }),
        optimizer(Nadam { lr, ..Nadam::default() }),
        optimizer(Lion { lr, ..Lion::default() }),
    ]
}

fn with_weight_decay(weight_decay: f64) -> [Rule; 12] {
    [
        optimizer(Sgd { weight_decay, ..Sgd::default() }),
        optimizer(Momentum { weight_decay, ..Momentum::default() }),
        optimizer(Nesterov { weight_decay, ..Nesterov::default() }),
        optimizer(Adagrad { weight_decay, ..Adagrad::default() }),
        optimizer(Adadelta { weight_decay, ..Adadelta::default() }),
        Rmsprop { weight_decay, ..Rmsprop::default() }.optimizer(true),
        optimizer(Adam { weight_decay, ..Adam::default() }),
        optimizer(Adamw(Adam { weight_decay, ..Adam::adamw() })),
        optimizer(Amsgrad(Adam { weight_decay, ..Adam::default() })),
        optimizer(Adamax { weight_decay, ..Adamax::default() }),
        optimizer(Nadam { weight_decay, ..Nadam::default() }),
        optimizer(Lion { weight_decay, ..Lion::default() }),
    ]
}

fn with_eps(eps: f64) -> [Rule; 7] {
    [
        optimizer(Adagrad { eps, ..Adagrad::default() }),
        optimizer(Adadelta { eps, ..Adadelta::default() }),
        Rmsprop { eps, ..Rmsprop::default() }.optimizer(false),
        optimizer(Adam { eps, ..Adam::default() }),
        optimizer(Amsgrad(Adam { eps, ..Adam::default() })),
        optimizer(Adamax { eps, ..Adamax::default() }),
        optimizer(Nadam { eps, ..Nadam::default() }),
    ]
}

fn with_betas(beta1: f64, beta2: f64) -> [Rule; 5] {
    [
        optimizer(Adam { beta1, beta2, ..Adam::default() }),
        optimizer(Amsgrad(Adam { beta1, beta2, ..Adam::default() })),
        optimizer(Adamax { beta1, beta2, ..Adamax::default() }),
        optimizer(Nadam { beta1, beta2, ..Nadam::default() }),
        optimizer(Lion { beta1, beta2, ..Lion::default() }),
    ]
}

#[test]
fn hyperparameters_out_of_range() {
    for x in NOT_NON_NEGATIVE {
        let range = format!("is {x:?}; it must be at least 0 and finite in f32");
        with_lr(x).into_iter().for_each(|rule| refuse(rule, 1, &format!("`lr` {range}")));
        with_weight_decay(x)
            .into_iter()
            .for_each(|rule| refuse(rule, 1, &format!("`weight_decay` {range}")));
        with_eps(x).into_iter().for_each(|rule| refuse(rule, 1, &format!("`eps` {range}")));
        let nadam = Nadam { momentum_decay: x, ..Nadam::default() };
        refuse(optimizer(nadam), 1, &format!("`momentum_decay` {range}"));
    }
    for x in NOT_BELOW_ONE {
        let range = format!("is {x:?}; it must be at least 0 and below 1");
        with_betas(x, 0.9).into_iter().for_each(|rule| refuse(rule, 1, &format!("`beta1` {range}")));
        with_betas(0.9, x).into_iter().for_each(|rule| refuse(rule, 1, &format!("`beta2` {range}")));
        let text = format!("`momentum` {range}");
        refuse(optimizer(Momentum { momentum: x, ..Momentum::default() }), 1, &text);
        refuse(optimizer(Nesterov { momentum: x, ..Nesterov::default() }), 1, &text);
        refuse(Rmsprop { momentum: x, ..Rmsprop::default() }.optimizer(true), 1, &text);
    }
    for x in NOT_AT_MOST_ONE {
        let range = format!("is {x:?}; it must be from 0 to 1");
        let torch = Momentum { dampening: x, form: Form::Torch, ..Momentum::default() };
        refuse(optimizer(torch), 1, &format!("`dampening` {range}"));
        refuse(optimizer(Adadelta { rho: x, ..Adadelta::default() }), 1, &format!("`rho` {range}"));
        refuse(
            Rmsprop { alpha: x, ..Rmsprop::default() }.optimizer(false),
            1,
            &format!("`alpha` {range}"),
        );
    }
}

/// The ends of the ranges are in them.
#[test]
fn hyperparameters_at_the_ends_of_their_ranges() {
    let accept =
        |rule: Rule| Arrays::new(&*rule, 3, uniform()).step(&*rule, Isa::current().unwrap(), 1, 0, 3);
    let most = 1.0 - f64::EPSILON / 2.0;
    with_lr(0.0).into_iter().for_each(accept);
    with_weight_decay(0.0).into_iter().for_each(accept);
    with_eps(0.0).into_iter().for_each(accept);
    with_eps(f64::from(f32::MAX)).into_iter().for_each(accept);
    with_betas(0.0, 0.0).into_iter().for_each(accept);
    with_betas(most, most).into_iter().for_each(accept);
    for x in [0.0, 1.0] {
        accept(optimizer(Momentum { dampening: x, form: Form::Torch, ..Momentum::default() }));
        accept(optimizer(Adadelta { rho: x, ..Adadelta::default() }));
        accept(Rmsprop { alpha: x, ..Rmsprop::default() }.optimizer(true));
    }
}

/// Which arrays are passed decides the form of RMSprop; momentum has nowhere to go without `u`.
#[test]
fn rmsprop_with_momentum_and_without_its_array() {
    let config = Rmsprop { momentum: 0.9, ..Rmsprop::default() };
    let (mut w, mut v, mut g_avg) = ([1.0; 3], [0.5; 3], [0.25; 3]);
    for g_avg in [None, Some(&mut g_avg[..])] {
        let error = rmsprop_step(&mut w, &[1.0; 3], &mut v, g_avg, None, &config).unwrap_err();
        assert_eq!(error.to_string(), "`momentum` is 0.9; it must be 0 without the array `u`");
    }
    assert_eq!((w, v, g_avg), ([1.0; 3], [0.5; 3], [0.25; 3]));
}

#[test]
fn what_is_derived_must_be_finite_too() {
    // 3e38 fits, 3e38/(1 - 0.9) does not; late enough it does.
    let lr = 3e38;
    let early = [
        optimizer(Adam { lr, ..Adam::default() }),
        optimizer(Amsgrad(Adam { lr, ..Adam::default() })),
        optimizer(Adamax { lr, ..Adamax::default() }),
        // Nadam's a and b, one by one.
        optimizer(Nadam { lr, beta1: 0.999, momentum_decay: 1e6, ..Nadam::default() }),
        optimizer(Nadam { lr, beta1: 0.9, momentum_decay: 1e6, ..Nadam::default() }),
    ];
    early.into_iter().for_each(|rule| refuse(rule, 1, "`lr` is 3e38"));
    let late = &*optimizer(Adam { lr, ..Adam::default() });
    Arrays::new(late, 3, uniform()).step(late, Isa::current().unwrap(), 1000, 0, 3);
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
    refuse(optimizer(Adamw::default()), 0, "`t` is 0");
    refuse(optimizer(Amsgrad::default()), 0, "`t` is 0");
    refuse(optimizer(Adamax::default()), 0, "`t` is 0");
    refuse(optimizer(Nadam::default()), 0, "`t` is 0");
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
