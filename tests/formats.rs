//! Conversions and packing: each type's numbers against another implementation or by their definition,
//! all bit patterns where that is possible.

mod common;

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use common::{
    Rule, every_option, mixed_from,
    owned::{Floats, Owned, StateType, Types, check, one},
    runner::is_brief,
    same, uniform_from,
};
use downhill::{
    Element, Extras, Group, Isa, Momentum, Optimizer, Rounding, Sgd, StateKind, States, Tensor, Threads,
    Values, Weights, convert, pack, reference, rules, state_bytes, step_on, unpack,
};
use half::{bf16, f16};

// ---- types of 16 bits

#[test]
fn every_number_of_sixteen_bits_is_widened_exactly() {
    let all: Vec<u16> = (0..=u16::MAX).collect();
    let mut wide = vec![0.0; all.len()];
    let numbers: Vec<bf16> = all.iter().map(|&bits| bf16::from_bits(bits)).collect();
    convert(Values::Bf16(&numbers), Weights::F32(&mut wide)).unwrap();
    assert!(numbers.iter().zip(&wide).all(|(x, &wide)| same(x.to_f32(), wide)));
    let numbers: Vec<f16> = all.iter().map(|&bits| f16::from_bits(bits)).collect();
    convert(Values::F16(&numbers), Weights::F32(&mut wide)).unwrap();
    assert!(numbers.iter().zip(&wide).all(|(x, &wide)| same(x.to_f32(), wide)));
}

/// Of every upper 20 bits of an `f32` some with lower ones that matter: all, none, half of a distance,
/// and next to them.
fn around_every_half() -> impl Iterator<Item = f32> {
    let upper = (0..1_u32 << 20).step_by(if is_brief() { 97 } else { 1 });
    upper.flat_map(|upper| {
        [0, 1, 0x7ff, 0x800, 0x801, 0xfff].map(|lower| f32::from_bits(upper << 12 | lower))
    })
}

#[test]
fn numbers_are_rounded_to_the_nearest() {
    let x: Vec<f32> = around_every_half().collect();
    let mut narrow = vec![bf16::ZERO; x.len()];
    convert(Values::F32(&x), Weights::Bf16(&mut narrow)).unwrap();
    for (&x, &narrow) in x.iter().zip(&narrow) {
        assert!(same(narrow.to_f32(), bf16::from_f32(x).to_f32()), "{x:e} became {narrow}");
    }
    let mut narrow = vec![f16::ZERO; x.len()];
    convert(Values::F32(&x), Weights::F16(&mut narrow)).unwrap();
    for (&x, &narrow) in x.iter().zip(&narrow) {
        assert!(same(narrow.to_f32(), f16::from_f32(x).to_f32()), "{x:e} became {narrow}");
    }
}

/// Steps without a rate leave what they narrow as it is: the kernels' conversions on each instruction
/// set are `convert`'s.
#[test]
fn kernels_round_as_conversions_do() {
    let config = Sgd { lr: 0.0, ..Sgd::default() };
    let x: Vec<f32> = around_every_half().filter(|x| !x.is_nan()).collect();
    let (mut expected_b, mut expected_h) = (vec![bf16::ZERO; x.len()], vec![f16::ZERO; x.len()]);
    convert(Values::F32(&x), Weights::Bf16(&mut expected_b)).unwrap();
    convert(Values::F32(&x), Weights::F16(&mut expected_h)).unwrap();
    for isa in Isa::available() {
        let copied = copied(isa, &config, &x, bf16::ONE);
        assert!(copied.iter().zip(&expected_b).all(|(a, b)| same(a.to_f32(), b.to_f32())), "{isa}");
        let copied = self::copied(isa, &config, &x, f16::ONE);
        assert!(copied.iter().zip(&expected_h).all(|(a, b)| same(a.to_f32(), b.to_f32())), "{isa}");
    }
}

/// The copy of the weights `x` that a step makes.
fn copied<E: Element + Copy>(isa: Isa, config: &dyn Optimizer, x: &[f32], start: E) -> Vec<E> {
    let (g, mut w, mut copy) = (vec![0.0; x.len()], x.to_vec(), vec![start; x.len()]);
    let mut tensor = Tensor::new(&mut w, &g, States::default());
    tensor.copy = (&mut copy).into();
    let mut tensors = [tensor];
    step_on(isa, &mut [Group::new(config, 1, &mut tensors)], &Extras::default(), Threads::Caller)
        .unwrap();
    assert!(w.iter().zip(x).all(|(&w, &x)| same(w, x)));
    copy
}

