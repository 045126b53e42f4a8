//! What is asked of the arrays that Python passes, and how it is said.

use pyo3::{exceptions::PyValueError, prelude::*};

use crate::foreign::{self, Held, Kind, Memory};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Read,
    Written,
    /// 8-bit states, or `f32` or bfloat16 ones.
    State,
    /// The low halves of split weights.
    Low,
    /// The same, to be read.
    LowRead,
    /// The rows of a table.
    Rows,
    /// The numbers of their steps.
    RowSteps,
}

impl Role {
    /// What the elements may be, and that in words.
    fn kinds(self) -> (&'static [Kind], &'static str) {
        match self {
            Self::Low | Self::LowRead => (&[Kind::I16], "int16"),
            Self::Rows => (&[Kind::I64], "int64"),
            Self::RowSteps => (&[Kind::U64], "uint64"),
            Self::State => (&[Kind::F32, Kind::Bf16, Kind::U8], "float32, bfloat16 or, packed, uint8"),
            Self::Read | Self::Written => (
                &[Kind::F32, Kind::Bf16, Kind::F16],
                "float32, bfloat16 (of ml_dtypes, or its bits as uint16) or float16",
            ),
        }
    }
}

/// The array of an argument.
pub fn of(name: &str, object: &Bound<'_, PyAny>, role: Role) -> PyResult<Held> {
    let (kinds, allowed) = role.kinds();
    let held = foreign::array(object).map_err(|refusal| refusal.of_elements(name, allowed))?;
    let memory = held.memory;
    if !kinds.contains(&memory.kind()) {
        let kind = memory.kind().name();
        return Err(PyValueError::new_err(format!("`{name}` must be {allowed}; it is {kind}")));
    }
    if !matches!(role, Role::Read | Role::LowRead | Role::Rows) && !memory.is_writable() {
        return Err(PyValueError::new_err(format!("`{name}` is read-only, and would be written")));
    }
    Ok(held)
}

/// The same, of one dimension.
pub fn list(name: &str, object: &Bound<'_, PyAny>, role: Role) -> PyResult<Held> {
    let held = of(name, object, role)?;
    if held.memory.has_shape(&[held.memory.len()]) {
        return Ok(held);
    }
    Err(PyValueError::new_err(format!("`{name}` must have one dimension")))
}

/// Arrays of one tensor have one shape.
pub fn check_shape(name: &str, memory: &Memory, w: &Memory) -> PyResult<()> {
    if memory.has_shape_of(w) {
        return Ok(());
    }
    let (len, expected) = (memory.len(), w.len());
    Err(PyValueError::new_err(if len == expected {
        format!("`{name}` has as many elements as `w` and another shape")
    } else {
        format!("`{name}` has {len} elements and `w` has {expected}; they must be equally long")
    }))
}

/// All states of a tensor have one type.
pub fn check_states<'a>(mut states: impl Iterator<Item = (&'a str, Memory)>) -> PyResult<()> {
    let Some((first, memory)) = states.next() else { return Ok(()) };
    let kind = memory.kind();
    if kind == Kind::F16 {
        let text = format!("`{first}` is float16; states are float32, bfloat16 or, packed, uint8");
        return Err(PyValueError::new_err(text));
    }
    match states.find(|(_, memory)| memory.kind() != kind) {
        None => Ok(()),
        Some((name, memory)) => Err(PyValueError::new_err(format!(
            "`{name}` is {} and `{first}` is {}; the states of a tensor have one type",
            memory.kind().name(),
            kind.name()
        ))),
    }
}

pub fn overlap(one: &str, other: &str) -> PyErr {
    PyValueError::new_err(format!("`{one}` overlaps `{other}`, and one of them would be written"))
}
