//! Steps on packed states are the reference's, bit by bit.

mod common;

use common::{OFFSET_BASIS, any_value, fnv1a, mixed_from, uniform_from};
use downhill::{
    Adam, Adamw, BiasCorrection, Decay, Extras, Form, Isa, Lion, Momentum, PackedOptimizer,
    PackedTensor, Packing, Pool, Rounding, StateFormat, Threads, pack, packed_optimizer, reference,
    unpack,
};
use proptest::{collection::vec, prelude::*};

type Rule = Box<dyn PackedOptimizer>;

const PACKINGS: [Packing; 4] = [
    Packing { format: StateFormat::Bits8, rounding: Rounding::Stochastic { seed: 7 } },
    Packing { format: StateFormat::Bits8, rounding: Rounding::Nearest },
    Packing { format: StateFormat::Bf16, rounding: Rounding::Stochastic { seed: 7 } },
    Packing { format: StateFormat::Bf16, rounding: Rounding::Nearest },
];

/// Every rule with every option.
fn rules() -> Vec<Rule> {
    let mut rules = Vec::new();
    for (decay, weight_decay) in [(Decay::L2, 0.0), (Decay::L2, 0.1), (Decay::Decoupled, 0.1)] {
        for (form, dampening) in [(Form::Classic, 0.0), (Form::Torch, 0.3)] {
            let config = Momentum { lr: 0.05, momentum: 0.8, dampening, form, weight_decay, decay };
            rules.push(packed_optimizer(config));
        }
        for bias_correction in [BiasCorrection::Step, BiasCorrection::None] {
            let config = Adam { lr: 0.05, bias_correction, weight_decay, decay, ..Adam::default() };
            rules.push(packed_optimizer(config));
            rules.push(match decay {
                Decay::L2 => packed_optimizer(config),
                Decay::Decoupled => packed_optimizer(Adamw {
                    lr: 0.05,
                    bias_correction,
                    weight_decay,
                    ..Adamw::default()
                }),
            });
        }
        rules.push(packed_optimizer(Lion { lr: 0.05, weight_decay, decay, ..Lion::default() }));
    }
    rules
}

/// A tensor's arrays, with weights and gradients as `f32` and as the same numbers in bfloat16.
#[derive(Clone, Debug, PartialEq)]
struct Arrays<E> {
    w: Vec<E>,
    g: Vec<E>,
    state: Vec<u8>,
}

impl<E> Arrays<E> {
    fn tensor(&mut self, first_element: u64) -> PackedTensor<'_, E> {
        PackedTensor { w: &mut self.w, g: &mut self.g, state: &mut self.state, first_element }
    }
}

fn zeros(rule: &Rule, n: usize, packing: &Packing) -> Vec<u8> {
    vec![0; packing.format.bytes(rule.state_names().len(), n).unwrap()]
}

fn upper_half(x: &f32) -> u16 {
    (x.to_bits() >> 16) as u16
}

fn wide(x: &u16) -> f32 {
    f32::from_bits(u32::from(*x) << 16)
}

/// One bit pattern for every NaN.
fn bits(w: &[f32]) -> Vec<u32> {
    w.iter().map(|w| if w.is_nan() { u32::MAX } else { w.to_bits() }).collect()
}