/// Rounded at random, for which no other implementation is at hand but the reference.
#[test]
fn kernels_round_at_random_as_the_reference() {
    let x: Vec<f32> = around_every_half().collect();
    let expected_b = narrowed(None, &x, bf16::ZERO);
    let expected_h = narrowed(None, &x, f16::ZERO);
    for isa in Isa::available() {
        let b = narrowed(Some(isa), &x, bf16::ZERO);
        assert!(b.iter().zip(&expected_b).all(|(a, b)| same(a.to_f32(), b.to_f32())), "{isa}");
        let h = narrowed(Some(isa), &x, f16::ZERO);
        assert!(h.iter().zip(&expected_h).all(|(a, b)| same(a.to_f32(), b.to_f32())), "{isa}");
    }
}

/// Weights that were zero after a step of `-x`.
fn narrowed<E: Element + Copy>(isa: Option<Isa>, x: &[f32], zero: E) -> Vec<E> {
    let (config, mut w) = (Sgd { lr: 1.0, ..Sgd::default() }, vec![zero; x.len()]);
    let mut tensors = [Tensor::new(&mut w, x, States::default())];
    let mut groups = [Group::new(&config, 1, &mut tensors)];
    let extras = Extras { grad_scale: -1.0, ..Extras::default() };
    match isa {
        Some(isa) => step_on(isa, &mut groups, &extras, Threads::Caller).unwrap(),
        None => reference::step(&mut groups, &extras).unwrap(),
    };
    w
}

/// Between any two types: through `f32`.
#[test]
fn conversions_between_all_types() {
    let x: Vec<f32> = (0..1000)
        .map({
            let mut any = mixed_from(5);
            move |_| any()
        })
        .collect();
    let mut b = vec![bf16::ZERO; x.len()];
    let mut h = vec![f16::ZERO; x.len()];
    let (mut high, mut low) = (vec![bf16::ZERO; x.len()], vec![0; x.len()]);
    convert(Values::F32(&x), Weights::Bf16(&mut b)).unwrap();
    convert(Values::F32(&x), Weights::F16(&mut h)).unwrap();
    convert(Values::F32(&x), Weights::Split { high: &mut high, low: &mut low }).unwrap();
    let all =
        [Values::F32(&x), Values::Bf16(&b), Values::F16(&h), Values::Split { high: &high, low: &low }];
    for from in all {
        let mut wide = vec![0.0; x.len()];
        convert(from, Weights::F32(&mut wide)).unwrap();
        let (mut to_b, mut to_h) = (b.clone(), h.clone());
        let (mut to_high, mut to_low) = (high.clone(), low.clone());
        convert(from, Weights::Bf16(&mut to_b)).unwrap();
        convert(from, Weights::F16(&mut to_h)).unwrap();
        convert(from, Weights::Split { high: &mut to_high, low: &mut to_low }).unwrap();
        let mut joined = vec![0.0; x.len()];
        convert(Values::Split { high: &to_high, low: &to_low }, Weights::F32(&mut joined)).unwrap();
        for (i, &wide) in wide.iter().enumerate() {
            assert!(same(to_b[i].to_f32(), bf16::from_f32(wide).to_f32()), "{wide}");
            assert!(same(to_h[i].to_f32(), f16::from_f32(wide).to_f32()), "{wide}");
            assert!(same(joined[i], wide));
        }
    }
}

// ---- split weights

/// How many bit patterns are looked at at a time. All of their arrays stay in cache.
const LEN: usize = 1 << 13;

/// Calls `f` with all bit patterns, `LEN` at a time, or with every `step`-th time, on as many threads as
/// there are. In brief, with few of them.
fn for_patterns(step: usize, f: impl Fn(&[u32; LEN]) + Sync) {
    let threads = thread::available_parallelism().map_or(1, |threads| threads.get());
    let step = if is_brief() { 251 } else { step };
    thread::scope(|scope| {
        for first in 0..threads {
            let f = &f;
            scope.spawn(move || {
                let mut patterns = [0; LEN];
                let starts = (0..(1_u64 << 32) / LEN as u64).step_by(step).skip(first).step_by(threads);
                for start in starts {
                    for (i, pattern) in patterns.iter_mut().enumerate() {
                        *pattern = start as u32 * LEN as u32 + i as u32;
                    }
                    f(&patterns);
                }
            });
        }
    });
}

