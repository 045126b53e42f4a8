//! Whole runs: reference and kernels step for step, the four walks over a training set, and what a
//! lecture on stochastic gradient descent says about them.

use std::{
    collections::{HashMap, HashSet},
    fmt::Debug,
};

use downhill::{
    Adagrad, Adam, Adamw, Amsgrad, BiasCorrection, Error, Extras, Form, Isa, Lion, Momentum, Nadam,
    Optimizer, Pool, Report, Rmsprop, Sgd, Threads, optimizer, reference::applied_scale,
};
use trainer::{
    Mode, Options, Order, Reduction, Trainer,
    data::{Data, InputError},
    models::{Activation, LinearRegression, Mlp, Model, SoftmaxRegression},
};

mod common;
#[path = "../examples/common/digits.rs"]
mod digits;

use common::{Rule, cut, every_option, tensors};
use digits::{CLASSES, Digits, PIXELS, Split};

const INPUTS: usize = 5;
const OUTPUTS: usize = 3;
const SAMPLES: usize = 13;
const ORDERS: [Order; 3] = [Order::InOrder, Order::Shuffled, Order::WithReplacement];
const REDUCTIONS: [Reduction; 2] = [Reduction::Sum, Reduction::Mean];

fn linear() -> LinearRegression {
    LinearRegression::new(INPUTS, OUTPUTS).unwrap()
}

fn softmax() -> SoftmaxRegression {
    SoftmaxRegression::new(INPUTS, OUTPUTS).unwrap()
}

fn mlp(activation: Activation) -> Mlp {
    Mlp::new(INPUTS, 7, OUTPUTS, activation).unwrap()
}

/// Values in [−1, 1) without any pattern.
fn values(n: usize) -> Vec<f32> {
    let mut x = 1_u32;
    let mut next = || {
        x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (x >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

fn classes() -> Vec<usize> {
    (0..SAMPLES).map(|k| (k * k + 1) % OUTPUTS).collect()
}

/// Every mode, with mini-batches that do not divide the number of samples.
fn modes() -> [Mode; 4] {
    [
        Mode::FullBatch,
        Mode::Accumulated { batch_size: 4 },
        Mode::PerSample,
        Mode::MiniBatch { batch_size: 4 },
    ]
}

fn start<'a, M: Model + Copy>(
    model: &M,
    data: Data<'a, M::Target>,
    rule: &dyn Optimizer,
    options: Options,
) -> Trainer<'a, M> {
    let states = rule.state_names().len();
    Trainer::new(*model, data, model.initial_weights(5), states, options).unwrap()
}

/// With the kernels of `isa`, or the reference if there is none.
fn epoch<M: Model>(
    trainer: &mut Trainer<M>,
    rule: &dyn Optimizer,
    isa: Option<Isa>,
) -> Result<f64, Error> {
    trainer.epoch(|w, g, states, t| match isa {
        None => rule.reference_step(w, g, states, t),
        Some(isa) => rule.step_on(isa, w, g, states, t),
    })
}

fn run<'a, M: Model + Copy>(
    model: &M,
    data: Data<'a, M::Target>,
    rule: &dyn Optimizer,
    options: Options,
    epochs: usize,
) -> Trainer<'a, M> {
    let mut trainer = start(model, data, rule, options);
    for _ in 0..epochs {
        epoch(&mut trainer, rule, None).unwrap();
    }
    trainer
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

#[track_caller]
fn assert_same_bits<M: Model>(a: &Trainer<M>, b: &Trainer<M>, what: &dyn Debug) {
    assert_eq!(bits(a.weights()), bits(b.weights()), "weights, {what:?}");
    assert_eq!(a.states().len(), b.states().len());
    for (k, (a, b)) in a.states().iter().zip(b.states()).enumerate() {
        assert_eq!(bits(a), bits(b), "state {k}, {what:?}");
    }
}

fn check_kernels<M: Model + Copy + Debug>(model: &M, targets: &[M::Target]) {
    let inputs = values(SAMPLES * INPUTS);
    let data = Data { inputs: &inputs, targets };
    for rule in &every_option() {
        for mode in modes() {
            for (order, reduction) in ORDERS.iter().flat_map(|&o| REDUCTIONS.map(|r| (o, r))) {
                let options = Options { mode, order, reduction, seed: 9 };
                let expected = run(model, data, rule.as_ref(), options, 2);
                assert!(expected.weights().iter().all(|w| w.is_finite()));
                assert_ne!(bits(expected.weights()), bits(&model.initial_weights(5)));
                for isa in Isa::available() {
                    let mut trainer = start(model, data, rule.as_ref(), options);
                    for _ in 0..2 {
                        epoch(&mut trainer, rule.as_ref(), Some(isa)).unwrap();
                    }
                    assert_same_bits(&trainer, &expected, &(isa, model, rule, options));
                }
            }
        }
    }
}

