//! Random rounding: how far from random its bits are, seen through steps, and that it rounds right on
//! average.

use downhill::{
    Element, Extras, Form, Group, Momentum, Numbering, Optimizer, Rmsprop, Rounding, Sgd, States,
    Tensor, Threads, step,
};
use half::{bf16, f16};

#[path = "common/runner.rs"]
mod runner;
use runner::is_brief;

/// Elements whose bits are held against each other.
const N: usize = 1 << 16;

/// The values of an element that are rounded: its weight, and its states.
const VALUES: [&str; 4] = ["weight", "state 0", "state 1", "state 2"];

/// Where bits come from.
#[derive(Clone, Copy, Debug)]
struct Source {
    seed: u64,
    t: u64,
    first_element: u64,
}

const PLAIN: Source = Source { seed: 0, t: 1, first_element: 0 };

/// The values after a step from zeros with these gradients `g`, rounded to bfloat16, where the rules
/// make them so that each but for its sign is `g`.
fn rounded(source: Source, value: usize, g: &[f32]) -> Vec<bf16> {
    let momentum = Momentum { lr: 1.0, momentum: 0.0, form: Form::Torch, ..Momentum::default() };
    // v = g^2, g_avg = g, u = g / (0 + 1), as the momentum is 0 as an `f32`.
    let rmsprop =
        Rmsprop { alpha: 0.0, eps: 1.0, momentum: 1e-300, centered: true, ..Rmsprop::default() };
    let config: &dyn Optimizer = if value < 2 { &momentum } else { &rmsprop };
    let mut w = vec![bf16::ZERO; g.len()];
    let mut states = vec![w.clone(); config.states().len()];
    let slices: States<'_> = states.iter_mut().map(|state| &mut state[..]).collect();
    let mut tensor = Tensor::new(&mut w, g, slices);
    tensor.first_element = source.first_element;
    let mut tensors = [tensor];
    let mut group = Group::new(config, source.t, &mut tensors);
    group.rounding = Rounding::Stochastic { seed: source.seed };
    group.numbering = Numbering::Given;
    step(&mut [group], &Extras::default(), Threads::Caller).unwrap();
    match value {
        0 => w.into_iter().map(|w| -w).collect(),
        _ => states.swap_remove(value - 1),
    }
}

/// The 16 random bits of a value of each of `n` elements, found as a number is of which one is only told
/// whether it is larger: from 1 the fraction `f` of the way to the next bfloat16 is rounded up if `r` is
/// at least `(1−f)·2^16`.
fn random_bits(source: Source, value: usize, n: usize) -> Vec<u16> {
    let mut found = vec![0_u32; n];
    for bit in (0..16).rev() {
        let asked = found.iter().map(|found| found | 1 << bit);
        let x: Vec<f32> = asked.map(|r| f32::from_bits(1_f32.to_bits() + 0x1_0000 - r)).collect();
        for (found, rounded) in found.iter_mut().zip(rounded(source, value, &x)) {
            assert!(rounded == bf16::ONE || rounded.to_bits() == bf16::ONE.to_bits() + 1, "{rounded}");
            *found |= u32::from(rounded > bf16::ONE) << bit;
        }
    }
    found.into_iter().map(|found| found as u16).collect()
}

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

/// Each pair of bytes is as likely, which sees what no pair of bits does.
fn assert_jointly_uniform(pairs: impl Iterator<Item = (u16, u16)>, what: &str) {
    let pairs: Vec<_> = pairs.collect();
    let expected = pairs.len() as f64 / 65536.0;
    assert!(expected >= 4.0);
    for (shift_a, shift_b) in [(8, 8), (8, 0), (0, 8), (0, 0)] {
        let mut counts = vec![0_u32; 65536];
        for (a, b) in &pairs {
            counts[(usize::from(a >> shift_a & 0xff) << 8) + usize::from(b >> shift_b & 0xff)] += 1;
        }
        let chi_squared: f64 =
            counts.iter().map(|&count| (f64::from(count) - expected).powi(2) / expected).sum();
        // The mean is 65,535, and 5 standard deviations of 362.
        assert!(
            (chi_squared - 65535.0).abs() < 1810.0,
            "{what}, {shift_a} and {shift_b}: {chi_squared}"
        );
    }
}

