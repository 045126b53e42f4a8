//! The step of a PyTorch optimizer: its groups and tensors are kept from call to call, and looked at
//! again in each, since any of them may have moved.

use downhill::{Error, Extras, Hyperparameter, Numbering, Optimizer, Report, Rounding, Threads};
use pyo3::{
    exceptions::{PyRuntimeError, PyValueError},
    intern,
    prelude::*,
    types::{PyDict, PyList, PyString, PyTuple},
};

use crate::{
    foreign::{Held, Kind, Memory, Overlap, Reader, Refusal, Slot, Slots, Watch, What},
    rule::{self, number, value_error},
    threads::Workers,
    whole::{Part, PyReport, UNBOUNDED, rounding, run},
};

/// Elements of different tensors share no random bits: each tensor's begin at a multiple of this.
const BLOCK: u64 = 64;

/// What was in a parameter's state: by its key, and where.
type Known = Vec<(Py<PyString>, Py<PyAny>, Memory)>;

/// A parameter.
struct Parameter {
    tensor: Py<PyAny>,
    memory: Memory,
    /// Its entry in the optimizer's state, and what was in it when this was made, but for what the watch
    /// has an eye on; None as long as it has had no gradient.
    state: Option<(Py<PyDict>, Known)>,
    /// Steps that were made.
    made: u64,
    /// The gradient, where a copy of it is stepped with.
    original: Option<Py<PyAny>>,
}

/// Parameters that follow each other and share hyper-parameters.
struct Members {
    config: Box<dyn Optimizer>,
    known: Vec<Hyperparameter>,
    /// Adagrad's: the learning rate of step `t` is `lr/(1 + (t−1)·lr_decay)`.
    lr_decay: f64,
    /// Is the first step of momentum without its dampening?
    is_first_undamped: bool,
    rounding: Rounding,
    clamp: (f64, f64),
    count: usize,
}

/// What an optimizer of `downhill.torch` keeps for its steps.
#[pyclass(module = "downhill")]
pub struct Plan {
    reader: Reader,
    watch: Py<Watch>,
    /// Makes a gradient that is dense as its parameter is.
    densify: Py<PyAny>,
    /// Tells autograd that tensors were written to; None where PyTorch has no such function.
    increment_version: Option<Py<PyAny>>,
    state: Py<PyDict>,
    state_len: usize,
    groups: Vec<Members>,
    parameters: Vec<Parameter>,
    slots: Slots,
}

/// Parameters that follow each other and are at the same step.
struct Run {
    group: usize,
    t: u64,
    /// The rule, if it is that of this step only.
    config: Option<Box<dyn Optimizer>>,
    count: usize,
}

/// Why a step was not made.
enum Failure {
    /// Something is not where it was: a new plan will do.
    Stale,
    Error(PyErr),
}

impl From<PyErr> for Failure {
    fn from(error: PyErr) -> Self {
        Self::Error(error)
    }
}

#[pymethods]
impl Plan {
    /// `groups` has for each group `(rule, choices, names of hyper-parameters, lr_decay,
    /// is_first_undamped, rounding, seed, clamp or None, [(parameter, its state or None, steps made)])`; the state's keys
    /// are in `state_names`.
    #[new]
    #[allow(clippy::too_many_arguments, reason = "as below")]
    fn new(
        class: &Bound<'_, PyAny>,
        to_dlpack: Py<PyAny>,
        densify: Py<PyAny>,
        increment_version: Option<Py<PyAny>>,
        watch: &Bound<'_, Watch>,
        state: &Bound<'_, PyDict>,
        groups: &Bound<'_, PyList>,
    ) -> PyResult<Self> {
        watch.get().reset();
        let reader = Reader::new(class, to_dlpack);
        let (mut members, mut parameters, mut slots) = (Vec::new(), Vec::new(), Vec::new());
        let mut number = 0;
        for (k, group) in groups.iter().enumerate() {
            let made = Members::new(&group)?;
            let list = group.get_item("params")?;
            let names: Vec<Py<PyString>> = group.get_item("state_names")?.extract()?;
            for (j, entry) in list.cast::<PyList>()?.iter().enumerate() {
                let (parameter, slot) = parameter(&reader, watch.get(), &entry, &names, number)
                    .map_err(|refusal| refusal.of(&format!("param_groups[{k}]['params'][{j}]")))?;
                number = (number + slot.w.memory.len() as u64).next_multiple_of(BLOCK);
                parameters.push(parameter);
                slots.push(slot);
            }
            members.push(made);
        }
        let mut slots = Slots::new(slots);
        slots.check(false).map_err(|Overlap { one, other, .. }| {
            PyValueError::new_err(format!(
                "`params`: parameters {other} and {one} (of all, in order, from 0) or their states share memory"
            ))
        })?;
        Ok(Self {
            reader,
            watch: watch.clone().unbind(),
            densify,
            increment_version,
            state: state.clone().unbind(),
            state_len: state.len(),
            groups: members,
            parameters,
            slots,
        })
    }