fn assert_reference_bits(
    rule: &Rule,
    isa: Isa,
    w: &[f32],
    g: &[f32],
    state: &[u8],
    packing: &Packing,
    t: u64,
) {
    let first_element = 64 * t;
    let what = format!("{rule:?} {isa} {packing:?} n {} t {t}", w.len());
    let extras = Extras::default();
    let start = Arrays { w: w.to_vec(), g: g.to_vec(), state: state.to_vec() };
    let (mut kernel, mut plain) = (start.clone(), start);
    rule.step_on(isa, &mut [kernel.tensor(first_element)], t, packing, &extras, Threads::Caller)
        .unwrap();
    rule.reference_step(&mut plain.tensor(first_element), t, packing).unwrap();
    assert_eq!(kernel.state, plain.state, "{what}");
    assert_eq!(bits(&kernel.w), bits(&plain.w), "{what}");

    let narrow = |x: &[f32]| x.iter().map(upper_half).collect::<Vec<_>>();
    let start = Arrays { w: narrow(w), g: narrow(g), state: state.to_vec() };
    let (mut kernel, mut plain) = (start.clone(), start);
    rule.step_bf16_on(isa, &mut [kernel.tensor(first_element)], t, packing, &extras, Threads::Caller)
        .unwrap();
    rule.reference_step_bf16(&mut plain.tensor(first_element), t, packing).unwrap();
    assert_eq!(kernel.state, plain.state, "{what}, bfloat16");
    let all_wide = |w: &[u16]| bits(&w.iter().map(wide).collect::<Vec<_>>());
    assert_eq!(all_wide(&kernel.w), all_wide(&plain.w), "{what}, bfloat16");
}

fn wave(n: usize, shift: f32) -> Vec<f32> {
    (0..n).map(|i| (i as f32 * 0.7 + shift).sin() * 10f32.powi(i as i32 % 9 - 4)).collect()
}

