//! Rows about packed states: Adam against itself with states of `f32`, and against streaming the bytes of that.

use std::{
    cell::RefCell,
    time::{Duration, Instant},
};

use downhill::{
    Adam, Adamw, Extras, Isa, PackedTensor, Packing, Pool, StateFormat, Threads, optimizer,
    packed_optimizer,
};

use crate::{
    Effort,
    c::Loops,
    common::T,
    enough, fastest, median, ratio,
    whole::{allocate, any_tensors, gpt2, in_parts, shape, tensors},
};

/// The arrays of one tensor.
struct Packed<E> {
    w: Vec<E>,
    g: Vec<E>,
    state: Vec<u8>,
    first_element: u64,
}

fn packed<E: Copy>(lengths: &[usize], format: StateFormat, [w, g]: [E; 2]) -> Vec<Packed<E>> {
    let mut elements = 0;
    let arrays = |&n: &usize| {
        let first_element = elements;
        elements += n.next_multiple_of(64) as u64;
        let state = vec![0; format.bytes(2, n).expect("as many as there is memory for")];
        Packed { w: vec![w; n], g: vec![g; n], state, first_element }
    };
    lengths.iter().map(arrays).collect()
}

impl<E> Packed<E> {
    fn tensor(&mut self) -> PackedTensor<'_, E> {
        let Self { w, g, state, first_element } = self;
        PackedTensor { w, g, state, first_element: *first_element }
    }
}

/// Something that takes its turn.
type Contestant<'a> = Box<dyn FnMut() + 'a>;

/// A step with states of this format, on weights of `f32` or of bfloat16.
fn contestant<'a>(
    lengths: &[usize],
    format: StateFormat,
    bf16: bool,
    isa: Isa,
    threads: Threads<'a>,
) -> Contestant<'a> {
    let rule = packed_optimizer(Adam::default());
    let packing = Packing { format, ..Packing::default() };
    let extras = Extras::default();
    if bf16 {
        // 0.5 and 0.01
        let mut arrays = packed(lengths, format, [0x3f00_u16, 0x3c24]);
        Box::new(move || {
            let mut list: Vec<_> = arrays.iter_mut().map(Packed::tensor).collect();
            rule.step_bf16_on(isa, &mut list, T, &packing, &extras, threads).expect("valid arguments");
        })
    } else {
        let mut arrays = packed(lengths, format, [0.5_f32, 0.01]);
        Box::new(move || {
            let mut list: Vec<_> = arrays.iter_mut().map(Packed::tensor).collect();
            rule.step_on(isa, &mut list, T, &packing, &extras, threads).expect("valid arguments");
        })
    }
}

const FORMATS: [(&str, StateFormat, bool); 4] = [
    ("f32, state of 8 bits", StateFormat::Bits8, false),
    ("f32, state of bf16", StateFormat::Bf16, false),
    ("bf16, state of 8 bits", StateFormat::Bits8, true),
    ("bf16, state of bf16", StateFormat::Bf16, true),
];

/// Ratios above 1 mean that the packed step is faster. What takes long is left out if it is to be quick.
pub fn print_packed(loops: Option<&Loops>, effort: &Effort, quick: bool) {
    println!(
        "\nAdam with packed states, against Adam with states of f32, and against streaming the 28 bytes of that\n"
    );
    println!(
        "| {:<24} | {:>9} | {:>7} | {:<7} | {:>11} | {:>13} | {:>10} | {:>6} | {:>9} |",
        "w, g and state",
        "elements",
        "threads",
        "ISA",
        "state bytes",
        "bytes moved",
        "ns/element",
        "vs f32",
        "vs stream"
    );
    println!("|---|--:|--:|---|--:|--:|--:|--:|--:|");
    let pool = Pool::new(2);
    let lists = [vec![1 << 14], vec![1 << 24], gpt2()];
    for lengths in &lists[..if quick { 2 } else { 3 }] {
        let counts = if *lengths == [1 << 14] { 1..=1 } else { 1..=2 };
        for count in counts {
            let threads = if count == 1 { Threads::Caller } else { Threads::Pool(&pool) };
            for isa in Isa::available().into_iter().skip(1).rev().take(if quick { 1 } else { 2 }) {
                print_rows(lengths, (count, threads), isa, loops, effort);
            }
        }
    }
}

