//! Whole runs end with the bits of the reference: step for step, with plain steps and with whole ones,
//! skipped ones among them.

use std::fmt::Debug;

use downhill::{Error, Extras, Group, Isa, Optimizer, Pool, Report, Threads, reference, rules, step_on};
use trainer::{
    Mode, Options, Reduction, Trainer,
    data::Data,
    models::{Activation, Mlp, Model},
};

mod common;
#[allow(dead_code, reason = "nothing is tested with digits here")]
#[path = "../examples/common/digits.rs"]
mod digits;
#[path = "common/training.rs"]
mod training;

use common::{every_option, sharing::some_rules, tensors, with};
use digits::{CLASSES, Digits, PIXELS, Split};
use training::*;

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
    /// Scaled and clipped before a plain step, and zeroed after it. Says what gradients were scaled by.
    fn reference_step(
        &self,
        w: &mut [f32],
        g: &mut [f32],
        states: &mut [&mut [f32]],
        t: u64,
    ) -> Result<f64, Error> {
        let mut rest = &g[..];
        let sum = self.lengths.iter().fold(0.0, |sum, &len| {
            sum + reference::squares(rest.split_off(..len).expect("long enough"))
        });
        let scale = reference::applied_scale(sum, self.extras.grad_scale, self.extras.max_norm);
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
        step_on(isa, &mut [Group::new(self.rule, t, &mut list)], &self.extras, threads)
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

    /// Some epochs by the reference and in each of these ways must end alike, with some steps clipped
    /// and some not.
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
    for rule in rules() {
        let rule = with(&rule, "weight_decay", 1e-4);
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
    for rule in some_rules() {
        let rule = with(&rule, "lr", 1e-4);
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
