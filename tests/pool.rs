//! Pools: how many threads they have, that these are workers and not only names, and that they are gone
//! when the pool is.

mod common;

use std::{
    env,
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use common::{
    Arrays, Rule,
    runner::{is_brief, skipped_in_emulator},
    sharing::some_rules,
    uniform,
};
use downhill::{Extras, Isa, Pool, Threads};

/// A rule with two states.
fn rule() -> Rule {
    some_rules().remove(2)
}

/// To be held by every test that makes a pool: some count this process's threads.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn the_number_of_threads() {
    let _alone = alone();
    let cores = thread::available_parallelism().unwrap().get();
    assert_eq!(Pool::new(0).threads(), cores.min(1024));
    for threads in 1..=5 {
        assert_eq!(Pool::new(threads).threads(), threads);
    }
}

/// Fewer, where the system does not let 1,024 start.
#[test]
fn there_are_at_most_1024() {
    let _alone = alone();
    let pool = Pool::new(1100);
    println!("{} of 1024", pool.threads());
    assert!(pool.threads() <= 1024);
    assert_eq!(steps(&pool, 300_000, 1), None);
}

#[test]
fn a_pool_says_how_many_threads_it_has() {
    let _alone = alone();
    assert_eq!(format!("{:?}", Pool::new(1)), "Pool { threads: 1 }");
    assert_eq!(format!("{:?}", Pool::new(4)), "Pool { threads: 4 }");
    assert_eq!(format!("{:?}", Threads::Pool(&Pool::new(2))), "Pool(Pool { threads: 2 })");
}

/// Where not even rayon's global pool can be started, which panics then.
#[test]
fn rayon_without_threads_is_the_caller_alone() {
    const CHILD: &str = "DOWNHILL_TEST_WITHOUT_THREADS";
    if env::var_os(CHILD).is_some() {
        let rule = &*rule();
        let n = 1 << 20;
        let mut ours = Arrays::new(rule, n, uniform());
        let mut alone = ours.clone();
        let isa = Isa::current().ok();
        for t in 1..=2 {
            ours.whole_step(rule, isa, &[n], t, &Extras::default(), Threads::Rayon).unwrap();
            alone.whole_step(rule, isa, &[n], t, &Extras::default(), Threads::Caller).unwrap();
        }
        assert_eq!(ours.difference(&alone), None, "other bits");
        assert!(thread::Builder::new().spawn(|| ()).is_err(), "threads can be started all the same");
        return;
    }
    if skipped_in_emulator("it starts itself again") {
        return;
    }
    // No stack is so large.
    let child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "rayon_without_threads_is_the_caller_alone", "--test-threads=1"])
        .envs([(CHILD, "1"), ("RUST_MIN_STACK", "70368744177664")])
        .output()
        .unwrap();
    let said =
        String::from_utf8_lossy(&child.stdout).into_owned() + &String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
fn a_pool_can_be_shared_and_sent() {
    fn check<T: Send + Sync + 'static>() {}
    check::<Pool>();
}

/// Steps over `n` elements; says where they are wrong, if they are.
fn steps(pool: &Pool, n: usize, count: u64) -> Option<String> {
    let rule = &*rule();
    let lengths = [n / 2, n - n / 2];
    let mut ours = Arrays::new(rule, n, uniform());
    let mut expected = ours.clone();
    let extras = Extras { grad_norm: true, ..Extras::default() };
    for t in 1..=count {
        let isa = Isa::current().ok();
        let report = ours.whole_step(rule, isa, &lengths, t, &extras, Threads::Pool(pool)).unwrap();
        let same = expected.whole_step(rule, None, &lengths, t, &extras, Threads::Caller).unwrap();
        assert_eq!(report, same);
    }
    ours.difference(&expected)
}

