//! Bugs that optimizers elsewhere had, each as the test that would have caught it.

use downhill::{
    Adagrad, Adam, Adamax, Adamw, Amsgrad, Decay, Ftrl, Isa, Lion, Optimizer, Radam, Rmsprop, Sgd,
    Signum, rmsprop_step, rules,
};

/// Longer than two of the longest vectors, with a tail.
const N: usize = 37;

/// One step of `N` equal elements on every instruction set; all must end alike. Gives `(w, states)`.
fn step(rule: &dyn Optimizer, t: u64, w: f32, g: f32, states: &[f32]) -> (f32, Vec<f32>) {
    let mut ends = Vec::new();
    for isa in Isa::available() {
        let mut arrays: Vec<Vec<f32>> = [&[w], states].concat().iter().map(|&x| vec![x; N]).collect();
        let (w, states) = arrays.split_first_mut().unwrap();
        let mut states: Vec<&mut [f32]> = states.iter_mut().map(|x| &mut x[..]).collect();
        rule.step_on(isa, w, &[g; N], &mut states, t).unwrap();
        ends.extend((0..N).map(|i| arrays.iter().map(|array| array[i]).collect::<Vec<_>>()));
    }
    let bits = |end: &Vec<f32>| {
        end.iter().map(|x| if x.is_nan() { 0x7fc0_0000 } else { x.to_bits() }).collect()
    };
    let first: Vec<u32> = bits(&ends[0]);
    assert!(ends.iter().all(|end| bits(end) == first), "{rule:?}: body and tail, or two ISAs, differ");
    (ends[0][0], ends[0][1..].to_vec())
}

fn close(ours: f32, exact: f64) -> bool {
    (f64::from(ours) - exact).abs() <= 1e-6 * exact.abs()
}

/// A vector path that moved by almost nothing, and a sign of zero that was not zero.
#[test]
fn lion_moves_every_element_by_lr() {
    let rule = Lion { lr: 0.001, ..Lion::default() };
    moves_every_element_by_lr(&rule, &Lion { beta1: 0.0, ..rule });
}

#[test]
fn signum_moves_every_element_by_lr() {
    let rule = Signum { lr: 0.001, ..Signum::default() };
    moves_every_element_by_lr(&rule, &Signum { momentum: 0.0, ..rule });
}

/// A rule with a rate of 0.001, and the same without a past.
fn moves_every_element_by_lr(rule: &dyn Optimizer, forgetful: &dyn Optimizer) {
    let cases = [(0.5, 0.999), (-2.0, 1.001), (1e-30, 0.999), (0.0, 1.0), (-0.0, 1.0)];
    for (g, end) in cases {
        assert_eq!(step(rule, 1, 1.0, g, &[0.0]).0, end, "gradient {g}");
        assert_eq!(step(forgetful, 1, 1.0, g, &[-100.0]).0, end, "gradient {g} alone");
    }
    assert!(step(rule, 1, 1.0, f32::NAN, &[0.0]).0.is_nan());
    // The sign of a zero is +0: what it moves by does not change the sign of a weight that is zero.
    assert!(step(forgetful, 1, -0.0, -0.0, &[-1.0]).0.is_sign_negative());
}

/// Weight decay that reached the accumulator and not the update: a step with L2 is one with the gradient
/// `g + λ·w` and without.
#[test]
fn l2_reaches_the_update_too() {
    for rule in rules() {
        let (mut with, mut without) = (rule.clone(), rule);
        if with.name() == "adamw" {
            continue; // it has no L2
        }
        with.set("weight_decay", 0.5).unwrap();
        without.set("weight_decay", 0.0).unwrap();
        let states = vec![0.0; with.states().len()];
        let (w, after) = step(&*with, 1, 2.0, -0.25, &states);
        assert_eq!((w, after), step(&*without, 1, 2.0, 0.75, &states), "{with:?}");
        assert_ne!(w, step(&*without, 1, 2.0, -0.25, &states).0, "{with:?}");
    }
}