fn is_nan(bits: u32) -> bool {
    bits & 0x7fff_ffff > 0x7f80_0000
}

/// An `f32` comes back, its upper half is the nearest bfloat16, and a NaN stays one, also in its upper
/// half. A seventh of all, with each upper half.
#[test]
fn numbers_survive_being_split() {
    for_patterns(7, |patterns| {
        let x = patterns.map(f32::from_bits);
        let (mut high, mut low, mut back) = ([bf16::ZERO; LEN], [0; LEN], [0.0; LEN]);
        convert(Values::F32(&x), Weights::Split { high: &mut high, low: &mut low }).unwrap();
        convert(Values::Split { high: &high, low: &low }, Weights::F32(&mut back)).unwrap();
        // Without a way out of the loop, which is vectorized then.
        let mut all_right = true;
        for (((&bits, high), &low), back) in patterns.iter().zip(&high).zip(&low).zip(&back) {
            let (high, back) = (u32::from(high.to_bits()), back.to_bits());
            let quiet = bits >> 16 | 0x40;
            all_right &= if is_nan(bits) {
                (high == quiet) & (low == 0) & (back == quiet << 16)
            } else {
                (high == bits.wrapping_add(0x8000) >> 16) & (low == bits as u16 as i16) & (back == bits)
            };
        }
        assert!(all_right, "one from {:#x} on", patterns[0]);
    });
}

/// All of them by the kernels: a step that adds nothing. Two halves that are those of no number become
/// those of the number that they mean.
#[test]
fn every_number_survives_steps_of_split_weights() {
    let config = Sgd { lr: 0.0, ..Sgd::default() };
    let (isas, turn) = (Isa::available(), AtomicUsize::new(0));
    for_patterns(1, |patterns| {
        let isa = isas[turn.fetch_add(1, Ordering::Relaxed) % isas.len()];
        let g = [bf16::ZERO; LEN];
        let mut high = patterns.map(|bits| bf16::from_bits((bits >> 16) as u16));
        let mut low = patterns.map(|bits| bits as u16 as i16);
        let w = Weights::Split { high: &mut high, low: &mut low };
        let mut tensors = [Tensor::new(w, &g, States::default())];
        let mut groups = [Group::new(&config, 1, &mut tensors)];
        step_on(isa, &mut groups, &Extras::default(), Threads::Caller).unwrap();
        let mut all_right = true;
        for ((&pattern, high), &low) in patterns.iter().zip(&high).zip(&low) {
            let bits = (pattern & 0xffff_0000).wrapping_add(pattern as u16 as i16 as u32);
            let high = u32::from(high.to_bits());
            all_right &= if is_nan(bits) {
                is_nan(high << 16) & (low == 0)
            } else {
                (high == bits.wrapping_add(0x8000) >> 16) & (low == bits as u16 as i16)
            };
        }
        assert!(all_right, "{isa}, one from {:#x} on", patterns[0]);
    });
}

// ---- eight bits

/// The rules whose states fit, with every option.
fn packable() -> Vec<Rule> {
    every_option().into_iter().filter(|rule| state_bytes(&**rule, 0).is_ok()).collect()
}

fn packed(rule: &dyn Optimizer, states: &[Vec<f32>]) -> Vec<u8> {
    let mut packed = vec![0xa5; state_bytes(rule, states[0].len()).unwrap()];
    let states: Vec<&[f32]> = states.iter().map(|state| &state[..]).collect();
    pack(rule, &states, &mut packed).unwrap();
    packed
}

fn unpacked(rule: &dyn Optimizer, n: usize, packed: &[u8]) -> Vec<Vec<f32>> {
    let mut states = vec![vec![f32::MAX; n]; rule.states().len()];
    let mut slices: Vec<&mut [f32]> = states.iter_mut().map(|state| &mut state[..]).collect();
    unpack(rule, packed, &mut slices).unwrap();
    states
}

