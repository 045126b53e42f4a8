//! What every function that can fail does around its body.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
};

use super::{
    environment::in_default_environment,
    status::{
        Failure,
        downhill_status::{self, *},
        report,
    },
};

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
    use super::*;

    #[test]
    fn a_panic_becomes_a_status() {
        let missing: Option<u8> = std::hint::black_box(None);
        let formatted = || {
            assert_eq!(missing, Some(1));
            Ok(())
        };
        assert_eq!(call(formatted), DOWNHILL_STATUS_PANIC);
        assert_eq!(call(|| panic!("static")), DOWNHILL_STATUS_PANIC);
        assert_eq!(call(|| Ok(())), DOWNHILL_STATUS_OK);
    }
}
