//! Signals are for the threads of the host program: its handlers expect nothing of ours.

/// Runs `f`, which starts threads, with all signals blocked; a thread inherits that for its whole life.
#[cfg(unix)]
pub(crate) fn with_signals_blocked<T>(f: impl FnOnce() -> T) -> T {
    use std::{mem::MaybeUninit, ptr};

    let mut all = MaybeUninit::uninit();
    let mut callers = MaybeUninit::uninit();
    // SAFETY: `sigfillset` initializes the set it is given, and the mask that `pthread_sigmask` reads and
    // the one it writes are local variables.
    let blocked = unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), callers.as_mut_ptr()) == 0
    };
    let result = f();
    if blocked {
        // SAFETY: the call that blocked has written the caller's mask.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, callers.as_ptr(), ptr::null_mut()) };
    }
    result
}

/// Elsewhere signals are not sent to threads.
#[cfg(not(unix))]
pub(crate) fn with_signals_blocked<T>(f: impl FnOnce() -> T) -> T {
    f()
}
