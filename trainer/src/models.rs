//! Small models with gradients written by hand: linear regression, softmax regression, and a network
//! with one hidden layer.
//!
//! All parameters of a model are one flat array `w`, their gradient another of the same layout, so
//! that any step can be used on them. A mini-batch goes through three stages that share one array, the
//! `activations` of the whole batch: [`forward`](Model::forward) fills it, [`loss`](Model::loss)
//! turns the outputs in it into `∂L/∂output`, [`backward`](Model::backward) adds the gradient of the
//! *sum* of the samples' losses to `g`, sample by sample. What the bits of `g` depend on is therefore
//! the order of the samples and not how they are cut into mini-batches.
//!
//! Every operation is rounded to `f32` in the order written. Exponentials, logarithms and tanh are
//! computed in `f64` by the `libm` crate and rounded, so that every platform has the same bits.
//!
//! ```
//! use trainer::models::{Model, SoftmaxRegression};
//!
//! let model = SoftmaxRegression::new(2, 3)?;
//! let (w, inputs, classes) = (model.initial_weights(0), [0.5, -1.0, 2.0, 0.0], [2, 0]);
//! let mut activations = vec![0.0; 2 * model.activations()];
//! let mut g = vec![0.0; model.parameters()];
//! let loss = model.gradient(&w, &inputs, &classes, &mut activations, &mut g);
//! assert!(loss > 0.0);
//! # Ok::<(), trainer::data::InputError>(())
//! ```

use rand_pcg::Pcg32;

pub use crate::layers::Activation;
use crate::{
    data::{InputError, check_classes, check_positive},
    layers::{self, Affine},
};

/// The stream of the generator that initial weights come from; another one than the sample order's.
const STREAM: u64 = 1;

/// A model and its loss, for mini-batches.
///
/// The arrays of a batch hold its samples one after another: [`inputs`](Model::inputs) values each,
/// [`targets`](Model::targets) and [`activations`](Model::activations) likewise.
///
/// # Panics
/// All methods that take arrays panic if their lengths are not those of one batch, and
/// [`loss`](Model::loss) if a class is too large.
/// [`Trainer`](crate::Trainer) checks its data once, and returns an error.
pub trait Model {
    /// What a target is made of: `f32` for a regression, the class for a classification.
    type Target: Copy;

    /// Inputs of a sample.
    fn inputs(&self) -> usize;

    /// Outputs of a sample: predictions, or one score for each class.
    fn outputs(&self) -> usize;

    /// Targets of a sample.
    fn targets(&self) -> usize;

    /// The length of `w` and `g`.
    fn parameters(&self) -> usize;

    /// What [`forward`](Model::forward) keeps of a sample, in `f32` values.
    fn activations(&self) -> usize;

    /// Weights to start from: the same for a seed on every platform.
    ///
    /// Those of a layer are uniform in ±√(6/(its inputs + its outputs)), its biases 0.
    fn initial_weights(&self, seed: u64) -> Vec<f32>;

    /// Are all of them targets that this model can have?
    ///
    /// # Errors
    /// [`InputError::Class`] if a class is too large.
    fn check_targets(&self, targets: &[Self::Target]) -> Result<(), InputError>;

    /// Fills `activations`; the last of it are the outputs of the batch.
    fn forward(&self, w: &[f32], inputs: &[f32], activations: &mut [f32]);

    /// The sum of the batch's losses, added up in the order of the samples. The outputs in
    /// `activations` are replaced by the derivatives of their losses.
    fn loss(&self, targets: &[Self::Target], activations: &mut [f32]) -> f64;

    /// Adds the gradient of the sum of the batch's losses to `g`, sample by sample. Destroys
    /// `activations`.
    fn backward(&self, w: &[f32], inputs: &[f32], activations: &mut [f32], g: &mut [f32]);

    /// All three stages: adds the gradient to `g` and returns the sum of the losses.
    fn gradient(
        &self,
        w: &[f32],
        inputs: &[f32],
        targets: &[Self::Target],
        activations: &mut [f32],
        g: &mut [f32],
    ) -> f64 {
        self.forward(w, inputs, activations);
        let loss = self.loss(targets, activations);
        self.backward(w, inputs, activations, g);
        loss
    }

    /// The outputs of the batch. That of a classification are scores: see [`class`].
    fn predict<'a>(&self, w: &[f32], inputs: &[f32], activations: &'a mut [f32]) -> &'a [f32] {
        self.forward(w, inputs, activations);
        let hidden = inputs.len() / self.inputs() * (self.activations() - self.outputs());
        &activations[hidden..]
    }
}

/// The class with the largest of a sample's scores, the first of equals.
pub fn class(scores: &[f32]) -> usize {
    layers::largest(scores)
}

/// The number of samples, once the lengths agree.
fn batch(model: &impl Model, w: &[f32], inputs: &[f32], activations: &[f32]) -> usize {
    let samples = inputs.len() / model.inputs();
    assert_eq!(w.len(), model.parameters(), "length of `w`");
    assert_eq!(inputs.len(), samples * model.inputs(), "length of `inputs`");
    assert_eq!(activations.len(), samples * model.activations(), "length of `activations`");
    samples
}

