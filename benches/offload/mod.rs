//! The optimizer's step of a model that runs elsewhere, in bfloat16: its gradients come in, the new
//! weights go out. One call against a plain C loop for each thing, and against moving the same bytes.

use std::cell::RefCell;

use downhill::{Adamw, Extras, Group, Isa, Pool, Tensor, Threads, step_on};
use half::bf16;

use crate::{
    c::{Build, CLoop, Loops, Moved},
    common::T,
    timing::{Contestant, Effort, cell, fastest, median, ratio, samples},
    whole::{MOST, by_threads, gpt2, is_matrix, layers},
};

/// The arrays of a tensor. `wide` is for the C loops alone: the gradient as they need it.
struct Arrays {
    w: Vec<f32>,
    g: Vec<bf16>,
    m: Vec<f32>,
    v: Vec<f32>,
    copy: Vec<bf16>,
    wide: Vec<f32>,
}

/// What a thread works on at a time in C.
struct Part<'a> {
    is_matrix: bool,
    w: &'a mut [f32],
    g: &'a [bf16],
    m: &'a mut [f32],
    v: &'a mut [f32],
    copy: &'a mut [bf16],
    wide: &'a mut [f32],
}

fn allocate(lengths: &[usize]) -> Vec<Arrays> {
    let arrays = |&n| Arrays {
        w: vec![0.5; n],
        g: vec![bf16::from_f32(10.0); n],
        m: vec![0.5; n],
        v: vec![0.5; n],
        copy: vec![bf16::ZERO; n],
        wide: vec![0.0; n],
    };
    lengths.iter().map(arrays).collect()
}

fn parts(arrays: &mut Arrays) -> impl Iterator<Item = Part<'_>> {
    let Arrays { w, g, m, v, copy, wide } = arrays;
    let is_matrix = is_matrix(w.len());
    let weights = w.chunks_mut(MOST).zip(g.chunks(MOST));
    let states = m.chunks_mut(MOST).zip(v.chunks_mut(MOST));
    let others = copy.chunks_mut(MOST).zip(wide.chunks_mut(MOST));
    weights.zip(states).zip(others).map(move |(((w, g), (m, v)), (copy, wide))| Part {
        is_matrix,
        w,
        g,
        m,
        v,
        copy,
        wide,
    })
}

fn tensor(arrays: &mut Arrays) -> Tensor<'_> {
    let Arrays { w, g, m, v, copy, .. } = arrays;
    let mut tensor = Tensor::new(w, &*g, [m, v]);
    tensor.copy = copy.into();
    tensor
}

/// No decay of biases and normalizations.
fn ours(isa: Isa, list: &mut [Arrays], extras: &Extras, threads: Threads<'_>) {
    let decayed = Adamw { weight_decay: DECAY, ..Adamw::default() };
    let not_decayed = Adamw { weight_decay: 0.0, ..decayed };
    let (matrices, others): (Vec<_>, Vec<_>) =
        list.iter_mut().partition(|arrays| is_matrix(arrays.w.len()));
    let mut matrices: Vec<_> = matrices.into_iter().map(tensor).collect();
    let mut others: Vec<_> = others.into_iter().map(tensor).collect();
    let mut groups = [Group::new(&decayed, T, &mut matrices), Group::new(&not_decayed, T, &mut others)];
    step_on(isa, &mut groups, extras, threads).expect("valid arguments");
}

const DECAY: f64 = 0.1;

/// What a loss was multiplied by is undone.
const SCALE: f64 = 1.0 / 1000.0;

/// Unscale, update, round, one pass over all tensors after another; and in front of them the norm, if
/// clipping needs it.
#[allow(clippy::type_complexity, reason = "the arguments of one function each")]
struct Passes {
    unscale: Box<dyn Fn(&mut [f32], &[bf16], f32) + Sync>,
    norm: Box<dyn Fn(&[bf16]) -> f64 + Sync>,
    decayed: CLoop,
    not_decayed: CLoop,
    cast: Box<dyn Fn(&mut [bf16], &[f32]) + Sync>,
}

impl Passes {
    fn new(build: &Build) -> Self {
        Self {
            unscale: Box::new(build.unscale()),
            norm: Box::new(build.sum_of_squares_bf16()),
            decayed: build.adamw(DECAY),
            not_decayed: build.adamw(0.0),
            cast: Box::new(build.cast()),
        }
    }

