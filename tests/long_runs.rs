//! Thousands of steps with numbers held in fewer bits: what loses nothing, what is right on average, and
//! what stays where it is.

mod common;

use common::{
    Arrays, mixed_from, options_of,
    owned::{FloatType, Floats, Owned, StateType, Types, WeightType},
    runner::is_brief,
    uniform_from, with,
};
use downhill::{
    Adam, Extras, Group, Isa, Optimizer, Rounding, Sgd, StateKind, States, Tensor, Threads, Values,
    Weights, convert, rules, state_bytes, step, unpack,
};
use half::bf16;

const AT_RANDOM: Rounding = Rounding::Stochastic { seed: 7 };

/// Steps a tensor of its own.
fn step_one(config: &dyn Optimizer, tensor: &mut Owned, t: u64, rounding: Rounding, extras: &Extras) {
    let mut tensors = [tensor.tensor(extras.zero_grad)];
    let mut group = Group::new(config, t, &mut tensors);
    group.rounding = rounding;
    step(&mut [group], extras, Threads::Caller).unwrap();
}

/// Each step loses nothing, so that 10,000 of them end with the bits of `f32`. Rounding has no part in
/// it.
#[test]
fn split_weights_have_the_bits_of_f32() {
    let n = 100;
    let split = Types { w: WeightType::Split, copy: Some(FloatType::Bf16), ..Types::F32 };
    let steps = if is_brief() { 300 } else { 10_000 };
    for rule in rules() {
        let rule = with(&with(&rule, "lr", 1e-3), "weight_decay", 1e-3);
        let mut plain = Arrays::new(&*rule, n, uniform_from(1));
        plain.state.iter_mut().for_each(|state| state.fill(0.0));
        let mut ours = Owned::new(&*rule, n, split, uniform_from(2)).fresh();
        let Owned { w: Floats::Bf16(high), low: Some(low), .. } = &mut ours else { panic!("split") };
        convert(Values::F32(&plain.w), Weights::Split { high, low }).unwrap();
        for t in 1..=steps {
            // Towards 1, with noise; at the end also gradients of every kind.
            let (mut noise, mut any) = (uniform_from(t), mixed_from(t));
            let is_last = t + 3 > steps;
            let gradient = |w: &f32| if is_last { any() } else { w - 1.0 + 0.1 * noise() };
            assert!(is_last || plain.w.iter().all(|w| w.is_finite()));
            plain.g = plain.w.iter().map(gradient).collect();
            ours.g = Some(Floats::F32(plain.g.clone()));
            let max_norm = if t % 2 == 0 && !is_last { 3.0 } else { 0.0 };
            let extras = Extras { max_norm, ..Extras::default() };
            step_one(&*rule, &mut ours, t, AT_RANDOM, &extras);
            plain.whole_step(&*rule, Isa::current().ok(), &[n], t, &extras, Threads::Caller).unwrap();
        }
        let Owned { w: Floats::Bf16(high), low: Some(low), .. } = &ours else { panic!("split") };
        let mut joined = vec![0.0; n];
        convert(Values::Split { high, low }, Weights::F32(&mut joined)).unwrap();
        let state = ours.state.iter().map(Floats::wide).collect();
        let joined = Arrays { w: joined, g: plain.g.clone(), state };
        assert_eq!(joined.difference(&plain), None, "{rule:?}");
        // What the model runs on is the nearest to that.
        let nearest = joined.w.iter().map(|w| bf16::from_f32(*w).to_f32());
        let Some(Floats::Bf16(copy)) = &ours.copy else { panic!("a copy") };
        assert!(copy.iter().zip(nearest).all(|(copy, w)| common::same(copy.to_f32(), w)), "{rule:?}");
    }
}

const STATES: [StateType; 2] = [StateType::Bits8, StateType::Bf16];

/// The average of a state over all elements.
fn mean_of_state(config: &dyn Optimizer, tensor: &Owned, k: usize) -> f64 {
    let n = tensor.len();
    let wide = match &tensor.codes {
        None => tensor.state[k].wide(),
        Some(codes) => {
            let mut states = vec![vec![0.0; n]; config.states().len()];
            let mut slices: Vec<&mut [f32]> = states.iter_mut().map(|state| &mut state[..]).collect();
            unpack(config, codes, &mut slices).unwrap();
            states.remove(k)
        }
    };
    wide.iter().map(|&x| f64::from(x)).sum::<f64>() / n as f64
}

/// With β2 = 0.999 a step's part in `v` is less than half of the distance between two numbers of few
/// bits.
#[test]
fn random_rounding_moves_states_that_nearest_leaves() {
    let n = 6400;
    let config = Adam { lr: 0.0, ..Adam::default() };
    let exact = 1.0 - 0.999_f64.powi(1000);
    for state in STATES {
        for rounding in [AT_RANDOM, Rounding::Nearest] {
            let mut tensor = Owned::new(&config, n, Types { state, ..Types::F32 }, || 1.0).fresh();
            for t in 1..=1000 {
                step_one(&config, &mut tensor, t, rounding, &Extras::default());
            }
            let v = mean_of_state(&config, &tensor, 1);
            match rounding {
                // The mean of 6,400 is this near.
                Rounding::Stochastic { .. } => {
                    assert!((v / exact - 1.0).abs() < 0.01, "{state:?}: {v}");
                }
                Rounding::Nearest => assert!(v < 0.5 * exact, "{state:?}: {v}"),
            }
        }
    }
}

