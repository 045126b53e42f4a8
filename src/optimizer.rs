//! One face for all rules, for code that treats them alike.

use crate::{
    Error, Hyperparameter, Isa, State,
    hyperparameter::Replaced,
    rule::{Configuration, Engine},
};

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
    /// [`states`](Optimizer::states).
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

/// A list of state arrays as the fixed number that the rule has.
#[inline(always)]
pub(crate) fn arrays<'a, C: Configuration<N>, const N: usize>(
    state: &'a mut [&mut [f32]],
) -> Result<[&'a mut [f32]; N], Error> {
    let count = state.len();
    let state: &mut [&mut [f32]; N] =
        state.try_into().map_err(|_| Error::StateCount { count, expected: &C::STATES })?;
    Ok(state.each_mut().map(|array| &mut **array))
}
