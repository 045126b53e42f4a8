//! What the tests share: every rule with every option, arrays of any values, and bitwise comparison.
#![allow(dead_code, reason = "each test program uses its part")]

use downhill::{
    Adadelta, Adagrad, Adam, Adamax, Adamw, Amsgrad, BiasCorrection, Decay, Error, Form, Isa, Lion,
    Momentum, Nadam, Nesterov, Optimizer, Report, Rmsprop, Sgd,
};
use proptest::prelude::*;

pub mod owned;
pub mod runner;

pub type Rule = Box<dyn Optimizer>;

pub fn optimizer(config: impl Optimizer + 'static) -> Rule {
    config.into()
}

/// No decay, and both kinds of it.
const DECAYS: [(Decay, f64); 3] = [(Decay::L2, 0.0), (Decay::L2, 0.1), (Decay::Decoupled, 0.1)];

/// Every rule with every combination of its options.
pub fn every_option() -> Vec<Rule> {
    DECAYS.into_iter().flat_map(|(decay, weight_decay)| with_decay(decay, weight_decay)).collect()
}

fn with_decay(decay: Decay, weight_decay: f64) -> Vec<Rule> {
    let (lr, momentum, eps, beta1, beta2) = (0.05, 0.8, 1e-6, 0.8, 0.99);
    let mut rules = vec![
        optimizer(Sgd { lr, weight_decay, decay }),
        optimizer(Adagrad { lr, eps, weight_decay, decay }),
        optimizer(Adadelta { lr, rho: 0.8, eps, weight_decay, decay }),
        optimizer(Adamax { lr, beta1, beta2, eps, weight_decay, decay }),
        optimizer(Nadam { lr, beta1, beta2, eps, momentum_decay: 0.01, weight_decay, decay }),
        optimizer(Lion { lr, beta1, beta2, weight_decay, decay }),
    ];
    for (form, dampening) in [(Form::Classic, 0.0), (Form::Torch, 0.0), (Form::Torch, 0.3)] {
        rules.push(optimizer(Momentum { lr, momentum, dampening, form, weight_decay, decay }));
    }
    for form in [Form::Classic, Form::Torch] {
        rules.push(optimizer(Nesterov { lr, momentum, form, weight_decay, decay }));
    }
    for (centered, momentum) in [(false, 0.0), (false, 0.8), (true, 0.0), (true, 0.8)] {
        rules.push(optimizer(Rmsprop { lr, alpha: 0.9, eps, momentum, centered, weight_decay, decay }));
    }
    for bias_correction in [BiasCorrection::Step, BiasCorrection::Constant, BiasCorrection::None] {
        let config = Adam { lr, beta1, beta2, eps, bias_correction, weight_decay, decay };
        rules.extend([optimizer(config), adamw(config), optimizer(Amsgrad(config))]);
    }
    rules
}

/// AdamW with these hyper-parameters; Adam where the decay is not AdamW's.
pub fn adamw(config: Adam) -> Rule {
    let Adam { lr, beta1, beta2, eps, bias_correction, weight_decay, decay } = config;
    match decay {
        Decay::L2 => optimizer(config),
        Decay::Decoupled => optimizer(Adamw { lr, beta1, beta2, eps, bias_correction, weight_decay }),
    }
}

/// Any rule with any hyper-parameters in their ranges, the ends included.
pub fn any_rule() -> impl Strategy<Value = Rule> {
    (0..RULES.len(), any_hyperparameters()).prop_map(|(rule, x)| RULES[rule](x))
}

/// A value for every hyper-parameter that a rule may have.
#[derive(Clone, Copy, Debug)]
struct Hyperparameters {
    lr: f64,
    eps: f64,
    momentum_decay: f64,
    beta1: f64,
    beta2: f64,
    weight_decay: f64,
    decay: Decay,
    form: Form,
    dampening: f64,
    bias_correction: BiasCorrection,
    centered: bool,
}

