//! Threads: who works on what. The caller works too, and takes over what a worker is late for.

use std::{
    fmt, mem,
    sync::{
        Mutex, MutexGuard, TryLockError,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
};

use rayon::{Scope, ThreadPool, ThreadPoolBuilder};

use crate::{
    ffi::{current_cpu, forks, in_default_environment, leave_cpu, with_signals_blocked},
    share::{Chunks, Piece, Queues, has_room},
};

/// The bytes to move for which another thread pays. A worker that has gone to sleep needs 30 µs to wake up
/// on the machine this was measured on, in which the caller alone moves 4 MiB in cache; so two threads are
/// for no less. With 3 MiB, SGD lost a fifth where it came after a pause.
const BYTES_PER_THREAD: usize = 2 << 20;

/// More workers than this have no memory to work with.
const MOST_THREADS: usize = 1024;

/// A step needs little stack; a panic's backtrace needs more.
const STACK_BYTES: usize = 512 << 10;

/// What `rayon` and the standard library allocate for a worker, more than twice over. Both abort where they
/// cannot.
const BYTES_TO_START: usize = 24 << 10;

/// How often a caller that is through looks for the workers' end before it goes to sleep, from which to
/// wake it would take longer than most steps.
const LOOKS: usize = 1000;

/// Who works on a step over many tensors. Results do not depend on it.
#[derive(Clone, Copy, Debug, Default)]
pub enum Threads<'a> {
    /// The calling thread alone.
    #[default]
    Caller,
    /// The calling thread and the workers of a pool.
    Pool(&'a Pool),
    /// The `rayon` pool that the calling thread is a worker of, or else `rayon`'s global one.
    ///
    /// ```
    /// use downhill::{Extras, Sgd, Tensor, Threads, step_many};
    ///
    /// let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build()?;
    /// let (mut w, mut g) = ([1.0; 8], [0.5; 8]);
    /// let mut tensors = [Tensor { w: &mut w, g: &mut g, state: [] }];
    /// pool.install(|| step_many(&Sgd::default(), &mut tensors, 1, &Extras::default(), Threads::Rayon))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    Rayon,
}

/// Worker threads that wait for steps over many tensors.
///
/// They are started by [`Pool::new`] and joined when the pool is dropped. They block all signals, have
/// 512 KiB of stack and are named `downhill`. Each keeps, call after call, to its own contiguous part of
/// the tensors. Small steps wake none of them: it takes 2 MiB to move for each thread, and an element of
/// Adam moves 28 bytes (`g` is read; `w`, `m` and `v` are read and written).
///
/// One step at a time has the workers; a caller that finds them at work, or that is a child process forked
/// after the pool was made, works alone.
///
/// ```
/// use downhill::{Adam, Extras, Pool, Tensor, Threads, step_many};
///
/// let pool = Pool::new(0); // a thread for each core
/// let (mut w, mut g) = (vec![1.0; 1 << 20], vec![0.5; 1 << 20]);
/// let (mut m, mut v) = (vec![0.0; 1 << 20], vec![0.0; 1 << 20]);
/// let mut tensors = [Tensor { w: &mut w, g: &mut g, state: [&mut m, &mut v] }];
/// step_many(&Adam::default(), &mut tensors, 1, &Extras::default(), Threads::Pool(&pool))?;
/// # Ok::<(), downhill::Error>(())
/// ```
pub struct Pool {
    /// None if there is no worker.
    workers: Option<ThreadPool>,
    handles: Vec<JoinHandle<()>>,
    /// Held by the step that has the workers. Others do not wait for it: behind a large step a small one
    /// would be late by all of it.
    busy: Mutex<()>,
    /// The workers are in the process with this many forks between it and the first; a child has none.
    forks: usize,
}

impl Pool {
    /// A pool with which `threads` threads work, the calling one included; 0 is one for each core that the
    /// process may use. At most 1,024.
    ///
    /// Where the system lets no (more) thread start, or has no memory, the pool has fewer, down to the calling
    /// thread alone.
    /// [`threads`](Pool::threads) says how many.
    pub fn new(threads: usize) -> Self {
        let threads = match threads {
            0 => thread::available_parallelism().map_or(1, usize::from),
            _ => threads,
        };
        // rayon starts all of a pool's threads or none.
        let mut workers = threads.min(MOST_THREADS) - 1;
        while workers > 0 && !has_room(workers * BYTES_TO_START) {
            workers /= 2;
        }
        while workers > 0 {
            let mut handles = Vec::new();
            let started = with_signals_blocked(|| start(workers, &mut handles));
            if let Some(pool) = started {
                return Self::with(Some(pool), handles);
            }
            workers = handles.len();
            join(handles);
        }
        Self::with(None, Vec::new())
    }

    fn with(workers: Option<ThreadPool>, handles: Vec<JoinHandle<()>>) -> Self {
        Self { workers, handles, busy: Mutex::new(()), forks: forks() }
    }

    /// How many threads work, the calling one included.
    pub fn threads(&self) -> usize {
        1 + self.handles.len()
    }

    /// Calls `work` here and on so many workers, or here alone where they are not to be had.
    fn work(&self, workers: usize, work: &(dyn Fn() + Sync)) {
        let Some((pool, _busy)) = self.idle() else { return work() };
        let callers = current_cpu();
        let help = || {
            // Some schedulers wake a worker where its waker runs, and leave both there: on a virtual machine
            // two threads were as slow as one for seconds, and 1.8 times as fast with this.
            if let Some(cpu) = callers.filter(|_| current_cpu() == callers) {
                leave_cpu(cpu);
            }
            work();
        };
        let running = AtomicUsize::new(workers);
        pool.in_place_scope(|scope| fork(scope, &running, &help, work));
    }

    /// The workers, if they are there and no other step has them. They are ours while the guard lives.
    fn idle(&self) -> Option<(&ThreadPool, MutexGuard<'_, ()>)> {
        let workers = self.workers.as_ref().filter(|_| self.forks == forks())?;
        match self.busy.try_lock() {
            Ok(guard) => Some((workers, guard)),
            // A step that panicked has left nothing behind.
            Err(TryLockError::Poisoned(poisoned)) => Some((workers, poisoned.into_inner())),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// Starts a pool of so many workers, and keeps their handles, even if not all can be started.
fn start(workers: usize, handles: &mut Vec<JoinHandle<()>>) -> Option<ThreadPool> {
    let builder = ThreadPoolBuilder::new().num_threads(workers);
    let builder = builder.spawn_handler(|worker| {
        let thread = thread::Builder::new().name("downhill".to_owned()).stack_size(STACK_BYTES);
        handles.push(thread.spawn(|| worker.run())?);
        Ok(())
    });
    builder.build().ok()
}

fn join(handles: Vec<JoinHandle<()>>) {
    for handle in handles {
        // A worker catches the panics of its jobs.
        handle.join().expect("a worker ends by itself");
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let (workers, handles) = (self.workers.take(), mem::take(&mut self.handles));
        if self.forks == forks() {
            drop(workers);
            join(handles);
        } else {
            // There is nobody to tell, and nobody to wait for.
            mem::forget((workers, handles));
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("threads", &self.threads()).finish()
    }
}

impl Threads<'_> {
    /// How many threads are to work on so many bytes.
    pub(crate) fn for_bytes(self, bytes: usize) -> usize {
        let enough_for = bytes / BYTES_PER_THREAD;
        if enough_for < 2 {
            return 1;
        }
        enough_for.min(match self {
            Self::Caller => 1,
            Self::Pool(pool) => pool.threads(),
            Self::Rayon => rayon::current_num_threads(),
        })
    }

    /// Calls `f` for every chunk of a list of so many elements, on `threads` threads, the calling one
    /// included, or on those that are there. None, and nothing is called, if there is no memory to cut the
    /// list up.
    pub(crate) fn run<P: Piece + Send>(
        self,
        threads: usize,
        list: impl ExactSizeIterator<Item = P>,
        elements: usize,
        f: &(dyn Fn(&mut [P]) + Sync),
    ) -> Option<()> {
        let mut chunks = Chunks::new(list, elements, threads)?;
        let mut chunks = chunks.slices()?;
        let queues = Queues::new(&mut chunks, threads);
        let work = || queues.work(rayon::current_thread_index().map_or(0, |i| i + 1), f);
        match self {
            Self::Caller => work(),
            Self::Pool(pool) => pool.work(threads - 1, &work),
            Self::Rayon => {
                let running = AtomicUsize::new(threads - 1);
                rayon::in_place_scope(|scope| fork(scope, &running, &work, &work));
            }
        }
        Some(())
    }
}

/// Sets as many others as `running` says to `help`, works, and looks for their end.
fn fork<'a>(
    scope: &Scope<'a>,
    running: &'a AtomicUsize,
    help: &'a (dyn Fn() + Sync),
    work: &(dyn Fn() + Sync),
) {
    for _ in 0..running.load(Ordering::Relaxed) {
        scope.spawn(move |_| {
            in_default_environment(help);
            running.fetch_sub(1, Ordering::Release);
        });
    }
    // One that has been woken on this core can leave it.
    thread::yield_now();
    work();
    // A worker of rayon's has better things to do while it waits.
    if rayon::current_thread_index().is_none() {
        for _ in 0..LOOKS {
            if running.load(Ordering::Acquire) == 0 {
                break;
            }
            thread::yield_now();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, iter, sync::Barrier};

    use super::*;

    /// From one element to another.
    struct Span(usize, usize);

    impl Piece for Span {
        fn len(&self) -> usize {
            self.1 - self.0
        }

        fn split_at(self, element: usize) -> (Self, Self) {
            (Self(self.0, self.0 + element), Self(self.0 + element, self.1))
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
            let list = iter::once(Span(0, ELEMENTS));
            Threads::Pool(&pool).run(3, list, ELEMENTS, &begin).unwrap();
            let mut starts: Vec<usize> = firsts.lock().unwrap().values().copied().collect();
            starts.sort_unstable();
            assert_eq!(starts, [0, ELEMENTS / 3, ELEMENTS / 3 * 2]);
        }
    }
}
