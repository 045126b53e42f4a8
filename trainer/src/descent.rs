//! Stochastic gradient descent in its four walks over a training set: which samples make a step, and
//! in what order they come.
//!
//! The objective is the *sum* of the samples' losses unless [`Reduction::Mean`] is chosen. The gradient
//! of a step then grows with the number of its samples: for a rule whose step grows with it, such as
//! SGD, the learning rate of a mean is to be divided by that number. Adam's step is the same for both.
//!
//! ```
//! use downhill::{Sgd, sgd_step};
//! use trainer::data::Data;
//! use trainer::models::{LinearRegression, Model};
//! use trainer::{Mode, Options, Trainer};
//!
//! let model = LinearRegression::new(1, 1)?;
//! let data = Data { inputs: &[0.0, 1.0, 2.0], targets: &[1.0, 3.0, 5.0] }; // y = 2·x + 1
//! let options = Options { mode: Mode::MiniBatch { batch_size: 2 }, ..Options::default() };
//! let mut trainer = Trainer::new(model, data, model.initial_weights(0), 0, options)?;
//! for _epoch in 0..200 {
//!     trainer.epoch(|w, g, _state, _t| sgd_step(w, g, &Sgd { lr: 0.1, ..Sgd::default() }))?;
//! }
//! let [slope, intercept] = trainer.weights() else { unreachable!() };
//! assert!((slope - 2.0).abs() < 1e-3 && (intercept - 1.0).abs() < 1e-3);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use rand_pcg::{Pcg32, rand_core::Rng};

use crate::{
    data::{Data, InputError, check_length, check_positive},
    models::{Model, class},
};
use downhill::Error;

/// The stream of the generator that the sample order comes from; another one than the weights'.
const STREAM: u64 = 2;

/// How many samples make a step, and how many are in memory at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One step an epoch, with the gradient of all samples.
    FullBatch,
    /// The steps of [`Mode::FullBatch`], bit by bit, with memory for one mini-batch: the gradient is
    /// added up over mini-batches.
    Accumulated {
        /// Samples in memory, at least 1. The last mini-batch may be smaller.
        batch_size: usize,
    },
    /// A step after each sample.
    PerSample,
    /// A step after each mini-batch.
    MiniBatch {
        /// Samples of a step, at least 1. The last step of an epoch may have fewer.
        batch_size: usize,
    },
}

/// The samples of an epoch. It has as many as the training set in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Each once, as they stand.
    InOrder,
    /// Each once, shuffled anew in every epoch: uniformly, without replacement.
    #[default]
    Shuffled,
    /// Each drawn from all of them: uniformly, with replacement.
    WithReplacement,
}

/// What the gradient of a step is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reduction {
    /// The sum of the losses of its samples.
    #[default]
    Sum,
    /// Their mean: the gradient of the sum divided by the number of samples of the step.
    Mean,
}

/// How a [`Trainer`] walks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Default: mini-batches of 32.
    pub mode: Mode,
    /// Default: shuffled.
    pub order: Order,
    /// Default: sum.
    pub reduction: Reduction,
    /// Where the sample order comes from, the same on every platform. Default 0.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            mode: Mode::MiniBatch { batch_size: 32 },
            order: Order::Shuffled,
            reduction: Reduction::Sum,
            seed: 0,
        }
    }
}

impl Options {
    /// `(samples in memory, samples of a step)`
    fn sizes(&self, samples: usize) -> Result<(usize, usize), InputError> {
        match self.mode {
            Mode::FullBatch => Ok((samples, samples)),
            Mode::PerSample => Ok((1, 1)),
            Mode::Accumulated { batch_size } => {
                check_positive("`batch_size`", batch_size)?;
                Ok((batch_size.min(samples), samples))
            }
            Mode::MiniBatch { batch_size } => {
                check_positive("`batch_size`", batch_size)?;
                Ok((batch_size.min(samples), batch_size.min(samples)))
            }
        }
    }
}

/// One run: weights, the rule's state and the place in the sample order. The rule itself is passed to
/// every [`epoch`](Trainer::epoch), so that two runs with different steps can take turns.
#[derive(Clone, Debug)]
pub struct Trainer<'a, M: Model> {
    model: M,
    data: Data<'a, M::Target>,
    w: Vec<f32>,
    g: Vec<f32>,
    states: Vec<Vec<f32>>,
    t: u64,
    batch: Batch<M::Target>,
    step_size: usize,
    reduction: Reduction,
    order: SampleOrder,
}

