//! How far the steps are from the machine: every rule against the best plain C loop and against a loop
//! that only moves the same bytes, a step on subnormal states against a step on normal ones, and whole
//! steps over many tensors against the same things done one after another, and steps on packed states.
//!
//! `cargo bench --bench roofline -- --quick` takes seconds. All contestants of a row take turns on the
//! same arrays in the same rounds; what is printed are medians, the ratios medians of each round's own
//! ratio. So a ratio stands on a noisy machine where a time does not. Without a C compiler the columns
//! about C are missing, and it says so.

mod c;
mod calls;
mod common;
mod offload;
mod rows;
mod timing;
mod types;
mod whole;

use std::{
    fs,
    time::{Duration, Instant},
};

use c::{CLoop, Loops};
use clap::{Parser, ValueEnum};
use common::{Arrays, T, assert_reference_bits, bytes_per_element, rules};
use downhill::{Adam, Adamw, Error, Isa, Optimizer, Sgd};
use timing::{Effort, cell, enough, fastest, median, ratio};

const SIZES: [usize; 8] = [16, 256, 1 << 10, 1 << 14, 1 << 16, 1 << 18, 1 << 20, 1 << 24];

/// Small enough for every cache that matters: an assist costs the same everywhere, a miss hides it.
const SUBNORMAL_SIZE: usize = 1 << 14;

#[derive(Parser)]
struct Options {
    /// Few and short rounds.
    #[arg(long)]
    quick: bool,
    /// One short round, of which no figure means anything: to see that all tables can be made.
    #[arg(long)]
    once: bool,
    /// Only this table.
    #[arg(long)]
    table: Option<Table>,
    /// Only this rule, where a table has all of them.
    #[arg(long)]
    rule: Option<String>,
    /// Only this number of elements, which may be any, in the first table.
    #[arg(long)]
    size: Option<usize>,
    /// Cargo passes it to benchmarks. Without it, as under `cargo test`, results are only checked.
    #[arg(long, hide = true)]
    bench: bool,
    #[arg(long, hide = true)]
    test: bool,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Table {
    /// Every rule against plain C and against streaming.
    Rules,
    /// Steps on subnormal states, weights and gradients.
    Subnormal,
    /// Two threads against one.
    Threads,
    /// Many tensors in one call.
    Lists,
    /// Scale, norm, clip, skip, update and zero in one call.
    Extras,
    /// Gradients in bfloat16 and a copy out, in one call.
    Offload,
    /// Adam with types of fewer bits.
    Types,
    /// What a whole step costs where there is little to do.
    Calls,
    /// Some rows of large tables.
    Rows,
}

/// One of the loops that take turns.
enum Contestant<'a> {
    /// As a user calls it: every check and every constant is part of the call.
    Step {
        rule: &'a dyn Optimizer,
        isa: Option<Isa>,
    },
    C(CLoop),
}

impl Contestant<'_> {
    fn call(&self, w: &mut [f32], g: &[f32], state: &mut [&mut [f32]]) -> Result<(), Error> {
        match self {
            Self::Step { rule, isa: None } => rule.step_on(Isa::current()?, w, g, state, T),
            Self::Step { rule, isa: Some(isa) } => rule.step_on(*isa, w, g, state, T),
            Self::C(function) => {
                function.call(w, g, state);
                Ok(())
            }
        }
    }

    fn time(&self, arrays: &mut Arrays, calls: u32) -> Duration {
        let (w, g, mut state) = arrays.parts();
        let start = Instant::now();
        for _ in 0..calls {
            self.call(w, g, &mut state).expect("valid arguments");
        }
        start.elapsed()
    }
}

/// All the contestants for one rule.
struct Contest<'a> {
    name: &'a str,
    rule: &'a dyn Optimizer,
    contestants: Vec<Contestant<'a>>,
    /// Where in `contestants` the plain loops begin, and where the streaming ones; `step` is the first.
    plain: usize,
    stream: usize,
}

impl<'a> Contest<'a> {
    fn new(name: &'a str, rule: &'a dyn Optimizer, loops: Option<&Loops>) -> Self {
        let states = rule.states().len();
        let mut contestants = vec![Contestant::Step { rule, isa: None }];
        let plain = contestants.len();
        contestants.extend(loops.iter().flat_map(|c| c.plain(name, rule)).map(Contestant::C));
        let stream = contestants.len();
        contestants.extend(loops.iter().flat_map(|c| c.stream(states)).map(Contestant::C));
        let contest = Self { name, rule, contestants, plain, stream };
        contest.check();
        contest
    }

    /// Panics unless the steps and the plain loops give the bits of the reference.
    fn check(&self) {
        for (i, contestant) in self.contestants[..self.stream].iter().enumerate() {
            let name = format!("{} contestant {i}", self.name);
            assert_reference_bits(self.rule, &name, |arrays| {
                contestant.time(arrays, 1);
            });
        }
    }

