//! The kernels have the reference's bits: on every instruction set, at every length and position, for
//! every option and any values, however arrays are cut into calls and spread over threads.

mod common;

use std::thread;

use common::{
    Arrays, Rule, any_length, any_rule, any_value, config, every_option, mixed, same, uniform,
};
use downhill::{Isa, Optimizer, StateKind, rules};
use proptest::prelude::*;

const MOST_ARRAYS: usize = 5;

#[test]
fn the_instruction_sets_of_this_machine() {
    let names: Vec<_> = Isa::available().iter().map(|isa| isa.name()).collect();
    println!("tested: {}", names.join(", "));
    assert_eq!(names[0], "scalar");
    #[cfg(target_arch = "x86_64")]
    assert_eq!(
        (names.contains(&"avx2"), names.contains(&"avx512")),
        (
            is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512cd")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
        )
    );
    #[cfg(target_arch = "aarch64")]
    assert_eq!(names, ["scalar", "neon"]);
    for name in names {
        assert_eq!(name.parse::<Isa>().unwrap().name(), name);
    }
}

/// Three steps with gradients of their own; a difference is an error.
fn compare(rule: &dyn Optimizer, isa: Isa, offset: usize, start: &Arrays, t: u64) -> Result<(), String> {
    let (mut ours, mut reference) = (start.clone(), start.clone());
    for t in t..t + 3 {
        ours.step(rule, isa, t, offset, start.len());
        reference.try_step(rule, None, t, offset, start.len()).unwrap();
        for arrays in [&mut ours, &mut reference] {
            arrays.g.reverse();
        }
    }
    match ours.difference(&reference) {
        Some(difference) => Err(format!("{isa} {rule:?} offset {offset}: {difference}")),
        None => Ok(()),
    }
}

#[test]
fn every_option_length_and_offset() {
    let mut value = mixed();
    for rule in every_option() {
        for n in 0..=2 * 16 + 1 {
            // A rule may begin with another formula than it goes on with.
            let t = [1, 5][n % 2];
            for offset in 0..16 {
                let start = Arrays::new(&*rule, offset + n, &mut value);
                for isa in Isa::available() {
                    compare(&*rule, isa, offset, &start, t).unwrap();
                }
            }
        }
        // Around the lengths from which on an array has a head, at every place in a cache line.
        let edges = [127, 128, 129, 1023, 1024, 1025].map(|n| (n, 0..16));
        for (n, offsets) in edges.into_iter().chain([4095, 4096, 4097, 65_537].map(|n| (n, 1..2))) {
            for offset in offsets {
                let start = Arrays::new(&*rule, offset + n, &mut value);
                for isa in Isa::available() {
                    compare(&*rule, isa, offset, &start, 1).unwrap();
                }
            }
        }
    }
}

/// So long that no cache holds the arrays, which the kernels treat in a way of their own.
#[test]
fn arrays_of_64_mebibytes() {
    let mut value = uniform();
    for states in 0..=3 {
        let rule = rule_with(states);
        let n = (64 << 20) / (4 * (2 + states)) + 21;
        let start = Arrays::new(&*rule, n, || value().abs());
        let mut expected = start.clone();
        expected.reference_step(&*rule, 3);
        for isa in Isa::available() {
            let mut arrays = start.clone();
            arrays.step(&*rule, isa, 3, 0, n);
            assert_eq!(arrays.difference(&expected), None, "{isa} {rule:?}");
        }
    }
}

/// The first rule with this number of states.
fn rule_with(states: usize) -> Rule {
    rules().into_iter().find(|rule| rule.states().len() == states).expect("a rule of each size")
}

