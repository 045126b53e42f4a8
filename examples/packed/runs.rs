//! Training runs on the digits that differ in nothing but in how weights, gradients and states are held.

use std::error::Error;

use downhill::{
    Adam, Extras, Isa, Lion, Optimizer, PackedOptimizer, PackedTensor, Packing, Rounding, StateFormat,
    Threads, optimizer, packed_optimizer,
};
use trainer::{
    Mode, Options, Trainer,
    models::{Activation, Mlp, Model, SoftmaxRegression},
};

use crate::digits::{CLASSES, Digits, PIXELS, TRAINING};

pub type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// A rule with states of either kind.
pub struct Rule {
    pub plain: Box<dyn Optimizer>,
    pub packed: Box<dyn PackedOptimizer>,
}

pub fn adam(lr: f64) -> Rule {
    let config = Adam { lr, ..Adam::default() };
    Rule { plain: optimizer(config), packed: packed_optimizer(config) }
}

pub fn lion(lr: f64) -> Rule {
    let config = Lion { lr, ..Lion::default() };
    Rule { plain: optimizer(config), packed: packed_optimizer(config) }
}

/// How the numbers of a run are held between two steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Held {
    /// All of them in `f32`.
    Plain,
    /// Weights and gradients in `f32`, states packed.
    States(Packing),
    /// Weights and gradients in bfloat16, states packed.
    All(Packing),
}

/// At random, with the seed of each run.
pub const fn at_random(format: StateFormat) -> Packing {
    Packing { format, rounding: Rounding::Stochastic { seed: 0 } }
}

pub const fn to_nearest(format: StateFormat) -> Packing {
    Packing { format, rounding: Rounding::Nearest }
}

pub fn with_seed(packing: Packing, seed: u64) -> Packing {
    match packing.rounding {
        Rounding::Stochastic { .. } => Packing { rounding: Rounding::Stochastic { seed }, ..packing },
        Rounding::Nearest => packing,
    }
}

pub fn mlp() -> Mlp {
    Mlp::new(PIXELS, 64, CLASSES, Activation::Tanh).expect("sizes are at least 1")
}

pub fn softmax() -> SoftmaxRegression {
    SoftmaxRegression::new(PIXELS, CLASSES).expect("sizes are at least 1")
}

/// Mini-batches of the size that the example `train` has.
pub fn options(seed: u64) -> Options {
    Options { mode: Mode::MiniBatch { batch_size: 16 }, seed, ..Options::default() }
}

/// What came out of a run.
pub struct Outcome {
    /// The mean over the training digits, before the first epoch and after each.
    pub losses: Vec<f64>,
    /// The share of the test digits that are told right, from 0 to 1.
    pub accuracy: f64,
}

impl Outcome {
    pub fn final_loss(&self) -> f64 {
        self.losses[self.losses.len() - 1]
    }
}

/// Runs against those of `f32` from the same seeds.
#[derive(Clone, Copy, Debug)]
pub struct Comparison {
    /// The mean final loss.
    pub loss: f64,
    /// Of the mean final losses.
    pub ratio: Estimate,
    /// The mean accuracy, from 0 to 1.
    pub accuracy: f64,
    /// By which the accuracy is better, in points of 1 %.
    pub points: Estimate,
}

impl Comparison {
    pub fn new(outcomes: &[Outcome], plain: &[Outcome]) -> Self {
        let pairs = || outcomes.iter().zip(plain);
        let mean_plain = mean(plain.iter().map(Outcome::final_loss));
        let ratio = |(ours, plain): (&Outcome, &Outcome)| {
            1.0 + (ours.final_loss() - plain.final_loss()) / mean_plain
        };
        let points = |(ours, plain): (&Outcome, &Outcome)| 100.0 * (ours.accuracy - plain.accuracy);
        Self {
            loss: mean(outcomes.iter().map(Outcome::final_loss)),
            ratio: Estimate::new(pairs().map(ratio).collect()),
            accuracy: mean(outcomes.iter().map(|outcome| outcome.accuracy)),
            points: Estimate::new(pairs().map(points).collect()),
        }
    }

    /// The loss within 2 %, the accuracy within 0.3 points.
    pub fn is_close(&self) -> bool {
        self.is_no_worse() && self.ratio.mean >= 0.98 && self.points.mean <= 0.3
    }

    /// The loss at most 2 % higher, the accuracy at most 0.3 points lower.
    pub fn is_no_worse(&self) -> bool {
        self.ratio.mean <= 1.02 && self.points.mean >= -0.3
    }
}

