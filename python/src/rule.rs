//! Rules by name, with hyper-parameters from Python, and the plain step of each.

use downhill::{
    Error, Extras, Hyperparameter, Numbering, Optimizer, Range, Rounding, RowwiseAdagrad, Threads, rules,
};
use pyo3::{
    exceptions::{PyTypeError, PyValueError},
    prelude::*,
    types::{PyBool, PyDict, PyString, PyTuple},
};

use crate::{
    array::{self, Role},
    foreign::{Held, Kind, Memory, Slot, Slots, What, with_plain},
    whole::{Part, UNBOUNDED, rounding, run},
};

pub fn value_error(error: Error) -> PyErr {
    PyValueError::new_err(error.to_string())
}

/// A rule with its default hyper-parameters.
pub fn find(name: &str) -> PyResult<Box<dyn Optimizer>> {
    let mut all = rules();
    all.push(RowwiseAdagrad::default().into());
    let names: Vec<_> = all.iter().map(|rule| rule.name()).collect();
    let text = format!("`rule` is {name:?}; it must be one of {}", names.join(", "));
    all.into_iter().find(|rule| rule.name() == name).ok_or_else(|| PyValueError::new_err(text))
}

/// Sets what a dictionary has.
pub fn set_all(rule: &mut dyn Optimizer, values: &Bound<'_, PyDict>) -> PyResult<()> {
    for (name, value) in values.iter() {
        set(rule, &name.cast::<PyString>()?.to_cow()?, &value)?;
    }
    Ok(())
}

fn set(rule: &mut dyn Optimizer, name: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
    let known = rule.hyperparameters();
    let number = match known.iter().find(|known| known.name == name) {
        Some(known) => number(known, value)?,
        // The library says which there are.
        None => 0.0,
    };
    rule.set(name, number).map_err(value_error)
}

/// The value of a hyper-parameter, as the library has it.
pub fn number(parameter: &Hyperparameter, value: &Bound<'_, PyAny>) -> PyResult<f64> {
    let name = parameter.name;
    let refuse = |allowed: &str| {
        let shown = value.repr().map_or_else(|_| "?".into(), |repr| repr.to_string());
        PyValueError::new_err(format!("`{name}` is {shown}; it must be {allowed}"))
    };
    let Range::OneOf(names) = parameter.range else {
        return value.extract().map_err(|_| refuse("a number"));
    };
    if is_bool(names) {
        let value = value.cast::<PyBool>().map_err(|_| refuse("True or False"))?;
        return Ok(f64::from(u8::from(value.is_true())));
    }
    let chosen = value.cast::<PyString>().ok().and_then(|text| parameter.range.parse(&text.to_string()));
    chosen.ok_or_else(|| refuse(&format!("one of {}", names.join(", "))))
}

fn is_bool(names: &[&str]) -> bool {
    names == ["false", "true"]
}

/// The value of a hyper-parameter, as Python has it.
pub fn to_python<'py>(py: Python<'py>, parameter: &Hyperparameter) -> PyResult<Bound<'py, PyAny>> {
    let Hyperparameter { value, range, .. } = *parameter;
    Ok(match range {
        Range::OneOf(names) if is_bool(names) => PyBool::new(py, value != 0.0).to_owned().into_any(),
        Range::OneOf(names) => names[value as usize].into_pyobject(py)?.into_any(),
        _ => value.into_pyobject(py)?.into_any(),
    })
}

/// What a hyper-parameter may be, in words.
fn allowed(range: Range) -> String {
    match range {
        Range::NonNegative => "at least 0".into(),
        Range::Positive => "above 0".into(),
        Range::BelowOne => "at least 0 and below 1".into(),
        Range::UpToOne => "from 0 to 1".into(),
        Range::OneOf(names) if is_bool(names) => "True or False".into(),
        Range::OneOf(names) => {
            names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
        }
        _ => "a number".into(),
    }
}

/// A rule: what it is called, its states and hyper-parameters, and its plain step.
#[pyclass(frozen, module = "downhill")]
pub struct Rule {
    default: Box<dyn Optimizer>,
    /// All that it has in any of its forms.
    states: Vec<&'static str>,
    /// Those that some of its forms do not have.
    optional: Vec<&'static str>,
    /// Does the number of a step matter to the formula?
    counts: bool,
}

pub fn all() -> Vec<Rule> {
    rules().into_iter().map(Rule::new).collect()
}

