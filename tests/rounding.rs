//! Random rounding: how far from random its bits are, seen through steps, and that it rounds right on
//! average.

use downhill::{
    Adam, Element, Extras, Form, Group, Momentum, Numbering, Rounding, Sgd, States, Tensor, Threads,
    step,
};
use half::{bf16, f16};

/// Elements whose bits are held against each other.
const N: usize = 1 << 16;

/// Whose bits.
#[derive(Clone, Copy, Debug)]
struct Bits {
    seed: u64,
    t: u64,
    first_element: u64,
    of: Of,
}

/// Which value of an element is rounded.
#[derive(Clone, Copy, Debug)]
enum Of {
    Weight,
    State,
}

/// The weight and the state after the step with these gradients, from zeros: `u = g; w = -g`, both
/// rounded to bfloat16.
fn rounded(bits: Bits, g: &[f32]) -> [Vec<bf16>; 2] {
    let config = Momentum { lr: 1.0, momentum: 0.0, form: Form::Torch, ..Momentum::default() };
    let [mut w, mut u] = [(); 2].map(|()| vec![bf16::ZERO; g.len()]);
    let mut tensor = Tensor::new(&mut w, g, [&mut u[..]]);
    tensor.first_element = bits.first_element;
    let mut tensors = [tensor];
    let mut group = Group::new(&config, bits.t, &mut tensors);
    group.rounding = Rounding::Stochastic { seed: bits.seed };
    group.numbering = Numbering::Given;
    step(&mut [group], &Extras::default(), Threads::Caller).unwrap();
    w.iter_mut().for_each(|w| *w = -*w);
    [w, u]
}

/// The 16 random bits of each of `N` elements, found as a number is that is only told to be larger or
/// not: from 1 the fraction `f` of the way to the next bfloat16 is rounded up if `r` is at least `(1 -
/// f)·2^16`.
fn random_bits(bits: Bits) -> Vec<u16> {
    let mut found = vec![0_u32; N];
    for bit in (0..16).rev() {
        let asked = found.iter().map(|found| found | 1 << bit);
        let x: Vec<f32> = asked.map(|r| f32::from_bits(1_f32.to_bits() + 0x1_0000 - r)).collect();
        let [w, u] = rounded(bits, &x);
        let rounded = match bits.of {
            Of::Weight => w,
            Of::State => u,
        };
        for (found, rounded) in found.iter_mut().zip(rounded) {
            assert!(rounded == bf16::ONE || rounded.to_bits() == bf16::ONE.to_bits() + 1, "{rounded}");
            *found |= u32::from(rounded > bf16::ONE) << bit;
        }
    }
    found.into_iter().map(|found| found as u16).collect()
}

const PLAIN: Bits = Bits { seed: 0, t: 1, first_element: 0, of: Of::Weight };

/// Each of 65,536 words is as likely: as seen in the frequency of each upper and lower byte.
fn assert_uniform(bits: &[u16], what: &str) {
    for shift in [0, 4, 8] {
        let mut counts = [0_u32; 256];
        bits.iter().for_each(|bits| counts[(bits >> shift & 0xff) as usize] += 1);
        let expected = bits.len() as f64 / 256.0;
        let chi_squared: f64 =
            counts.iter().map(|&count| (f64::from(count) - expected).powi(2) / expected).sum();
        // The mean is 255, and 5 standard deviations of 22.6.
        assert!((chi_squared - 255.0).abs() < 113.0, "{what}, bits from {shift} on: {chi_squared}");
    }
}

/// No bit of one goes with a bit of the other: each of 256 pairs of bits is equal for half of all
/// elements.
fn assert_independent(a: &[u16], b: &[u16], what: &str) {
    let n = a.len() as f64;
    assert!(n > 30_000.0 && a.len() == b.len());
    for turn in 0..16 {
        let mut equal = [0_u32; 16];
        for (a, b) in a.iter().zip(b) {
            let same = !(a ^ b.rotate_left(turn));
            equal.iter_mut().enumerate().for_each(|(bit, equal)| *equal += u32::from(same >> bit & 1));
        }
        for (bit, equal) in equal.into_iter().enumerate() {
            // Six standard deviations, as there are thousands of these pairs.
            let away = (f64::from(equal) - n / 2.0) / (n.sqrt() / 2.0);
            assert!(away.abs() < 6.0, "{what}: bit {bit}, turned by {turn}: {away}");
        }
    }
    let mean = |x: &[u16]| x.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let products = a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - mean_a) * (f64::from(b) - mean_b));
    let correlation = products.sum::<f64>() / n / (65536.0_f64.powi(2) / 12.0);
    assert!(correlation.abs() < 6.0 / n.sqrt(), "{what}: {correlation}");
}

