//! Whether this process is the one that it was: `fork` takes the calling thread along and no other.

use std::sync::{
    Once,
    atomic::{AtomicUsize, Ordering},
};

static FORKS: AtomicUsize = AtomicUsize::new(0);

/// How many forks since the first call lie between this process and the one that made it. The process
/// identifier would not do: a child that is the first in a new namespace can have its parent's.
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
    // It can only fail for want of memory, and then for good reason no thread will start.
    unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
}

/// Nothing forks here.
#[cfg(not(unix))]
fn count() {}
