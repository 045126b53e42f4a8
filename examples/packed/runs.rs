//! Training runs on the digits that differ in nothing but in how weights, gradients and states are held.

use std::error::Error;

use downhill::{
    Adam, Extras, Group, Lion, Optimizer, Report, Rounding, States, Tensor, Threads, Values, Weights,
    convert, state_bytes, step, unpack,
};
use half::bf16;
use trainer::{
    Mode, Options, Trainer,
    models::{Activation, Mlp, Model, SoftmaxRegression},
};

use crate::digits::{CLASSES, Digits, PIXELS, TRAINING};

pub type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

pub fn adam(lr: f64) -> Box<dyn Optimizer> {
    Adam { lr, ..Adam::default() }.into()
}

pub fn lion(lr: f64) -> Box<dyn Optimizer> {
    Lion { lr, ..Lion::default() }.into()
}

/// How the numbers of a run are held between two steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    pub weights: WeightType,
    pub states: StateType,
    /// To the nearest number, and not at random with the seed of each run.
    pub nearest: bool,
}

/// Of the weights. Gradients come in bfloat16 unless weights are `f32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightType {
    F32,
    Bf16,
    /// `f32` in two halves, of which the model runs on the upper one.
    Split,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateType {
    F32,
    Bf16,
    Bits8,
}

impl Held {
    pub const PLAIN: Self = held(WeightType::F32, StateType::F32);

    pub const fn nearest(self) -> Self {
        Self { nearest: true, ..self }
    }
}

/// Rounded at random.
pub const fn held(weights: WeightType, states: StateType) -> Held {
    Held { weights, states, nearest: false }
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
    rule: &dyn Optimizer,
    held: Held,
    seed: u64,
    epochs: u32,
) -> Result<Outcome> {
    let mut w = model.initial_weights(seed);
    let mut steps = Steps::new(rule, held, seed, &mut w)?;
    let mut trainer = Trainer::new(model, digits.training(), w, 0, options(seed))?;
    let mut losses = vec![trainer.loss(digits.training())? / TRAINING as f64];
    for _ in 0..epochs {
        trainer.epoch(|w, g, _, t| steps.step(w, g, t).map(drop))?;
        losses.push(trainer.loss(digits.training())? / TRAINING as f64);
    }
    Ok(Outcome { losses, accuracy: trainer.accuracy(digits.test())? })
}

/// A rule's steps, with all that the trainer does not have: it knows the weights that the model runs on,
/// in `f32`.
pub struct Steps<'a> {
    rule: &'a dyn Optimizer,
    rounding: Rounding,
    w: Narrow,
    state: State,
}

/// Weights of less than 32 bits.
enum Narrow {
    None,
    Bf16(Vec<bf16>),
    Split { high: Vec<bf16>, low: Vec<i16> },
}

enum State {
    F32(Vec<Vec<f32>>),
    Bf16(Vec<Vec<bf16>>),
    Bits8(Vec<u8>),
}

impl<'a> Steps<'a> {
    /// For a run from the weights `w`, which become those that the model runs on.
    pub fn new(rule: &'a dyn Optimizer, held: Held, seed: u64, w: &mut [f32]) -> Result<Self> {
        let n = w.len();
        let mut steps = Self {
            rule,
            rounding: if held.nearest { Rounding::Nearest } else { Rounding::Stochastic { seed } },
            w: match held.weights {
                WeightType::F32 => Narrow::None,
                WeightType::Bf16 => Narrow::Bf16(vec![bf16::ZERO; n]),
                WeightType::Split => Narrow::Split { high: vec![bf16::ZERO; n], low: vec![0; n] },
            },
            state: State::new(rule, held.states, n)?,
        };
        if let Some(narrow) = steps.w.weights() {
            convert(Values::F32(w), narrow)?;
        }
        steps.w.widen(w)?;
        Ok(steps)
    }

    pub fn step(
        &mut self,
        w: &mut [f32],
        g: &[f32],
        t: u64,
    ) -> std::result::Result<Report, downhill::Error> {
        let narrow_g: Vec<bf16>;
        let tensor = match self.w.weights() {
            None => Tensor::new(&mut *w, g, self.state.states()),
            Some(narrow_w) => {
                narrow_g = g.iter().map(|&g| bf16::from_f32(g)).collect();
                Tensor::new(narrow_w, &narrow_g, self.state.states())
            }
        };
        let mut tensors = [tensor];
        let mut group = Group::new(self.rule, t, &mut tensors);
        group.rounding = self.rounding;
        let report = step(&mut [group], &Extras::default(), Threads::Caller)?;
        self.w.widen(w)?;
        Ok(report)
    }

    /// The states as numbers.
    pub fn states(&self, n: usize) -> Result<Vec<Vec<f32>>> {
        Ok(match &self.state {
            State::F32(arrays) => arrays.clone(),
            State::Bf16(arrays) => {
                arrays.iter().map(|array| array.iter().map(|x| x.to_f32()).collect()).collect()
            }
            State::Bits8(bytes) => {
                let mut states = vec![vec![0.0; n]; self.rule.states().len()];
                let mut slices: Vec<&mut [f32]> = states.iter_mut().map(Vec::as_mut_slice).collect();
                unpack(self.rule, bytes, &mut slices)?;
                states
            }
        })
    }
}

impl Narrow {
    fn weights(&mut self) -> Option<Weights<'_>> {
        match self {
            Self::None => None,
            Self::Bf16(w) => Some(Weights::Bf16(w)),
            Self::Split { high, low } => Some(Weights::Split { high, low }),
        }
    }

    /// What the model runs on, if it is not `w` itself.
    fn widen(&self, w: &mut [f32]) -> std::result::Result<(), downhill::Error> {
        match self {
            Self::None => Ok(()),
            Self::Bf16(narrow) | Self::Split { high: narrow, .. } => {
                convert(Values::Bf16(narrow), Weights::F32(w))
            }
        }
    }
}

impl State {
    fn new(rule: &dyn Optimizer, states: StateType, n: usize) -> Result<Self> {
        let count = rule.states().len();
        Ok(match states {
            StateType::F32 => Self::F32(vec![vec![0.0; n]; count]),
            StateType::Bf16 => Self::Bf16(vec![vec![bf16::ZERO; n]; count]),
            StateType::Bits8 => Self::Bits8(vec![0; state_bytes(rule, n)?]),
        })
    }

    fn states(&mut self) -> States<'_> {
        match self {
            Self::F32(arrays) => arrays.iter_mut().map(|array| &mut array[..]).collect(),
            Self::Bf16(arrays) => arrays.iter_mut().map(|array| &mut array[..]).collect(),
            Self::Bits8(bytes) => bytes.into(),
        }
    }
}
