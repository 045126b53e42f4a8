//! The threads of a `rayon` pool.

use std::{error::Error as _, sync::OnceLock};

use super::{ParallelFor, Threads};

impl Threads<'_> {
    /// The `rayon` pool that the calling thread is a worker of, or else `rayon`'s global one; the
    /// calling thread alone where the system lets that start no threads.
    ///
    /// ```
    /// use downhill::{Extras, Group, Sgd, States, Tensor, Threads, step};
    ///
    /// let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build()?;
    /// let (config, mut w, g) = (Sgd::default(), [1.0; 8], [0.5; 8]);
    /// let mut tensors = [Tensor::new(&mut w, &g, States::default())];
    /// let mut groups = [Group::new(&config, 1, &mut tensors)];
    /// pool.install(|| step(&mut groups, &Extras::default(), Threads::Rayon))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    // Not a variant: `rayon` is then only in programs that name it. Where cargo builds the C libraries with
    // something that has this feature, they have it, too, and `rayon` is 47 KB of code.
    #[expect(non_upper_case_globals, reason = "it is used like the variants")]
    pub const Rayon: Self = Threads::Own(&OnRayon);
}

#[derive(Debug)]
struct OnRayon;

impl ParallelFor for OnRayon {
    /// One if rayon cannot start the threads of its global pool: to ask for their number would panic.
    fn threads(&self) -> usize {
        static HAS_GLOBAL: OnceLock<bool> = OnceLock::new();
        let has_global = || {
            let built = rayon::ThreadPoolBuilder::new().build_global();
            // An error without a source says that it has been built already.
            built.err().is_none_or(|error| error.source().is_none())
        };
        if rayon::current_thread_index().is_some() || *HAS_GLOBAL.get_or_init(has_global) {
            rayon::current_num_threads()
        } else {
            1
        }
    }

    fn run(&self, parts: usize, body: &(dyn Fn() + Sync)) {
        rayon::in_place_scope(|scope| {
            for _ in 1..parts {
                scope.spawn(|_| body());
            }
            body();
        });
    }

    /// Which jobs a thread gets is up to rayon.
    fn current(&self) -> Option<usize> {
        Some(rayon::current_thread_index().map_or(0, |index| index + 1))
    }
}