/// λ and what is 0 in `f32` do no arithmetic: `0·∞` would be NaN.
#[test]
fn a_decay_that_rounds_to_zero_does_nothing() {
    for mut rule in rules() {
        rule.set("weight_decay", 1e-50).unwrap();
        let states = vec![0.0; rule.states().len()];
        assert_eq!(step(&*rule, 1, f32::INFINITY, 1.0, &states).0, f32::INFINITY, "{rule:?}");
    }
}

/// An Adam that was an AdamW, unnoticed because it was tested without weight decay.
#[test]
fn adam_decays_by_l2_and_adamw_decoupled() {
    let config = Adam { lr: 0.1, weight_decay: 0.5, ..Adam::default() };
    // A first step is lr in the direction of the gradient's sign, which L2 turns around here.
    let (w, states) = step(&config, 1, 4.0, -1.0, &[0.0, 0.0]);
    assert!(close(w, 4.0 - 0.1) && close(states[0], 0.1 * (-1.0 + 0.5 * 4.0)), "{w} {states:?}");
    let decoupled = Adamw { lr: 0.1, weight_decay: 0.5, ..Adamw::default() };
    let (w, states) = step(&decoupled, 1, 4.0, -1.0, &[0.0, 0.0]);
    assert!(close(w, 4.0 * (1.0 - 0.1 * 0.5) + 0.1) && close(states[0], -0.1), "{w} {states:?}");
    assert_eq!(Adamw::default().weight_decay, 0.01);
    assert_eq!(Adam::default().weight_decay, 0.0);
}

/// `1 − β` and `β^t` in `f32`, or as a running product; and a count of steps in `f32`, which ends at
/// 2^24.
#[test]
fn bias_corrections_are_right_to_f64() {
    let slow = 1.0 - 1e-9;
    let cases = [1, 10, 1000, 10_000, 1_000_000].map(|t| (0.9999, t));
    for (beta2, t) in cases.into_iter().chain([(slow, 1), (slow, 1 << 24), (slow, 1 << 31)]) {
        let rule = Adam { lr: 1.0, beta1: 0.0, beta2, eps: 0.0, ..Adam::default() };
        let (w, states) = step(&rule, t, 0.0, 0.0625, &[0.0]);
        let v = f64::from((1.0 - beta2) as f32) * 0.0625 * 0.0625;
        assert!(close(states[0], v), "{t}");
        let correction = 1.0 - libm::pow(beta2, t as f64);
        assert!(close(w, -0.0625 / (v / correction).sqrt()), "{t}: {w}");
    }
}

/// A maximum that hid a NaN, by which operand it was and on which instruction set.
#[test]
fn a_nan_is_the_largest() {
    let rule = Amsgrad(Adam::default());
    let (w, states) = step(&rule, 1, 1.0, f32::NAN, &[0.0, 0.0, 1.0]);
    assert!(w.is_nan() && states[2].is_nan());
    let (w, states) = step(&rule, 1, 1.0, 0.5, &[0.0, 0.0, f32::NAN]);
    assert!(w.is_nan() && states[2].is_nan() && states[1] > 0.0);

    let rule = Adamax::default();
    assert!(step(&rule, 1, 1.0, f32::NAN, &[0.0, 1.0]).1[1].is_nan());
    assert!(step(&rule, 1, 1.0, 0.5, &[0.0, f32::NAN]).1[1].is_nan());

    let rule = Rmsprop { centered: true, ..Rmsprop::default() };
    assert!(step(&rule, 1, 1.0, f32::NAN, &[0.0, 0.0]).0.is_nan());
}

/// RAdam that left its ε out: `0/0` for a weight that never had a gradient. And, while the second moment
/// is not used, one that was multiplied by 0 instead of left out.
#[test]
fn radam_adds_eps_and_leaves_an_early_second_moment_out() {
    let rule = Radam { lr: 0.5, ..Radam::default() };
    for t in [1, 5, 6, 1000] {
        assert_eq!(step(&rule, t, 1.0, 0.0, &[0.0, 0.0]).0, 1.0, "{t}");
        let w = step(&rule, t, 1.0, 1.0, &[0.0, f32::NAN]).0;
        assert_eq!(w.is_nan(), t >= 6, "{t}: {w}");
    }
    let never = Radam { beta2: 2.0 / 3.0, ..rule };
    assert!(step(&never, 1000, 1.0, 1.0, &[0.0, f32::INFINITY]).0 < 1.0);
}

