//! Bad input to a whole step is refused by name, by kernels and reference, with threads and without, and
//! nothing is written, even where the step would have been skipped.

mod common;

use common::{
    Rule, every_option,
    owned::{
        FloatType, Floats, Owned, OwnedGroup, StateType, Types, WeightType, assert_same, one,
        with_groups,
    },
    uniform_from, with,
};
use downhill::{Error, Extras, Isa, Numbering, Pool, Threads, reference, rules, state_bytes, step_on};

/// All the extras at once.
const ALL: Extras = Extras {
    grad_scale: 0.5,
    max_norm: 1.0,
    zero_grad: true,
    skip_nonfinite: true,
    grad_norm: true,
    norm_squared: None,
};

fn group(rule: &Rule, types: Types, lengths: &[usize]) -> OwnedGroup {
    let tensor = |n: &usize| Owned::new(&**rule, *n, types, uniform_from(*n as u64));
    one(rule.clone(), 3, lengths.iter().map(tensor).collect())
}

/// Every way to make this step must say this.
#[track_caller]
fn refuse(groups: &[OwnedGroup], extras: &Extras, expected: &Error) {
    refuse_with(groups, extras, extras.zero_grad, Threads::Caller, expected);
}

/// With gradients that are mutable or not.
#[track_caller]
fn refuse_with(
    groups: &[OwnedGroup],
    extras: &Extras,
    is_mutable: bool,
    threads: Threads<'_>,
    expected: &Error,
) {
    let start: Vec<_> = groups.iter().map(|group| group.tensors.clone()).collect();
    for isa in Isa::available().into_iter().map(Some).chain([None]) {
        let mut tensors = start.clone();
        let result = with_groups(groups, &mut tensors, is_mutable, |groups| match isa {
            Some(isa) => step_on(isa, groups, extras, threads),
            None => reference::step(groups, extras),
        });
        assert_eq!(result.as_ref(), Err(expected));
        assert_same(groups, &tensors, &start, "it wrote");
    }
}

fn in_group(index: usize, error: Error) -> Error {
    Error::Group { index, error: Box::new(error) }
}

fn in_tensor(group: usize, index: usize, error: Error) -> Error {
    in_group(group, Error::Tensor { index, error: Box::new(error) })
}

/// Three, of which the last has a rule whose states fit in eight bits, and these types.
fn some_groups(types: Types) -> Vec<OwnedGroup> {
    let rules: Vec<_> = rules().into_iter().filter(|rule| state_bytes(&**rule, 1).is_ok()).collect();
    let most = rules.iter().max_by_key(|rule| rule.states().len()).unwrap();
    let mut groups = vec![
        group(&rules[0], Types::F32, &[20, 0]),
        group(most, Types::F32, &[]),
        group(most, types, &[20, 0, 37, 1]),
    ];
    // Which would be skipped.
    groups[0].tensors[0].g = Some(Floats::F32(vec![f32::INFINITY; 20]));
    groups
}

/// In each of several tensors, each array of each type but `w`.
#[test]
fn an_array_of_another_length() {
    for types in Types::all(&*some_groups(Types::F32)[2].config) {
        for index in 0..4 {
            for k in 0.. {
                let groups = some_groups(types);
                let config = &groups[2].config;
                let names = config.states().iter().map(|state| state.name);
                let Some(name) = ["g", "low", "copy", "state"].into_iter().chain(names).nth(k) else {
                    break;
                };
                check_lengths(groups, index, name);
            }
        }
    }
}

