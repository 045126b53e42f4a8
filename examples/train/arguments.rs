//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use trainer::{
    Mode, Options, Order, Reduction,
    models::{Activation, Mlp},
};

use crate::{
    digits::{CLASSES, Digits, PIXELS, Split, TRAINING},
    variants::{self, Variant},
};

/// Trains a network with one hidden layer on 8×8 handwritten digits, once with the scalar reference
/// and once with the kernels, and checks that both end with the same bits.
///
/// Each rule is first tried with each of several learning rates, from 0.0001 to 1, for a tenth of the
/// epochs, and then trained with the smallest that came to at most twice the least loss. A rate given
/// with --lr is used for all rules. The other hyper-parameters are the defaults.
#[derive(Parser)]
#[command(name = "train", allow_negative_numbers = true)]
#[command(after_help = format!("Rules: {}", variants::names()))]
pub struct Arguments {
    /// Rules to train with, separated by commas or given one by one [default: all]
    #[arg(long = "rule", value_name = "RULE", value_delimiter = ',', value_parser = variants::named)]
    rules: Vec<Variant>,
    /// Walks over the 1,437 training digits, from 1 to 100000
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub epochs: u32,
    /// Samples of a mini-batch, from 1 to 1437
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=TRAINING as i64))]
    batch_size: u32,
    /// Learning rate of all rules, finite and at least 0 [default: a good one for each rule]
    #[arg(long, value_parser = variants::learning_rate)]
    pub lr: Option<f64>,
    /// Where the initial weights and the order of the samples come from, from 0 to 2^64 - 1
    #[arg(long, default_value_t = 0, value_parser = seed)]
    pub seed: u64,
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
    pub svg: Option<PathBuf>,
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
    pub fn model(&self) -> Mlp {
        let activation = match self.activation {
            ActivationName::Tanh => Activation::Tanh,
            ActivationName::Relu => Activation::Relu,
        };
        Mlp::new(PIXELS, self.hidden as usize, CLASSES, activation).expect("sizes are at least 1")
    }

    pub fn digits(&self) -> Digits {
        Digits::load(match self.split {
            SplitName::Last => Split::Last,
            SplitName::EveryFifth => Split::EveryFifth,
        })
    }

    pub fn options(&self) -> Options {
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

    pub fn variants(&self) -> Vec<Variant> {
        if self.rules.is_empty() { variants::all() } else { self.rules.clone() }
    }
}

fn seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "it must be a whole number from 0 to 2^64 - 1".to_owned())
}
