//! Who works on a step.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock},
};

use downhill::{Pool, Threads};
use pyo3::{exceptions::PyValueError, prelude::*};

use crate::{foreign::OpenMp, rule::value_error};

/// Worker threads that wait for large steps. `Pool(threads)`: so many, the calling one included; 0: one
/// for each CPU that the calling thread may use. `Pool.on(cpus)`: one bound to each of these CPUs.
#[pyclass(frozen, module = "downhill", name = "Pool")]
pub struct PyPool(Arc<Pool>);

#[pymethods]
impl PyPool {
    #[new]
    #[pyo3(signature = (threads=0))]
    fn new(py: Python<'_>, threads: usize) -> Self {
        Self(Arc::new(py.detach(|| Pool::new(threads))))
    }

    /// A pool with a worker bound to each of these CPUs, numbered as the system does.
    #[staticmethod]
    fn on(py: Python<'_>, cpus: Vec<usize>) -> PyResult<Self> {
        let pool = py.detach(|| Pool::on(&cpus)).map_err(value_error)?;
        Ok(Self(Arc::new(pool)))
    }

    /// How many threads work.
    #[getter]
    fn threads(&self) -> usize {
        self.0.threads()
    }

    fn __repr__(&self) -> String {
        format!("Pool({})", self.threads())
    }
}

pub enum Workers {
    Caller,
    Pool(Arc<Pool>),
    OpenMp(OpenMp),
}

impl Workers {
    /// None is the calling thread, a number a pool of so many, which stays for the next call.
    pub fn of(threads: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let Some(threads) = threads else { return Ok(Self::Caller) };
        if let Ok(pool) = threads.cast::<PyPool>() {
            return Ok(Self::Pool(pool.get().0.clone()));
        }
        match threads.extract() {
            Ok(1) => Ok(Self::Caller),
            Ok(count) => Ok(Self::Pool(shared(threads.py(), count))),
            Err(_) => Err(PyValueError::new_err(format!(
                "`threads` is {}; it must be None, a number of threads or a Pool",
                threads.repr()?
            ))),
        }
    }

    /// The team that OpenMP has for the calling thread, where it is loaded; a pool elsewhere.
    pub fn of_openmp(py: Python<'_>, threads: usize) -> Self {
        match (threads, OpenMp::new(threads)) {
            (1, _) => Self::Caller,
            (_, Some(team)) => Self::OpenMp(team),
            (_, None) => Self::Pool(shared(py, threads)),
        }
    }

    pub fn threads(&self) -> Threads<'_> {
        match self {
            Self::Caller => Threads::Caller,
            Self::Pool(pool) => Threads::Pool(pool),
            Self::OpenMp(team) => Threads::Own(team),
        }
    }
}

/// One pool for each number of threads that was asked for.
fn shared(py: Python<'_>, threads: usize) -> Arc<Pool> {
    /// A forked child makes its own: by its process and how many threads.
    type Pools = HashMap<(u32, usize), Arc<Pool>>;
    static POOLS: OnceLock<Mutex<Pools>> = OnceLock::new();
    py.detach(|| {
        let mut pools =
            POOLS.get_or_init(Mutex::default).lock().unwrap_or_else(|lock| lock.into_inner());
        let key = (std::process::id(), threads);
        pools.entry(key).or_insert_with(|| Arc::new(Pool::new(threads))).clone()
    })
}
