//! What an offloaded step works on: the tensors of GPT-2, with random numbers.

use downhill::{Tensor, WeightCopy};
use half::bf16;
use rayon::prelude::*;

use crate::mixed::mixed;

const VOCABULARY: usize = 50_257;
const CONTEXT: usize = 1024;

/// What the losses were multiplied by: f16 gradients need it, bfloat16 ones may have it. Not a power of
/// two, by which multiplication would be exact.
pub const LOSS_SCALE: f64 = 1000.0;

/// The tensors in their two groups.
pub struct Model {
    /// Embeddings and weights, which decay.
    pub matrices: Vec<Arrays>,
    /// Biases and normalizations, which do not.
    pub vectors: Vec<Arrays>,
}

/// One tensor.
pub struct Arrays {
    /// What is kept here: the weights and Adam's states.
    pub w: Vec<f32>,
    pub m: Vec<f32>,
    pub v: Vec<f32>,
    /// What comes from the side that the model runs on, times the loss scale.
    pub g: Vec<bf16>,
    /// What goes back to it.
    pub model: Vec<bf16>,
    /// What the passes need and one call does not: the gradient in `f32`.
    pub wide_g: Vec<f32>,
}

impl Model {
    /// GPT-2 with this many layers of this width, before the first step.
    pub fn new(layers: usize, width: usize) -> Self {
        let (c, new) = (width, |lengths: Vec<usize>| lengths.into_iter().map(Arrays::new).collect());
        // Attention: queries, keys and values, then the projection; the two layers of the perceptron.
        let matrices = [c * 3 * c, c * c, c * 4 * c, 4 * c * c];
        // Two normalizations with gain and bias, and the biases of the matrices.
        let vectors = [c, c, 3 * c, c, c, c, 4 * c, c];
        let mut model = Self {
            matrices: new([&[VOCABULARY * c, CONTEXT * c][..], &matrices.repeat(layers)].concat()),
            vectors: new([&vectors.repeat(layers)[..], &[c, c]].concat()),
        };
        model.restart();
        model
    }

    /// Random weights, and all states 0.
    pub fn restart(&mut self) {
        for (arrays, seed) in self.tensors().zip(0..) {
            fill(&mut arrays.w, |i| 0.02 * random(seed, i));
            fill(&mut arrays.m, |_| 0.0);
            fill(&mut arrays.v, |_| 0.0);
            fill(&mut arrays.model, |_| bf16::ZERO);
        }
    }

    /// Other gradients for each `step`.
    pub fn receive_gradients(&mut self, step: u64) {
        for (arrays, tensor) in self.tensors().zip(0..) {
            let seed = step << 32 | tensor;
            fill(&mut arrays.g, |i| bf16::from_f32(LOSS_SCALE as f32 * 0.01 * random(seed, i)));
        }
    }

    /// All tensors, group by group.
    pub fn tensors(&mut self) -> impl Iterator<Item = &mut Arrays> {
        self.matrices.iter_mut().chain(&mut self.vectors)
    }

    pub fn parameters(&mut self) -> usize {
        self.tensors().map(|arrays| arrays.w.len()).sum()
    }

    /// Of the bits of all weights, of each state, and of what goes back to the model.
    pub fn hashes(&mut self) -> [u64; 4] {
        self.tensors().fold([0; 4], |hashes, Arrays { w, m, v, model, .. }| {
            let bits = |array: &[f32]| hash(array, |x| x.to_bits());
            let own = [bits(w), bits(m), bits(v), hash(model, |x| x.to_bits().into())];
            [0, 1, 2, 3].map(|k| mixed(hashes[k] ^ own[k]))
        })
    }
}

impl Arrays {
    fn new(n: usize) -> Self {
        Self {
            w: vec![0.0; n],
            m: vec![0.0; n],
            v: vec![0.0; n],
            g: vec![bf16::ZERO; n],
            model: vec![bf16::ZERO; n],
            wide_g: vec![0.0; n],
        }
    }

    /// For a step with the gradient that the passes have made.
    pub fn wide_tensor(&mut self) -> Tensor<'_> {
        Tensor::new(&mut self.w, &self.wide_g, [&mut self.m, &mut self.v])
    }

    /// For one call.
    pub fn tensor(&mut self) -> Tensor<'_> {
        let mut tensor = Tensor::new(&mut self.w, &self.g, [&mut self.m, &mut self.v]);
        tensor.copy = WeightCopy::Bf16(&mut self.model);
        tensor
    }
}

/// Elements that a thread works on at a time.
const PART: usize = 1 << 16;

fn fill<T: Send>(array: &mut [T], value: impl Fn(u64) -> T + Sync) {
    array.par_chunks_mut(PART).enumerate().for_each(|(part, array)| {
        for (x, i) in array.iter_mut().zip((part * PART) as u64..) {
            *x = value(i);
        }
    });
}

fn hash<T: Copy + Sync>(array: &[T], bits: impl Fn(T) -> u32 + Sync) -> u64 {
    let of_part = |part: &[T]| part.iter().fold(0, |hash, &x| mixed(hash ^ u64::from(bits(x))));
    let parts: Vec<u64> = array.par_chunks(PART).map(of_part).collect();
    parts.into_iter().fold(0, |hash, part| mixed(hash ^ part))
}

/// From −1 to 1.
fn random(seed: u64, i: u64) -> f32 {
    let bits = mixed(mixed(seed) ^ i);
    (bits >> 40) as f32 / (1 << 23) as f32 - 1.0
}
