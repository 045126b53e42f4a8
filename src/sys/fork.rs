//! Which process this is: a child has the thread that forked and no other.

use std::sync::{
    Once,
    atomic::{AtomicUsize, Ordering},
};

static FORKS: AtomicUsize = AtomicUsize::new(0);

/// A process, told from those that it forked from. Its identifier alone would not do: a child that is
/// the first in a new namespace can have its parent's. Nor would the count alone: `_Fork` and `clone`
/// run no handlers.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Process {
    id: u32,
    /// How many times its ancestry has forked since the first call.
    forks: usize,
}

impl Process {
    pub fn current() -> Self {
        static COUNTING: Once = Once::new();
        COUNTING.call_once(count);
        Self { id: id(), forks: FORKS.load(Ordering::Relaxed) }
    }
}

#[cfg(unix)]
fn id() -> u32 {
    std::process::id()
}

/// Nothing forks here, and some systems have no processes to identify.
#[cfg(not(unix))]
fn id() -> u32 {
    0
}

#[cfg(unix)]
fn count() {
    extern "C" fn in_child() {
        FORKS.fetch_add(1, Ordering::Relaxed);
    }
    // SAFETY: the handler touches an atomic and nothing else, as a child of a process with threads may.
    // It can only fail where there is no memory, and then no thread will start either.
    unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
}

/// Nothing forks here.
#[cfg(not(unix))]
fn count() {}
