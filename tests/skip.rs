//! A skipped step changes nothing in any group, and its report names the first gradient that is not
//! finite.

mod common;

use common::{
    Arrays, every_option,
    owned::{FLOATS, Floats, Owned, OwnedGroup, Types, one, stepped},
    uniform_from,
};
use downhill::{Extras, Isa, NonFinite, Pool, Report, Sgd, Threads, reference, rules};
use half::{bf16, f16};

/// What the norm is added up in, and what cuts are at multiples of.
const BLOCK: usize = 4096;

const SKIP: Extras = Extras {
    grad_scale: 1.0,
    max_norm: 0.0,
    zero_grad: false,
    skip_nonfinite: true,
    grad_norm: false,
    norm_squared: None,
};

const ALL: Extras =
    Extras { grad_scale: -0.75, max_norm: 0.5, zero_grad: true, grad_norm: true, ..SKIP };

/// Three groups of different rules and types, with empty tensors and some without a gradient.
fn groups(large: usize, seed: usize) -> Vec<OwnedGroup> {
    let all = rules();
    let group = |k: usize, lengths: &[usize]| {
        let rule = &all[k % all.len()];
        let types = Types::all(&**rule);
        let types = types[k * 37 % types.len()];
        let tensor = |n: &usize| Owned::new(&**rule, *n, types, uniform_from((k + n) as u64));
        one(rule.clone(), 3, lengths.iter().map(tensor).collect())
    };
    let mut groups = vec![
        group(seed, &[BLOCK + 1, 0, 33]),
        group(seed + 1, &[0]),
        group(seed + 5, &[1, 70, large, 2 * BLOCK, 5]),
    ];
    groups[2].tensors[1].g = None;
    groups
}

/// The first, the middle and the last element of every gradient, and those around a block's edge.
fn places(groups: &[OwnedGroup]) -> Vec<[usize; 3]> {
    let mut places = Vec::new();
    for (group, OwnedGroup { tensors, .. }) in groups.iter().enumerate() {
        for (tensor, Owned { g, .. }) in tensors.iter().enumerate() {
            let len = g.as_ref().map_or(0, Floats::len);
            for element in [0, len / 2, len.wrapping_sub(1), BLOCK - 1, BLOCK] {
                if element < len {
                    places.push([group, tensor, element]);
                }
            }
        }
    }
    places
}

fn set(groups: &mut [OwnedGroup], [group, tensor, element]: [usize; 3], value: f32) {
    match groups[group].tensors[tensor].g.as_mut().unwrap() {
        Floats::F32(g) => g[element] = value,
        Floats::Bf16(g) => g[element] = bf16::from_f32(value),
        Floats::F16(g) => g[element] = f16::from_f32(value),
    }
}

/// The groups must not change, not even the payload of a NaN.
#[track_caller]
fn assert_untouched(ours: &[Vec<Owned>], groups: &[OwnedGroup]) {
    for (ours, group) in ours.iter().zip(groups) {
        for (ours, theirs) in ours.iter().zip(&group.tensors) {
            assert_eq!((&ours.low, &ours.codes), (&theirs.low, &theirs.codes));
            let bits =
                |tensor: &Owned| -> Vec<u32> { tensor.floats().flatten().map(f32::to_bits).collect() };
            assert!(bits(ours) == bits(theirs));
        }
    }
}

/// There is a gradient that is not finite at this place, and before it none.
#[track_caller]
fn check(
    groups: &[OwnedGroup],
    isa: Option<Isa>,
    extras: &Extras,
    threads: Threads<'_>,
    place: [usize; 3],
) {
    let (ours, report) = stepped(groups, isa, extras, threads);
    let NonFinite { group, tensor, element, value, .. } = report.nonfinite.expect("skipped for it");
    assert_eq!([group, tensor, element], place);
    let expected = groups[group].tensors[tensor].g.as_ref().unwrap().wide()[element];
    assert!(value.to_bits() == expected.to_bits() || value.is_nan() && expected.is_nan());
    assert!(report.skipped && !report.grad_norm.unwrap().is_finite());
    assert_eq!((report.applied_scale, report.tensors_updated), (0.0, 0));
    assert_untouched(&ours, groups);
}

#[test]
fn a_skipped_step_changes_nothing() {
    let pool = Pool::new(3);
    let isas: Vec<_> = Isa::available().into_iter().map(Some).chain([None]).collect();
    for seed in 0..rules().len() {
        let start = groups(300, seed);
        for (k, place) in places(&start).into_iter().enumerate() {
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut groups = copy(&start);
                set(&mut groups, place, bad);
                for extras in [SKIP, ALL] {
                    check(&groups, isas[(k + seed) % isas.len()], &extras, Threads::Caller, place);
                    check(&groups, Isa::current().ok(), &extras, Threads::Pool(&pool), place);
                }
            }
        }
    }
}