fn check_lengths(mut groups: Vec<OwnedGroup>, index: usize, argument: &'static str) {
    let expected = groups[2].tensors[index].len();
    let lengths = [0, expected.saturating_sub(1), expected + 1, expected + 64];
    for len in lengths.into_iter().filter(|&len| len != expected) {
        let states = groups[2].config.states();
        let place = states.iter().position(|state| state.name == argument);
        let tensor = &mut groups[2].tensors[index];
        let mut error = Error::Length { argument, len, expected };
        match (argument, place) {
            ("g", _) => tensor.g.as_mut().unwrap().resize(len),
            ("low", _) if tensor.low.is_some() => tensor.low.as_mut().unwrap().resize(len, 0),
            ("copy", _) if tensor.copy.is_some() => tensor.copy.as_mut().unwrap().resize(len),
            (_, Some(k)) if !tensor.state.is_empty() => tensor.state[k].resize(len),
            ("state", _) if tensor.codes.is_some() => {
                let (codes, more) = (tensor.codes.as_mut().unwrap(), len > expected);
                let expected = states.len() * 65 * expected.div_ceil(64);
                let len = if more { expected + 1 } else { expected.saturating_sub(1) };
                if len == expected {
                    continue;
                }
                codes.resize(len, 0);
                error = Error::PackedLength { argument: "state", len, expected };
            }
            _ => continue,
        }
        refuse(&groups, &ALL, &in_tensor(2, index, error));
    }
}

/// Bounds that are no numbers, that are too large, or that are not in order.
#[test]
fn bounds_of_a_group() {
    const INF: f64 = f64::INFINITY;
    let (finite, or_minus) = ("finite in f32, or infinity", "finite in f32, or minus infinity");
    let of = |clamp| OwnedGroup { clamp, ..group(&rules()[0], Types::F32, &[20, 0]) };
    let order = "at most clamp_high";
    for (clamp, argument, value, allowed) in [
        ([f64::MAX, INF], "clamp_low", f64::MAX, or_minus),
        ([-1e39, 0.0], "clamp_low", -1e39, or_minus),
        ([INF, INF], "clamp_low", INF, or_minus),
        ([-INF, -INF], "clamp_high", -INF, finite),
        ([-INF, 1e39], "clamp_high", 1e39, finite),
        ([1.0, 0.5], "clamp_low", 1.0, order),
        ([1e-300, 0.0], "clamp_low", 1e-300, order),
    ] {
        let error = Error::Hyperparameter { argument, value, allowed };
        refuse(&[of([-0.5, 0.5]), of(clamp)], &ALL, &in_group(1, error));
    }
    for clamp in [[f64::NAN, 0.0], [0.0, f64::NAN], [f64::NAN; 2]] {
        let argument = if clamp[0].is_nan() { "clamp_low" } else { "clamp_high" };
        let groups = [of(clamp)];
        let mut tensors = vec![groups[0].tensors.clone()];
        let result = with_groups(&groups, &mut tensors, true, |groups| {
            step_on(Isa::current().unwrap(), groups, &ALL, Threads::Caller)
        });
        let text = result.unwrap_err().to_string();
        assert!(text.starts_with(&format!("group 0: `{argument}` is NaN; it must be")), "{text}");
        assert_same(&groups, &tensors, &[groups[0].tensors.clone()], "it wrote");
    }
}

#[test]
fn too_few_or_too_many_states() {
    for rule in every_option() {
        let expected = rule.states();
        for count in (0..=5).filter(|&count| count != expected.len()) {
            for state in [StateType::F32, StateType::Bf16] {
                // Without an array there is no telling of what type none are.
                if count == 0 && state == StateType::Bf16 {
                    continue;
                }
                let types = Types { state, ..Types::F32 };
                let mut groups = [group(&rule, types, &[20, 37, 4])];
                let mut more = Owned::new(&*rule, 37, types, uniform_from(1)).w;
                if state == StateType::Bf16 {
                    more = Floats::new(FloatType::Bf16, more.wide().into_iter());
                }
                groups[0].tensors[1].state.resize(count, more);
                refuse(&groups, &ALL, &in_tensor(0, 1, Error::StateCount { count, expected }));
            }
        }
    }
}

#[test]
fn states_that_are_not_for_eight_bits() {
    let mut refused = 0;
    for rule in every_option() {
        let Err(error) = state_bytes(&*rule, 0) else { continue };
        let mut groups = [group(&rule, Types::F32, &[20, 37])];
        let tensor = &mut groups[0].tensors[1];
        tensor.state.clear();
        tensor.codes = Some(vec![0x55; 65 * rule.states().len()]);
        refuse(&groups, &ALL, &in_tensor(0, 1, error));
        refused += 1;
    }
    assert!(refused > 0);
}