#[test]
fn every_option_and_length() {
    for rule in rules() {
        for packing in PACKINGS {
            for n in (0..=70).chain([127, 128, 129, 1000]) {
                let (mut w, mut state) = (wave(n, 0.0), zeros(&rule, n, &packing));
                for t in 1..=3 {
                    let g = wave(n, t as f32);
                    for isa in Isa::available() {
                        assert_reference_bits(&rule, isa, &w, &g, &state, &packing, t);
                    }
                    let mut arrays = Arrays { w, g, state };
                    rule.reference_step(&mut arrays.tensor(0), t, &packing).unwrap();
                    (w, state) = (arrays.w, arrays.state);
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn any_values_and_any_bytes(
        rule in 0..rules().len(),
        packing in 0..PACKINGS.len(),
        arrays in (0usize..300).prop_flat_map(|n| (vec(any_value(), n), vec(any_value(), n), vec(any::<u8>(), 4 * n + 300))),
        t in 1u64..100,
    ) {
        let (rule, packing) = (&rules()[rule], PACKINGS[packing]);
        let (w, g, mut state) = arrays;
        state.resize(zeros(rule, w.len(), &packing).len(), 0);
        for isa in Isa::available() {
            assert_reference_bits(rule, isa, &w, &g, &state, &packing, t);
        }
    }
}

fn random(n: usize, seed: u64) -> Vec<f32> {
    let mut value = uniform_from(seed);
    (0..n).map(|_| value()).collect()
}

fn packed_arrays(rule: &Rule, n: usize, packing: &Packing, seed: u64) -> Arrays<f32> {
    Arrays { w: random(n, seed), g: random(n, seed + 1), state: zeros(rule, n, packing) }
}

/// A few steps over the whole, and over parts that are cut at blocks and have the whole's numbers.
#[test]
fn cuts_and_threads_change_nothing() {
    let pool = Pool::new(3);
    assert_eq!(pool.threads(), 3);
    let n = 700_001;
    let cuts = [0, 64, 4096, 4096 + 64 * 77, 640_000, n];
    for rule in [packed_optimizer(Adam::default()), packed_optimizer(Lion::default())] {
        for packing in PACKINGS {
            let start = packed_arrays(&rule, n, &packing, 1);
            let (mut whole, mut shared) = (start.clone(), start.clone());
            let states = rule.state_names().len();
            let part = |from: usize, to: usize| Arrays {
                w: start.w[from..to].to_vec(),
                g: start.g[from..to].to_vec(),
                state: vec![0; packing.format.bytes(states, to - from).unwrap()],
            };
            let mut parts: Vec<_> = cuts.windows(2).map(|cut| part(cut[0], cut[1])).collect();
            let (isa, extras) =
                (Isa::current().unwrap(), Extras { grad_scale: 0.5, ..Extras::default() });
            for t in 1..=3 {
                let step = |tensors: &mut [PackedTensor<'_, f32>], threads: Threads<'_>| {
                    rule.step_on(isa, tensors, t, &packing, &extras, threads).unwrap();
                };
                step(&mut [whole.tensor(0)], Threads::Caller);
                step(&mut [shared.tensor(0)], Threads::Pool(&pool));
                let numbered = parts.iter_mut().zip(cuts).map(|(part, from)| part.tensor(from as u64));
                step(&mut numbered.collect::<Vec<_>>(), Threads::Pool(&pool));
            }
            assert!(whole == shared, "{rule:?} {packing:?}");
            let states = unpacked(&rule, &whole, &packing);
            let mut from = 0;
            for part in &parts {
                let to = from + part.w.len();
                assert!(bits(&part.w) == bits(&whole.w[from..to]), "{rule:?} {packing:?} from {from}");
                for (ours, all) in unpacked(&rule, part, &packing).iter().zip(&states) {
                    assert!(bits(ours) == bits(&all[from..to]), "{rule:?} {packing:?} from {from}");
                }
                from = to;
            }
        }
    }
}

fn unpacked(rule: &Rule, arrays: &Arrays<f32>, packing: &Packing) -> Vec<Vec<f32>> {
    let mut states = vec![vec![0.0; arrays.w.len()]; rule.state_names().len()];
    let mut slices: Vec<&mut [f32]> = states.iter_mut().map(|state| &mut state[..]).collect();
    rule.unpack(&arrays.state, packing.format, &mut slices).unwrap();
    states
}

/// Norm, clipping, skipping and zeroing are those of a step with `f32` states.
#[test]
fn extras_do_what_they_do_elsewhere() {
    let rule = packed_optimizer(Adam::default());
    let isa = Isa::current().unwrap();
    for packing in PACKINGS {
        let extras = Extras {
            grad_scale: 0.25,
            max_norm: 1.0,
            zero_grad: true,
            skip_nonfinite: true,
            grad_norm: true,
        };
        let (mut a, mut b) =
            (packed_arrays(&rule, 1000, &packing, 1), packed_arrays(&rule, 77, &packing, 5));
        let mut plain = [a.clone(), b.clone()];
        let report = rule
            .step_on(isa, &mut [a.tensor(0), b.tensor(1024)], 1, &packing, &extras, Threads::Caller)
            .unwrap();
        let gradients = [&plain[0].g[..], &plain[1].g[..]];
        assert_eq!(report.grad_norm, Some(0.25 * reference::grad_norm(&gradients)));
        let scale = reference::applied_scale(&gradients, 0.25, 1.0);
        assert_eq!(report.applied_scale, f64::from(scale));
        assert!(scale < 0.25);
        for (arrays, first_element) in plain.iter_mut().zip([0, 1024]) {
            arrays.g.iter_mut().for_each(|g| *g *= scale);
            rule.reference_step(&mut arrays.tensor(first_element), 1, &packing).unwrap();
            arrays.g.fill(0.0);
        }
        assert!([&a, &b] == [&plain[0], &plain[1]], "{packing:?}");

        b.g[3] = f32::NAN;
        let before = [a.clone(), b.clone()];
        let report = rule
            .step_on(isa, &mut [a.tensor(0), b.tensor(1024)], 2, &packing, &extras, Threads::Caller)
            .unwrap();
        let skipped = report.nonfinite.unwrap();
        assert_eq!((skipped.tensor, skipped.element), (1, 3));
        assert!(before[0] == a && before[1].w == b.w && before[1].state == b.state);
    }
}

/// What fills up the last block has no part in its scale, even where gradients are multiplied by NaN.
#[test]
fn what_fills_a_block_up_changes_nothing() {
    let extras = Extras { max_norm: 1.0, ..Extras::default() };
    for rule in rules() {
        for packing in PACKINGS {
            for value in [0.0, 1e-30, 1.0, f32::NAN] {
                let mut start =
                    Arrays { w: vec![1.0; 70], g: vec![0.1; 70], state: zeros(&rule, 70, &packing) };
                start.g[68] = value;
                let (mut kernel, mut plain) = (start.clone(), start);
                let isa = Isa::current().unwrap();
                let tensor = kernel.tensor(0);
                rule.step_on(isa, &mut [tensor], 1, &packing, &extras, Threads::Caller).unwrap();
                let scale = reference::applied_scale(&[&plain.g], 1.0, 1.0);
                assert_eq!(scale.is_nan(), value.is_nan());
                plain.g.iter_mut().for_each(|g| *g *= scale);
                rule.reference_step(&mut plain.tensor(0), 1, &packing).unwrap();
                assert_eq!(kernel.state, plain.state, "{rule:?} {packing:?} {value}");
                assert_eq!(bits(&kernel.w), bits(&plain.w), "{rule:?} {packing:?} {value}");
            }
        }
    }
}

/// What was unpacked is packed as near as a code is; in bfloat16 exactly.
#[test]
fn packing_what_was_unpacked() {
    for rule in rules() {
        for packing in PACKINGS {
            for n in [0, 1, 63, 64, 65, 1000] {
                let mut arrays = packed_arrays(&rule, n, &packing, 3);
                rule.reference_step(&mut arrays.tensor(0), 1, &packing).unwrap();
                let states = unpacked(&rule, &arrays, &packing);
                let slices: Vec<&[f32]> = states.iter().map(|state| &state[..]).collect();
                let mut again = Arrays { state: vec![0xa5; arrays.state.len()], ..arrays.clone() };
                rule.pack(&slices, packing.format, &mut again.state).unwrap();
                if packing.format == StateFormat::Bf16 {
                    assert_eq!(again.state, arrays.state, "{rule:?} n {n}");
                }
                for (before, after) in states.iter().zip(unpacked(&rule, &again, &packing)) {
                    let largest = before.iter().fold(0f32, |largest, x| largest.max(x.abs()));
                    for (x, y) in before.iter().zip(after) {
                        let near = (x.abs() + largest / 32768.0) / 16.0;
                        assert!((x - y).abs() <= near, "{rule:?} {packing:?} n {n}: {x} became {y}");
                    }
                }
            }
        }
    }
}

/// With β2 = 0.999 a step's part in `v` is less than half of the distance between two codes.
/// Infinity in one element would make each step decode the whole block with an infinite scale.
#[test]
fn no_finite_state_becomes_infinite_in_eight_bits() {
    const LARGEST: f32 = 3.190_267_3e38; // 15/16 of 2^128
    let m = [3.2e38, -3.39e38, f32::MAX, f32::MIN, 2.0e38, 1.0, 0.0];
    let v = [3.2e38, 3.39e38, f32::MAX, 3.0e38, 2.0e38, 1.0, 0.0];
    let mut packed = vec![0; StateFormat::Bits8.bytes(2, m.len()).unwrap()];
    pack(&Adam::default(), [&m, &v], StateFormat::Bits8, &mut packed).unwrap();
    let (mut m2, mut v2) = ([0.0; 7], [0.0; 7]);
    unpack(&Adam::default(), &packed, StateFormat::Bits8, [&mut m2, &mut v2]).unwrap();
    for (x, y) in m.into_iter().chain(v).zip(m2.into_iter().chain(v2)) {
        let expected = x.clamp(-LARGEST, LARGEST);
        assert!((y - expected).abs() <= LARGEST / 16.0, "{x:e} became {y:e}");
    }
    // Steps that grow a state up to there, and what it shares a block with.
    let huge = Momentum { momentum: 0.99, lr: 1.0, ..Momentum::default() };
    for packing in &PACKINGS[..2] {
        let rule = packed_optimizer(huge);
        for isa in Isa::available() {
            let (mut w, mut g) = ([0.0; 64], [1.0; 64]);
            (g[0], g[33]) = (3.0e38, -3.0e38);
            let mut state = zeros(&rule, 64, packing);
            for t in 1..=20 {
                w.fill(0.0);
                let tensor = PackedTensor { w: &mut w, g: &mut g, state: &mut state, first_element: 0 };
                rule.step_on(isa, &mut [tensor], t, packing, &Extras::default(), Threads::Caller)
                    .unwrap();
                g.fill(0.0);
                (g[0], g[33]) = (4.0e36, -4.0e36);
            }
            let mut u = [0.0; 64];
            unpack(&huge, &state, packing.format, [&mut u]).unwrap();
            assert!(u.iter().all(|u| u.is_finite()), "{isa} {packing:?}: {u:?}");
            assert!(u[0] > 2.5e38 && u[33] < -2.5e38, "{isa} {packing:?}: {} {}", u[0], u[33]);
        }
    }
}

#[test]
fn stochastic_rounding_moves_what_nearest_leaves() {
    let n = 6400;
    let rule = packed_optimizer(Adam { lr: 0.0, ..Adam::default() });
    let v_after = |packing: Packing| {
        let mut arrays = Arrays { w: vec![0.0; n], g: vec![1.0; n], state: zeros(&rule, n, &packing) };
        let isa = Isa::current().unwrap();
        for t in 1..=1000 {
            let tensor = arrays.tensor(0);
            rule.step_on(isa, &mut [tensor], t, &packing, &Extras::default(), Threads::Caller).unwrap();
        }
        let states = unpacked(&rule, &arrays, &packing);
        states[1].iter().map(|&v| f64::from(v)).sum::<f64>() / n as f64
    };
    let exact = 1.0 - 0.999f64.powi(1000);
    for packing in PACKINGS {
        let v = v_after(packing);
        match packing.rounding {
            // The mean of so many is this near.
            Rounding::Stochastic { .. } => assert!((v / exact - 1.0).abs() < 0.01, "{packing:?}: {v}"),
            Rounding::Nearest => assert!(v < 0.5 * exact, "{packing:?}: {v}"),
        }
    }
}

/// A diagonal quadratic whose curvatures go from 1 to 10^6, all within a few blocks.
#[test]
fn a_badly_scaled_quadratic_converges() {
    let n = 256;
    let curvature = |i: usize| 10f64.powf(6.0 * i as f64 / (n - 1) as f64) as f32;
    let isa = Isa::current().unwrap();
    for config in [Adam::default(), Adam { eps: 1e-30, ..Adam::default() }] {
        let config = Adam { lr: 0.01, ..config };
        let rule = packed_optimizer(config);
        for packing in PACKINGS {
            let mut arrays =
                Arrays { w: vec![1.0; n], g: vec![0.0; n], state: zeros(&rule, n, &packing) };
            for t in 1..=2000 {
                for i in 0..n {
                    arrays.g[i] = curvature(i) * arrays.w[i];
                }
                let tensor = arrays.tensor(0);
                rule.step_on(isa, &mut [tensor], t, &packing, &Extras::default(), Threads::Caller)
                    .unwrap();
                assert!(arrays.w.iter().all(|w| w.abs() < 2.0), "{packing:?} t {t}");
            }
            if packing.rounding != Rounding::Nearest {
                let worst = arrays.w.iter().fold(0f32, |worst, w| worst.max(w.abs()));
                println!("{config:?} {packing:?}: {worst}");
                assert!(worst < 0.2, "{packing:?}: {worst}");
            }
        }
    }
}

/// Each error names the argument, and nothing is written.
#[test]
fn wrong_input_is_named() {
    let rule = packed_optimizer(Adam::default());
    for packing in PACKINGS {
        let start = packed_arrays(&rule, 100, &packing, 1);
        let refused = |arrays: Arrays<f32>, first_element, t, text: &str| {
            let mut after = arrays.clone();
            let (mut tensors, extras) = ([after.tensor(first_element)], Extras::default());
            let isa = Isa::current().unwrap();
            let error =
                rule.step_on(isa, &mut tensors, t, &packing, &extras, Threads::Caller).unwrap_err();
            assert!(error.to_string().contains(text), "{error}");
            let mut reference = arrays.clone();
            let error =
                rule.reference_step(&mut reference.tensor(first_element), t, &packing).unwrap_err();
            assert!(error.to_string().contains(text), "{error}");
            assert!(after == arrays && reference == arrays);
        };
        let mut short = start.clone();
        short.g.pop();
        refused(short, 0, 1, "`g` has 99 elements and `w` has 100");
        let mut long = start.clone();
        long.state.push(0);
        let bytes = start.state.len();
        refused(
            long,
            0,
            1,
            &format!("`state` has {} bytes; packed as it is to be, it takes {bytes}", bytes + 1),
        );
        refused(start.clone(), 32, 1, "`first_element` is 32; it must be a multiple of 64");
        refused(start.clone(), 0, 0, "`t` is 0");

        let mut packed = vec![7; bytes];
        let (m, v) = (vec![0.0; 100], vec![0.0; 99]);
        let error = rule.pack(&[&m, &v], packing.format, &mut packed).unwrap_err();
        assert!(error.to_string().contains("`v` has 99 elements and `m` has 100"), "{error}");
        let error = rule.pack(&[&m, &m], packing.format, &mut packed[1..]).unwrap_err();
        assert!(error.to_string().contains("`state` has"), "{error}");
        let error = rule.pack(&[&m], packing.format, &mut packed).unwrap_err();
        assert!(error.to_string().contains("1 state arrays were passed"), "{error}");
        assert_eq!(packed, vec![7; bytes]);
    }
    assert_eq!(StateFormat::Bits8.bytes(2, 0), Some(0));
    assert_eq!(StateFormat::Bits8.bytes(2, 65), Some(2 * (2 * 65)));
    assert_eq!(StateFormat::Bf16.bytes(1, 3), Some(128));
    for format in [StateFormat::Bits8, StateFormat::Bf16] {
        assert_eq!(format.bytes(2, usize::MAX / 2), None);
    }
}

/// Of weights and states after ten steps, with every option and packing.
const HASH: u64 = 0x3542_07d3_2fb7_e042;

/// The same on every CPU and instruction set, and in every release of the layout.
#[test]
fn a_fixed_run_has_these_bits() {
    let runs = Isa::available().into_iter().map(Some).chain([None]);
    for isa in runs {
        let hash = fixed_run(isa);
        assert!(hash == HASH, "{isa:?}, or the reference, has other bits: {hash:#018x}");
    }
}

/// By the kernels of an instruction set, or by the reference.
fn fixed_run(isa: Option<Isa>) -> u64 {
    let mut hash = OFFSET_BASIS;
    for rule in rules() {
        for packing in PACKINGS {
            let mut arrays = packed_arrays(&rule, 1007, &packing, 11);
            let mut narrow = Arrays {
                w: arrays.w.iter().map(upper_half).collect(),
                g: Vec::new(),
                state: arrays.state.clone(),
            };
            for t in 1..=10 {
                arrays.g.fill_with(mixed_from(t));
                narrow.g = arrays.g.iter().map(upper_half).collect();
                let (wide, narrow) = (&mut [arrays.tensor(64)], &mut [narrow.tensor(64)]);
                match isa {
                    Some(isa) => {
                        let (extras, threads) = (Extras::default(), Threads::Caller);
                        rule.step_on(isa, wide, t, &packing, &extras, threads).unwrap();
                        rule.step_bf16_on(isa, narrow, t, &packing, &extras, threads).unwrap();
                    }
                    None => {
                        rule.reference_step(&mut wide[0], t, &packing).unwrap();
                        rule.reference_step_bf16(&mut narrow[0], t, &packing).unwrap();
                    }
                }
            }
            // A NaN's sign and payload are not promised.
            for w in [bits(&arrays.w), bits(&narrow.w.iter().map(wide).collect::<Vec<_>>())] {
                hash = w.iter().fold(hash, |hash, w| fnv1a(hash, &w.to_le_bytes()));
            }
            hash = fnv1a(fnv1a(hash, &arrays.state), &narrow.state);
        }
    }
    hash
}