/// Each array at an offset of its own, so that no two are aligned alike.
#[test]
fn every_array_at_its_own_offset() {
    let mut value = mixed();
    for rule in rules() {
        for n in [0, 1, 15, 16, 17, 33, 100] {
            for offset in 0..16 {
                let offsets =
                    |k: usize| [offset, offset + 5, 3 * offset + 1, 7 * offset + 2, 5 * offset][k] % 16;
                let arrays: Vec<Vec<f32>> = (0..2 + rule.states().len())
                    .map(|k| (0..offsets(k) + n).map(|_| value()).collect())
                    .collect();
                let run = |isa: Option<Isa>| {
                    let mut arrays = arrays.clone();
                    let mut slices =
                        arrays.iter_mut().enumerate().map(|(k, array)| &mut array[offsets(k)..]);
                    let (w, g) = (slices.next().unwrap(), slices.next().unwrap());
                    let mut state: Vec<_> = slices.collect();
                    match isa {
                        Some(isa) => rule.step_on(isa, w, g, &mut state, 7).unwrap(),
                        None => rule.reference_step(w, g, &mut state, 7).unwrap(),
                    }
                    arrays.concat()
                };
                let expected = run(None);
                for isa in Isa::available() {
                    let ours = run(Some(isa));
                    let is_same = ours.iter().zip(&expected).all(|(&a, &b)| same(a, b));
                    assert!(is_same, "{isa} {rule:?} n = {n}, offset {offset}");
                }
            }
        }
    }
}

/// Elements with equal inputs end with equal bits, wherever they stand.
#[test]
fn body_and_tail_are_one() {
    for rule in every_option() {
        for isa in Isa::available() {
            let mut arrays = Arrays::new(&*rule, 37, || 0.1);
            for t in 1..=20 {
                arrays.step(&*rule, isa, t, 0, 37);
            }
            for array in arrays.state.iter().chain([&arrays.w]) {
                assert!(array.iter().all(|x| x.to_bits() == array[0].to_bits()), "{isa} {rule:?}");
            }
            assert_ne!(arrays.w[0], 0.1, "{rule:?} moved nothing");
        }
    }
}

/// One whole step on each of 1 to 4 threads' own part of the arrays.
#[test]
fn threads_change_nothing() {
    let n = 10_007;
    for rule in every_option() {
        let start = Arrays::new(&*rule, n, uniform());
        let mut expected = start.clone();
        expected.reference_step(&*rule, 5);
        for (isa, threads) in Isa::available().into_iter().flat_map(|isa| (1..=4).map(move |k| (isa, k)))
        {
            let mut arrays = start.clone();
            let piece = n.div_ceil(threads);
            let mut states: Vec<_> = arrays.state.iter_mut().map(|x| x.chunks_mut(piece)).collect();
            thread::scope(|scope| {
                for (w, g) in arrays.w.chunks_mut(piece).zip(arrays.g.chunks(piece)) {
                    let mut state: Vec<&mut [f32]> =
                        states.iter_mut().map(|x| x.next().unwrap()).collect();
                    let rule = &*rule;
                    scope.spawn(move || rule.step_on(isa, w, g, &mut state, 5).unwrap());
                }
            });
            assert_eq!(arrays.difference(&expected), None, "{isa} {threads} threads {rule:?}");
        }
    }
}

#[test]
fn a_subnormal_state_is_read_as_zero() {
    let subnormal = f32::from_bits(4);
    for rule in every_option().iter().filter(|rule| !rule.states().is_empty()) {
        for isa in Isa::available() {
            for x in [subnormal, -subnormal, -0.0, f32::from_bits(0x007f_ffff)] {
                let mut from_subnormal = Arrays::new(&**rule, 37, || x);
                let mut from_zero = Arrays::new(&**rule, 37, || 0.0);
                from_zero.w.fill(1.0);
                from_subnormal.w.fill(1.0);
                from_zero.g.fill(0.0);
                from_subnormal.g.fill(0.0);
                from_subnormal.step(&**rule, isa, 3, 0, 37);
                from_zero.step(&**rule, isa, 3, 0, 37);
                assert_eq!(from_subnormal.difference(&from_zero), None, "{isa} {rule:?}");
            }
            // The smallest normal number is not touched.
            let mut arrays = Arrays::new(&**rule, 37, || f32::MIN_POSITIVE);
            let mut expected = arrays.clone();
            arrays.step(&**rule, isa, 3, 0, 37);
            expected.reference_step(&**rule, 3);
            assert_eq!(arrays.difference(&expected), None);
        }
    }
}