/// A mean with its standard error.
#[derive(Clone, Copy, Debug)]
pub struct Estimate {
    pub mean: f64,
    pub error: f64,
}

impl Estimate {
    fn new(values: Vec<f64>) -> Self {
        let (n, mean) = (values.len() as f64, mean(values.iter().copied()));
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Self { mean, error: (squares / (n - 1.0) / n).sqrt() }
    }
}

pub fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let n = values.len() as f64;
    values.sum::<f64>() / n
}

/// One run. Initial weights, the order of the samples and random rounding come from `seed`.
pub fn train<M: Model<Target = usize>>(
    model: M,
    digits: &Digits,
    rule: &Rule,
    held: Held,
    seed: u64,
    epochs: u32,
) -> Result<Outcome> {
    let mut w = model.initial_weights(seed);
    if let Held::All(_) = held {
        w.iter_mut().for_each(|w| *w = widened(narrowed(w)));
    }
    let mut steps = Steps::new(rule, held, seed, w.len())?;
    let states = rule.plain.state_names().len();
    let mut trainer = Trainer::new(model, digits.training(), w, states, options(seed))?;
    let mut losses = vec![trainer.loss(digits.training())? / TRAINING as f64];
    for _ in 0..epochs {
        trainer.epoch(|w, g, states, t| steps.step(w, g, states, t))?;
        losses.push(trainer.loss(digits.training())? / TRAINING as f64);
    }
    Ok(Outcome { losses, accuracy: trainer.accuracy(digits.test())? })
}

/// A rule's steps, with the packed states that the trainer does not have.
pub struct Steps<'a> {
    rule: &'a Rule,
    isa: Isa,
    held: Held,
    pub state: Vec<u8>,
}

impl<'a> Steps<'a> {
    pub fn new(rule: &'a Rule, held: Held, seed: u64, n: usize) -> Result<Self> {
        let (held, bytes) = match held {
            Held::Plain => (held, Some(0)),
            Held::States(packing) => (Held::States(with_seed(packing, seed)), bytes(rule, packing, n)),
            Held::All(packing) => (Held::All(with_seed(packing, seed)), bytes(rule, packing, n)),
        };
        let state = vec![0; bytes.ok_or("too many weights")?];
        Ok(Self { rule, isa: Isa::current()?, held, state })
    }

    pub fn step(
        &mut self,
        w: &mut [f32],
        g: &mut [f32],
        states: &mut [&mut [f32]],
        t: u64,
    ) -> std::result::Result<(), downhill::Error> {
        match self.held {
            Held::Plain => self.rule.plain.step_on(self.isa, w, g, states, t)?,
            Held::States(packing) => self.step_states(w, g, &packing, t)?,
            Held::All(packing) => self.step_all(w, g, &packing, t)?,
        }
        Ok(())
    }

    fn step_states(
        &mut self,
        w: &mut [f32],
        g: &mut [f32],
        packing: &Packing,
        t: u64,
    ) -> std::result::Result<(), downhill::Error> {
        let tensor = PackedTensor { w, g, state: &mut self.state, first_element: 0 };
        let (extras, threads) = (Extras::default(), Threads::Caller);
        self.rule.packed.step_on(self.isa, &mut [tensor], t, packing, &extras, threads)?;
        Ok(())
    }

    /// The weights are numbers of bfloat16 already, so that narrowing does not change them.
    fn step_all(
        &mut self,
        w: &mut [f32],
        g: &mut [f32],
        packing: &Packing,
        t: u64,
    ) -> std::result::Result<(), downhill::Error> {
        let mut narrow_w: Vec<u16> = w.iter().map(narrowed).collect();
        let mut narrow_g: Vec<u16> = g.iter().map(narrowed).collect();
        let tensor = PackedTensor {
            w: &mut narrow_w,
            g: &mut narrow_g,
            state: &mut self.state,
            first_element: 0,
        };
        let (extras, threads) = (Extras::default(), Threads::Caller);
        self.rule.packed.step_bf16_on(self.isa, &mut [tensor], t, packing, &extras, threads)?;
        w.iter_mut().zip(narrow_w).for_each(|(w, narrow)| *w = widened(narrow));
        Ok(())
    }
}

fn bytes(rule: &Rule, packing: Packing, n: usize) -> Option<usize> {
    packing.format.bytes(rule.packed.state_names().len(), n)
}

/// The nearest number of bfloat16, the even one of two, for what is finite.
fn narrowed(x: &f32) -> u16 {
    let bits = x.to_bits();
    ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16
}

fn widened(x: u16) -> f32 {
    f32::from_bits(u32::from(x) << 16)
}
