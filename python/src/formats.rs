//! Arrays from one type to another, and states in eight bits.

use downhill::{convert, pack, state_bytes, unpack};
use pyo3::{exceptions::PyValueError, prelude::*, types::PyDict};

use crate::{
    array::{self, Role},
    foreign::{self, Held, Kind, Memory, with_conversion, with_packing, with_unpacking},
    rule::{self, value_error},
};

fn config(
    name: &str,
    hyperparameters: Option<&Bound<'_, PyDict>>,
) -> PyResult<Box<dyn downhill::Optimizer>> {
    let mut config = rule::find(name)?;
    hyperparameters.map_or(Ok(()), |values| rule::set_all(&mut *config, values))?;
    Ok(config)
}

/// How many bytes the states of `n` elements take in 8 bits: the size of the uint8 array that a `Tensor`
/// then has for all of them. Hyper-parameters matter where they say which states there are. Raises
/// ValueError for a rule whose states 8 bits are not for.
#[pyfunction(name = "state_bytes")]
#[pyo3(signature = (rule, n, **hyperparameters))]
pub fn py_state_bytes(
    rule: &str,
    n: usize,
    hyperparameters: Option<&Bound<'_, PyDict>>,
) -> PyResult<usize> {
    state_bytes(&*config(rule, hyperparameters)?, n).map_err(value_error)
}

/// The array of packed states, and the others.
fn packed_and_states(
    packed: (&Bound<'_, PyAny>, bool),
    states: &[Bound<'_, PyAny>],
    is_written: bool,
) -> PyResult<(Held, Vec<Held>)> {
    let bytes = foreign::array(packed.0).map_err(|refusal| refusal.of_elements("packed", "uint8"))?;
    if bytes.memory.kind() != Kind::U8 {
        let text = format!("`packed` must be uint8; it is {}", bytes.memory.kind().name());
        return Err(PyValueError::new_err(text));
    }
    if packed.1 && !bytes.memory.is_writable() {
        return Err(PyValueError::new_err("`packed` is read-only, and would be written"));
    }
    let role = if is_written { Role::Written } else { Role::Read };
    let mut all = Vec::with_capacity(states.len());
    for (k, state) in states.iter().enumerate() {
        let name = format!("states[{k}]");
        let state = array::of(&name, state, role)?;
        if state.memory.kind() != Kind::F32 {
            let text = format!("`{name}` must be float32; it is {}", state.memory.kind().name());
            return Err(PyValueError::new_err(text));
        }
        all.push(state);
    }
    Ok((bytes, all))
}

fn memories(all: &[Held]) -> Vec<Memory> {
    all.iter().map(|held| held.memory).collect()
}

/// Packs float32 states in 8 bits, each number rounded to the nearest code. `packed` is a uint8 array of
/// `state_bytes` bytes.
#[pyfunction(name = "pack")]
#[pyo3(signature = (rule, states, packed, **hyperparameters))]
pub fn py_pack(
    rule: &str,
    states: Vec<Bound<'_, PyAny>>,
    packed: &Bound<'_, PyAny>,
    hyperparameters: Option<&Bound<'_, PyDict>>,
) -> PyResult<()> {
    let config = config(rule, hyperparameters)?;
    let (bytes, states) = packed_and_states((packed, true), &states, false)?;
    with_packing(&memories(&states), bytes.memory, |states, packed| pack(&*config, states, packed))
        .map_err(|_| array::overlap("packed", "states"))?
        .map_err(value_error)
}

/// Unpacks 8-bit states: what the codes mean, exactly.
#[pyfunction(name = "unpack")]
#[pyo3(signature = (rule, packed, states, **hyperparameters))]
pub fn py_unpack(
    rule: &str,
    packed: &Bound<'_, PyAny>,
    states: Vec<Bound<'_, PyAny>>,
    hyperparameters: Option<&Bound<'_, PyDict>>,
) -> PyResult<()> {
    let config = config(rule, hyperparameters)?;
    let (bytes, states) = packed_and_states((packed, false), &states, true)?;
    with_unpacking(bytes.memory, &memories(&states), |packed, states| unpack(&*config, packed, states))
        .map_err(|_| array::overlap("states", "packed"))?
        .map_err(value_error)
}

/// Converts `source` to the type of `target`, to the nearest number, ties to even. With
/// `source_low` or `target_low` (int16) that side is split weights, whose high halves are bfloat16: nothing
/// is lost. Raises ValueError, and nothing has been written then.
#[pyfunction(name = "convert")]
#[pyo3(signature = (source, target, *, source_low=None, target_low=None))]
pub fn py_convert(
    py: Python<'_>,
    source: &Bound<'_, PyAny>,
    target: &Bound<'_, PyAny>,
    source_low: Option<&Bound<'_, PyAny>>,
    target_low: Option<&Bound<'_, PyAny>>,
) -> PyResult<()> {
    let from = array::of("source", source, Role::Read)?;
    let to = array::of("target", target, Role::Written)?;
    let low = |name, object: Option<&Bound<'_, PyAny>>, of: &Held, role| {
        let Some(object) = object else { return Ok(None) };
        let low = array::of(name, object, role)?;
        let kind = of.memory.kind();
        if kind != Kind::Bf16 {
            let text =
                format!("`{name}` was passed; the high halves must be bfloat16, not {}", kind.name());
            return Err(PyValueError::new_err(text));
        }
        Ok(Some(low))
    };
    let from_low = low("source_low", source_low, &from, Role::LowRead)?;
    let to_low = low("target_low", target_low, &to, Role::Low)?;
    let both = |high: &Held, low: &Option<Held>| (high.memory, low.as_ref().map(|low| low.memory));
    let (from, to) = (both(&from, &from_low), both(&to, &to_low));
    py.detach(|| with_conversion(from, to, convert))
        .map_err(|_| array::overlap("source", "target"))?
        .map_err(|error| {
            PyValueError::new_err(
                error.to_string().replace("`from`", "`source`").replace("`w`", "`target`"),
            )
        })
}
