//! Threads that wait for work. The work may borrow from the thread that hands it out, which a thread's
//! own closure may not; `Crew::run` waits until nobody uses it any more.

use std::{
    any::Any,
    io,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
};

use super::{cpu::bind, memory::has_room, signals::with_signals_blocked};

/// A step needs little stack; a panic's backtrace needs more.
const STACK_BYTES: usize = 512 << 10;

/// More than what is allocated for a worker, here and in the standard library, which aborts where it
/// cannot.
const BYTES_TO_START: usize = 64 << 10;

/// How many times a worker without work looks for some before it sleeps. It takes about 10 µs; to wake
/// it takes three times as long.
const LOOKS_FOR_WORK: usize = 32;

/// How many times a caller that has finished looks for its workers' end before it sleeps. To wake it
/// takes longer than most steps.
const LOOKS_FOR_END: usize = 1000;

/// Worker threads, which end when the crew is dropped.
pub(crate) struct Crew {
    workers: Vec<Worker>,
    progress: Arc<Progress>,
}

struct Worker {
    mailbox: Arc<Mailbox>,
    handle: JoinHandle<()>,
}

/// What a worker is told to do.
enum Order {
    Work(Job),
    End,
}

/// What `Crew::run` was given: valid until it returns.
#[derive(Clone, Copy)]
struct Job(*const (dyn Fn(usize) + Sync));

// SAFETY: what is pointed to is `Sync`, and is only called.
unsafe impl Send for Job {}

/// Where a worker finds its next order.
#[derive(Default)]
struct Mailbox {
    slot: Mutex<Slot>,
    arrived: Condvar,
    /// Is there an order? For a look without the lock.
    is_full: AtomicBool,
}

#[derive(Default)]
struct Slot {
    order: Option<Order>,
    sleeps: bool,
}

/// How far the workers are with a job.
#[derive(Default)]
struct Progress {
    /// Workers that have not finished it.
    running: AtomicUsize,
    caller_sleeps: Mutex<bool>,
    finished: Condvar,
    /// What a worker panicked with.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

impl Crew {
    /// Starts a worker for each entry, bound to a CPU if it names one. Stops at the first that cannot be
    /// started or bound, and gives the crew of those before it, if there are any.
    pub fn start(cpus: impl Iterator<Item = Option<usize>>) -> (Option<Self>, io::Result<()>) {
        let mut crew = None;
        for cpu in cpus {
            if let Err(error) = Self::start_worker(&mut crew, cpu) {
                return (crew, Err(error));
            }
        }
        (crew, Ok(()))
    }

    fn start_worker(crew: &mut Option<Self>, cpu: Option<usize>) -> io::Result<()> {
        if !has_room(BYTES_TO_START) {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        let (index, progress) = match crew {
            Some(crew) => (crew.workers.len(), Arc::clone(&crew.progress)),
            None => (0, Arc::default()),
        };
        let mailbox = Arc::<Mailbox>::default();
        let (inbox, workers_progress) = (Arc::clone(&mailbox), Arc::clone(&progress));
        let thread = thread::Builder::new().name("downhill".to_owned()).stack_size(STACK_BYTES);
        let handle =
            with_signals_blocked(|| thread.spawn(move || attend(index, &inbox, &workers_progress)))?;
        let worker = Worker { mailbox, handle };
        if let Some(Err(error)) = cpu.map(|cpu| bind(&worker.handle, cpu)) {
            worker.end();
            return Err(error);
        }
        crew.get_or_insert_with(|| Self { workers: Vec::new(), progress }).workers.push(worker);
        Ok(())
    }

    /// How many workers there are.
    pub fn len(&self) -> usize {
        self.workers.len()
    }

    /// Calls `help` with their number on the first `workers` workers, and `meanwhile` here. Returns when
    /// all have finished. A panic of any of them goes on here.
    pub fn run(&mut self, workers: usize, help: &(dyn Fn(usize) + Sync), meanwhile: impl FnOnce()) {
        let workers = &self.workers[..workers];
        // One is left where the caller panicked, too, and never came to look.
        discard(lock(&self.progress.panic).take());
        self.progress.running.store(workers.len(), Ordering::Relaxed);
        {
            // Waits for the workers even if `meanwhile` panics: they must not use `help` after that.
            let _wait = WaitOnDrop(&self.progress);
            // SAFETY: only the lifetime changes. `_wait` lives until no worker has the job any more.
            let job = Job(unsafe {
                std::mem::transmute::<*const (dyn Fn(usize) + Sync), *const (dyn Fn(usize) + Sync)>(help)
            });
            for worker in workers {
                worker.mailbox.post(Order::Work(job));
            }
            meanwhile();
        }
        if let Some(panic) = lock(&self.progress.panic).take() {
            resume_unwind(panic);
        }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.workers.drain(..).for_each(Worker::end);
    }
}

impl Worker {
    fn end(self) {
        self.mailbox.post(Order::End);
        // A worker catches the panics of its jobs.
        self.handle.join().expect("a worker ends by itself");
    }
}

/// What a worker does all its life.
fn attend(index: usize, inbox: &Mailbox, progress: &Progress) {
    while let Order::Work(Job(job)) = inbox.wait() {
        // SAFETY: `Crew::run` has posted it, and returns after `finish`.
        let work = || unsafe { (*job)(index) };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(work)) {
            let before = lock(&progress.panic).replace(panic);
            discard(before);
        }
        progress.finish();
    }
}

impl Mailbox {
    fn post(&self, order: Order) {
        let mut slot = lock(&self.slot);
        slot.order = Some(order);
        self.is_full.store(true, Ordering::Release);
        if slot.sleeps {
            self.arrived.notify_one();
        }
    }

    fn wait(&self) -> Order {
        for _ in 0..LOOKS_FOR_WORK {
            if self.is_full.load(Ordering::Acquire) {
                break;
            }
            thread::yield_now();
        }
        let mut slot = lock(&self.slot);
        loop {
            if let Some(order) = slot.order.take() {
                self.is_full.store(false, Ordering::Relaxed);
                return order;
            }
            slot.sleeps = true;
            slot = self.arrived.wait(slot).unwrap_or_else(PoisonError::into_inner);
            slot.sleeps = false;
        }
    }
}

impl Progress {
    /// One worker has finished.
    fn finish(&self) {
        if self.running.fetch_sub(1, Ordering::AcqRel) == 1 && *lock(&self.caller_sleeps) {
            self.finished.notify_one();
        }
    }

    /// Waits for all of them.
    fn wait(&self) {
        let all_have_finished = || self.running.load(Ordering::Acquire) == 0;
        for _ in 0..LOOKS_FOR_END {
            if all_have_finished() {
                return;
            }
            thread::yield_now();
        }
        let mut sleeps = lock(&self.caller_sleeps);
        while !all_have_finished() {
            *sleeps = true;
            sleeps = self.finished.wait(sleeps).unwrap_or_else(PoisonError::into_inner);
        }
        *sleeps = false;
    }
}

struct WaitOnDrop<'a>(&'a Progress);

impl Drop for WaitOnDrop<'_> {
    fn drop(&mut self) {
        self.0.wait();
    }
}

/// Drops what somebody panicked with, whose destructor may panic, too: then its worker would not finish.
fn discard(panic: Option<Box<dyn Any + Send>>) {
    if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        std::mem::forget(another);
    }
}

/// Nothing panics while it holds one of these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