    /// Makes the step, and gives its report; None if a new plan is needed. `values` has the numbers of
    /// each group, `maximize` which of them go up.
    #[allow(clippy::too_many_arguments, reason = "one caller, and Python's interpreter is one of them")]
    fn step(
        &mut self,
        py: Python<'_>,
        param_groups: &Bound<'_, PyList>,
        state: &Bound<'_, PyDict>,
        values: &Bound<'_, PyList>,
        maximize: Vec<bool>,
        extras: (f64, bool, bool, bool),
        threads: (Option<Bound<'_, PyAny>>, usize),
    ) -> PyResult<Option<PyReport>> {
        let (max_norm, skip_nonfinite, zero_grad, grad_norm) = extras;
        let is_up = maximize.contains(&true) && !maximize.contains(&false);
        let extras = Extras {
            grad_scale: if is_up { -1.0 } else { 1.0 },
            max_norm,
            skip_nonfinite,
            zero_grad,
            grad_norm,
            ..Extras::default()
        };
        let workers = match threads {
            (Some(threads), _) => Workers::of(Some(&threads))?,
            (None, count) => Workers::of_openmp(py, count),
        };
        // One step has one scale: where only some groups go up, their gradients are copied and negated.
        let is_negated = |group: usize| maximize[group] && !is_up;
        let report = self.refresh(py, param_groups, state, values, is_negated).and_then(|()| {
            self.separate(py, zero_grad)?;
            Ok(self.make(py, &extras, workers.threads())?)
        });
        // Whoever sets gradients to None expects their memory back.
        self.slots.drop_gradients();
        match report {
            Ok(report) => {
                self.after(py, &report, zero_grad)?;
                Ok(Some(report.into()))
            }
            Err(Failure::Stale) => Ok(None),
            Err(Failure::Error(error)) => Err(error),
        }
    }

    /// How many steps each parameter has made.
    #[getter]
    fn steps(&self) -> Vec<u64> {
        self.parameters.iter().map(|parameter| parameter.made).collect()
    }
}

fn is_weight(kind: Kind) -> bool {
    matches!(kind, Kind::F32 | Kind::Bf16 | Kind::F16)
}

fn parameter(
    reader: &Reader,
    watch: &Watch,
    entry: &Bound<'_, PyAny>,
    names: &[Py<PyString>],
    first_element: u64,
) -> Result<(Parameter, Slot), Refusal> {
    let py = entry.py();
    let (tensor, state, made): (Bound<'_, PyAny>, Option<Bound<'_, PyDict>>, u64) = entry.extract()?;
    let memory = reader.memory(&tensor)?;
    if !is_weight(memory.kind()) {
        let text = format!("must be float32, bfloat16 or float16; it is {}", memory.kind().name());
        return Err(Refusal::Text(text));
    }
    let mut slot = Slot {
        w: Held::new(&tensor, memory),
        low: None,
        g: None,
        states: Vec::new(),
        copy: None,
        t: 0,
        first_element,
        rows: None,
    };
    let mut known = Vec::new();
    let Some(state) = state else {
        let tensor = tensor.unbind();
        return Ok((Parameter { tensor, memory, state: None, made, original: None }, slot));
    };
    let mut take = |name: &str, kinds: &[Kind]| -> Result<Option<Held>, Refusal> {
        let key = PyString::intern(py, name);
        let Some(object) = state.get_item(&key)? else { return Ok(None) };
        let found = reader.memory(&object).map_err(|refusal| {
            let reason = refusal.of(name).value(py).to_string();
            Refusal::Text(format!("has a state that is no tensor to step with: {reason}"))
        })?;
        if !kinds.contains(&found.kind()) || found.kind() != Kind::U8 && !found.is_laid_out_as(&memory) {
            let text = format!("has a state {name:?} of another type or layout than it should have");
            return Err(Refusal::Text(text));
        }
        let held = watch.hold(&object, found);
        if !held.is_ours() {
            known.push((key.unbind(), object.unbind(), found));
        }
        Ok(Some(held))
    };
    slot.low = take("low", &[Kind::I16])?;
    if let Some(master) = take("master", &[Kind::F32])? {
        slot.copy = Some(std::mem::replace(&mut slot.w, master));
    }
    if let Some(packed) = take("packed", &[Kind::U8])? {
        slot.states.push(packed);
    } else {
        for name in names {
            let name = name.bind(py).to_cow()?;
            let missing = || Refusal::Text(format!("has no state {name:?}"));
            slot.states.push(take(&name, &[Kind::F32, Kind::Bf16])?.ok_or_else(missing)?);
        }
    }
    if slot.states.windows(2).any(|pair| pair[0].memory.kind() != pair[1].memory.kind()) {
        return Err(Refusal::Text("has states of different types".into()));
    }
    let tensor = tensor.unbind();
    Ok((Parameter { tensor, memory, state: Some((state.unbind(), known)), made, original: None }, slot))
}

impl Members {
    fn new(group: &Bound<'_, PyAny>) -> PyResult<Self> {
        let mut config = rule::find(&group.get_item("rule")?.extract::<String>()?)?;
        rule::set_all(&mut *config, group.get_item("choices")?.cast::<PyDict>()?)?;
        let names: Vec<String> = group.get_item("numbers")?.extract()?;
        let all = config.hyperparameters();
        let find = |name: &String| all.iter().find(|known| known.name == name).copied();
        let known: Vec<Hyperparameter> = names.iter().filter_map(find).collect();
        assert_eq!(known.len(), names.len(), "{names:?} are hyper-parameters of {}", config.name());
        Ok(Self {
            config,
            known,
            lr_decay: group.get_item("lr_decay")?.extract()?,
            is_first_undamped: group.get_item("is_first_undamped")?.extract()?,
            rounding: rounding(
                &group.get_item("rounding")?.extract::<String>()?,
                group.get_item("seed")?.extract()?,
            )?,
            clamp: group.get_item("clamp")?.extract::<Option<_>>()?.unwrap_or(UNBOUNDED),
            count: group.get_item("params")?.len()?,
        })
    }

