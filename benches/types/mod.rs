//! Rows about types of fewer bits: Adam against itself with everything in `f32`, and against moving the
//! same bytes.

use std::{
    cell::RefCell,
    time::{Duration, Instant},
};

use downhill::{
    Adam, Adamw, Extras, Gradient, Group, Isa, Optimizer, States, Tensor, Threads, WeightCopy, Weights,
    state_bytes, step_on,
};
use half::{bf16, f16};

use crate::{
    c::{Loops, Moved},
    common::T,
    timing::{Contestant, Effort, cell, fastest, median, placed, ratio, samples},
};

#[derive(Clone, Copy, PartialEq)]
enum Type {
    F32,
    Bf16,
    F16,
    Split,
    Bits8,
}

/// The types of a tensor.
#[derive(Clone, Copy)]
struct Types {
    name: &'static str,
    w: Type,
    g: Type,
    state: Type,
    copy: Option<Type>,
}

const F32: Types = Types { name: "f32", w: Type::F32, g: Type::F32, state: Type::F32, copy: None };

const ROWS: [Types; 9] = [
    F32,
    Types { name: "bf16 g and copy", g: Type::Bf16, copy: Some(Type::Bf16), ..F32 },
    Types { name: "f16 g", g: Type::F16, ..F32 },
    Types { name: "split w, bf16 g", w: Type::Split, g: Type::Bf16, ..F32 },
    Types { name: "bf16 states", state: Type::Bf16, ..F32 },
    Types { name: "8-bit states", state: Type::Bits8, ..F32 },
    Types { name: "bf16 w, g and states", w: Type::Bf16, g: Type::Bf16, state: Type::Bf16, ..F32 },
    Types { name: "bf16 w, g, 8-bit states", w: Type::Bf16, g: Type::Bf16, state: Type::Bits8, ..F32 },
    Types { name: "f16 w, g, bf16 states", w: Type::F16, g: Type::F16, state: Type::Bf16, ..F32 },
];

/// Arrays of one type.
enum Array {
    F32(Vec<f32>),
    Bf16(Vec<bf16>),
    F16(Vec<f16>),
    Split(Vec<bf16>, Vec<i16>),
    Bits8(Vec<u8>),
}

impl Array {
    fn new(of: Type, n: usize, x: f32) -> Self {
        match of {
            Type::F32 => Self::F32(vec![x; n]),
            Type::Bf16 => Self::Bf16(vec![bf16::from_f32(x); n]),
            Type::F16 => Self::F16(vec![f16::from_f32(x); n]),
            Type::Split => Self::Split(vec![bf16::from_f32(x); n], vec![0; n]),
            Type::Bits8 => Self::Bits8(vec![0; n]),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::F32(x) => size_of_val(&x[..]),
            Self::Bf16(x) => size_of_val(&x[..]),
            Self::F16(x) => size_of_val(&x[..]),
            Self::Split(high, low) => size_of_val(&high[..]) + size_of_val(&low[..]),
            Self::Bits8(x) => x.len(),
        }
    }

    fn weights(&mut self) -> Weights<'_> {
        match self {
            Self::F32(x) => x.into(),
            Self::Bf16(x) => x.into(),
            Self::F16(x) => x.into(),
            Self::Split(high, low) => Weights::Split { high, low },
            Self::Bits8(_) => unreachable!("no weights"),
        }
    }

    fn gradient(&self) -> Gradient<'_> {
        match self {
            Self::F32(x) => x.into(),
            Self::Bf16(x) => x.into(),
            Self::F16(x) => x.into(),
            Self::Split(..) | Self::Bits8(_) => unreachable!("no gradient"),
        }
    }

    fn copy(&mut self) -> WeightCopy<'_> {
        match self {
            Self::F32(x) => x.into(),
            Self::Bf16(x) => x.into(),
            Self::F16(x) => x.into(),
            Self::Split(..) | Self::Bits8(_) => unreachable!("no copy"),
        }
    }

    fn read(&self) -> Moved<'_> {
        match self {
            Self::F32(x) => Moved::read(x),
            Self::Bf16(x) => Moved::read(x),
            Self::F16(x) => Moved::read(x),
            Self::Split(..) | Self::Bits8(_) => unreachable!("no gradient"),
        }
    }

    fn written(&mut self) -> Moved<'_> {
        match self {
            Self::F32(x) => Moved::written(x),
            Self::Bf16(x) => Moved::written(x),
            Self::F16(x) => Moved::written(x),
            Self::Split(..) | Self::Bits8(_) => unreachable!("no copy"),
        }
    }

    fn updated(&mut self) -> Vec<Moved<'_>> {
        match self {
            Self::F32(x) => vec![Moved::updated(x)],
            Self::Bf16(x) => vec![Moved::updated(x)],
            Self::F16(x) => vec![Moved::updated(x)],
            Self::Split(high, low) => vec![Moved::updated(high), Moved::updated(low)],
            Self::Bits8(x) => vec![Moved::updated(x)],
        }
    }
}

/// A tensor that owns its arrays. In eight bits all states are one array.
struct Owned {
    n: usize,
    w: Array,
    g: Array,
    state: Vec<Array>,
    copy: Option<Array>,
}

