//! One face for all rules, for code that treats them alike.

use std::fmt;

use half::bf16;

use crate::{Error, Hyperparameter, Isa, State, decay::WeightDecay, hyperparameter::Replaced};

/// A rule with its hyper-parameters, whichever it is: [`Adam`](crate::Adam), [`Sgd`](crate::Sgd) and all
/// other configurations. For a trainer, a test or a table that works with any of them, and for the
/// [`Group`](crate::Group)s of a whole step, which may have different rules.
///
/// The functions of each rule ([`adam_step`](crate::adam_step), ...) say what its formula, states and
/// errors are; the methods here do the same. The rules are this crate's: the trait cannot be implemented
/// elsewhere.
///
/// ```
/// use downhill::{Adam, Optimizer, Sgd};
///
/// let rules: [Box<dyn Optimizer>; 2] = [Box::new(Sgd::default()), Box::new(Adam::default())];
/// for rule in rules {
///     let mut w = vec![1.0; 100];
///     let mut state = vec![vec![0.0; 100]; rule.states().len()];
///     let mut state: Vec<&mut [f32]> = state.iter_mut().map(|array| &mut array[..]).collect();
///     rule.step(&mut w, &[0.5; 100], &mut state, 1)?;
///     println!("{}: {}", rule.name(), w[0]);
/// }
///
/// fn halve(rule: &impl Optimizer, w: &mut [f32]) -> Result<(), downhill::Error> {
///     let g = w.to_vec();
///     rule.step(w, &g, &mut [], 1)
/// }
/// let mut w = [1.0];
/// halve(&Sgd { lr: 0.5, ..Sgd::default() }, &mut w)?;
/// assert_eq!(w, [0.5]);
/// # Ok::<(), downhill::Error>(())
/// ```
pub trait Optimizer: Engine {
    /// The rule's name: `adam` for [`adam_step`](crate::adam_step).
    fn name(&self) -> &'static str;

    /// Its states, in the order of the step function's arguments.
    fn states(&self) -> &'static [State];

    /// Its hyper-parameters and their values, in the order of the configuration's fields: for a command
    /// line, a table, a search for good values, or another language.
    ///
    /// ```
    /// use downhill::{Optimizer, rules};
    ///
    /// for rule in rules() {
    ///     println!("{}: {:?}", rule.name(), rule.hyperparameters());
    /// }
    /// ```
    fn hyperparameters(&self) -> Vec<Hyperparameter> {
        listed(self.boxed())
    }

    /// Sets a hyper-parameter by its name. As with a literal, it is the step that checks what a number
    /// may be.
    ///
    /// ```
    /// use downhill::{Momentum, Optimizer};
    ///
    /// let mut rule: Box<dyn Optimizer> = Momentum::default().into();
    /// for (name, text) in [("lr", "0.1"), ("form", "torch")] {
    ///     let known = rule.hyperparameters();
    ///     let parameter = known.iter().find(|known| known.name == name).expect("a rule that has it");
    ///     rule.set(name, parameter.range.parse(text).expect("a number or a choice"))?;
    /// }
    /// let error = rule.set("beta3", 0.5).unwrap_err().to_string();
    /// assert!(error.starts_with("`beta3` is no hyper-parameter of momentum, which has lr, momentum,"));
    /// # Ok::<(), downhill::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::NoHyperparameter`] if the rule has none of this name, [`Error::Hyperparameter`] if
    /// `value` is not the place of a choice. Nothing has changed then.
    fn set(&mut self, name: &str, value: f64) -> Result<(), Error> {
        check_known(self.name(), &self.hyperparameters(), name)?;
        self.replace(Replaced(&mut |one| Ok(if one.name == name { value } else { one.value })))
    }

    /// The step. A rule that does not count steps ignores `t`.
    ///
    /// # Errors
    /// As the rule's function, and [`Error::StateCount`] if `state` is not one array for each of
    /// [`states`](Optimizer::states). [`Error::RowCount`] if a rule with a state for each row is given any
    /// number but one: `w` is one row.
    fn step(&self, w: &mut [f32], g: &[f32], state: &mut [&mut [f32]], t: u64) -> Result<(), Error> {
        self.step_on(Isa::current()?, w, g, state, t)
    }

    /// The step on a named instruction set.
    ///
    /// # Errors
    /// As [`step`](Optimizer::step), but for [`Error::Isa`].
    fn step_on(
        &self,
        isa: Isa,
        w: &mut [f32],
        g: &[f32],
        state: &mut [&mut [f32]],
        t: u64,
    ) -> Result<(), Error>;

