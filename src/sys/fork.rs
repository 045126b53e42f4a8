//! Whether a `fork` has happened: a child has the calling thread and no other.

use std::sync::{
    Once,
    atomic::{AtomicUsize, Ordering},
};

static FORKS: AtomicUsize = AtomicUsize::new(0);

/// How many times this process's ancestry has forked since the first call. The process identifier would not do: a
/// child that is the first in a new namespace can have its parent's.
pub(crate) fn forks() -> usize {
    static COUNTING: Once = Once::new();
    COUNTING.call_once(count);
    FORKS.load(Ordering::Relaxed)
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
