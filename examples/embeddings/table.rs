//! A table with a row for each word, and its two kinds of steps: of some rows, and of all.

use downhill::{Error, Extras, Group, Optimizer, States, Tensor, Threads, step};

use crate::mixed::mixed;

/// Weights and a rule's states, row by row.
#[derive(Clone)]
pub struct Table {
    pub w: Vec<f32>,
    states: Vec<Vec<f32>>,
}

/// The gradient of some rows of a table.
pub struct RowGradient {
    /// Their numbers, rising.
    pub rows: Vec<i64>,
    /// The rows one after another.
    pub g: Vec<f32>,
}

impl Table {
    /// With states that are zero.
    pub fn new(w: Vec<f32>, states: usize) -> Self {
        Self { states: vec![vec![0.0; w.len()]; states], w }
    }

    /// Of the bits of all weights and states.
    pub fn hash(&self) -> u64 {
        let arrays = [&self.w].into_iter().chain(&self.states);
        arrays.flatten().fold(0, |hash, x| mixed(hash ^ u64::from(x.to_bits())))
    }

    fn tensor<'a>(&'a mut self, g: &'a [f32]) -> Tensor<'a> {
        let states: States = self.states.iter_mut().map(Vec::as_mut_slice).collect();
        Tensor::new(&mut self.w, g, states)
    }

    /// A table of these rows alone.
    fn gathered(&self, rows: &[i64], length: usize) -> Self {
        let of = |from: &Vec<f32>| {
            let rows = rows.iter().map(|&row| &from[row as usize * length..][..length]);
            rows.collect::<Vec<_>>().concat()
        };
        Self { w: of(&self.w), states: self.states.iter().map(of).collect() }
    }

    /// Takes these rows from a table of them alone.
    fn scatter(&mut self, rows: &[i64], length: usize, from: &Self) {
        let arrays = [&mut self.w].into_iter().chain(&mut self.states);
        for (to, from) in arrays.zip([&from.w].into_iter().chain(&from.states)) {
            for (from, &row) in from.chunks(length).zip(rows) {
                to[row as usize * length..][..length].copy_from_slice(from);
            }
        }
    }
}

/// One step of those rows of two tables that have a gradient: of a copy of them, which then goes back.
pub fn step_rows(
    tables: [&mut Table; 2],
    gradients: &[RowGradient; 2],
    length: usize,
    rule: &dyn Optimizer,
    t: u64,
    threads: Threads<'_>,
) -> Result<(), Error> {
    let [input, output] = tables;
    let [input_g, output_g] = gradients;
    let mut input_rows = input.gathered(&input_g.rows, length);
    let mut output_rows = output.gathered(&output_g.rows, length);
    let mut tensors = [input_rows.tensor(&input_g.g), output_rows.tensor(&output_g.g)];
    step(&mut [Group::new(rule, t, &mut tensors)], &Extras::default(), threads)?;
    input.scatter(&input_g.rows, length, &input_rows);
    output.scatter(&output_g.rows, length, &output_rows);
    Ok(())
}

/// One step of all rows of two tables.
pub fn step_all(
    tables: [&mut Table; 2],
    g: &[Vec<f32>; 2],
    rule: &dyn Optimizer,
    t: u64,
    threads: Threads<'_>,
) -> Result<(), Error> {
    let [input, output] = tables;
    let mut tensors = [input.tensor(&g[0]), output.tensor(&g[1])];
    step(&mut [Group::new(rule, t, &mut tensors)], &Extras::default(), threads).map(drop)
}
