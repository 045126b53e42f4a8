//! The whole step: the reference's bits for any groups, rules, types and extras, and what it does to
//! each tensor.

mod common;

use common::{
    Arrays, any_length, any_rule, any_value, config, every_option, mixed_from,
    owned::{
        COPIES, FLOATS, FloatType, Floats, Owned, OwnedGroup, STATES, StateType, Types, UNBOUNDED,
        WEIGHTS, WeightType, check, one, stepped,
    },
    same, uniform, uniform_from,
};
use downhill::{
    Extras, Group, Isa, Numbering, Pool, Report, Rounding, Sgd, Tensor, Threads, Values, Weights,
    convert, reference, rules, step, step_on,
};
use half::{bf16, f16};
use proptest::prelude::*;

#[test]
fn every_rule_has_every_type() {
    for (seed, rule) in every_option().into_iter().enumerate() {
        for types in Types::all(&*rule) {
            let lengths = [0, 1, 63, 64, 65, 130];
            let tensors =
                lengths.map(|n| Owned::new(&*rule, n, types, mixed_from(seed as u64 + n as u64)));
            for rounding in [Rounding::Stochastic { seed: 7 }, Rounding::Nearest] {
                let (mut expected, mut ours) = (tensors.to_vec(), tensors.to_vec());
                let extras = Extras { grad_scale: 0.5, ..Extras::default() };
                let step = |list: &mut [Owned], isa: Option<Isa>| {
                    let mut list: Vec<_> = list.iter_mut().map(|tensor| tensor.tensor(false)).collect();
                    let mut group = Group::new(&*rule, 3, &mut list);
                    group.rounding = rounding;
                    match isa {
                        Some(isa) => step_on(isa, &mut [group], &extras, Threads::Caller),
                        None => reference::step(&mut [group], &extras),
                    }
                    .unwrap();
                };
                step(&mut expected, None);
                let isa = Isa::available()[seed % Isa::available().len()];
                step(&mut ours, Some(isa));
                for (ours, expected) in ours.iter().zip(&expected) {
                    let difference = ours.difference(expected);
                    assert!(difference.is_none(), "{isa} {rule:?} {types:?}: {}", difference.unwrap());
                }
            }
        }
    }
}

/// Groups of any rules and types, with any values.
fn any_groups() -> impl Strategy<Value = Vec<OwnedGroup>> {
    let types = (
        prop::sample::select(&WEIGHTS[..]),
        prop::sample::select(&FLOATS[..]),
        prop::sample::select(&STATES[..]),
        prop::sample::select(&COPIES[..]),
    );
    let types = types.prop_map(|(w, g, state, copy)| Types { w, g, state, copy });
    let tensors = prop::collection::vec((any_length(), any::<bool>(), 0_u64..3), 0..4);
    let rounding = prop_oneof![
        any::<u64>().prop_map(|seed| Rounding::Stochastic { seed }),
        Just(Rounding::Nearest)
    ];
    let values = prop::collection::vec(any_value(), 1..200);
    let t = prop_oneof![1_u64..1000, Just(u64::MAX)];
    let group = (any_rule(), types, tensors, rounding, t, any::<bool>(), any_bounds(), values).prop_map(
        |(config, mut types, lengths, rounding, t, is_given, clamp, values)| {
            if downhill::state_bytes(&*config, 0).is_err() && types.state == StateType::Bits8 {
                types.state = StateType::Bf16;
            }
            let mut next = values.into_iter().cycle();
            let mut tensors = Vec::new();
            for (n, has_gradient, own_t) in lengths {
                let mut tensor = Owned::new(&*config, n, types, || next.next().unwrap());
                tensor.t = own_t;
                if !has_gradient && n % 2 == 0 {
                    tensor.g = None;
                }
                if is_given {
                    tensor.first_element = 64 * (n as u64 * 7919 % 1000);
                }
                tensors.push(tensor);
            }
            let numbering = if is_given { Numbering::Given } else { Numbering::ByPlace };
            OwnedGroup { config, t, rounding, numbering, clamp, tensors }
        },
    );
    prop::collection::vec(group, 0..4)
}