/// `y = W·x + b`, with the squared error `L = ½·‖y − target‖²`.
///
/// `w` is `W`, the row of weights that leaves input 0 first (inputs × outputs), then `b`. The gradient:
/// `d = y − target`, `∂L/∂W_ik = x_i·d_k`, `∂L/∂b = d`.
///
/// Order of operations, for each sample: `y` starts as `b` and takes `x_0·W_0`, `x_1·W_1`, ... in turn;
/// the squares of `d` are added from 0 in the order of the outputs, and halved.
#[derive(Clone, Copy, Debug)]
pub struct LinearRegression(Affine);

impl LinearRegression {
    /// A model of this size, both at least 1.
    ///
    /// # Errors
    /// [`InputError::Zero`]
    pub fn new(inputs: usize, outputs: usize) -> Result<Self, InputError> {
        check_positive("`inputs`", inputs)?;
        check_positive("`outputs`", outputs)?;
        Ok(Self(Affine { inputs, outputs }))
    }
}

impl Model for LinearRegression {
    type Target = f32;

    fn inputs(&self) -> usize {
        self.0.inputs
    }

    fn outputs(&self) -> usize {
        self.0.outputs
    }

    fn targets(&self) -> usize {
        self.0.outputs
    }

    fn parameters(&self) -> usize {
        self.0.parameters()
    }

    fn activations(&self) -> usize {
        self.0.outputs
    }

    fn initial_weights(&self, seed: u64) -> Vec<f32> {
        initial_weights(seed, &[self.0])
    }

    fn check_targets(&self, _: &[f32]) -> Result<(), InputError> {
        Ok(())
    }

    fn forward(&self, w: &[f32], inputs: &[f32], activations: &mut [f32]) {
        batch(self, w, inputs, activations);
        forward(self.0, w, inputs, activations);
    }

    fn loss(&self, targets: &[f32], activations: &mut [f32]) -> f64 {
        assert_eq!(targets.len(), activations.len(), "length of `targets`");
        let samples =
            activations.chunks_exact_mut(self.0.outputs).zip(targets.chunks_exact(self.0.outputs));
        sum(samples.map(|(y, target)| layers::squared_error(y, target)))
    }

    fn backward(&self, w: &[f32], inputs: &[f32], activations: &mut [f32], g: &mut [f32]) {
        batch(self, w, inputs, activations);
        backward(self.0, inputs, activations, g);
    }
}

/// `z = W·x + b`, `p_k = e^{z_k}/Σ e^{z_j}`, with the cross-entropy `L = −ln p_class`.
///
/// `w` is `W`, the row of weights that leaves input 0 first (inputs × classes), then `b`. The gradient:
/// `d = p`, less 1 at the class, `∂L/∂W_ik = x_i·d_k`, `∂L/∂b = d`.
///
/// Order of operations, for each sample: `z` starts as `b` and takes `x_0·W_0`, `x_1·W_1`, ... in turn;
/// `s_k = z_k − max z`; `e_k = exp s_k`, added from 0 in the order of the classes to `E`; `p_k = e_k/E`;
/// `d_class = p_class − 1`; `L = ln E − s_class`.
#[derive(Clone, Copy, Debug)]
pub struct SoftmaxRegression(Affine);

impl SoftmaxRegression {
    /// A model of this size, both at least 1.
    ///
    /// # Errors
    /// [`InputError::Zero`]
    pub fn new(inputs: usize, classes: usize) -> Result<Self, InputError> {
        check_positive("`inputs`", inputs)?;
        check_positive("`classes`", classes)?;
        Ok(Self(Affine { inputs, outputs: classes }))
    }
}

impl Model for SoftmaxRegression {
    type Target = usize;

    fn inputs(&self) -> usize {
        self.0.inputs
    }

    fn outputs(&self) -> usize {
        self.0.outputs
    }

    fn targets(&self) -> usize {
        1
    }

    fn parameters(&self) -> usize {
        self.0.parameters()
    }

    fn activations(&self) -> usize {
        self.0.outputs
    }

    fn initial_weights(&self, seed: u64) -> Vec<f32> {
        initial_weights(seed, &[self.0])
    }

    fn check_targets(&self, targets: &[usize]) -> Result<(), InputError> {
        check_classes(targets, self.0.outputs)
    }

    fn forward(&self, w: &[f32], inputs: &[f32], activations: &mut [f32]) {
        batch(self, w, inputs, activations);
        forward(self.0, w, inputs, activations);
    }

    fn loss(&self, targets: &[usize], activations: &mut [f32]) -> f64 {
        cross_entropies(self.0.outputs, targets, activations)
    }

    fn backward(&self, w: &[f32], inputs: &[f32], activations: &mut [f32], g: &mut [f32]) {
        batch(self, w, inputs, activations);
        backward(self.0, inputs, activations, g);
    }
}

