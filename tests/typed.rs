//! The functions of each rule, as Rust calls them: each hands its arrays on in the right order, and
//! allocates nothing. The whole step with each rule's configuration does what its function does.

mod common;

use common::{same, uniform};
use downhill::{
    Adadelta, Adagrad, Adam, Adamax, Adamw, Amsgrad, Decay, Error, Extras, Isa, Lion, Momentum, Nadam,
    Nesterov, Report, Rmsprop, RmspropForm, Sgd, Tensor, Threads, adadelta_step, adagrad_step,
    adam_step, adamax_step, adamw_step, amsgrad_step, lion_step, momentum_step, nadam_step,
    nesterov_step, reference, rmsprop_step, sgd_step, step_many,
};

/// `w`, `g` and three states; a rule with fewer leaves the rest alone.
type Arrays = [Vec<f32>; 5];
type Step = fn(&mut Arrays) -> Result<(), Error>;

const T: u64 = 3;

/// Every step function under a name, with its kernel and with its reference.
fn steps() -> Vec<(&'static str, Step, Step)> {
    vec![
        (
            "sgd",
            |[w, g, ..]| sgd_step(w, g, &Sgd::default()),
            |[w, g, ..]| reference::sgd_step(w, g, &Sgd::default()),
        ),
        (
            "momentum",
            |[w, g, u, ..]| momentum_step(w, g, u, &Momentum::default()),
            |[w, g, u, ..]| reference::momentum_step(w, g, u, &Momentum::default()),
        ),
        (
            "nesterov",
            |[w, g, u, ..]| nesterov_step(w, g, u, &Nesterov::default()),
            |[w, g, u, ..]| reference::nesterov_step(w, g, u, &Nesterov::default()),
        ),
        (
            "adagrad",
            |[w, g, s, ..]| adagrad_step(w, g, s, &Adagrad::default()),
            |[w, g, s, ..]| reference::adagrad_step(w, g, s, &Adagrad::default()),
        ),
        (
            "adadelta",
            |[w, g, v, u, _]| adadelta_step(w, g, v, u, &Adadelta::default()),
            |[w, g, v, u, _]| reference::adadelta_step(w, g, v, u, &Adadelta::default()),
        ),
        (
            "rmsprop",
            |[w, g, v, ..]| rmsprop_step(w, g, v, None, None, &Rmsprop::default()),
            |[w, g, v, ..]| reference::rmsprop_step(w, g, v, None, None, &Rmsprop::default()),
        ),
        (
            "rmsprop, centered",
            |[w, g, v, a, _]| rmsprop_step(w, g, v, Some(a), None, &Rmsprop::default()),
            |[w, g, v, a, _]| reference::rmsprop_step(w, g, v, Some(a), None, &Rmsprop::default()),
        ),
        (
            "rmsprop, momentum",
            |[w, g, v, u, _]| rmsprop_step(w, g, v, None, Some(u), &RMSPROP),
            |[w, g, v, u, _]| reference::rmsprop_step(w, g, v, None, Some(u), &RMSPROP),
        ),
        (
            "rmsprop, centered, momentum",
            |[w, g, v, a, u]| rmsprop_step(w, g, v, Some(a), Some(u), &RMSPROP),
            |[w, g, v, a, u]| reference::rmsprop_step(w, g, v, Some(a), Some(u), &RMSPROP),
        ),
        (
            "adam",
            |[w, g, m, v, _]| adam_step(w, g, m, v, T, &Adam::default()),
            |[w, g, m, v, _]| reference::adam_step(w, g, m, v, T, &Adam::default()),
        ),
        (
            "adamw",
            |[w, g, m, v, _]| adamw_step(w, g, m, v, T, &Adamw::default()),
            |[w, g, m, v, _]| {
                let adamw = Adam { weight_decay: 0.01, decay: Decay::Decoupled, ..Adam::default() };
                reference::adam_step(w, g, m, v, T, &adamw)
            },
        ),
        (
            "amsgrad",
            |[w, g, m, v, v_max]| amsgrad_step(w, g, m, v, v_max, T, &Adam::default()),
            |[w, g, m, v, v_max]| reference::amsgrad_step(w, g, m, v, v_max, T, &Adam::default()),
        ),
        (
            "adamax",
            |[w, g, m, u, _]| adamax_step(w, g, m, u, T, &Adamax::default()),
            |[w, g, m, u, _]| reference::adamax_step(w, g, m, u, T, &Adamax::default()),
        ),
        (
            "nadam",
            |[w, g, m, v, _]| nadam_step(w, g, m, v, T, &Nadam::default()),
            |[w, g, m, v, _]| reference::nadam_step(w, g, m, v, T, &Nadam::default()),
        ),
        (
            "lion",
            |[w, g, m, ..]| lion_step(w, g, m, &Lion::default()),
            |[w, g, m, ..]| reference::lion_step(w, g, m, &Lion::default()),
        ),
    ]
}

