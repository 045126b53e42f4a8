//! Learns vectors for the words of three novels. A step touches the few rows of two tables whose words
//! are in a mini-batch: what it costs beside a step of the whole tables, and which words come to lie
//! near each other.
//!
//! `cargo run --release --example embeddings -- --help`

use std::{
    error::Error,
    io::{Write, stdout},
    path::PathBuf,
    time::Instant,
};

use clap::Parser;
use downhill::Isa;
use indicatif::{ProgressBar, ProgressStyle};
use rayon::{ThreadPoolBuilder, current_num_threads};

#[path = "common/mixed.rs"]
mod mixed;
#[path = "embeddings/model.rs"]
mod model;
#[path = "common/palette.rs"]
mod palette;
#[path = "embeddings/picture.rs"]
mod picture;
#[path = "common/target.rs"]
mod target;
#[path = "embeddings/text.rs"]
mod text;

use model::{Model, dot};
use target::in_target;
use text::{Sampler, Text};

/// Learns vectors for the words of three novels by Jane Austen with Adagrad, by skip-gram with negative
/// sampling (Mikolov et al., 2013): two tables with a row for each word, of which a step touches those
/// of the words that its mini-batch has.
///
/// Every twentieth paragraph is held out. Prints the losses, the words that lie nearest to some, and
/// what a step of the rows costs beside one of the whole tables. Bits are the same with any number of
/// threads and on any CPU. Draws some words where their vectors lie.
#[derive(Parser)]
#[command(name = "embeddings", allow_negative_numbers = true)]
struct Arguments {
    /// Elements of a vector, from 1 to 1024
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    dimension: u16,
    /// Walks over the text, from 1 to 1000
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    epochs: u32,
    /// Threads, from 1 to 1024; 0 for one for each CPU
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=1024))]
    threads: u16,
    /// Where to draw [default: embeddings.svg in the target directory]
    #[arg(long, value_name = "PATH")]
    svg: Option<PathBuf>,
}

/// Pairs of words of a mini-batch.
const BATCH: usize = 1024;
/// Words whose neighbours are printed.
const WORDS: [&str; 8] =
    ["sister", "elizabeth", "emma", "evening", "five", "carriage", "letter", "dance"];
/// How many of them.
const NEIGHBOURS: usize = 6;
/// Rarer words are nobody's neighbours: they have hardly been trained.
const LEAST_COUNT: u32 = 20;
/// Steps of each kind to take the time of.
const ROUNDS: usize = 51;

fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { dimension, epochs, threads, svg } = Arguments::parse();
    ThreadPoolBuilder::new().num_threads(threads.into()).build_global()?;
    let text = Text::load();
    let mut model = Model::new(text.words.len(), dimension.into());

    // Not println!, which panics when the reader of a pipe has gone.
    let mut out = stdout().lock();
    let (isa, threads, words) = (Isa::current()?, current_num_threads(), text.words.len());
    writeln!(out, "{isa}, threads: {threads}. {words} different words.")?;
    let mut sampler = Sampler::new(&text, 2);
    for epoch in 1..=epochs {
        let loss = train(&mut model, &mut sampler)?;
        let held_out = held_out_loss(&model, &text);
        writeln!(out, "Epoch {epoch}, mean loss of a pair: {loss:.4}, held out: {held_out:.4}")?;
    }
    for word in WORDS {
        writeln!(out, "Near {word}: {}", neighbours(&model, &text, word).join(", "))?;
    }
    writeln!(out, "{}", compare(&model, &text)?)?;
    writeln!(out, "Hash of all weights and states after {} steps: {:016x}", model.t, model.hash())?;
    let path = svg.unwrap_or_else(|| in_target("embeddings.svg"));
    picture::draw(&path, &text, &model)?;
    writeln!(out, "Picture: {}", path.display())?;
    Ok(())
}

/// Trains for an epoch, and gives the mean loss of a pair, each with the weights before its step.
fn train(model: &mut Model, sampler: &mut Sampler) -> Result<f64, downhill::Error> {
    let pairs = sampler.pairs(false);
    let style = ProgressStyle::with_template("{wide_bar} {percent} %, {eta} left").expect("it is valid");
    let bar = ProgressBar::new(pairs.len().div_ceil(BATCH) as u64).with_style(style);
    let mut sum = 0.0;
    for batch in bar.wrap_iter(pairs.chunks(BATCH)) {
        let rows = sampler.samples(batch);
        let (loss, g) = model.gradients(&rows);
        model.step(&g, Some(&rows))?;
        sum += loss;
    }
    bar.finish_and_clear();
    Ok(sum / pairs.len() as f64)
}

/// The mean loss of the pairs of held-out paragraphs, with always the same negative samples.
fn held_out_loss(model: &Model, text: &Text) -> f64 {
    let mut sampler = Sampler::new(text, 3);
    let pairs = sampler.pairs(true);
    let losses = pairs.chunks(BATCH).map(|batch| model.gradients(&sampler.samples(batch)).0);
    losses.sum::<f64>() / pairs.len() as f64
}

/// The words whose vectors have the largest cosine with that of a word.
fn neighbours(model: &Model, text: &Text, word: &str) -> Vec<String> {
    let vector = model.vector(0, text.number(word));
    let cosine = |other: &[f32]| dot(vector, other) / (dot(vector, vector) * dot(other, other)).sqrt();
    let frequent = text.words.iter().take_while(|(_, count)| *count >= LEAST_COUNT).enumerate();
    let others = frequent.filter(|(_, (other, _))| other != word);
    let mut near: Vec<_> = others.map(|(k, (other, _))| (cosine(model.vector(0, k)), other)).collect();
    near.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    near.iter().take(NEIGHBOURS).map(|(cosine, other)| format!("{other} {cosine:.2}")).collect()
}

/// Goes on twice with the same gradients: with steps of rows, and with steps of the whole tables.
fn compare(model: &Model, text: &Text) -> Result<String, downhill::Error> {
    let (mut by_rows, mut by_all) = (model.clone(), model.clone());
    let mut sampler = Sampler::new(text, 4);
    let pairs = sampler.pairs(false);
    let mut times = [const { Vec::new() }; 3];
    for batch in pairs.chunks(BATCH).cycle().take(ROUNDS) {
        let rows = sampler.samples(batch);
        let g = by_rows.gradients(&rows).1;
        let start = Instant::now();
        by_rows.step(&g, Some(&rows))?;
        times[0].push(start.elapsed());
        let start = Instant::now();
        let whole = by_all.whole(&g, &rows);
        times[1].push(start.elapsed());
        let start = Instant::now();
        by_all.step(&whole, None)?;
        times[2].push(start.elapsed());
    }
    let [of_rows, of_sums, of_all] = times.map(|mut times| {
        times.sort_unstable();
        1e3 * times[ROUNDS / 2].as_secs_f64()
    });
    let same = if by_rows.hash() == by_all.hash() { "yes" } else { "no" };
    Ok(format!(
        "A step of the rows of a mini-batch: {of_rows:.2} ms. To add up gradients of the whole tables: \
         {of_sums:.2} ms, and their step: {of_all:.2} ms (medians). The same bits: {same}"
    ))
}