    fn run(&self, list: &mut [Arrays], extras: &Extras, threads: usize) {
        let mut parts: Vec<_> = list.iter_mut().flat_map(parts).map(|part| (part, 0.0)).collect();
        let mut pass = |f: &(dyn Fn(&mut Part<'_>) -> f64 + Sync)| -> f64 {
            let len = |(part, _): &(Part<'_>, f64)| part.w.len();
            by_threads(&mut parts, threads, len, &|(part, result)| *result = f(part));
            parts.iter().map(|(_, result)| result).sum()
        };
        let mut scale = extras.grad_scale;
        if extras.max_norm > 0.0 {
            let norm = pass(&|part| (self.norm)(part.g)).sqrt() * scale;
            scale *= (extras.max_norm / (norm + 1e-6)).min(1.0);
        }
        pass(&|part| {
            (self.unscale)(part.wide, part.g, scale as f32);
            0.0
        });
        pass(&|Part { is_matrix, w, m, v, wide, .. }| {
            let adamw = if *is_matrix { &self.decayed } else { &self.not_decayed };
            adamw.call(w, wide, &mut [m, v]);
            0.0
        });
        pass(&|part| {
            (self.cast)(part.copy, part.w);
            0.0
        });
    }
}

/// Moves the bytes of the step: in one loop, or 2 KiB of each array in turn, which is what suits memory
/// best.
fn streams<'a>(
    build: &Build,
    list: &'a RefCell<Vec<Arrays>>,
    is_clipped: bool,
    threads: usize,
) -> [Contestant<'a>; 2] {
    let (at_once, in_turn) = (build.stream_offload(), build.stream_bytes());
    // The norm reads all gradients before.
    let look = build.stream_bytes();
    let stream = move |f: &(dyn Fn(&mut Part<'_>) + Sync)| {
        let mut list = list.borrow_mut();
        let mut parts: Vec<_> = list.iter_mut().flat_map(parts).collect();
        if is_clipped {
            by_threads(&mut parts, threads, |part| part.w.len(), &|part| {
                look(part.g.len(), &mut [Moved::read(part.g)]);
            });
        }
        by_threads(&mut parts, threads, |part| part.w.len(), &|part| f(part));
    };
    let stream = std::rc::Rc::new(stream);
    let same = stream.clone();
    [
        Box::new(move || stream(&|Part { w, g, m, v, copy, .. }| at_once(w, g, [m, v], copy))),
        Box::new(move || {
            same(&|Part { w, g, m, v, copy, .. }| {
                let n = w.len();
                let arrays = &mut [
                    Moved::updated(w),
                    Moved::read(g),
                    Moved::updated(m),
                    Moved::updated(v),
                    Moved::written(copy),
                ];
                in_turn(n, arrays);
            })
        }),
    ]
}

/// Ratios above 1 mean that the step is faster. With `quick` of two blocks only.
pub fn print_offload(effort: &Effort, isas: &[Isa], quick: bool) {
    let lengths = if quick { layers(2) } else { gpt2(12) };
    let elements: usize = lengths.iter().sum();
    println!(
        "\nAdamW of {} tensors, {elements} elements, in two groups: bfloat16 gradients in, a bfloat16 copy out. One call \
         against a plain C loop for each thing, and against moving the same bytes, in one loop or some of each array in turn\n",
        lengths.len()
    );
    println!(
        "| {:<16} | {:<7} | {:>7} | {:>8} | {:>10} | {:>8} | {:>9} | {:>9} | {:>9} |",
        "what", "ISA", "threads", "ours, ms", "ns/element", "C, ms", "vs passes", "vs loop", "vs turns"
    );
    println!("|---|---|--:|--:|--:|--:|--:|--:|--:|");
    let list = RefCell::new(allocate(&lengths));
    let pool = Pool::new(2);
    for &isa in isas {
        let loops = Loops::build_for(isa).ok();
        for (count, threads) in [(1, Threads::Caller), (2, Threads::Pool(&pool))] {
            for (what, max_norm) in [("unscale", 0.0), ("unscale and clip", 1.0)] {
                let extras = Extras { grad_scale: SCALE, max_norm, ..Extras::default() };
                let builds = loops.as_ref().map_or(&[][..], |loops| &loops.builds);
                let passes: Vec<_> = builds.iter().map(Passes::new).collect();
                let mut contestants: Vec<Contestant> =
                    vec![Box::new(|| ours(isa, &mut list.borrow_mut(), &extras, threads))];
                for passes in &passes {
                    let (list, extras) = (&list, &extras);
                    contestants
                        .push(Box::new(move || passes.run(&mut list.borrow_mut(), extras, count)));
                }
                for build in builds {
                    contestants.extend(streams(build, &list, max_norm > 0.0, count));
                }
                let times = samples(&mut contestants, &effort.part(4));
                let ns = median(&times[0]);
                let plain = fastest(&times[1..1 + passes.len()]);
                let streams = &times[1 + passes.len()..];
                let of_kind =
                    |kind| -> Vec<_> { streams.iter().skip(kind).step_by(2).cloned().collect() };
                let stream = |kind| fastest(&of_kind(kind)).map(|stream| ratio(stream, &times[0]));
                println!(
                    "| {what:<16} | {:<7} | {count:>7} | {:>8.2} | {:>10.3} | {:>8} | {:>9} | {:>9} | {:>9} |",
                    isa.name(),
                    ns / 1e6,
                    ns / elements as f64,
                    cell(plain.map(|plain| median(plain) / 1e6)),
                    cell(plain.map(|plain| ratio(plain, &times[0]))),
                    cell(stream(0)),
                    cell(stream(1)),
                );
            }
        }
    }
}
