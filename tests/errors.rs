//! Bad input is refused by name, by kernels and reference alike, and nothing is written:
//! hyper-parameters, plain steps, packing, converting. Whole steps are in `whole_errors.rs`.

mod common;

use common::{Arrays, Rule, every_option, is_accepted, runner::command, uniform, with};
use downhill::{
    Adam, Adamax, Adamw, Amsgrad, Decay, Error, Extras, Ftrl, Group, Isa, Momentum, Nadam, Optimizer,
    Range, Rmsprop, Sgd, StateKind, Threads, Values, Weights, adam_step, adamw_step, convert,
    grad_squares, pack, reference, rmsprop_step, rules, state_bytes, step, unpack,
};
use half::bf16;

/// The step of every ISA and of the reference must refuse this configuration with this text, and whole
/// steps too.
#[track_caller]
fn refuse(rule: &Rule, t: u64, text: &str) {
    let start = Arrays::new(&**rule, 37, uniform());
    for isa in Isa::available().into_iter().map(Some).chain([None]) {
        for n in [0, 37] {
            let mut arrays = start.clone();
            let error = arrays.try_step(&**rule, isa, t, 0, n).unwrap_err();
            assert!(error.to_string().starts_with(text), "`{error}`, not `{text}`");
            assert_eq!(arrays.difference(&start), None, "{rule:?} wrote");
        }
        for lengths in [&[][..], &[20, 0, 17]] {
            let mut start = Arrays::new(&**rule, lengths.iter().sum(), uniform());
            // Which would be skipped.
            start.g.iter_mut().take(1).for_each(|g| *g = f32::INFINITY);
            let mut arrays = start.clone();
            let extras = Extras { skip_nonfinite: true, zero_grad: true, ..Extras::default() };
            let error = arrays
                .whole_step(&**rule, isa, lengths, t, &extras, Threads::Caller)
                .expect_err(&format!("{rule:?} was accepted"));
            assert!(error.to_string().starts_with(&format!("group 0: {text}")), "`{error}`");
            assert_eq!(arrays.difference(&start), None, "{rule:?} wrote");
        }
    }
}

/// What rounds to the largest `f32`, and the next `f64`.
const MOST: f64 = 3.402_823_567_797_336e38;
const TOO_LARGE: f64 = 3.402_823_567_797_336_7e38;

const BELOW_ONE: f64 = 1.0 - f64::EPSILON / 2.0;

/// Numbers outside a range, what is said of them, and its ends.
fn limits(range: Range) -> (&'static [f64], &'static str, &'static [f64]) {
    const INF: f64 = f64::INFINITY;
    match range {
        Range::NonNegative => (
            &[-1e-300, -1.0, TOO_LARGE, 1e39, f64::NAN, INF, -INF],
            "at least 0 and finite in f32",
            &[0.0, -0.0, 1e-300, MOST],
        ),
        Range::Positive => (
            &[0.0, -0.0, -1.0, TOO_LARGE, f64::NAN, INF, -INF],
            "above 0 and finite in f32",
            &[1e-38, 1.0],
        ),
        Range::BelowOne => (
            &[-1e-300, -0.1, 1.0, 1.5, f64::NAN, INF, -INF],
            "at least 0 and below 1",
            &[0.0, -0.0, 1e-300, BELOW_ONE],
        ),
        Range::UpToOne => {
            let above = const { &[-1e-300, -0.1, 1.0 + f64::EPSILON, 1.1, f64::NAN, INF, -INF] };
            (above, "from 0 to 1", &[0.0, -0.0, 1e-300, 1.0])
        }
        _ => (&[], "", &[]),
    }
}

#[test]
fn hyperparameters_out_of_range() {
    for rule in rules() {
        for parameter in rule.hyperparameters() {
            let (outside, allowed, _) = limits(parameter.range);
            for &x in outside {
                let text = format!("`{}` is {x:?}; it must be {allowed}", parameter.name);
                refuse(&with(&rule, parameter.name, x), 1, &text);
            }
        }
    }
}

