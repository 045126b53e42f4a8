//! Whole steps over `f32` tensors of one rule, whoever works on them.

use downhill::{Extras, Isa, Optimizer, Report, Threads};
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::{Arrays, Rule, every_option, same_report};

/// Everything at once, and clipping that scales down, if gradients are not tiny.
pub const ALL: Extras = Extras {
    grad_scale: -0.75,
    max_norm: 0.5,
    zero_grad: true,
    skip_nonfinite: true,
    grad_norm: true,
    norm_squared: None,
};

/// One whole step, whoever works on it.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    pub rule: &'a dyn Optimizer,
    pub isa: Option<Isa>,
    pub lengths: &'a [usize],
    pub t: u64,
    pub extras: Extras,
}

impl Call<'_> {
    pub fn run(&self, arrays: &mut Arrays, threads: Threads<'_>) -> Report {
        let Self { rule, isa, lengths, t, extras } = *self;
        arrays.whole_step(rule, isa, lengths, t, &extras, threads).unwrap()
    }

    pub fn expected(&self, start: &Arrays) -> (Arrays, Report) {
        let mut arrays = start.clone();
        let report = Call { isa: None, ..*self }.run(&mut arrays, Threads::Caller);
        (arrays, report)
    }
}

pub fn check_call(call: &Call<'_>, expected: &(Arrays, Report), ours: &Arrays, report: &Report) {
    assert!(same_report(report, &expected.1), "{report:?}, not {:?}: {call:?}", expected.1);
    assert_eq!(ours.difference(&expected.0), None, "{call:?}");
}

/// A rule for each number of states, as far as possible with weight decay.
pub fn some_rules() -> Vec<Rule> {
    let all = every_option();
    let decays = |rule: &Rule| {
        rule.hyperparameters().iter().any(|one| one.name == "weight_decay" && one.value > 0.0)
    };
    let with_states = |states| {
        let has = |rule: &&Rule| rule.states().len() == states && decays(rule);
        all.iter().filter(has).nth(states).or(all.iter().find(has)).expect("a rule").clone()
    };
    (0..=3).map(with_states).collect()
}

pub fn rayon(threads: usize) -> ThreadPool {
    ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
}
