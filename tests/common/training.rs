//! Small models on made-up data, and runs of the trainer with any rule.
#![allow(dead_code, reason = "each test program uses its part")]

use std::fmt::Debug;

use downhill::{Error, Isa, Optimizer};
use trainer::{
    Mode, Options, Order, Reduction, Trainer,
    data::Data,
    models::{Activation, LinearRegression, Mlp, Model, SoftmaxRegression},
};

pub const INPUTS: usize = 5;
pub const OUTPUTS: usize = 3;
pub const SAMPLES: usize = 13;
pub const ORDERS: [Order; 3] = [Order::InOrder, Order::Shuffled, Order::WithReplacement];
pub const REDUCTIONS: [Reduction; 2] = [Reduction::Sum, Reduction::Mean];

pub fn linear() -> LinearRegression {
    LinearRegression::new(INPUTS, OUTPUTS).unwrap()
}

pub fn softmax() -> SoftmaxRegression {
    SoftmaxRegression::new(INPUTS, OUTPUTS).unwrap()
}

pub fn mlp(activation: Activation) -> Mlp {
    Mlp::new(INPUTS, 7, OUTPUTS, activation).unwrap()
}

/// Values in [−1, 1) without any pattern.
pub fn values(n: usize) -> Vec<f32> {
    let mut x = 1_u32;
    let mut next = || {
        x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (x >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

pub fn classes() -> Vec<usize> {
    (0..SAMPLES).map(|k| (k * k + 1) % OUTPUTS).collect()
}

/// Every mode, with mini-batches that do not divide the number of samples.
pub fn modes() -> [Mode; 4] {
    [
        Mode::FullBatch,
        Mode::Accumulated { batch_size: 4 },
        Mode::PerSample,
        Mode::MiniBatch { batch_size: 4 },
    ]
}

pub fn start<'a, M: Model + Copy>(
    model: &M,
    data: Data<'a, M::Target>,
    rule: &dyn Optimizer,
    options: Options,
) -> Trainer<'a, M> {
    let states = rule.states().len();
    Trainer::new(*model, data, model.initial_weights(5), states, options).unwrap()
}

/// With the kernels of `isa`, or the reference if there is none.
pub fn epoch<M: Model>(
    trainer: &mut Trainer<M>,
    rule: &dyn Optimizer,
    isa: Option<Isa>,
) -> Result<f64, Error> {
    trainer.epoch(|w, g, states, t| match isa {
        None => rule.reference_step(w, g, states, t),
        Some(isa) => rule.step_on(isa, w, g, states, t),
    })
}

pub fn run<'a, M: Model + Copy>(
    model: &M,
    data: Data<'a, M::Target>,
    rule: &dyn Optimizer,
    options: Options,
    epochs: usize,
) -> Trainer<'a, M> {
    let mut trainer = start(model, data, rule, options);
    for _ in 0..epochs {
        epoch(&mut trainer, rule, None).unwrap();
    }
    trainer
}

pub fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

#[track_caller]
pub fn assert_same_bits<M: Model>(a: &Trainer<M>, b: &Trainer<M>, what: &dyn Debug) {
    assert_eq!(bits(a.weights()), bits(b.weights()), "weights, {what:?}");
    assert_eq!(a.states().len(), b.states().len());
    for (k, (a, b)) in a.states().iter().zip(b.states()).enumerate() {
        assert_eq!(bits(a), bits(b), "state {k}, {what:?}");
    }
}