fn copy(groups: &[OwnedGroup]) -> Vec<OwnedGroup> {
    let of = |group: &OwnedGroup| OwnedGroup {
        config: group.config.clone(),
        tensors: group.tensors.clone(),
        ..*group
    };
    groups.iter().map(of).collect()
}

/// However many follow, and however many threads find one.
#[test]
fn the_first_of_several_is_reported() {
    let pool = Pool::new(3);
    for seed in [0, 3] {
        let start = groups(300_001, seed);
        for place in places(&start) {
            let mut groups = copy(&start);
            for later in places(&start).into_iter().filter(|later| *later > place) {
                set(&mut groups, later, f32::NAN);
            }
            set(&mut groups, place, f32::INFINITY);
            check(&groups, Isa::current().ok(), &ALL, Threads::Pool(&pool), place);
        }
    }
}

/// It is not counted: the next call has the same number, and all is as if there had been one.
#[test]
fn a_skipped_step_is_as_if_it_had_not_been() {
    for rule in every_option() {
        for types in Types::all(&*rule).into_iter().step_by(11) {
            let good = [one(rule.clone(), 1, vec![Owned::new(&*rule, 130, types, uniform_from(1))])];
            let mut bad = copy(&good);
            set(&mut bad, [0, 0, 64], f32::NAN);
            let isa = Isa::current().ok();
            let (mut ours, report) = stepped(&bad, isa, &ALL, Threads::Caller);
            assert!(report.skipped);
            ours[0][0].g = good[0].tensors[0].g.clone();
            let again = [OwnedGroup { tensors: ours.remove(0), config: rule.clone(), ..good[0] }];
            let (ours, report) = stepped(&again, isa, &ALL, Threads::Caller);
            let (expected, expected_report) = stepped(&good, isa, &ALL, Threads::Caller);
            assert_eq!(ours[0][0].difference(&expected[0][0]), None, "{rule:?} {types:?}");
            assert_eq!(report, expected_report);
            assert!(!report.skipped);
        }
    }
}

/// Gradients that are finite, and would not be once they are scaled. No second look: the norm of all
/// decides.
#[test]
fn a_scale_that_could_overflow_is_skipped_and_one_that_cannot_is_not() {
    let scaled = |grad_scale| Extras { grad_scale, ..SKIP };
    let cases = [
        ([1e30, 0.0], scaled(1e10), true),
        ([1e30, 0.0], scaled(-1e10), true),
        ([1e30, 0.0], Extras { max_norm: 1.0, ..scaled(1e10) }, false),
        ([f32::MAX, 0.0], scaled(1.0), false),
        ([f32::MIN, 0.0], scaled(-1.0), false),
        ([f32::MAX, 0.0], scaled(1.000_000_2), true),
        ([3e38, 3e38], scaled(1.0), true),
        ([3e38, 3e38], scaled(0.5), false),
        ([0.0, 0.0], scaled(f32::MAX.into()), false),
        ([1e30, 0.0], Extras { skip_nonfinite: false, ..scaled(1e10) }, false),
    ];
    for rule in rules() {
        for (g, extras, skipped) in cases {
            for isa in Isa::available().into_iter().map(Some).chain([None]) {
                let start = Arrays {
                    w: vec![1.0; 2],
                    g: g.to_vec(),
                    state: vec![vec![0.0; 2]; rule.states().len()],
                };
                let mut ours = start.clone();
                let report = ours.whole_step(&*rule, isa, &[1, 1], 1, &extras, Threads::Caller).unwrap();
                assert_eq!((report.skipped, report.nonfinite), (skipped, None), "{g:?} {extras:?}");
                assert_eq!(report.tensors_updated, if skipped { 0 } else { 2 });
                assert!(!skipped || report.applied_scale == 0.0);
                let is_untouched = ours.difference(&start).is_none();
                assert!(is_untouched || !skipped, "{rule:?} {g:?}");
                assert!(!is_untouched || skipped || g == [0.0; 2], "{rule:?} {g:?}");
            }
        }
    }
}

