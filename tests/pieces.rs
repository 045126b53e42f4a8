//! Steps in pieces have the bits of one step: layer by layer, rank by rank, and tensors that are cut.
//! The sums of squares are gathered, added from left to right and handed to each call; the elements have
//! the numbers that they have in the whole.

mod common;

use common::{
    Rule, every_option, mixed_from,
    owned::{
        FLOATS, FloatType, Floats, Owned, OwnedGroup, Types, assert_same, one, stepped, with_groups,
    },
    uniform_from,
};
use downhill::{
    Extras, Group, Isa, Numbering, Pool, Report, Rounding, States, Tensor, Threads, grad_squares,
    reference, rules,
};

/// Clips, if gradients are not tiny.
const ALL: Extras = Extras {
    grad_scale: 0.25,
    max_norm: 0.5,
    zero_grad: true,
    skip_nonfinite: true,
    grad_norm: true,
    norm_squared: None,
};

const LENGTHS: [usize; 6] = [130, 64, 0, 1, 4096 + 300, 257];

/// Groups of two rules, some of whose tensors have a step count of their own or no gradient, each
/// numbered by its place.
fn model(rule: &Rule, other: &Rule, types: Types, seed: u64) -> Vec<OwnedGroup> {
    let group = |rule: &Rule, types: Types, seed: u64| {
        let tensor = |n| Owned::new(&**rule, n, types, uniform_from(seed + n as u64));
        let mut group = one(rule.clone(), 4, LENGTHS.map(tensor).to_vec());
        group.rounding = Rounding::Stochastic { seed };
        group.tensors[1].t = 9;
        group.tensors[5].g = None;
        group
    };
    let other_types = Types::all(&**other);
    let other_types = other_types[seed as usize * 11 % other_types.len()];
    vec![group(rule, types, seed), group(other, other_types, seed + 1)]
}

/// The same with the numbers given that the elements have by place.
fn numbered(groups: &[OwnedGroup]) -> Vec<OwnedGroup> {
    let mut number = 0;
    groups
        .iter()
        .map(|group| {
            let tensors = group.tensors.iter().map(|tensor| {
                let first_element = number;
                number = (number + tensor.len() as u64).next_multiple_of(64);
                Owned { first_element, ..tensor.clone() }
            });
            let tensors = tensors.collect();
            OwnedGroup { tensors, numbering: Numbering::Given, config: group.config.clone(), ..*group }
        })
        .collect()
}

/// The group with these tensors of it alone.
fn with_tensors(group: &OwnedGroup, tensors: Vec<Owned>) -> OwnedGroup {
    OwnedGroup { tensors, config: group.config.clone(), ..*group }
}

fn sums(groups: &[OwnedGroup]) -> Vec<f64> {
    let mut tensors: Vec<_> = groups.iter().map(|group| group.tensors.clone()).collect();
    with_groups(groups, &mut tensors, false, |groups| grad_squares(groups, Threads::Caller).unwrap())
}

/// The norm and all decisions of one call.
fn total(sums: &[f64]) -> f64 {
    sums.iter().fold(0.0, |total, sum| total + sum)
}

fn step(groups: &[OwnedGroup], extras: &Extras) -> (Vec<Vec<Owned>>, Report) {
    stepped(groups, Isa::current().ok(), extras, Threads::Caller)
}

/// Every rule with some types, in every way that is to be the same.
fn for_every_model(mut f: impl FnMut(&[OwnedGroup])) {
    let all = rules();
    for (seed, rule) in every_option().iter().enumerate() {
        let types = Types::all(&**rule);
        for k in 0..3 {
            let other = &all[(seed + 5 * k) % all.len()];
            f(&model(rule, other, types[(seed * 17 + k * 41) % types.len()], seed as u64));
        }
    }
}

#[test]
fn numbers_by_place_can_be_given() {
    for_every_model(|groups| {
        let numbered = numbered(groups);
        let (expected, report) = step(groups, &ALL);
        let (ours, same_report) = step(&numbered, &ALL);
        assert_same(groups, &ours, &expected, "numbers given");
        assert_eq!(report, same_report);
        assert!(report.applied_scale < 0.25 && !report.skipped, "{report:?}");
    });
}