#[test]
fn a_run_with_kernels_ends_with_the_bits_of_the_reference() {
    println!("instruction sets: {:?}", Isa::available());
    check_kernels(&linear(), &values(SAMPLES * OUTPUTS));
    check_kernels(&softmax(), &classes());
    check_kernels(&mlp(Activation::Tanh), &classes());
    check_kernels(&mlp(Activation::Relu), &classes());
}

/// The parameters of an [`Mlp`] as a user has them: the weights and the biases of each layer.
fn layers(inputs: usize, hidden: usize, classes: usize) -> [usize; 4] {
    [inputs * hidden, hidden, hidden * classes, classes]
}

/// How a run makes its steps.
#[derive(Clone, Copy, Debug)]
enum How<'a> {
    /// Scale and clip, step, zero, by the reference.
    Reference,
    Whole(Isa, Threads<'a>),
}

/// Whole steps over parameters in parts.
#[derive(Clone, Copy, Debug)]
struct Whole<'a> {
    rule: &'a dyn Optimizer,
    lengths: &'a [usize],
    extras: Extras,
}

impl Whole<'_> {
    /// Scaled and clipped before a plain step, and zeroed behind it. Says what gradients were scaled by.
    fn reference_step(
        &self,
        w: &mut [f32],
        g: &mut [f32],
        states: &mut [&mut [f32]],
        t: u64,
    ) -> Result<f64, Error> {
        let gradients: Vec<&[f32]> = cut(g, self.lengths).collect();
        let scale = applied_scale(&gradients, self.extras.grad_scale, self.extras.max_norm);
        g.iter_mut().for_each(|g| *g *= scale);
        self.rule.reference_step(w, g, states, t)?;
        g.fill(0.0);
        Ok(scale.into())
    }

    fn step(
        &self,
        (isa, threads): (Isa, Threads<'_>),
        w: &mut [f32],
        g: &mut [f32],
        states: &mut [&mut [f32]],
        t: u64,
    ) -> Result<Report, Error> {
        let mut list = tensors(w, g, states.iter_mut().map(|x| &mut **x), self.lengths);
        self.rule.step_many_on(isa, &mut list, t, &self.extras, threads)
    }

    /// One walk over the training set. Says what the gradients of each step were scaled by.
    fn epoch<M: Model>(&self, trainer: &mut Trainer<M>, how: How<'_>) -> Vec<f64> {
        let mut scales = Vec::new();
        let step = |w: &mut [f32], g: &mut [f32], states: &mut [&mut [f32]], t| {
            scales.push(match how {
                How::Reference => self.reference_step(w, g, states, t)?,
                How::Whole(isa, threads) => self.step((isa, threads), w, g, states, t)?.applied_scale,
            });
            Ok(())
        };
        trainer.epoch(step).unwrap();
        assert!(trainer.gradient().iter().all(|g| g.to_bits() == 0), "gradients are zeroed");
        scales
    }

    /// Some epochs by the reference and in each of these ways must end alike, with some steps clipped and
    /// some not.
    fn check<M: Model + Copy>(
        &self,
        model: &M,
        data: Data<'_, M::Target>,
        options: Options,
        epochs: usize,
        ways: &[How<'_>],
    ) {
        let run = |how| {
            let mut trainer = start(model, data, self.rule, options);
            let scales: Vec<f64> = (0..epochs).flat_map(|_| self.epoch(&mut trainer, how)).collect();
            (trainer, scales)
        };
        let (expected, scales) = run(How::Reference);
        let clipped = scales.iter().filter(|&&scale| scale < self.extras.grad_scale).count();
        assert!(
            0 < clipped && clipped < scales.len(),
            "{clipped} of {} clipped, {self:?}",
            scales.len()
        );
        assert!(expected.weights().iter().all(|w| w.is_finite()));
        for how in ways {
            let (trainer, ours) = run(*how);
            assert_eq!(ours, scales, "{self:?} {how:?}");
            assert_same_bits(&trainer, &expected, &(self, how));
        }
    }
}

/// Every rule, on gradients of a few samples; weights cut where layers end, and anywhere.
#[test]
fn a_run_of_whole_steps_ends_with_the_bits_of_the_reference() {
    let (inputs, classes) = (values(SAMPLES * INPUTS), classes());
    let data = Data { inputs: &inputs, targets: &classes };
    let extras = Extras { grad_scale: 0.25, max_norm: 0.7, zero_grad: true, ..Extras::default() };
    let options = Options { mode: Mode::MiniBatch { batch_size: 4 }, ..Options::default() };
    let layers = layers(INPUTS, 7, OUTPUTS);
    let cuts: [&[usize]; 3] = [&layers, &[66], &[0, 1, 16, 0, 17, 3, 29, 0]];
    for (rule, lengths) in every_option().iter().flat_map(|rule| cuts.map(|cuts| (rule, cuts))) {
        let whole = Whole { rule: &**rule, lengths, extras };
        let ways: Vec<_> =
            Isa::available().into_iter().map(|isa| How::Whole(isa, Threads::Caller)).collect();
        whole.check(&mlp(Activation::Tanh), data, options, 3, &ways);
    }
}

/// A rule of each kind.
fn some_rules() -> [Rule; 9] {
    let rmsprop = Rmsprop { lr: 0.001, momentum: 0.5, ..Rmsprop::default() };
    [
        optimizer(Sgd { lr: 0.2, weight_decay: 1e-4, ..Sgd::default() }),
        optimizer(Momentum { lr: 0.05, ..Momentum::default() }),
        optimizer(Adagrad::default()),
        rmsprop.optimizer(false),
        rmsprop.optimizer(true),
        optimizer(Adam { lr: 0.003, ..Adam::default() }),
        optimizer(Adamw { lr: 0.003, ..Adamw::default() }),
        optimizer(Nadam::default()),
        optimizer(Lion { lr: 0.001, ..Lion::default() }),
    ]
}

#[test]
fn digits_learned_with_whole_steps() {
    let digits = Digits::load(Split::Last);
    let model = Mlp::new(PIXELS, 24, CLASSES, Activation::Tanh).unwrap();
    let layers = layers(PIXELS, 24, CLASSES);
    let extras = Extras { max_norm: 0.9, zero_grad: true, skip_nonfinite: true, ..Extras::default() };
    let mode = Mode::MiniBatch { batch_size: 16 };
    let options = Options { mode, reduction: Reduction::Mean, ..Options::default() };
    let pool = Pool::new(2);
    let isa = Isa::current().unwrap();
    let ways = [How::Whole(isa, Threads::Pool(&pool))];
    for rule in some_rules() {
        let whole = Whole { rule: &*rule, lengths: &layers, extras };
        whole.check(&model, digits.training(), options, 3, &ways);
    }
}

/// A network wide enough for threads to step its weights, and to add up the norm of their gradient.
#[test]
fn a_wide_network_with_threads() {
    const HIDDEN: usize = 4800;
    let digits = Digits::load(Split::EveryFifth);
    let (inputs, targets) = (digits.training().inputs, digits.training().targets);
    let data = Data { inputs: &inputs[..32 * PIXELS], targets: &targets[..32] };
    let model = Mlp::new(PIXELS, HIDDEN, CLASSES, Activation::Relu).unwrap();
    let layers = layers(PIXELS, HIDDEN, CLASSES);
    let extras = Extras { max_norm: 20.0, zero_grad: true, skip_nonfinite: true, ..Extras::default() };
    let mode = Mode::MiniBatch { batch_size: 8 };
    let options = Options { mode, ..Options::default() };
    let pool = Pool::new(3);
    let isa = Isa::current().unwrap();
    let ways = [How::Whole(isa, Threads::Pool(&pool)), How::Whole(isa, Threads::Rayon)];
    let rules = [
        optimizer(Sgd { lr: 1e-3, ..Sgd::default() }),
        optimizer(Adam { lr: 1e-4, weight_decay: 1e-3, ..Adam::default() }),
        optimizer(Amsgrad(Adam { lr: 1e-4, ..Adam::default() })),
    ];
    for rule in rules {
        let whole = Whole { rule: &*rule, lengths: &layers, extras };
        whole.check(&model, data, options, 1, &ways);
    }
}

/// Gradients that overflow now and then, as under a loss scale: such a step is as if it had not been.
#[test]
fn a_run_without_its_bad_steps() {
    let (inputs, classes) = (values(SAMPLES * INPUTS), classes());
    let data = Data { inputs: &inputs, targets: &classes };
    let options = Options { mode: Mode::PerSample, ..Options::default() };
    let (model, lengths) = (mlp(Activation::Tanh), layers(INPUTS, 7, OUTPUTS));
    let bad = |t: u64| [None, None, Some(f32::INFINITY), None, Some(f32::NAN)][t as usize % 5];
    for rule in every_option() {
        let mut expected = start(&model, data, &*rule, options);
        let skip_bad = |w: &mut [f32], g: &mut [f32], states: &mut [&mut [f32]], t| match bad(t) {
            Some(_) => Ok(()),
            None => rule.reference_step(w, g, states, t),
        };
        expected.epoch(skip_bad).unwrap();
        let mut trainer = start(&model, data, &*rule, options);
        let extras = Extras { skip_nonfinite: true, ..Extras::default() };
        let whole = Whole { rule: &*rule, lengths: &lengths, extras };
        let step = |w: &mut [f32], g: &mut [f32], states: &mut [&mut [f32]], t| {
            if let Some(bad) = bad(t) {
                g[t as usize * 5 % 66] = bad;
            }
            let report = whole.step((Isa::current()?, Threads::Caller), w, g, states, t)?;
            assert_eq!(report.skipped, bad(t).is_some());
            Ok(())
        };
        trainer.epoch(step).unwrap();
        assert_same_bits(&trainer, &expected, &rule);
    }
}

fn check_accumulated<M: Model + Copy + Debug>(model: &M, targets: &[M::Target]) {
    let inputs = values(SAMPLES * INPUTS);
    let data = Data { inputs: &inputs, targets };
    let rule = &*optimizer(Adam { lr: 0.05, ..Adam::default() });
    for (order, reduction) in ORDERS.iter().flat_map(|&o| REDUCTIONS.map(|r| (o, r))) {
        let options = |mode| Options { mode, order, reduction, seed: 9 };
        let full = run(model, data, rule, options(Mode::FullBatch), 3);
        assert_eq!(full.steps(), 3);
        for batch_size in [1, 2, 5, SAMPLES - 1, SAMPLES, SAMPLES + 1] {
            let what = options(Mode::Accumulated { batch_size });
            let accumulated = run(model, data, rule, what, 3);
            assert_eq!(accumulated.steps(), 3);
            assert_eq!(bits(accumulated.gradient()), bits(full.gradient()), "{what:?}");
            assert_same_bits(&accumulated, &full, &(model, what));
        }
    }
}

#[test]
fn accumulated_has_the_bits_of_full_batch() {
    check_accumulated(&linear(), &values(SAMPLES * OUTPUTS));
    check_accumulated(&softmax(), &classes());
    check_accumulated(&mlp(Activation::Tanh), &classes());
    check_accumulated(&mlp(Activation::Relu), &classes());
}

/// What a run has allocated at its peak, in bytes.
fn memory(mode: Mode) -> u64 {
    let digits = Digits::load(Split::Last);
    let model = Mlp::new(PIXELS, 16, CLASSES, Activation::Tanh).unwrap();
    let rule = &*optimizer(Sgd::default());
    let info = allocation_counter::measure(|| {
        let mut trainer = start(&model, digits.training(), rule, Options { mode, ..Options::default() });
        epoch(&mut trainer, rule, None).unwrap();
        trainer.loss(digits.training()).unwrap();
        trainer.accuracy(digits.test()).unwrap();
    });
    info.bytes_max
}

#[test]
fn accumulated_has_memory_for_one_mini_batch() {
    let sample = 4 * (PIXELS + 16 + CLASSES) as u64 + size_of::<usize>() as u64;
    let one = memory(Mode::Accumulated { batch_size: 1 });
    for batch_size in [2, 10, 100] {
        let more = memory(Mode::Accumulated { batch_size: batch_size as usize });
        assert_eq!(more - one, (batch_size - 1) * sample, "batches of {batch_size}");
    }
    assert_eq!(memory(Mode::FullBatch) - one, (digits::TRAINING as u64 - 1) * sample);
    assert_eq!(memory(Mode::PerSample), one);
}

#[test]
fn momentum_zero_is_sgd_bit_by_bit() {
    let digits = Digits::load(Split::Last);
    let model = Mlp::new(PIXELS, 8, CLASSES, Activation::Tanh).unwrap();
    let sgd = run(
        &model,
        digits.training(),
        &*optimizer(Sgd { lr: 0.01, ..Sgd::default() }),
        Options::default(),
        2,
    );
    for form in [Form::Classic, Form::Torch] {
        let rule = &*optimizer(Momentum { lr: 0.01, momentum: 0.0, form, ..Momentum::default() });
        let momentum = run(&model, digits.training(), rule, Options::default(), 2);
        assert_eq!(bits(momentum.weights()), bits(sgd.weights()), "{form:?}");
    }
}

/// `u = γ·u + η·g` is a geometric series.
#[test]
fn momentum_under_a_constant_gradient_tends_to_its_limit() {
    let g = values(37);
    for (form, lr, scale) in [(Form::Classic, 0.01, 0.01), (Form::Torch, 0.01, 1.0)] {
        let rule = &*optimizer(Momentum { lr, momentum: 0.9, form, ..Momentum::default() });
        let (mut w, mut u) = (vec![0.0; 37], vec![0.0; 37]);
        for t in 1..=300 {
            rule.step_on(Isa::current().unwrap(), &mut w, &g, &mut [&mut u], t).unwrap();
        }
        for (u, g) in u.iter().zip(&g) {
            let limit = scale / (1.0 - 0.9) * f64::from(*g);
            // Each of the last steps rounds twice, and 1/(1 − γ) = 10 of them are remembered.
            assert!((f64::from(*u) - limit).abs() <= 2e-6 * limit.abs(), "{u} {limit}");
        }
    }
}

fn copies<T: Copy>(x: &[T], copies: usize) -> Vec<T> {
    std::iter::repeat_n(x, copies).flatten().copied().collect()
}

/// Small integers and a power of two as the rate: no operation of the first steps rounds.
#[test]
fn a_full_gradient_over_copies_is_a_multiple_exactly() {
    const COPIES: usize = 8;
    let model = LinearRegression::new(2, 1).unwrap();
    let (inputs, targets) = ([1.0, 0.0, -1.0, 2.0, 0.0, 1.0], [3.0, -2.0, 1.0]);
    let (many_inputs, many_targets) = (copies(&inputs, COPIES), copies(&targets, COPIES));
    let few = Data { inputs: &inputs, targets: &targets };
    let many = Data { inputs: &many_inputs, targets: &many_targets };
    let options = Options { mode: Mode::FullBatch, order: Order::InOrder, ..Options::default() };
    let walk = |data, lr| {
        let rule = &*optimizer(Sgd { lr, ..Sgd::default() });
        let mut trainer = Trainer::new(model, data, vec![1.0, -1.0, 2.0], 0, options).unwrap();
        for _ in 0..3 {
            epoch(&mut trainer, rule, None).unwrap();
        }
        trainer
    };
    let small = 1.0 / 64.0;
    let (few, many) = (walk(few, COPIES as f64 * small), walk(many, small));
    let multiple: Vec<f32> = few.gradient().iter().map(|g| COPIES as f32 * g).collect();
    assert_eq!(many.gradient(), multiple);
    assert_eq!(many.weights(), few.weights());
    assert!(few.weights().iter().all(|w| w.fract() != 0.0), "{:?}", few.weights());
}

#[test]
fn a_walk_over_copies_ends_nearly_where_one_with_a_longer_step_does() {
    const COPIES: usize = 5;
    const SAMPLES: usize = 200;
    let digits = Digits::load(Split::Last);
    let inputs = &digits.training().inputs[..SAMPLES * PIXELS];
    let targets = &digits.training().targets[..SAMPLES];
    let (many_inputs, many_targets) = (copies(inputs, COPIES), copies(targets, COPIES));
    let model = SoftmaxRegression::new(PIXELS, CLASSES).unwrap();
    let options = Options { mode: Mode::FullBatch, order: Order::InOrder, ..Options::default() };
    let walk = |data, lr| run(&model, data, &*optimizer(Sgd { lr, ..Sgd::default() }), options, 20);
    let few = walk(Data { inputs, targets }, COPIES as f64 * 1e-4);
    let many = walk(Data { inputs: &many_inputs, targets: &many_targets }, 1e-4);
    let moved = few.weights().iter().zip(model.initial_weights(5)).map(|(w, start)| (w - start).abs());
    let moved = moved.fold(0.0, f32::max);
    assert!(moved > 0.1);
    for (a, b) in few.weights().iter().zip(many.weights()) {
        // 1,000 additions in a gradient, of errors up to 2^-24 of a sum: 6e-5 of the way if all of them
        // went one way, and about the root of their number when they do not.
        assert!((a - b).abs() < 5e-6 * moved, "{a} {b}, {}", (a - b).abs() / moved);
    }
}

/// m and √v both scale with the gradient, and a power of two never rounds.
#[test]
fn the_first_step_of_adam_does_not_see_the_scale_of_the_gradient() {
    let g = values(100);
    for bias_correction in [BiasCorrection::Step, BiasCorrection::Constant, BiasCorrection::None] {
        let rule = &*optimizer(Adam { eps: 0.0, bias_correction, ..Adam::default() });
        let first_step = |scale: f32, isa: Option<Isa>| {
            let g: Vec<f32> = g.iter().map(|g| g * scale).collect();
            let (mut w, mut m, mut v) = (values(100), vec![0.0; 100], vec![0.0; 100]);
            let states: &mut [&mut [f32]] = &mut [&mut m, &mut v];
            match isa {
                None => rule.reference_step(&mut w, &g, states, 1).unwrap(),
                Some(isa) => rule.step_on(isa, &mut w, &g, states, 1).unwrap(),
            }
            bits(&w)
        };
        let expected = first_step(1.0, None);
        assert_ne!(expected, bits(&values(100)));
        for scale in [2.0, 1024.0, 0.125, 2.0_f32.powi(-20)] {
            assert_eq!(first_step(scale, None), expected, "{scale}");
            for isa in Isa::available() {
                assert_eq!(first_step(scale, Some(isa)), expected, "{scale} {isa}");
            }
        }
    }
}

/// A training set of `n` samples whose content does not matter.
fn visits(n: usize, order: Order, seed: u64, epochs: usize) -> Vec<Vec<usize>> {
    let (inputs, targets) = (vec![0.0; n], vec![0.0; n]);
    let model = LinearRegression::new(1, 1).unwrap();
    let data = Data { inputs: &inputs, targets: &targets };
    let options = Options { order, seed, ..Options::default() };
    let mut trainer = Trainer::new(model, data, vec![0.0; 2], 0, options).unwrap();
    assert!(trainer.visited().is_empty());
    let mut epoch = || {
        trainer.epoch(|_, _, _, _| Ok(())).unwrap();
        trainer.visited().to_vec()
    };
    (0..epochs).map(|_| epoch()).collect()
}

#[test]
fn a_shuffled_epoch_visits_every_sample_once() {
    let epochs = visits(100, Order::Shuffled, 1, 20);
    for epoch in &epochs {
        let mut sorted = epoch.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<_>>());
    }
    assert_eq!(epochs.iter().collect::<HashSet<_>>().len(), 20, "an order has come twice");
    assert_eq!(visits(100, Order::InOrder, 1, 2), vec![(0..100).collect::<Vec<_>>(); 2]);
}