    /// Takes over the numbers that have changed.
    fn update(&mut self, values: &Bound<'_, PyTuple>) -> PyResult<()> {
        for (known, value) in self.known.iter_mut().zip(values.iter()) {
            let value = number(known, &value)?;
            if value != known.value {
                self.config.set(known.name, value).map_err(value_error)?;
                known.value = value;
            }
        }
        Ok(())
    }

    fn depends_on_t(&self) -> bool {
        self.lr_decay != 0.0 || self.is_first_undamped
    }

    /// The rule of step `t`.
    fn config_at(&self, t: u64) -> Result<Box<dyn Optimizer>, Error> {
        let mut config = self.config.clone();
        if self.is_first_undamped && t == 1 {
            config.set("dampening", 0.0)?;
        }
        if self.lr_decay != 0.0 {
            let lr = self.known.iter().find(|known| known.name == "lr").map_or(0.0, |lr| lr.value);
            config.set("lr", lr / (1.0 + (t as f64 - 1.0) * self.lr_decay))?;
        }
        Ok(config)
    }
}

impl Plan {
    /// Looks at everything that a step reads or writes.
    fn refresh(
        &mut self,
        py: Python<'_>,
        param_groups: &Bound<'_, PyList>,
        state: &Bound<'_, PyDict>,
        values: &Bound<'_, PyList>,
        is_negated: impl Fn(usize) -> bool,
    ) -> Result<(), Failure> {
        let is_known = !self.watch.get().has_changed()
            && param_groups.len() == self.groups.len()
            && state.is(&self.state)
            && state.len() == self.state_len
            && values.len() == self.groups.len();
        if !is_known {
            return Err(Failure::Stale);
        }
        let mut start = 0;
        for k in 0..self.groups.len() {
            self.groups[k].update(values.get_item(k)?.cast::<PyTuple>().map_err(PyErr::from)?)?;
            let end = start + self.groups[k].count;
            let group = param_groups.get_item(k)?;
            let params = group.get_item(intern!(py, "params"))?;
            let params = params.cast::<PyList>().map_err(PyErr::from)?;
            if params.len() != end - start {
                return Err(Failure::Stale);
            }
            for place in start..end {
                if !params.get_item(place - start)?.is(&self.parameters[place].tensor) {
                    return Err(Failure::Stale);
                }
                self.refresh_parameter(py, place, is_negated(k)).map_err(|failure| match failure {
                    Failure::Error(error) => of_parameter(py, error, k, place - start),
                    stale => stale,
                })?;
            }
            start = end;
        }
        Ok(())
    }

