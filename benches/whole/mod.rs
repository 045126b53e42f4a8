//! Rows about whole steps: threads, lists of tensors, and what clipping and its like cost.

use std::{
    thread,
    time::{Duration, Instant},
};

use downhill::{
    Adam, Adamw, AnyTensor, Error, Extras, Optimizer, Pool, Report, Sgd, Tensor, Threads, optimizer,
    step_many,
};

use crate::{
    Effort,
    c::{CLoop, Loops},
    common::T,
    enough, fastest, median, ratio,
};

/// The tensors of GPT-2 with 124 million parameters: embeddings, twelve blocks, the last normalization.
pub fn gpt2() -> Vec<usize> {
    const WIDTH: usize = 768;
    let normalization = [WIDTH, WIDTH];
    let attention = [WIDTH * 3 * WIDTH, 3 * WIDTH, WIDTH * WIDTH, WIDTH];
    let perceptron = [WIDTH * 4 * WIDTH, 4 * WIDTH, 4 * WIDTH * WIDTH, WIDTH];
    let block = [&normalization[..], &attention, &normalization, &perceptron].concat();
    let embeddings = [50_257 * WIDTH, 1024 * WIDTH];
    [&embeddings[..], &block.repeat(12), &normalization].concat()
}

/// The arrays of one tensor: weights, gradient, states.
pub struct Arrays {
    w: Vec<f32>,
    g: Vec<f32>,
    state: Vec<Vec<f32>>,
}

/// Each array allocated by itself, as a user's. All values are normal and stay so.
pub fn allocate(rule: &dyn Optimizer, lengths: &[usize]) -> Vec<Arrays> {
    let states = rule.state_names().len();
    let arrays = |&n| Arrays { w: vec![0.5; n], g: vec![0.01; n], state: vec![vec![0.5; n]; states] };
    lengths.iter().map(arrays).collect()
}

pub fn any_tensors(list: &mut [Arrays]) -> Vec<AnyTensor<'_>> {
    list.iter_mut().map(any_tensor).collect()
}

fn any_tensor(Arrays { w, g, state }: &mut Arrays) -> AnyTensor<'_> {
    AnyTensor { w, g, state: state.iter_mut().map(|array| &mut array[..]).collect() }
}

pub fn tensors<const N: usize>(list: &mut [Arrays]) -> Vec<Tensor<'_, N>> {
    list.iter_mut().map(tensor).collect()
}

fn tensor<const N: usize>(Arrays { w, g, state }: &mut Arrays) -> Tensor<'_, N> {
    let state: Vec<&mut [f32]> = state.iter_mut().map(|array| &mut array[..]).collect();
    Tensor { w, g, state: state.try_into().expect("as many states as the rule has") }
}

