//! Rows about whole steps: threads, lists of tensors, and what clipping and its like cost.

use std::{cell::RefCell, thread, time::Duration};

use downhill::{
    Adam, Adamw, Extras, Group, Isa, Optimizer, Pool, Sgd, States, Tensor, Threads, step_on,
};

use crate::{
    c::{Build, CLoop, Loops},
    common::T,
    timing::{Contestant, Effort, fastest, median, ratio, samples, samples_apart},
};

const WIDTH: usize = 768;

/// The tensors of GPT-2 with this many blocks between its embeddings and the last normalization; with
/// twelve it has 124 million parameters.
pub fn gpt2(blocks: usize) -> Vec<usize> {
    let embeddings = [50_257 * WIDTH, 1024 * WIDTH];
    [&embeddings[..], &layers(blocks), &[WIDTH, WIDTH]].concat()
}

/// The tensors of this many blocks of it. The odd ones have two dimensions, but for the normalizations.
pub fn layers(blocks: usize) -> Vec<usize> {
    let normalization = [WIDTH, WIDTH];
    let attention = [WIDTH * 3 * WIDTH, 3 * WIDTH, WIDTH * WIDTH, WIDTH];
    let perceptron = [WIDTH * 4 * WIDTH, 4 * WIDTH, 4 * WIDTH * WIDTH, WIDTH];
    [&normalization[..], &attention, &normalization, &perceptron].concat().repeat(blocks)
}

/// Is a tensor of this many elements a matrix there?
pub fn is_matrix(elements: usize) -> bool {
    elements > 4 * WIDTH
}

/// The arrays of one tensor: weights, gradient, states.
pub struct Arrays {
    w: Vec<f32>,
    g: Vec<f32>,
    state: Vec<Vec<f32>>,
}

/// Each array allocated by itself, as a user's. All values are normal and stay so.
pub fn allocate(rule: &dyn Optimizer, lengths: &[usize]) -> Vec<Arrays> {
    let states = rule.states().len();
    let arrays = |&n| Arrays { w: vec![0.5; n], g: vec![0.01; n], state: vec![vec![0.5; n]; states] };
    lengths.iter().map(arrays).collect()
}

pub fn tensors(list: &mut [Arrays]) -> Vec<Tensor<'_>> {
    list.iter_mut().map(tensor).collect()
}

fn tensor(Arrays { w, g, state }: &mut Arrays) -> Tensor<'_> {
    Tensor::new(w, g, state.iter_mut().map(|array| &mut array[..]).collect::<States>())
}