    fn refresh_parameter(
        &mut self,
        py: Python<'_>,
        place: usize,
        is_negated: bool,
    ) -> Result<(), Failure> {
        let Self { reader, parameters, slots, densify, .. } = self;
        let parameter = &mut parameters[place];
        let tensor = parameter.tensor.bind(py);
        let memory = |object| reader.memory(object).map_err(|refusal| refusal.of("data"));
        if memory(tensor)? != parameter.memory {
            return Err(Failure::Stale);
        }
        let g = tensor.getattr(intern!(py, "grad"))?;
        parameter.original = None;
        if g.is_none() {
            slots.set_t(place, 0);
            slots.set_gradient(place, None);
            return Ok(());
        }
        let Some((state, known)) = &parameter.state else { return Err(Failure::Stale) };
        let state = state.bind(py);
        for (key, object, as_it_was) in known {
            let now = state.get_item(key.bind(py))?;
            if !now.is_some_and(|now| now.is(object)) || memory(object.bind(py))? != *as_it_was {
                return Err(Failure::Stale);
            }
        }
        let gradient = match reader.memory(&g) {
            Ok(found)
                if !is_negated && is_weight(found.kind()) && found.is_laid_out_as(&parameter.memory) =>
            {
                Held::new(&g, found)
            }
            // Another sign or layout, or none that is dense; or no strided tensor, which the function says.
            _ => {
                let dense = densify.bind(py).call1((tensor, &g))?;
                if is_negated {
                    dense.call_method0(intern!(py, "neg_"))?;
                }
                parameter.original = Some(g.unbind());
                Held::new(&dense, memory(&dense)?)
            }
        };
        slots.set_t(place, parameter.made + 1);
        slots.set_gradient(place, Some(gradient));
        Ok(())
    }

    /// Checks that nothing overlaps; a gradient that shares memory is copied.
    fn separate(&mut self, py: Python<'_>, zero_grad: bool) -> Result<(), Failure> {
        loop {
            match self.slots.check(zero_grad) {
                Ok(()) => return Ok(()),
                Err(Overlap { one, what: What::Gradient, .. }) => {
                    let parameter = &mut self.parameters[one];
                    let tensor = parameter.tensor.bind(py);
                    let g = tensor.getattr(intern!(py, "grad"))?;
                    let dense = self.densify.bind(py).call1((tensor, &g))?;
                    parameter.original = Some(g.unbind());
                    let memory = self.reader.memory(&dense).map_err(|refusal| refusal.of("grad"))?;
                    self.slots.set_gradient(one, Some(Held::new(&dense, memory)));
                }
                Err(_) => return Err(Failure::Stale),
            }
        }
    }

    fn make(&mut self, py: Python<'_>, extras: &Extras, threads: Threads<'_>) -> PyResult<Report> {
        let Self { groups, slots, .. } = self;
        let mut runs = Vec::with_capacity(groups.len());
        let mut rest = slots.as_slice();
        for (k, group) in groups.iter().enumerate() {
            let (own, others) = rest.split_at(group.count);
            rest = others;
            if group.depends_on_t() {
                for run in own.chunk_by(|one, next| one.t == next.t) {
                    let t = run[0].t.max(1);
                    let config = Some(group.config_at(t).map_err(value_error)?);
                    runs.push(Run { group: k, t, config, count: run.len() });
                }
            } else {
                let t = own.iter().map(|slot| slot.t).find(|&t| t > 0).unwrap_or(1);
                runs.push(Run { group: k, t, config: None, count: own.len() });
            }
        }
        let part = |run: &'_ Run| Part {
            config: &*groups[run.group].config,
            t: run.t,
            rounding: groups[run.group].rounding,
            numbering: Numbering::Given,
            clamp: groups[run.group].clamp,
            count: run.count,
        };
        let parts: Vec<_> = runs
            .iter()
            .map(|run| match &run.config {
                Some(config) => Part { config: &**config, ..part(run) },
                None => part(run),
            })
            .collect();
        run(py, slots, &parts, extras, threads).map_err(value_error)
    }

    /// Counts the step, tells autograd, and zeroes gradients of which a copy was stepped with.
    fn after(&mut self, py: Python<'_>, report: &Report, zero_grad: bool) -> PyResult<()> {
        if report.skipped {
            return Ok(());
        }
        let written = PyList::empty(py);
        for (parameter, slot) in self.parameters.iter_mut().zip(self.slots.as_slice()) {
            if slot.t == 0 {
                continue;
            }
            parameter.made += 1;
            written.append(&parameter.tensor)?;
            if let Some(original) = parameter.original.take().filter(|_| zero_grad) {
                original.call_method0(py, intern!(py, "zero_"))?;
            }
        }
        if let Some(increment) = &self.increment_version {
            increment.call1(py, (written,))?;
        }
        Ok(())
    }
}

/// The same error, said of a parameter.
fn of_parameter(py: Python<'_>, error: PyErr, group: usize, place: usize) -> Failure {
    let text = format!("param_groups[{group}]['params'][{place}]: {}", error.value(py));
    Failure::Error(if error.is_instance_of::<PyRuntimeError>(py) {
        PyRuntimeError::new_err(text)
    } else if error.is_instance_of::<PyValueError>(py) {
        PyValueError::new_err(text)
    } else {
        error
    })
}