/// The ends of the ranges are in them. The largest rate is another matter: what is derived from it may
/// be too large.
#[test]
fn hyperparameters_at_the_ends_of_their_ranges() {
    for rule in every_option() {
        for parameter in rule.hyperparameters() {
            let (.., ends) = limits(parameter.range);
            for &x in ends.iter().filter(|&&x| x < MOST || parameter.name != "lr") {
                let mut at_end = with(&rule, parameter.name, x);
                if parameter.name == "dampening" {
                    at_end = with(&at_end, "form", 1.0);
                }
                assert!(is_accepted(&at_end), "{at_end:?}");
            }
        }
    }
}

#[test]
fn what_is_derived_must_be_finite_too() {
    // 3e38 fits, 3e38/(1 - 0.9) does not; late enough it does.
    let lr = 3e38;
    let early: [Rule; 5] = [
        Adam { lr, ..Adam::default() }.into(),
        Amsgrad(Adam { lr, ..Adam::default() }).into(),
        Adamax { lr, ..Adamax::default() }.into(),
        // Nadam's a and b, one by one.
        Nadam { lr, beta1: 0.999, momentum_decay: 1e6, ..Nadam::default() }.into(),
        Nadam { lr, beta1: 0.9, momentum_decay: 1e6, ..Nadam::default() }.into(),
    ];
    for rule in early {
        refuse(&rule, 1, "`lr` is 3e38; it must be so small that what is derived from it");
    }
    let text = "`lr` is 1e-39; it must be so large that 1/lr is finite in f32";
    refuse(&Ftrl { lr: 1e-39, ..Ftrl::default() }.into(), 1, text);
    let late = Adam { lr, ..Adam::default() };
    Arrays::new(&late, 3, uniform()).step(&late, Isa::current().unwrap(), 1000, 0, 3);
    let decay = Decay::Decoupled;
    let text = "`weight_decay` is 1e30; it must be so small that 1 - lr*weight_decay is finite in f32";
    refuse(&Sgd { lr: 1e30, weight_decay: 1e30, decay }.into(), 1, text);
    assert!(is_accepted(&Sgd { lr: 1e30, weight_decay: 1e30, decay: Decay::L2 }.into()));
}

#[test]
fn dampening_in_the_classic_form() {
    let text = "`dampening` is 0.1; it must be 0 in the classic form, which has none";
    refuse(&Momentum { dampening: 0.1, ..Momentum::default() }.into(), 1, text);
}

/// A rule that counts steps refuses 0, and every rule in a whole step.
#[test]
fn step_zero() {
    let mut counting = Vec::new();
    for rule in every_option() {
        let mut arrays = Arrays::new(&*rule, 3, uniform());
        let counts = match arrays.try_step(&*rule, Some(Isa::current().unwrap()), 0, 0, 3) {
            Ok(()) => false,
            Err(error) => error == Error::Step,
        };
        counting.push((rule.name(), counts));
        if counts {
            refuse(&rule, 0, "`t` is 0; steps are counted from 1");
        } else {
            let mut tensors = arrays.tensors(&[3]);
            let mut groups = [Group::new(&*rule, 0, &mut tensors)];
            let error = step(&mut groups, &Extras::default(), Threads::Caller).unwrap_err();
            assert_eq!(error.to_string(), "group 0: `t` is 0; steps are counted from 1");
        }
    }
    counting.dedup();
    assert_eq!(counting.len(), rules().len(), "a rule counts with all options or with none");
    assert!(counting.iter().any(|(_, counts)| *counts) && !counting.iter().all(|(_, counts)| *counts));
}

