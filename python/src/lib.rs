//! downhill for Python. The package `downhill` in `../downhill` makes functions of what is here.

mod array;
mod foreign;
mod formats;
mod optimizer;
mod rule;
mod threads;
mod whole;

use downhill::Isa;
use pyo3::{exceptions::PyValueError, prelude::*};

/// The number of a step: from 1.
fn step_number(t: &Bound<'_, PyAny>) -> PyResult<u64> {
    t.extract().map_err(|_| {
        let shown = t.repr().map_or_else(|_| "?".into(), |repr| repr.to_string());
        PyValueError::new_err(format!("`t` is {shown}; it must be the number of the step, from 1"))
    })
}

/// The instruction set that steps use: "scalar", "avx2", "avx512", "neon" or "simd128".
/// `DOWNHILL_ISA` in the environment names a lower one.
#[pyfunction]
fn isa() -> PyResult<&'static str> {
    Isa::current().map(Isa::name).map_err(rule::value_error)
}

/// Every rule.
#[pyfunction]
fn rules() -> Vec<rule::Rule> {
    rule::all()
}

#[pymodule]
fn _downhill(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    // Formulas, options and papers, of which the docstrings are made.
    module.add("RULES", include_str!("../../docs/rules.md"))?;
    module.add_class::<rule::Rule>()?;
    module.add_class::<whole::Tensor>()?;
    module.add_class::<whole::PyGroup>()?;
    module.add_class::<whole::PyReport>()?;
    module.add_class::<threads::PyPool>()?;
    module.add_class::<optimizer::Plan>()?;
    module.add_class::<foreign::Watch>()?;
    module.add_function(wrap_pyfunction!(isa, module)?)?;
    module.add_function(wrap_pyfunction!(rules, module)?)?;
    module.add_function(wrap_pyfunction!(whole::py_step, module)?)?;
    module.add_function(wrap_pyfunction!(whole::py_grad_squares, module)?)?;
    module.add_function(wrap_pyfunction!(formats::py_state_bytes, module)?)?;
    module.add_function(wrap_pyfunction!(formats::py_pack, module)?)?;
    module.add_function(wrap_pyfunction!(formats::py_unpack, module)?)?;
    module.add_function(wrap_pyfunction!(formats::py_convert, module)?)?;
    Ok(())
}
