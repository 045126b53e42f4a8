//! The whole step: groups of tensors, and what Python is told of it.

use downhill::{
    Error, Extras, Group, Hyperparameter, Numbering, Optimizer, Report, Rounding, State, StateKind,
    Threads, grad_squares, step,
};
use pyo3::{
    exceptions::PyValueError,
    prelude::*,
    types::{PyDict, PyTuple},
};

use crate::{
    array::{self, Role},
    foreign::{Held, Kind, Memory, Overlap, RowList, Slot, Slots, What},
    rule::{self, value_error},
    threads::Workers,
};

pub fn rounding(mode: &str, seed: u64) -> PyResult<Rounding> {
    match mode {
        "stochastic" => Ok(Rounding::Stochastic { seed }),
        "nearest" => Ok(Rounding::Nearest),
        _ => Err(PyValueError::new_err(format!(
            "`rounding` is {mode:?}; it must be \"stochastic\" or \"nearest\""
        ))),
    }
}

/// A group: so many of the slots that follow.
pub struct Part<'a> {
    pub config: &'a dyn Optimizer,
    pub t: u64,
    pub rounding: Rounding,
    pub numbering: Numbering,
    /// From where to where weights are kept.
    pub clamp: (f64, f64),
    pub count: usize,
}

/// No bounds of weights.
pub const UNBOUNDED: (f64, f64) = (f64::NEG_INFINITY, f64::INFINITY);

