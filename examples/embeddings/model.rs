//! Two tables of vectors, and the gradient of the rows that a mini-batch touches.

use rand_pcg::Pcg32;
use rayon::prelude::*;

use crate::{
    mixed::mixed,
    table::{RowGradient, Table},
    text::{Sample, unit},
};

/// Sums that a dot product is added up in.
const SUMS: usize = 16;
/// Fewer samples, or rows, are not worth another thread.
const SAMPLES_PER_THREAD: usize = 256;
const ROWS_PER_THREAD: usize = 64;

#[derive(Clone)]
pub struct Model {
    pub dimension: usize,
    /// The vectors of words, which are what is wanted.
    input: Table,
    /// The vectors of words that stand near.
    output: Table,
}

impl Model {
    /// Input vectors uniform in ±½/dimension, output vectors zero.
    pub fn new(words: usize, dimension: usize, states: usize, seed: u64) -> Self {
        let random = &mut Pcg32::new(seed, 1);
        let mut element = || ((unit(random) - 0.5) / dimension as f64) as f32;
        let input = (0..words * dimension).map(|_| element()).collect();
        let output = vec![0.0; words * dimension];
        Self { dimension, input: Table::new(input, states), output: Table::new(output, states) }
    }

    pub fn tables(&mut self) -> [&mut Table; 2] {
        [&mut self.input, &mut self.output]
    }

    /// Of the bits of both tables.
    pub fn hash(&self) -> u64 {
        mixed(self.input.hash() ^ mixed(self.output.hash()))
    }

    /// The vector of a word.
    pub fn vector(&self, word: u32) -> &[f32] {
        row(&self.input, word, self.dimension)
    }

    /// The cosine of the angle between the vectors of two words.
    pub fn cosine(&self, a: u32, b: u32) -> f32 {
        let (a, b) = (self.vector(a), self.vector(b));
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    }

    /// The sum of the samples' losses.
    pub fn loss(&self, samples: &[Sample]) -> f64 {
        self.derivatives(samples).0
    }

    /// The same, and its gradients in both tables.
    pub fn gradients(&self, samples: &[Sample]) -> (f64, [RowGradient; 2]) {
        let (loss, derivatives) = self.derivatives(samples);
        let input =
            self.gradient(samples, &derivatives, |sample| (sample.input, sample.output), &self.output);
        let output =
            self.gradient(samples, &derivatives, |sample| (sample.output, sample.input), &self.input);
        (loss, [input, output])
    }

    /// The sum over the samples of −ln σ(±x), where x is the dot product of their two vectors and + is
    /// for those that stand near; and each one's derivative by x.
    fn derivatives(&self, samples: &[Sample]) -> (f64, Vec<f32>) {
        let of = |sample: &Sample| {
            let output = row(&self.output, sample.output, self.dimension);
            let x = f64::from(dot(self.vector(sample.input), output));
            let sign = if sample.is_near { 1.0 } else { -1.0 };
            let e = libm::exp(-sign * x);
            (libm::log1p(e), (-sign / (1.0 + 1.0 / e)) as f32)
        };
        let samples = samples.par_iter().with_min_len(SAMPLES_PER_THREAD);
        let (losses, derivatives): (Vec<f64>, Vec<f32>) = samples.map(of).unzip();
        (losses.iter().sum(), derivatives)
    }

    /// For each row of a table that samples have, the sum of its partners, rows of the `other` table,
    /// times the derivatives: in the order of the samples, whichever thread does it.
    fn gradient(
        &self,
        samples: &[Sample],
        derivatives: &[f32],
        row_and_partner: impl Fn(&Sample) -> (u32, u32),
        other: &Table,
    ) -> RowGradient {
        let with_place = |(place, sample)| {
            let (row, partner) = row_and_partner(sample);
            (row, place, partner)
        };
        let mut places: Vec<(u32, usize, u32)> = samples.iter().enumerate().map(with_place).collect();
        places.sort_unstable();
        let rows: Vec<_> = places.chunk_by(|a, b| a.0 == b.0).collect();
        let mut g = vec![0.0; rows.len() * self.dimension];
        g.par_chunks_mut(self.dimension).zip(&rows).with_min_len(ROWS_PER_THREAD).for_each(
            |(g, places)| {
                for &(_, place, partner) in *places {
                    for (g, x) in g.iter_mut().zip(row(other, partner, self.dimension)) {
                        *g += derivatives[place] * x;
                    }
                }
            },
        );
        RowGradient { rows: rows.iter().map(|places| places[0].0.into()).collect(), g }
    }
}

fn row(table: &Table, number: u32, length: usize) -> &[f32] {
    &table.w[number as usize * length..][..length]
}

/// The sum of the products, every 16th in the same sum, so that a compiler can do 16 at once without
/// another order.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0; SUMS];
    for (a, b) in a.chunks(SUMS).zip(b.chunks(SUMS)) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    sums.iter().sum()
}
