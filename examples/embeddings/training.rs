//! Training, and what its steps cost beside steps of whole tables.

use std::time::{Duration, Instant};

use downhill::{Error, Optimizer, Threads};
use indicatif::ProgressBar;

use crate::{
    model::Model,
    table::{step_all, step_rows},
    text::{Part, Sample, Sampler, Text},
};

/// How often the losses of an epoch are looked at.
const LOOKS: usize = 4;
/// Pairs of the held-out paragraphs at a time.
const CHUNK: usize = 8192;
/// Steps of each kind to take the time of.
const ROUNDS: usize = 51;

/// What all steps share.
#[derive(Clone, Copy)]
pub struct Settings<'a> {
    pub rule: &'a dyn Optimizer,
    pub batch_size: usize,
    pub seed: u64,
    pub threads: Threads<'a>,
}

/// What training led to.
pub struct Trained {
    pub model: Model,
    pub losses: Vec<Losses>,
    pub steps: u64,
}

/// Means over pairs.
pub struct Losses {
    pub epoch: f64,
    /// Since the last time, each at the weights that its gradient was taken at.
    pub training: f64,
    pub held_out: f64,
}

/// Rows of a step, and medians of what a step took.
pub struct Costs {
    pub rows: f64,
    pub of_rows: Duration,
    pub of_all: Duration,
    /// Do both kinds of steps lead to the same bits?
    pub same_bits: bool,
}

/// Trains `model` for some epochs.
pub fn train(
    mut model: Model,
    text: &Text,
    settings: Settings<'_>,
    epochs: u32,
    bar: &ProgressBar,
) -> Result<Trained, Error> {
    let held_out = HeldOut::new(text, settings.seed);
    let mut sampler = Sampler::new(text, settings.seed, 2);
    let (mut losses, mut steps) = (Vec::new(), 0);
    for epoch in 0..epochs {
        let pairs = sampler.pairs(Part::Training);
        let batches: Vec<_> = pairs.chunks(settings.batch_size).collect();
        for (look, batches) in (1..).zip(batches.chunks(batches.len().div_ceil(LOOKS))) {
            let (mut sum, mut count) = (0.0, 0);
            for batch in batches {
                let (loss, gradients) = model.gradients(&sampler.samples(batch));
                let (length, Settings { rule, threads, .. }) = (model.dimension, settings);
                steps += 1;
                step_rows(model.tables(), &gradients, length, rule, steps, threads)?;
                (sum, count) = (sum + loss, count + batch.len());
            }
            let epoch = f64::from(epoch) + f64::from(look) / LOOKS as f64;
            losses.push(Losses { epoch, training: sum / count as f64, held_out: held_out.loss(&model) });
            bar.inc(1);
        }
    }
    Ok(Trained { model, losses, steps })
}

/// How many times `train` looks at the losses.
pub fn looks(epochs: u32) -> u64 {
    u64::from(epochs) * LOOKS as u64
}

/// The pairs of the paragraphs that are not trained on, with always the same negative samples.
struct HeldOut {
    chunks: Vec<Vec<Sample>>,
    pairs: usize,
}

impl HeldOut {
    fn new(text: &Text, seed: u64) -> Self {
        let mut sampler = Sampler::new(text, seed, 3);
        let pairs = sampler.pairs(Part::HeldOut);
        let chunks = pairs.chunks(CHUNK).map(|pairs| sampler.samples(pairs)).collect();
        Self { chunks, pairs: pairs.len() }
    }

    fn loss(&self, model: &Model) -> f64 {
        self.chunks.iter().map(|samples| model.loss(samples)).sum::<f64>() / self.pairs as f64
    }
}

/// Goes on from `trained` twice with the same gradients: with steps of the rows, and with steps of the
/// whole tables, whose other gradients are zero.
pub fn compare(trained: &Trained, text: &Text, settings: Settings<'_>) -> Result<Costs, Error> {
    let Settings { rule, threads, .. } = settings;
    let (mut by_rows, mut by_all) = (trained.model.clone(), trained.model.clone());
    let length = by_rows.dimension;
    let mut zeros = by_rows.tables().map(|table| vec![0.0; table.w.len()]);
    let mut sampler = Sampler::new(text, settings.seed, 4);
    let pairs = sampler.pairs(Part::Training);
    let (mut rows, mut times) = (0, [Vec::new(), Vec::new()]);
    for (t, batch) in (trained.steps + 1..).zip(pairs.chunks(settings.batch_size).cycle().take(ROUNDS)) {
        let gradients = by_rows.gradients(&sampler.samples(batch)).1;
        for (all, some) in zeros.iter_mut().zip(&gradients) {
            for (g, &row) in some.g.chunks(length).zip(&some.rows) {
                all[row as usize * length..][..length].copy_from_slice(g);
            }
            rows += some.rows.len();
        }
        let start = Instant::now();
        step_rows(by_rows.tables(), &gradients, length, rule, t, threads)?;
        times[0].push(start.elapsed());
        let start = Instant::now();
        step_all(by_all.tables(), &zeros, rule, t, threads)?;
        times[1].push(start.elapsed());
        zeros.iter_mut().for_each(|g| g.fill(0.0));
    }
    let [of_rows, of_all] = times.map(|mut times| {
        times.sort_unstable();
        times[ROUNDS / 2]
    });
    let same_bits = by_rows.hash() == by_all.hash();
    Ok(Costs { rows: rows as f64 / ROUNDS as f64, of_rows, of_all, same_bits })
}