/// One of the things that take turns on the same list.
type Contestant<'a, const N: usize> = &'a dyn Fn(&mut [Tensor<'_, N>]);

/// Nanoseconds a call, by contestant and round. With a pause, every call is alone and timed alone, as
/// between the forward and backward passes of a training: the workers have gone to sleep.
fn samples<const N: usize>(
    list: &mut [Tensor<'_, N>],
    contestants: &[Contestant<N>],
    rounds: usize,
    block: Duration,
    pause: Duration,
) -> Vec<Vec<f64>> {
    let time = |list: &mut [Tensor<'_, N>], contestant: Contestant<N>, calls: u32| {
        wait(pause);
        let start = Instant::now();
        (0..calls).for_each(|_| contestant(list));
        start.elapsed()
    };
    let mut calls = vec![1; contestants.len()];
    if pause.is_zero() {
        let enough = |contestant: &Contestant<N>| enough(block, |calls| time(list, *contestant, calls));
        calls = contestants.iter().map(enough).collect();
    }
    let mut samples = vec![Vec::new(); contestants.len()];
    for round in 0..rounds {
        for turn in 0..contestants.len() {
            let i = (round + turn) % contestants.len();
            let time = time(list, contestants[i], calls[i]);
            samples[i].push(time.as_nanos() as f64 / f64::from(calls[i]));
        }
    }
    samples
}

/// Keeps the core busy: one that sleeps would be slow after it.
fn wait(pause: Duration) {
    let start = Instant::now();
    while start.elapsed() < pause {
        std::hint::spin_loop();
    }
}

/// How long a training spends elsewhere, at least, between steps.
const PAUSE: Duration = Duration::from_micros(200);

/// A whole step of some rule.
type Step<const N: usize> = fn(&mut [Tensor<'_, N>], &Extras, Threads<'_>);

const SGD: Step<0> = |list, extras, threads| step(step_many(&Sgd::default(), list, T, extras, threads));
const ADAM: Step<2> =
    |list, extras, threads| step(step_many(&Adam::default(), list, T, extras, threads));
const ADAMW: Step<2> =
    |list, extras, threads| step(step_many(&Adamw::default(), list, T, extras, threads));

fn step(result: Result<Report, Error>) {
    result.expect("valid arguments");
}

pub fn print_threads(effort: &Effort) {
    println!("\nTwo threads against one: call after call, and {PAUSE:?} apart\n");
    println!(
        "| {:<4} | {:<12} | {:>12} | {:>13} | {:>13} | {:>13} |",
        "rule", "elements", "1 thread, µs", "2 threads, µs", "times as fast", "after a pause"
    );
    println!("|---|---|--:|--:|--:|--:|");
    let pool = Pool::new(2);
    let arrays = (12..=24).map(|log2| vec![1 << log2]);
    let lists = [vec![100; 10_000], vec![512; 1000], vec![4096; 1000], vec![300_000, 10, 300_000]];
    for lengths in arrays.chain(lists) {
        print_threads_row("sgd", SGD, &*optimizer(Sgd::default()), &lengths, &pool, effort);
        print_threads_row("adam", ADAM, &*optimizer(Adam::default()), &lengths, &pool, effort);
    }
}

fn print_threads_row<const N: usize>(
    name: &str,
    step: Step<N>,
    rule: &dyn Optimizer,
    lengths: &[usize],
    pool: &Pool,
    effort: &Effort,
) {
    let mut arrays = allocate(rule, lengths);
    let mut list = tensors(&mut arrays);
    let one: Contestant<N> = &|list| step(list, &Extras::default(), Threads::Caller);
    let two: Contestant<N> = &|list| step(list, &Extras::default(), Threads::Pool(pool));
    let warm = samples(&mut list, &[one, two], effort.rounds, effort.block, Duration::ZERO);
    let cold = samples(&mut list, &[one, two], 2 * effort.rounds, effort.block, PAUSE);
    println!(
        "| {name:<4} | {:<12} | {:>12.1} | {:>13.1} | {:>13.2} | {:>13.2} |",
        shape(lengths),
        median(&warm[0]) / 1e3,
        median(&warm[1]) / 1e3,
        ratio(&warm[0], &warm[1]),
        ratio(&cold[0], &cold[1]),
    );
}

/// `1000 x 512`
pub fn shape(lengths: &[usize]) -> String {
    let same = lengths.chunk_by(|a, b| a == b);
    let texts = same.map(|run| match run {
        [n] => n.to_string(),
        [n, ..] => format!("{} x {n}", run.len()),
        [] => unreachable!("a run has an element"),
    });
    texts.collect::<Vec<_>>().join(", ")
}

/// Ratios above 1 mean that the step is faster, as everywhere.
pub fn print_lists(loops: Option<&Loops>, effort: &Effort) {
    println!("\nMany tensors in one call, Adam\n");
    print_small_tensors(effort);
    match loops {
        Some(loops) => print_gpt2(loops, effort),
        None => println!("GPT-2: nothing to compare with, without a C compiler"),
    }
}

/// A thousand small tensors, against one array of as many elements.
fn print_small_tensors(effort: &Effort) {
    let rule = optimizer(Adam::default());
    let (mut small, mut large) = (allocate(&*rule, &[512; 1000]), allocate(&*rule, &[512_000]));
    let mut list = tensors::<2>(&mut small);
    list.extend(tensors(&mut large));
    let step = |list: &mut [Tensor<'_, 2>]| ADAM(list, &Extras::default(), Threads::Caller);
    let contestants: [Contestant<2>; 2] =
        [&|list| step(&mut list[..1000]), &|list| step(&mut list[1000..])];
    let times = samples(&mut list, &contestants, effort.rounds, effort.block, Duration::ZERO);
    println!(
        "1000 x 512, 1 thread: {:.1} µs; one array of 512000: {:.1} µs; {:.2} times its time",
        median(&times[0]) / 1e3,
        median(&times[1]) / 1e3,
        ratio(&times[0], &times[1]),
    );
}

/// The tensors of GPT-2, against streaming the same bytes, with one thread and with two.
fn print_gpt2(loops: &Loops, effort: &Effort) {
    let mut arrays = allocate(&*optimizer(Adam::default()), &gpt2());
    let mut list = tensors::<2>(&mut arrays);
    let elements: usize = list.iter().map(|tensor| tensor.w.len()).sum();
    let pool = Pool::new(2);
    for (count, threads) in [(1, Threads::Caller), (2, Threads::Pool(&pool))] {
        let stream = |stream: &CLoop, list: &mut [Tensor<'_, 2>]| {
            in_parts(list, count, &|Tensor { w, g, state }| stream.call(w, g, state));
        };
        let ours = |list: &mut [Tensor<'_, 2>]| ADAM(list, &Extras::default(), threads);
        let streams = loops.stream(2);
        let streams: Vec<_> =
            streams.iter().map(|each| move |list: &mut [Tensor<'_, 2>]| stream(each, list)).collect();
        let mut contestants: Vec<Contestant<2>> = vec![&ours];
        contestants.extend(streams.iter().map(|stream| stream as Contestant<2>));
        let rounds = effort.rounds.div_ceil(4);
        let times = samples(&mut list, &contestants, rounds, effort.block, Duration::ZERO);
        let stream = fastest(&times[1..]).expect("there is a streaming loop");
        println!(
            "GPT-2, {} tensors, {elements} elements, {count} thread(s): {:.1} ms, {:.1} GB/s; {:.2} of streaming",
            list.len(),
            median(&times[0]) / 1e6,
            (elements * 28) as f64 / median(&times[0]),
            ratio(stream, &times[0]),
        );
    }
}

/// Calls `f` on every tensor or part of one, by one thread or by two, each with half of the elements.
pub fn in_parts(list: &mut [Tensor<'_, 2>], threads: usize, f: &(dyn Fn(&mut Tensor<'_, 2>) + Sync)) {
    if threads == 1 {
        return list.iter_mut().for_each(f);
    }
    let elements: usize = list.iter().map(|tensor| tensor.w.len()).sum();
    let mut parts: Vec<_> = list.iter_mut().flat_map(parts).collect();
    let mut before = 0;
    let middle = parts.iter().position(|part| {
        before += part.w.len();
        before > elements / 2
    });
    let (first, second) = parts.split_at_mut(middle.unwrap_or_default());
    thread::scope(|scope| {
        scope.spawn(|| second.iter_mut().for_each(f));
        first.iter_mut().for_each(f);
    });
}

fn parts<'a>(tensor: &'a mut Tensor<'_, 2>) -> impl Iterator<Item = Tensor<'a, 2>> {
    const MOST: usize = 1 << 18;
    let [m, v] = tensor.state.each_mut().map(|array| array.chunks_mut(MOST));
    let weights = tensor.w.chunks_mut(MOST).zip(tensor.g.chunks_mut(MOST));
    weights.zip(m.zip(v)).map(|((w, g), (m, v))| Tensor { w, g, state: [m, v] })
}

/// What a training step does besides the update, in one call and as passes of their own, on the tensors of
/// GPT-2 with AdamW. Each row does what the one above does, and one thing more.
pub fn print_extras(loops: Option<&Loops>, effort: &Effort) {
    println!(
        "\nA whole AdamW step of GPT-2, one call against a plain C loop for each thing, 1 thread\n"
    );
    let Some(loops) = loops else {
        return println!("nothing to compare with, without a C compiler");
    };
    println!("| {:<22} | {:>8} | {:>8} | {:>6} |", "what", "ours, ms", "C, ms", "ratio");
    println!("|---|--:|--:|--:|");
    let mut arrays = allocate(&*optimizer(Adam::default()), &gpt2());
    let mut list = tensors::<2>(&mut arrays);
    let update = Extras::default();
    let scale = Extras { grad_scale: SCALE, ..update };
    let clip = Extras { max_norm: 1.0, ..scale };
    let skip = Extras { skip_nonfinite: true, ..clip };
    let zero = Extras { zero_grad: true, ..skip };
    let passes = Passes::new(loops);
    let rows: [(&str, Extras); 5] = [
        ("update", update),
        ("+ scale", scale),
        ("+ norm and clip", clip),
        ("+ skip", skip),
        ("+ zero", zero),
    ];
    for (name, extras) in rows {
        let ours = |list: &mut [Tensor<'_, 2>]| ADAMW(list, &extras, Threads::Caller);
        let separate = |list: &mut [Tensor<'_, 2>]| passes.run(list, &extras);
        let rounds = effort.rounds.div_ceil(4);
        let times = samples(&mut list, &[&ours, &separate], rounds, effort.block, Duration::ZERO);
        println!(
            "| {name:<22} | {:>8.1} | {:>8.1} | {:>6.2} |",
            median(&times[0]) / 1e6,
            median(&times[1]) / 1e6,
            ratio(&times[1], &times[0]),
        );
    }
}

/// Not a power of two, which would be cheaper nowhere, and so that gradients stay what they are for long.
const SCALE: f64 = 0.999;

/// The same things, one pass over all tensors after another.
struct Passes<'a> {
    loops: &'a Loops,
    adamw: CLoop,
}

impl<'a> Passes<'a> {
    fn new(loops: &'a Loops) -> Self {
        Self { loops, adamw: loops.plain("adamw", 2).swap_remove(0) }
    }

    fn run(&self, list: &mut [Tensor<'_, 2>], extras: &Extras) {
        if extras.grad_scale != 1.0 {
            self.pass(list, "scale", extras.grad_scale as f32);
        }
        if extras.max_norm > 0.0 {
            let sum_of_squares = self.loops.sum_of_squares();
            let norm = list.iter().map(|tensor| sum_of_squares(tensor.g)).sum::<f64>().sqrt();
            // The factor itself would make the gradients vanish, round by round.
            let clip = if extras.max_norm < norm { SCALE } else { 1.0 };
            self.pass(list, "scale", clip as f32);
        }
        for Tensor { w, g, state } in &mut *list {
            self.adamw.call(w, g, state);
        }
        if extras.zero_grad {
            self.pass(list, "zero", 0.0);
        }
    }

    fn pass(&self, list: &mut [Tensor<'_, 2>], name: &str, constant: f32) {
        let pass = self.loops.pass(name, constant);
        for Tensor { w, g, .. } in list {
            pass.call(g, w, &mut []);
        }
    }
}