/// None, and any that are in order.
fn any_bounds() -> impl Strategy<Value = [f64; 2]> {
    let bound = || {
        prop_oneof![
            4 => -1.0..1.0,
            2 => prop::sample::select(vec![0.0, -0.0, 0.5, 1e-45, -1e-300, 3.4e38, -3.4e38]),
        ]
    };
    let bounds = prop_oneof![
        1 => bound().prop_map(|low| [low, f64::INFINITY]),
        1 => bound().prop_map(|high| [f64::NEG_INFINITY, high]),
        2 => (bound(), bound()).prop_map(|(a, b)| if a <= b { [a, b] } else { [b, a] }),
    ];
    prop_oneof![2 => Just(UNBOUNDED), 1 => bounds]
}

fn any_extras() -> impl Strategy<Value = Extras> {
    let scale = prop_oneof![
        4 => -2.0..2.0,
        2 => prop::sample::select(vec![1.0, -1.0, 0.0, -0.0, 0.5]),
        1 => prop::sample::select(vec![1e-45, -1e-300, 1e-20, 65536.0, 3.4e38, -3.4e38]),
    ];
    let norm = prop_oneof![
        2 => Just(0.0),
        4 => 0.0..10.0,
        1 => 0.0..1e4,
        1 => prop::sample::select(vec![-0.0, 1e-300, 1e-45, 1e-6, 1.0, 3.4e38]),
    ];
    let given = prop_oneof![
        4 => Just(None),
        1 => (0.0..1e6).prop_map(Some),
        1 => prop::sample::select(vec![Some(0.0), Some(f64::NAN), Some(f64::INFINITY)]),
    ];
    (scale, norm, any::<[bool; 3]>(), given).prop_map(
        |(grad_scale, max_norm, [zero_grad, skip_nonfinite, grad_norm], norm_squared)| Extras {
            grad_scale,
            max_norm,
            zero_grad,
            skip_nonfinite,
            grad_norm,
            norm_squared,
        },
    )
}

proptest! {
    #![proptest_config(config(600))]

    #[test]
    fn any_groups_with_any_extras(groups in any_groups(), extras in any_extras()) {
        check(&groups, &extras, Threads::Caller);
    }

    /// No extras: each tensor as by the rule's plain step, with nothing to report.
    #[test]
    fn each_tensor_is_stepped_as_if_alone(
        rule in any_rule(),
        lengths in prop::collection::vec(any_length(), 0..7),
        values in prop::collection::vec(any_value(), 1..64),
        t in prop_oneof![1_u64..100, Just(1_000_000), Just(u64::MAX)],
    ) {
        let mut next = values.into_iter().cycle();
        let start = Arrays::new(&*rule, lengths.iter().sum(), || next.next().unwrap());
        let mut expected = start.clone();
        let mut from = 0;
        for len in &lengths {
            expected.try_step(&*rule, None, t, from, from + len).unwrap();
            from += len;
        }
        for isa in Isa::available() {
            let mut ours = start.clone();
            let extras = Extras::default();
            let report =
                ours.whole_step(&*rule, Some(isa), &lengths, t, &extras, Threads::Caller).unwrap();
            check_report(&report, None, 1.0, lengths.len());
            prop_assert_eq!(ours.difference(&expected), None, "{}", isa);
        }
    }
}

/// Of a step that was not skipped.
#[track_caller]
fn check_report(report: &Report, grad_norm: Option<f64>, applied_scale: f64, tensors_updated: usize) {
    let Report { skipped, nonfinite, .. } = *report;
    assert_eq!(
        (report.grad_norm, report.applied_scale, report.tensors_updated, skipped, nonfinite),
        (grad_norm, applied_scale, tensors_updated, false, None)
    );
}

#[test]
fn the_default_is_to_do_nothing_else() {
    let nothing = Extras {
        grad_scale: 1.0,
        max_norm: 0.0,
        zero_grad: false,
        skip_nonfinite: false,
        grad_norm: false,
        norm_squared: None,
    };
    assert_eq!(Extras::default(), nothing);
    assert!(matches!(Threads::default(), Threads::Caller));
    assert_eq!(Rounding::default(), Rounding::Stochastic { seed: 0 });
    assert_eq!(Numbering::default(), Numbering::ByPlace);
    let (mut w, g) = ([1.0], [1.0]);
    let tensor = Tensor::new(&mut w, &g, downhill::States::default());
    assert_eq!((tensor.t, tensor.first_element), (0, 0));
    assert!(matches!(tensor.copy, downhill::WeightCopy::Absent));
}