/// A network with one hidden layer: `h = f(V·x + a)`, `z = W·h + b`, and on top the softmax and
/// cross-entropy of [`SoftmaxRegression`].
///
/// `w` is `V`, the row of weights that leaves input 0 first (inputs × hidden), then `a`, then `W` (the
/// row that leaves hidden unit 0 first, hidden × classes), then `b`. The gradient: `d` as there,
/// `∂L/∂W_jk = h_j·d_k`, `∂L/∂b = d`, `c_j = f'·Σ_k W_jk·d_k`, `∂L/∂V_ij = x_i·c_j`, `∂L/∂a = c`.
///
/// Order of operations, for each sample: both layers as there; the sum in `c_j` from 0 in the order of
/// the classes, then times `1 − h_j·h_j` (tanh), or replaced by 0 where `h_j` is 0 (ReLU).
///
/// `activations` are the hidden units of the whole batch, then the scores of the whole batch.
#[derive(Clone, Copy, Debug)]
pub struct Mlp {
    first: Affine,
    second: Affine,
    activation: Activation,
}

impl Mlp {
    /// A model of this size, all at least 1.
    ///
    /// # Errors
    /// [`InputError::Zero`]
    pub fn new(
        inputs: usize,
        hidden: usize,
        classes: usize,
        activation: Activation,
    ) -> Result<Self, InputError> {
        check_positive("`inputs`", inputs)?;
        check_positive("`hidden`", hidden)?;
        check_positive("`classes`", classes)?;
        Ok(Self {
            first: Affine { inputs, outputs: hidden },
            second: Affine { inputs: hidden, outputs: classes },
            activation,
        })
    }
}

impl Model for Mlp {
    type Target = usize;

    fn inputs(&self) -> usize {
        self.first.inputs
    }

    fn outputs(&self) -> usize {
        self.second.outputs
    }

    fn targets(&self) -> usize {
        1
    }

    fn parameters(&self) -> usize {
        self.first.parameters() + self.second.parameters()
    }

    fn activations(&self) -> usize {
        self.first.outputs + self.second.outputs
    }

    fn initial_weights(&self, seed: u64) -> Vec<f32> {
        initial_weights(seed, &[self.first, self.second])
    }

    fn check_targets(&self, targets: &[usize]) -> Result<(), InputError> {
        check_classes(targets, self.second.outputs)
    }

    fn forward(&self, w: &[f32], inputs: &[f32], activations: &mut [f32]) {
        let samples = batch(self, w, inputs, activations);
        let (first, second) = w.split_at(self.first.parameters());
        let (hidden, scores) = activations.split_at_mut(samples * self.first.outputs);
        forward(self.first, first, inputs, hidden);
        for h in &mut *hidden {
            *h = self.activation.apply(*h);
        }
        forward(self.second, second, hidden, scores);
    }

    fn loss(&self, targets: &[usize], activations: &mut [f32]) -> f64 {
        let scores = &mut activations[targets.len() * self.first.outputs..];
        cross_entropies(self.second.outputs, targets, scores)
    }

    fn backward(&self, w: &[f32], inputs: &[f32], activations: &mut [f32], g: &mut [f32]) {
        let samples = batch(self, w, inputs, activations);
        let w = &w[self.first.parameters()..];
        let (g_first, g_second) = g.split_at_mut(self.first.parameters());
        let (hidden, d) = activations.split_at_mut(samples * self.first.outputs);
        backward(self.second, hidden, d, g_second);
        let rows = hidden.chunks_exact_mut(self.first.outputs).zip(d.chunks_exact(self.second.outputs));
        for (hidden, d) in rows {
            for (h, sum) in hidden.iter_mut().zip(self.second.inputs_gradient(w, d)) {
                *h = self.activation.derivative(*h, sum);
            }
        }
        backward(self.first, inputs, hidden, g_first);
    }
}

fn initial_weights(seed: u64, layers: &[Affine]) -> Vec<f32> {
    let mut random = Pcg32::new(seed, STREAM);
    let mut w = Vec::new();
    for layer in layers {
        layer.initialize(&mut random, &mut w);
    }
    w
}

/// One layer, for a batch.
fn forward(layer: Affine, w: &[f32], inputs: &[f32], z: &mut [f32]) {
    let samples = inputs.chunks_exact(layer.inputs).zip(z.chunks_exact_mut(layer.outputs));
    samples.for_each(|(x, z)| layer.forward(w, x, z));
}

/// One layer's gradient, for a batch.
fn backward(layer: Affine, inputs: &[f32], d: &[f32], g: &mut [f32]) {
    assert_eq!(g.len(), layer.parameters(), "length of `g`");
    let samples = inputs.chunks_exact(layer.inputs).zip(d.chunks_exact(layer.outputs));
    samples.for_each(|(x, d)| layer.backward(x, d, g));
}

fn cross_entropies(classes: usize, targets: &[usize], scores: &mut [f32]) -> f64 {
    assert_eq!(targets.len() * classes, scores.len(), "length of `targets`");
    let samples = scores.chunks_exact_mut(classes).zip(targets);
    sum(samples.map(|(z, &class)| layers::cross_entropy(z, class)))
}

fn sum(losses: impl Iterator<Item = f32>) -> f64 {
    losses.fold(0.0, |sum, loss| sum + f64::from(loss))
}
