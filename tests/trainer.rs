//! The trainer: the four walks over a training set, and what a lecture on stochastic gradient descent
//! says about them.

use std::{
    collections::{HashMap, HashSet},
    fmt::Debug,
};

use downhill::{Adam, BiasCorrection, Error, Form, Isa, Momentum, Optimizer, Sgd};
use trainer::{
    Mode, Options, Order, Reduction, Trainer,
    data::{Data, InputError},
    models::{Activation, LinearRegression, Mlp, Model, SoftmaxRegression},
};

#[path = "../examples/common/digits.rs"]
mod digits;
#[path = "common/training.rs"]
mod training;

use digits::{CLASSES, Digits, PIXELS, Split};
use training::*;

fn check_accumulated<M: Model + Copy + Debug>(model: &M, targets: &[M::Target]) {
    let inputs = values(SAMPLES * INPUTS);
    let data = Data { inputs: &inputs, targets };
    let rule = &Adam { lr: 0.05, ..Adam::default() };
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
    let rule = &Sgd::default();
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
    let sgd = run(&model, digits.training(), &Sgd { lr: 0.01, ..Sgd::default() }, Options::default(), 2);
    for form in [Form::Classic, Form::Torch] {
        let rule = &Momentum { lr: 0.01, momentum: 0.0, form, ..Momentum::default() };
        let momentum = run(&model, digits.training(), rule, Options::default(), 2);
        assert_eq!(bits(momentum.weights()), bits(sgd.weights()), "{form:?}");
    }
}

/// `u = γ·u + η·g` is a geometric series.
#[test]
fn momentum_under_a_constant_gradient_tends_to_its_limit() {
    let g = values(37);
    for (form, lr, scale) in [(Form::Classic, 0.01, 0.01), (Form::Torch, 0.01, 1.0)] {
        let rule = &Momentum { lr, momentum: 0.9, form, ..Momentum::default() };
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
        let rule = &Sgd { lr, ..Sgd::default() };
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
    let walk = |data, lr| run(&model, data, &Sgd { lr, ..Sgd::default() }, options, 20);
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
        let rule = &Adam { eps: 0.0, bias_correction, ..Adam::default() };
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
        bits(run(&model, digits.training(), &Sgd::default(), options, 1).weights())
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
            let mut trainer = start(&softmax(), data, &Sgd::default(), options);
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

/// SGD, momentum and Adam learn to tell digits apart, on both ways to choose those that test.
#[test]
fn a_network_learns_digits() {
    let rules = [
        Box::<dyn Optimizer>::from(Sgd { lr: 0.02, ..Sgd::default() }),
        Box::<dyn Optimizer>::from(Momentum { lr: 0.003, ..Momentum::default() }),
        Box::<dyn Optimizer>::from(Adam { lr: 0.003, ..Adam::default() }),
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
    let rule = &Sgd { lr: 0.05, ..Sgd::default() };
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
    let rule = &Sgd { lr: 1e30, ..Sgd::default() };
    let mut trainer = run(&model, digits.training(), rule, Options::default(), 2);
    assert!(trainer.loss(digits.training()).unwrap().is_nan());
    assert!(trainer.accuracy(digits.test()).unwrap() < 0.2);
}

#[test]
fn an_error_of_a_step_ends_the_epoch() {
    let inputs = values(SAMPLES * INPUTS);
    let targets = classes();
    let data = Data { inputs: &inputs, targets: &targets };
    let mut trainer = start(&softmax(), data, &Sgd::default(), Options::default());
    let wrong = Sgd { lr: -1.0, ..Sgd::default() };
    let error = epoch(&mut trainer, &wrong, None).unwrap_err();
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
    let mut trainer = start(&softmax(), data, &Sgd::default(), Options::default());
    let wrong = Data { inputs: &inputs[..5], targets: &[7] };
    let error = InputError::Class { sample: 0, class: 7, classes: 3 };
    assert_eq!(trainer.loss(wrong), Err(error.clone()));
    assert_eq!(trainer.accuracy(wrong), Err(error));
}