/// A gradient that is to be set to zero; an empty one too.
#[test]
fn a_shared_gradient() {
    for types in Types::all(&*rules()[0]) {
        for lengths in [[20, 0], [0, 5]] {
            let groups = [group(&rules()[0], types, &lengths)];
            let expected = in_tensor(0, 0, Error::SharedGradient);
            refuse_with(&groups, &ALL, false, Threads::Caller, &expected);
        }
    }
    let text = "`g` is a shared slice, and `zero_grad` is true; ";
    assert!(Error::SharedGradient.to_string().starts_with(text));
}

#[test]
fn numbers_of_first_elements() {
    for (numbering, wrong) in [
        (Numbering::ByPlace, &[1, 63, 64, u64::MAX][..]),
        (Numbering::Given, &[1, 32, 63, 65, 64 * 1000 - 1, u64::MAX]),
    ] {
        for (has_gradient, &number) in
            [true, false].iter().flat_map(|g| wrong.iter().map(move |n| (g, n)))
        {
            for state in [StateType::F32, StateType::Bf16, StateType::Bits8] {
                let mut groups = some_groups(Types { state, ..Types::F32 });
                groups[2].numbering = numbering;
                groups[2].tensors[2].first_element = number;
                if !has_gradient {
                    groups[2].tensors[2].g = None;
                }
                refuse(&groups, &ALL, &in_tensor(2, 2, Error::FirstElement { number, numbering }));
            }
        }
    }
    for n in [0, 64, 65] {
        let mut groups = [group(&rules()[0], Types::F32, &[n])];
        let (number, numbering) = (u64::MAX - 63, Numbering::Given);
        (groups[0].numbering, groups[0].tensors[0].first_element) = (numbering, number);
        if n <= 64 {
            common::owned::check(&groups, &ALL, Threads::Caller);
        } else {
            refuse(&groups, &ALL, &in_tensor(0, 0, Error::FirstElement { number, numbering }));
        }
    }
    let text = |number, numbering| Error::FirstElement { number, numbering }.to_string();
    assert_eq!(
        text(32, Numbering::Given),
        "`first_element` is 32; it must be a multiple of 64, and the last element's number below 2^64"
    );
    assert_eq!(
        text(64, Numbering::ByPlace),
        "`first_element` is 64; it must be 0, because elements are numbered by place"
    );
}

/// Each is finite in `f32`, to which the largest of `f64` round.
#[test]
fn extras_out_of_range() {
    let infinite = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e39, 3.402_823_567_797_336_7e38];
    for groups in [some_groups(Types::F32), Vec::new()] {
        let check = |extras: Extras, argument, value: f64, allowed| {
            for extras in [extras, Extras { max_norm: 0.0, skip_nonfinite: false, ..extras }] {
                if argument != "max_norm" || extras.max_norm.to_bits() == value.to_bits() {
                    let text = format!("`{argument}` is {value:?}; it must be {allowed}");
                    let mut tensors: Vec<_> = groups.iter().map(|group| group.tensors.clone()).collect();
                    let error = with_groups(&groups, &mut tensors, true, |groups| {
                        let isa = Isa::current().unwrap();
                        let error = step_on(isa, groups, &extras, Threads::Caller).unwrap_err();
                        assert_eq!(
                            error.to_string(),
                            reference::step(groups, &extras).unwrap_err().to_string()
                        );
                        error
                    });
                    assert_eq!(error.to_string(), text);
                    let start: Vec<_> = groups.iter().map(|group| group.tensors.clone()).collect();
                    assert_same(&groups, &tensors, &start, "it wrote");
                }
            }
        };
        for x in infinite.into_iter().chain([-1e39]) {
            check(Extras { grad_scale: x, ..ALL }, "grad_scale", x, "finite in f32");
        }
        for x in infinite.into_iter().chain([-1e-300, -1.0]) {
            check(Extras { max_norm: x, ..ALL }, "max_norm", x, "at least 0 and finite in f32");
        }
        for x in [-1e-300, -1.0, f64::NEG_INFINITY] {
            let allowed = "a sum of squares: at least 0, infinite or NaN";
            check(Extras { norm_squared: Some(x), ..ALL }, "norm_squared", x, allowed);
        }
    }
}

