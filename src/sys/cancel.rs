//! Cancellation of threads (`pthread_cancel`): glibc unwinds the stack of a cancelled thread, and an
//! unwinding that no panic began ends the process when it meets Rust.

/// Runs `f`, and keeps the calling thread from being cancelled in it. A cancellation that came meanwhile
/// acts at the thread's next cancellation point. (That is how cancellation works unless a thread sets
/// its type to asynchronous.)
#[cfg(all(target_os = "linux", any(target_env = "gnu", target_env = "musl")))]
pub fn without_cancellation<T>(f: impl FnOnce() -> T) -> T {
    use std::{ffi::c_int, ptr};

    /// The value on Linux.
    const PTHREAD_CANCEL_DISABLE: c_int = 1;
    unsafe extern "C" {
        // Not in the crate `libc`.
        fn pthread_setcancelstate(state: c_int, old: *mut c_int) -> c_int;
    }
    let mut callers = 0;
    // SAFETY: writes an integer to a local variable.
    let disabled = unsafe { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &raw mut callers) } == 0;
    let result = f();
    if disabled {
        // SAFETY: `callers` is what the call above has written, and NULL is allowed.
        unsafe { pthread_setcancelstate(callers, ptr::null_mut()) };
    }
    result
}

/// Elsewhere nothing is held off.
#[cfg(not(all(target_os = "linux", any(target_env = "gnu", target_env = "musl"))))]
pub fn without_cancellation<T>(f: impl FnOnce() -> T) -> T {
    f()
}