/// Pearson's χ² of how often each of `counts.len()` equally likely things has come.
fn chi_squared(counts: &[usize]) -> f64 {
    let expected = counts.iter().sum::<usize>() as f64 / counts.len() as f64;
    counts.iter().map(|&count| (count as f64 - expected).powi(2) / expected).sum()
}

/// The mean of χ² is the degrees of freedom and its variance twice that; 5 standard deviations.
fn assert_uniform(counts: &[usize]) {
    let freedom = (counts.len() - 1) as f64;
    let chi_squared = chi_squared(counts);
    assert!((chi_squared - freedom).abs() < 5.0 * (2.0 * freedom).sqrt(), "{chi_squared}: {counts:?}");
}

#[test]
fn drawing_with_replacement_is_uniform_and_repeats_samples() {
    let mut counts = [0; 100];
    for epoch in visits(100, Order::WithReplacement, 1, 1000) {
        epoch.iter().for_each(|&sample| counts[sample] += 1);
        assert!(epoch.iter().collect::<HashSet<_>>().len() < 100);
    }
    assert_uniform(&counts);
}

/// Over seeds that follow one another, as those of a user do.
#[test]
fn all_orders_of_a_shuffle_are_equally_likely() {
    let mut counts = HashMap::new();
    for seed in 0..24_000 {
        *counts.entry(visits(4, Order::Shuffled, seed, 1)).or_insert(0) += 1;
    }
    assert_eq!(counts.len(), 24);
    assert_uniform(&counts.into_values().collect::<Vec<_>>());
}