#[test]
fn the_bits_are_uniform() {
    for (seed, t, of) in
        [(0, 1, Of::Weight), (0, 1, Of::State), (7, 1000, Of::Weight), (u64::MAX, 2, Of::State)]
    {
        let bits = Bits { seed, t, of, ..PLAIN };
        assert_uniform(&random_bits(bits), &format!("{bits:?}"));
    }
}

/// Elements that share a word are 32 apart.
#[test]
fn elements_have_bits_of_their_own() {
    for of in [Of::Weight, Of::State] {
        let bits = random_bits(Bits { of, ..PLAIN });
        for apart in [1, 2, 3, 4, 8, 16, 31, 32, 33, 63, 64, 65, 128, 512, 4096, 16_384] {
            assert_independent(&bits[apart..], &bits[..N - apart], &format!("{of:?}, {apart} apart"));
        }
        // As far apart as tensors of a large model.
        for first_element in [1 << 20, 1 << 32, 1 << 40] {
            let far = random_bits(Bits { of, first_element, ..PLAIN });
            assert_independent(&bits, &far, &format!("{of:?}, {first_element} apart"));
        }
    }
}

#[test]
fn weights_and_states_have_bits_of_their_own() {
    let weight = random_bits(PLAIN);
    let state = random_bits(Bits { of: Of::State, ..PLAIN });
    assert_independent(&weight, &state, "weight and state");
    for apart in [1, 32, 64] {
        assert_independent(&weight[apart..], &state[..N - apart], "weight and another's state");
    }
}

/// `m` and `v` of Adam: which of them are rounded up, from half of the way.
#[test]
fn states_have_bits_of_their_own() {
    let config = Adam { beta1: 0.0, beta2: 0.0, ..Adam::default() };
    let rounded_up = |g: f32, k: usize| -> Vec<u16> {
        let (mut w, g) = (vec![0.0; 16 * N], vec![g; 16 * N]);
        let mut states = [(); 2].map(|()| vec![bf16::ZERO; 16 * N]);
        let [m, v] = &mut states;
        let mut tensors = [Tensor::new(&mut w, &g, [m, v])];
        step(&mut [Group::new(&config, 1, &mut tensors)], &Extras::default(), Threads::Caller).unwrap();
        let least = states[k].iter().copied().fold(bf16::INFINITY, |a, b| if a < b { a } else { b });
        let is_up: Vec<_> = states[k].iter().map(|x| u16::from(*x > least)).collect();
        let word = |bits: &[u16]| bits.iter().fold(0, |word, bit| word << 1 | bit);
        is_up.as_chunks::<16>().0.iter().map(|bits| word(bits)).collect()
    };
    // 1 + 2^-8 is half of the way from 1 to the next, and so is (1 + 2^-4)^2 = 1 + 2^-3 + 2^-8.
    let (m, v) = (rounded_up(1.0 + 1.0 / 256.0, 0), rounded_up(1.0 + 1.0 / 16.0, 1));
    assert_uniform(&m, "m");
    assert_uniform(&v, "v");
    assert_independent(&m, &v, "m and v");
}

#[test]
fn steps_and_seeds_have_bits_of_their_own() {
    for of in [Of::Weight, Of::State] {
        let bits = random_bits(Bits { of, ..PLAIN });
        for t in [2, 3, 257, 1 << 32, u64::MAX] {
            assert_independent(
                &bits,
                &random_bits(Bits { of, t, ..PLAIN }),
                &format!("steps 1 and {t}"),
            );
        }
        for seed in [1, 2, 1 << 32, 1 << 63, u64::MAX] {
            assert_independent(
                &bits,
                &random_bits(Bits { of, seed, ..PLAIN }),
                &format!("seeds 0 and {seed}"),
            );
        }
        // A seed and a step that are exchanged.
        let [a, b] = [(5, 9), (9, 5)].map(|(seed, t)| random_bits(Bits { of, seed, t, ..PLAIN }));
        assert_independent(&a, &b, "seed and step exchanged");
    }
}

/// Elements are numbered by place in one call as if their numbers were given.
#[test]
fn the_same_number_has_the_same_bits() {
    let bits = random_bits(PLAIN);
    for first_element in [64, 128, 6400] {
        let moved = random_bits(Bits { first_element, ..PLAIN });
        let first_element = first_element as usize;
        assert_eq!(bits[first_element..], moved[..N - first_element]);
    }
}

/// What each element becomes in one step: rounded at random `w - g`, with `w` zero.
fn narrowed<E: Element + Copy>(g: &[f32], zero: E, seed: u64) -> Vec<E> {
    let (config, mut w) = (Sgd { lr: 1.0, ..Sgd::default() }, vec![zero; g.len()]);
    let mut tensors = [Tensor::new(&mut w, g, States::default())];
    let mut group = Group::new(&config, 1, &mut tensors);
    group.rounding = Rounding::Stochastic { seed };
    step(&mut [group], &Extras::default(), Threads::Caller).unwrap();
    w
}