/// Each tensor by a call of its own, as soon as all sums are known.
#[test]
fn layer_by_layer() {
    for_every_model(|groups| {
        let (expected, report) = step(groups, &ALL);
        let numbered = numbered(groups);
        let of_layers: Vec<f64> = numbered
            .iter()
            .flat_map(|group| group.tensors.iter().map(move |tensor| (group, tensor)))
            .map(|(group, tensor)| sums(&[with_tensors(group, vec![tensor.clone()])])[0])
            .collect();
        assert_eq!(of_layers, sums(groups));
        let extras = Extras { norm_squared: Some(total(&of_layers)), ..ALL };
        let mut updated = 0;
        let ours: Vec<Vec<Owned>> = numbered
            .iter()
            .map(|group| {
                let layer = |tensor: &Owned| {
                    let (mut layer, of_layer) =
                        step(&[with_tensors(group, vec![tensor.clone()])], &extras);
                    updated += of_layer.tensors_updated;
                    assert_eq!(of_layer.grad_norm, report.grad_norm);
                    assert_eq!(of_layer.applied_scale, report.applied_scale);
                    layer.remove(0).remove(0)
                };
                group.tensors.iter().map(layer).collect()
            })
            .collect();
        assert_same(groups, &ours, &expected, "layer by layer");
        assert_eq!(updated, report.tensors_updated);
    });
}

/// Each rank steps whole tensors of both groups and knows the sums of the other; one of them has
/// threads.
#[test]
fn two_ranks() {
    let pool = Pool::new(2);
    for_every_model(|groups| {
        let (expected, report) = step(groups, &ALL);
        let numbered = numbered(groups);
        let parts = |rank: usize| -> Vec<OwnedGroup> {
            let of_rank = |group: &OwnedGroup| {
                let tensors = group.tensors.iter().enumerate().filter(|(k, _)| k % 2 == rank);
                with_tensors(group, tensors.map(|(_, tensor)| tensor.clone()).collect())
            };
            numbered.iter().map(of_rank).collect()
        };
        let ranks = [parts(0), parts(1)];
        let [even, odd] = ranks.each_ref().map(|rank| sums(rank));
        // All in the order of the whole.
        let all: Vec<f64> = even.iter().zip(&odd).flat_map(|(even, odd)| [*even, *odd]).collect();
        let extras = Extras { norm_squared: Some(total(&all)), ..ALL };
        for (rank, threads) in [Threads::Caller, Threads::Pool(&pool)].into_iter().enumerate() {
            let (ours, of_rank) = stepped(&ranks[rank], Isa::current().ok(), &extras, threads);
            assert_eq!(of_rank.applied_scale, report.applied_scale);
            for (group, (ours, expected)) in ours.iter().zip(&expected).enumerate() {
                let expected: Vec<_> = expected.iter().skip(rank).step_by(2).cloned().collect();
                assert_same(&groups[group..], std::slice::from_ref(ours), &[expected], "rank by rank");
            }
        }
    });
}

/// Tensors that are themselves cut, at multiples of 64. Their sum has another last bit than that of the
/// parts, so that it is the whole's that is handed on.
#[test]
fn tensors_that_are_cut() {
    for_every_model(|groups| {
        let (expected, report) = step(groups, &ALL);
        let extras = Extras { norm_squared: Some(total(&sums(groups))), ..ALL };
        for (group, expected) in numbered(groups).iter().zip(&expected) {
            let states = group.config.states().len();
            let cuts =
                |n: usize| [0, 64, 128, 192, 640, 4096, n].into_iter().filter(move |cut| *cut <= n);
            let mut parts = Vec::new();
            let mut expected_parts = Vec::new();
            for (tensor, expected) in group.tensors.iter().zip(expected) {
                let cuts: Vec<_> = cuts(tensor.len()).collect();
                for ends in cuts.windows(2).filter(|ends| ends[0] < ends[1]) {
                    parts.push(tensor.part(states, ends[0], ends[1]));
                    expected_parts.push(expected.part(states, ends[0], ends[1]));
                }
            }
            // In another order than they have in the whole, which does not matter.
            parts.reverse();
            expected_parts.reverse();
            let whole = [with_tensors(group, parts)];
            let (ours, of_parts) = step(&whole, &extras);
            assert_same(&whole, &ours, &[expected_parts], "cut");
            assert_eq!(of_parts.grad_norm, report.grad_norm);
        }
    });
}