impl Rule {
    fn new(default: Box<dyn Optimizer>) -> Self {
        let (mut fullest, mut emptiest) = (default.clone(), default.clone());
        for Hyperparameter { name, range, .. } in default.hyperparameters() {
            let value = match range {
                Range::OneOf(names) => (names.len() - 1) as f64,
                Range::BelowOne => 0.5,
                _ => continue,
            };
            fullest.set(name, value).expect("a value that is allowed");
            emptiest.set(name, 0.0).expect("a value that is allowed");
        }
        let states: Vec<_> = fullest.states().iter().map(|state| state.name).collect();
        let always = emptiest.states();
        let is_optional = |name: &&str| always.iter().all(|state| state.name != *name);
        let optional = states.iter().copied().filter(is_optional).collect();
        let mut none: Vec<&mut [f32]> = default.states().iter().map(|_| &mut [][..]).collect();
        let counts = default.step(&mut [], &[], &mut none, 0) == Err(Error::Step);
        Self { default, states, optional, counts }
    }

    /// The arguments that may be given by their place.
    fn arguments(&self) -> impl Iterator<Item = &'static str> {
        ["w", "g"].into_iter().chain(self.states.iter().copied()).chain(["t"])
    }
}

#[pymethods]
impl Rule {
    #[getter]
    fn name(&self) -> &'static str {
        self.default.name()
    }

    /// The names of its states; those that are in some of its forms only are in `optional_states`, too.
    #[getter]
    fn states(&self) -> Vec<&'static str> {
        self.states.clone()
    }

    #[getter]
    fn optional_states(&self) -> Vec<&'static str> {
        self.optional.clone()
    }

    /// Does the number of a step matter to the formula?
    #[getter]
    fn counts(&self) -> bool {
        self.counts
    }

    /// `(name, default, what it may be)` of each hyper-parameter.
    #[getter]
    fn hyperparameters<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<Vec<(&'static str, Bound<'py, PyAny>, String)>> {
        let all = self.default.hyperparameters();
        all.iter().map(|one| Ok((one.name, to_python(py, one)?, allowed(one.range)))).collect()
    }

    /// The names of the states with these hyper-parameters.
    #[pyo3(signature = (**hyperparameters))]
    fn states_with(&self, hyperparameters: Option<&Bound<'_, PyDict>>) -> PyResult<Vec<&'static str>> {
        let mut config = self.default.clone();
        hyperparameters.map_or(Ok(()), |values| set_all(&mut *config, values))?;
        Ok(config.states().iter().map(|state| state.name).collect())
    }

    /// The plain step, with the arguments of the function that is made of it.
    fn step(
        &self,
        py: Python<'_>,
        args: &Bound<'_, PyTuple>,
        kwargs: &Bound<'_, PyDict>,
    ) -> PyResult<()> {
        self.run(py, args, kwargs, By::Kernel)
    }

    /// The same on float32 arrays by the scalar reference, which has the same bits.
    fn reference_step(
        &self,
        py: Python<'_>,
        args: &Bound<'_, PyTuple>,
        kwargs: &Bound<'_, PyDict>,
    ) -> PyResult<()> {
        self.run(py, args, kwargs, By::Reference)
    }

    fn __repr__(&self) -> String {
        format!("<rule {}>", self.default.name())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Kernel,
    Reference,
}

impl Rule {
    fn run(
        &self,
        py: Python<'_>,
        args: &Bound<'_, PyTuple>,
        kwargs: &Bound<'_, PyDict>,
        by: By,
    ) -> PyResult<()> {
        let call = self.parse(args, kwargs)?;
        let w = array::of("w", &call.required("w")?, Role::Written)?;
        let g = array::of("g", &call.required("g")?, Role::Read)?;
        array::check_shape("g", &g.memory, &w.memory)?;
        let mut states = Vec::with_capacity(4);
        for state in call.config.states() {
            let held = array::of(state.name, &call.required(state.name)?, Role::Written)?;
            array::check_shape(state.name, &held.memory, &w.memory)?;
            states.push(held);
        }
        let is_plain = [&w, &g].into_iter().chain(&states).all(|held| held.memory.kind() == Kind::F32);
        match by {
            _ if is_plain => call.plain(py, &w, &g, &states, by),
            By::Kernel => call.mixed(py, w, g, states),
            By::Reference => Err(PyValueError::new_err("the reference is for float32 arrays")),
        }
    }
}

/// The arguments of a plain step.
struct Call<'py> {
    config: Box<dyn Optimizer>,
    counts: bool,
    /// By their names.
    given: Vec<(&'static str, Bound<'py, PyAny>)>,
    rounding: Rounding,
}

