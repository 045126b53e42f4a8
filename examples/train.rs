//! Trains a small network on handwritten digits with every rule, twice: with the scalar reference and
//! with the kernels. Both runs must end with the same bits; the table says what each step cost.
//!
//! `cargo run --release --example train -- --help`

use std::{
    error::Error,
    io::{IsTerminal, Write, stderr, stdout},
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::{Parser, ValueEnum, builder::PossibleValuesParser};
use comfy_table::{CellAlignment, Table, presets};
use downhill::{
    Adadelta, Adagrad, Adam, Adamax, Adamw, Amsgrad, Isa, Lion, Momentum, Nadam, Nesterov, Optimizer,
    Rmsprop, Sgd, optimizer,
};
use indicatif::{ProgressBar, ProgressStyle};
use trainer::{
    Mode, Options, Order, Reduction, Trainer,
    models::{Activation, Mlp, Model},
};

#[path = "common/curves.rs"]
mod curves;
#[path = "common/digits.rs"]
mod digits;
#[path = "common/palette.rs"]
mod palette;
#[path = "common/target.rs"]
mod target;

use curves::Curve;
use digits::{CLASSES, Digits, PIXELS, Split, TEST, TRAINING};
use target::in_target;

/// A learning rate that trains this network well.
#[derive(Clone, Copy)]
enum Rate {
    /// For a rule whose step grows with the gradient: the rate for the mean over a step's samples, if
    /// they are [`ENOUGH`].
    OfMean(f64),
    /// For a rule whose step does not.
    Absolute(f64),
}

/// With fewer samples than this in a step their mean is too noisy for the full rate.
const ENOUGH: f64 = 16.0;

/// A rule under its name on the command line.
struct Entry {
    name: &'static str,
    rate: Rate,
    with_rate: fn(f64) -> Box<dyn Optimizer>,
}

const RULES: &[Entry] = &[
    rule("sgd", Rate::OfMean(0.3), |lr| optimizer(Sgd { lr, ..Sgd::default() })),
    rule("momentum", Rate::OfMean(0.05), |lr| optimizer(Momentum { lr, ..Momentum::default() })),
    rule("nesterov", Rate::OfMean(0.05), |lr| optimizer(Nesterov { lr, ..Nesterov::default() })),
    rule("adagrad", Rate::Absolute(0.1), |lr| optimizer(Adagrad { lr, ..Adagrad::default() })),
    rule("adadelta", Rate::Absolute(1.0), |lr| optimizer(Adadelta { lr, ..Adadelta::default() })),
    rule("rmsprop", Rate::Absolute(0.001), |lr| Rmsprop { lr, ..Rmsprop::default() }.optimizer(false)),
    rule("rmsprop-centered", Rate::Absolute(0.0003), centered_rmsprop),
    rule("adam", Rate::Absolute(0.003), |lr| optimizer(Adam { lr, ..Adam::default() })),
    rule("adamw", Rate::Absolute(0.003), |lr| optimizer(Adamw { lr, ..Adamw::default() })),
    rule("amsgrad", Rate::Absolute(0.003), |lr| optimizer(Amsgrad(Adam { lr, ..Adam::default() }))),
    rule("adamax", Rate::Absolute(0.01), |lr| optimizer(Adamax { lr, ..Adamax::default() })),
    rule("nadam", Rate::Absolute(0.003), |lr| optimizer(Nadam { lr, ..Nadam::default() })),
    rule("lion", Rate::Absolute(0.0003), |lr| optimizer(Lion { lr, ..Lion::default() })),
];

const fn rule(name: &'static str, rate: Rate, with_rate: fn(f64) -> Box<dyn Optimizer>) -> Entry {
    Entry { name, rate, with_rate }
}

/// All that RMSprop can do at once.
fn centered_rmsprop(lr: f64) -> Box<dyn Optimizer> {
    Rmsprop { lr, momentum: 0.9, ..Rmsprop::default() }.optimizer(true)
}

/// Trains a network with one hidden layer on 8×8 handwritten digits, once with the scalar reference
/// and once with the kernels, and checks that both end with the same bits.
///
/// Each rule has its own learning rate, listed below. One for the mean gradient suits steps of 16 samples
/// or more and is divided by their number where the reduction is their sum; with n samples, fewer than
/// 16, it is n/16 of that. A rate given with --lr is used as it is, for all rules. The other
/// hyper-parameters are the defaults; rmsprop-centered has a momentum of 0.9 besides.
#[derive(Parser)]
#[command(name = "train", allow_negative_numbers = true, after_long_help = rates())]
struct Arguments {
    /// Rules to train with, separated by commas or given one by one [default: all]
    #[arg(long = "rule", value_name = "RULE", value_delimiter = ',')]
    #[arg(value_parser = PossibleValuesParser::new(RULES.iter().map(|entry| entry.name)))]
    rules: Vec<String>,
    /// Walks over the 1,437 training digits, from 1 to 100000
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    epochs: u32,
    /// Samples of a mini-batch, from 1 to 1437
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=TRAINING as i64))]
    batch_size: u32,
    /// Learning rate of all rules, finite and at least 0 [default: one for each rule, see below]
    #[arg(long, value_parser = learning_rate)]
    lr: Option<f64>,
    /// Where the initial weights and the order of the samples come from, from 0 to 2^64 - 1
    #[arg(long, default_value_t = 0, value_parser = seed)]
    seed: u64,
    /// What makes a step
    #[arg(long, value_enum, default_value_t = ModeName::MiniBatch)]
    mode: ModeName,
    /// The order in which an epoch visits the samples
    #[arg(long, value_enum, default_value_t = OrderName::Shuffled)]
    order: OrderName,
    /// What a step descends on
    #[arg(long, value_enum, default_value_t = ReductionName::Sum)]
    reduction: ReductionName,
    /// Which digits test
    #[arg(long, value_enum, default_value_t = SplitName::EveryFifth)]
    split: SplitName,
    /// Units of the hidden layer, from 1 to 4096
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4096))]
    hidden: u32,
    /// What the hidden units compute
    #[arg(long, value_enum, default_value_t = ActivationName::Tanh)]
    activation: ActivationName,
    /// Where to draw the loss curves [default: train.svg in the target directory]
    #[arg(long, value_name = "PATH")]
    svg: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum ModeName {
    /// All samples: one step an epoch
    Full,
    /// The same step, added up over mini-batches
    Accumulated,
    /// One sample
    PerSample,
    /// One mini-batch
    MiniBatch,
}

