//! What every function that can fail does around its body.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
};

use super::status::*;
use downhill::abi::{in_default_environment, without_cancellation};

/// Runs `body` in the default floating-point environment, and turns what comes out into a status: an
/// error into its own, a panic into `DOWNHILL_STATUS_PANIC`.
#[inline]
pub(super) fn call(body: impl FnOnce() -> Result<(), Failure>) -> downhill_status {
    let checked = || match body() {
        Ok(()) => DOWNHILL_STATUS_OK,
        Err(failure) => report(failure),
    };
    guarded(checked, report)
}

/// The same for what may share work among threads. If the calling thread is cancelled during such a call,
/// that takes effect after it. What is not shared has no cancellation point (but for what is printed of a
/// panic), and to hold cancellation off would make it a tenth slower on a short array.
pub(super) fn call_sharing(
    is_shared: bool,
    body: impl FnOnce() -> Result<(), Failure>,
) -> downhill_status {
    let called = || call(body);
    if is_shared { without_cancellation(called) } else { called() }
}

/// Runs `body` in the default floating-point environment, and `or` instead of a panic.
#[inline]
pub(super) fn guarded<T>(body: impl FnOnce() -> T, or: impl FnOnce(Failure) -> T) -> T {
    // A broken invariant behind `AssertUnwindSafe` could only be in the caller's arrays, and the
    // status says so.
    let outcome = in_default_environment(|| catch_unwind(AssertUnwindSafe(body)));
    outcome.unwrap_or_else(|panic| or(bug(&*panic)))
}

#[cold]
fn bug(panic: &(dyn Any + Send)) -> Failure {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Failure::new(DOWNHILL_STATUS_PANIC, format!("a bug in downhill: {}", text.unwrap_or("panic")))
}

#[cfg(test)]
mod tests {
    use std::ffi::CStr;

    use super::{super::status::downhill_last_error, *};

    fn last_error() -> &'static CStr {
        // SAFETY: a string that stays until this thread's next error, of which there is none meanwhile.
        unsafe { CStr::from_ptr(downhill_last_error()) }
    }

    #[test]
    fn a_panic_with_any_message_becomes_a_status() {
        let missing: Option<u8> = std::hint::black_box(None);
        let formatted = || {
            assert_eq!(missing, Some(1));
            Ok(())
        };
        assert_eq!(call(|| panic!("forced")), DOWNHILL_STATUS_PANIC);
        assert_eq!(last_error(), c"a bug in downhill: forced");
        assert_eq!(call(|| Ok(())), DOWNHILL_STATUS_OK);
        assert_eq!(call_sharing(true, || panic!("{} too", "this")), DOWNHILL_STATUS_PANIC);
        assert_eq!(last_error(), c"a bug in downhill: this too");
        for is_shared in [false, true] {
            assert_eq!(call_sharing(is_shared, || Ok(())), DOWNHILL_STATUS_OK);
        }
        assert_eq!(call(formatted), DOWNHILL_STATUS_PANIC);
        assert_eq!(call(|| std::panic::panic_any(7)), DOWNHILL_STATUS_PANIC);
        assert_eq!(last_error(), c"a bug in downhill: panic");
    }
}