    /// Nanoseconds a call, by contestant and round.
    fn samples(&self, n: usize, effort: &Effort) -> Vec<Vec<f64>> {
        let mut samples = vec![Vec::new(); self.contestants.len()];
        let mut arrays = Arrays::new(self.rule, n, 0);
        let calls = self.calls(&mut arrays, effort);
        for round in 0..effort.rounds {
            if round % effort.rounds_per_placement == 0 {
                arrays = Arrays::new(self.rule, n, round as u64);
            }
            for turn in 0..self.contestants.len() {
                let i = (round + turn) % self.contestants.len();
                let time = self.contestants[i].time(&mut arrays, calls[i]);
                samples[i].push(time.as_nanos() as f64 / f64::from(calls[i]));
            }
        }
        samples
    }

    /// How many calls make a block, for each contestant.
    fn calls(&self, arrays: &mut Arrays, effort: &Effort) -> Vec<u32> {
        let contestants = self.contestants.iter();
        contestants
            .map(|contestant| enough(effort.block, |calls| contestant.time(arrays, calls)))
            .collect()
    }

    fn print_row(&self, n: usize, effort: &Effort) {
        let samples = self.samples(n, effort);
        let plain = fastest(&samples[self.plain..self.stream]);
        let stream = fastest(&samples[self.stream..]);
        let ns = median(&samples[0]);
        println!(
            "| {:<25} | {n:>8} | {ns:>12.1} | {:>10.4} | {:>6.1} | {:>12} | {:>8} | {:>9} |",
            self.name,
            ns / n as f64,
            (n * bytes_per_element(self.rule)) as f64 / ns,
            plain.map_or("-".to_owned(), |c| format!("{:.1}", median(c))),
            cell(plain.map(|c| ratio(c, &samples[0]))),
            cell(stream.map(|c| ratio(c, &samples[0]))),
        );
    }
}

fn print_roofline(contests: &[Contest], sizes: &[usize], effort: &Effort) {
    println!("\nEvery rule against the best plain C loop and against streaming\n");
    println!(
        "| {:<25} | {:>8} | {:>12} | {:>10} | {:>6} | {:>12} | {:>8} | {:>9} |",
        "rule", "n", "ns/call", "ns/element", "GB/s", "C, ns/call", "vs plain", "vs stream"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|--:|");
    for contest in contests {
        for &n in sizes {
            contest.print_row(n, effort);
        }
    }
}

/// Every call is on freshly written arrays and timed alone, because the first step on subnormal states
/// leaves none behind. Normal and subnormal calls alternate, prepared in the same way; `time` is told
/// which it is.
fn print_subnormal_row(what: &str, name: &str, effort: &Effort, mut time: impl FnMut(bool) -> Duration) {
    let mut normal = Vec::new();
    let mut subnormal = Vec::new();
    for _ in 0..effort.pairs {
        normal.push(time(false).as_nanos() as f64);
        subnormal.push(time(true).as_nanos() as f64);
    }
    println!(
        "| {what:<25} | {name:<8} | {:>12.0} | {:>12.0} | {:>8.2} |",
        median(&normal),
        median(&subnormal),
        ratio(&subnormal, &normal)
    );
}

/// A step on states that are subnormal, or not.
fn on_states(contest: &Contest, contestant: &Contestant) -> impl FnMut(bool) -> Duration {
    let mut arrays = Arrays::new(contest.rule, SUBNORMAL_SIZE, 0);
    move |subnormal| {
        if subnormal {
            fill_subnormal(&mut arrays)
        } else {
            fill_normal(&mut arrays)
        }
        contestant.time(&mut arrays, 1)
    }
}

fn fill_normal(arrays: &mut Arrays) {
    let (_, g, mut state) = arrays.parts();
    g.fill(0.5);
    state.iter_mut().for_each(|array| array.fill(0.5));
}

/// A gradient that has stopped, and what is left of the moments: from 1 ulp to the largest subnormal.
fn fill_subnormal(arrays: &mut Arrays) {
    let (_, g, mut state) = arrays.parts();
    g.fill(0.0);
    for array in &mut state {
        for (i, x) in array.iter_mut().enumerate() {
            *x = f32::from_bits(1 + (i as u32 * 513) % 0x007f_ffff);
        }
    }
}

fn print_subnormal(contests: &[Contest], effort: &Effort) {
    println!("\nEvery state subnormal and every gradient zero, n = {SUBNORMAL_SIZE}\n");
    println!(
        "| {:<25} | {:<8} | {:>12} | {:>12} | {:>8} |",
        "rule", "loop", "normal, ns", "subnormal", "ratio"
    );
    println!("|---|---|--:|--:|--:|");
    for contest in contests.iter().filter(|contest| !contest.rule.states().is_empty()) {
        for isa in Isa::available() {
            let step = Contestant::Step { rule: contest.rule, isa: Some(isa) };
            print_subnormal_row(contest.name, isa.name(), effort, on_states(contest, &step));
        }
        if let [plain, ..] = &contest.contestants[contest.plain..contest.stream] {
            print_subnormal_row(contest.name, "plain C", effort, on_states(contest, plain));
        }
    }
}

/// Weights or gradients that are subnormal, or whose squares are, against 1e-3. Nothing protects these.
fn print_unprotected(effort: &Effort) {
    println!("\nWeights and gradients that are subnormal, or whose squares are, n = {SUBNORMAL_SIZE}\n");
    println!(
        "| {:<25} | {:<8} | {:>12} | {:>12} | {:>8} |",
        "rule, value", "loop", "1e-3, ns", "this, ns", "ratio"
    );
    println!("|---|---|--:|--:|--:|");
    let (sgd, adam, adamw) = (Sgd::default(), Adam::default(), Adamw::default());
    // The weight and the gradient where it is, and where it is not.
    type Values = (f32, f32);
    let rows: [(&str, &dyn Optimizer, Values, Values); 3] = [
        ("adamw, w = 1e-40, g = 0", &adamw, (1e-40, 0.0), (1e-3, 0.0)),
        ("adam, g = 1e-19", &adam, (1.0, 1e-19), (1.0, 1e-3)),
        ("sgd, g = 1e-40", &sgd, (1.0, 1e-40), (1.0, 1e-3)),
    ];
    for (what, rule, tiny, usual) in rows {
        for isa in Isa::available() {
            let step = Contestant::Step { rule, isa: Some(isa) };
            let mut arrays = Arrays::new(rule, SUBNORMAL_SIZE, 0);
            print_subnormal_row(what, isa.name(), effort, |subnormal| {
                let (weight, gradient) = if subnormal { tiny } else { usual };
                let (w, g, mut state) = arrays.parts();
                w.fill(weight);
                g.fill(gradient);
                state.iter_mut().for_each(|array| array.fill(0.0));
                step.time(&mut arrays, 1)
            });
        }
    }
    for isa in Isa::available() {
        let time = types::on_bf16_weights(SUBNORMAL_SIZE, isa);
        print_subnormal_row("adamw, bf16 w = 1e-40", isa.name(), effort, time);
    }
}

/// For the instruction set that steps use: AVX2 is not compared with C that has AVX-512.
fn build_loops(isa: Isa) -> Option<Loops> {
    Loops::build_for(isa)
        .inspect_err(|error| eprintln!("NO C COMPILER, so nothing to compare with: {error}"))
        .ok()
}

fn cpu() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find(|line| line.starts_with("model name"));
    name.and_then(|line| line.split(": ").nth(1)).unwrap_or("unknown").to_owned()
}

