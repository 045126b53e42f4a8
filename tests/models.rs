//! The models' gradients against finite differences of losses written again in `f64`, and their
//! independence of where a batch is cut.

use trainer::{
    data::InputError,
    models::{Activation, LinearRegression, Mlp, Model, SoftmaxRegression, class},
};

const INPUTS: usize = 5;
const HIDDEN: usize = 7;
const OUTPUTS: usize = 3;
const SAMPLES: usize = 6;

/// Values in [−1, 1) without any pattern that a wrong index could hide behind.
fn values(n: usize, seed: u32) -> Vec<f32> {
    let mut x = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let mut next = || {
        x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (x >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

fn inputs() -> Vec<f32> {
    values(SAMPLES * INPUTS, 6)
}

fn classes() -> Vec<usize> {
    (0..SAMPLES).map(|k| (k * k + 1) % OUTPUTS).collect()
}

fn linear() -> LinearRegression {
    LinearRegression::new(INPUTS, OUTPUTS).unwrap()
}

fn softmax() -> SoftmaxRegression {
    SoftmaxRegression::new(INPUTS, OUTPUTS).unwrap()
}

fn mlp(activation: Activation) -> Mlp {
    Mlp::new(INPUTS, HIDDEN, OUTPUTS, activation).unwrap()
}

fn gradient<M: Model>(model: &M, w: &[f32], inputs: &[f32], targets: &[M::Target]) -> (f64, Vec<f32>) {
    let samples = inputs.len() / model.inputs();
    let mut g = vec![0.0; model.parameters()];
    let mut activations = vec![f32::NAN; samples * model.activations()];
    let loss = model.gradient(w, inputs, targets, &mut activations, &mut g);
    (loss, g)
}

/// `b + x·W`, in `f64`, from the documented layout.
fn affine(w: &[f64], x: &[f64], outputs: usize) -> Vec<f64> {
    let weight = |i: usize, k: usize| w[i * outputs + k];
    (0..outputs)
        .map(|k| {
            w[x.len() * outputs + k] + x.iter().enumerate().map(|(i, x)| x * weight(i, k)).sum::<f64>()
        })
        .collect()
}

fn cross_entropy(z: &[f64], class: usize) -> f64 {
    z.iter().map(|z| z.exp()).sum::<f64>().ln() - z[class]
}

fn squared_error(y: &[f64], target: &[f32]) -> f64 {
    y.iter().zip(target).map(|(y, &target)| (y - f64::from(target)).powi(2)).sum::<f64>() / 2.0
}

fn hidden(w: &[f64], x: &[f64], activation: Activation) -> Vec<f64> {
    let mut h = affine(&w[..(INPUTS + 1) * HIDDEN], x, HIDDEN);
    for h in &mut h {
        *h = match activation {
            Activation::Tanh => h.tanh(),
            Activation::Relu => h.max(0.0),
        };
    }
    h
}

/// Compares a model with `loss`, that of one sample at the weights `w`.
fn check<M: Model>(
    model: &M,
    targets: &[M::Target],
    loss: impl Fn(&[f64], &[f64], &[M::Target]) -> f64,
) {
    let w = values(model.parameters(), 1);
    let inputs = inputs();
    let wide = |x: &[f32]| x.iter().copied().map(f64::from).collect::<Vec<_>>();
    let total = |w: &[f64]| -> f64 {
        let rows = inputs.chunks(INPUTS).zip(targets.chunks(model.targets()));
        rows.map(|(x, target)| loss(w, &wide(x), target)).sum()
    };
    let (sum, g) = gradient(model, &w, &inputs, targets);
    let mut w = wide(&w);
    assert!((sum - total(&w)).abs() < 1e-5 * total(&w), "loss {sum}, expected {}", total(&w));
    for k in 0..w.len() {
        let (at, h) = (w[k], 1e-5);
        w[k] = at + h;
        let above = total(&w);
        w[k] = at - h;
        let below = total(&w);
        w[k] = at;
        let expected = (above - below) / (2.0 * h);
        assert!((f64::from(g[k]) - expected).abs() < 4e-6, "g[{k}] = {}, expected {expected}", g[k]);
    }
}

#[test]
fn linear_regression_has_the_gradient_of_its_loss() {
    check(&linear(), &values(SAMPLES * OUTPUTS, 3), |w, x, target| {
        squared_error(&affine(w, x, OUTPUTS), target)
    });
}

#[test]
fn softmax_regression_has_the_gradient_of_its_loss() {
    check(&softmax(), &classes(), |w, x, target| cross_entropy(&affine(w, x, OUTPUTS), target[0]));
}

#[test]
fn networks_have_the_gradient_of_their_loss() {
    for activation in [Activation::Tanh, Activation::Relu] {
        check(&mlp(activation), &classes(), |w, x, target| {
            let h = hidden(w, x, activation);
            cross_entropy(&affine(&w[(INPUTS + 1) * HIDDEN..], &h, OUTPUTS), target[0])
        });
    }
}

/// A finite difference across the kink of ReLU would be wrong, and one without any inactive unit
/// would prove nothing.
#[test]
fn the_relu_check_stays_away_from_the_kink_and_sees_both_sides() {
    let wide = |x: Vec<f32>| x.into_iter().map(f64::from).collect::<Vec<_>>();
    let (w, inputs) = (wide(values(mlp(Activation::Relu).parameters(), 1)), wide(inputs()));
    let z = inputs.chunks(INPUTS).flat_map(|x| affine(&w[..(INPUTS + 1) * HIDDEN], x, HIDDEN));
    let z: Vec<f64> = z.collect();
    assert!(z.iter().all(|z| z.abs() > 1e-3), "{z:?}");
    assert!(z.iter().any(|&z| z < 0.0) && z.iter().any(|&z| z > 0.0));
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

fn check_cuts<M: Model>(model: &M, targets: &[M::Target]) {
    let w = model.initial_weights(7);
    let inputs = inputs();
    let (_, whole) = gradient(model, &w, &inputs, targets);
    for size in 1..SAMPLES {
        let mut g = vec![0.0; model.parameters()];
        let batches = inputs.chunks(size * INPUTS).zip(targets.chunks(size * model.targets()));
        for (inputs, targets) in batches {
            let samples = inputs.len() / INPUTS;
            let mut activations = vec![f32::NAN; samples * model.activations()];
            model.gradient(&w, inputs, targets, &mut activations, &mut g);
        }
        assert_eq!(bits(&g), bits(&whole), "batches of {size}");
    }
}

#[test]
fn a_gradient_does_not_depend_on_how_the_batch_is_cut() {
    check_cuts(&linear(), &values(SAMPLES * OUTPUTS, 5));
    check_cuts(&softmax(), &classes());
    check_cuts(&mlp(Activation::Tanh), &classes());
    check_cuts(&mlp(Activation::Relu), &classes());
}

#[test]
fn predictions_are_the_outputs() {
    let inputs = inputs();
    let x: Vec<f64> = inputs.iter().copied().map(f64::from).collect();
    let model = mlp(Activation::Tanh);
    let w = values(model.parameters(), 1);
    let wide: Vec<f64> = w.iter().copied().map(f64::from).collect();
    let mut activations = vec![f32::NAN; SAMPLES * model.activations()];
    let scores = model.predict(&w, &inputs, &mut activations);
    assert_eq!(scores.len(), SAMPLES * OUTPUTS);
    for (x, scores) in x.chunks(INPUTS).zip(scores.chunks(OUTPUTS)) {
        let expected =
            affine(&wide[(INPUTS + 1) * HIDDEN..], &hidden(&wide, x, Activation::Tanh), OUTPUTS);
        for (score, expected) in scores.iter().zip(&expected) {
            assert!((f64::from(*score) - expected).abs() < 1e-5);
        }
    }
}

#[test]
fn the_class_is_the_first_of_the_largest_scores() {
    assert_eq!(class(&[1.0, 3.0, 3.0, 2.0]), 1);
    assert_eq!(class(&[-1.0]), 0);
}

#[test]
fn huge_scores_do_not_overflow() {
    let model = SoftmaxRegression::new(1, 3).unwrap();
    let w = [1e30, 0.0, -1e30, 0.0, 0.0, 0.0];
    let (loss, g) = gradient(&model, &w, &[1.0], &[0]);
    assert_eq!((loss, &g[..3]), (0.0, &[0.0; 3][..]));
    let (loss, g) = gradient(&model, &w, &[1.0], &[1]);
    assert_eq!((loss, &g[..3]), (f64::from(1e30_f32), &[1.0, -1.0, 0.0][..]));
}

/// A NaN in the weights must be seen in the loss and the gradient, not be clipped by ReLU or lost in
/// the search for the largest score.
#[test]
fn a_nan_is_seen() {
    for k in 0..mlp(Activation::Relu).parameters() {
        let model = mlp(Activation::Relu);
        let mut w = vec![0.5; model.parameters()];
        w[k] = f32::NAN;
        let (loss, g) = gradient(&model, &w, &[1.0; INPUTS], &[0]);
        assert!(loss.is_nan() && g.iter().any(|g| g.is_nan()), "w[{k}]");
    }
}

#[test]
fn initial_weights_come_from_the_seed_and_fill_their_range() {
    let model = Mlp::new(64, 32, 10, Activation::Tanh).unwrap();
    let w = model.initial_weights(3);
    assert_eq!(w.len(), model.parameters());
    assert_eq!(bits(&w), bits(&model.initial_weights(3)));
    assert_ne!(bits(&w), bits(&model.initial_weights(4)));
    let layer = &w[..64 * 32];
    let bound = (6.0_f32 / 96.0).sqrt();
    assert!(layer.iter().all(|w| w.abs() <= bound));
    assert!(layer.iter().any(|&w| w > 0.9 * bound) && layer.iter().any(|&w| w < -0.9 * bound));
    assert!(w[64 * 32..64 * 32 + 32].iter().all(|&bias| bias == 0.0));
    // The same on every platform and in every release.
    assert_eq!(bits(&w[..2]), [0xbe61_442a, 0x3d9f_3330]);
}

#[test]
fn a_model_without_inputs_or_outputs_is_refused() {
    let zero = |argument| Some(InputError::Zero { argument });
    assert_eq!(LinearRegression::new(0, 1).err(), zero("`inputs`"));
    assert_eq!(LinearRegression::new(1, 0).err(), zero("`outputs`"));
    assert_eq!(SoftmaxRegression::new(0, 1).err(), zero("`inputs`"));
    assert_eq!(SoftmaxRegression::new(1, 0).err(), zero("`classes`"));
    assert_eq!(Mlp::new(0, 1, 1, Activation::Tanh).err(), zero("`inputs`"));
    assert_eq!(Mlp::new(1, 0, 1, Activation::Tanh).err(), zero("`hidden`"));
    assert_eq!(Mlp::new(1, 1, 0, Activation::Tanh).err(), zero("`classes`"));
    assert_eq!(
        InputError::Zero { argument: "`hidden`" }.to_string(),
        "`hidden` is 0; it must be at least 1"
    );
}
