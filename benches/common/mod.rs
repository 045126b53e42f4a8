//! What both benchmarks share: the rules, arrays to step, and the check that comes before any timing.

use std::ops::{Deref, DerefMut};

use downhill::{Hyperparameter, Optimizer, Range};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// Every rule that is timed, and its name in the tables; and once more with all its states, where
/// options add some. A new one is in it by itself. (To be compared with C it needs a loop in `c/loops.c`.)
pub fn rules() -> Vec<(String, Box<dyn Optimizer>)> {
    let rules = downhill::rules().into_iter();
    rules
        .flat_map(|rule| [Some((rule.name().to_owned(), rule.clone())), larger(rule)])
        .flatten()
        .collect()
}

/// What numbers are that add a state.
pub const OPTION: f64 = 0.9;

/// The rule with the options that add states, and their names after its own.
fn larger(mut rule: Box<dyn Optimizer>) -> Option<(String, Box<dyn Optimizer>)> {
    let mut name = rule.name().to_owned();
    let without = rule.states().len();
    for Hyperparameter { name: option, value, range, .. } in rule.hyperparameters() {
        let other = match range {
            Range::OneOf(_) => 1.0,
            _ if value == 0.0 => OPTION,
            _ => continue,
        };
        let mut with = rule.clone();
        with.set(option, other).expect("it has this one");
        if with.states().len() > rule.states().len() {
            name = format!("{name}_{option}");
            rule = with;
        }
    }
    (rule.states().len() > without).then_some((name, rule))
}

/// The number of the step that every call takes. Not small: what a rule derives from `t` costs more for
/// a larger one.
pub const T: u64 = 10_000;

/// What a step has to move for each element: `g` is read, `w` and every state are read and written.
pub fn bytes_per_element(rule: &dyn Optimizer) -> usize {
    size_of::<f32>() * (1 + 2 * (1 + rule.states().len()))
}

/// Panics unless `step` gives the bits of the reference, three times in a row, with and without a tail.
pub fn assert_reference_bits(rule: &dyn Optimizer, name: &str, step: impl Fn(&mut Arrays)) {
    for n in (0..=70).chain([1000]) {
        let mut arrays = Arrays::new(rule, n, n as u64);
        let mut expected = Arrays::new(rule, n, n as u64);
        for _ in 0..3 {
            step(&mut arrays);
            let (w, g, mut state) = expected.parts();
            rule.reference_step(w, g, &mut state, T).expect("valid arguments");
        }
        assert!(arrays.bits() == expected.bits(), "{name} differs from the reference at n = {n}");
    }
}

/// One array, at its own place in a page.
struct Array {
    buffer: Vec<f32>,
    offset: usize,
    n: usize,
}

impl Array {
    /// A page starts anywhere in the buffer, but the offset moves the array over the whole page in steps
    /// of 16 bytes, all the alignment that an allocator promises.
    fn new(n: usize, rng: &mut Pcg64Mcg, value: impl Fn(&mut Pcg64Mcg) -> f32) -> Self {
        const PAGE: usize = 4096 / size_of::<f32>();
        const STEP: usize = 16 / size_of::<f32>();
        let mut buffer = vec![0.0; n + PAGE];
        let offset = STEP * rng.random_range(0..PAGE / STEP);
        buffer[offset..offset + n].fill_with(|| value(rng));
        Self { buffer, offset, n }
    }
}

impl Deref for Array {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.buffer[self.offset..self.offset + self.n]
    }
}

impl DerefMut for Array {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.buffer[self.offset..self.offset + self.n]
    }
}

/// The arrays of one step, allocated one by one as a user would.
pub struct Arrays {
    w: Array,
    g: Array,
    state: Vec<Array>,
}

impl Arrays {
    /// Values of the order of 1, and no state is negative. With the default learning rates neither they
    /// nor what millions of steps make of them is subnormal, infinite or NaN.
    pub fn new(rule: &dyn Optimizer, n: usize, seed: u64) -> Self {
        let rng = &mut Pcg64Mcg::seed_from_u64(seed);
        let positive = |rng: &mut Pcg64Mcg| rng.random_range(0.25..1.0);
        let signed = |rng: &mut Pcg64Mcg| {
            let sign = if rng.random_bool(0.5) { 1.0 } else { -1.0 };
            sign * rng.random_range(0.25..1.0)
        };
        Self {
            w: Array::new(n, rng, signed),
            g: Array::new(n, rng, signed),
            state: rule.states().iter().map(|_| Array::new(n, rng, positive)).collect(),
        }
    }

    /// As the arguments of a step.
    pub fn parts(&mut self) -> (&mut [f32], &mut [f32], Vec<&mut [f32]>) {
        (&mut self.w, &mut self.g, self.state.iter_mut().map(|array| &mut **array).collect())
    }

    fn bits(&self) -> Vec<u32> {
        let arrays = [&self.w, &self.g].into_iter().chain(&self.state);
        arrays.flat_map(|array| array.iter().map(|x| x.to_bits())).collect()
    }
}
