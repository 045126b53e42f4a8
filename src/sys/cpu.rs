//! On which CPU a thread runs.

use std::{env, io, sync::OnceLock, thread::JoinHandle};

/// The environment variable that keeps workers where the system puts them.
const VARIABLE: &str = "DOWNHILL_MIGRATE";

/// May a worker leave the CPU of the thread that woke it? Unless `DOWNHILL_MIGRATE` is 0. The
/// environment is read once.
pub(crate) fn may_migrate() -> bool {
    static MAY: OnceLock<bool> = OnceLock::new();
    *MAY.get_or_init(|| env::var_os(VARIABLE).is_none_or(|value| value != "0"))
}

/// The CPU that the calling thread runs on, if the system says.
#[cfg(target_os = "linux")]
pub(crate) fn current_cpu() -> Option<usize> {
    // SAFETY: takes nothing and touches nothing of ours.
    usize::try_from(unsafe { libc::sched_getcpu() }).ok()
}

/// Moves the calling thread to another CPU that it may run on, if there is one. It may come back later:
/// it only has to run elsewhere now.
#[cfg(target_os = "linux")]
pub(crate) fn leave_cpu(cpu: usize) {
    let Some(allowed) = linux::allowed() else { return };
    let Some(others) = linux::without(allowed, cpu) else { return };
    // Fails where there is no other CPU, and then nothing has changed.
    if linux::allow(&others).is_ok() {
        let _ = linux::allow(&allowed);
    }
}

/// Binds a thread to one CPU for the rest of its life.
///
/// # Errors
/// The system's, for a CPU that is not there or that this process may not use.
#[cfg(all(target_os = "linux", any(target_env = "gnu", target_env = "musl")))]
pub(super) fn bind(thread: &JoinHandle<()>, cpu: usize) -> io::Result<()> {
    use std::os::unix::thread::JoinHandleExt;

    let set = linux::only(cpu).ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?;
    // SAFETY: the handle keeps its thread's identifier valid, and the call reads the size of a set from
    // `set`.
    match unsafe { libc::pthread_setaffinity_np(thread.as_pthread_t() as _, size_of_val(&set), &set) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Elsewhere no thread can be bound.
#[cfg(not(all(target_os = "linux", any(target_env = "gnu", target_env = "musl"))))]
pub(super) fn bind(_: &JoinHandle<()>, _: usize) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{io, mem};

    use libc::cpu_set_t;

    const SIZE: usize = size_of::<cpu_set_t>();

    /// The CPUs that the calling thread may run on.
    pub fn allowed() -> Option<cpu_set_t> {
        let mut set = empty();
        // SAFETY: writes at most `SIZE` bytes to `set`; thread 0 is the calling one.
        (unsafe { libc::sched_getaffinity(0, SIZE, &mut set) } == 0).then_some(set)
    }

    /// Lets the calling thread run on these CPUs only, and on one of them now.
    pub fn allow(set: &cpu_set_t) -> io::Result<()> {
        // SAFETY: reads `SIZE` bytes of a set.
        match unsafe { libc::sched_setaffinity(0, SIZE, set) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// The same CPUs without this one; None for a number that no set has.
    pub fn without(mut set: cpu_set_t, cpu: usize) -> Option<cpu_set_t> {
        has_bit(cpu).then(|| {
            // SAFETY: `cpu` is less than the number of bits in a set.
            unsafe { libc::CPU_CLR(cpu, &mut set) };
            set
        })
    }

    /// This CPU alone; None for a number that no set has.
    pub fn only(cpu: usize) -> Option<cpu_set_t> {
        has_bit(cpu).then(|| {
            let mut set = empty();
            // SAFETY: `cpu` is less than the number of bits in a set.
            unsafe { libc::CPU_SET(cpu, &mut set) };
            set
        })
    }

    fn has_bit(cpu: usize) -> bool {
        cpu < 8 * SIZE
    }

    fn empty() -> cpu_set_t {
        // SAFETY: a set of CPUs is an array of bits, and may be all zeros.
        unsafe { mem::zeroed() }
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn current_cpu() -> Option<usize> {
    None
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn leave_cpu(_: usize) {}
