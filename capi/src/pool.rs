//! Pools of worker threads.

use std::{
    any::Any,
    ffi::c_void,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    ptr, slice,
    sync::{Mutex, PoisonError},
};

use super::{
    arrays::{bytes, check_pointer, null},
    boundary::guarded,
    read::invalid,
    status::{Failure, report},
};
use downhill::{
    Error, ParallelFor, Pool, Threads,
    abi::{MOST_THREADS, has_room, without_cancellation},
};

/// Threads for whole steps. Made by downhill_pool_new(), downhill_pool_new_on() or downhill_pool_from(),
/// and the caller's to free. Any number of threads may use one at once.
pub struct downhill_pool(Workers);

enum Workers {
    Pool(Pool),
    Own(OwnThreads),
}

/// A function that calls body(job) on several threads, any number of times, at once or one after
/// another, parts times if possible, and returns when all calls have returned. It must not throw.
pub type downhill_parallel_for = Option<
    unsafe extern "C" fn(
        context: *mut c_void,
        parts: usize,
        body: Option<unsafe extern "C" fn(job: *mut c_void)>,
        job: *mut c_void,
    ),
>;

/// The threads that such a function has.
#[derive(Debug)]
struct OwnThreads {
    threads: usize,
    parallel_for:
        unsafe extern "C" fn(*mut c_void, usize, Option<unsafe extern "C" fn(*mut c_void)>, *mut c_void),
    context: *mut c_void,
}

// SAFETY: the pointer is only handed to the C caller's own function, which says for itself from which
// threads it may be called.
unsafe impl Sync for OwnThreads {}
// SAFETY: the same.
unsafe impl Send for OwnThreads {}

/// What a body works on, and what it panicked with.
struct Job<'a> {
    body: &'a (dyn Fn() + Sync),
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

impl ParallelFor for OwnThreads {
    fn threads(&self) -> usize {
        self.threads
    }

    fn run(&self, parts: usize, body: &(dyn Fn() + Sync)) {
        let mut job = Job { body, panic: Mutex::new(None) };
        // SAFETY: the C caller's function takes its own context, and returns after all calls of
        // `call_body` have, which are the only use of the job.
        unsafe {
            (self.parallel_for)(self.context, parts, Some(call_body), (&raw mut job).cast());
        }
        if let Some(panic) = job.panic.into_inner().unwrap_or_else(PoisonError::into_inner) {
            resume_unwind(panic);
        }
    }
}

