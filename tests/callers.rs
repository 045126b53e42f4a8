//! Several callers at once: of one pool, from a pool's own workers, with large steps and small ones.

mod common;

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use common::{
    Arrays, same_report,
    sharing::{ALL, Call, rayon, some_rules},
    uniform_from,
};
use downhill::{Extras, Isa, Pool, Threads};
use rayon::prelude::*;

/// Many steps of one list, each with other gradients, that end as the reference's do.
fn walk(caller: usize, steps: u64, threads: Threads<'_>) {
    let rule = some_rules().remove(caller % 4);
    let rule = &*rule;
    // Every third caller's list is too small for threads.
    let lengths = match caller % 3 {
        0 => [caller, 1000, 0, 7],
        _ => [caller, 290_000, 0, 5000],
    };
    let extras = Extras { zero_grad: false, ..ALL };
    let mut ours = Arrays::new(rule, lengths.iter().sum(), uniform_from(caller as u64));
    let mut expected = ours.clone();
    for t in 1..=steps {
        let call = Call { rule, isa: Isa::current().ok(), lengths: &lengths, t, extras };
        let report = call.run(&mut ours, threads);
        let (after, expected_report) = call.expected(&expected);
        assert!(same_report(&report, &expected_report), "{call:?}");
        expected = after;
        ours.g.rotate_left(1);
        expected.g.rotate_left(1);
    }
    assert_eq!(ours.difference(&expected), None, "caller {caller}");
}

#[test]
fn eight_callers_of_one_pool() {
    let pool = Pool::new(3);
    thread::scope(|scope| {
        for caller in 0..8 {
            let pool = &pool;
            scope.spawn(move || walk(caller, 20, Threads::Pool(pool)));
        }
    });
}

/// Workers that step while other workers of the same pool do.
#[test]
fn callers_that_are_workers_themselves() {
    let pool = Pool::new(2);
    rayon(3).install(|| {
        (0..12_usize).into_par_iter().for_each(|caller| {
            walk(caller, 5, if caller % 2 == 0 { Threads::Rayon } else { Threads::Pool(&pool) });
        });
    });
}

/// Small steps begin and end, one after another, while one large step has the workers.
#[test]
fn a_small_step_does_not_wait_for_a_large_one() {
    let rule = some_rules().remove(2);
    let rule = &*rule;
    let pool = &Pool::new(2);
    let (enough, finished) = (&AtomicBool::new(false), &AtomicBool::new(false));
    // Odd during a large step.
    let phase = &AtomicUsize::new(0);
    let call = |n: usize, isa: Option<Isa>| {
        let mut arrays = Arrays::new(rule, n, || 0.5);
        move || {
            let extras = Extras::default();
            arrays.whole_step(rule, isa, &[n], 1, &extras, Threads::Pool(pool)).unwrap();
        }
    };
    // Of the narrowest instruction set, to be slow.
    let mut large = call(4 << 20, Isa::available().first().copied());
    let mut small = call(160_000, Isa::current().ok());
    let many_large = move || {
        for _ in 0..400 {
            if enough.load(Ordering::SeqCst) {
                break;
            }
            phase.fetch_add(1, Ordering::SeqCst);
            large();
            phase.fetch_add(1, Ordering::SeqCst);
        }
        finished.store(true, Ordering::SeqCst);
    };
    let mut in_a_row = 0;
    thread::scope(|scope| {
        scope.spawn(many_large);
        while in_a_row < 3 && !finished.load(Ordering::SeqCst) {
            // The large step, if it was late, has the workers now.
            thread::sleep(Duration::from_millis(1));
            let before = phase.load(Ordering::SeqCst);
            small();
            let during = before % 2 == 1 && phase.load(Ordering::SeqCst) == before;
            in_a_row = if during { in_a_row + 1 } else { 0 };
        }
        enough.store(true, Ordering::SeqCst);
    });
    assert_eq!(in_a_row, 3);
}
