//! What fewer bits cost: the same training with weights and states of `f32`, of bfloat16 and of eight
//! bits, from many seeds.
//!
//! `cargo run --release --example packed -- --help`

use std::{
    io::{IsTerminal, Write, stderr, stdout},
    path::PathBuf,
    process::ExitCode,
};

use clap::Parser;
use comfy_table::{CellAlignment, Table, presets};
use downhill::Optimizer;
use indicatif::{ProgressBar, ProgressStyle};
use rayon::prelude::*;
use trainer::models::Model;

#[allow(dead_code, reason = "one of the two splits")]
#[path = "common/digits.rs"]
mod digits;
#[path = "common/palette.rs"]
mod palette;
#[path = "packed/picture.rs"]
mod picture;
#[path = "packed/runs.rs"]
mod runs;
#[path = "packed/states.rs"]
mod states;
#[path = "common/target.rs"]
mod target;

use digits::{Digits, Split, TRAINING};
use runs::{Comparison, Held, Outcome, Result, StateType, WeightType, held, train};
use states::Deviation;
use target::in_target;

/// A kind of run under its name.
struct Entry {
    name: &'static str,
    held: Held,
    /// What the rule's learning rate is multiplied by.
    rate: f64,
    /// Must it train no worse than `f32`?
    required: bool,
}

const BF16_STATES: Held = held(WeightType::F32, StateType::Bf16);
const BITS8_STATES: Held = held(WeightType::F32, StateType::Bits8);
const BF16_WEIGHTS: Held = held(WeightType::Bf16, StateType::F32);
const SPLIT_WEIGHTS: Held = held(WeightType::Split, StateType::F32);
const SMALLEST: Held = held(WeightType::Bf16, StateType::Bits8);

const ADAM: &[Entry] = &[
    entry("f32", Held::PLAIN),
    Entry { rate: 1.02, ..entry("f32, learning rate 2 % higher", Held::PLAIN) },
    required("bf16 states", BF16_STATES),
    entry("bf16 states, nearest", BF16_STATES.nearest()),
    required("8-bit states", BITS8_STATES),
    entry("8-bit states, nearest", BITS8_STATES.nearest()),
    required("split weights", SPLIT_WEIGHTS),
    required("bf16 weights", BF16_WEIGHTS),
    entry("bf16 weights, nearest", BF16_WEIGHTS.nearest()),
    required("bf16 weights, 8-bit states", SMALLEST),
];

const LION: &[Entry] = &[
    entry("f32", Held::PLAIN),
    entry("8-bit states", BITS8_STATES),
    entry("8-bit states, nearest", BITS8_STATES.nearest()),
];

/// States alone.
const STATES: [(&str, Held); 4] = [
    ("8 bits", BITS8_STATES),
    ("8 bits, nearest", BITS8_STATES.nearest()),
    ("bf16", BF16_STATES),
    ("bf16, nearest", BF16_STATES.nearest()),
];

const fn entry(name: &'static str, held: Held) -> Entry {
    Entry { name, held, rate: 1.0, required: false }
}

const fn required(name: &'static str, held: Held) -> Entry {
    Entry { required: true, ..entry(name, held) }
}

/// Trains a network with one hidden layer and a softmax regression on 8×8 handwritten digits, with
/// weights and states in f32, bfloat16 and eight bits, from many seeds, and compares how they end.
///
/// Numbers are rounded at random, but where "nearest" is said. Where weights are bfloat16 or split, a
/// bfloat16 and the rest of the f32, gradients are bfloat16 and the model runs on bfloat16 weights. The
/// rules, their learning rates and all else are those of the example `train`. With errors in v as large
/// as those of eight bits, 1/√v is too large on average by about 2 %, and training goes as with a
/// learning rate higher by so much: one row has that in f32.
///
/// Fails if with Adam, rounded at random, the mean final loss is more than 2 % higher than with f32, or
/// the accuracy more than 0.3 points lower.
#[derive(Parser)]
#[command(name = "packed", allow_negative_numbers = true)]
struct Arguments {
    /// Runs of each kind, from 2 to 1000; each with its own initial weights, order of samples and
    /// rounding
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(2..=1000))]
    seeds: u64,
    /// Walks over the 1,437 training digits, from 1 to 1000
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=1000))]
    epochs: u32,
    /// Where to draw the loss curves [default: packed.svg in the target directory]
    #[arg(long, value_name = "PATH")]
    svg: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("error: fewer bits trained worse than f32");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