/// # Safety
/// `job` is what [`OwnThreads::run`] passed, which has not returned.
unsafe extern "C" fn call_body(job: *mut c_void) {
    // SAFETY: this function's contract.
    let Job { body, panic } = unsafe { &*job.cast::<Job<'_>>() };
    let work = AssertUnwindSafe(|| without_cancellation(body));
    if let Err(caught) = catch_unwind(work) {
        *panic.lock().unwrap_or_else(PoisonError::into_inner) = Some(caught);
    }
}

/// Starts a pool of threads. The workers have 512 KiB of stack each and compute in the default
/// floating-point environment. They block the signals that are sent to a process, and none that an
/// instruction of their own raises (SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS), so that a host
/// that serves page faults gets them. A step is shared only if it moves at least 2 MiB per
/// thread; an element of Adam moves 28 bytes (g is read; w, m and v are read and written).
///
/// Only one step at a time uses the workers. A thread that finds them busy, or a child process forked
/// after the pool was made, steps alone.
///
/// The workers may run where the calling thread may: threads inherit its mask of CPUs. A thread that is
/// bound to one CPU (OMP_PROC_BIND binds a program's first one) shares it with all of them;
/// downhill_pool_new_on() is for such programs. A worker that wakes up on the CPU of the thread that
/// woke it moves to another one of its mask, by sched_setaffinity(); a mask that was set does not grow
/// when the CPUs of its control group do. DOWNHILL_MIGRATE=0 in the environment turns that off.
///
/// @param threads  with how many threads a step is made, the calling one included, at most 1024; 0: one
///                 for each CPU that the calling thread may use (its mask, and its control group's
///                 quota)
/// @return the pool, to be freed with downhill_pool_free(). It has fewer workers, or none, where the
///         system lets no (more) thread start; downhill_pool_threads() says. NULL, which works as a pool
///         of 1, where there is no memory at all, or on a bug in this library
#[unsafe(no_mangle)]
pub extern "C" fn downhill_pool_new(threads: usize) -> *mut downhill_pool {
    made(|| Ok(Workers::Pool(Pool::new(threads))))
}

/// Starts a pool with a worker on each of these CPUs, bound to it for its whole life. The calling thread
/// is left where it is: it waits while they work, and makes small steps by itself. For a program whose
/// own threads are bound (by OMP_PROC_BIND, say), and for one pool on each NUMA node. Otherwise as
/// downhill_pool_new().
///
/// @param count  how many CPUs, 1 to 1024, which is also how many threads make a step
/// @param cpus   their numbers, as the system has them; one that is listed twice gets two workers
/// @return the pool, to be freed with downhill_pool_free(). NULL for an empty list, a CPU that is not
///         there or that the process may not use, where no thread can be started, and on systems other
///         than Linux; downhill_last_error() names the CPU
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_pool_new_on(count: usize, cpus: *const u32) -> *mut downhill_pool {
    made(|| {
        let cpus: Vec<usize> = if count == 0 || count > MOST_THREADS {
            return Err(Error::CpuCount(count).into());
        } else {
            check_pointer(("cpus", cpus), bytes::<u32>("count", count)?)?;
            // SAFETY: not NULL, aligned and not too long, checked above; the C caller passes `count`
            // numbers.
            let cpus = unsafe { slice::from_raw_parts(cpus, count) };
            cpus.iter().map(|&cpu| cpu as usize).collect()
        };
        Ok(Workers::Pool(Pool::on(&cpus)?))
    })
}

/// Makes a pool of the caller's own threads: of OpenMP, TBB, a framework. Right after a parallel region
/// of theirs its threads still spin, and workers of another pool would compete with them. Whole steps
/// are cut up as with other pools, and small ones do not call the function. With OpenMP:
///
///     static void on_team(void *context, size_t parts, void (*body)(void *), void *job) {
///       #pragma omp parallel num_threads((int)parts)
///       body(job);
///     }
///
/// @param threads       with how many threads a step is made, 1 to 1024
/// @param parallel_for  calls the body, and is called by the thread that makes a step, which then does
///                      what no call of the body has done
/// @param context       its first argument
/// @return the pool, to be freed with downhill_pool_free(). NULL, with downhill_last_error(), if
///         parallel_for is NULL, threads out of its range, or where there is no memory
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_pool_from(
    threads: usize,
    parallel_for: downhill_parallel_for,
    context: *mut c_void,
) -> *mut downhill_pool {
    made(|| {
        let parallel_for = parallel_for.ok_or_else(|| null("parallel_for"))?;
        if !(1..=MOST_THREADS).contains(&threads) {
            let message = format!("`threads` is {threads}; it must be 1 to {MOST_THREADS}");
            return Err(invalid(message));
        }
        Ok(Workers::Own(OwnThreads { threads, parallel_for, context }))
    })
}

/// A pool for C, or NULL.
fn made(new: impl FnOnce() -> Result<Workers, Failure>) -> *mut downhill_pool {
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

/// How many threads make a step with this pool: the workers, and with a pool of downhill_pool_new() the
/// calling one.
///
/// @param pool  a pool, or NULL
/// @return at least 1; 1 for NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_pool_threads(pool: *const downhill_pool) -> usize {
    // SAFETY: the C caller passes NULL or a pool that is not freed yet.
    unsafe { pool.as_ref() }.map_or(1, |pool| match &pool.0 {
        Workers::Pool(pool) => pool.threads(),
        Workers::Own(own) => own.threads,
    })
}

/// Ends the workers, waits until they are gone, and frees the pool. In a forked child, which has no
/// workers, it forgets them.
///
/// @param pool  a pool that no thread uses any more, or NULL
///
/// Threads: one, after all other calls with this pool have returned.
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

/// The threads of C's pool.
///
/// # Safety
/// `pool` is NULL or a pool that is not freed during `'a`.
pub(super) unsafe fn threads<'a>(pool: *const downhill_pool) -> Threads<'a> {
    // SAFETY: this function's contract.
    unsafe { pool.as_ref() }.map_or(Threads::Caller, |pool| match &pool.0 {
        Workers::Pool(pool) => Threads::Pool(pool),
        Workers::Own(own) => Threads::Own(own),
    })
}