impl Rule {
    fn parse<'py>(
        &self,
        args: &Bound<'py, PyTuple>,
        kwargs: &Bound<'py, PyDict>,
    ) -> PyResult<Call<'py>> {
        let function = || format!("{}_step()", self.default.name());
        let mut given: Vec<_> = self.arguments().zip(args.iter()).collect();
        if args.len() > given.len() {
            let text = format!("{} takes {} arguments by place", function(), given.len());
            return Err(PyTypeError::new_err(text));
        }
        let mut config = self.default.clone();
        let (mut mode, mut seed) = ("stochastic".to_owned(), 0);
        for (name, value) in kwargs.iter() {
            let name = name.cast::<PyString>()?.to_cow()?;
            if let Some(known) = self.arguments().find(|known| **known == *name) {
                if given.iter().any(|(given, _)| *given == known) {
                    let text = format!("{} got multiple values for argument '{known}'", function());
                    return Err(PyTypeError::new_err(text));
                }
                given.push((known, value));
            } else if *name == *"rounding" {
                mode = value.extract()?;
            } else if *name == *"seed" {
                seed = value.extract()?;
            } else {
                set(&mut *config, &name, &value)?;
            }
        }
        // `None` is how a state that is not there is spelled.
        given.retain(|(_, value)| !value.is_none());
        let states = config.states();
        for (name, _) in &given {
            if self.states.contains(name) && states.iter().all(|state| state.name != *name) {
                return Err(PyValueError::new_err(format!(
                    "`{name}` was passed; with these hyper-parameters it is no state of {}",
                    self.default.name()
                )));
            }
        }
        Ok(Call { config, counts: self.counts, given, rounding: rounding(&mode, seed)? })
    }
}

impl<'py> Call<'py> {
    fn get(&self, name: &str) -> Option<&Bound<'py, PyAny>> {
        self.given.iter().find(|(given, _)| *given == name).map(|(_, value)| value)
    }

    fn required(&self, name: &str) -> PyResult<Bound<'py, PyAny>> {
        let text = || format!("`{name}` was not passed to {}_step()", self.config.name());
        self.get(name).cloned().ok_or_else(|| PyValueError::new_err(text()))
    }

    /// The number of the step, if it matters.
    fn t(&self, is_random: bool) -> PyResult<u64> {
        match self.get("t") {
            Some(t) => crate::step_number(t),
            None if self.counts => Err(PyValueError::new_err(format!(
                "`t` was not passed to {}_step(): the number of the step, from 1",
                self.config.name()
            ))),
            None if is_random => Err(PyValueError::new_err(
                "`t` was not passed: the number of the step, from 1, on which random rounding depends",
            )),
            None => Ok(1),
        }
    }

    fn plain(&self, py: Python<'_>, w: &Held, g: &Held, states: &[Held], by: By) -> PyResult<()> {
        let t = self.t(false)?;
        let written: Vec<Memory> = [w].into_iter().chain(states).map(|held| held.memory).collect();
        let g = g.memory;
        let step = || {
            with_plain(&written, g, |arrays, g| {
                let (w, states) = arrays.split_first_mut().expect("there is `w`");
                match by {
                    By::Kernel => self.config.step(w, g, states, t),
                    By::Reference => self.config.reference_step(w, g, states, t),
                }
            })
        };
        // To let go of the GIL takes as long as a small step.
        let result = if g.len() < SHORT { step() } else { py.detach(step) };
        let names = || ["w"].into_iter().chain(self.config.states().iter().map(|state| state.name));
        let name = |place| names().nth(place).unwrap_or("g");
        result.map_err(|(one, other)| array::overlap(name(other), name(one)))?.map_err(value_error)
    }

    /// A whole step of one tensor.
    fn mixed(&self, py: Python<'_>, w: Held, g: Held, states: Vec<Held>) -> PyResult<()> {
        let is_narrow = |held: &Held| held.memory.kind() != Kind::F32;
        let is_random = matches!(self.rounding, Rounding::Stochastic { .. })
            && (is_narrow(&w) || states.iter().any(is_narrow));
        let t = self.t(is_random)?;
        let names = self.config.states().iter().map(|state| state.name);
        array::check_states(names.zip(states.iter().map(|held| held.memory)))?;
        let slot =
            Slot { w, low: None, g: Some(g), states, copy: None, t: 0, first_element: 0, rows: None };
        let mut slots = Slots::new(vec![slot]);
        slots.check(false).map_err(|overlap| {
            let what = if overlap.what == What::Gradient { "`g`" } else { "one of `w` and the states" };
            PyValueError::new_err(format!("{what} overlaps another array, which would be written"))
        })?;
        let part = Part {
            config: &*self.config,
            t,
            rounding: self.rounding,
            numbering: Numbering::ByPlace,
            clamp: UNBOUNDED,
            count: 1,
        };
        run(py, &mut slots, &[part], &Extras::default(), Threads::Caller)
            .map_err(|error| value_error(innermost(error)))?;
        Ok(())
    }
}

/// Without the group and the tensor that it is of.
fn innermost(error: Error) -> Error {
    match error {
        Error::Group { error, .. } | Error::Tensor { error, .. } => innermost(*error),
        error => error,
    }
}

/// Fewer elements are stepped with the GIL.
const SHORT: usize = 4096;