/// Each state of a block of 64 has 65 bytes, and a last block that has fewer elements too.
#[test]
fn the_bytes_of_packed_states() {
    for rule in packable() {
        for (n, blocks) in [(0, 0), (1, 1), (63, 1), (64, 1), (65, 2), (1000, 16)] {
            assert_eq!(state_bytes(&*rule, n), Ok(65 * blocks * rule.states().len()));
        }
    }
}

/// By the definition in `reference::step`: codes of floats with three bits of mantissa, and where they
/// are.
#[test]
fn every_code_means_what_is_documented() {
    const N: usize = 256;
    for rule in rules().iter().filter(|rule| state_bytes(&***rule, 0).is_ok()) {
        let count = rule.states().len();
        for scale in 1..=254_u8 {
            let mut bytes = vec![scale; state_bytes(&**rule, N).unwrap()];
            for (k, i) in (0..count).flat_map(|k| (0..N).map(move |i| (k, i))) {
                let (block, place) = (i / 64, i % 64);
                bytes[64 * (count * block + k) + 4 * (place % 16) + place / 16] = code(i, k);
            }
            let states = unpacked(&**rule, N, &bytes);
            for (k, (state, values)) in rule.states().iter().zip(&states).enumerate() {
                for (i, &value) in values.iter().enumerate() {
                    let expected = meaning(state.kind, scale, code(i, k));
                    assert_eq!(f64::from(value), expected, "{state:?} {scale} {}", code(i, k));
                }
            }
        }
    }
}

/// Every code in some element of each state.
fn code(i: usize, k: usize) -> u8 {
    (i * 37 + k * 5 + 11) as u8
}

fn meaning(kind: StateKind, scale: u8, code: u8) -> f64 {
    let minifloat = |code: u8| 2_f64.powi(i32::from(code / 8)) * (1.0 + f64::from(code % 8) / 8.0);
    let least = |exponents: i32| 2_f64.powi((i32::from(scale) - exponents).max(1) - 127);
    match kind {
        StateKind::Squares => least(31) * minifloat(code),
        _ if code < 128 => least(15) * (minifloat(code) - 1.0),
        _ => -least(15) * (minifloat(code - 128) - 1.0),
    }
}

#[test]
fn zeros_are_packed_as_zeros() {
    for rule in packable() {
        for zero in [0.0, -0.0, 1e-40, -1e-40] {
            let states = vec![vec![zero; 130]; rule.states().len()];
            if states.is_empty() {
                continue;
            }
            let packed = packed(&*rule, &states);
            assert!(packed.iter().all(|&byte| byte == 0));
            let back = unpacked(&*rule, 130, &packed);
            assert!(back.iter().flatten().all(|x| x.to_bits() == 0));
        }
    }
}

/// What was unpacked is packed as near as a code is.
#[test]
fn packed_states_are_near() {
    for rule in packable().into_iter().filter(|rule| !rule.states().is_empty()) {
        for n in [1, 63, 64, 65, 1000] {
            let mut value = uniform_from(n as u64);
            let state = |kind: StateKind| -> Vec<f32> {
                let x = (0..n).map(|i| value() * 10_f32.powi(i as i32 % 7 - 3));
                x.map(|x| if kind == StateKind::Squares { x * x } else { x }).collect()
            };
            let states: Vec<Vec<f32>> = rule.states().iter().map(|one| one.kind).map(state).collect();
            let back = unpacked(&*rule, n, &packed(&*rule, &states));
            for ((one, before), after) in rule.states().iter().zip(&states).zip(&back) {
                for (before, after) in before.chunks(64).zip(after.chunks(64)) {
                    let largest = before.iter().fold(0_f32, |largest, x| largest.max(x.abs()));
                    for (x, y) in before.iter().zip(after) {
                        let least = if one.kind == StateKind::Squares {
                            2_f32.powi(-30)
                        } else {
                            2_f32.powi(-14)
                        };
                        let near = (x.abs() + least * largest) / 16.0 + least * largest;
                        assert!((x - y).abs() <= near, "{rule:?} n {n}: {x} became {y}");
                        assert!(one.kind != StateKind::Squares || *y > 0.0, "divided by zero");
                    }
                }
            }
        }
    }
}

