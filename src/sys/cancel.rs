//! Cancellation of threads (`pthread_cancel`): glibc unwinds the stack of a cancelled thread, and an
//! unwinding that no panic began ends the process when it meets Rust.

/// Runs `f`, and keeps the calling thread from being cancelled in it. A cancellation that came meanwhile
/// acts at the thread's next cancellation point. (That is how cancellation works unless a thread sets
/// its type to asynchronous.)
pub fn without_cancellation<T>(f: impl FnOnce() -> T) -> T {
    let _held_off = HeldOff::new();
    f()
}

#[cfg(all(target_os = "linux", any(target_env = "gnu", target_env = "musl")))]
use linux::HeldOff;

#[cfg(all(target_os = "linux", any(target_env = "gnu", target_env = "musl")))]
mod linux {
    use std::{ffi::c_int, ptr};

    /// The value on Linux.
    const PTHREAD_CANCEL_DISABLE: c_int = 1;

    unsafe extern "C" {
        // Not in the crate `libc`.
        fn pthread_setcancelstate(state: c_int, old: *mut c_int) -> c_int;
    }

    /// Until it is dropped the thread is not cancelled. What it was set to before is set again then, after
    /// a panic too.
    pub struct HeldOff(Option<c_int>);

    impl HeldOff {
        pub fn new() -> Self {
            let mut before = 0;
            // SAFETY: writes an integer to a local variable.
            let status = unsafe { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &raw mut before) };
            Self((status == 0).then_some(before))
        }
    }

    impl Drop for HeldOff {
        fn drop(&mut self) {
            if let Self(Some(before)) = *self {
                // SAFETY: `before` is what `new` was told, and NULL is allowed.
                unsafe { pthread_setcancelstate(before, ptr::null_mut()) };
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use std::panic::{AssertUnwindSafe, catch_unwind};

        use super::super::without_cancellation;

        /// Is the thread kept from being cancelled? Whatever it was, it may be cancelled from then on.
        fn is_held_off() -> bool {
            let mut state = 0;
            // SAFETY: 0 is `PTHREAD_CANCEL_ENABLE` on Linux, and `state` is a local variable.
            assert_eq!(unsafe { super::pthread_setcancelstate(0, &raw mut state) }, 0);
            state == super::PTHREAD_CANCEL_DISABLE
        }

        #[test]
        fn what_was_set_is_set_again_after_a_panic_too() {
            assert!(!is_held_off());
            assert!(without_cancellation(is_held_off));
            without_cancellation(|| ());
            assert!(!is_held_off());
            let panicked = catch_unwind(AssertUnwindSafe(|| without_cancellation(|| panic!("forced"))));
            assert!(panicked.is_err() && !is_held_off());
            without_cancellation(|| {
                let panicked = catch_unwind(|| without_cancellation(|| panic!("forced")));
                assert!(panicked.is_err() && is_held_off());
            });
        }
    }
}

/// Elsewhere nothing is held off.
#[cfg(not(all(target_os = "linux", any(target_env = "gnu", target_env = "musl"))))]
struct HeldOff;

#[cfg(not(all(target_os = "linux", any(target_env = "gnu", target_env = "musl"))))]
impl HeldOff {
    fn new() -> Self {
        Self
    }
}