/// Worked out from the definition of PCG32: a seed means the same run on every platform, for ever.
#[test]
fn a_seed_is_the_same_order_everywhere() {
    assert_eq!(visits(8, Order::Shuffled, 1, 1)[0], [5, 7, 0, 4, 6, 2, 3, 1]);
    assert_eq!(visits(8, Order::WithReplacement, 1, 1)[0], [1, 7, 0, 0, 7, 4, 7, 7]);
}

#[test]
fn the_same_seed_is_the_same_run_and_another_is_another() {
    let digits = Digits::load(Split::Last);
    let model = SoftmaxRegression::new(PIXELS, CLASSES).unwrap();
    let walk = |seed, order| {
        let options = Options { seed, order, ..Options::default() };
        bits(run(&model, digits.training(), &*optimizer(Sgd::default()), options, 1).weights())
    };
    for order in [Order::Shuffled, Order::WithReplacement] {
        assert_eq!(walk(1, order), walk(1, order));
        assert_ne!(walk(1, order), walk(2, order));
    }
    assert_eq!(walk(1, Order::InOrder), walk(2, Order::InOrder));
}

/// The sizes and the numbers of the steps of one epoch.
fn steps(mode: Mode) -> Vec<u64> {
    let inputs = vec![0.0; SAMPLES * INPUTS];
    let targets = vec![-1.0; SAMPLES * OUTPUTS];
    let data = Data { inputs: &inputs, targets: &targets };
    let options = Options { mode, ..Options::default() };
    let w = vec![0.0; linear().parameters()];
    let mut trainer = Trainer::new(linear(), data, w, 0, options).unwrap();
    let (mut sizes, mut expected_t) = (Vec::new(), 0);
    let loss = trainer.epoch(|_, g, _, t| {
        expected_t += 1;
        assert_eq!(t, expected_t);
        // The bias of each output has a gradient of 1 for each sample.
        sizes.push(g[g.len() - 1] as u64);
        Ok(())
    });
    assert_eq!(loss, Ok((SAMPLES * OUTPUTS) as f64 / 2.0));
    sizes
}