#[test]
fn lengths_that_differ() {
    for rule in every_option() {
        let names = ["g"].into_iter().chain(rule.states().iter().map(|state| state.name));
        for (k, argument) in names.enumerate() {
            for len in [0, 36, 38] {
                let mut arrays = Arrays::new(&*rule, 37, uniform());
                if k == 0 { &mut arrays.g } else { &mut arrays.state[k - 1] }.resize(len, 0.0);
                let start = arrays.clone();
                let expected = Error::Length { argument, len, expected: 37 };
                let text =
                    format!("`{argument}` has {len} elements and `w` has 37; they must be equally long");
                assert_eq!(expected.to_string(), text);
                for isa in Isa::available().into_iter().map(Some).chain([None]) {
                    let mut state: Vec<&mut [f32]> =
                        arrays.state.iter_mut().map(|x| &mut x[..]).collect();
                    let error = match isa {
                        Some(isa) => rule.step_on(isa, &mut arrays.w, &arrays.g, &mut state, 1),
                        None => rule.reference_step(&mut arrays.w, &arrays.g, &mut state, 1),
                    };
                    assert_eq!(error, Err(expected.clone()));
                    assert_eq!(arrays.difference(&start), None);
                }
            }
        }
    }
}

#[test]
fn too_few_or_too_many_states() {
    for rule in every_option() {
        let expected = rule.states();
        for count in (0..=5).filter(|&count| count != expected.len()) {
            let mut state = vec![vec![0.5; 3]; count];
            let mut state: Vec<&mut [f32]> = state.iter_mut().map(|x| &mut x[..]).collect();
            let mut w = [1.0; 3];
            let error = Err(Error::StateCount { count, expected });
            assert_eq!(rule.step_on(Isa::current().unwrap(), &mut w, &[1.0; 3], &mut state, 1), error);
            assert_eq!(rule.reference_step(&mut w, &[1.0; 3], &mut state, 1), error);
            assert_eq!(w, [1.0; 3]);
            assert!(state.iter().all(|state| **state == [0.5; 3]));
        }
    }
    let error = Error::StateCount { count: 1, expected: Adam::default().states() };
    assert_eq!(error.to_string(), "1 state arrays were passed; this rule has 2: [\"m\", \"v\"]");
}

/// Arrays that the configuration does not have, or that it has and that are not passed.
#[test]
fn states_that_are_there_or_not() {
    for (momentum, centered) in [(0.0, false), (0.9, false), (0.0, true), (0.9, true)] {
        let config = Rmsprop { momentum, centered, ..Rmsprop::default() };
        for (has_g_avg, has_u) in [(false, false), (false, true), (true, false), (true, true)] {
            let (mut w, mut v, mut g_avg, mut u) = ([1.0; 3], [0.5; 3], [0.25; 3], [0.125; 3]);
            for function in [rmsprop_step, reference::rmsprop_step] {
                let g_avg = has_g_avg.then_some(&mut g_avg[..]);
                let u = has_u.then_some(&mut u[..]);
                let result = function(&mut w, &[1.0; 3], &mut v, g_avg, u, &config);
                let condition = match (has_g_avg == centered, has_u == (momentum != 0.0)) {
                    (true, true) => {
                        result.unwrap();
                        continue;
                    }
                    (false, _) => ("g_avg", has_g_avg, "`centered` is true"),
                    (true, false) => ("u", has_u, "`momentum` is not 0"),
                };
                let (argument, is_passed, condition) = condition;
                let error = result.unwrap_err();
                assert_eq!(error, Error::OptionalState { argument, is_passed, condition });
                let not = if is_passed { "" } else { "not " };
                let text =
                    format!("`{argument}` was {not}passed; it is a state if and only if {condition}");
                assert_eq!(error.to_string(), text);
                assert_eq!((w, v), ([1.0; 3], [0.5; 3]));
            }
            if has_g_avg != centered || has_u != (momentum != 0.0) {
                assert_eq!((g_avg, u), ([0.25; 3], [0.125; 3]));
            }
        }
    }
    // A momentum out of its range is that error, whether there is a `u` or not.
    let config = Rmsprop { momentum: 1.0, ..Rmsprop::default() };
    let error = rmsprop_step(&mut [], &[], &mut [], None, None, &config).unwrap_err();
    assert_eq!(error.to_string(), "`momentum` is 1.0; it must be at least 0 and below 1");
}