#[test]
fn nothing_to_step() {
    for extras in
        [Extras::default(), Extras { max_norm: 1.0, skip_nonfinite: true, ..Extras::default() }]
    {
        let norm = (extras.max_norm > 0.0).then_some(0.0);
        check_report(&step(&mut [], &extras, Threads::Caller).unwrap(), norm, 1.0, 0);
        for rule in rules() {
            let mut groups = [Group::new(&*rule, 1, &mut [])];
            check_report(&step(&mut groups, &extras, Threads::Caller).unwrap(), norm, 1.0, 0);
            check(&[one(rule, 1, Vec::new())], &extras, Threads::Caller);
        }
    }
}

/// By hand: a norm of 5 is scaled by 2 to 10, and clipped to 1.
#[test]
fn what_is_reported() {
    let rule = Sgd { lr: 1.0, ..Sgd::default() };
    let run = |g: [f32; 2], extras: Extras| {
        let mut arrays = Arrays { w: vec![0.0; 2], g: g.to_vec(), state: vec![] };
        let isa = Isa::current().ok();
        let report = arrays.whole_step(&rule, isa, &[1, 1], 1, &extras, Threads::Caller).unwrap();
        (report, arrays.w)
    };
    let clip = Extras { grad_scale: -2.0, max_norm: 1.0, ..Extras::default() };
    let (report, w) = run([3.0, -4.0], clip);
    let scale = (-2.0 * (1.0 / (10.0 + 1e-6))) as f32;
    check_report(&report, Some(10.0), scale.into(), 2);
    assert_eq!(w, [-3.0 * scale, 4.0 * scale]);

    check_report(&run([3.0, -4.0], Extras { max_norm: 11.0, ..clip }).0, Some(10.0), -2.0, 2);
    check_report(&run([3.0, -4.0], Extras { max_norm: 0.0, ..clip }).0, None, -2.0, 2);
    check_report(&run([0.0, 0.0], clip).0, Some(0.0), -2.0, 2);
    let told = Extras { grad_norm: true, ..Extras::default() };
    check_report(&run([3.0, -4.0], told).0, Some(5.0), 1.0, 2);
    // The sum of a model of which this is a part.
    check_report(&run([3.0, -4.0], Extras { norm_squared: Some(100.0), ..told }).0, Some(10.0), 1.0, 2);
    let unused = Extras { norm_squared: Some(100.0), ..Extras::default() };
    check_report(&run([3.0, -4.0], unused).0, None, 1.0, 2);

    // Not skipped: a norm that is not finite goes on into every weight, or is clipped to nothing.
    let (report, w) = run([3.0, f32::NAN], clip);
    assert!(report.grad_norm.unwrap().is_nan() && report.applied_scale.is_nan());
    assert!(w.iter().all(|w| w.is_nan()) && !report.skipped);
    let (report, w) = run([3.0, f32::INFINITY], clip);
    check_report(&report, Some(f64::INFINITY), 0.0, 2);
    assert!(w[0] == 0.0 && w[1].is_nan());
}

/// Before anything else is done with it.
#[test]
fn a_scale_multiplies_the_gradient_in_f32() {
    for rule in every_option() {
        for scale in [1.0, -1.0, 0.1, 1e30] {
            let start = Arrays::new(&*rule, 37, mixed_from(3));
            let mut expected = start.clone();
            expected.g.iter_mut().for_each(|g| *g *= scale as f32);
            expected.reference_step(&*rule, 2);
            expected.g = start.g.clone();
            for isa in Isa::available() {
                let mut ours = start.clone();
                let extras = Extras { grad_scale: scale, ..Extras::default() };
                ours.whole_step(&*rule, Some(isa), &[37], 2, &extras, Threads::Caller).unwrap();
                assert_eq!(ours.difference(&expected), None, "{isa} {rule:?} {scale}");
            }
        }
    }
}