impl<'a, M: Model> Trainer<'a, M> {
    /// A run that starts from the weights `w`, for a rule with this number of states, which start as
    /// zeros.
    ///
    /// # Errors
    /// [`InputError`] if the data is empty, disagrees in its lengths or names a class that the model
    /// does not have, if `w` is not as long as the model's parameters, or if `batch_size` is 0.
    pub fn new(
        model: M,
        data: Data<'a, M::Target>,
        w: Vec<f32>,
        states: usize,
        options: Options,
    ) -> Result<Self, InputError> {
        let samples = data.check(&model)?;
        check_length("w", w.len(), model.parameters())?;
        let (batch_size, step_size) = options.sizes(samples)?;
        Ok(Self {
            g: vec![0.0; w.len()],
            states: vec![vec![0.0; w.len()]; states],
            t: 0,
            batch: Batch::new(&model, batch_size),
            step_size,
            reduction: options.reduction,
            order: SampleOrder::new(samples, options.order, options.seed),
            model,
            data,
            w,
        })
    }

    /// One walk over as many samples as the training set has. For each step, `step(w, g, states, t)` is
    /// called once, `t` counting from 1 over all epochs. It may change `g`, which is clipped or set to
    /// zero.
    ///
    /// Returns the sum of the samples' losses, each at the weights that its gradient was taken at.
    ///
    /// # Errors
    /// What `step` returns, which ends the epoch. It has not been counted in
    /// [`steps`](Trainer::steps) then.
    pub fn epoch<F>(&mut self, mut step: F) -> Result<f64, Error>
    where
        F: FnMut(&mut [f32], &mut [f32], &mut [&mut [f32]], u64) -> Result<(), Error>,
    {
        let Self { model, data, w, g, batch, .. } = self;
        let mut states: Vec<&mut [f32]> = self.states.iter_mut().map(Vec::as_mut_slice).collect();
        let mut loss = 0.0;
        for samples in self.order.next_epoch().chunks(self.step_size) {
            g.fill(0.0);
            for samples in samples.chunks(batch.size) {
                loss += batch.gradient(model, data, samples, w, g);
            }
            if self.reduction == Reduction::Mean {
                divide(g, samples.len());
            }
            step(w, g, &mut states, self.t + 1)?;
            self.t += 1;
        }
        Ok(loss)
    }

    /// The sum of the losses of `data` at the weights of this moment.
    ///
    /// # Errors
    /// [`InputError`] if it is no data for this model.
    pub fn loss(&mut self, data: Data<'_, M::Target>) -> Result<f64, InputError> {
        let Self { model, batch, w, .. } = self;
        let samples: Vec<usize> = (0..data.check(model)?).collect();
        Ok(samples.chunks(batch.size).map(|samples| batch.loss(model, &data, samples, w)).sum())
    }

    /// The weights.
    pub fn weights(&self) -> &[f32] {
        &self.w
    }

    /// The rule's states.
    pub fn states(&self) -> &[Vec<f32>] {
        &self.states
    }

    /// The gradient of the last step, as the step left it.
    pub fn gradient(&self) -> &[f32] {
        &self.g
    }

    /// How many steps have been made: the `t` of the last one.
    pub fn steps(&self) -> u64 {
        self.t
    }

    /// The samples of the last epoch, in the order of their visits.
    pub fn visited(&self) -> &[usize] {
        if self.t == 0 { &[] } else { &self.order.samples }
    }
}

impl<M: Model<Target = usize>> Trainer<'_, M> {
    /// The share of `data`, from 0 to 1, whose class the weights of this moment predict.
    ///
    /// # Errors
    /// [`InputError`] if it is no data for this model.
    pub fn accuracy(&mut self, data: Data<'_, usize>) -> Result<f64, InputError> {
        let Self { model, batch, w, .. } = self;
        let samples: Vec<usize> = (0..data.check(model)?).collect();
        let right = samples.chunks(batch.size).map(|samples| batch.right(model, &data, samples, w));
        Ok(right.sum::<usize>() as f64 / samples.len() as f64)
    }
}

