//! Which CPU a thread runs on, and how it leaves it.

/// The CPU that the calling thread runs on, if the system says.
#[cfg(target_os = "linux")]
pub(crate) fn current_cpu() -> Option<usize> {
    // SAFETY: takes nothing and touches nothing of ours.
    usize::try_from(unsafe { libc::sched_getcpu() }).ok()
}

/// Moves the calling thread to another CPU, if it may run on one. It may come back later: what is asked for is
/// only that it runs elsewhere now.
#[cfg(target_os = "linux")]
pub(crate) fn leave_cpu(cpu: usize) {
    use std::mem;

    const SIZE: usize = size_of::<libc::cpu_set_t>();
    if cpu >= 8 * SIZE {
        return;
    }
    // SAFETY: a set of CPUs is an array of bits, for which zeros will do.
    let mut allowed: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: writes at most `SIZE` bytes to `allowed`; thread 0 is the calling one.
    if unsafe { libc::sched_getaffinity(0, SIZE, &mut allowed) } != 0 {
        return;
    }
    let mut others = allowed;
    // SAFETY: `cpu` is less than the number of bits in a set, checked above.
    unsafe { libc::CPU_CLR(cpu, &mut others) };
    // SAFETY: both calls read `SIZE` bytes of a set. Without any other CPU the first one fails, and nothing has
    // changed.
    unsafe {
        if libc::sched_setaffinity(0, SIZE, &others) == 0 {
            libc::sched_setaffinity(0, SIZE, &allowed);
        }
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn current_cpu() -> Option<usize> {
    None
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn leave_cpu(_: usize) {}