/// Without a first moment `m` is empty, with one it is not; and nothing is written otherwise.
#[test]
fn a_first_moment_that_is_there_or_not() {
    for beta1 in [0.0, -0.0, 1e-300, 0.9] {
        let (adam, adamw) = (Adam { beta1, ..Adam::default() }, Adamw { beta1, ..Adamw::default() });
        for has_m in [false, true] {
            let (mut w, mut v, mut all) = ([1.0; 3], [0.5; 3], [0.25; 3]);
            let m = if has_m { &mut all[..] } else { &mut [] };
            for result in [
                adam_step(&mut w, &[1.0; 3], m, &mut v, 1, &adam),
                adamw_step(&mut w, &[1.0; 3], m, &mut v, 1, &adamw),
                reference::adam_step(&mut w, &[1.0; 3], m, &mut v, 1, &adam),
                reference::adamw_step(&mut w, &[1.0; 3], m, &mut v, 1, &adamw),
            ] {
                let text = match (has_m, beta1 == 0.0) {
                    (true, true) => "`m` was passed; it is a state if and only if `beta1` is not 0",
                    (false, false) => "`m` has 0 elements and `w` has 3; they must be equally long",
                    _ => {
                        result.unwrap();
                        continue;
                    }
                };
                assert_eq!(result.unwrap_err().to_string(), text);
                assert_eq!((w, v, &all), ([1.0; 3], [0.5; 3], &[0.25; 3]));
            }
        }
    }
    // A rate out of its range is that error.
    let config = Adam { beta1: -0.5, ..Adam::default() };
    let error = adam_step(&mut [], &[], &mut [], &mut [], 1, &config).unwrap_err();
    assert_eq!(error.to_string(), "`beta1` is -0.5; it must be at least 0 and below 1");
}

/// Which states eight bits are for.
fn fits(kind: StateKind) -> bool {
    matches!(kind, StateKind::Signed | StateKind::Squares)
}

#[test]
fn states_that_are_not_for_eight_bits() {
    let mut refused = 0;
    for rule in every_option() {
        let Some(state) = rule.states().iter().find(|state| !fits(state.kind)) else {
            assert_eq!(state_bytes(&*rule, 65), Ok(rule.states().len() * 2 * 65));
            assert_eq!(state_bytes(&*rule, 0), Ok(0));
            continue;
        };
        let error = Error::NotInBits8 { argument: state.name, rule: rule.name() };
        let text = format!("`{}` of {} cannot be held in eight bits", state.name, rule.name());
        assert!(error.to_string().starts_with(&text), "{error}");
        assert_eq!(state_bytes(&*rule, 65), Err(error.clone()));
        let (mut states, mut packed) = (vec![vec![0.5; 3]; rule.states().len()], [7; 195]);
        let shared: Vec<&[f32]> = states.iter().map(|state| &state[..]).collect();
        assert_eq!(pack(&*rule, &shared, &mut packed), Err(error.clone()));
        let mut slices: Vec<&mut [f32]> = states.iter_mut().map(|state| &mut state[..]).collect();
        assert_eq!(unpack(&*rule, &packed, &mut slices), Err(error));
        assert!(packed == [7; 195] && states.iter().all(|state| *state == [0.5; 3]));
        refused += 1;
    }
    assert!(refused > 0);
}

