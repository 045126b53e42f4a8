//! Trains a small network on handwritten digits with every rule, twice: with the scalar reference and
//! with the kernels. Both runs must end with the same bits; the table says what each step cost.
//!
//! `cargo run --release --example train -- --help`

use std::{
    error::Error,
    io::{IsTerminal, Write, stderr, stdout},
    path::Path,
    process::ExitCode,
};

use clap::Parser;
use comfy_table::{CellAlignment, Table, presets};
use downhill::Isa;
use indicatif::{ProgressBar, ProgressStyle};
use trainer::models::Model;

#[path = "train/arguments.rs"]
mod arguments;
#[path = "common/curves.rs"]
mod curves;
#[path = "common/digits.rs"]
mod digits;
#[path = "common/palette.rs"]
mod palette;
#[path = "train/run.rs"]
mod run;
#[path = "common/target.rs"]
mod target;
#[path = "train/variants.rs"]
mod variants;

use arguments::Arguments;
use curves::Curve;
use digits::{TEST, TRAINING};
use run::{All, Outcome};
use target::in_target;

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
    let variants = arguments.variants();
    let bar = progress_bar(variants.len() as u64 * u64::from(run::epochs(arguments)));
    let all = All { arguments, digits: &digits, isa, bar: &bar };
    let mut outcomes = Vec::new();
    for variant in variants {
        bar.set_message(variant.name.clone());
        outcomes.push(all.train(variant)?);
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
        "learning rate",
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
            outcome.rule.clone(),
            outcome.lr.to_string(),
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
    let curve = |outcome: &Outcome| Curve { name: outcome.rule.clone(), points: outcome.losses.clone() };
    let curves: Vec<Curve> = outcomes.iter().map(curve).collect();
    curves::draw(path, "Training on handwritten digits", "epoch", "mean training loss", &curves)
}
