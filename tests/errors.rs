//! Bad input is refused by name, by kernels and reference alike, and nothing is written.

mod common;

use std::iter;

use common::{Arrays, Rule, every_option, runner::command, uniform};
use downhill::{
    Adadelta, Adagrad, Adam, Adamax, Adamw, Amsgrad, Decay, Error, Extras, Form, Isa, Lion, Momentum,
    Nadam, Nesterov, Optimizer, Pool, Rmsprop, RmspropForm, Sgd, Tensor, Threads, grad_norm, optimizer,
    rmsprop_step, step_many,
};

/// All that a whole step can do besides.
const ALL: Extras =
    Extras { grad_scale: 0.5, max_norm: 1.0, zero_grad: true, skip_nonfinite: true, grad_norm: true };

/// The step of every ISA and of the reference must refuse this configuration, saying `text`, and whole steps
/// too.
fn refuse(rule: Rule, t: u64, text: &str) {
    let rule = &*rule;
    refuse_list(rule, &[], t, &Extras::default(), Threads::Caller, text);
    refuse_list(rule, &[20, 0, 17], t, &Extras::default(), Threads::Caller, text);
    refuse_list(rule, &[20, 0, 17], t, &ALL, Threads::Caller, text);
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

/// A whole step over tensors of these lengths must be refused, even if it would be skipped otherwise.
fn refuse_list(
    rule: &dyn Optimizer,
    lengths: &[usize],
    t: u64,
    extras: &Extras,
    threads: Threads<'_>,
    text: &str,
) {
    let mut start = Arrays::new(rule, lengths.iter().sum(), uniform());
    start.g.iter_mut().take(1).for_each(|g| *g = f32::INFINITY);
    let mut arrays = start.clone();
    for isa in Isa::available() {
        let error = arrays
            .step_many(rule, isa, lengths, t, extras, threads)
            .expect_err(&format!("{rule:?} {extras:?} was accepted"));
        assert!(error.to_string().starts_with(text), "`{error}` does not say `{text}`");
        assert_eq!(arrays.difference(&start), None, "{rule:?} {extras:?} wrote");
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
        optimizer(Adamw { lr, ..Adamw::default() }),
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
        optimizer(Adamw { weight_decay, ..Adamw::default() }),
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

/// In each of five tensors, each array but `w`.
#[test]
fn lengths_that_differ_in_a_list() {
    for rule in every_option() {
        let names = iter::once("g").chain(rule.state_names().iter().copied());
        for ((k, name), index) in names.enumerate().flat_map(|name| (0..5).map(move |i| (name, i))) {
            for len in [0, 36, 38] {
                let mut arrays = Arrays::new(&*rule, 5 * 37, uniform());
                let start = arrays.clone();
                let mut other = vec![0.5; len];
                let mut list = arrays.tensors(&[37; 5]);
                match k {
                    0 => list[index].g = &mut other,
                    _ => list[index].state[k - 1] = &mut other,
                }
                let isa = Isa::current().unwrap();
                let error = rule.step_many_on(isa, &mut list, 1, &ALL, Threads::Caller).unwrap_err();
                let inner = Error::Length { argument: name, len, expected: 37 };
                assert_eq!(error, Error::Tensor { index, error: Box::new(inner) });
                assert_eq!(arrays.difference(&start), None);
                assert_eq!(other, vec![0.5; len]);
            }
        }
    }
}

#[test]
fn too_few_or_too_many_states_in_a_list() {
    for rule in every_option() {
        let expected = rule.state_names();
        for count in (0..=4).filter(|&count| count != expected.len()) {
            for index in 0..3 {
                let mut arrays = Arrays::new(&*rule, 3 * 37, uniform());
                let start = arrays.clone();
                let mut more = vec![[0.5; 37]; 4];
                let mut list = arrays.tensors(&[37; 3]);
                list[index].state = more.iter_mut().map(|x| &mut x[..]).take(count).collect();
                let isa = Isa::current().unwrap();
                let error = rule.step_many_on(isa, &mut list, 1, &ALL, Threads::Caller).unwrap_err();
                let inner = Error::StateCount { count, expected };
                assert_eq!(error, Error::Tensor { index, error: Box::new(inner) });
                assert_eq!(arrays.difference(&start), None);
                assert_eq!(more, vec![[0.5; 37]; 4]);
            }
        }
    }
}

/// The text of both, and which of several is told.
#[test]
fn the_tensor_is_named() {
    let step = |lengths: [usize; 4]| {
        let (mut w, mut g) = ([1.0; 4 * 37], [1.0; 4 * 37]);
        let mut state = [[0.0; 40]; 8];
        let arrays = w.chunks_mut(37).zip(g.chunks_mut(37)).zip(state.chunks_mut(2)).zip(lengths);
        let tensors = arrays.map(|(((w, g), state), len)| {
            let [m, v] = state else { unreachable!() };
            Tensor { w, g, state: [&mut m[..len], &mut v[..37]] }
        });
        let mut tensors: Vec<_> = tensors.collect();
        step_many(&Adam::default(), &mut tensors, 1, &ALL, Threads::Caller).map_err(|e| e.to_string())
    };
    assert!(step([37; 4]).is_ok());
    let text = |index, len| {
        Err(format!("tensor {index}: `m` has {len} elements and `w` has 37; they must be equally long"))
    };
    assert_eq!(step([37, 37, 37, 36]), text(3, 36));
    assert_eq!(step([37, 40, 37, 36]), text(1, 40));

    let rule = optimizer(Adam::default());
    let mut arrays = Arrays::new(&*rule, 4 * 37, uniform());
    let mut list = arrays.tensors(&[37; 4]);
    list[3].state.pop();
    let isa = Isa::current().unwrap();
    let error = rule.step_many_on(isa, &mut list, 1, &ALL, Threads::Caller).unwrap_err();
    let text = "tensor 3: 1 state arrays were passed; this rule has 2: [\"m\", \"v\"]";
    assert_eq!(error.to_string(), text);
}

/// Each is finite in `f32`, to which the largest of `f64` round.
#[test]
fn extras_out_of_range() {
    let rule = &*optimizer(Amsgrad::default());
    let lengths = [20, 0, 17];
    let infinite = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e39, 3.402_823_567_797_336_7e38];
    for x in infinite.into_iter().chain([-1e39]) {
        let text = format!("`grad_scale` is {x:?}; it must be finite in f32");
        refuse_list(rule, &lengths, 1, &Extras { grad_scale: x, ..ALL }, Threads::Caller, &text);
        let extras = Extras { grad_scale: x, ..Extras::default() };
        refuse_list(rule, &[], 1, &extras, Threads::Caller, &text);
    }
    for x in infinite.into_iter().chain([-1e-300, -1.0]) {
        let text = format!("`max_norm` is {x:?}; it must be at least 0 and finite in f32");
        refuse_list(rule, &lengths, 1, &Extras { max_norm: x, ..ALL }, Threads::Caller, &text);
        let extras = Extras { max_norm: x, ..Extras::default() };
        refuse_list(rule, &[], 1, &extras, Threads::Caller, &text);
    }
    let most = 3.402_823_567_797_336e38;
    for (grad_scale, max_norm) in [(most, 1.0), (-most, most), (-0.0, -0.0), (1e-300, 1e-300)] {
        let extras = Extras { grad_scale, max_norm, ..Extras::default() };
        let mut arrays = Arrays::new(rule, 37, uniform());
        let isa = Isa::current().unwrap();
        arrays.step_many(rule, isa, &lengths, 1, &extras, Threads::Caller).unwrap();
    }
}

/// What is wrong is found before anybody is set to work.
#[test]
fn nothing_is_written_by_threads_either() {
    let pool = Pool::new(3);
    let threads = Threads::Pool(&pool);
    let lengths = [300_000, 5, 200_000];
    let adam = &*optimizer(Adam::default());
    refuse_list(adam, &lengths, 0, &ALL, threads, "`t` is 0");
    refuse_list(adam, &lengths, 1, &Extras { max_norm: -1.0, ..ALL }, threads, "`max_norm` is -1.0");
    let wrong = &*optimizer(Adam { lr: -1.0, ..Adam::default() });
    refuse_list(wrong, &lengths, 1, &ALL, threads, "`lr` is -1.0");

    let mut arrays = Arrays::new(adam, 500_005, uniform());
    let start = arrays.clone();
    let mut list = arrays.tensors(&lengths);
    list[2].state[1] = &mut [];
    let isa = Isa::current().unwrap();
    let error = adam.step_many_on(isa, &mut list, 1, &ALL, threads).unwrap_err();
    assert!(error.to_string().starts_with("tensor 2: `v` has 0 elements"), "{error}");
    assert_eq!(arrays.difference(&start), None);
}

/// The number of states decides the form, here too.
#[test]
fn rmsprop_with_momentum_and_without_its_array_in_a_list() {
    let config = Rmsprop { momentum: 0.9, ..Rmsprop::default() };
    let (mut w, mut g, mut v, mut g_avg) = ([1.0; 3], [1.0; 3], [0.5; 3], [0.25; 3]);
    let mut list = [Tensor { w: &mut w, g: &mut g, state: [&mut v] }];
    let plain = step_many(&RmspropForm::<false>(config), &mut list, 1, &ALL, Threads::Caller);
    let mut list = [Tensor { w: &mut w, g: &mut g, state: [&mut v, &mut g_avg] }];
    let centered = step_many(&RmspropForm::<true>(config), &mut list, 1, &ALL, Threads::Caller);
    for error in [plain.unwrap_err(), centered.unwrap_err()] {
        assert_eq!(error.to_string(), "`momentum` is 0.9; it must be 0 without the array `u`");
    }
    assert_eq!((w, g, v, g_avg), ([1.0; 3], [1.0; 3], [0.5; 3], [0.25; 3]));
}

/// The environment is read once in a process, so it takes another one.
#[test]
fn the_environment_names_an_unknown_instruction_set() {
    const NAME: &str = "the_environment_names_an_unknown_instruction_set";
    if std::env::var("DOWNHILL_ISA").is_ok_and(|name| name == "sse2") {
        let (mut w, mut g) = ([1.0], [1.0]);
        let mut list = [Tensor { w: &mut w, g: &mut g, state: [] }];
        let step = step_many(&Sgd::default(), &mut list, 1, &ALL, Threads::Caller).unwrap_err();
        let norm = grad_norm(&[&[1.0]], Threads::Caller).unwrap_err();
        for error in [step, norm] {
            assert!(error.to_string().starts_with("`DOWNHILL_ISA` is \"sse2\"; on this CPU"), "{error}");
        }
        assert_eq!((w, g), ([1.0], [1.0]));
        return;
    }
    let mut child = command(&std::env::current_exe().unwrap());
    let output = child.args(["--exact", NAME]).env("DOWNHILL_ISA", "sse2").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn names_of_instruction_sets() {
    let error = "sse2".parse::<Isa>().unwrap_err().to_string();
    assert!(error.starts_with("`isa` is \"sse2\"; on this CPU it must be one of scalar"), "{error}");
}