fn main() -> Result<(), Error> {
    let options = Options::parse();
    let isa = Isa::current()?;
    let mut rules = rules();
    rules.retain(|(rule, _)| options.rule.as_deref().is_none_or(|name| name == *rule));
    let loops = build_loops(isa);
    let contests: Vec<_> =
        rules.iter().map(|(name, rule)| Contest::new(name, &**rule, loops.as_ref())).collect();
    println!("{} rules give the bits of the reference", contests.len());
    if options.test || !options.bench {
        return Ok(());
    }
    let effort = match options {
        Options { once: true, .. } => Effort::ONCE,
        Options { quick: true, .. } => Effort::QUICK,
        _ => Effort::FULL,
    };
    let quick = options.quick || options.once;
    // One call on an array beyond every cache takes as long as a thousand within.
    let all = SIZES.into_iter().filter(|&n| !options.once || n <= SUBNORMAL_SIZE).collect();
    let sizes = options.size.map_or(all, |n| vec![n]);
    println!("CPU: {}\nISA: {isa}", cpu());
    println!("C:   {}", loops.as_ref().map_or("none", |loops| &loops.compiler));
    // Of GPT-2.
    let blocks = if quick { 1 } else { 12 };
    // The widest first; the scalar one is for CPUs that have no other.
    let vectors: Vec<_> = Isa::available().into_iter().skip(1).rev().collect();
    let wanted = |table| options.table.is_none_or(|only| only == table);
    if wanted(Table::Rules) {
        print_roofline(&contests, &sizes, &effort);
    }
    if wanted(Table::Subnormal) {
        print_subnormal(&contests, &effort);
        print_unprotected(&effort);
    }
    if wanted(Table::Threads) {
        whole::print_threads(&effort);
    }
    if wanted(Table::Lists) {
        whole::print_lists(loops.as_ref(), &effort, blocks);
    }
    if wanted(Table::Extras) {
        whole::print_extras(loops.as_ref(), &effort, blocks);
    }
    if wanted(Table::Offload) {
        offload::print_offload(&effort, &vectors, quick);
    }
    if wanted(Table::Types) {
        types::print_types(&effort, &vectors);
    }
    if wanted(Table::Calls) {
        calls::print_calls(&effort, &vectors);
    }
    if wanted(Table::Rows) {
        rows::print_rows(loops.as_ref(), &effort, &vectors, quick);
    }
    Ok(())
}