/// Widened exactly, stepped by the plain step, rounded to nearest: with conversions that are not ours.
#[test]
fn mixed_types_are_widened_stepped_and_rounded() {
    let n = 130;
    for (seed, rule) in every_option().into_iter().enumerate() {
        let states = [StateType::F32, StateType::Bf16];
        for (w, g, state) in WEIGHTS.into_iter().flat_map(|w| FLOATS.map(|g| (w, g, states[seed % 2]))) {
            let types = Types { w, g, state, copy: Some(FLOATS[seed % 3]) };
            let mut tensor = Owned::new(&*rule, n, types, mixed_from(seed as u64));
            let wide = Arrays {
                w: wide_weights(&tensor),
                g: tensor.g.as_ref().unwrap().wide(),
                state: tensor.state.iter().map(Floats::wide).collect(),
            };
            let mut plain = wide;
            plain.reference_step(&*rule, 3);
            let mut list = [tensor.tensor(false)];
            let mut group = Group::new(&*rule, 3, &mut list);
            group.rounding = Rounding::Nearest;
            step(&mut [group], &Extras::default(), Threads::Caller).unwrap();
            let stored = wide_weights(&tensor);
            let expected = plain.w.iter().map(|&x| rounded(w, x));
            let all_same =
                |a: &[f32], b: &mut dyn Iterator<Item = f32>| a.iter().zip(b).all(|(&a, b)| same(a, b));
            assert!(all_same(&stored, &mut expected.into_iter()), "{rule:?} {types:?}");
            for (ours, plain) in tensor.state.iter().zip(&plain.state) {
                let mut expected = plain.iter().map(|&x| match state {
                    StateType::Bf16 => bf16::from_f32(x).to_f32(),
                    _ => x,
                });
                assert!(all_same(&ours.wide(), &mut expected), "{rule:?} {types:?}");
            }
            // The copy is of the weights as they are stored.
            let copy = tensor.copy.as_ref().unwrap().wide();
            let mut expected = stored.iter().map(|&x| match types.copy {
                Some(FloatType::Bf16) => bf16::from_f32(x).to_f32(),
                Some(FloatType::F16) => f16::from_f32(x).to_f32(),
                _ => x,
            });
            assert!(all_same(&copy, &mut expected), "{rule:?} {types:?}");
        }
    }
}

fn wide_weights(tensor: &Owned) -> Vec<f32> {
    let (Floats::Bf16(high), Some(low)) = (&tensor.w, &tensor.low) else { return tensor.w.wide() };
    let mut wide = vec![0.0; high.len()];
    convert(Values::Split { high, low }, Weights::F32(&mut wide)).unwrap();
    wide
}

fn rounded(weight: WeightType, x: f32) -> f32 {
    match weight {
        WeightType::F32 | WeightType::Split => x,
        WeightType::Bf16 => bf16::from_f32(x).to_f32(),
        WeightType::F16 => f16::from_f32(x).to_f32(),
    }
}

/// For every rule, type and instruction set: as the reference, within the bounds but for rounding, and
/// where the weight was within them as without.
#[test]
fn weights_are_kept_within_bounds() {
    const BOUNDS: [f64; 2] = [-0.25, 0.5];
    for (seed, rule) in every_option().into_iter().enumerate() {
        for types in Types::all(&*rule).into_iter().skip(seed % 3).step_by(3) {
            let tensor = Owned::new(&*rule, 130, types, mixed_from(seed as u64));
            let group = |clamp, rounding| {
                let tensors = vec![tensor.clone()];
                OwnedGroup { clamp, rounding, ..one(rule.clone(), 3, tensors) }
            };
            let extras = Extras { grad_scale: 0.5, ..Extras::default() };
            check(&[group(BOUNDS, Rounding::Stochastic { seed: 7 })], &extras, Threads::Caller);
            let after = |clamp| {
                let groups = [group(clamp, Rounding::Nearest)];
                check(&groups, &extras, Threads::Caller);
                wide_weights(&stepped(&groups, None, &extras, Threads::Caller).0[0][0])
            };
            let (free, kept) = (after(UNBOUNDED), after(BOUNDS));
            for (free, kept) in free.into_iter().zip(kept) {
                // Both bounds are numbers of every type.
                let expected = match free {
                    _ if free < -0.25 => -0.25,
                    _ if free > 0.5 => 0.5,
                    _ => free,
                };
                assert!(same(kept, expected), "{rule:?} {types:?}: {free} became {kept}");
            }
        }
    }
}

/// The bits of a step without bounds; a NaN and both zeros stay.
#[test]
fn bounds_change_no_number_within_them() {
    let rule = Sgd { lr: 0.0, ..Sgd::default() };
    let w = [0.0, -0.0, f32::NAN, 1e-45, 2.0, -2.0, f32::INFINITY, f32::NEG_INFINITY];
    for (bounds, expected) in [
        ([-0.0, 0.0], [0.0, -0.0, f32::NAN, 0.0, 0.0, -0.0, 0.0, -0.0]),
        ([0.0, -0.0], [0.0, -0.0, f32::NAN, -0.0, -0.0, 0.0, -0.0, 0.0]),
        (
            [f64::NEG_INFINITY, 3.4e38],
            [0.0, -0.0, f32::NAN, 1e-45, 2.0, -2.0, 3.4e38, f32::NEG_INFINITY],
        ),
        ([-1.0, f64::INFINITY], [0.0, -0.0, f32::NAN, 1e-45, 2.0, -1.0, f32::INFINITY, -1.0]),
    ] {
        for isa in Isa::available() {
            let mut ours = w.repeat(5);
            let g = [0.0; 40];
            let mut tensors = [Tensor::new(&mut ours, &g, downhill::States::default())];
            let mut group = Group::new(&rule, 1, &mut tensors);
            [group.clamp_low, group.clamp_high] = bounds;
            step_on(isa, &mut [group], &Extras::default(), Threads::Caller).unwrap();
            for (ours, expected) in ours.iter().zip(expected.repeat(5)) {
                assert!(same(*ours, expected), "{isa} {bounds:?}: {ours}, not {expected}");
            }
        }
    }
}

