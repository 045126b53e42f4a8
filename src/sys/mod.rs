//! Calls of the system and of the CPU that are unsafe in Rust, or missing in it, as safe functions. The
//! only place with `unsafe` in this package.
#![allow(
    unsafe_code,
    reason = "the library's calls of the system and of the CPU are here and nowhere else"
)]

mod cancel;
mod cpu;
mod crew;
mod environment;
mod fork;
mod memory;
#[cfg(target_arch = "x86_64")]
pub(crate) mod partial;
mod prefetch;
mod signals;

pub use cancel::without_cancellation;
pub(crate) use cpu::{current_cpu, leave_cpu, may_migrate};
pub(crate) use crew::Crew;
pub use environment::in_default_environment;
pub(crate) use fork::Process;
pub use memory::{has_room, with_room};
pub(crate) use prefetch::{LINE, prefetch, prefetch_at, prefetch_to_l2};

/// Looks at everything that is looked at once in a process. A child that is forked while another thread
/// looks for the first time would wait for that thread for ever; one that is forked later is safe.
pub(crate) fn initialize() {
    Process::current();
    may_migrate();
}