#[test]
fn extras_at_the_ends_of_their_ranges() {
    let most = 3.402_823_567_797_336e38;
    let groups = [group(&rules()[0], Types::F32, &[20, 0])];
    for (grad_scale, max_norm) in [(most, 1.0), (-most, most), (-0.0, -0.0), (1e-300, 1e-300)] {
        for norm_squared in
            [None, Some(0.0), Some(-0.0), Some(1e300), Some(f64::INFINITY), Some(f64::NAN)]
        {
            let extras = Extras { grad_scale, max_norm, norm_squared, ..Extras::default() };
            common::owned::check(&groups, &extras, Threads::Caller);
        }
    }
}

/// Extras, then groups, then their tensors, in order.
#[test]
fn the_first_error_wins() {
    let mut groups = some_groups(Types::F32);
    let wrong = with(&groups[2].config, "lr", -1.0);
    let allowed = "at least 0 and finite in f32";
    let of = |argument, value| Error::Hyperparameter { argument, value, allowed };
    groups[2].tensors[3].g.as_mut().unwrap().resize(0);
    refuse(&groups, &ALL, &in_tensor(2, 3, Error::Length { argument: "g", len: 0, expected: 1 }));
    groups[2].tensors[2].first_element = 64;
    let numbering = Numbering::ByPlace;
    refuse(&groups, &ALL, &in_tensor(2, 2, Error::FirstElement { number: 64, numbering }));
    groups[2].config = wrong;
    refuse(&groups, &ALL, &in_group(2, of("lr", -1.0)));
    groups[2].t = 0;
    refuse(&groups, &ALL, &in_group(2, Error::Step));
    groups[0].tensors[1].first_element = 1;
    refuse(&groups, &ALL, &in_tensor(0, 1, Error::FirstElement { number: 1, numbering }));
    groups[0].t = 0;
    refuse(&groups, &ALL, &in_group(0, Error::Step));
    refuse(&groups, &Extras { max_norm: -1.0, ..ALL }, &of("max_norm", -1.0));

    let error = in_tensor(2, 3, Error::Length { argument: "g", len: 0, expected: 1 });
    let text = "group 2: tensor 3: `g` has 0 elements and `w` has 1; they must be equally long";
    assert_eq!(error.to_string(), text);
}

/// A step count of a tensor's own can be wrong by itself: late steps may have a larger rate than early
/// ones.
#[test]
fn a_tensor_whose_own_step_is_refused() {
    let mut refused = 0;
    for rule in every_option() {
        let rule = with(&rule, "lr", 3e38);
        let mut groups = [group(&rule, Types::F32, &[20, 37])];
        groups[0].t = 100_000;
        let is_fine = |groups: &[OwnedGroup]| {
            let mut tensors = vec![groups[0].tensors.clone()];
            with_groups(groups, &mut tensors, true, |groups| {
                downhill::step(groups, &ALL, Threads::Caller).is_ok()
            })
        };
        let before = is_fine(&groups);
        groups[0].tensors[1].t = 1;
        if before && !is_fine(&groups) {
            let allowed = "so small that what is derived from it (lr/c1) is finite in f32";
            let inner = Error::Hyperparameter { argument: "lr", value: 3e38, allowed };
            refuse(&groups, &ALL, &in_tensor(0, 1, inner));
            refused += 1;
        }
    }
    assert!(refused > 0);
}