#[test]
fn the_bits_are_uniform() {
    for (value, name) in VALUES.iter().enumerate() {
        for (seed, t) in [(0, 1), (7, 1000), (u64::MAX, 2)] {
            let bits = random_bits(Source { seed, t, ..PLAIN }, value, N);
            assert_uniform(&bits, &format!("{name}, seed {seed}, step {t}"));
        }
    }
}

/// Elements that share a word are 32 apart.
#[test]
fn elements_have_bits_of_their_own() {
    for (value, name) in VALUES.iter().enumerate() {
        let bits = random_bits(PLAIN, value, N);
        for apart in [1, 2, 3, 4, 8, 16, 31, 32, 33, 63, 64, 65, 128, 512, 4096, 16_384] {
            assert_independent(&bits[apart..], &bits[..N - apart], &format!("{name}, {apart} apart"));
        }
        // As far apart as tensors of a large model.
        for first_element in [1 << 20, 1 << 32, 1 << 40] {
            let far = random_bits(Source { first_element, ..PLAIN }, value, N);
            assert_independent(&bits, &far, &format!("{name}, {first_element} apart"));
        }
    }
}

#[test]
fn values_of_an_element_have_bits_of_their_own() {
    let all = [0, 1, 2, 3].map(|value| random_bits(PLAIN, value, N));
    for (a, b) in (0..4).flat_map(|a| (0..4).map(move |b| (a, b))).filter(|(a, b)| a != b) {
        for apart in [0, 1, 31, 32, 33, 64] {
            let what = format!("{} and, {apart} elements on, {}", VALUES[a], VALUES[b]);
            assert_independent(&all[a][..N - apart], &all[b][apart..], &what);
        }
    }
}

/// As above for all pairs of values that come from one word, and many more elements.
#[test]
fn values_that_share_a_word_are_jointly_uniform() {
    let n = if is_brief() { 1 << 19 } else { 1 << 20 };
    let all = [0, 1, 2, 3].map(|value| random_bits(PLAIN, value, n));
    for (a, b) in (0..4).flat_map(|a| (0..4).map(move |b| (a, b))) {
        // Of the first 32 elements of a block and of the others, each with itself and with the other.
        for (first, second) in [(0, 0), (0, 32), (32, 0), (32, 32)] {
            if (a, first) < (b, second) {
                let blocks = all[a].as_chunks::<64>().0.iter().zip(all[b].as_chunks::<64>().0);
                let pairs =
                    blocks.flat_map(|(a, b)| (0..32).map(move |i| (a[first + i], b[second + i])));
                let what = format!("{} from {first} and {} from {second}", VALUES[a], VALUES[b]);
                assert_jointly_uniform(pairs, &what);
            }
        }
    }
}

#[test]
fn steps_and_seeds_have_bits_of_their_own() {
    for (value, name) in VALUES.iter().enumerate() {
        let bits = random_bits(PLAIN, value, N);
        for t in [2, 3, 257, 1 << 32, u64::MAX] {
            let other = random_bits(Source { t, ..PLAIN }, value, N);
            assert_independent(&bits, &other, &format!("{name}, steps 1 and {t}"));
        }
        for seed in [1, 2, 1 << 32, 1 << 63, u64::MAX] {
            let other = random_bits(Source { seed, ..PLAIN }, value, N);
            assert_independent(&bits, &other, &format!("{name}, seeds 0 and {seed}"));
        }
        let [a, b] =
            [(5, 9), (9, 5)].map(|(seed, t)| random_bits(Source { seed, t, ..PLAIN }, value, N));
        assert_independent(&a, &b, &format!("{name}, seed and step exchanged"));
    }
}

#[test]
fn the_same_number_has_the_same_bits() {
    for value in 0..4 {
        let bits = random_bits(PLAIN, value, N);
        for first_element in [64, 128, 6400] {
            let moved = random_bits(Source { first_element, ..PLAIN }, value, N);
            let first_element = first_element as usize;
            assert_eq!(bits[first_element..], moved[..N - first_element]);
        }
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
    let bits = |value| random_bits(Source { seed: 1, t: 2, ..PLAIN }, value, 64);
    let at = |bits: Vec<u16>| [0, 1, 32, 33].map(|i| bits[i]);
    assert_eq!(
        [0, 1, 2, 3].map(|value| at(bits(value))),
        [
            [500, 24_626, 19_114, 60_746],
            [58_606, 62_392, 42_977, 11_397],
            [36_055, 10_261, 29_876, 3933],
            [19_083, 27_400, 22_387, 602]
        ]
    );
}
