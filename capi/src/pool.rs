//! Pools of worker threads.

use std::{ptr, slice};

use super::{
    arrays::{bytes, check_pointer},
    boundary::guarded,
    status::{Failure, report},
};
use downhill::{
    Error, Pool, Threads,
    abi::{MOST_THREADS, has_room},
};

/// Worker threads that wait for steps over many tensors. Made by downhill_pool_new() or downhill_pool_new_on(), and
/// the caller's to free. Any number of threads may use one at once.
pub struct downhill_pool(Pool);

/// Starts a pool of threads. The workers have 512 KiB of stack each and compute in the default floating-point
/// environment. They block the signals that are sent to a process, and none that an instruction of their own raises
/// (SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS), so that a host that serves page faults gets them. Small steps
/// wake no worker: it takes 2 MiB to move for each thread, and an element of Adam moves 28 bytes (g is read; w, m and v
/// are read and written).
///
/// Only one step at a time uses the workers. A thread that finds them busy, or a child process forked after the pool
/// was made, steps alone.
///
/// The workers may run where the calling thread may: threads inherit its mask of CPUs. A thread that is bound to one
/// CPU (OMP_PROC_BIND binds a program's first one) shares it with all of them; downhill_pool_new_on() is for such
/// programs. A worker that wakes up on the CPU of the thread that woke it moves to another one of its mask, by
/// sched_setaffinity(); a mask that was set does not grow when the CPUs of its control group do. DOWNHILL_MIGRATE=0 in
/// the environment turns that off.
///
/// @param threads  with how many threads a step is made, the calling one included, at most 1024;
///                 0: one for each CPU that the calling thread may use (its mask, and its control group's quota)
/// @return the pool, to be freed with downhill_pool_free(). It has fewer workers, or none, where the system
///         lets no (more) thread start; downhill_pool_threads() says. NULL, which works as a pool of 1, where
///         there is no memory at all, or on a bug in this library
///
/// Threads: any number at once. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn downhill_pool_new(threads: usize) -> *mut downhill_pool {
    made(|| Ok(Pool::new(threads)))
}

/// Starts a pool with a worker on each of these CPUs, bound to it for its whole life. The calling thread is left where
/// it is: it waits while they work, and makes steps that are too small for several threads alone. For a program whose
/// own threads are bound (by OMP_PROC_BIND, say), and for one pool on each NUMA node. Otherwise as downhill_pool_new().
///
/// @param count  how many CPUs, 1 to 1024, which is also how many threads make a step
/// @param cpus   their numbers, as the system has them; one that is listed twice gets two workers
/// @return the pool, to be freed with downhill_pool_free(). NULL for an empty list, a CPU that is not there or that
///         the process may not use, where no thread can be started, and on systems other than Linux;
///         downhill_last_error() names the CPU
///
/// Threads: any number at once. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_pool_new_on(count: usize, cpus: *const u32) -> *mut downhill_pool {
    made(|| {
        let cpus: Vec<usize> = if count == 0 || count > MOST_THREADS {
            return Err(Error::CpuCount(count).into());
        } else {
            check_pointer(("cpus", cpus), bytes::<u32>("count", count)?)?;
            // SAFETY: not NULL, aligned and not too long, checked above; the C caller passes `count` numbers.
            let cpus = unsafe { slice::from_raw_parts(cpus, count) };
            cpus.iter().map(|&cpu| cpu as usize).collect()
        };
        Ok(Pool::on(&cpus)?)
    })
}

/// A pool for C, or NULL.
fn made(new: impl FnOnce() -> Result<Pool, Failure>) -> *mut downhill_pool {
    let boxed = || {
        let pool = downhill_pool(new()?);
        if !has_room(size_of_val(&pool)) {
            return Err(Failure::OUT_OF_MEMORY);
        }
        Ok(Box::into_raw(Box::new(pool)))
    };
    let or_null = |failure| {
        report(failure);
        ptr::null_mut()
    };
    guarded(|| boxed().unwrap_or_else(or_null), or_null)
}

/// How many threads make a step with this pool: the workers, and with a pool of downhill_pool_new() the calling one.
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
