//! Which signals a worker takes.

/// What an instruction of the thread itself raises. A host may serve some of these: garbage collectors,
/// incremental checkpoints and lazily filled mappings protect pages and wait for the fault. Blocked, it
/// would end the process.
#[cfg(unix)]
const OF_INSTRUCTIONS: [libc::c_int; 6] =
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP, libc::SIGSYS];

/// Runs `f`, which starts threads, with all other signals blocked. A thread inherits that for its whole
/// life: handlers of what is sent to the process expect to run on the host's threads.
#[cfg(unix)]
pub(super) fn with_signals_blocked<T>(f: impl FnOnce() -> T) -> T {
    use std::{mem::MaybeUninit, ptr};

    let mut sent = MaybeUninit::uninit();
    let mut callers = MaybeUninit::uninit();
    // SAFETY: `sigfillset` initializes the set that it and `sigdelset` are given, and the mask that
    // `pthread_sigmask` reads and the one it writes are local variables.
    let blocked = unsafe {
        libc::sigfillset(sent.as_mut_ptr());
        for signal in OF_INSTRUCTIONS {
            libc::sigdelset(sent.as_mut_ptr(), signal);
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, sent.as_ptr(), callers.as_mut_ptr()) == 0
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
pub(super) fn with_signals_blocked<T>(f: impl FnOnce() -> T) -> T {
    f()
}