/// A pool that is dropped while its workers are still looking for work, or asleep, or have not begun.
#[test]
fn pools_come_and_go() {
    let _alone = alone();
    for k in 0..60 {
        let pool = Pool::new(2 + k % 3);
        if k % 2 == 0 {
            assert_eq!(steps(&pool, 310_000, 1), None);
        }
        if k % 4 == 0 {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

#[test]
fn a_pool_made_in_one_thread_and_dropped_in_another() {
    let _alone = alone();
    let pool = thread::spawn(|| Pool::new(3)).join().unwrap();
    assert_eq!(steps(&pool, 310_000, 2), None);
    thread::spawn(move || drop(pool)).join().unwrap();
}

/// What Linux says about the threads of this process.
#[cfg(target_os = "linux")]
mod proc {
    use std::{
        fs,
        path::{Path, PathBuf},
        time::Instant,
    };

    use super::*;

    /// The directories of all threads that a pool has started. They come and go meanwhile.
    fn workers() -> Vec<PathBuf> {
        let threads = fs::read_dir("/proc/self/task").unwrap().filter_map(Result::ok);
        let is_worker = |thread: &PathBuf| {
            fs::read_to_string(thread.join("comm")).is_ok_and(|name| name == "downhill\n")
        };
        threads.map(|thread| thread.path()).filter(is_worker).collect()
    }

    /// Waits for this number of workers. The system forgets a thread a little after it has been joined,
    /// and a thread names itself a little after it has been started.
    fn await_workers(count: usize) {
        let mut looks = (0..5000).map(|_| {
            thread::sleep(Duration::from_millis(1));
            workers().len()
        });
        assert!(looks.any(|workers| workers == count), "{} workers, not {count}", workers().len());
    }

    #[test]
    fn a_dropped_pool_leaves_no_thread_behind() {
        let _alone = alone();
        await_workers(0);
        let pools = [1, 3, 4].map(Pool::new);
        await_workers(5);
        let [one, three, four] = pools;
        assert_eq!(steps(&three, 310_000, 2), None);
        drop(three);
        await_workers(3);
        // The others have lost nothing.
        assert_eq!(steps(&four, 310_000, 2), None);
        assert_eq!(steps(&one, 310_000, 2), None);
        drop(one);
        await_workers(3);
        drop(four);
        await_workers(0);
    }

    /// When `drop` returns, the workers have ended, and not a little later.
    #[test]
    fn workers_end_before_their_pool_does() {
        if skipped_in_emulator("it keeps threads for a while that have ended") {
            return;
        }
        let _alone = alone();
        await_workers(0);
        for _ in 0..50 {
            let pool = Pool::new(4);
            await_workers(3);
            let ids = workers();
            drop(pool);
            assert_eq!(ids.iter().filter(|thread| lives(thread)).count(), 0);
        }
    }

    /// Is it there, and not one that has ended and that the system has yet to forget?
    fn lives(thread: &Path) -> bool {
        const EXITING: u32 = 4;
        let Ok(stat) = fs::read_to_string(thread.join("stat")) else { return false };
        let (_name, fields) = stat.rsplit_once(") ").unwrap();
        let flags: u32 = fields.split(' ').nth(6).unwrap().parse().unwrap();
        flags & EXITING == 0
    }

    /// The set of signals under this name in a `status` file.
    fn signals(status: &str, name: &str) -> u64 {
        let set = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        u64::from_str_radix(set.trim(), 16).unwrap()
    }

    #[test]
    fn workers_block_what_is_sent_and_not_what_instructions_raise() {
        if skipped_in_emulator("its threads have other signal masks than it tells") {
            return;
        }
        let _alone = alone();
        await_workers(0);
        let blocked = |path: PathBuf| signals(&fs::read_to_string(path).unwrap(), "SigBlk:");
        let before = blocked("/proc/thread-self/status".into());
        let pool = Pool::new(3);
        assert_eq!(blocked("/proc/thread-self/status".into()), before);
        await_workers(2);
        let set = |signals: &[u32]| signals.iter().map(|signal| 1_u64 << (signal - 1)).sum::<u64>();
        // ILL, TRAP, BUS, FPE, SEGV, SYS; the same on x86, aarch64 and s390x.
        let raised = set(&[4, 5, 7, 8, 11, 31]);
        // KILL and STOP cannot be blocked, and the C library keeps 32 to 34 for itself.
        let sent = !(raised | set(&[9, 19, 32, 33, 34]));
        for worker in workers() {
            assert_eq!(blocked(worker.join("status")) & (sent | raised), sent);
        }
        drop(pool);
    }

    /// The CPUs that a thread may run on.
    fn allowed(thread: &Path) -> String {
        let status = fs::read_to_string(thread.join("status")).unwrap();
        let cpus = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
        cpus.trim().to_owned()
    }

    /// Of a list like `0-2,5`.
    fn numbers(list: &str) -> Vec<usize> {
        let range = |range: &str| {
            let (from, to) = range.split_once('-').unwrap_or((range, range));
            from.parse::<usize>().unwrap()..=to.parse().unwrap()
        };
        list.split(',').flat_map(range).collect()
    }

    #[test]
    fn workers_stay_on_the_cpus_they_were_bound_to() {
        if skipped_in_emulator("its threads run where it likes") {
            return;
        }
        let _alone = alone();
        await_workers(0);
        let callers = allowed(Path::new("/proc/thread-self"));
        let cpus = numbers(&callers);
        let rule = &*rule();
        let n = 1 << 20;
        for list in [
            vec![cpus[0]],
            vec![cpus[0], *cpus.last().unwrap()],
            cpus.clone(),
            [&cpus[..], &cpus].concat(),
        ] {
            let pool = Pool::on(&list).unwrap();
            assert_eq!(pool.threads(), list.len());
            await_workers(list.len());
            let bound = || {
                let mut bound: Vec<usize> =
                    workers().iter().map(|worker| allowed(worker).parse().unwrap()).collect();
                bound.sort_unstable();
                bound
            };
            let mut expected = list.clone();
            expected.sort_unstable();
            assert_eq!(bound(), expected);
            let mut ours = Arrays::new(rule, n, uniform());
            let mut alone = ours.clone();
            for t in 1..=20 {
                let isa = Isa::current().ok();
                let extras = Extras { max_norm: 1.0, ..Extras::default() };
                ours.whole_step(rule, isa, &[n], t, &extras, Threads::Pool(&pool)).unwrap();
                alone.whole_step(rule, isa, &[n], t, &extras, Threads::Caller).unwrap();
            }
            assert_eq!(ours.difference(&alone), None, "other bits");
            assert_eq!(bound(), expected, "a worker has moved");
        }
        assert_eq!(allowed(Path::new("/proc/thread-self")), callers, "the caller has moved");
    }

    #[test]
    fn a_cpu_that_is_not_there_is_named() {
        let _alone = alone();
        let error = |cpus: &[usize]| Pool::on(cpus).unwrap_err().to_string();
        assert_eq!(error(&[]), "`cpus` lists 0 CPUs; it must list 1 to 1024");
        assert_eq!(error(&[0; 1025]), "`cpus` lists 1025 CPUs; it must list 1 to 1024");
        if skipped_in_emulator("it binds to any CPU") {
            return;
        }
        for cpu in [1023, 1024, 1_000_000, usize::MAX] {
            let first = numbers(&allowed(Path::new("/proc/thread-self")))[0];
            let error = error(&[first, cpu]);
            assert!(
                error.starts_with(&format!("`cpus[1]` is {cpu}; no worker can run there: ")),
                "{error}"
            );
        }
        // Nobody is left of those that could be bound.
        await_workers(0);
    }

    /// How long a thread has been computing.
    fn computed(thread: &Path) -> Option<Duration> {
        let times = fs::read_to_string(thread.join("schedstat")).ok()?;
        Some(Duration::from_nanos(times.split(' ').next()?.parse().ok()?))
    }

    /// What they compute cannot be seen from outside, but that they do: in some long step each of them
    /// for more than a twentieth of its time, of which waking up to find nothing to do takes far less.
    #[test]
    fn workers_work() {
        let _alone = alone();
        await_workers(0);
        let cores = thread::available_parallelism().unwrap().get();
        if cores == 1 || computed(Path::new("/proc/thread-self")).is_none() {
            println!("not tested: {cores} core, or a system that does not count threads' time");
            return;
        }
        for threads in [2, 3] {
            let pool = Pool::new(threads);
            await_workers(threads - 1);
            let shares = least_shares(&pool);
            assert!(shares.iter().any(|&share| share > 0.05), "{threads} threads: {shares:?}");
        }
        // The caller waits for a worker that is bound, even if there is one only.
        if !skipped_in_emulator("its threads run where it likes") {
            let cpu = numbers(&allowed(Path::new("/proc/thread-self")))[0];
            let pool = Pool::on(&[cpu]).unwrap();
            await_workers(1);
            let shares = least_shares(&pool);
            assert!(shares.iter().any(|&share| share > 0.05), "one that is bound: {shares:?}");
        }
    }

    /// For how much of its time that worker has computed who has least, for each of some steps: up to
    /// the first for which it is much.
    fn least_shares(pool: &Pool) -> Vec<f64> {
        let rule = &*rule();
        let n = if is_brief() { 1 << 20 } else { 1 << 23 };
        let mut value = uniform();
        // Subnormal gradients, and the narrowest instruction set: so slow that workers have their turn
        // even if there are fewer cores than threads, or other programs run on them.
        let mut arrays = Arrays::new(rule, n, || value() * 1e-39);
        let isa = Isa::available().first().copied();
        let workers = workers();
        let all_computed = || workers.iter().map(|worker| computed(worker).unwrap()).collect::<Vec<_>>();
        let mut least_share = |t| {
            let (before, start) = (all_computed(), Instant::now());
            let extras = Extras::default();
            arrays.whole_step(rule, isa, &[n], t, &extras, Threads::Pool(pool)).unwrap();
            let elapsed = start.elapsed();
            // Until they sleep again, and the system has counted.
            thread::sleep(Duration::from_millis(2));
            let computed = all_computed().into_iter().zip(before).map(|(after, before)| after - before);
            computed.min().unwrap().as_secs_f64() / elapsed.as_secs_f64()
        };
        let mut shares: Vec<f64> = Vec::new();
        while shares.len() < 200 && shares.last().is_none_or(|&share| share < 0.05) {
            shares.push(least_share(1 + shares.len() as u64));
        }
        shares
    }
}
