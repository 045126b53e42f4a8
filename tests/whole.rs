//! The whole step against the reference, bit by bit: rules, types, lengths, groups, cuts, threads.

mod common;

use common::{
    Rule, any_length, any_rule, any_value, every_option, mixed_from,
    owned::{COPIES, FLOATS, Owned, OwnedGroup, STATES, StateType, Types, WEIGHTS, with_groups},
    same_report, uniform_from,
};
use downhill::{Extras, Isa, Numbering, Optimizer, Pool, Report, Rounding, Threads, reference, step_on};
use proptest::prelude::*;

/// Steps copies of the tensors, by a kernel or by the reference.
fn stepped(
    groups: &[OwnedGroup],
    isa: Option<Isa>,
    extras: &Extras,
    threads: Threads<'_>,
) -> (Vec<Vec<Owned>>, Report) {
    let mut tensors: Vec<_> = groups.iter().map(|group| group.tensors.clone()).collect();
    let report = with_groups(groups, &mut tensors, extras.zero_grad, |groups| match isa {
        Some(isa) => step_on(isa, groups, extras, threads),
        None => reference::step(groups, extras),
    });
    (tensors, report.unwrap())
}

/// Compares every instruction set with the reference.
fn check(groups: &[OwnedGroup], extras: &Extras, threads: Threads<'_>) {
    let (expected, expected_report) = stepped(groups, None, extras, Threads::Caller);
    for isa in Isa::available() {
        let (tensors, report) = stepped(groups, Some(isa), extras, threads);
        for (group, (ours, theirs)) in tensors.iter().zip(&expected).enumerate() {
            for (index, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
                if let Some(difference) = ours.difference(theirs) {
                    panic!(
                        "{isa}: group {group} ({:?}), tensor {index}: {difference}",
                        groups[group].config
                    );
                }
            }
        }
        assert!(same_report(&report, &expected_report), "{isa}: {report:?}, not {expected_report:?}");
    }
}

fn one(config: Rule, t: u64, tensors: Vec<Owned>) -> OwnedGroup {
    OwnedGroup { config, t, rounding: Rounding::default(), numbering: Numbering::ByPlace, tensors }
}

const ALL: Extras = Extras {
    grad_scale: 0.5,
    max_norm: 3.0,
    zero_grad: true,
    skip_nonfinite: false,
    grad_norm: true,
    norm_squared: None,
};

#[test]
fn every_rule_has_every_type() {
    for (seed, config) in every_option().into_iter().enumerate() {
        let config: &dyn Optimizer = &*config;
        for types in Types::all(config) {
            let lengths = [0, 1, 63, 64, 65, 130];
            let tensors =
                lengths.map(|n| Owned::new(config, n, types, mixed_from(seed as u64 + n as u64)));
            for rounding in [Rounding::Stochastic { seed: 7 }, Rounding::Nearest] {
                let (mut expected, mut ours) = (tensors.to_vec(), tensors.to_vec());
                let extras = Extras { grad_scale: 0.5, ..Extras::default() };
                let step = |list: &mut [Owned], isa: Option<Isa>| {
                    let mut list: Vec<_> = list.iter_mut().map(|tensor| tensor.tensor(false)).collect();
                    let mut group = downhill::Group::new(config, 3, &mut list);
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
                    assert!(difference.is_none(), "{isa} {config:?} {types:?}: {}", difference.unwrap());
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
    let group = (any_rule(), types, tensors, rounding, 1_u64..1000, any::<bool>(), values).prop_map(
        |(config, mut types, lengths, rounding, t, is_given, values)| {
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
            OwnedGroup { config, t, rounding, numbering, tensors }
        },
    );
    prop::collection::vec(group, 0..4)
}

fn any_extras() -> impl Strategy<Value = Extras> {
    let scale = prop_oneof![Just(1.0), Just(-1.0), Just(0.0), 1e-10..1e10];
    let norm = prop_oneof![Just(0.0), 1e-3..1e3];
    let given = prop_oneof![4 => Just(None), 1 => (0.0..1e6).prop_map(Some), 1 => Just(Some(f64::NAN))];
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
    #[test]
    fn any_groups_with_any_extras(groups in any_groups(), extras in any_extras()) {
        check(&groups, &extras, Threads::Caller);
    }
}

#[test]
fn threads_change_no_bit() {
    let pool = Pool::new(3);
    for (seed, config) in every_option().into_iter().enumerate().step_by(3) {
        let all = Types::all(&*config);
        let types = all[seed * 31 % all.len()];
        let lengths = [5, 400_001, 0, 64, 300_000];
        let tensors = lengths.map(|n| Owned::new(&*config, n, types, uniform_from(seed as u64)));
        check(&[one(config, 2, tensors.into())], &ALL, Threads::Pool(&pool));
    }
}
