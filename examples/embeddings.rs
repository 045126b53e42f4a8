//! Learns vectors for the words of three novels. A step touches the few rows of two tables whose words
//! are in a mini-batch: what it costs beside a step of the whole tables, and which words come to lie
//! near each other.
//!
//! `cargo run --release --example embeddings -- --help`

use std::{
    error::Error,
    io::{IsTerminal, Write, stderr, stdout},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::Parser;
use comfy_table::{CellAlignment, Table, presets};
use downhill::{Isa, Pool, Threads};
use indicatif::{ProgressBar, ProgressStyle};
use rayon::ThreadPoolBuilder;

#[path = "common/mixed.rs"]
mod mixed;
#[path = "embeddings/model.rs"]
mod model;
#[path = "common/palette.rs"]
mod palette;
#[path = "embeddings/picture.rs"]
mod picture;
#[path = "embeddings/table.rs"]
mod table;
#[path = "common/target.rs"]
mod target;
#[path = "embeddings/text.rs"]
mod text;
#[path = "embeddings/training.rs"]
mod training;
#[path = "common/variants.rs"]
mod variants;

use model::Model;
use target::in_target;
use text::Text;
use training::{Costs, Settings, Trained, compare, looks, train};
use variants::Variant;

/// Learns vectors for the words of three novels by Jane Austen, by skip-gram with negative sampling
/// (Mikolov et al., 2013): two tables with a row for each word, of which a step touches those of the
/// words that its mini-batch has.
///
/// Every twentieth paragraph is held out. Prints the losses, the words that lie nearest to some, and
/// what a step of the touched rows costs beside one of the whole tables, whose gradient is zero
/// elsewhere and is laid out before. Bits are the same with any number of threads and on any CPU. Draws
/// the losses, and some words where their vectors lie.
#[derive(Parser)]
#[command(name = "embeddings", allow_negative_numbers = true)]
#[command(after_help = format!("Rules: {}", variants::names()))]
struct Arguments {
    /// The rule
    #[arg(long, value_name = "RULE", default_value = RULE, value_parser = variants::named)]
    rule: Variant,
    /// Its learning rate, finite and at least 0 [default: 0.05 with adagrad, else the rule's own]
    #[arg(long, value_parser = variants::learning_rate)]
    lr: Option<f64>,
    /// Elements of a vector, from 1 to 1024
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    dimension: u16,
    /// Walks over the text, from 1 to 1000
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    epochs: u32,
    /// Pairs of words of a mini-batch, from 1 to 100000
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    batch_size: u32,
    /// Threads, from 1 to 1024; 0 for one for each CPU
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=1024))]
    threads: u16,
    /// Where all that is random comes from, from 0 to 2^64 - 1
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where to draw [default: embeddings.svg in the target directory]
    #[arg(long, value_name = "PATH")]
    svg: Option<PathBuf>,
}