/// One configuration and step count, and other bounds: with threads the parts of both follow each other.
#[test]
fn each_group_has_its_own_bounds() {
    let rule = Sgd { lr: 1.0, ..Sgd::default() };
    let pool = Pool::new(2);
    for threads in [Threads::Caller, Threads::Pool(&pool)] {
        let (mut w, g) = (vec![vec![0.0; 300_000]; 3], vec![-1.0; 300_000]);
        let mut tensors: Vec<_> =
            w.iter_mut().map(|w| [Tensor::new(w, &g, downhill::States::default())]).collect();
        let mut groups: Vec<_> =
            tensors.iter_mut().map(|tensors| Group::new(&rule, 1, tensors)).collect();
        groups[1].clamp_high = 0.5;
        groups[2].clamp_high = 0.25;
        step(&mut groups, &Extras::default(), threads).unwrap();
        for (w, expected) in w.iter().zip([1.0, 0.5, 0.25]) {
            assert!(w.iter().all(|&w| w == expected), "{expected}");
        }
    }
}

/// Nothing is decayed or copied or zeroed, nor is it counted; but the elements after it are numbered as
/// if it were there.
#[test]
fn a_tensor_without_a_gradient_is_left_alone() {
    for rule in every_option() {
        for types in Types::all(&*rule).into_iter().step_by(7) {
            let tensor = |n| Owned::new(&*rule, n, types, uniform_from(n as u64));
            let all = one(rule.clone(), 3, [130, 64, 1, 200].map(tensor).to_vec());
            let mut without = one(rule.clone(), 3, all.tensors.clone());
            without.tensors[1].g = None;
            without.tensors[2].g = None;
            let extras =
                Extras { grad_scale: 0.5, zero_grad: true, grad_norm: true, ..Extras::default() };
            check(std::slice::from_ref(&without), &extras, Threads::Caller);
            let isa = Isa::current().ok();
            let start = without.tensors.clone();
            let (ours, report) = stepped(&[without], isa, &extras, Threads::Caller);
            let (others, full) = stepped(&[all], isa, &extras, Threads::Caller);
            assert_eq!((report.tensors_updated, full.tensors_updated), (2, 4));
            assert!(report.grad_norm < full.grad_norm);
            for k in [1, 2] {
                assert_eq!(ours[0][k].difference(&start[k]), None, "{rule:?} {types:?}");
            }
            for k in [0, 3] {
                assert_eq!(ours[0][k].difference(&others[0][k]), None, "{rule:?} {types:?}");
                assert_ne!(ours[0][k].difference(&start[k]), None, "{rule:?} {types:?}");
            }
        }
    }
}

/// Whatever the group's number is, also for the random bits.
#[test]
fn a_tensor_has_its_own_step_count() {
    for rule in every_option() {
        for types in Types::all(&*rule).into_iter().step_by(5) {
            let start = Owned::new(&*rule, 130, types, uniform());
            let run = |t: u64, own_t: [u64; 3]| {
                let tensors = own_t.map(|t| Owned { t, ..start.clone() }).to_vec();
                let groups = [one(rule.clone(), t, tensors)];
                check(&groups, &Extras::default(), Threads::Caller);
                stepped(&groups, Isa::current().ok(), &Extras::default(), Threads::Caller).0.remove(0)
            };
            let (mixed, five, nine) = (run(5, [0, 9, 5]), run(5, [0; 3]), run(9, [0; 3]));
            for (k, expected) in [&five[0], &nine[1], &five[2]].into_iter().enumerate() {
                assert_eq!(mixed[k].difference(expected), None, "{rule:?} {types:?}");
            }
        }
    }
}