fn print_rows(
    lengths: &[usize],
    (count, threads): (usize, Threads<'_>),
    isa: Isa,
    loops: Option<&Loops>,
    effort: &Effort,
) {
    let rule = optimizer(Adam::default());
    let mut arrays = allocate(&*rule, lengths);
    let mut streamed = allocate(&*rule, lengths);
    let elements: usize = lengths.iter().sum();
    let mut list = any_tensors(&mut arrays);
    let streams = loops.map_or(Vec::new(), |loops| loops.stream(2));
    let streamed = RefCell::new(tensors::<2>(&mut streamed));
    let mut contestants: Vec<Contestant> = vec![Box::new(|| {
        rule.step_many_on(isa, &mut list, T, &Extras::default(), threads).expect("valid arguments");
    })];
    contestants.extend(FORMATS.map(|(_, format, bf16)| contestant(lengths, format, bf16, isa, threads)));
    contestants.extend(streams.iter().map(|stream| {
        let list = &streamed;
        Box::new(move || {
            in_parts(&mut list.borrow_mut(), count, &|tensor| {
                stream.call(tensor.w, tensor.g, &mut tensor.state)
            });
        }) as Contestant
    }));
    let samples = samples(&mut contestants, effort);
    let stream = fastest(&samples[1 + FORMATS.len()..]);
    for ((name, format, bf16), times) in FORMATS.iter().zip(&samples[1..]) {
        let state = format.bytes(2, 64).expect("little") as f64 / 64.0;
        let moved = 2.0 * state + if *bf16 { 6.0 } else { 12.0 };
        println!(
            "| {name:<24} | {:>9} | {count:>7} | {:<7} | {state:>11.2} | {moved:>13.2} | {:>10.3} | {:>6.2} | {:>9} |",
            if lengths.len() == 1 { shape(lengths) } else { "GPT-2".to_owned() },
            isa.name(),
            median(times) / elements as f64,
            ratio(&samples[0], times),
            stream.map_or("-".to_owned(), |stream| format!("{:.2}", ratio(stream, times))),
        );
    }
}

/// A step of AdamW on bfloat16 weights of 1e-40, or of 1e-3, that have no gradient.
pub fn on_bf16_weights(n: usize, isa: Isa) -> impl FnMut(bool) -> Duration {
    let rule = packed_optimizer(Adamw::default());
    let packing = Packing { format: StateFormat::Bf16, ..Packing::default() };
    let mut arrays = packed(&[n], packing.format, [0_u16; 2]);
    move |subnormal| {
        arrays[0].w.fill(if subnormal { 1 } else { 0x3a83 });
        arrays[0].state.fill(0);
        let mut list: Vec<_> = arrays.iter_mut().map(Packed::tensor).collect();
        let start = Instant::now();
        rule.step_bf16_on(isa, &mut list, T, &packing, &Extras::default(), Threads::Caller)
            .expect("valid arguments");
        start.elapsed()
    }
}

/// Nanoseconds a call, by contestant and round.
fn samples(contestants: &mut [Contestant], effort: &Effort) -> Vec<Vec<f64>> {
    let time = |contestant: &mut Contestant, calls: u32| {
        let start = Instant::now();
        (0..calls).for_each(|_| contestant());
        start.elapsed()
    };
    let calls: Vec<u32> = contestants
        .iter_mut()
        .map(|contestant| enough(effort.block, |calls| time(contestant, calls)))
        .collect();
    let mut samples = vec![Vec::new(); contestants.len()];
    for round in 0..effort.rounds.div_ceil(2) {
        for turn in 0..contestants.len() {
            let i = (round + turn) % contestants.len();
            samples[i].push(time(&mut contestants[i], calls[i]).as_nanos() as f64 / f64::from(calls[i]));
        }
    }
    samples
}