#[test]
fn a_mode_decides_how_many_samples_make_a_step() {
    assert_eq!(steps(Mode::FullBatch), [13]);
    assert_eq!(steps(Mode::Accumulated { batch_size: 4 }), [13]);
    assert_eq!(steps(Mode::PerSample), [1; 13]);
    assert_eq!(steps(Mode::MiniBatch { batch_size: 4 }), [4, 4, 4, 1]);
    assert_eq!(steps(Mode::MiniBatch { batch_size: 13 }), [13]);
    assert_eq!(steps(Mode::MiniBatch { batch_size: usize::MAX }), [13]);
}

/// By the samples of the step, which in the last one are fewer.
#[test]
fn a_mean_is_the_sum_divided_by_the_samples_of_the_step() {
    let (inputs, targets) = (values(SAMPLES * INPUTS), classes());
    let data = Data { inputs: &inputs, targets: &targets };
    for mode in modes() {
        let gradients = |reduction| {
            let options = Options { mode, reduction, ..Options::default() };
            let mut gradients = Vec::new();
            let mut trainer = start(&softmax(), data, &*optimizer(Sgd::default()), options);
            let mut record = |_: &mut [f32], g: &mut [f32], _: &mut [&mut [f32]], _| {
                gradients.push(g.to_vec());
                Ok(())
            };
            trainer.epoch(&mut record).unwrap();
            gradients
        };
        let means = gradients(Reduction::Mean);
        for ((mut sum, mean), size) in gradients(Reduction::Sum).into_iter().zip(means).zip(steps(mode))
        {
            sum.iter_mut().for_each(|g| *g /= size as f32);
            assert_eq!(bits(&sum), bits(&mean), "{mode:?}");
        }
    }
}

