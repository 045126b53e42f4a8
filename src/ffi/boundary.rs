//! What every function that can fail does around its body.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
};

use super::status::{
    Failure,
    downhill_status::{self, *},
    report,
};
use crate::sys::{in_default_environment, without_cancellation};

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

/// The same for what shares work among threads: a thread that is cancelled meanwhile is so after the call. A plain step
/// has no cancellation point, and would pay for this a tenth of what it takes on a short array.
pub(super) fn call_uncancelled(body: impl FnOnce() -> Result<(), Failure>) -> downhill_status {
    without_cancellation(|| call(body))
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
    use std::{ffi::CStr, ptr};

    use pulp::Simd;

    use super::{
        super::{
            config::downhill_sgd,
            many::{Whole, downhill_tensor, many_in_order},
            pool::{downhill_pool, downhill_pool_free, downhill_pool_new},
            status::downhill_last_error,
            steps::step,
        },
        *,
    };
    use crate::{
        Error, Extras, Isa, Report, Sgd, Tensor, Threads, many,
        rule::{Configuration, Job, Rule},
        sweep,
    };

    /// A rule with a bug, in the place of the one that a C configuration stands for.
    #[derive(Clone, Copy, Debug)]
    struct Broken;

    impl Rule<0> for Broken {
        #[inline(always)]
        fn update<S: Simd>(
            self,
            _: S,
            _: S::f32s,
            _: S::f32s,
            _: [S::f32s; 0],
        ) -> (S::f32s, [S::f32s; 0]) {
            panic!("forced")
        }
    }

    impl Configuration<0> for Broken {
        const NAME: &'static str = "broken";
        const STATES: [&'static str; 0] = [];

        fn apply(&self, _: u64, job: impl Job<0>) -> Result<(), Error> {
            job.run(*self);
            Ok(())
        }

        fn step_on(
            &self,
            isa: Isa,
            w: &mut [f32],
            g: &[f32],
            state: [&mut [f32]; 0],
            t: u64,
        ) -> Result<(), Error> {
            sweep::step(isa, self, t, w, g, state)
        }

        fn step_many_on(
            &self,
            isa: Isa,
            tensors: &mut [Tensor<'_, 0>],
            t: u64,
            extras: &Extras,
            threads: Threads<'_>,
        ) -> Result<Report, Error> {
            many::step(isa, self, t, tensors, extras, threads)
        }

        fn reference(&self, _: &mut [f32], _: &[f32], _: [&mut [f32]; 0], _: u64) -> Result<(), Error> {
            unreachable!("the kernel is what is tested")
        }
    }

    const CONFIG: downhill_sgd = downhill_sgd {
        struct_size: size_of::<downhill_sgd>() as u32,
        decay: 0,
        lr: 1.0,
        weight_decay: 0.0,
    };

    /// A whole step by the rule that `rule` puts in the place of SGD.
    fn whole_step<R: Configuration<0>>(
        w: &mut [f32],
        g: &mut [f32],
        pool: *const downhill_pool,
        rule: impl FnOnce(Sgd) -> R,
    ) -> downhill_status {
        let state = [ptr::null_mut(); 3];
        let tensor = downhill_tensor { n: w.len(), w: w.as_mut_ptr(), g: g.as_mut_ptr(), state };
        let whole = Whole { t: 1, extras: ptr::null(), pool, report: ptr::null_mut() };
        // SAFETY: the arrays are as long as `n` says, and nobody else's; the pool is there.
        unsafe { many_in_order(1, &raw const tensor, &CONFIG, whole, rule) }
    }

    fn last_error() -> &'static CStr {
        // SAFETY: a string that stays until this thread's next error, of which there is none meanwhile.
        unsafe { CStr::from_ptr(downhill_last_error()) }
    }

    #[test]
    fn a_panic_in_a_step_becomes_a_status() {
        let (mut w, g) = ([1.0; 37], [1.0; 37]);
        let mut call = |n| {
            // SAFETY: the arrays are as long as `n` says, or longer, and nobody else's.
            unsafe { step(n, w.as_mut_ptr(), g.as_ptr(), [], 1, &CONFIG, |_| Broken) }
        };
        assert_eq!(call(37), DOWNHILL_STATUS_PANIC);
        assert_eq!(last_error(), c"a bug in downhill: forced");
        assert_eq!(call(0), DOWNHILL_STATUS_OK);
    }

    #[test]
    fn a_panic_on_the_threads_of_a_pool_becomes_a_status_and_the_pool_goes_on() {
        const N: usize = 1 << 20;
        let (mut w, mut g) = (vec![1.0; N], vec![0.25; N]);
        let pool = downhill_pool_new(3);
        for _ in 0..3 {
            assert_eq!(whole_step(&mut w, &mut g, pool, |_| Broken), DOWNHILL_STATUS_PANIC);
            assert_eq!(last_error(), c"a bug in downhill: forced");
            w.fill(1.0);
            assert_eq!(whole_step(&mut w, &mut g, pool, |sgd| sgd), DOWNHILL_STATUS_OK);
            assert!(w.iter().all(|&w| w == 0.75));
        }
        // SAFETY: made above, and used no more.
        unsafe { downhill_pool_free(pool) };
    }

    #[test]
    fn a_panic_with_any_message_becomes_a_status() {
        let missing: Option<u8> = std::hint::black_box(None);
        let formatted = || {
            assert_eq!(missing, Some(1));
            Ok(())
        };
        assert_eq!(call(formatted), DOWNHILL_STATUS_PANIC);
        assert_eq!(call(|| std::panic::panic_any(7)), DOWNHILL_STATUS_PANIC);
        assert_eq!(last_error(), c"a bug in downhill: panic");
        assert_eq!(call(|| Ok(())), DOWNHILL_STATUS_OK);
    }
}