#[test]
fn what_is_not_finite_in_eight_bits() {
    for rule in packable().into_iter().filter(|rule| !rule.states().is_empty()) {
        for odd in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut states = vec![vec![0.25; 130]; rule.states().len()];
            states.iter_mut().for_each(|state| state[65] = odd);
            let back = unpacked(&*rule, 130, &packed(&*rule, &states));
            for (one, back) in rule.states().iter().zip(&back) {
                assert!(!back[65].is_finite(), "{rule:?} {odd}: {}", back[65]);
                assert!(!odd.is_nan() || back[65].is_nan(), "{rule:?} {odd}");
                assert!(odd != f32::INFINITY || back[65] == odd, "{rule:?}: {}", back[65]);
                let is_signed = one.kind == StateKind::Signed;
                assert!(
                    odd != f32::NEG_INFINITY || !is_signed || back[65] == odd,
                    "{rule:?}: {}",
                    back[65]
                );
                // The other blocks are left alone.
                assert!(back[..64].iter().chain(&back[128..]).all(|x| (x - 0.25).abs() <= 0.25 / 16.0));
            }
        }
    }
}

/// Infinity in one element would make each step decode the whole block with an infinite scale.
#[test]
fn no_finite_state_becomes_infinite_in_eight_bits() {
    const LARGEST: f32 = 3.190_267_3e38; // 15/16 of 2^128
    let huge = [3.2e38, -3.39e38, f32::MAX, f32::MIN, 2.0e38, 1.0, 0.0];
    for rule in packable().into_iter().filter(|rule| !rule.states().is_empty()) {
        let states = rule.states().iter().map(|one| match one.kind {
            StateKind::Squares => huge.map(f32::abs).to_vec(),
            _ => huge.to_vec(),
        });
        let states: Vec<Vec<f32>> = states.collect();
        let back = unpacked(&*rule, huge.len(), &packed(&*rule, &states));
        for (x, y) in states.iter().flatten().zip(back.iter().flatten()) {
            let expected = x.clamp(-LARGEST, LARGEST);
            assert!((y - expected).abs() <= LARGEST / 16.0, "{x:e} became {y:e}");
        }
    }
    // Steps that grow a state up to there, and what it shares a block with.
    let config = Momentum { momentum: 0.99, lr: 1.0, ..Momentum::default() };
    for rounding in [Rounding::Stochastic { seed: 7 }, Rounding::Nearest] {
        for isa in Isa::available() {
            let (mut w, mut g) = ([0.0; 64], [1.0; 64]);
            (g[0], g[33]) = (3.0e38, -3.0e38);
            let mut bytes = vec![0; state_bytes(&config, 64).unwrap()];
            for t in 1..=20 {
                w.fill(0.0);
                let mut tensors = [Tensor::new(&mut w, &g, &mut bytes)];
                let mut group = Group::new(&config, t, &mut tensors);
                group.rounding = rounding;
                step_on(isa, &mut [group], &Extras::default(), Threads::Caller).unwrap();
                g.fill(0.0);
                (g[0], g[33]) = (4.0e36, -4.0e36);
            }
            let u = &unpacked(&config, 64, &bytes)[0];
            assert!(u.iter().all(|u| u.is_finite()), "{isa} {rounding:?}: {u:?}");
            assert!(u[0] > 2.5e38 && u[33] < -2.5e38, "{isa} {rounding:?}: {} {}", u[0], u[33]);
        }
    }
}

/// What fills the last block up has no part in its scale, even where gradients are multiplied by NaN.
#[test]
fn what_fills_a_block_up_changes_nothing() {
    for rule in packable() {
        for types in Types::all(&*rule).into_iter().filter(|types| types.state == StateType::Bits8) {
            for value in [0.0, 1e-30, 1.0, f32::NAN] {
                let mut tensor = Owned::new(&*rule, 70, types, || 0.1).fresh();
                let g = (0..70).map(|i| if i == 68 { value } else { 0.1 });
                tensor.g = Some(Floats::new(types.g, g));
                let extras = Extras { max_norm: 1.0, ..Extras::default() };
                check(&[one(rule.clone(), 1, vec![tensor])], &extras, Threads::Caller);
            }
        }
    }
}
