//! What the tests share: every rule with every option, arrays of any values, and bitwise comparison.
#![allow(dead_code, unused_imports, reason = "each test program uses its part")]

use downhill::{
    Error, Extras, Group, Hyperparameter, Isa, Optimizer, Range, Report, States, Tensor, Threads,
    reference, rules, step_on,
};
use proptest::prelude::*;

pub mod owned;
mod rules;
pub mod runner;
pub mod sharing;

pub use rules::{Rule, every_option, is_accepted, options_of, with};

/// Any rule with any hyper-parameters that it accepts, the ends of their ranges included.
pub fn any_rule() -> impl Strategy<Value = Rule> {
    prop::sample::select(rules())
        .prop_flat_map(|rule| {
            let parameters = rule.hyperparameters();
            let values: Vec<_> = parameters.iter().map(any_value_of).collect();
            values.prop_map(move |values| {
                parameters
                    .iter()
                    .zip(values)
                    .fold(rule.clone(), |rule, (parameter, value)| with(&rule, parameter.name, value))
            })
        })
        .prop_filter("options that do not go together", is_accepted)
}

fn any_value_of(parameter: &Hyperparameter) -> BoxedStrategy<f64> {
    const BELOW_ONE: f64 = 1.0 - f64::EPSILON / 2.0;
    match parameter.range {
        Range::OneOf(names) => (0..names.len()).prop_map(|place| place as f64).boxed(),
        Range::BelowOne => prop_oneof![1 => Just(0.0), 1 => Just(BELOW_ONE), 2 => 0.0..1.0].boxed(),
        Range::UpToOne => prop_oneof![2 => Just(0.0), 1 => Just(1.0), 3 => 0.0..1.0].boxed(),
        Range::Positive => prop_oneof![Just(1e-38), Just(1.0), 1e-10..1.0, 1.0..1e3].boxed(),
        // The largest rate is refused at some steps, by what is derived from it.
        _ if parameter.name == "lr" => {
            prop_oneof![Just(0.0), Just(1e-45), Just(1.0), 1e-10..1.0, 1.0..1e3].boxed()
        }
        _ => prop_oneof![
            4 => Just(0.0),
            4 => Just(1e-45),
            4 => Just(1.0),
            4 => 1e-10..1.0,
            4 => 1.0..1e3,
            1 => Just(f32::MAX.into()),
        ]
        .boxed(),
    }
}

/// Ordinary numbers, every special kind, and any bits at all.
pub fn any_value() -> impl Strategy<Value = f32> {
    prop_oneof![
        8 => -2.0_f32..2.0,
        2 => prop::sample::select(vec![
            0.0, -0.0, 1e-45, -1e-45, 1e-40, -1e-39, f32::MIN_POSITIVE, f32::MAX, f32::MIN,
            f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 1e-20, 1e20,
        ]),
        1 => any::<u32>().prop_map(f32::from_bits),
    ]
}

/// Lengths around every multiple of a vector's, most of them small.
pub fn any_length() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 0_usize..=33, 1 => 34_usize..=130, 1 => 1000_usize..=1040]
}

/// The arrays of a rule: `w`, a gradient, and the states.
#[derive(Clone, Debug)]
pub struct Arrays {
    pub w: Vec<f32>,
    pub g: Vec<f32>,
    pub state: Vec<Vec<f32>>,
}

impl Arrays {
    /// `n` elements from each of the endless sequences that `value` makes for array 0, 1, ...
    pub fn new(rule: &dyn Optimizer, n: usize, mut value: impl FnMut() -> f32) -> Self {
        let mut array = || (0..n).map(|_| value()).collect::<Vec<_>>();
        Self { w: array(), g: array(), state: rule.states().iter().map(|_| array()).collect() }
    }

    /// Cuts `values` up into the arrays of `rule`.
    pub fn from_values(rule: &dyn Optimizer, n: usize, values: &[f32]) -> Self {
        let mut values = values.iter().copied();
        Self::new(rule, n, || values.next().expect("enough values"))
    }

    pub fn len(&self) -> usize {
        self.w.len()
    }

    /// A step over the elements from `from` to `to`, with the kernel of `isa`.
    pub fn step(&mut self, rule: &dyn Optimizer, isa: Isa, t: u64, from: usize, to: usize) {
        self.try_step(rule, Some(isa), t, from, to).unwrap();
    }

    /// The reference's step over all elements.
    pub fn reference_step(&mut self, rule: &dyn Optimizer, t: u64) {
        self.try_step(rule, None, t, 0, self.len()).unwrap();
    }