/// All the memory that grows with the size of a mini-batch: its samples side by side, and what the
/// model keeps of them.
#[derive(Clone, Debug)]
struct Batch<T> {
    size: usize,
    inputs: Vec<f32>,
    targets: Vec<T>,
    activations: Vec<f32>,
}

impl<T: Copy> Batch<T> {
    fn new<M: Model<Target = T>>(model: &M, size: usize) -> Self {
        Self {
            size,
            inputs: Vec::with_capacity(size * model.inputs()),
            targets: Vec::with_capacity(size * model.targets()),
            activations: vec![0.0; size * model.activations()],
        }
    }

    fn gradient<M: Model<Target = T>>(
        &mut self,
        model: &M,
        data: &Data<'_, T>,
        samples: &[usize],
        w: &[f32],
        g: &mut [f32],
    ) -> f64 {
        let activations = self.gather(model, data, samples);
        model.gradient(w, &self.inputs, &self.targets, &mut self.activations[..activations], g)
    }

    fn loss<M: Model<Target = T>>(
        &mut self,
        model: &M,
        data: &Data<'_, T>,
        samples: &[usize],
        w: &[f32],
    ) -> f64 {
        let activations = self.gather(model, data, samples);
        let activations = &mut self.activations[..activations];
        model.forward(w, &self.inputs, activations);
        model.loss(&self.targets, activations)
    }

    /// Copies `samples` side by side and returns the length of their activations.
    fn gather<M: Model<Target = T>>(
        &mut self,
        model: &M,
        data: &Data<'_, T>,
        samples: &[usize],
    ) -> usize {
        self.inputs.clear();
        self.targets.clear();
        for &sample in samples {
            self.inputs.extend_from_slice(row(data.inputs, sample, model.inputs()));
            self.targets.extend_from_slice(row(data.targets, sample, model.targets()));
        }
        samples.len() * model.activations()
    }
}

impl Batch<usize> {
    /// How many of `samples` are predicted right.
    fn right<M: Model<Target = usize>>(
        &mut self,
        model: &M,
        data: &Data<'_, usize>,
        samples: &[usize],
        w: &[f32],
    ) -> usize {
        let activations = self.gather(model, data, samples);
        let outputs = model.predict(w, &self.inputs, &mut self.activations[..activations]);
        let scores = outputs.chunks_exact(model.outputs());
        scores.zip(&self.targets).filter(|&(scores, &target)| class(scores) == target).count()
    }
}

fn row<T>(rows: &[T], index: usize, len: usize) -> &[T] {
    &rows[index * len..][..len]
}

fn divide(g: &mut [f32], samples: usize) {
    let samples = samples as f32;
    g.iter_mut().for_each(|g| *g /= samples);
}

/// Which samples an epoch visits. Drawn here and not by a library, and from 64 bits whatever the width
/// of `usize`: a seed then means the same run for ever.
#[derive(Clone, Debug)]
struct SampleOrder {
    samples: Vec<usize>,
    order: Order,
    random: Pcg32,
}

impl SampleOrder {
    fn new(samples: usize, order: Order, seed: u64) -> Self {
        Self { samples: (0..samples).collect(), order, random: Pcg32::new(seed, STREAM) }
    }

    fn next_epoch(&mut self) -> &[usize] {
        match self.order {
            Order::InOrder => {}
            Order::Shuffled => self.shuffle(),
            Order::WithReplacement => self.draw(),
        }
        &self.samples
    }

    /// Durstenfeld, *Algorithm 235: Random permutation*, 1964.
    fn shuffle(&mut self) {
        for last in (1..self.samples.len()).rev() {
            let chosen = below(&mut self.random, last + 1);
            self.samples.swap(chosen, last);
        }
    }

    fn draw(&mut self) {
        let n = self.samples.len();
        self.samples.fill_with(|| below(&mut self.random, n));
    }
}

/// Uniform in `0..n`.
fn below(random: &mut Pcg32, n: usize) -> usize {
    let n = n as u64;
    // The largest multiple of `n`: from there on, small remainders would come up once too often.
    let end = u64::MAX - u64::MAX % n;
    loop {
        let bits = random.next_u64();
        if bits < end {
            return (bits % n) as usize;
        }
    }
}