/// The sum that is given decides alone, so that all pieces of a step do the same.
#[test]
fn a_given_sum_decides_alone() {
    let finite = Sgd { lr: 1.0, ..Sgd::default() };
    let run = |g: f32, norm_squared: f64| -> (Report, f32) {
        let mut arrays = Arrays { w: vec![0.0], g: vec![g], state: vec![] };
        let extras = Extras { norm_squared: Some(norm_squared), zero_grad: true, ..SKIP };
        let isa = Isa::current().ok();
        let report = arrays.whole_step(&finite, isa, &[1], 1, &extras, Threads::Caller).unwrap();
        assert_eq!(arrays.g[0].to_bits(), if report.skipped { g.to_bits() } else { 0 });
        (report, arrays.w[0])
    };
    for bad in [f64::NAN, f64::INFINITY] {
        let (report, w) = run(2.0, bad);
        assert!(report.skipped && report.nonfinite.is_none() && w == 0.0, "{report:?}");
        // It is looked for where there is a reason.
        let (report, w) = run(f32::NEG_INFINITY, bad);
        let found = report.nonfinite.unwrap();
        assert_eq!((found.group, found.tensor, found.element), (0, 0, 0));
        assert!(report.skipped && found.value == f32::NEG_INFINITY && w == 0.0);
    }
    let (report, w) = run(2.0, 1e78);
    assert!(report.skipped && report.nonfinite.is_none() && w == 0.0, "beyond the largest f32");
    // Nor is anything looked for then.
    assert_eq!(run(f32::NAN, 1e78).0.nonfinite, None);
    let (report, w) = run(2.0, 9.0);
    assert_eq!((report.skipped, report.grad_norm, w), (false, Some(3.0), -2.0));
    let (report, w) = run(f32::NAN, 9.0);
    assert!(!report.skipped && report.nonfinite.is_none() && w.is_nan());
}

/// No square overflows: the largest gradients there are have a norm, and are stepped.
#[test]
fn the_largest_gradients_are_finite() {
    let pool = Pool::new(2);
    for rule in rules() {
        for (lengths, threads) in [([40, 5000], Threads::Caller), ([300_000, 7], Threads::Pool(&pool))] {
            let mut start = Arrays::new(&*rule, lengths.iter().sum(), uniform_from(1));
            start.state.iter_mut().for_each(|state| state.fill(0.25));
            start.g.fill(f32::MAX);
            start.g[1] = f32::MIN;
            let (mut ours, mut expected) = (start.clone(), start.clone());
            let isa = Isa::current().ok();
            let report = ours.whole_step(&*rule, isa, &lengths, 1, &ALL, threads).unwrap();
            let same = expected.whole_step(&*rule, None, &lengths, 1, &ALL, Threads::Caller).unwrap();
            assert_eq!(report, same);
            assert_eq!(ours.difference(&expected), None, "{rule:?}");
            assert!(!report.skipped && report.grad_norm.unwrap() > f32::MAX.into());
            assert_ne!(ours.w, start.w);
        }
    }
}

/// Infinite as a number of half precision is infinite, and its largest is not.
#[test]
fn gradients_of_sixteen_bits() {
    let rule = &rules()[0];
    for (float, largest) in FLOATS.into_iter().zip([f32::MAX, bf16::MAX.to_f32(), 65504.0]) {
        let types = Types { g: float, ..Types::F32 };
        for (value, skipped) in
            [(largest, false), (-largest, false), (f32::INFINITY, true), (f32::NAN, true)]
        {
            let mut tensor = Owned::new(&**rule, 5, types, uniform_from(2));
            tensor.g = Some(Floats::new(float, [0.5, value, 1.0, 0.0, value].into_iter()));
            let groups = [one(rule.clone(), 1, vec![tensor])];
            for isa in Isa::available().into_iter().map(Some).chain([None]) {
                // Half of it, for the norm of two.
                let extras = Extras { grad_scale: 0.5, ..SKIP };
                let (_, report) = stepped(&groups, isa, &extras, Threads::Caller);
                assert_eq!(report.skipped, skipped, "{float:?} {value}");
                assert_eq!(report.nonfinite.map(|found| found.element), skipped.then_some(1));
            }
        }
    }
}

/// What the report says is what the reference adds up.
#[test]
fn the_norm_is_that_of_all_groups_from_left_to_right() {
    for seed in 0..rules().len() {
        let groups = groups(300, seed);
        let gradients = groups.iter().flat_map(|group| &group.tensors).flat_map(|tensor| &tensor.g);
        let sum = gradients.fold(0.0, |sum, g| sum + reference::squares(&g.wide()));
        let (_, report) = stepped(&groups, Isa::current().ok(), &ALL, Threads::Caller);
        assert_eq!(report.grad_norm.unwrap().to_bits(), (0.75 * sum.sqrt()).to_bits());
        let scale = reference::applied_scale(sum, ALL.grad_scale, ALL.max_norm);
        assert_eq!(report.applied_scale, f64::from(scale));
        assert!(scale < 0.0 && scale > -0.75);
    }
}
