//! Rows about what a whole step costs where there is little to do: one small tensor, many of them, many
//! groups. All arrays are `f32` and nothing else is asked for.

use std::cell::RefCell;

use downhill::{Adam, Extras, Group, Isa, Optimizer, Tensor, Threads, step_on};

use crate::{
    common::{Arrays, T},
    timing::{Contestant, Effort, difference, median, placed, ratio, samples},
    whole::{allocate, run, tensors},
};

const SIZES: [usize; 9] = [16, 64, 256, 1 << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 20];

pub fn print_calls(effort: &Effort, isas: &[Isa]) {
    println!("\nA whole step of one tensor against the plain step, Adam\n");
    println!(
        "| {:>8} | {:<7} | {:>9} | {:>9} | {:>9} | {:>6} |",
        "elements", "ISA", "plain, ns", "whole, ns", "more, ns", "ratio"
    );
    println!("|--:|---|--:|--:|--:|--:|");
    for &isa in isas {
        for n in SIZES {
            print_one_tensor(n, isa, effort);
        }
    }
    println!("\nMany small tensors in a whole step, Adam\n");
    println!("| {:<42} | {:<7} | {:>9} | {:>13} |", "tensors", "ISA", "ns/tensor", "time of first");
    println!("|---|---|--:|--:|");
    for &isa in isas {
        print_small_tensors(32, isa, effort);
        print_small_tensors(512, isa, effort);
    }
    println!("\nMany groups, Adam\n");
    for &isa in isas {
        print_groups(isa, effort);
    }
}

/// Both on the same arrays, the tensor made anew for every call.
fn print_one_tensor(n: usize, isa: Isa, effort: &Effort) {
    let rule = Adam::default();
    let times = placed(effort, |seed, effort| {
        let arrays = RefCell::new(Arrays::new(&rule, n, seed));
        let mut parts = arrays.borrow_mut();
        let (w, g, state) = parts.parts();
        let arrays = RefCell::new((w, &*g, state));
        let plain = || {
            let (w, g, state) = &mut *arrays.borrow_mut();
            rule.step_on(isa, w, g, state, T).expect("valid arguments");
        };
        let whole = || {
            let (w, g, state) = &mut *arrays.borrow_mut();
            let [m, v] = &mut state[..] else { unreachable!("Adam has two states") };
            let list = &mut [Tensor::new(&mut **w, *g, [&mut **m, &mut **v])];
            run(isa, &rule, list, &Extras::default(), Threads::Caller);
        };
        samples(&mut [Box::new(plain), Box::new(whole)], effort)
    });
    println!(
        "| {n:>8} | {:<7} | {:>9.1} | {:>9.1} | {:>9.1} | {:>6.3} |",
        isa.name(),
        median(&times[0]),
        median(&times[1]),
        difference(&times[1], &times[0]),
        ratio(&times[1], &times[0]),
    );
}

/// How many.
const TENSORS: usize = 1000;

/// A thousand small tensors: allocated one by one, cut from flat arrays, each by a plain step, and one
/// tensor as large as all.
fn print_small_tensors(n: usize, isa: Isa, effort: &Effort) {
    let rule = Adam::default();
    let mut single = allocate(&rule, &[n; TENSORS]);
    let mut flat: [_; 3] = std::array::from_fn(|_| Flat::new(n * TENSORS));
    let [cut, stepped, whole] = &mut flat;
    let (mut single, mut cut) = (tensors(&mut single), cut.tensors(n));
    let mut whole = whole.tensors(n * TENSORS);
    let step = |list: &mut [Tensor<'_>]| run(isa, &rule, list, &Extras::default(), Threads::Caller);
    let mut contestants: [Contestant; 4] = [
        Box::new(|| step(&mut single)),
        Box::new(|| step(&mut cut)),
        Box::new(|| stepped.step_each(isa, &rule, n)),
        Box::new(|| step(&mut whole)),
    ];
    let times = samples(&mut contestants, effort);
    let names =
        ["each array by itself", "cut from flat arrays", "the same, a plain step each", "all in one"];
    for (name, time) in names.iter().zip(&times) {
        println!(
            "| {:<42} | {:<7} | {:>9.1} | {:>13.2} |",
            format!("{TENSORS} x {n}, {name}"),
            isa.name(),
            median(time) / TENSORS as f64,
            ratio(time, &times[0]),
        );
    }
}

/// Flat arrays.
struct Flat {
    w: Vec<f32>,
    g: Vec<f32>,
    m: Vec<f32>,
    v: Vec<f32>,
}

impl Flat {
    fn new(n: usize) -> Self {
        Self { w: vec![0.5; n], g: vec![0.01; n], m: vec![0.5; n], v: vec![0.5; n] }
    }

    /// Cut into tensors of `n` elements.
    fn tensors(&mut self, n: usize) -> Vec<Tensor<'_>> {
        let Self { w, g, m, v } = self;
        let weights = w.chunks_mut(n).zip(g.chunks(n));
        let states = m.chunks_mut(n).zip(v.chunks_mut(n));
        weights.zip(states).map(|((w, g), (m, v))| Tensor::new(w, g, [m, v])).collect()
    }

    /// A plain step of each.
    fn step_each(&mut self, isa: Isa, rule: &Adam, n: usize) {
        let Self { w, g, m, v } = self;
        let weights = w.chunks_mut(n).zip(g.chunks(n));
        for ((w, g), (m, v)) in weights.zip(m.chunks_mut(n).zip(v.chunks_mut(n))) {
            rule.step_on(isa, w, g, &mut [m, v], T).expect("valid arguments");
        }
    }
}

/// 500 groups of four tensors against one of 2,000.
fn print_groups(isa: Isa, effort: &Effort) {
    const GROUPS: usize = 500;
    const EACH: usize = 4;
    const ELEMENTS: usize = 64;
    let rule = Adam::default();
    let rules: Vec<_> =
        (0..GROUPS).map(|i| Adam { lr: 1e-3 / (i + 1) as f64, ..Adam::default() }).collect();
    let mut one = Flat::new(GROUPS * EACH * ELEMENTS);
    let mut many = Flat::new(GROUPS * EACH * ELEMENTS);
    let (mut one, mut many) = (one.tensors(ELEMENTS), many.tensors(ELEMENTS));
    let mut groups: Vec<_> =
        rules.iter().zip(many.chunks_mut(EACH)).map(|(rule, list)| Group::new(rule, T, list)).collect();
    let mut contestants: [Contestant; 2] = [
        Box::new(|| run(isa, &rule, &mut one, &Extras::default(), Threads::Caller)),
        Box::new(|| {
            step_on(isa, &mut groups, &Extras::default(), Threads::Caller).expect("valid arguments");
        }),
    ];
    let times = samples(&mut contestants, effort);
    println!(
        "{isa}: {GROUPS} groups of {EACH} tensors of {ELEMENTS} elements: {:.1} µs; the same tensors in one group: {:.1} µs; \
         {:.0} ns for a group more",
        median(&times[1]) / 1e3,
        median(&times[0]) / 1e3,
        difference(&times[1], &times[0]) / (GROUPS - 1) as f64,
    );
}