/// Every rule learns to tell digits apart, on both ways to choose those that test.
#[test]
fn a_network_learns_digits() {
    let rules = [
        optimizer(Sgd { lr: 0.02, ..Sgd::default() }),
        optimizer(Momentum { lr: 0.003, ..Momentum::default() }),
        optimizer(Adam { lr: 0.003, ..Adam::default() }),
    ];
    for (split, least) in [(Split::Last, 0.9), (Split::EveryFifth, 0.95)] {
        let digits = Digits::load(split);
        let model = Mlp::new(PIXELS, 32, CLASSES, Activation::Tanh).unwrap();
        for rule in &rules {
            let options = Options { mode: Mode::MiniBatch { batch_size: 16 }, ..Options::default() };
            let mut trainer = run(&model, digits.training(), &**rule, options, 15);
            let accuracy = trainer.accuracy(digits.test()).unwrap();
            assert!(accuracy >= least, "{rule:?}, {split:?}: {accuracy}");
            let loss = trainer.loss(digits.training()).unwrap() / digits::TRAINING as f64;
            assert!(loss < 0.1, "{rule:?}, {split:?}: {loss}");
        }
    }
}

#[test]
fn the_loss_falls_and_is_reported_as_it_is() {
    let (inputs, targets) = (values(SAMPLES * INPUTS), classes());
    let data = Data { inputs: &inputs, targets: &targets };
    let options = Options { mode: Mode::FullBatch, ..Options::default() };
    let rule = &*optimizer(Sgd { lr: 0.05, ..Sgd::default() });
    let mut trainer = start(&mlp(Activation::Tanh), data, rule, options);
    let before = trainer.loss(data).unwrap();
    let during = epoch(&mut trainer, rule, None).unwrap();
    assert!((during - before).abs() < 1e-9 * before, "{during} {before}");
    assert!(trainer.loss(data).unwrap() < before);
}