/// Where one piece has a gradient that is not finite, or scaled would not be, none of them does
/// anything.
#[test]
fn all_pieces_are_skipped_or_none() {
    for_every_model(|groups| {
        for bad in [f32::NAN, f32::INFINITY] {
            let mut groups = numbered(groups);
            let n = groups[1].tensors[4].len();
            groups[1].tensors[4].g = Some(Floats::new(FloatType::F32, (0..n).map(|_| bad)));
            let extras = Extras { norm_squared: Some(total(&sums(&groups))), ..ALL };
            for group in &groups {
                for tensor in &group.tensors {
                    let piece = [with_tensors(group, vec![tensor.clone()])];
                    let (ours, report) = step(&piece, &extras);
                    assert!(
                        report.skipped && report.applied_scale == 0.0 && report.tensors_updated == 0
                    );
                    assert_same(&piece, &ours, &[vec![tensor.clone()]], "skipped");
                }
            }
        }
    });
}

// ---- the sums themselves

fn gradient(float: FloatType, n: usize, seed: u64) -> Floats {
    let mut value = uniform_from(seed);
    // Of very different sizes, so that another order would round otherwise.
    Floats::new(float, (0..n).map(|k| value() * 10_f32.powi(k as i32 % 7 - 3)))
}

#[test]
fn sums_of_squares_are_the_references() {
    let pools = [2, 3, 4].map(Pool::new);
    for (seed, float) in FLOATS.into_iter().enumerate() {
        for lengths in [&[0, 1, 31, 32, 33, 4095, 4096, 4097][..], &[300_001, 5, 0, 262_144]] {
            let gradients: Vec<Floats> =
                lengths.iter().map(|&n| gradient(float, n, seed as u64)).collect();
            let expected: Vec<f64> = gradients.iter().map(|g| reference::squares(&g.wide())).collect();
            for threads in [Threads::Caller].into_iter().chain(pools.iter().map(Threads::Pool)) {
                let mut w: Vec<Vec<f32>> = lengths.iter().map(|&n| vec![0.0; n]).collect();
                let tensors = w.iter_mut().zip(&gradients);
                let mut tensors: Vec<_> =
                    tensors.map(|(w, g)| Tensor::new(w, g.gradient(), States::default())).collect();
                let (first, second) = tensors.split_at_mut(3);
                let rules = rules();
                let mut groups = [Group::new(&*rules[0], 1, first), Group::new(&*rules[1], 1, second)];
                let ours = grad_squares(&mut groups, threads).unwrap();
                let bits = |sums: &[f64]| sums.iter().map(|sum| sum.to_bits()).collect::<Vec<_>>();
                assert_eq!(bits(&ours), bits(&expected), "{float:?} {threads:?}");
            }
        }
    }
}

/// No square of an `f32` overflows an `f64`, nor does it vanish.
#[test]
fn only_infinity_has_an_infinite_square() {
    for (g, expected) in [
        (vec![f32::MAX; 5000], Some(5000.0 * f64::from(f32::MAX).powi(2))),
        (vec![f32::from_bits(1)], Some(f64::powi(2.0, -298))),
        (vec![0.0, -0.0], Some(0.0)),
        (vec![1.0, f32::NEG_INFINITY], Some(f64::INFINITY)),
        (vec![1.0, f32::NAN, f32::INFINITY], None),
    ] {
        let mut w = vec![0.0; g.len()];
        let mut tensors = [Tensor::new(&mut w, &g, States::default())];
        let rule = &rules()[0];
        let sum = grad_squares(&mut [Group::new(&**rule, 1, &mut tensors)], Threads::Caller).unwrap()[0];
        match expected {
            Some(expected) => {
                assert!((sum - expected).abs() <= 1e-12 * expected || sum == expected, "{sum}")
            }
            None => assert!(sum.is_nan()),
        }
    }
}

/// Of a group nothing is looked at but its gradients: a wrong configuration, a `t` of 0 and states that
/// do not fit are no error.
#[test]
fn the_sums_need_gradients_only() {
    for rule in every_option() {
        let wrong = common::with(&rule, "lr", f64::NAN);
        let mut groups = vec![one(wrong, 0, Vec::new())];
        let mut any = mixed_from(1);
        for n in [40, 0, 5000] {
            let mut tensor = Owned::new(&*rule, n, Types::F32, &mut any);
            tensor.state.clear();
            tensor.first_element = 1;
            groups[0].tensors.push(tensor);
        }
        groups[0].tensors[0].g = None;
        groups[0].tensors[2].w.resize(3);
        let g = groups[0].tensors[2].g.as_ref().unwrap().wide();
        let (ours, expected) = (sums(&groups), [0.0, 0.0, reference::squares(&g)]);
        assert!(
            ours.iter()
                .zip(expected)
                .all(|(a, b)| a.to_bits() == b.to_bits() || b.is_nan() && a.is_nan())
        );
        assert_eq!(ours.len(), 3);
    }
}