    /// The step by the scalar [`reference`](mod@crate::reference).
    ///
    /// # Errors
    /// As [`step_on`](Optimizer::step_on).
    fn reference_step(
        &self,
        w: &mut [f32],
        g: &[f32],
        state: &mut [&mut [f32]],
        t: u64,
    ) -> Result<(), Error>;
}

/// What the whole step asks of a rule, whichever it is and however many states it has.
pub trait Engine: fmt::Debug + Send + Sync {
    /// All checks of the configuration at step `t`.
    fn check_at(&self, t: u64) -> Result<(), Error>;

    /// Derives the constants of step `t`, and calls `then` once with what steps arrays by them. After
    /// `check_at`.
    fn with_constants(&self, isa: Isa, t: u64, around: &Around, then: &mut dyn FnMut(&dyn Step));

    /// The rule as one that has one state for each row of a table, if it is one.
    fn row_rule(&self) -> Option<&dyn RowRule> {
        None
    }

    /// Replaces the fields of the configuration, all or, if one is refused, none.
    fn replace(&mut self, fields: Replaced<'_>) -> Result<(), Error>;

    /// A copy.
    fn boxed(&self) -> Box<dyn Optimizer>;

    /// The rule's own function, which a test holds against [`Optimizer::step`].
    #[cfg(test)]
    fn call_function(
        &self,
        w: &mut [f32],
        g: &[f32],
        state: &mut [&mut [f32]],
        t: u64,
    ) -> Result<(), Error>;
}

/// What a whole step does around a rule's formula.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Around {
    /// What gradients are multiplied by.
    pub scale: f32,
    /// The bounds of the new weights, if there are any.
    pub clamp: Option<[f32; 2]>,
}

/// Steps arrays that are equally long: weights, gradient and states.
pub trait Step {
    /// The step of `f32` alone. `far`: is their memory to be prefetched?
    fn plain(&self, w: &mut [f32], g: &[f32], state: &mut [&mut [f32]], far: bool);

    /// The same for whole vectors of other types, in one loop. False, and nothing is done, if there is
    /// none for this rule, with L2 or bounds, or on this instruction set.
    fn fused(&self, w: FusedWeights<'_>, g: &[bf16], state: &mut [&mut [f32]]) -> bool;
}

/// A rule that makes a rate for each row of a table.
pub trait RowRule {
    /// The weight decay.
    fn decay(&self) -> WeightDecay;

    /// Updates the state of a row of `n` elements, whose squares have this sum, and gives the rate of its
    /// step.
    fn advance(&self, squares: f64, n: usize, s: &mut f32) -> f32;

    /// Calls `then` once with the step of a row that has this rate.
    fn with_rate(&self, isa: Isa, rate: f32, around: &Around, then: &mut dyn FnMut(&dyn Step));
}

/// Weights that a loop of their own steps.
#[derive(Debug)]
pub enum FusedWeights<'a> {
    /// `f32`
    F32(&'a mut [f32]),
    /// `f32`, and the nearest bfloat16.
    Copied(&'a mut [f32], &'a mut [bf16]),
    /// The upper and the lower halves.
    Split(&'a mut [bf16], &'a mut [i16]),
}

/// The hyper-parameters of a copy. A function of its own, which is not compiled for each rule.
fn listed(mut rule: Box<dyn Optimizer>) -> Vec<Hyperparameter> {
    let mut all = Vec::new();
    let listed = rule.replace(Replaced(&mut |one| {
        all.push(one);
        Ok(one.value)
    }));
    listed.expect("each keeps its value");
    all
}

/// Does the rule have a hyper-parameter of this name? Compiled once, too.
fn check_known(rule: &'static str, known: &[Hyperparameter], name: &str) -> Result<(), Error> {
    if known.iter().any(|one| one.name == name) {
        return Ok(());
    }
    let known: Vec<_> = known.iter().map(|one| one.name).collect();
    Err(Error::NoHyperparameter { rule, name: name.to_owned(), known: known.join(", ") })
}

impl<R: Optimizer + 'static> From<R> for Box<dyn Optimizer> {
    fn from(rule: R) -> Self {
        Box::new(rule)
    }
}

impl Clone for Box<dyn Optimizer> {
    fn clone(&self) -> Self {
        self.boxed()
    }
}

/// Are there as many states as the rule has?
#[inline]
pub(crate) fn check_states(config: &dyn Optimizer, count: usize) -> Result<(), Error> {
    let expected = config.states();
    if count == expected.len() { Ok(()) } else { Err(Error::StateCount { count, expected }) }
}
