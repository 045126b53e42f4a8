//! An offloaded training step: a model in bfloat16 on one side, `f32` weights and Adam's states here.
//! Gradients arrive in bfloat16 and times a loss scale; weights go back in bfloat16. In one call, and as
//! it is usually done, in passes.
//!
//! `cargo run --release --example offload -- --help`

use std::{
    error::Error,
    fs,
    io::{IsTerminal, Write, stderr, stdout},
    path::PathBuf,
    process::ExitCode,
};

use clap::Parser;
use comfy_table::{CellAlignment, Table, presets};
use downhill::{Isa, Pool, Threads};
use half::bf16;
use indicatif::{ProgressBar, ProgressStyle};

#[path = "common/mixed.rs"]
mod mixed;
#[path = "offload/model.rs"]
mod model;
#[path = "common/palette.rs"]
mod palette;
#[path = "offload/picture.rs"]
mod picture;
#[path = "common/target.rs"]
mod target;
#[path = "offload/timing.rs"]
mod timing;
#[path = "offload/ways.rs"]
mod ways;

use model::Model;
use target::in_target;
use timing::{Timing, time};
use ways::{CALL_BYTES, PASSES, one_call, passes};

/// Steps a model of GPT-2's shapes by AdamW as it is done where a model runs on another device in
/// bfloat16 and its f32 weights and Adam's states are here: unscale the gradients, clip them by their
/// norm, skip the step if one is not finite, step two groups (biases and normalizations do not decay),
/// round the weights to bfloat16.
///
/// Once in passes over all tensors, and once in one call. Both must end with the same bits; the table
/// says what they cost with one thread and with all. It needs 20 bytes of memory for each parameter, and
/// random gradients.
#[derive(Parser)]
#[command(name = "offload", allow_negative_numbers = true)]
struct Arguments {
    /// Layers of the model, from 1 to 48
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u16).range(1..=48))]
    layers: u16,
    /// Width of the model, from 1 to 1600
    #[arg(long, default_value_t = 768, value_parser = clap::value_parser!(u16).range(1..=1600))]
    width: u16,
    /// Steps of each kind to take the time of, from 1 to 1000; medians are printed
    #[arg(long, default_value_t = 11, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// Where to draw [default: offload.svg in the target directory]
    #[arg(long, value_name = "PATH")]
    svg: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("error: one call and passes differ");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

/// Do both ways give the same bits?
fn run(arguments: &Arguments) -> Result<bool, Box<dyn Error>> {
    let pool = Pool::new(0);
    let mut threads = vec![(1, Threads::Caller)];
    if pool.threads() > 1 {
        threads.push((pool.threads(), Threads::Pool(&pool)));
    }
    let bar = progress_bar(2 * CHECKED + u64::from(arguments.rounds));
    let mut model = Model::new(arguments.layers.into(), arguments.width.into());
    let is_same = are_same(&mut model, threads[threads.len() - 1].1, &bar)?;
    let timings = time(&mut model, &threads, arguments.rounds, &bar)?;
    bar.finish_and_clear();

    // Not println!, which panics when the reader of a pipe has gone.
    let mut out = stdout().lock();
    let parameters = model.parameters();
    let machine = format!("{}, {}", cpu(), Isa::current()?);
    writeln!(out, "{machine}. {} tensors, {parameters} parameters.", model.tensors().count())?;
    writeln!(out, "{}", table(&timings, parameters))?;
    let yes = if is_same { "yes" } else { "NO" };
    writeln!(
        out,
        "Same bits after {} steps and a skipped one, of weights, states and copy: {yes}",
        CHECKED - 1
    )?;
    let path = arguments.svg.clone().unwrap_or_else(|| in_target("offload.svg"));
    picture::draw(&path, &timings, parameters, &machine)
        .map_err(|error| format!("cannot write `{}`: {error}", path.display()))?;
    writeln!(out, "Picture: {}", path.display())?;
    Ok(is_same)
}

/// Steps of each way that are compared.
const CHECKED: u64 = 4;
/// That one of them which has an infinite gradient.
const OVERFLOW: u64 = 1;

/// Both ways from the same start with the same gradients: do they skip the same step, and end with the
/// same bits?
fn are_same(
    model: &mut Model,
    threads: Threads<'_>,
    bar: &ProgressBar,
) -> Result<bool, downhill::Error> {
    let call = walk(model, bar, |model, t| one_call(model, t, threads))?;
    let passes = walk(model, bar, |model, t| Ok(passes(model, t, threads)?.is_some()))?;
    Ok(call == passes && call.0 == CHECKED - 1)
}

/// How many steps were not skipped, and hashes of where they led.
fn walk(
    model: &mut Model,
    bar: &ProgressBar,
    mut step: impl FnMut(&mut Model, u64) -> Result<bool, downhill::Error>,
) -> Result<(u64, [u64; 4]), downhill::Error> {
    model.restart();
    let mut done = 0;
    for number in 0..CHECKED {
        model.receive_gradients(number);
        if number == OVERFLOW {
            model.matrices[0].g[1] = bf16::INFINITY;
        }
        // A skipped step is not counted.
        done += u64::from(step(model, done + 1)?);
        bar.inc(1);
    }
    Ok((done, model.hashes()))
}

fn progress_bar(steps: u64) -> ProgressBar {
    if !stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len}, {eta} left");
    ProgressBar::new(steps).with_style(style.expect("a valid template"))
}

fn cpu() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find(|line| line.starts_with("model name"));
    name.and_then(|line| line.split(": ").nth(1)).unwrap_or("unknown CPU").to_owned()
}

fn table(timings: &[Timing], parameters: usize) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    let mut header = vec!["what".to_owned(), "bytes a parameter".to_owned()];
    for Timing { threads, .. } in timings {
        let threads = if *threads == 1 { "1 thread".to_owned() } else { format!("{threads} threads") };
        header.extend([format!("{threads}, ms"), "ns a parameter".to_owned(), "GB/s".to_owned()]);
    }
    table.set_header(header);
    let mut add = |what: &str, bytes: usize, time: &dyn Fn(&Timing) -> f64| {
        let cells = timings.iter().flat_map(|timing| {
            let nanoseconds = 1e6 * time(timing) / parameters as f64;
            [
                format!("{:.2}", time(timing)),
                format!("{nanoseconds:.3}"),
                format!("{:.1}", bytes as f64 / nanoseconds),
            ]
        });
        table.add_row([what.to_owned(), bytes.to_string()].into_iter().chain(cells));
    };
    for (k, (what, bytes)) in PASSES.into_iter().enumerate() {
        add(&format!("pass: {what}"), bytes, &|timing| timing.passes[k]);
    }
    add("all passes", PASSES.iter().map(|(_, bytes)| bytes).sum(), &|timing| timing.together);
    add("one call", CALL_BYTES, &|timing| timing.call);
    let ratios = timings.iter().flat_map(|timing| {
        [format!("{:.2} times", timing.together / timing.call), String::new(), String::new()]
    });
    table.add_row(["all passes to one call".to_owned(), String::new()].into_iter().chain(ratios));
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