/// FTRL in which a NaN became a weight of 0, because `|z| > λ1` is false for it.
#[test]
fn ftrl_keeps_a_nan_and_makes_small_weights_zero() {
    let rule = Ftrl { l1: 0.5, ..Ftrl::default() };
    let (w, states) = step(&rule, 1, 1.0, f32::NAN, &[0.0, 0.0]);
    assert!(w.is_nan() && states.iter().all(|state| state.is_nan()));
    for (g, end) in [(0.5, 0.0), (-0.5, 0.0), (-0.75, 0.25 / 17.5), (0.75, -0.25 / 17.5)] {
        let (w, states) = step(&rule, 1, 0.0, g, &[0.0, 0.0]);
        assert_eq!(states, [g, g * g]);
        assert!(close(w, end) && w.is_sign_positive() == (g < 0.75), "{g}: {w}");
    }
    // Where there is nothing to divide by, IEEE rules.
    let rule = Ftrl { beta: 0.0, ..Ftrl::default() };
    assert_eq!(step(&rule, 1, 1.0, 1e-30, &[0.0, 0.0]).0, f32::NEG_INFINITY);
    assert_eq!(step(&rule, 1, 1.0, 0.0, &[0.0, 0.0]).0, 0.0);
}

/// Without regularization FTRL is Adagrad: from the same weight the same way, if its state is that of the
/// weight.
#[test]
fn ftrl_without_regularization_is_adagrad() {
    let (ftrl, adagrad) =
        (Ftrl { beta: 0.0, ..Ftrl::default() }, Adagrad { lr: 0.1, eps: 0.0, ..Adagrad::default() });
    let beta = Ftrl { beta: 0.25, l2: 0.5, l1: 0.125, ..ftrl };
    let (mut ours, mut theirs) = ((2.0, vec![0.0, 0.0]), (2.0, vec![0.0]));
    for t in 1..=100 {
        let g = (t as f32).sin() + 0.5;
        ours = step(&ftrl, 1, ours.0, g, &ours.1);
        theirs = step(&adagrad, 1, theirs.0, g, &theirs.1);
        assert!((ours.0 - theirs.0).abs() < 1e-5, "{t}: {} {}", ours.0, theirs.0);
    }
    // The state of which a weight is made.
    let z = -(2.0 * (0.25 / 0.1 + 0.5) + 0.125);
    assert!(close(step(&beta, 1, 2.0, 0.0, &[z, 0.0]).0, 2.0));
}

/// `v − ḡ²` that rounded below zero, and a NaN for its root.
#[test]
fn a_variance_rounded_below_zero_is_zero() {
    let config = Rmsprop { lr: 1e-3, alpha: 0.9, eps: 0.5, centered: true, ..Rmsprop::default() };
    let mut below = 0;
    for k in 0..10_000 {
        // A gradient that has always been the same has no variance.
        let g = 0.1 + 1e-4 * k as f32;
        let mut arrays = [[1.0; N], [g * g; N], [g; N]];
        let [w, v, g_avg] = &mut arrays;
        rmsprop_step(w, &[g; N], v, Some(g_avg), None, &config).unwrap();
        assert!(w[0].is_finite(), "{g}: {}", w[0]);
        if v[0] < g_avg[0] * g_avg[0] {
            below += 1;
            assert_eq!(*w, [1.0 - (1e-3 * g) / 0.5; N], "{g}");
        }
    }
    assert!(below > 1000, "the test never met the case: {below}");
}

/// `0·∞` from a weight decay of zero.
#[test]
fn a_weight_decay_of_zero_does_nothing() {
    for decay in [Decay::L2, Decay::Decoupled] {
        let rule = Sgd { weight_decay: 0.0, decay, ..Sgd::default() };
        assert_eq!(step(&rule, 1, f32::INFINITY, 1.0, &[]).0, f32::INFINITY);
    }
}