/// A moment whose gradient has stopped does not stay subnormal for ever: it ends at zero, unless it does
/// not decay at all.
#[test]
fn decayed_moments_do_not_stay_subnormal() {
    for rule in every_option().iter().filter(|rule| !rule.states().is_empty()) {
        let mut arrays = Arrays::new(&**rule, 19, || 1.0);
        for t in 1..=20_000 {
            arrays.w.fill(0.0);
            arrays.g.fill(0.0);
            arrays.step(&**rule, Isa::current().unwrap(), t, 0, 19);
        }
        for (state, array) in rule.states().iter().zip(&arrays.state) {
            let keeps = match state.kind {
                // FTRL's, a sum of gradients.
                StateKind::Signed if state.name == "z" => true,
                StateKind::Sum | StateKind::Maximum | StateKind::DecayingMaximum => true,
                StateKind::Signed | StateKind::Squares => false,
                kind => panic!("{kind:?} decays, or does not?"),
            };
            let ended = |x: &f32| if keeps { x.is_normal() } else { x.to_bits() == 0 };
            assert!(array.iter().all(ended), "{rule:?} {state:?}: {:e}", array[0]);
        }
    }
}

/// A decayed parameter with a zero gradient moves, and weight decay reaches the update itself.
#[test]
fn decay_moves_a_weight_without_gradient() {
    for rule in every_option() {
        let decay = rule.hyperparameters().into_iter().find(|one| one.name == "weight_decay");
        let decays = decay.expect("every rule has it").value > 0.0;
        for isa in Isa::available() {
            let mut arrays = Arrays::new(&*rule, 37, || 0.0);
            arrays.w.fill(1.0);
            arrays.step(&*rule, isa, 1, 0, 37);
            // FTRL makes its weights of its states, which are zero here.
            let moves = decays || rule.name() == "ftrl";
            assert!(arrays.w.iter().all(|&w| (w < 1.0) == moves), "{isa} {rule:?}: {:?}", arrays.w);
        }
    }
}

proptest! {
    #![proptest_config(config(2000))]

    #[test]
    fn any_rule_on_any_values(
        rule in any_rule(),
        (n, values) in any_length().prop_flat_map(values),
        offset in 0_usize..16,
        t in prop_oneof![1_u64..100, Just(1_000_000), Just(u64::MAX - 3)],
    ) {
        let start = Arrays::from_values(&*rule, n, &values);
        for isa in Isa::available() {
            compare(&*rule, isa, offset.min(n), &start, t).map_err(TestCaseError::fail)?;
        }
    }

    #[test]
    fn cuts_change_nothing(
        rule in any_rule(),
        (n, values) in (0_usize..300).prop_flat_map(values),
        mut cuts in prop::collection::vec(0_usize..300, 0..6),
    ) {
        let start = Arrays::from_values(&*rule, n, &values);
        let mut expected = start.clone();
        expected.reference_step(&*rule, 9);
        cuts.extend([0, n]);
        cuts.retain(|&cut| cut <= n);
        cuts.sort_unstable();
        for isa in Isa::available() {
            let mut arrays = start.clone();
            for range in cuts.windows(2) {
                arrays.step(&*rule, isa, 9, range[0], range[1]);
            }
            prop_assert_eq!(arrays.difference(&expected), None);
        }
    }
}

fn values(n: usize) -> impl Strategy<Value = (usize, Vec<f32>)> {
    (Just(n), prop::collection::vec(any_value(), MOST_ARRAYS * n))
}