#[test]
fn a_diverging_run_goes_on() {
    let digits = Digits::load(Split::Last);
    let model = Mlp::new(PIXELS, 8, CLASSES, Activation::Relu).unwrap();
    let rule = &*optimizer(Sgd { lr: 1e30, ..Sgd::default() });
    let mut trainer = run(&model, digits.training(), rule, Options::default(), 2);
    assert!(trainer.loss(digits.training()).unwrap().is_nan());
    assert!(trainer.accuracy(digits.test()).unwrap() < 0.2);
}

#[test]
fn an_error_of_a_step_ends_the_epoch() {
    let inputs = values(SAMPLES * INPUTS);
    let targets = classes();
    let data = Data { inputs: &inputs, targets: &targets };
    let mut trainer = start(&softmax(), data, &*optimizer(Sgd::default()), Options::default());
    let wrong = Sgd { lr: -1.0, ..Sgd::default() };
    let error = epoch(&mut trainer, &*optimizer(wrong), None).unwrap_err();
    assert!(matches!(error, Error::Hyperparameter { argument: "lr", .. }), "{error}");
    assert_eq!(trainer.steps(), 0);
    assert_eq!(bits(trainer.weights()), bits(&softmax().initial_weights(5)));
}

#[test]
fn wrong_input_is_named() {
    let new = |inputs: &[f32], targets: &[usize], w: usize, mode| {
        let data = Data { inputs, targets };
        let options = Options { mode, ..Options::default() };
        Trainer::new(softmax(), data, vec![0.0; w], 0, options).err()
    };
    let good = softmax().parameters();
    let full = Mode::FullBatch;
    assert_eq!(new(&[0.0; 10], &[0, 2], good, full), None);
    for mode in [Mode::MiniBatch { batch_size: 0 }, Mode::Accumulated { batch_size: 0 }] {
        let error = new(&[0.0; 10], &[0, 2], good, mode).unwrap();
        assert_eq!(error, InputError::Zero { argument: "`batch_size`" });
        assert_eq!(error.to_string(), "`batch_size` is 0; it must be at least 1");
    }
    let error = new(&[], &[], good, full).unwrap();
    assert_eq!(error.to_string(), "the length of `inputs` is 0; it must be at least 1");
    let error = new(&[0.0; 11], &[0, 2], good, full).unwrap();
    assert_eq!(error, InputError::Incomplete { len: 11, inputs: 5 });
    assert!(error.to_string().contains("`inputs` has 11 elements"), "{error}");
    let error = new(&[0.0; 10], &[0], good, full).unwrap();
    assert_eq!(error, InputError::Length { argument: "targets", len: 1, expected: 2 });
    assert_eq!(error.to_string(), "`targets` has 1 elements; it must have 2");
    let error = new(&[0.0; 10], &[0, 3], good, full).unwrap();
    assert_eq!(error, InputError::Class { sample: 1, class: 3, classes: 3 });
    assert!(error.to_string().contains("`targets[1]` is class 3"), "{error}");
    let error = new(&[0.0; 10], &[0, 2], good + 1, full).unwrap();
    assert_eq!(error, InputError::Length { argument: "w", len: good + 1, expected: good });
}

#[test]
fn data_to_evaluate_is_checked_too() {
    let (inputs, targets) = (values(SAMPLES * INPUTS), classes());
    let data = Data { inputs: &inputs, targets: &targets };
    let mut trainer = start(&softmax(), data, &*optimizer(Sgd::default()), Options::default());
    let wrong = Data { inputs: &inputs[..5], targets: &[7] };
    let error = InputError::Class { sample: 0, class: 7, classes: 3 };
    assert_eq!(trainer.loss(wrong), Err(error.clone()));
    assert_eq!(trainer.accuracy(wrong), Err(error));
}