fn any_hyperparameters() -> impl Strategy<Value = Hyperparameters> {
    let magnitude = || prop_oneof![Just(0.0), Just(1e-45), Just(1.0), 1e-10..1e3];
    let fraction = || prop_oneof![Just(0.0), Just(1.0 - f64::EPSILON / 2.0), 0.0..1.0];
    let decay = (prop_oneof![Just(0.0), 0.0..2.0], prop_oneof![Just(Decay::L2), Just(Decay::Decoupled)]);
    let form = prop_oneof![
        Just((Form::Classic, 0.0)),
        prop_oneof![Just(1.0), 0.0..1.0].prop_map(|dampening| (Form::Torch, dampening))
    ];
    let bias_correction = prop_oneof![
        Just(BiasCorrection::Step),
        Just(BiasCorrection::Constant),
        Just(BiasCorrection::None)
    ];
    let magnitudes = (magnitude(), magnitude(), magnitude());
    (magnitudes, (fraction(), fraction()), decay, form, bias_correction, any::<bool>()).prop_map(
        |((lr, eps, momentum_decay), (beta1, beta2), decay, form, bias_correction, centered)| {
            let (weight_decay, decay) = decay;
            let (form, dampening) = form;
            Hyperparameters {
                lr,
                eps,
                momentum_decay,
                beta1,
                beta2,
                weight_decay,
                decay,
                form,
                dampening,
                bias_correction,
                centered,
            }
        },
    )
}

impl Hyperparameters {
    fn adam(self) -> Adam {
        let Self { lr, eps, beta1, beta2, weight_decay, decay, bias_correction, .. } = self;
        Adam { lr, beta1, beta2, eps, bias_correction, weight_decay, decay }
    }
}

/// Each rule with these hyper-parameters, as far as it has them.
const RULES: [fn(Hyperparameters) -> Rule; 12] = [
    |Hyperparameters { lr, weight_decay, decay, .. }| optimizer(Sgd { lr, weight_decay, decay }),
    |Hyperparameters { lr, beta1: momentum, dampening, form, weight_decay, decay, .. }| {
        optimizer(Momentum { lr, momentum, dampening, form, weight_decay, decay })
    },
    |Hyperparameters { lr, beta1: momentum, form, weight_decay, decay, .. }| {
        optimizer(Nesterov { lr, momentum, form, weight_decay, decay })
    },
    |Hyperparameters { lr, eps, weight_decay, decay, .. }| {
        optimizer(Adagrad { lr, eps, weight_decay, decay })
    },
    |Hyperparameters { lr, beta1: rho, eps, weight_decay, decay, .. }| {
        optimizer(Adadelta { lr, rho, eps, weight_decay, decay })
    },
    |Hyperparameters {
         lr, beta2: alpha, eps, beta1: momentum, weight_decay, decay, centered, ..
     }| { optimizer(Rmsprop { lr, alpha, eps, momentum, centered, weight_decay, decay }) },
    |x| optimizer(x.adam()),
    |x| adamw(x.adam()),
    |x| optimizer(Amsgrad(x.adam())),
    |Hyperparameters { lr, beta1, beta2, eps, weight_decay, decay, .. }| {
        optimizer(Adamax { lr, beta1, beta2, eps, weight_decay, decay })
    },
    |Hyperparameters { lr, beta1, beta2, eps, momentum_decay, weight_decay, decay, .. }| {
        optimizer(Nadam { lr, beta1, beta2, eps, momentum_decay, weight_decay, decay })
    },
    |Hyperparameters { lr, beta1, beta2, weight_decay, decay, .. }| {
        optimizer(Lion { lr, beta1, beta2, weight_decay, decay })
    },
];

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

    fn arrays(&self) -> impl Iterator<Item = &Vec<f32>> {
        [&self.w, &self.g].into_iter().chain(&self.state)
    }

    /// Where the first element stands whose bits differ, if any do. A NaN is like any other.
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

/// Slices of these lengths, one behind the other.
pub fn cut<'a, T>(mut array: &'a [T], lengths: &[usize]) -> impl Iterator<Item = &'a [T]> {
    assert_eq!(array.len(), lengths.iter().sum::<usize>());
    lengths.iter().map(move |&len| array.split_off(..len).expect("long enough"))
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

/// Fowler, Noll and Vo's hash, so many bytes further.
pub fn fnv1a(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}
