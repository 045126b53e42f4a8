//! Draws how the rules descend into a narrow valley, from the same start with the same number of steps.
//!
//! `cargo run --release --example valley -- --help`

use std::{
    error::Error,
    io::{Write, stdout},
    path::PathBuf,
    process::ExitCode,
};

use clap::Parser;
use comfy_table::{CellAlignment, Table, presets};
use downhill::{Adam, Isa, Momentum, Optimizer, Sgd, rules};

#[path = "common/palette.rs"]
mod palette;
#[path = "valley/picture.rs"]
mod picture;
#[path = "valley/settings.rs"]
mod settings;
#[path = "common/target.rs"]
mod target;

use picture::Path;
use target::in_target;

/// Curvature along the valley and across it. Plain descent multiplies the distance across by 1 − η·36
/// in every step: with η = 0.05 by −0.8, so it jumps from side to side and still arrives.
const CURVATURE: [f64; 2] = [1.0, 36.0];
const FORMULA: &str = "f(x, y) = ½(x² + 36y²)";
const START: [f32; 2] = [-4.0, 1.0];

/// The learning rates that are tried: these and 10, 100, ... times as much.
const FIRST_RATES: [f64; 4] = [0.001, 0.002, 0.003, 0.005];
const DECADES: i32 = 5;
/// Of the loss at the start. A rule that has no more left has arrived.
const ARRIVED: f64 = 1e-3;

/// Draws how every rule descends into the narrow valley f(x, y) = ½(x² + 36y²), and prints how far each
/// came.
///
/// Three ways have hyper-parameters of their own. Below them every rule has the defaults and the
/// smallest learning rate of 0.001, 0.002, 0.003, 0.005, 0.01, ... with which it comes to a thousandth
/// of the loss at the start; if there is none, the one with which it comes nearest.
#[derive(Parser)]
#[command(name = "valley", allow_negative_numbers = true)]
struct Arguments {
    /// Steps of every rule, from 1 to 1000
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    steps: u16,
    /// Where to draw [default: valley.svg in the target directory]
    #[arg(long, value_name = "PATH")]
    svg: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let isa = Isa::current()?;
    let course: Vec<Path> =
        course().iter().map(|rule| descend(&**rule, arguments.steps, isa)).collect::<Result<_, _>>()?;
    let all: Vec<Path> =
        rules().into_iter().map(|rule| arrive(rule, arguments.steps, isa)).collect::<Result<_, _>>()?;

    // Not println!, which panics when the reader of a pipe has gone.
    let mut out = stdout().lock();
    writeln!(out, "{}", table(course.iter().chain(&all)))?;
    let svg = arguments.svg.clone().unwrap_or_else(|| in_target("valley.svg"));
    let picture = picture::draw(&course, &all)?;
    std::fs::write(&svg, picture)
        .map_err(|error| format!("cannot write `{}`: {error}", svg.display()))?;
    writeln!(out, "Picture: {}", svg.display())?;
    Ok(())
}

/// What courses show: plain descent, a little momentum, Adam.
fn course() -> [Box<dyn Optimizer>; 3] {
    [
        Sgd { lr: 0.05, ..Sgd::default() }.into(),
        Momentum { lr: 0.05, momentum: 0.5, ..Momentum::default() }.into(),
        Adam { lr: 0.1, ..Adam::default() }.into(),
    ]
}

/// The way of a rule with the smallest rate with which it arrives, or else comes nearest. It stays in
/// the picture.
fn arrive(mut rule: Box<dyn Optimizer>, steps: u16, isa: Isa) -> Result<Path, Box<dyn Error>> {
    let mut paths = Vec::new();
    for lr in (0..DECADES).flat_map(|k| FIRST_RATES.map(|lr| lr * 10f64.powi(k))) {
        rule.set("lr", lr)?;
        paths.push(descend(&*rule, steps, isa)?);
    }
    paths.retain(Path::is_inside);
    let nearest = paths.iter().map(Path::least_loss).fold(f64::INFINITY, f64::min);
    let enough = nearest.max(ARRIVED * loss(point(START)));
    let first = paths.into_iter().find(|path| path.least_loss() <= enough);
    first.ok_or_else(|| format!("{} leaves the picture with every learning rate", rule.name()).into())
}

/// The way of a rule, its steps made with the kernels.
fn descend(rule: &dyn Optimizer, steps: u16, isa: Isa) -> Result<Path, downhill::Error> {
    let mut w = START;
    let mut state = vec![[0.0; 2]; rule.states().len()];
    let mut points = vec![point(w)];
    for t in 1..=steps {
        let [x, y] = point(w);
        let g = [CURVATURE[0] * x, CURVATURE[1] * y].map(|g| g as f32);
        let mut state: Vec<&mut [f32]> = state.iter_mut().map(|array| &mut array[..]).collect();
        rule.step_on(isa, &mut w, &g, &mut state, t.into())?;
        points.push(point(w));
    }
    Ok(Path::new(rule, points))
}

fn point(w: [f32; 2]) -> [f64; 2] {
    w.map(f64::from)
}

fn loss([x, y]: [f64; 2]) -> f64 {
    (CURVATURE[0] * x * x + CURVATURE[1] * y * y) / 2.0
}

fn table<'a>(paths: impl Iterator<Item = &'a Path>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(["rule", "settings", "steps", "final loss", "distance to the minimum"]);
    for path in paths {
        let [x, y] = path.end();
        let settings: Vec<&str> = path.settings.iter().map(|s| s.text.as_str()).collect();
        table.add_row([
            path.name.to_owned(),
            settings.join(", "),
            path.steps().to_string(),
            format!("{:.1e}", loss([x, y])),
            format!("{:.1e}", x.hypot(y)),
        ]);
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