/// The step of slots that have been checked.
pub fn run(
    py: Python<'_>,
    slots: &mut Slots,
    parts: &[Part<'_>],
    extras: &Extras,
    threads: Threads<'_>,
) -> Result<Report, Error> {
    with_groups(slots, parts, extras.zero_grad, |groups| py.detach(|| step(groups, extras, threads)))
}

fn with_groups<T>(
    slots: &mut Slots,
    parts: &[Part<'_>],
    zero_grad: bool,
    f: impl FnOnce(&mut [Group<'_, '_>]) -> T,
) -> T {
    let mut tensors = slots.tensors(zero_grad);
    let mut rest = &mut tensors[..];
    let mut groups = Vec::with_capacity(parts.len());
    for part in parts {
        let (own, others) = rest.split_at_mut(part.count);
        rest = others;
        let mut group = Group::new(part.config, part.t, own);
        (group.rounding, group.numbering) = (part.rounding, part.numbering);
        (group.clamp_low, group.clamp_high) = part.clamp;
        groups.push(group);
    }
    f(&mut groups)
}

/// One tensor of a whole step: its weights `w`, gradient `g` (None: it is left alone), its states in the
/// order of the rule, and what else it has.
///
/// Arrays are NumPy arrays or whatever has a buffer or DLPack: C-contiguous, of one shape, not
/// overlapping. `w` and `g` are float32, bfloat16 (of ml_dtypes, or its bits as uint16) or float16; states
/// float32, bfloat16, or one uint8 array of `state_bytes` bytes for all of them; `low` is an int16 array,
/// the low halves of `w`, which then is bfloat16 (split weights); `copy` is where the new weights also go;
/// `t` is the number of this step for this tensor alone, 0 for the group's; `first_element` is the number
/// of its first element in the model, a multiple of 64, for random rounding (None: by place).
///
/// With `rows`, an int64 array, `w` is a table, and `g` has these rows of it, one after another; the others
/// are left alone. A row has `row_length` elements: of a `w` with two dimensions all of a row (None), and
/// `g` then has as many columns. A row that is listed twice is an error, or with `merge` its gradients are
/// added, in the order of the list. `row_t` is a uint64 array with the number of steps that each row of the
/// table has had: a row that is listed has one more, which is its `t`. The rule "rowwise_adagrad" is for
/// tables, and its state has a float32 for each row.
#[pyclass(module = "downhill", get_all, set_all)]
pub struct Tensor {
    w: Py<PyAny>,
    g: Option<Py<PyAny>>,
    states: Py<PyTuple>,
    low: Option<Py<PyAny>>,
    copy: Option<Py<PyAny>>,
    t: u64,
    first_element: Option<u64>,
    rows: Option<Py<PyAny>>,
    row_length: Option<usize>,
    merge: bool,
    row_t: Option<Py<PyAny>>,
}

#[pymethods]
impl Tensor {
    #[new]
    #[pyo3(signature = (w, g, *states, low=None, copy=None, t=0, first_element=None, rows=None, row_length=None, merge=false, row_t=None))]
    #[allow(clippy::too_many_arguments, reason = "Python's keyword arguments")]
    fn new(
        w: Py<PyAny>,
        g: Option<Py<PyAny>>,
        states: Py<PyTuple>,
        low: Option<Py<PyAny>>,
        copy: Option<Py<PyAny>>,
        t: u64,
        first_element: Option<u64>,
        rows: Option<Py<PyAny>>,
        row_length: Option<usize>,
        merge: bool,
        row_t: Option<Py<PyAny>>,
    ) -> Self {
        Self { w, g, states, low, copy, t, first_element, rows, row_length, merge, row_t }
    }
}

impl Tensor {
    fn slot(&self, py: Python<'_>, config: &dyn Optimizer, zero_grad: bool) -> PyResult<Slot> {
        let held = |name: &str, object: &Py<PyAny>, role| array::of(name, object.bind(py), role);
        let optional = |name: &str, object: &Option<Py<PyAny>>, role| {
            object.as_ref().map(|object| held(name, object, role)).transpose()
        };
        let w = held("w", &self.w, Role::Written)?;
        let g = optional("g", &self.g, if zero_grad { Role::Written } else { Role::Read })?;
        let mut states = Vec::with_capacity(4);
        for (k, object) in self.states.bind(py).iter().enumerate() {
            let name = config.states().get(k).map_or("state", |state| state.name);
            states.push(held(name, &object.unbind(), Role::State)?);
        }
        let low = optional("low", &self.low, Role::Low)?;
        let copy = optional("copy", &self.copy, Role::Written)?;
        if low.is_some() && w.memory.kind() != Kind::Bf16 {
            let text =
                format!("`low` was passed, and `w` is {}; it must be bfloat16", w.memory.kind().name());
            return Err(PyValueError::new_err(text));
        }
        let names = config.states().iter().map(|state| state.name);
        array::check_states(names.zip(&states).map(|(name, held)| (name, held.memory)))?;
        let is_packed = states.first().is_some_and(|held| held.memory.kind() == Kind::U8);
        if is_packed && states.len() != 1 {
            let text = format!("{} packed states were passed; all are in one array", states.len());
            return Err(PyValueError::new_err(text));
        }
        let rows = self.row_list(py, &w.memory, g.as_ref())?;
        let is_whole = |(state, _): &(&State, _)| !is_packed && state.kind != StateKind::Row;
        let of_state = config.states().iter().zip(&states).filter(is_whole);
        let of_state = of_state.map(|(state, held)| (state.name, held));
        let g_of_all = g.as_ref().filter(|_| rows.is_none());
        let others = [("g", g_of_all), ("low", low.as_ref()), ("copy", copy.as_ref())];
        let others = others.into_iter().filter_map(|(name, held)| Some((name, held?)));
        for (name, held) in of_state.chain(others) {
            array::check_shape(name, &held.memory, &w.memory)?;
        }
        let first_element = self.first_element.unwrap_or(0);
        Ok(Slot { w, low, g, states, copy, t: self.t, first_element, rows })
    }

    /// The rows of the table `w`, if there are some.
    fn row_list(&self, py: Python<'_>, w: &Memory, g: Option<&Held>) -> PyResult<Option<RowList>> {
        let Self { rows, row_length, merge, row_t, .. } = self;
        let Some(rows) = rows else {
            let others =
                [("row_length", row_length.is_some()), ("merge", *merge), ("row_t", row_t.is_some())];
            return match others.iter().find(|(_, is_given)| *is_given) {
                None => Ok(None),
                Some((name, _)) => {
                    Err(PyValueError::new_err(format!("`{name}` was passed, and `rows` was not")))
                }
            };
        };
        let rows = array::list("rows", rows.bind(py), Role::Rows)?;
        let row_t = row_t.as_ref().map(|row_t| array::list("row_t", row_t.bind(py), Role::RowSteps));
        let row_t = row_t.transpose()?;
        let text = "`row_length` was not passed, and `w` does not have two dimensions";
        let row_length = row_length.or(w.row_length()).ok_or_else(|| PyValueError::new_err(text))?;
        let shape = (rows.memory.len(), row_length);
        if self.row_length.is_none() && g.is_some_and(|g| !g.memory.has_shape(&[shape.0, shape.1])) {
            let text = format!("`g` must have the shape {shape:?}, a row for each of `rows`");
            return Err(PyValueError::new_err(text));
        }
        Ok(Some(RowList { rows, row_length, merge: *merge, row_t }))
    }
}

/// Tensors that share a rule and its hyper-parameters. `t` is the number of the step, from 1, and can be
/// set, as `tensors`, `rounding` ("stochastic" or "nearest") and `seed` can; hyper-parameters by `set`.
/// `clamp` is from where to where new weights are kept, `(low, high)`, of which one may be infinite; None:
/// no bounds.
#[pyclass(module = "downhill", name = "Group")]
pub struct PyGroup {
    config: Box<dyn Optimizer>,
    #[pyo3(get, set)]
    tensors: Vec<Py<Tensor>>,
    #[pyo3(get, set)]
    t: u64,
    #[pyo3(get, set)]
    rounding: String,
    #[pyo3(get, set)]
    seed: u64,
    #[pyo3(get, set)]
    clamp: Option<(f64, f64)>,
}

#[pymethods]
impl PyGroup {
    #[new]
    #[pyo3(signature = (rule, tensors, t, *, rounding="stochastic", seed=0, clamp=None, **hyperparameters))]
    fn new(
        rule: &str,
        tensors: Vec<Py<Tensor>>,
        t: &Bound<'_, PyAny>,
        rounding: &str,
        seed: u64,
        clamp: Option<(f64, f64)>,
        hyperparameters: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let mut config = rule::find(rule)?;
        hyperparameters.map_or(Ok(()), |values| rule::set_all(&mut *config, values))?;
        self::rounding(rounding, seed)?;
        let (t, rounding) = (crate::step_number(t)?, rounding.to_owned());
        Ok(Self { config, tensors, t, rounding, seed, clamp })
    }

    /// The rule's name.
    #[getter]
    fn rule(&self) -> &'static str {
        self.config.name()
    }

    /// The names of the states that the rule has with these hyper-parameters, in order.
    #[getter]
    fn states(&self) -> Vec<&'static str> {
        self.config.states().iter().map(|state| state.name).collect()
    }

    /// The hyper-parameters and their values.
    #[getter]
    fn hyperparameters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let all = PyDict::new(py);
        for one @ Hyperparameter { name, .. } in &self.config.hyperparameters() {
            all.set_item(name, rule::to_python(py, one)?)?;
        }
        Ok(all)
    }

    /// Sets hyper-parameters by their names.
    #[pyo3(signature = (**hyperparameters))]
    fn set(&mut self, hyperparameters: Option<&Bound<'_, PyDict>>) -> PyResult<()> {
        let mut config = self.config.clone();
        hyperparameters.map_or(Ok(()), |values| rule::set_all(&mut *config, values))?;
        self.config = config;
        Ok(())
    }
}