/// Did all that must not train worse than `f32` not do so?
fn run(arguments: &Arguments) -> Result<bool> {
    let digits = Digits::load(Split::EveryFifth);
    let bar = progress_bar(2 * (ADAM.len() + LION.len()) as u64 * arguments.seeds);
    let all = All { arguments, digits: &digits, bar: &bar };
    let (adam, lion) = (|rate| runs::adam(0.003 * rate), |rate| runs::lion(0.0003 * rate));
    let results = [
        all.runs(runs::softmax(), "Softmax regression, Adam", adam, ADAM)?,
        all.runs(runs::mlp(), "Network with 64 hidden units, Adam", adam, ADAM)?,
        all.runs(runs::softmax(), "Softmax regression, Lion", lion, LION)?,
        all.runs(runs::mlp(), "Network with 64 hidden units, Lion", lion, LION)?,
    ];
    bar.finish_and_clear();

    // Not println!, which panics when the reader of a pipe has gone.
    let mut out = stdout().lock();
    let Arguments { seeds, epochs, .. } = arguments;
    writeln!(out, "{TRAINING} digits, {epochs} epochs, {seeds} seeds; ± is one standard error.")?;
    for results in &results {
        writeln!(out, "\n{}:\n{}", results.title, table(results))?;
    }
    let adam = adam(1.0);
    let deviations = states::deviations(&*adam, &digits, &STATES.map(|(_, held)| held), 0)?;
    writeln!(
        out,
        "\nAdam's states against those of f32, after {} steps of the network:",
        states::STEPS
    )?;
    writeln!(out, "{}", states_table(&*adam, &deviations))?;
    let path = arguments.svg.clone().unwrap_or_else(|| in_target("packed.svg"));
    picture::draw(&path, &results[..2])
        .map_err(|error| format!("cannot write `{}`: {error}", path.display()))?;
    writeln!(out, "Loss curves: {}", path.display())?;
    Ok(results.iter().all(Results::are_good))
}

/// What all runs share.
struct All<'a> {
    arguments: &'a Arguments,
    digits: &'a Digits,
    bar: &'a ProgressBar,
}

/// All runs of a model with a rule.
struct Results {
    title: &'static str,
    /// The first of them is with `f32`.
    runs: Vec<(&'static Entry, Vec<Outcome>)>,
}

impl All<'_> {
    fn runs<M: Model<Target = usize> + Copy + Sync>(
        &self,
        model: M,
        title: &'static str,
        rule: impl Fn(f64) -> Box<dyn Optimizer>,
        entries: &'static [Entry],
    ) -> Result<Results> {
        let each = |entry: &'static Entry| {
            let rule = rule(entry.rate);
            let run = |seed| {
                let Arguments { epochs, .. } = *self.arguments;
                let outcome = train(model, self.digits, &*rule, entry.held, seed, epochs);
                self.bar.inc(1);
                outcome
            };
            let outcomes = (0..self.arguments.seeds).into_par_iter().map(run);
            Ok((entry, outcomes.collect::<Result<Vec<_>>>()?))
        };
        Ok(Results { title, runs: entries.iter().map(each).collect::<Result<_>>()? })
    }
}

impl Results {
    fn comparisons(&self) -> impl Iterator<Item = (&'static Entry, Comparison)> {
        let plain = &self.runs[0].1;
        self.runs.iter().map(|(entry, outcomes)| (*entry, Comparison::new(outcomes, plain)))
    }

    fn are_good(&self) -> bool {
        self.comparisons().all(|(entry, comparison)| !entry.required || comparison.is_no_worse())
    }
}

fn progress_bar(runs: u64) -> ProgressBar {
    if !stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} runs, {eta} left");
    ProgressBar::new(runs).with_style(style.expect("a valid template"))
}

fn table(results: &Results) -> Table {
    let header =
        ["held", "final loss", "ratio to f32", "test accuracy", "points to f32", "2 % and 0.3 points"];
    let row = |(entry, comparison): (&Entry, Comparison)| {
        let within = match (comparison.is_close(), comparison.is_no_worse()) {
            (true, _) => "within",
            (false, true) => "better",
            (false, false) => "WORSE",
        };
        let Comparison { loss, ratio, accuracy, points } = comparison;
        [
            entry.name.to_owned(),
            format!("{loss:.5}"),
            format!("{:.4} ± {:.4}", ratio.mean, ratio.error),
            format!("{:.2} %", 100.0 * accuracy),
            format!("{:+.2} ± {:.2}", points.mean, points.error),
            within.to_owned(),
        ]
    };
    filled_table(header, results.comparisons().map(row))
}

fn states_table(rule: &dyn Optimizer, deviations: &[Vec<Deviation>]) -> Table {
    let header = ["states", "x", "‖x̂ − x‖/‖x‖", "median |x̂/x − 1|", "mean x̂/x", "mean √(x/x̂)"];
    let row = |held: &str, state: &str, deviation: &Deviation| {
        let Deviation { norm, median, ratio, step } = deviation;
        [
            held.to_owned(),
            state.to_owned(),
            format!("{:.2} %", 100.0 * norm),
            format!("{:.2} %", 100.0 * median),
            format!("{ratio:.4}"),
            if state == "v" { format!("{step:.4}") } else { String::new() },
        ]
    };
    let states = rule.states();
    let rows = STATES.iter().zip(deviations).flat_map(|((held, _), deviations)| {
        states.iter().zip(deviations).map(move |(state, deviation)| row(held, state.name, deviation))
    });
    filled_table(header, rows)
}

fn filled_table<const N: usize>(header: [&str; N], rows: impl Iterator<Item = [String; N]>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(header);
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
