//! Training runs: the same twice, by reference and by kernels, and trials of learning rates.

use std::{
    error::Error,
    time::{Duration, Instant},
};

use downhill::{Isa, Optimizer};
use indicatif::ProgressBar;
use trainer::{
    Trainer,
    models::{Mlp, Model},
};

use crate::{
    arguments::Arguments,
    digits::{Digits, TRAINING},
    variants::Variant,
};

/// The learning rates that are tried.
pub const RATES: [f64; 9] = [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0];

/// What came out of a rule's two runs.
pub struct Outcome {
    pub rule: String,
    pub lr: f64,
    /// The mean over the training digits, before the first epoch and after each.
    pub losses: Vec<f64>,
    pub accuracy: f64,
    /// Time of all steps.
    pub reference: Duration,
    pub kernels: Duration,
    pub same_bits: bool,
}

/// What all runs share.
pub struct All<'a> {
    pub arguments: &'a Arguments,
    pub digits: &'a Digits,
    pub isa: Isa,
    pub bar: &'a ProgressBar,
}

/// Epochs that a rule takes: the trials, if there are any, and the training.
pub fn epochs(arguments: &Arguments) -> u32 {
    let trials = if arguments.lr.is_some() { 0 } else { RATES.len() as u32 * trial_epochs(arguments) };
    trials + arguments.epochs
}

/// Epochs of one trial.
fn trial_epochs(arguments: &Arguments) -> u32 {
    arguments.epochs.div_ceil(10)
}

impl All<'_> {
    /// Both runs of a rule, epoch by epoch in turns, so that neither has the machine's better moments.
    pub fn train(&self, Variant { name, mut rule }: Variant) -> Result<Outcome, Box<dyn Error>> {
        let Self { arguments, digits, isa, bar } = *self;
        let lr = arguments.lr.map_or_else(|| self.good_rate(rule.clone()), Ok)?;
        rule.set("lr", lr)?;
        let mut reference = Run::new(arguments, digits, &*rule, None)?;
        let mut kernels = Run::new(arguments, digits, &*rule, Some(isa))?;
        let mut losses = vec![kernels.mean_loss(digits)?];
        for epoch in 0..arguments.epochs {
            let turns = match epoch % 2 {
                0 => [&mut reference, &mut kernels],
                _ => [&mut kernels, &mut reference],
            };
            for run in turns {
                run.epoch()?;
            }
            losses.push(kernels.mean_loss(digits)?);
            bar.inc(1);
        }
        Ok(Outcome {
            rule: name,
            lr,
            losses,
            accuracy: kernels.trainer.accuracy(digits.test())?,
            same_bits: same_bits(&reference.trainer, &kernels.trainer),
            reference: reference.time,
            kernels: kernels.time,
        })
    }

    /// The smallest rate with which a few epochs come to at most twice the least loss. The one with the
    /// least is good for a short run, and too large for a long one.
    fn good_rate(&self, rule: Box<dyn Optimizer>) -> Result<f64, Box<dyn Error>> {
        let losses = RATES.map(|lr| self.trial(rule.clone(), lr));
        let losses: Vec<f64> = losses.into_iter().collect::<Result<_, _>>()?;
        let least = losses.iter().copied().fold(f64::INFINITY, f64::min);
        let good = losses.iter().position(|loss| *loss <= 2.0 * least);
        Ok(RATES[good.unwrap_or(0)])
    }

    fn trial(&self, mut rule: Box<dyn Optimizer>, lr: f64) -> Result<f64, Box<dyn Error>> {
        rule.set("lr", lr)?;
        let mut run = Run::new(self.arguments, self.digits, &*rule, Some(self.isa))?;
        for _ in 0..trial_epochs(self.arguments) {
            run.epoch()?;
            self.bar.inc(1);
        }
        run.mean_loss(self.digits)
    }
}

struct Run<'a> {
    trainer: Trainer<'a, Mlp>,
    rule: &'a dyn Optimizer,
    /// The kernels' instruction set; none for the reference.
    isa: Option<Isa>,
    /// Of the steps alone.
    time: Duration,
}

impl<'a> Run<'a> {
    fn new(
        arguments: &Arguments,
        digits: &'a Digits,
        rule: &'a dyn Optimizer,
        isa: Option<Isa>,
    ) -> Result<Self, Box<dyn Error>> {
        let model = arguments.model();
        let w = model.initial_weights(arguments.seed);
        let states = rule.states().len();
        let trainer = Trainer::new(model, digits.training(), w, states, arguments.options())?;
        Ok(Self { trainer, rule, isa, time: Duration::ZERO })
    }

    fn epoch(&mut self) -> Result<(), downhill::Error> {
        let Self { trainer, rule, isa, time } = self;
        trainer.epoch(|w, g, states, t| {
            let start = Instant::now();
            let result = match *isa {
                None => rule.reference_step(w, g, states, t),
                Some(isa) => rule.step_on(isa, w, g, states, t),
            };
            *time += start.elapsed();
            result
        })?;
        Ok(())
    }

    fn mean_loss(&mut self, digits: &Digits) -> Result<f64, Box<dyn Error>> {
        Ok(self.trainer.loss(digits.training())? / TRAINING as f64)
    }
}

fn same_bits(a: &Trainer<Mlp>, b: &Trainer<Mlp>) -> bool {
    let same = |a: &[f32], b: &[f32]| a.len() == b.len() && a.iter().zip(b).all(same_value);
    let mut states = a.states().iter().zip(b.states());
    same(a.weights(), b.weights()) && states.all(|(a, b)| same(a, b))
}

/// Being a NaN is compared, its payload is not: no instruction set promises one.
fn same_value((a, b): (&f32, &f32)) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}