#[derive(Clone, Copy, ValueEnum)]
enum OrderName {
    /// As they stand in the file
    InOrder,
    /// Shuffled in every epoch
    Shuffled,
    /// Each drawn from all
    WithReplacement,
}

#[derive(Clone, Copy, ValueEnum)]
enum ReductionName {
    /// The sum of the losses of its samples
    Sum,
    /// Their mean
    Mean,
}

#[derive(Clone, Copy, ValueEnum)]
enum SplitName {
    /// The last 360, which are less like the others
    Last,
    /// Every fifth, beginning with the first
    EveryFifth,
}

#[derive(Clone, Copy, ValueEnum)]
enum ActivationName {
    /// tanh
    Tanh,
    /// max(z, 0)
    Relu,
}

impl Arguments {
    fn model(&self) -> Mlp {
        let activation = match self.activation {
            ActivationName::Tanh => Activation::Tanh,
            ActivationName::Relu => Activation::Relu,
        };
        Mlp::new(PIXELS, self.hidden as usize, CLASSES, activation).expect("sizes are at least 1")
    }

    fn digits(&self) -> Digits {
        Digits::load(match self.split {
            SplitName::Last => Split::Last,
            SplitName::EveryFifth => Split::EveryFifth,
        })
    }

    fn options(&self) -> Options {
        let batch_size = self.batch_size as usize;
        Options {
            mode: match self.mode {
                ModeName::Full => Mode::FullBatch,
                ModeName::Accumulated => Mode::Accumulated { batch_size },
                ModeName::PerSample => Mode::PerSample,
                ModeName::MiniBatch => Mode::MiniBatch { batch_size },
            },
            order: match self.order {
                OrderName::InOrder => Order::InOrder,
                OrderName::Shuffled => Order::Shuffled,
                OrderName::WithReplacement => Order::WithReplacement,
            },
            reduction: match self.reduction {
                ReductionName::Sum => Reduction::Sum,
                ReductionName::Mean => Reduction::Mean,
            },
            seed: self.seed,
        }
    }

    fn entries(&self) -> Vec<&'static Entry> {
        let chosen =
            |entry: &&Entry| self.rules.is_empty() || self.rules.iter().any(|name| name == entry.name);
        RULES.iter().filter(chosen).collect()
    }

    fn rule(&self, entry: &Entry) -> Box<dyn Optimizer> {
        let default = match (entry.rate, self.reduction) {
            (Rate::Absolute(lr), _) => lr,
            (Rate::OfMean(lr), ReductionName::Sum) => lr / self.step_size().max(ENOUGH),
            (Rate::OfMean(lr), ReductionName::Mean) => lr * (self.step_size() / ENOUGH).min(1.0),
        };
        (entry.with_rate)(self.lr.unwrap_or(default))
    }

    /// Samples of a step.
    fn step_size(&self) -> f64 {
        match self.mode {
            ModeName::PerSample => 1.0,
            ModeName::MiniBatch => self.batch_size.into(),
            ModeName::Full | ModeName::Accumulated => TRAINING as f64,
        }
    }
}

