//! Threads: who works on what. The caller works too, and takes over what a worker is late for.

use std::{
    fmt, mem,
    sync::{
        Mutex, MutexGuard, TryLockError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use super::share::{Chunks, Piece, Queues};
use crate::{
    Error,
    sys::{
        Crew, Process, current_cpu, in_default_environment, leave_cpu, may_migrate, without_cancellation,
    },
};

/// The bytes to move for which another thread pays. A worker that sleeps needs 30 µs to wake up on the
/// machine this was measured on, in which the caller alone moves 4 MiB in cache; so two threads are for
/// no less. With 3 MiB, SGD lost a fifth where it came after a pause.
const BYTES_PER_THREAD: usize = 2 << 20;

/// The most threads that a pool has.
pub const MOST_THREADS: usize = 1024;

/// Who works on a whole step. Results do not depend on it.
#[derive(Clone, Copy, Debug, Default)]
pub enum Threads<'a> {
    /// The calling thread alone.
    #[default]
    Caller,
    /// The calling thread and the workers of a pool.
    Pool(&'a Pool),
    /// The caller's own threads.
    Own(&'a dyn ParallelFor),
}

/// Threads of the caller's own: another thread pool, a team of OpenMP, a framework's workers. Right
/// after a parallel region of such a team its threads still spin, and a [`Pool`] beside it would compete
/// with them.
///
/// ```
/// use downhill::{Extras, Group, ParallelFor, Sgd, States, Tensor, Threads, step};
///
/// #[derive(Debug)]
/// struct Scoped(usize);
///
/// impl ParallelFor for Scoped {
///     fn threads(&self) -> usize {
///         self.0
///     }
///
///     fn run(&self, parts: usize, body: &(dyn Fn() + Sync)) {
///         std::thread::scope(|scope| (0..parts).for_each(|_| { scope.spawn(body); }));
///     }
/// }
///
/// let (config, mut w, g) = (Sgd::default(), vec![1.0; 1 << 20], vec![0.5; 1 << 20]);
/// let mut tensors = [Tensor::new(&mut w, &g, States::default())];
/// step(&mut [Group::new(&config, 1, &mut tensors)], &Extras::default(), Threads::Own(&Scoped(2)))?;
/// # Ok::<(), downhill::Error>(())
/// ```
pub trait ParallelFor: fmt::Debug + Sync {
    /// With how many threads a large step is made.
    fn threads(&self) -> usize;

    /// Calls `body` any number of times, at once or one after another, `parts` times if possible, and
    /// returns when all calls have returned. Each call works until nothing is left; what no call has
    /// done when this returns is done by the calling thread.
    fn run(&self, parts: usize, body: &(dyn Fn() + Sync));

    /// Which of the threads this is, counted from 0, if it is known: each then has the same part of the
    /// work, call after call.
    fn current(&self) -> Option<usize> {
        None
    }
}

/// Worker threads that wait for steps over many tensors.
///
/// They are started by [`Pool::new`] or [`Pool::on`] and joined when the pool is dropped. They block the
/// signals that are sent to a process, and none that an instruction of their own raises (`SIGSEGV`,
/// `SIGBUS`, `SIGFPE`, `SIGILL`, `SIGTRAP`, `SIGSYS`). They have 512 KiB of stack and are named
/// `downhill`. Each keeps, call after call, to its own contiguous part of the tensors. A
/// step is shared only if it moves at least 2 MiB per thread; an element of Adam moves 28 bytes (`g` is
/// read; `w`, `m` and `v` are read and written).
///
/// Only one step at a time uses the workers. A caller that finds them busy works alone, and so does a
/// child process that was forked after the pool was made.
///
/// ```
/// use downhill::{Adam, Extras, Group, Pool, Tensor, Threads, step};
///
/// let pool = Pool::new(0); // a thread for each CPU that this thread may use
/// let (config, mut w, g) = (Adam::default(), vec![1.0; 1 << 20], vec![0.5; 1 << 20]);
/// let (mut m, mut v) = (vec![0.0; 1 << 20], vec![0.0; 1 << 20]);
/// let mut tensors = [Tensor::new(&mut w, &g, [&mut m, &mut v])];
/// step(&mut [Group::new(&config, 1, &mut tensors)], &Extras::default(), Threads::Pool(&pool))?;
/// # Ok::<(), downhill::Error>(())
/// ```
pub struct Pool {
    /// None if there is no worker. Locked by the step that has them. Others do not wait for it: a small
    /// step would be late by all of a large one.
    crew: Option<Mutex<Crew>>,
    /// How many threads work.
    threads: usize,
    /// Each worker is bound to a CPU, and the caller waits.
    is_bound: bool,
    /// Where the workers are; a forked child has none.
    process: Process,
}

impl Pool {
    /// A pool with which `threads` threads work, the calling one included. 0: one for each CPU that the
    /// calling thread may use (its affinity mask, and the quota of its control group). At most 1,024.
    ///
    /// The workers may run where the calling thread may: threads inherit its mask. A caller that is
    /// bound to one CPU (`OMP_PROC_BIND` binds a program's first thread) shares that one with all of
    /// them; [`Pool::on`] is for such programs.
    ///
    /// A worker that wakes up on the CPU of the thread that woke it moves to another one of its mask:
    /// some schedulers leave both there for seconds. It calls `sched_setaffinity` for that, and a mask
    /// that was set does not grow when the CPUs of its control group do. `DOWNHILL_MIGRATE=0` in the
    /// environment turns it off.
    ///
    /// Where the system lets no (more) thread start, or has no memory, the pool has fewer, down to the
    /// calling thread alone. [`threads`](Pool::threads) says how many.
    pub fn new(threads: usize) -> Self {
        without_cancellation(|| {
            let threads = match threads {
                0 => thread::available_parallelism().map_or(1, usize::from),
                _ => threads,
            };
            let workers = threads.min(MOST_THREADS) - 1;
            let (crew, _) = Crew::start((0..workers).map(|_| None));
            Self::with(crew, false)
        })
    }

    /// A pool with a worker on each of these CPUs, numbered as the system does, and bound to it for its
    /// whole life. The calling thread is left where it is: it waits while they work, and makes small
    /// steps by itself. For a program whose own threads are bound, and for
    /// one pool on each NUMA node.
    ///
    /// A CPU that is listed twice gets two workers.
    ///
    /// ```
    /// use downhill::Pool;
    ///
    /// # if cfg!(target_os = "linux") {
    /// let error = Pool::on(&[99_999]).unwrap_err();
    /// assert!(error.to_string().starts_with("`cpus[0]` is 99999"));
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::CpuCount`] unless 1 to 1,024 CPUs are listed, [`Error::Cpu`] for one that is not there
    /// or that this process may not use, if no thread can be started for it, and on systems other than
    /// Linux.
    pub fn on(cpus: &[usize]) -> Result<Self, Error> {
        if cpus.is_empty() || cpus.len() > MOST_THREADS {
            return Err(Error::CpuCount(cpus.len()));
        }
        without_cancellation(|| match Crew::start(cpus.iter().copied().map(Some)) {
            (crew, Ok(())) => Ok(Self::with(crew, true)),
            (crew, Err(reason)) => {
                let index = crew.map_or(0, |crew| crew.len());
                Err(Error::Cpu { index, cpu: cpus[index], reason: reason.to_string() })
            }
        })
    }

    fn with(crew: Option<Crew>, is_bound: bool) -> Self {
        let threads = crew.as_ref().map_or(0, Crew::len) + usize::from(!is_bound);
        Self { crew: crew.map(Mutex::new), threads, is_bound, process: Process::current() }
    }

    /// How many threads work: the workers, and with a pool of [`Pool::new`] the calling one.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Calls `work` on `threads` threads with their numbers, or here alone where the workers are busy or
    /// gone.
    fn work(&self, threads: usize, work: &(dyn Fn(usize) + Sync)) {
        let Some(mut crew) = self.idle() else { return work(0) };
        if self.is_bound {
            return crew.run(threads, &|worker| in_default_environment(|| work(worker)), || ());
        }
        let callers = current_cpu().filter(|_| may_migrate());
        let help = |worker| {
            // Some schedulers wake a worker on its waker's CPU and leave both there: on a virtual
            // machine two threads were as slow as one for seconds, and 1.8 times as fast with this.
            if let Some(cpu) = callers.filter(|_| current_cpu() == callers) {
                leave_cpu(cpu);
            }
            in_default_environment(|| work(worker + 1));
        };
        crew.run(threads - 1, &help, || {
            // A worker that has been woken on this CPU can leave it.
            thread::yield_now();
            work(0);
        });
    }

    /// The workers, if they are there and no other step has them. They are ours while the guard lives.
    fn idle(&self) -> Option<MutexGuard<'_, Crew>> {
        let crew = self.crew.as_ref().filter(|_| self.process == Process::current())?;
        match crew.try_lock() {
            Ok(guard) => Some(guard),
            // A step that panicked has left nothing.
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let crew = self.crew.take();
        if self.process == Process::current() {
            without_cancellation(|| drop(crew));
        } else {
            // A child has nobody to tell, and nobody to wait for.
            mem::forget(crew);
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("threads", &self.threads()).finish()
    }
}

impl Threads<'_> {
    /// How many threads are to work on `bytes` bytes; `None` if the calling one alone is.
    pub(crate) fn for_bytes(self, bytes: usize) -> Option<usize> {
        let enough_for = bytes / BYTES_PER_THREAD;
        if enough_for < 2 {
            return None;
        }
        let (threads, caller_works) = match self {
            Self::Caller => (1, true),
            Self::Pool(pool) => (pool.threads(), !pool.is_bound),
            Self::Own(threads) => (threads.threads(), true),
        };
        // The one worker of a pool that is bound to one CPU works, and not the caller.
        (threads > 1 || !caller_works).then(|| enough_for.min(threads))
    }

    /// Calls `f` for every chunk on `threads` threads, for as many of which the chunks were made, the
    /// calling one included, or on those that are there. None, and nothing is called, if there is no
    /// memory for it.
    pub(crate) fn run<P: Piece + Send>(
        self,
        threads: usize,
        mut chunks: Chunks<P>,
        f: &(dyn Fn(&mut [P]) + Sync),
    ) -> Option<()> {
        let mut chunks = chunks.slices()?;
        let queues = Queues::new(&mut chunks, threads)?;
        let work = |thread| queues.work(thread, f);
        match self {
            Self::Caller => work(0),
            Self::Pool(pool) => pool.work(threads, &work),
            Self::Own(own) => {
                let calls = AtomicUsize::new(0);
                own.run(threads, &|| {
                    let next = || calls.fetch_add(1, Ordering::Relaxed);
                    let thread = own.current().unwrap_or_else(next) % threads;
                    in_default_environment(|| work(thread));
                });
                work(0);
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::HashMap,
        io::{self, Write},
        panic::{AssertUnwindSafe, catch_unwind},
        sync::Barrier,
    };

    use super::*;

    /// From one element to another.
    struct Span(usize, usize);

    impl Piece for Span {
        fn len(&self) -> usize {
            self.1 - self.0
        }

        fn cost(&self) -> usize {
            1
        }

        fn split_at(self, element: usize) -> (Self, Self) {
            (Self(self.0, self.0 + element), Self(self.0 + element, self.1))
        }
    }

    fn chunks(elements: usize, threads: usize) -> Chunks<Span> {
        let mut chunks = Chunks::new(1, elements, threads).unwrap();
        chunks.push(Span(0, elements));
        chunks
    }

    /// Works on as many elements as there are threads for.
    fn work_with(pool: &Pool, f: &(dyn Fn(&mut [Span]) + Sync)) {
        const ELEMENTS: usize = 3 << 20;
        Threads::Pool(pool).run(pool.threads(), chunks(ELEMENTS, pool.threads()), f).unwrap();
    }

    #[test]
    fn a_panic_of_any_thread_reaches_the_caller_and_the_pool_goes_on() {
        let mut pools = vec![Pool::new(3)];
        match Pool::on(&[0]) {
            Ok(bound) => pools.push(bound),
            Err(error) => writeln!(io::stderr(), "SKIPPED: a bound pool: {error}").unwrap(),
        }
        for pool in pools {
            let caller = thread::current().id();
            for everybody in [true, false] {
                let panics = |_: &mut [Span]| {
                    if everybody || thread::current().id() != caller {
                        panic!("forced");
                    }
                    // The others have time to begin.
                    thread::sleep(std::time::Duration::from_millis(1));
                };
                let outcome = catch_unwind(AssertUnwindSafe(|| work_with(&pool, &panics)));
                assert_eq!(outcome.unwrap_err().downcast_ref(), Some(&"forced"));
                let done = AtomicUsize::new(0);
                work_with(&pool, &|chunk| {
                    done.fetch_add(chunk.iter().map(Piece::len).sum(), Ordering::Relaxed);
                });
                assert_eq!(done.into_inner(), 3 << 20);
            }
        }
    }

    /// Calls the body this often on as many threads as it calls it.
    #[derive(Debug)]
    struct Calls(usize);

    impl ParallelFor for Calls {
        fn threads(&self) -> usize {
            2
        }

        fn run(&self, _parts: usize, body: &(dyn Fn() + Sync)) {
            thread::scope(|scope| {
                (0..self.0).for_each(|_| {
                    scope.spawn(body);
                });
            });
        }
    }

    #[test]
    fn all_work_is_done_once_however_often_the_body_is_called() {
        for calls in [0, 1, 2, 7] {
            let done = Mutex::new(vec![0_u8; 3 << 20]);
            let f = |chunk: &mut [Span]| {
                for span in chunk {
                    done.lock().unwrap()[span.0..span.1].iter_mut().for_each(|times| *times += 1);
                }
            };
            Threads::Own(&Calls(calls)).run(2, chunks(3 << 20, 2), &f).unwrap();
            assert!(done.into_inner().unwrap().iter().all(|&times| times == 1), "{calls} calls");
        }
    }

    #[test]
    fn each_thread_begins_with_its_own_part() {
        const ELEMENTS: usize = 3 << 20;
        let pool = Pool::new(3);
        assert_eq!(pool.threads(), 3);
        let firsts = Mutex::new(HashMap::new());
        let all = Barrier::new(3);
        // Nobody goes on before all have begun.
        let begin = |chunk: &mut [Span]| {
            let id = thread::current().id();
            let is_first = !firsts.lock().unwrap().contains_key(&id);
            if is_first {
                firsts.lock().unwrap().insert(id, chunk[0].0);
                all.wait();
            }
        };
        for _ in 0..10 {
            firsts.lock().unwrap().clear();
            Threads::Pool(&pool).run(3, chunks(ELEMENTS, 3), &begin).unwrap();
            let mut starts: Vec<usize> = firsts.lock().unwrap().values().copied().collect();
            starts.sort_unstable();
            assert_eq!(starts, [0, ELEMENTS / 3, ELEMENTS / 3 * 2]);
        }
    }
}