/// A whole step of these tensors as one group.
pub fn run(
    isa: Isa,
    rule: &dyn Optimizer,
    list: &mut [Tensor<'_>],
    extras: &Extras,
    threads: Threads<'_>,
) {
    step_on(isa, &mut [Group::new(rule, T, list)], extras, threads).expect("valid arguments");
}

/// The instruction set that steps use.
fn current() -> Isa {
    Isa::current().expect("found at the start")
}

/// How long a training spends elsewhere, at least, between steps.
const PAUSE: Duration = Duration::from_micros(200);

pub fn print_threads(effort: &Effort) {
    println!("\nTwo threads against one: call after call, and {PAUSE:?} apart\n");
    println!(
        "| {:<4} | {:<18} | {:>12} | {:>13} | {:>13} | {:>13} |",
        "rule", "elements", "1 thread, µs", "2 threads, µs", "times as fast", "after a pause"
    );
    println!("|---|---|--:|--:|--:|--:|");
    let pool = Pool::new(2);
    let arrays = (12..=24).map(|log2| vec![1 << log2]);
    let lists = [vec![100; 10_000], vec![512; 1000], vec![4096; 1000], vec![300_000, 10, 300_000]];
    for lengths in arrays.chain(lists) {
        print_threads_row(&Sgd::default(), &lengths, &pool, effort);
        print_threads_row(&Adam::default(), &lengths, &pool, effort);
    }
}

fn print_threads_row(rule: &dyn Optimizer, lengths: &[usize], pool: &Pool, effort: &Effort) {
    let mut arrays = allocate(rule, lengths);
    let list = RefCell::new(tensors(&mut arrays));
    let step = |threads| run(current(), rule, &mut list.borrow_mut(), &Extras::default(), threads);
    let mut contestants: [Contestant; 2] =
        [Box::new(|| step(Threads::Caller)), Box::new(|| step(Threads::Pool(pool)))];
    let warm = samples(&mut contestants, effort);
    let cold = samples_apart(&mut contestants, effort, PAUSE);
    println!(
        "| {:<4} | {:<18} | {:>12.1} | {:>13.1} | {:>13.2} | {:>13.2} |",
        rule.name(),
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

/// The tensors of GPT-2, against streaming the same bytes, with one thread and with two. Ratios above 1
/// mean that the step is faster, as everywhere.
pub fn print_lists(loops: Option<&Loops>, effort: &Effort, blocks: usize) {
    println!("\nMany tensors in one call, Adam\n");
    let Some(loops) = loops else {
        return println!("nothing to compare with, without a C compiler");
    };
    let rule = Adam::default();
    let lengths = gpt2(blocks);
    let arrays = RefCell::new(allocate(&rule, &lengths));
    let elements: usize = lengths.iter().sum();
    let pool = Pool::new(2);
    let streams = loops.stream(2);
    for (count, threads) in [(1, Threads::Caller), (2, Threads::Pool(&pool))] {
        let ours = || {
            run(current(), &rule, &mut tensors(&mut arrays.borrow_mut()), &Extras::default(), threads)
        };
        let mut contestants: Vec<Contestant> = vec![Box::new(ours)];
        for stream in &streams {
            let arrays = &arrays;
            contestants.push(Box::new(move || {
                let mut arrays = arrays.borrow_mut();
                let mut parts: Vec<_> = arrays.iter_mut().flat_map(parts).collect();
                by_threads(&mut parts, count, |part| part.w.len(), &|part| part.call(stream));
            }));
        }
        let times = samples(&mut contestants, &effort.part(4));
        let stream = fastest(&times[1..]).expect("there is a streaming loop");
        println!(
            "GPT-2 of {blocks} blocks, {} tensors, {elements} elements, {count} thread(s): {:.1} ms, {:.1} GB/s; {:.2} of streaming",
            lengths.len(),
            median(&times[0]) / 1e6,
            (elements * 28) as f64 / median(&times[0]),
            ratio(stream, &times[0]),
        );
    }
}

/// What a thread streams at a time.
struct Part<'a> {
    w: &'a mut [f32],
    g: &'a [f32],
    state: [&'a mut [f32]; 2],
}

impl Part<'_> {
    fn call(&mut self, function: &CLoop) {
        function.call(self.w, self.g, &mut self.state);
    }
}

/// The most elements of a part.
pub const MOST: usize = 1 << 18;

fn parts(Arrays { w, g, state }: &mut Arrays) -> impl Iterator<Item = Part<'_>> {
    let [m, v] = &mut state[..] else { unreachable!("Adam has two states") };
    let weights = w.chunks_mut(MOST).zip(g.chunks(MOST));
    let states = m.chunks_mut(MOST).zip(v.chunks_mut(MOST));
    weights.zip(states).map(|((w, g), (m, v))| Part { w, g, state: [m, v] })
}

/// Calls `f` on every part, by one thread or by two, each with half of the elements.
pub fn by_threads<P: Send>(
    parts: &mut [P],
    threads: usize,
    len: impl Fn(&P) -> usize,
    f: &(impl Fn(&mut P) + Sync),
) {
    if threads == 1 {
        return parts.iter_mut().for_each(f);
    }
    let elements: usize = parts.iter().map(&len).sum();
    let mut before = 0;
    let middle = parts.iter().position(|part| {
        before += len(part);
        before > elements / 2
    });
    let (first, second) = parts.split_at_mut(middle.unwrap_or_default());
    thread::scope(|scope| {
        scope.spawn(|| second.iter_mut().for_each(f));
        first.iter_mut().for_each(f);
    });
}

/// What a training step does beside the update, in one call and as passes of their own, on the tensors
/// of GPT-2 with AdamW. Each row does what the one above does, and one thing more.
pub fn print_extras(loops: Option<&Loops>, effort: &Effort, blocks: usize) {
    println!(
        "\nA whole AdamW step of GPT-2 of {blocks} blocks, one call against a plain C loop for each thing, 1 thread\n"
    );
    let Some(loops) = loops else {
        return println!("nothing to compare with, without a C compiler");
    };
    println!("| {:<22} | {:>8} | {:>8} | {:>6} |", "what", "ours, ms", "C, ms", "ratio");
    println!("|---|--:|--:|--:|");
    let rule = Adamw::default();
    let arrays = RefCell::new(allocate(&rule, &gpt2(blocks)));
    let update = Extras::default();
    let scale = Extras { grad_scale: SCALE, ..update };
    let clip = Extras { max_norm: 1.0, ..scale };
    let skip = Extras { skip_nonfinite: true, ..clip };
    let zero = Extras { zero_grad: true, ..skip };
    let builds: Vec<_> = loops.builds.iter().map(Passes::new).collect();
    let rows: [(&str, Extras); 5] = [
        ("update", update),
        ("+ scale", scale),
        ("+ norm and clip", clip),
        ("+ skip", skip),
        ("+ zero", zero),
    ];
    for (name, extras) in rows {
        let ours =
            || run(current(), &rule, &mut tensors(&mut arrays.borrow_mut()), &extras, Threads::Caller);
        let mut contestants: Vec<Contestant> = vec![Box::new(ours)];
        for passes in &builds {
            let (arrays, extras) = (&arrays, &extras);
            contestants.push(Box::new(move || passes.run(&mut arrays.borrow_mut(), extras)));
        }
        let times = samples(&mut contestants, &effort.part(4));
        let separate = fastest(&times[1..]).expect("a build");
        println!(
            "| {name:<22} | {:>8.1} | {:>8.1} | {:>6.2} |",
            median(&times[0]) / 1e6,
            median(separate) / 1e6,
            ratio(separate, &times[0]),
        );
    }
}

/// Not a power of two, which would be cheaper nowhere, and so that gradients stay what they are for
/// long.
const SCALE: f64 = 0.999;

/// The same things, one pass over all tensors after another.
struct Passes<'a> {
    build: &'a Build,
    adamw: CLoop,
}

impl<'a> Passes<'a> {
    fn new(build: &'a Build) -> Self {
        Self { build, adamw: build.adamw(Adamw::default().weight_decay) }
    }

    fn run(&self, list: &mut [Arrays], extras: &Extras) {
        if extras.grad_scale != 1.0 {
            self.pass(list, "scale", extras.grad_scale as f32);
        }
        if extras.max_norm > 0.0 {
            let sum_of_squares = self.build.sum_of_squares();
            let norm = list.iter().map(|arrays| sum_of_squares(&arrays.g)).sum::<f64>().sqrt();
            // The factor itself would make the gradients vanish, round by round.
            let clip = if extras.max_norm < norm { SCALE } else { 1.0 };
            self.pass(list, "scale", clip as f32);
        }
        list.iter_mut().flat_map(parts).for_each(|mut part| part.call(&self.adamw));
        if extras.zero_grad {
            self.pass(list, "zero", 0.0);
        }
    }

    fn pass(&self, list: &mut [Arrays], name: &str, constant: f32) {
        let pass = self.build.pass(name, constant);
        for Arrays { w, g, .. } in list {
            pass.call(g, w, &mut []);
        }
    }
}