/// The learning rates of the rules, for the help.
fn rates() -> String {
    let line = |entry: &Entry| match entry.rate {
        Rate::OfMean(lr) => format!("  {:16} {lr}, for the mean gradient\n", entry.name),
        Rate::Absolute(lr) => format!("  {:16} {lr}\n", entry.name),
    };
    let lines: String = RULES.iter().map(line).collect();
    format!("Learning rates:\n{}", lines.trim_end_matches('\n'))
}

fn learning_rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(lr) if lr >= 0.0 && (lr as f32).is_finite() => Ok(lr),
        _ => Err("it must be a number, at least 0 and finite in f32".to_owned()),
    }
}

fn seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "it must be a whole number from 0 to 2^64 - 1".to_owned())
}

/// What came out of one rule's two runs.
struct Outcome {
    rule: &'static str,
    /// The mean over the training digits, before the first epoch and after each.
    losses: Vec<f64>,
    accuracy: f64,
    /// Time of all steps.
    reference: Duration,
    kernels: Duration,
    same_bits: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("error: reference and kernels differ");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

/// Do reference and kernels agree for every rule?
fn run(arguments: &Arguments) -> Result<bool, Box<dyn Error>> {
    let isa = Isa::current()?;
    let digits = arguments.digits();
    let entries = arguments.entries();
    let bar = progress_bar(entries.len() as u64 * u64::from(arguments.epochs));
    let mut outcomes = Vec::new();
    for entry in entries {
        bar.set_message(entry.name);
        outcomes.push(train(entry, arguments, &digits, isa, &bar)?);
    }
    bar.finish_and_clear();

    // Not println!, which panics when the reader of a pipe has gone.
    let mut out = stdout().lock();
    let weights = arguments.model().parameters();
    writeln!(out, "Instruction set: {isa}. Weights: {weights}. Digits: {TRAINING} train, {TEST} test.")?;
    writeln!(out, "{}", table(&outcomes))?;
    let path = arguments.svg.clone().unwrap_or_else(|| in_target("train.svg"));
    draw(&path, &outcomes).map_err(|error| format!("cannot write `{}`: {error}", path.display()))?;
    writeln!(out, "Loss curves: {}", path.display())?;
    Ok(outcomes.iter().all(|outcome| outcome.same_bits))
}

/// Both runs of a rule, epoch by epoch in turns, so that neither has the machine's better moments.
fn train(
    entry: &Entry,
    arguments: &Arguments,
    digits: &Digits,
    isa: Isa,
    bar: &ProgressBar,
) -> Result<Outcome, Box<dyn Error>> {
    let rule = arguments.rule(entry);
    let mut reference = Run::new(arguments, digits, rule.as_ref(), None)?;
    let mut kernels = Run::new(arguments, digits, rule.as_ref(), Some(isa))?;
    let mut losses = vec![kernels.mean_loss(digits)?];
    for epoch in 0..arguments.epochs {
        let turns =
            if epoch % 2 == 0 { [&mut reference, &mut kernels] } else { [&mut kernels, &mut reference] };
        for run in turns {
            run.epoch()?;
        }
        losses.push(kernels.mean_loss(digits)?);
        bar.inc(1);
    }
    Ok(Outcome {
        rule: entry.name,
        losses,
        accuracy: kernels.trainer.accuracy(digits.test())?,
        same_bits: same_bits(&reference.trainer, &kernels.trainer),
        reference: reference.time,
        kernels: kernels.time,
    })
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
        let states = rule.state_names().len();
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

fn progress_bar(epochs: u64) -> ProgressBar {
    if !stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{msg:16} {wide_bar} {pos}/{len} epochs, {eta} left");
    ProgressBar::new(epochs).with_style(style.expect("a valid template"))
}

fn table(outcomes: &[Outcome]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header([
        "rule",
        "epochs",
        "final loss",
        "test accuracy",
        "reference steps",
        "kernel steps",
        "ratio",
        "same bits",
    ]);
    for outcome in outcomes {
        let (reference, kernels) = (outcome.reference.as_secs_f64(), outcome.kernels.as_secs_f64());
        table.add_row([
            outcome.rule.to_owned(),
            (outcome.losses.len() - 1).to_string(),
            format!("{:.6}", outcome.losses[outcome.losses.len() - 1]),
            format!("{:.1} %", 100.0 * outcome.accuracy),
            format!("{:.2} ms", 1e3 * reference),
            format!("{:.2} ms", 1e3 * kernels),
            format!("{:.1}", reference / kernels),
            if outcome.same_bits { "yes" } else { "NO" }.to_owned(),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn draw(path: &Path, outcomes: &[Outcome]) -> Result<(), Box<dyn Error>> {
    let curve =
        |outcome: &Outcome| Curve { name: outcome.rule.to_owned(), points: outcome.losses.clone() };
    let curves: Vec<Curve> = outcomes.iter().map(curve).collect();
    curves::draw(path, "Training on handwritten digits", "epoch", "mean training loss", &curves)
}
