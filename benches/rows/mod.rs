//! Some rows of tables that exceed every cache, as a recommender or an embedding steps them: against a
//! plain C loop over the same rows, and against a loop that only moves their bytes and asks for the rows
//! that come next.

use std::{cell::RefCell, thread};

use downhill::{
    Adagrad, Adam, Extras, Group, Isa, Optimizer, Pool, Rows, Sgd, States, Tensor, Threads, step_on,
};
use rand::{SeedableRng, seq::index::sample};
use rand_pcg::Pcg64Mcg;

use crate::{
    c::{Loops, Tables},
    common::T,
    timing::{Contestant, Effort, cell, fastest, median, ratio, samples},
};

/// Rows of a table, and elements of a row.
const TABLES: [(usize, usize); 2] = [(8 << 20, 64), (1 << 20, 128)];

/// How many rows a step has.
const LISTED: usize = 64 << 10;

/// How many lists take turns, so that none of their rows is still in cache.
const LISTS: usize = 16;

/// How many rows ahead the loop asks that moves bytes: what is best depends on the CPU.
const AHEAD: [usize; 3] = [4, 8, 16];

/// A C loop over rows.
type CRows<'a> = dyn Fn(&Tables<'_>, &[i64], &[f32]) + Sync + 'a;

/// The tables, a gradient of as many rows as are listed, and the lists.
struct Case {
    row_length: usize,
    w: Vec<f32>,
    state: Vec<Vec<f32>>,
    g: Vec<f32>,
    lists: Vec<Vec<i64>>,
    turn: usize,
}

impl Case {
    fn new(rule: &dyn Optimizer, count: usize, row_length: usize) -> Self {
        let mut rng = Pcg64Mcg::seed_from_u64(1);
        let mut list = || sample(&mut rng, count, LISTED).into_iter().map(|row| row as i64).collect();
        let table = vec![0.5; count * row_length];
        Self {
            row_length,
            state: rule.states().iter().map(|_| table.clone()).collect(),
            w: table,
            g: vec![0.25; LISTED * row_length],
            lists: (0..LISTS).map(|_| list()).collect(),
            turn: 0,
        }
    }

    /// The list whose turn it is.
    fn next(&mut self) -> usize {
        self.turn = (self.turn + 1) % LISTS;
        self.turn
    }

    fn step(&mut self, rule: &dyn Optimizer, isa: Isa, threads: Threads<'_>) {
        let turn = self.next();
        let Self { row_length, w, state, g, lists, .. } = self;
        let states: States = state.iter_mut().map(|array| &mut array[..]).collect();
        let mut tensor = Tensor::new(w, &*g, states);
        tensor.rows = Some(Rows::new(*row_length, &lists[turn]));
        step_on(isa, &mut [Group::new(rule, T, &mut [tensor])], &Extras::default(), threads)
            .expect("valid arguments");
    }

    /// Calls a C loop with half of the list on each of two threads, or with all of it.
    fn by_c(&mut self, threads: usize, f: &CRows<'_>) {
        let turn = self.next();
        let Self { row_length, w, state, g, lists, .. } = self;
        let (rows, others) = lists[turn].split_at(LISTED / threads);
        let (g, g_others) = g.split_at(rows.len() * *row_length);
        let mut arrays = vec![&mut w[..]];
        arrays.extend(state.iter_mut().map(|array| &mut array[..]));
        let tables = Tables::new(*row_length, arrays);
        thread::scope(|scope| {
            if !others.is_empty() {
                scope.spawn(|| f(&tables, others, g_others));
            }
            f(&tables, rows, g);
        });
    }
}

/// Ratios above 1 mean that the step is faster. With `quick` of the smaller table only: the other one takes
/// 6 GiB.
pub fn print_rows(loops: Option<&Loops>, effort: &Effort, isas: &[Isa], quick: bool) {
    println!("\n{LISTED} random rows of a table, each list in an order of its own\n");
    println!(
        "| {:<8} | {:<14} | {:<7} | {:>7} | {:>7} | {:>6} | {:>9} | {:>8} |",
        "rule", "table", "ISA", "threads", "ns/row", "GB/s", "vs moving", "vs plain"
    );
    println!("|---|---|---|--:|--:|--:|--:|--:|");
    let rules: [&dyn Optimizer; 3] = [&Sgd::default(), &Adagrad::default(), &Adam::default()];
    let pool = Pool::new(2);
    for &(count, row_length) in if quick { &TABLES[1..] } else { &TABLES[..] } {
        for rule in rules {
            let case = RefCell::new(Case::new(rule, count, row_length));
            for &isa in isas {
                for (threads, who) in [(1, Threads::Caller), (2, Threads::Pool(&pool))] {
                    print_row(&case, count, (rule, isa), (threads, who), loops, effort);
                }
            }
        }
    }
}

fn print_row(
    case: &RefCell<Case>,
    count: usize,
    (rule, isa): (&dyn Optimizer, Isa),
    (threads, who): (usize, Threads<'_>),
    loops: Option<&Loops>,
    effort: &Effort,
) {
    let (row_length, states) = (case.borrow().row_length, rule.states().len());
    let builds = loops.map_or(&[][..], |loops| &loops.builds);
    let moved: Vec<_> =
        builds.iter().flat_map(|build| AHEAD.map(|ahead| build.rows_moved(ahead))).collect();
    let plain: Vec<_> = builds.iter().filter_map(|build| build.rows_stepped(rule)).collect();
    let mut contestants: Vec<Contestant> = vec![Box::new(|| case.borrow_mut().step(rule, isa, who))];
    for f in &moved {
        contestants.push(Box::new(move || case.borrow_mut().by_c(threads, f)));
    }
    for f in &plain {
        contestants.push(Box::new(move || case.borrow_mut().by_c(threads, f)));
    }
    let times = samples(&mut contestants, &effort.part(4));
    let ns = median(&times[0]);
    let (moving, stepping) = times[1..].split_at(moved.len());
    let against = |samples| cell(fastest(samples).map(|other| ratio(other, &times[0])));
    let bytes = LISTED * row_length * 4 * (1 + 2 * (1 + states));
    println!(
        "| {:<8} | {:<14} | {:<7} | {threads:>7} | {:>7.1} | {:>6.1} | {:>9} | {:>8} |",
        rule.name(),
        format!("{} Mi x {row_length}", count >> 20),
        isa.name(),
        ns / LISTED as f64,
        bytes as f64 / ns,
        against(moving),
        against(stepping),
    );
}
