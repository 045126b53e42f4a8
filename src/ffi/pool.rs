//! Pools of worker threads.

use std::ptr;

use super::{
    boundary::guarded,
    status::{Failure, report},
};
use crate::{Pool, Threads, share::has_room};

/// Worker threads that wait for steps over many tensors. Made by downhill_pool_new(), and the caller's to
/// free. Any number of threads may use one at once.
pub struct downhill_pool(Pool);

/// Starts a pool of threads. The workers block all signals, have 512 KiB of stack each, and compute in the
/// default floating-point environment. Small steps wake none of them: it takes 2 MiB to move for each
/// thread, and an element of Adam moves 28 bytes (g is read; w, m and v are read and written).
///
/// One step at a time has the workers. A thread that finds them at work, or a child process forked after
/// the pool was made, steps alone.
///
/// @param threads  with how many threads a step is made, the calling one included, at most 1024;
///                 0: one for each logical CPU that the process may use
/// @return the pool, to be freed with downhill_pool_free(). It has fewer workers, or none, where the system
///         lets no (more) thread start; downhill_pool_threads() says. NULL, which works as a pool of 1, where
///         there is no memory at all, or on a bug in this library
///
/// Threads: any number at once. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn downhill_pool_new(threads: usize) -> *mut downhill_pool {
    let new = || {
        let pool = downhill_pool(Pool::new(threads));
        if !has_room(size_of_val(&pool)) {
            report(Failure::OUT_OF_MEMORY);
            return ptr::null_mut();
        }
        Box::into_raw(Box::new(pool))
    };
    guarded(new, |failure| {
        report(failure);
        ptr::null_mut()
    })
}

/// How many threads make a step with this pool, the calling one included.
///
/// @param pool  a pool, or NULL
/// @return at least 1; 1 for NULL
///
/// Threads: any number at once. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_pool_threads(pool: *const downhill_pool) -> usize {
    // SAFETY: the C caller passes NULL or a pool that is not freed yet.
    unsafe { pool.as_ref() }.map_or(1, |pool| pool.0.threads())
}

/// Ends the workers, waits until they are gone, and frees the pool. In a forked child, which has no
/// workers, it forgets them.
///
/// @param pool  a pool that no thread uses any more, or NULL
///
/// Threads: one, when no call with this pool is running or to come. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_pool_free(pool: *mut downhill_pool) {
    if pool.is_null() {
        return;
    }
    // SAFETY: the C caller passes what `downhill_pool_new` gave it, once, and nobody uses it any more.
    let pool = unsafe { Box::from_raw(pool) };
    guarded(
        || drop(pool),
        |failure| {
            report(failure);
        },
    );
}

/// The threads that C's pool stands for.
///
/// # Safety
/// `pool` is NULL or a pool that is not freed during `'a`.
pub(super) unsafe fn threads<'a>(pool: *const downhill_pool) -> Threads<'a> {
    // SAFETY: this function's contract.
    unsafe { pool.as_ref() }.map_or(Threads::Caller, |pool| Threads::Pool(&pool.0))
}