/// What [`steps`] has, as whole steps with the rules' configurations, in the same order.
fn whole_steps() -> [Step; 15] {
    macro_rules! whole {
        ($config:expr) => {
            |arrays| {
                whole(arrays, |list| step_many(&$config, list, T, &Extras::default(), Threads::Caller))
            }
        };
        ($states:literal, $config:expr) => {
            |arrays| {
                whole::<$states>(arrays, |list| {
                    step_many(&$config, list, T, &Extras::default(), Threads::Caller)
                })
            }
        };
    }
    [
        whole!(Sgd::default()),
        whole!(Momentum::default()),
        whole!(Nesterov::default()),
        whole!(Adagrad::default()),
        whole!(Adadelta::default()),
        whole!(1, RmspropForm::<false>(Rmsprop::default())),
        whole!(2, RmspropForm::<true>(Rmsprop::default())),
        whole!(2, RmspropForm::<false>(RMSPROP)),
        whole!(3, RmspropForm::<true>(RMSPROP)),
        whole!(Adam::default()),
        whole!(Adamw::default()),
        whole!(Amsgrad::default()),
        whole!(Adamax::default()),
        whole!(Nadam::default()),
        whole!(Lion::default()),
    ]
}

/// A whole step over two tensors that are these arrays in two parts.
fn whole<const N: usize>(
    [w, g, state @ ..]: &mut Arrays,
    step: impl FnOnce(&mut [Tensor<'_, N>]) -> Result<Report, Error>,
) -> Result<(), Error> {
    let (w, w_rest) = w.split_at_mut(20);
    let (g, g_rest) = g.split_at_mut(20);
    let (mut states, mut rests): (Vec<_>, Vec<_>) = state.iter_mut().map(|x| x.split_at_mut(20)).unzip();
    let [mut states, mut rests] = [states.drain(..), rests.drain(..)];
    let mut list = [
        Tensor { w, g, state: std::array::from_fn(|_| states.next().unwrap()) },
        Tensor { w: w_rest, g: g_rest, state: std::array::from_fn(|_| rests.next().unwrap()) },
    ];
    assert_eq!(step(&mut list)?, Report { applied_scale: 1.0, ..Report::default() });
    Ok(())
}

const RMSPROP: Rmsprop = Rmsprop {
    lr: 0.1,
    alpha: 0.9,
    eps: 1e-6,
    momentum: 0.9,
    weight_decay: 0.0,
    decay: downhill::Decay::L2,
};

/// Positive, as a second moment is, and different everywhere.
fn arrays() -> Arrays {
    let mut value = uniform();
    std::array::from_fn(|_| (0..37).map(|_| 0.1 + value().abs()).collect())
}

#[test]
fn every_function_is_its_reference() {
    for (name, step, reference) in steps() {
        let (mut ours, mut expected) = (arrays(), arrays());
        for _ in 0..3 {
            step(&mut ours).unwrap();
            reference(&mut expected).unwrap();
        }
        let equal = |(a, b): (&Vec<f32>, &Vec<f32>)| a.iter().zip(b).all(|(&a, &b)| same(a, b));
        assert!(ours.iter().zip(&expected).all(equal), "{name}");
        assert_ne!(ours[0], arrays()[0], "{name} moved nothing");
    }
}

#[test]
fn every_whole_step_is_its_function() {
    assert_eq!(whole_steps().len(), steps().len());
    for ((name, step, _), whole) in steps().into_iter().zip(whole_steps()) {
        let (mut ours, mut expected) = (arrays(), arrays());
        for _ in 0..3 {
            whole(&mut ours).unwrap();
            step(&mut expected).unwrap();
        }
        let equal = |(a, b): (&Vec<f32>, &Vec<f32>)| a.iter().zip(b).all(|(&a, &b)| same(a, b));
        assert!(ours.iter().zip(&expected).all(equal), "{name}");
    }
}

/// AdamW is Adam with other defaults, whichever configuration it is called with.
#[test]
fn adamw_is_adam_decoupled_in_whole_steps_too() {
    let extras = Extras { max_norm: 0.1, ..Extras::default() };
    let run = |adamw: bool| {
        let [mut w, mut g, mut m, mut v, _] = arrays();
        let mut list = [Tensor { w: &mut w, g: &mut g, state: [&mut m, &mut v] }];
        let report = match adamw {
            true => step_many(&Adamw::default(), &mut list, T, &extras, Threads::Caller),
            false => step_many(&Adamw::default(), &mut list, T, &extras, Threads::Caller),
        };
        (report.unwrap(), [w, m, v])
    };
    assert_eq!(run(true), run(false));
    assert!(run(true).0.applied_scale < 1.0);
}

#[test]
fn no_function_allocates() {
    // The first call of a process looks at the CPU and the environment.
    Isa::current().unwrap();
    for (name, step, _) in steps() {
        let mut arrays = arrays();
        let count = allocation_counter::measure(|| step(&mut arrays).unwrap());
        assert_eq!(count.count_total, 0, "{name}");
    }
}

/// The widest instruction set is the one in use, unless the environment says otherwise.
#[test]
fn the_widest_instruction_set_is_used() {
    let current = Isa::current().unwrap();
    match std::env::var("DOWNHILL_ISA") {
        Ok(name) => assert_eq!(current.name(), name),
        Err(_) => assert_eq!(current, *Isa::available().last().unwrap()),
    }
}

/// λ and what is 0 in `f32` do no arithmetic.
#[test]
fn a_decay_that_rounds_to_zero_does_nothing() {
    let config = Sgd { weight_decay: 1e-50, ..Sgd::default() };
    for step in [sgd_step, reference::sgd_step] {
        let mut w = [f32::INFINITY];
        step(&mut w, &[1.0], &config).unwrap();
        assert_eq!(w, [f32::INFINITY]);
    }
}
