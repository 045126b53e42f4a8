//! One face for all rules, for code that treats them alike.

use std::fmt;

use crate::{Error, Extras, Isa, Report, Tensor, Threads, rule::Configuration};

/// A configured rule, whichever it is: for a trainer, a test or a table that works with any of them.
/// [`optimizer`] makes one.
///
/// The functions of each rule ([`adam_step`](crate::adam_step), ...) say what its formula, states
/// and errors are; the methods here do the same.
pub trait Optimizer: fmt::Debug + Send + Sync {
    /// The rule's name: `adam` for [`adam_step`](crate::adam_step).
    fn name(&self) -> &'static str;

    /// The names of its states, in the order of the step function's arguments.
    fn state_names(&self) -> &'static [&'static str];

    /// The step. A rule that does not count steps ignores `t`.
    ///
    /// # Errors
    /// As the rule's function, and [`Error::StateCount`] if `state` is not one array for each of
    /// [`state_names`](Optimizer::state_names).
    fn step(&self, w: &mut [f32], g: &[f32], state: &mut [&mut [f32]], t: u64) -> Result<(), Error> {
        self.step_on(Isa::current()?, w, g, state, t)
    }

    /// A whole step: [`step_many`](crate::step_many).
    ///
    /// # Errors
    /// As [`step_many`](crate::step_many), and [`Error::Tensor`] with [`Error::StateCount`] if a tensor's
    /// states are not one array for each of [`state_names`](Optimizer::state_names).
    fn step_many(
        &self,
        tensors: &mut [AnyTensor<'_>],
        t: u64,
        extras: &Extras,
        threads: Threads<'_>,
    ) -> Result<Report, Error> {
        self.step_many_on(Isa::current()?, tensors, t, extras, threads)
    }

    /// The step on a named instruction set. A rule that does not count steps ignores `t`.
    ///
    /// # Errors
    /// As the rule's function, and [`Error::StateCount`] if `state` is not one array for each of
    /// [`state_names`](Optimizer::state_names).
    fn step_on(
        &self,
        isa: Isa,
        w: &mut [f32],
        g: &[f32],
        state: &mut [&mut [f32]],
        t: u64,
    ) -> Result<(), Error>;

    /// [`step_many`](crate::step_many) on a named instruction set.
    ///
    /// # Errors
    /// As [`step_many`](crate::step_many), and [`Error::Tensor`] with [`Error::StateCount`] if a tensor's
    /// states are not one array for each of [`state_names`](Optimizer::state_names).
    fn step_many_on(
        &self,
        isa: Isa,
        tensors: &mut [AnyTensor<'_>],
        t: u64,
        extras: &Extras,
        threads: Threads<'_>,
    ) -> Result<Report, Error>;

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

/// A [`Tensor`] for a rule whose number of states is not known at compile time.
#[derive(Debug)]
pub struct AnyTensor<'a> {
    /// Weights, updated.
    pub w: &'a mut [f32],
    /// Gradient. Only [`Extras::zero_grad`] writes to it.
    pub g: &'a mut [f32],
    /// As many states as the rule has, updated; zeros before the first step.
    pub state: Vec<&'a mut [f32]>,
}

/// The rule that a configuration makes, as an object beside other rules.
///
/// ```
/// use downhill::{Adam, Sgd, optimizer};
///
/// for rule in [optimizer(Sgd::default()), optimizer(Adam::default())] {
///     let mut w = vec![1.0; 100];
///     let mut state = vec![vec![0.0; 100]; rule.state_names().len()];
///     let mut state: Vec<&mut [f32]> = state.iter_mut().map(|array| &mut array[..]).collect();
///     rule.step(&mut w, &[0.5; 100], &mut state, 1)?;
///     println!("{}: {}", rule.name(), w[0]);
/// }
/// # Ok::<(), downhill::Error>(())
/// ```
pub fn optimizer<const N: usize>(config: impl Configuration<N>) -> Box<dyn Optimizer> {
    Box::new(Configured(config))
}

/// Carries `N` in its type, which a trait object cannot.
struct Configured<C, const N: usize>(C);

impl<C: Configuration<N>, const N: usize> Optimizer for Configured<C, N> {
    fn name(&self) -> &'static str {
        C::NAME
    }

    fn state_names(&self) -> &'static [&'static str] {
        &C::STATES
    }

    fn step_on(
        &self,
        isa: Isa,
        w: &mut [f32],
        g: &[f32],
        state: &mut [&mut [f32]],
        t: u64,
    ) -> Result<(), Error> {
        self.0.step_on(isa, w, g, arrays::<C, N>(state)?, t)
    }

    fn step_many_on(
        &self,
        isa: Isa,
        tensors: &mut [AnyTensor<'_>],
        t: u64,
        extras: &Extras,
        threads: Threads<'_>,
    ) -> Result<Report, Error> {
        let tensors = tensors.iter_mut().enumerate().map(|(index, AnyTensor { w, g, state })| {
            match arrays::<C, N>(state) {
                Ok(state) => Ok(Tensor { w, g, state }),
                Err(error) => Err(error.of_tensor(index)),
            }
        });
        let mut tensors = tensors.collect::<Result<Vec<_>, _>>()?;
        self.0.step_many_on(isa, &mut tensors, t, extras, threads)
    }

    fn reference_step(
        &self,
        w: &mut [f32],
        g: &[f32],
        state: &mut [&mut [f32]],
        t: u64,
    ) -> Result<(), Error> {
        self.0.reference(w, g, arrays::<C, N>(state)?, t)
    }
}

impl<C: fmt::Debug, const N: usize> fmt::Debug for Configured<C, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A list of state arrays as the fixed number that the rule has.
pub(crate) fn arrays<'a, C: Configuration<N>, const N: usize>(
    state: &'a mut [&mut [f32]],
) -> Result<[&'a mut [f32]; N], Error> {
    let count = state.len();
    let state: &mut [&mut [f32]; N] =
        state.try_into().map_err(|_| Error::StateCount { count, expected: &C::STATES })?;
    Ok(state.each_mut().map(|array| &mut **array))
}