impl Owned {
    fn new(rule: &dyn Optimizer, n: usize, types: Types) -> Self {
        let state = match types.state {
            Type::Bits8 => {
                let bytes = state_bytes(rule, n).expect("a rule that has it");
                vec![Array::new(Type::Bits8, bytes, 0.0)]
            }
            other => rule.states().iter().map(|_| Array::new(other, n, 0.5)).collect(),
        };
        let (w, g) = (Array::new(types.w, n, 0.5), Array::new(types.g, n, 0.01));
        Self { n, w, g, state, copy: types.copy.map(|copy| Array::new(copy, n, 0.0)) }
    }

    fn tensor(&mut self) -> Tensor<'_> {
        let Self { w, g, state, copy, .. } = self;
        let mut tensor = Tensor::new(w.weights(), g.gradient(), states(state));
        if let Some(copy) = copy {
            tensor.copy = copy.copy();
        }
        tensor
    }

    fn step(&mut self, isa: Isa, rule: &dyn Optimizer) {
        let list = &mut [self.tensor()];
        step_on(isa, &mut [Group::new(rule, T, list)], &Extras::default(), Threads::Caller)
            .expect("valid arguments");
    }

    fn stream(&mut self, stream: &impl Fn(usize, &mut [Moved])) {
        let Self { n, w, g, state, copy } = self;
        let mut arrays = w.updated();
        arrays.push(g.read());
        arrays.extend(state.iter_mut().flat_map(Array::updated));
        arrays.extend(copy.as_mut().map(Array::written));
        stream(*n, &mut arrays);
    }

    /// What a step moves.
    fn moved(&self) -> usize {
        let states: usize = self.state.iter().map(Array::bytes).sum();
        self.g.bytes() + 2 * (self.w.bytes() + states) + self.copy.as_ref().map_or(0, Array::bytes)
    }
}

fn states(arrays: &mut [Array]) -> States<'_> {
    match arrays {
        [Array::Bits8(bytes)] => bytes.into(),
        [Array::Bf16(m), Array::Bf16(v)] => [m, v].into(),
        [Array::F32(m), Array::F32(v)] => [m, v].into(),
        _ => unreachable!("the rules here have two states"),
    }
}

/// Ratios above 1 mean that the step is faster.
pub fn print_types(effort: &Effort, isas: &[Isa]) {
    println!(
        "\nAdam with other types, against Adam with everything in f32, and against moving the same bytes\n"
    );
    println!(
        "| {:<24} | {:>9} | {:<7} | {:>10} | {:>13} | {:>6} | {:>9} |",
        "types", "elements", "ISA", "ns/element", "bytes/element", "vs f32", "vs stream"
    );
    println!("|---|--:|---|--:|--:|--:|--:|");
    for n in [1 << 14, 1 << 24] {
        for &isa in isas {
            let loops = Loops::build_for(isa).ok();
            for types in ROWS {
                print_row(types, n, isa, loops.as_ref(), effort);
            }
        }
    }
}

fn print_row(types: Types, n: usize, isa: Isa, loops: Option<&Loops>, effort: &Effort) {
    let rule = Adam::default();
    let times = placed(&if n < 1 << 20 { *effort } else { effort.part(4) }, |_, effort| {
        let mut plain = Owned::new(&rule, n, F32);
        let owned = RefCell::new(Owned::new(&rule, n, types));
        let mut contestants: Vec<Contestant> =
            vec![Box::new(|| plain.step(isa, &rule)), Box::new(|| owned.borrow_mut().step(isa, &rule))];
        for build in loops.map_or(&[][..], |loops| &loops.builds) {
            let (owned, stream) = (&owned, build.stream_bytes());
            contestants.push(Box::new(move || owned.borrow_mut().stream(&stream)));
        }
        samples(&mut contestants, effort)
    });
    println!(
        "| {:<24} | {n:>9} | {:<7} | {:>10.3} | {:>13.2} | {:>6.2} | {:>9} |",
        types.name,
        isa.name(),
        median(&times[1]) / n as f64,
        Owned::new(&rule, 1 << 10, types).moved() as f64 / f64::from(1 << 10),
        ratio(&times[0], &times[1]),
        cell(fastest(&times[2..]).map(|stream| ratio(stream, &times[1]))),
    );
}

/// A step of AdamW on bfloat16 weights of 1e-40, or of 1e-3, that have no gradient.
pub fn on_bf16_weights(n: usize, isa: Isa) -> impl FnMut(bool) -> Duration {
    let rule = Adamw::default();
    let (g, mut w) = (vec![bf16::ZERO; n], vec![bf16::ZERO; n]);
    let (mut m, mut v) = (vec![bf16::ZERO; n], vec![bf16::ZERO; n]);
    move |subnormal| {
        w.fill(bf16::from_f32(if subnormal { 1e-40 } else { 1e-3 }));
        m.fill(bf16::ZERO);
        v.fill(bf16::ZERO);
        let list = &mut [Tensor::new(&mut w, &g, [&mut m, &mut v])];
        let start = Instant::now();
        step_on(isa, &mut [Group::new(&rule, T, list)], &Extras::default(), Threads::Caller)
            .expect("valid arguments");
        start.elapsed()
    }
}