/// A thousand steps, each a hundredth of the distance between two weights.
#[test]
fn random_rounding_moves_weights_that_nearest_leaves() {
    let n = 6400;
    for (w, spacing) in [(WeightType::Bf16, 2_f64.powi(-7)), (WeightType::F16, 2_f64.powi(-10))] {
        let config = Sgd { lr: spacing / 100.0, ..Sgd::default() };
        for rounding in [AT_RANDOM, Rounding::Nearest] {
            let mut tensor = Owned::new(&config, n, Types { w, ..Types::F32 }, || 1.0);
            tensor.g = Some(Floats::F32(vec![-1.0; n]));
            for t in 1..=1000 {
                step_one(&config, &mut tensor, t, rounding, &Extras::default());
            }
            let moved =
                (tensor.w.wide().iter().map(|&w| f64::from(w)).sum::<f64>() / n as f64 - 1.0) / spacing;
            match rounding {
                // 1,000 times a hundredth, with a standard error of 3 / 80.
                Rounding::Stochastic { .. } => assert!((moved - 10.0).abs() < 0.2, "{w:?}: {moved}"),
                Rounding::Nearest => assert!(moved == 0.0, "{w:?}: {moved}"),
            }
        }
    }
}

/// A running maximum would keep every rounding up, so it is rounded to nearest, and the other states are
/// not.
#[test]
fn a_maximum_is_rounded_to_nearest() {
    let (n, mut tested) = (1000, 0);
    let types = Types { state: StateType::Bf16, ..Types::F32 };
    for rule in rules().iter().flat_map(options_of) {
        let kinds = rule.states().iter().map(|state| state.kind);
        let Some(maximum) = kinds.clone().position(|kind| kind == StateKind::Maximum) else { continue };
        let mut tensor = Owned::new(&*rule, n, types, uniform_from(3)).fresh();
        let mut elsewhere = 0;
        for t in 1..=50 {
            let mut value = uniform_from(t);
            tensor.g = Some(Floats::F32((0..n).map(|_| value()).collect()));
            let mut plain = Arrays {
                w: tensor.w.wide(),
                g: tensor.g.as_ref().unwrap().wide(),
                state: tensor.state.iter().map(Floats::wide).collect(),
            };
            plain.reference_step(&*rule, t);
            step_one(&*rule, &mut tensor, t, AT_RANDOM, &Extras::default());
            for (k, (ours, plain)) in tensor.state.iter().zip(&plain.state).enumerate() {
                let nearest = plain.iter().map(|x| bf16::from_f32(*x).to_f32());
                let differ = ours.wide().iter().zip(nearest).filter(|(a, b)| *a != b).count();
                if k == maximum {
                    assert_eq!(differ, 0, "{rule:?}");
                } else {
                    elsewhere += differ;
                }
            }
        }
        assert!(elsewhere > 1000, "{rule:?}: {elsewhere}");
        tested += 1;
    }
    assert!(tested > 0);
}

/// A diagonal quadratic whose curvatures go from 1 to 10^6, all within a few blocks.
#[test]
fn a_badly_scaled_quadratic_converges() {
    let n = 256;
    let curvature = |i: usize| 10_f64.powf(6.0 * i as f64 / (n - 1) as f64) as f32;
    for config in [Adam::default(), Adam { eps: 1e-30, ..Adam::default() }] {
        let config = Adam { lr: 0.01, ..config };
        for (state, rounding) in
            STATES.into_iter().flat_map(|s| [(s, AT_RANDOM), (s, Rounding::Nearest)])
        {
            let (mut w, mut g) = (vec![1.0; n], vec![0.0; n]);
            let mut codes = vec![0; state_bytes(&config, n).unwrap()];
            let mut moments = [(); 2].map(|()| vec![bf16::ZERO; n]);
            for t in 1..=2000 {
                for i in 0..n {
                    g[i] = curvature(i) * w[i];
                }
                let states: States<'_> = match state {
                    StateType::Bits8 => (&mut codes).into(),
                    _ => moments.iter_mut().map(|moment| &mut moment[..]).collect(),
                };
                let mut tensors = [Tensor::new(&mut w, &g, states)];
                let mut group = Group::new(&config, t, &mut tensors);
                group.rounding = rounding;
                step(&mut [group], &Extras::default(), Threads::Caller).unwrap();
                assert!(w.iter().all(|w| w.abs() < 2.0), "{state:?} {rounding:?} t {t}");
            }
            if rounding != Rounding::Nearest {
                let worst = w.iter().fold(0_f32, |worst, w| worst.max(w.abs()));
                println!("{config:?} {state:?}: {worst}");
                assert!(worst < 0.2, "{state:?}: {worst}");
            }
        }
    }
}