#[test]
fn packed_states_of_a_wrong_length() {
    for rule in every_option() {
        let count = rule.states().len();
        let Ok(bytes) = state_bytes(&*rule, 100) else { continue };
        let states = vec![vec![0.25_f32; 100]; count];
        let check = |states: &[Vec<f32>], len: usize, expected: Error| {
            let (mut packed, mut written) = (vec![7; len], states.to_vec());
            let shared: Vec<&[f32]> = states.iter().map(|state| &state[..]).collect();
            assert_eq!(pack(&*rule, &shared, &mut packed), Err(expected.clone()));
            let mut slices: Vec<&mut [f32]> = written.iter_mut().map(|state| &mut state[..]).collect();
            assert_eq!(unpack(&*rule, &packed, &mut slices), Err(expected));
            assert!(packed == vec![7; len] && written == states);
        };
        for len in [0, bytes.saturating_sub(1), bytes + 1] {
            if len != bytes && count > 0 {
                check(&states, len, Error::PackedLength { argument: "packed", len, expected: bytes });
            }
        }
        for more in 1..=5 {
            let count = (count + more) % 6;
            let (states, expected) = (vec![vec![0.25; 100]; count], rule.states());
            check(&states, bytes, Error::StateCount { count, expected });
        }
        for k in 1..count {
            let mut states = states.clone();
            states[k].pop();
            let (argument, other) = (rule.states()[k].name, rule.states()[0].name);
            check(&states, bytes, Error::UnequalLength { argument, len: 99, other, expected: 100 });
        }
        let too_long = state_bytes(&*rule, usize::MAX);
        match count {
            0 => assert_eq!(too_long, Ok(0)),
            _ => {
                assert_eq!(too_long, Err(Error::TooLong { argument: "n", len: usize::MAX }));
                let text = format!("`n` is {}, too many for memory", usize::MAX);
                assert_eq!(too_long.unwrap_err().to_string(), text);
            }
        }
    }
    let error = Error::PackedLength { argument: "packed", len: 5, expected: 130 };
    assert_eq!(error.to_string(), "`packed` has 5 bytes; in eight bits it takes 130");
    let error = Error::UnequalLength { argument: "v", len: 99, other: "m", expected: 100 };
    let text = "`v` has 99 elements and `m` has 100; they must be equally long";
    assert_eq!(error.to_string(), text);
}

#[test]
fn conversions_between_lengths() {
    let (x, narrow, low) = ([0.5; 4], [bf16::ONE; 4], [3_i16; 4]);
    let unequal = |argument, len, other| Err(Error::UnequalLength { argument, len, other, expected: 4 });
    for n in [0, 3] {
        let (mut to, mut high, mut rest) = ([9.0; 4], [bf16::ONE; 4], [9_i16; 4]);
        assert_eq!(convert(Values::F32(&x[..n]), Weights::F32(&mut to)), unequal("from", n, "to"));
        let split = Values::Split { high: &narrow, low: &low[..n] };
        assert_eq!(convert(split, Weights::F32(&mut to)), unequal("low", n, "high"));
        let split = Weights::Split { high: &mut high, low: &mut rest[..n] };
        assert_eq!(convert(Values::F32(&x), split), unequal("low", n, "high"));
        assert_eq!((to, high, rest), ([9.0; 4], [bf16::ONE; 4], [9; 4]));
    }
}

/// The environment is read once in a process, so it takes another one.
#[test]
fn the_environment_names_an_unknown_instruction_set() {
    const NAME: &str = "the_environment_names_an_unknown_instruction_set";
    if std::env::var("DOWNHILL_ISA").is_ok_and(|name| name == "sse2") {
        for rule in rules() {
            let mut arrays = Arrays::new(&*rule, 3, uniform());
            let start = arrays.clone();
            let Arrays { w, g, state } = &mut arrays;
            let mut state: Vec<&mut [f32]> = state.iter_mut().map(|x| &mut x[..]).collect();
            let plain = rule.step(w, g, &mut state, 1).unwrap_err();
            let mut tensors = arrays.tensors(&[3]);
            let mut groups = [Group::new(&*rule, 1, &mut tensors)];
            let sums = grad_squares(&mut groups, Threads::Caller).unwrap_err();
            let whole = step(&mut groups, &Extras::default(), Threads::Caller).unwrap_err();
            for error in [plain, sums, whole] {
                assert!(
                    error.to_string().starts_with("`DOWNHILL_ISA` is \"sse2\"; on this CPU"),
                    "{error}"
                );
            }
            assert_eq!(arrays.difference(&start), None);
        }
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