/// The fraction of the way is how often it is rounded up, subnormal numbers included.
#[test]
fn rounding_is_right_on_average() {
    let n = 1 << 18;
    // The lower neighbour and the distance to the next.
    let cases = [
        (1.0, 2_f64.powi(-7), true),
        (-1.0, -2_f64.powi(-7), true),
        (1.5e-38, 2_f64.powi(-133), true),
        (2_f64.powi(-130), 2_f64.powi(-133), true),
        (1.0, 2_f64.powi(-10), false),
        (-1000.0, -0.5, false),
        (0.0, 2_f64.powi(-24), false),
        (3.0 * 2_f64.powi(-24), 2_f64.powi(-24), false),
        (2_f64.powi(-14) - 2_f64.powi(-24), 2_f64.powi(-24), false),
    ];
    for (lower, distance, is_bf16) in cases {
        let lower = if is_bf16 { bf16::from_f64(lower).to_f64() } else { f16::from_f64(lower).to_f64() };
        for f in [0.5, 0.25, 0.1, 1.0 / 64.0, 0.9] {
            let x = (lower + f * distance) as f32;
            let f = (f64::from(x) - lower) / distance;
            let g = vec![-x; n];
            let results: Vec<f64> = match is_bf16 {
                true => narrowed(&g, bf16::ZERO, 3).into_iter().map(f64::from).collect(),
                false => narrowed(&g, f16::ZERO, 3).into_iter().map(f64::from).collect(),
            };
            let ups = results.iter().filter(|result| **result == lower + distance).count();
            let downs = results.iter().filter(|result| **result == lower).count();
            assert_eq!(ups + downs, n, "{lower} and {distance}: {}", results[0]);
            let (share, error) = (ups as f64 / n as f64, (f * (1.0 - f) / n as f64).sqrt());
            // What is dropped beyond 16 bits is rounded down.
            assert!((share - f).abs() < 5.0 * error + 2_f64.powi(-16), "{x}: {share}, not {f}");
        }
    }
}

/// Exact numbers, infinity and NaN take no part, and a finite number is infinite only where the nearest
/// is.
#[test]
fn what_is_not_rounded() {
    let repeated = |x: f32| vec![-x; 4096];
    for x in (0..=u16::MAX).step_by(7) {
        let (b, h) = (bf16::from_bits(x), f16::from_bits(x));
        for seed in [1, 2] {
            let g = [-b.to_f32(); 64];
            let same = |result: bf16| result == b || result.is_nan() && b.is_nan();
            assert!(narrowed(&g, bf16::ZERO, seed).into_iter().all(same), "{b}");
            let g = [-h.to_f32(); 64];
            let same = |result: f16| result == h || result.is_nan() && h.is_nan();
            assert!(narrowed(&g, f16::ZERO, seed).into_iter().all(same), "{h}");
        }
    }
    // The nearest of the first is the largest number, of the second it is infinity.
    let cases = [(65_519.9, f16::MAX, true), (65_520.0, f16::MAX, false), (-65_519.9, f16::MIN, true)];
    for (x, largest, always) in cases {
        let results = narrowed(&repeated(x), f16::ZERO, 1);
        assert!(results.contains(&largest));
        assert_eq!(results.iter().all(|result| *result == largest), always, "{x}");
        assert!(results.iter().all(|result| *result == largest || result.is_infinite()));
    }
    assert!(narrowed(&repeated(1e30), f16::ZERO, 1).iter().all(|result| *result == f16::INFINITY));
    let half = f32::from_bits(0x7f7f_8000);
    for (x, always) in [(f32::from_bits(half.to_bits() - 1), true), (half, false), (f32::MAX, false)] {
        let results = narrowed(&repeated(x), bf16::ZERO, 1);
        let finite = results.iter().filter(|result| **result == bf16::MAX).count();
        assert!(results.iter().all(|result| *result == bf16::MAX || *result == bf16::INFINITY));
        assert!(finite > 0 || x == f32::MAX, "{x}");
        assert_eq!(finite == results.len(), always, "{x}");
    }
}

/// A seed is the same rounding everywhere, for ever. Worked out from the definition in
/// `reference::step`.
#[test]
fn the_bits_of_a_seed() {
    let bits = Bits { seed: 1, t: 2, ..PLAIN };
    let weight = random_bits(bits);
    let state = random_bits(Bits { of: Of::State, ..bits });
    assert_eq!(weight[..4], [500, 24_626, 2804, 28_126]);
    assert_eq!(state[..4], [58_606, 62_392, 2777, 30_271]);
}
