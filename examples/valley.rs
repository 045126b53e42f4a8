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
use downhill::Isa;

#[path = "common/palette.rs"]
mod palette;
#[path = "valley/picture.rs"]
mod picture;
#[path = "valley/settings.rs"]
mod settings;
#[path = "common/target.rs"]
mod target;

use picture::Path;
use settings::Entry;
use target::in_target;

/// Curvature along the valley and across it. Plain descent multiplies the distance across by 1 − η·36
/// in every step: with η = 0.05 by −0.8, so it jumps from side to side and still arrives.
const CURVATURE: [f64; 2] = [1.0, 36.0];
const FORMULA: &str = "f(x, y) = ½(x² + 36y²)";
const START: [f32; 2] = [-4.0, 1.0];

/// Draws how every rule descends into the narrow valley f(x, y) = ½(x² + 36y²), and prints how far each
/// came.
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
    let descend = |entry| descend(entry, arguments.steps, isa);
    let course = settings::course().into_iter().map(descend).collect::<Result<Vec<_>, _>>()?;
    let all = settings::all().into_iter().map(descend).collect::<Result<Vec<_>, _>>()?;

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

/// The way of a rule, its steps made with the kernels.
fn descend(entry: Entry, steps: u16, isa: Isa) -> Result<Path, downhill::Error> {
    let mut w = START;
    let mut state = vec![[0.0; 2]; entry.rule.state_names().len()];
    let mut points = vec![point(w)];
    for t in 1..=steps {
        let [x, y] = point(w);
        let g = [CURVATURE[0] * x, CURVATURE[1] * y].map(|g| g as f32);
        let mut state: Vec<&mut [f32]> = state.iter_mut().map(|array| &mut array[..]).collect();
        entry.rule.step_on(isa, &mut w, &g, &mut state, t.into())?;
        points.push(point(w));
    }
    Ok(Path { entry, points })
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
        let settings: Vec<&str> = path.entry.settings.iter().map(|s| s.text.as_str()).collect();
        table.add_row([
            path.entry.name.to_owned(),
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