/// A whole step looks at most learning rates with a glance. It refuses those that a plain step does.
#[test]
fn learning_rates_are_refused_as_by_a_plain_step() {
    let mut refused = 0;
    for rule in every_option() {
        for t in [1, 2, 10, 1000] {
            for lr in (0..64).map(|k| f64::from(f32::MAX) * 2_f64.powf(f64::from(k) / -8.0)) {
                let rule = with(&rule, "lr", lr);
                let mut groups = [group(&rule, Types::F32, &[1])];
                groups[0].t = t;
                let mut tensors = vec![groups[0].tensors.clone()];
                let result = with_groups(&groups, &mut tensors, true, |groups| {
                    downhill::step(groups, &Extras::default(), Threads::Caller).map(drop)
                });
                let mut states = vec![[0.0]; rule.states().len()];
                let mut states: Vec<_> = states.iter_mut().map(|state| &mut state[..]).collect();
                let isa = Isa::current().unwrap();
                let plain = rule.step_on(isa, &mut [0.0], &[0.0], &mut states, t);
                assert_eq!(result, plain.map_err(|error| in_group(0, error)), "{rule:?} at {t}");
                refused += u32::from(result.is_err());
            }
        }
    }
    assert!(refused > 100, "{refused}");
}

/// Of a tensor without a gradient nothing is looked at but its length and its numbers.
#[test]
fn what_is_wrong_with_a_tensor_without_a_gradient_does_not_matter() {
    for types in Types::all(&*some_groups(Types::F32)[2].config) {
        let mut groups = some_groups(types);
        groups[0].tensors[0].g = None;
        let tensor = &mut groups[2].tensors[2];
        tensor.g = None;
        tensor.state.iter_mut().for_each(|state| state.resize(5));
        tensor.state.truncate(1);
        tensor.codes.iter_mut().for_each(|codes| codes.truncate(5));
        tensor.copy.iter_mut().for_each(|copy| copy.resize(5));
        tensor.low.iter_mut().for_each(|low| low.truncate(5));
        let start: Vec<_> = groups.iter().map(|group| group.tensors.clone()).collect();
        let mut tensors = start.clone();
        let extras = Extras { zero_grad: false, ..ALL };
        let report = with_groups(&groups, &mut tensors, false, |groups| {
            downhill::step(groups, &extras, Threads::Caller).unwrap()
        });
        // One in the first group, an empty one too; three in the last.
        assert_eq!((report.skipped, report.tensors_updated), (false, 1 + 3));
        assert_eq!(tensors[2][2].difference(&start[2][2]), None, "{types:?}");
    }
}

/// What is wrong is found before anybody is set to work.
#[test]
fn nothing_is_written_by_threads_either() {
    let pool = Pool::new(3);
    let types = Types { w: WeightType::Bf16, ..Types::F32 };
    for rule in rules().into_iter().filter(|rule| !rule.states().is_empty()).take(3) {
        let start = group(&rule, types, &[300_000, 5, 200_000]);
        let refuse = |groups: &[OwnedGroup], extras: &Extras, expected: &Error| {
            refuse_with(groups, extras, true, Threads::Pool(&pool), expected);
        };
        let copy = || OwnedGroup { tensors: start.tensors.clone(), config: rule.clone(), ..start };
        let allowed = "at least 0 and finite in f32";
        let of = |argument| Error::Hyperparameter { argument, value: -1.0, allowed };
        refuse(&[copy()], &Extras { max_norm: -1.0, ..ALL }, &of("max_norm"));
        let wrong = OwnedGroup { config: with(&rule, "lr", -1.0), ..copy() };
        refuse(&[copy(), wrong], &ALL, &in_group(1, of("lr")));
        refuse(&[copy(), OwnedGroup { t: 0, ..copy() }], &ALL, &in_group(1, Error::Step));
        let mut short = copy();
        short.tensors[2].state[0].resize(0);
        let argument = rule.states()[0].name;
        let inner = Error::Length { argument, len: 0, expected: 200_000 };
        refuse(&[copy(), short], &ALL, &in_tensor(1, 2, inner));
    }
}
