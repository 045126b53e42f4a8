//! Large fixed runs of every rule with every option. The hashes of their bits are kept here, so that all
//! CPUs, instruction sets, compilers and releases can be held against each other.

mod common;

use common::{
    Arrays, OFFSET_BASIS, every_option, fnv1a, mixed_from,
    owned::{Floats, Owned, Types},
    runner::is_brief,
    uniform_from,
};
use downhill::{Extras, Group, Isa, Optimizer, Pool, Rounding, Threads, reference, step_on};

const N: usize = 10_007;
const STEPS: u64 = 10;

/// Tensors of the whole steps.
const LENGTHS: [usize; 5] = [2 * 4096 + 5, 1, 0, 17, N - 2 * 4096 - 23];

/// A line for each rule: its name, and hashes of the bits of all weights, gradients and states, of all its
/// options together: of plain steps; of whole steps with scale, norm, clipping and zeroing, over `f32`;
/// and of whole steps over each combination of types.
const HASHES: &str = include_str!("fixed_run.txt");

#[test]
fn every_instruction_set_has_these_bits() {
    let all = Isa::available();
    // In an emulator the widest, of which there is no other machine.
    let skipped = if is_brief() { all.len() - 1 } else { 0 };
    for isa in all.into_iter().skip(skipped) {
        check(Some(isa), isa.name());
    }
}

#[test]
fn the_reference_has_these_bits() {
    check(None, "reference");
}

fn check(isa: Option<Isa>, name: &str) {
    let hashes = hashes(isa);
    let text: String = hashes
        .iter()
        .map(|(rule, [plain, whole, mixed])| {
            format!("{rule} {plain:#018x} {whole:#018x} {mixed:#018x}\n")
        })
        .collect();
    assert!(text == HASHES, "{name} has other bits than tests/fixed_run.txt:\n{text}");
    println!("{name}: the bits of the fixed runs");
}

/// By the kernels of an instruction set, or by the reference.
fn hashes(isa: Option<Isa>) -> Vec<(&'static str, [u64; 3])> {
    let pool = Pool::new(2);
    let mut hashes: Vec<(&str, [u64; 3])> = Vec::new();
    for rule in every_option() {
        if hashes.last().is_none_or(|(name, _)| *name != rule.name()) {
            hashes.push((rule.name(), [OFFSET_BASIS; 3]));
        }
        let (_, [plain, whole, mixed]) = hashes.last_mut().expect("it was just pushed");
        for (hash, arrays) in [(plain, steps(&*rule, isa)), (whole, whole_steps(&*rule, isa, &pool))] {
            for x in [&arrays.w, &arrays.g].into_iter().chain(&arrays.state).flatten() {
                *hash = with_bits(*hash, *x);
            }
        }
        for types in Types::all(&*rule) {
            *mixed = mixed_steps(*mixed, &*rule, isa, types);
        }
    }
    hashes
}

/// A NaN's sign and payload are not promised.
fn with_bits(hash: u64, x: f32) -> u64 {
    let bits = if x.is_nan() { 0x7fc0_0000 } else { x.to_bits() };
    fnv1a(hash, &bits.to_le_bytes())
}

/// Weights from a fixed sequence, and states of zeros.
fn start(rule: &dyn Optimizer, seed: u64) -> Arrays {
    let mut arrays = Arrays::new(rule, N, uniform_from(seed));
    arrays.state.iter_mut().for_each(|state| state.fill(0.0));
    arrays
}

/// Ordinary gradients for one half of the elements, any for the other.
fn steps(rule: &dyn Optimizer, isa: Option<Isa>) -> Arrays {
    let mut arrays = start(rule, 1);
    for t in 1..=STEPS {
        let (mut ordinary, mut any) = (uniform_from(t), mixed_from(t));
        for (i, g) in arrays.g.iter_mut().enumerate() {
            *g = if i < N / 2 { ordinary() } else { any() };
        }
        arrays.try_step(rule, isa, t, 0, N).unwrap();
    }
    arrays
}

/// Whole steps that scale, clip and zero.
fn whole_steps(rule: &dyn Optimizer, isa: Option<Isa>, pool: &Pool) -> Arrays {
    let extras = Extras { grad_scale: 0.5, max_norm: 3.0, zero_grad: true, ..Extras::default() };
    let mut arrays = start(rule, 2);
    for t in 1..=STEPS {
        arrays.g.fill_with(uniform_from(STEPS + t));
        if t == STEPS {
            arrays.g[N - 1] = 1e30;
        }
        arrays.whole_step(rule, isa, &LENGTHS, t, &extras, Threads::Pool(pool)).unwrap();
    }
    arrays
}

/// The hash after whole steps over tensors of these types, rounded at random and to nearest.
fn mixed_steps(mut hash: u64, rule: &dyn Optimizer, isa: Option<Isa>, types: Types) -> u64 {
    for rounding in [Rounding::Stochastic { seed: 0x1234_5678_9abc_def0 }, Rounding::Nearest] {
        let mut tensors = [70, 129].map(|n| Owned::new(rule, n, types, uniform_from(n as u64)).fresh());
        for t in 1..=3 {
            for tensor in &mut tensors {
                let mut any = mixed_from(t);
                let (n, float) = (tensor.len(), types.g);
                tensor.g = Some(Floats::new(float, (0..n).map(|_| any())));
            }
            let mut list: Vec<_> = tensors.iter_mut().map(|tensor| tensor.tensor(false)).collect();
            let mut group = Group::new(rule, t, &mut list);
            group.rounding = rounding;
            let extras = Extras { grad_scale: -0.75, ..Extras::default() };
            match isa {
                Some(isa) => step_on(isa, &mut [group], &extras, Threads::Caller).unwrap(),
                None => reference::step(&mut [group], &extras).unwrap(),
            };
        }
        for tensor in &tensors {
            hash = tensor.floats().flatten().fold(hash, with_bits);
            let low = tensor.low.iter().flatten().flat_map(|low| low.to_le_bytes());
            hash = fnv1a(hash, &low.collect::<Vec<_>>());
            hash = fnv1a(hash, tensor.codes.as_deref().unwrap_or_default());
        }
    }
    hash
}