impl PyGroup {
    fn slots(&self, py: Python<'_>, zero_grad: bool, slots: &mut Vec<Slot>) -> PyResult<()> {
        for (k, tensor) in self.tensors.iter().enumerate() {
            let slot = tensor.borrow(py).slot(py, &*self.config, zero_grad);
            slots.push(slot.map_err(|error| within(py, error, "tensor", k))?);
        }
        Ok(())
    }

    fn part(&self, py: Python<'_>) -> PyResult<Part<'_>> {
        let given: Vec<_> =
            self.tensors.iter().map(|tensor| tensor.borrow(py).first_element.is_some()).collect();
        let numbering = if given.contains(&true) { Numbering::Given } else { Numbering::ByPlace };
        if let (Numbering::Given, Some(k)) = (numbering, given.iter().position(|given| !given)) {
            let text = format!("tensor {k}: `first_element` is None, and other tensors have one");
            return Err(PyValueError::new_err(text));
        }
        let rounding = rounding(&self.rounding, self.seed)?;
        let (clamp, count) = (self.clamp.unwrap_or(UNBOUNDED), self.tensors.len());
        Ok(Part { config: &*self.config, t: self.t, rounding, numbering, clamp, count })
    }
}

/// The same error, said of one of many.
pub fn within(py: Python<'_>, error: PyErr, what: &str, index: usize) -> PyErr {
    if error.is_instance_of::<PyValueError>(py) {
        PyValueError::new_err(format!("{what} {index}: {}", error.value(py)))
    } else {
        error
    }
}

/// What a whole step did: `grad_norm` (of all scaled gradients together, before clipping; None if nothing
/// needed it), `applied_scale` (what gradients were multiplied by; 0 if skipped), `skipped`,
/// `tensors_updated`, and `nonfinite`: `(group, tensor, element, value)` of the first gradient that is not
/// finite, if the step was skipped for one.
#[pyclass(frozen, module = "downhill", name = "Report", get_all)]
pub struct PyReport {
    grad_norm: Option<f64>,
    applied_scale: f64,
    skipped: bool,
    tensors_updated: usize,
    nonfinite: Option<(usize, usize, usize, f32)>,
}

impl From<Report> for PyReport {
    fn from(report: Report) -> Self {
        let Report { grad_norm, applied_scale, skipped, tensors_updated, nonfinite, .. } = report;
        let nonfinite = nonfinite.map(|one| (one.group, one.tensor, one.element, one.value));
        Self { grad_norm, applied_scale, skipped, tensors_updated, nonfinite }
    }
}

#[pymethods]
impl PyReport {
    fn __repr__(&self) -> String {
        let Self { grad_norm, applied_scale, skipped, tensors_updated, nonfinite } = self;
        let norm = grad_norm.map_or("None".into(), |norm| norm.to_string());
        let skipped = if *skipped { "True" } else { "False" };
        let nonfinite = nonfinite.map_or("None".into(), |place| format!("{place:?}"));
        format!(
            "Report(grad_norm={norm}, applied_scale={applied_scale}, skipped={skipped}, tensors_updated={tensors_updated}, nonfinite={nonfinite})"
        )
    }
}

/// Calls `f` with all arrays of groups, which have been checked.
fn with_all<T>(
    py: Python<'_>,
    groups: &[PyRef<'_, PyGroup>],
    zero_grad: bool,
    f: impl FnOnce(&mut [Group<'_, '_>]) -> T,
) -> PyResult<T> {
    let (mut slots, mut parts) = (Vec::new(), Vec::with_capacity(groups.len()));
    for (k, group) in groups.iter().enumerate() {
        let part = group.part(py).and_then(|part| {
            group.slots(py, zero_grad, &mut slots)?;
            Ok(part)
        });
        parts.push(part.map_err(|error| within(py, error, "group", k))?);
    }
    let mut slots = Slots::new(slots);
    slots.check(zero_grad).map_err(|Overlap { one, other, what }| {
        let place = |slot: usize| place(groups, slot);
        let what = match what {
            What::Gradient => "`g`",
            What::Rows => "`rows`",
            What::Written => "an array that is written",
        };
        PyValueError::new_err(format!("{what} of {} overlaps one of {}", place(one), place(other)))
    })?;
    Ok(with_groups(&mut slots, &parts, zero_grad, f))
}

/// A tensor in words.
fn place(groups: &[PyRef<'_, PyGroup>], mut slot: usize) -> String {
    for (k, group) in groups.iter().enumerate() {
        if slot < group.tensors.len() {
            return format!("group {k}, tensor {slot}");
        }
        slot -= group.tensors.len();
    }
    "a tensor".into()
}

/// A whole training step in one call: scale, norm, clip, look for NaN, decay, update, round, copy, zero the
/// gradients, for any number of groups.
///
/// `grad_scale`: what gradients are multiplied by (the inverse of a loss scale; -1 to maximize).
/// `max_norm`: the norm of all gradients together above which they are scaled down to it; 0: no clipping.
/// `zero_grad`: set the gradients to zero afterwards. `skip_nonfinite`: change nothing if a gradient is NaN
/// or infinite; call again with the same `t` then. `grad_norm`: report the norm even if nothing needs it.
/// `norm_squared`: the sum of all squares, where this call has only a part of the model (`grad_squares`).
/// `threads`: None for the calling one, how many (0: one for each CPU), or a `Pool`.
///
/// Returns a `Report`. Raises ValueError that names the argument, and nothing has been written then. The
/// GIL is released while it works.
#[pyfunction(name = "step")]
#[pyo3(signature = (groups, *, grad_scale=1.0, max_norm=0.0, zero_grad=false, skip_nonfinite=false, grad_norm=false, norm_squared=None, threads=None))]
#[allow(clippy::too_many_arguments, reason = "Python's keyword arguments")]
pub fn py_step(
    py: Python<'_>,
    groups: Vec<PyRef<'_, PyGroup>>,
    grad_scale: f64,
    max_norm: f64,
    zero_grad: bool,
    skip_nonfinite: bool,
    grad_norm: bool,
    norm_squared: Option<f64>,
    threads: Option<&Bound<'_, PyAny>>,
) -> PyResult<PyReport> {
    let extras = Extras { grad_scale, max_norm, zero_grad, skip_nonfinite, grad_norm, norm_squared };
    let workers = Workers::of(threads)?;
    let report = with_all(py, &groups, zero_grad, |groups| {
        py.detach(|| step(groups, &extras, workers.threads()))
    })?;
    Ok(report.map_err(value_error)?.into())
}

/// The sum of the squares of each gradient, in order, 0 for a tensor without one: for a model that is
/// stepped in pieces. Their sum from left to right is the `norm_squared` of each call of `step`.
#[pyfunction(name = "grad_squares")]
#[pyo3(signature = (groups, *, threads=None))]
pub fn py_grad_squares(
    py: Python<'_>,
    groups: Vec<PyRef<'_, PyGroup>>,
    threads: Option<&Bound<'_, PyAny>>,
) -> PyResult<Vec<f64>> {
    let workers = Workers::of(threads)?;
    let sums =
        with_all(py, &groups, false, |groups| py.detach(|| grad_squares(groups, workers.threads())))?;
    sums.map_err(value_error)
}