    /// A step over a range with the kernel of an ISA, or with the reference.
    pub fn try_step(
        &mut self,
        rule: &dyn Optimizer,
        isa: Option<Isa>,
        t: u64,
        from: usize,
        to: usize,
    ) -> Result<(), Error> {
        let (w, g) = (&mut self.w[from..to], &self.g[from..to]);
        let mut state: Vec<&mut [f32]> = self.state.iter_mut().map(|x| &mut x[from..to]).collect();
        match isa {
            Some(isa) => rule.step_on(isa, w, g, &mut state, t),
            None => rule.reference_step(w, g, &mut state, t),
        }
    }

    /// Tensors of these lengths, one after the other, with gradients that can be set to zero.
    pub fn tensors(&mut self, lengths: &[usize]) -> Vec<Tensor<'_>> {
        let states = self.state.iter_mut().map(|state| &mut state[..]);
        tensors(&mut self.w, &mut self.g, states, lengths)
    }

    /// A whole step over these tensors, with the kernels of an ISA or by the reference.
    pub fn whole_step(
        &mut self,
        rule: &dyn Optimizer,
        isa: Option<Isa>,
        lengths: &[usize],
        t: u64,
        extras: &Extras,
        threads: Threads<'_>,
    ) -> Result<Report, Error> {
        let mut tensors = self.tensors(lengths);
        let mut groups = [Group::new(rule, t, &mut tensors)];
        match isa {
            Some(isa) => step_on(isa, &mut groups, extras, threads),
            None => reference::step(&mut groups, extras),
        }
    }

    fn arrays(&self) -> impl Iterator<Item = &Vec<f32>> {
        [&self.w, &self.g].into_iter().chain(&self.state)
    }

    /// Where the first element is whose bits differ, if any do. A NaN is like any other.
    pub fn difference(&self, other: &Self) -> Option<String> {
        for (k, (ours, theirs)) in self.arrays().zip(other.arrays()).enumerate() {
            assert_eq!(ours.len(), theirs.len());
            for (i, (a, b)) in ours.iter().zip(theirs).enumerate() {
                if !same(*a, *b) {
                    return Some(format!("array {k}, element {i} of {}: {a:e}, not {b:e}", ours.len()));
                }
            }
        }
        None
    }
}

/// Tensors of these lengths, one after the other in these arrays.
pub fn tensors<'a>(
    mut w: &'a mut [f32],
    mut g: &'a mut [f32],
    states: impl Iterator<Item = &'a mut [f32]>,
    lengths: &[usize],
) -> Vec<Tensor<'a>> {
    let mut states: Vec<_> = states.collect();
    let tensors = lengths.iter().map(|&len| {
        let w = w.split_off_mut(..len).expect("long enough");
        let g = g.split_off_mut(..len).expect("long enough");
        let state: States<'_> =
            states.iter_mut().map(|state| state.split_off_mut(..len).expect("long enough")).collect();
        Tensor::new(w, g, state)
    });
    tensors.collect()
}

/// The same bits in all fields; a NaN is like any other.
pub fn same_report(a: &Report, b: &Report) -> bool {
    let same_f64 = |a: f64, b: f64| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
    let norms = match (a.grad_norm, b.grad_norm) {
        (Some(a), Some(b)) => same_f64(a, b),
        (None, None) => true,
        _ => false,
    };
    let places = match (a.nonfinite, b.nonfinite) {
        (Some(a), Some(b)) => {
            (a.group, a.tensor, a.element) == (b.group, b.tensor, b.element) && same(a.value, b.value)
        }
        (None, None) => true,
        _ => false,
    };
    norms
        && places
        && (a.skipped, a.tensors_updated) == (b.skipped, b.tensors_updated)
        && same_f64(a.applied_scale, b.applied_scale)
}

/// The same bits; a NaN's payload is not part of the contract.
pub fn same(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

/// Numbers in (-1, 1) from a fixed sequence, for tests that need many values and no shrinking.
pub fn uniform() -> impl FnMut() -> f32 {
    uniform_from(1)
}

/// Another such sequence for each seed.
pub fn uniform_from(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

/// As [`uniform`], with one in eight a zero, a subnormal, tiny, huge, infinite or NaN.
pub fn mixed() -> impl FnMut() -> f32 {
    mixed_from(1)
}

/// Another such sequence for each seed.
pub fn mixed_from(seed: u64) -> impl FnMut() -> f32 {
    let special = [0.0, -0.0, 1e-40, -3e-45, 1e-20, 3e38, f32::INFINITY, f32::NAN];
    let mut next = uniform_from(seed);
    move || {
        let choice = ((next() + 1.0) * 32.0) as usize;
        special.get(choice).copied().unwrap_or_else(&mut next)
    }
}

/// Where [`fnv1a`] begins.
pub const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;

/// Fowler, Noll and Vo's hash, continued over these bytes.
pub fn fnv1a(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// This many cases, if the environment does not say how many.
pub fn config(cases: u32) -> ProptestConfig {
    let default = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => default,
        None => ProptestConfig { cases, ..default },
    }
}