/// The rule unless another is named, with a good learning rate for it.
const RULE: &str = "adagrad";
const RATE: f64 = 0.05;
/// Words whose neighbours are printed.
const WORDS: [&str; 12] = [
    "sister",
    "husband",
    "elizabeth",
    "emma",
    "marianne",
    "evening",
    "week",
    "five",
    "carriage",
    "letter",
    "handsome",
    "dance",
];
/// How many of them.
const NEIGHBOURS: usize = 6;
/// Rarer words are nobody's neighbours: they have hardly been trained.
const LEAST_COUNT: u32 = 20;

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
    let pool = Pool::new(arguments.threads.into());
    let gradients = ThreadPoolBuilder::new().num_threads(pool.threads()).build()?;
    let Variant { name, mut rule } = arguments.rule.clone();
    if let Some(lr) = arguments.lr.or((name == RULE).then_some(RATE)) {
        rule.set("lr", lr)?;
    }
    let settings = Settings {
        rule: &*rule,
        batch_size: arguments.batch_size as usize,
        seed: arguments.seed,
        threads: Threads::Pool(&pool),
    };
    let text = Text::load();
    let words = text.words.len();
    let model = Model::new(words, arguments.dimension.into(), rule.states().len(), arguments.seed);
    let bar = progress_bar(looks(arguments.epochs));
    let trained = gradients.install(|| train(model, &text, settings, arguments.epochs, &bar))?;
    let costs = gradients.install(|| compare(&trained, &text, settings))?;
    bar.finish_and_clear();

    // Not println!, which panics when the reader of a pipe has gone.
    let mut out = stdout().lock();
    writeln!(
        out,
        "{}, threads: {}. {} words, {words} different.",
        Isa::current()?,
        pool.threads(),
        text.len()
    )?;
    writeln!(out, "{}", losses(&trained))?;
    writeln!(out, "{}", neighbours(&trained.model, &text)?)?;
    writeln!(out, "{}", steps(&costs, 2 * words))?;
    let same = if costs.same_bits { "yes" } else { "no, rows move without a gradient" };
    writeln!(out, "Both steps end with the same bits: {same}")?;
    writeln!(
        out,
        "Hash of all weights and states after {} steps: {:016x}",
        trained.steps,
        trained.model.hash()
    )?;
    let path = arguments.svg.clone().unwrap_or_else(|| in_target("embeddings.svg"));
    picture::draw(&path, &trained, &text)
        .map_err(|error| format!("cannot write `{}`: {error}", path.display()))?;
    writeln!(out, "Picture: {}", path.display())?;
    Ok(())
}

fn progress_bar(looks: u64) -> ProgressBar {
    if !stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{wide_bar} {percent} %, {eta} left");
    ProgressBar::new(looks).with_style(style.expect("a valid template"))
}

fn losses(trained: &Trained) -> Table {
    let ends = trained.losses.iter().filter(|losses| losses.epoch.fract() == 0.0);
    let row = |losses: &training::Losses| {
        [losses.epoch.to_string(), format!("{:.4}", losses.training), format!("{:.4}", losses.held_out)]
    };
    table(["epoch", "mean loss of a pair", "held out"], ends.map(row))
}

fn neighbours(model: &Model, text: &Text) -> Result<Table, String> {
    let frequent = text.counts.iter().zip(0..).take_while(|(count, _)| **count >= LEAST_COUNT);
    let frequent: Vec<u32> = frequent.map(|(_, word)| word).collect();
    let row = |word: &str| {
        let number = text.number(word)?;
        let others = frequent.iter().filter(|&&other| other != number);
        let mut near: Vec<(f32, u32)> =
            others.map(|&other| (model.cosine(number, other), other)).collect();
        near.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
        let name = |(cosine, other): &(f32, u32)| format!("{} {cosine:.2}", text.words[*other as usize]);
        let names: Vec<String> = near.iter().take(NEIGHBOURS).map(name).collect();
        Ok([word.to_owned(), text.counts[number as usize].to_string(), names.join(", ")])
    };
    let rows: Vec<_> = WORDS.into_iter().map(row).collect::<Result<_, String>>()?;
    Ok(table(["word", "count", "nearest words, by cosine"], rows.into_iter()))
}

fn steps(costs: &Costs, rows: usize) -> Table {
    let row = |what: &str, rows: f64, time: Duration| {
        let nanoseconds = time.as_nanos() as f64;
        [
            what.to_owned(),
            format!("{rows:.0}"),
            format!("{:.3} ms", 1e-6 * nanoseconds),
            format!("{:.0} ns", nanoseconds / rows),
        ]
    };
    let rows = [
        row("of the rows with a gradient", costs.rows, costs.of_rows),
        row("of the whole tables", rows as f64, costs.of_all),
    ];
    table(["step", "rows", "time", "time of a row"], rows.into_iter())
}

fn table<const N: usize>(header: [&str; N], rows: impl Iterator<Item = [String; N]>) -> Table {
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
