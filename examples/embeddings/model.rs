//! Two tables with a row for each word, the gradients of a mini-batch, and steps: of its rows, or of all.

use downhill::{Adagrad, Error, Extras, Group, Rows, Tensor, Threads, step};
use rand_pcg::Pcg32;
use rayon::prelude::*;

use crate::{
    mixed::mixed,
    text::{NEGATIVES, unit},
};

#[derive(Clone)]
pub struct Model {
    dimension: usize,
    /// Weights and Adagrad's states: of words, whose vectors are what is wanted, and of words that stand
    /// near.
    tables: [[Vec<f32>; 2]; 2],
    /// Steps that were made.
    pub t: u64,
}

impl Model {
    /// Vectors of words uniform in ±½/dimension, the others and all states zero.
    pub fn new(words: usize, dimension: usize) -> Self {
        let (n, mut random) = (words * dimension, Pcg32::new(0, 1));
        let first = (0..n).map(|_| ((unit(&mut random) - 0.5) / dimension as f64) as f32).collect();
        let zeros = || vec![0.0; n];
        Self { dimension, tables: [[first, zeros()], [zeros(), zeros()]], t: 0 }
    }

    /// Of the bits of all weights and states.
    pub fn hash(&self) -> u64 {
        let [first, second] = self
            .tables
            .each_ref()
            .map(|[w, s]| w.iter().chain(s).fold(0, |hash, x| mixed(hash ^ u64::from(x.to_bits()))));
        mixed(first ^ mixed(second))
    }

    /// The vector of a word in one of the tables.
    pub fn vector(&self, table: usize, word: usize) -> &[f32] {
        &self.tables[table][0][word * self.dimension..][..self.dimension]
    }

    /// The sum over the samples of −ln σ(±x), where x is the dot product of their two vectors and + is
    /// for those that stand near; and its gradient in a row of each table for each sample.
    pub fn gradients(&self, [first, second]: &[Vec<i64>; 2]) -> (f64, [Vec<f32>; 2]) {
        let mut g = [(); 2].map(|()| vec![0.0; first.len() * self.dimension]);
        let [of_first, of_second] = g.each_mut().map(|g| g.par_chunks_mut(self.dimension));
        let samples = (first, second, of_first, of_second).into_par_iter().enumerate();
        let losses = samples.with_min_len(256).map(|(k, (&first, &second, of_first, of_second))| {
            let (first, second) = (self.vector(0, first as usize), self.vector(1, second as usize));
            let sign = if k % (1 + NEGATIVES) == 0 { 1.0 } else { -1.0 };
            let e = libm::exp(-sign * f64::from(dot(first, second)));
            let derivative = (-sign / (1.0 + 1.0 / e)) as f32;
            of_first.iter_mut().zip(second).for_each(|(g, x)| *g = derivative * x);
            of_second.iter_mut().zip(first).for_each(|(g, x)| *g = derivative * x);
            libm::log1p(e)
        });
        (losses.collect::<Vec<f64>>().iter().sum(), g)
    }

    /// Gradients of the whole tables, from those of rows, some of them more than once.
    pub fn whole(&self, g: &[Vec<f32>; 2], rows: &[Vec<i64>; 2]) -> [Vec<f32>; 2] {
        let mut whole = [(); 2].map(|()| vec![0.0; self.tables[0][0].len()]);
        for (whole, (g, rows)) in whole.iter_mut().zip(g.iter().zip(rows)) {
            for (g, &row) in g.chunks(self.dimension).zip(rows) {
                let sum = &mut whole[row as usize * self.dimension..][..self.dimension];
                sum.iter_mut().zip(g).for_each(|(sum, g)| *sum += g);
            }
        }
        whole
    }

    /// A step of the rows that are listed, some of them more than once; without lists, of all.
    pub fn step(&mut self, g: &[Vec<f32>; 2], lists: Option<&[Vec<i64>; 2]>) -> Result<(), Error> {
        let [[w, s], [w_near, s_near]] = &mut self.tables;
        let mut tensors = [Tensor::new(w, &g[0], [s]), Tensor::new(w_near, &g[1], [s_near])];
        for (tensor, rows) in tensors.iter_mut().zip(lists.into_iter().flatten()) {
            let mut rows = Rows::new(self.dimension, rows);
            rows.merge = true;
            tensor.rows = Some(rows);
        }
        self.t += 1;
        let config = Adagrad { lr: 0.05, ..Adagrad::default() };
        step(&mut [Group::new(&config, self.t, &mut tensors)], &Extras::default(), Threads::Rayon)?;
        Ok(())
    }
}

/// The sum of the products, every 16th in the same sum, so that a compiler can do 16 at once without
/// another order.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0; 16];
    for (a, b) in a.chunks(sums.len()).zip(b.chunks(sums.len())) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    sums.iter().sum()
}
