//! Tensors that own their arrays, of any types, to be stepped twice and compared bit by bit.

use downhill::{
    Extras, Gradient, Group, Isa, Numbering, Optimizer, Report, Rounding, Rows, StateKind, States,
    Tensor, Threads, WeightCopy, Weights, reference, state_bytes, step_on,
};
use half::{bf16, f16};

use super::{Rule, same, same_report};

/// What weights are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightType {
    F32,
    Bf16,
    F16,
    Split,
}

/// What gradients and copies are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FloatType {
    F32,
    Bf16,
    F16,
}

/// What states are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateType {
    F32,
    Bf16,
    Bits8,
}

/// The types of a tensor.
#[derive(Clone, Copy, Debug)]
pub struct Types {
    pub w: WeightType,
    pub g: FloatType,
    pub state: StateType,
    pub copy: Option<FloatType>,
}

pub const WEIGHTS: [WeightType; 4] =
    [WeightType::F32, WeightType::Bf16, WeightType::F16, WeightType::Split];
pub const FLOATS: [FloatType; 3] = [FloatType::F32, FloatType::Bf16, FloatType::F16];
pub const STATES: [StateType; 3] = [StateType::F32, StateType::Bf16, StateType::Bits8];
pub const COPIES: [Option<FloatType>; 4] =
    [None, Some(FloatType::F32), Some(FloatType::Bf16), Some(FloatType::F16)];

impl Types {
    pub const F32: Self =
        Self { w: WeightType::F32, g: FloatType::F32, state: StateType::F32, copy: None };

    /// Every combination that a rule can have.
    pub fn all(config: &dyn Optimizer) -> Vec<Self> {
        let mut all = Vec::new();
        for w in WEIGHTS {
            for g in FLOATS {
                for state in STATES {
                    for copy in COPIES {
                        all.push(Self { w, g, state, copy });
                    }
                }
            }
        }
        if state_bytes(config, 0).is_err() {
            all.retain(|types| types.state != StateType::Bits8);
        }
        all
    }
}

/// An array of one of the types.
#[derive(Clone, Debug)]
pub enum Floats {
    F32(Vec<f32>),
    Bf16(Vec<bf16>),
    F16(Vec<f16>),
}

impl Floats {
    pub fn new(float: FloatType, values: impl Iterator<Item = f32>) -> Self {
        match float {
            FloatType::F32 => Self::F32(values.collect()),
            FloatType::Bf16 => Self::Bf16(values.map(bf16::from_f32).collect()),
            FloatType::F16 => Self::F16(values.map(f16::from_f32).collect()),
        }
    }

    pub fn wide(&self) -> Vec<f32> {
        match self {
            Self::F32(x) => x.clone(),
            Self::Bf16(x) => x.iter().map(|x| x.to_f32()).collect(),
            Self::F16(x) => x.iter().map(|x| x.to_f32()).collect(),
        }
    }

    pub fn gradient(&self) -> Gradient<'_> {
        match self {
            Self::F32(x) => x.into(),
            Self::Bf16(x) => x.into(),
            Self::F16(x) => x.into(),
        }
    }

    pub fn gradient_mut(&mut self) -> Gradient<'_> {
        match self {
            Self::F32(x) => x.into(),
            Self::Bf16(x) => x.into(),
            Self::F16(x) => x.into(),
        }
    }

    pub fn len(&self) -> usize {
        match self {
            Self::F32(x) => x.len(),
            Self::Bf16(x) => x.len(),
            Self::F16(x) => x.len(),
        }
    }

    /// Cut off, or longer by zeros.
    pub fn resize(&mut self, len: usize) {
        match self {
            Self::F32(x) => x.resize(len, 0.0),
            Self::Bf16(x) => x.resize(len, bf16::ZERO),
            Self::F16(x) => x.resize(len, f16::ZERO),
        }
    }

    fn weights(&mut self) -> Weights<'_> {
        match self {
            Self::F32(x) => x.into(),
            Self::Bf16(x) => x.into(),
            Self::F16(x) => x.into(),
        }
    }

    fn copy(&mut self) -> WeightCopy<'_> {
        match self {
            Self::F32(x) => x.into(),
            Self::Bf16(x) => x.into(),
            Self::F16(x) => x.into(),
        }
    }

    /// The elements from one to another.
    fn part(&self, from: usize, to: usize) -> Self {
        match self {
            Self::F32(x) => Self::F32(x[from..to].to_vec()),
            Self::Bf16(x) => Self::Bf16(x[from..to].to_vec()),
            Self::F16(x) => Self::F16(x[from..to].to_vec()),
        }
    }
}

/// A tensor with its own arrays.
#[derive(Clone, Debug)]
pub struct Owned {
    pub w: Floats,
    /// The lower halves, for split weights.
    pub low: Option<Vec<i16>>,
    /// None: there is no gradient.
    pub g: Option<Floats>,
    pub state: Vec<Floats>,
    /// In place of `state`.
    pub codes: Option<Vec<u8>>,
    pub copy: Option<Floats>,
    pub t: u64,
    pub first_element: u64,
    /// Of a table.
    pub rows: Option<OwnedRows>,
}

/// Rows that are stepped.
#[derive(Clone, Debug)]
pub struct OwnedRows {
    pub row_length: usize,
    pub rows: Vec<i64>,
    pub merge: bool,
    pub row_t: Option<Vec<u64>>,
}

impl OwnedRows {
    pub fn new(row_length: usize, rows: Vec<i64>) -> Self {
        Self { row_length, rows, merge: false, row_t: None }
    }
}

impl Owned {
    /// `n` elements of these types from an endless sequence; states in eight bits are any bytes from it.
    pub fn new(config: &dyn Optimizer, n: usize, types: Types, mut value: impl FnMut() -> f32) -> Self {
        let (w, low) = match types.w {
            WeightType::F32 => (Floats::new(FloatType::F32, (0..n).map(|_| value())), None),
            WeightType::Bf16 => (Floats::new(FloatType::Bf16, (0..n).map(|_| value())), None),
            WeightType::F16 => (Floats::new(FloatType::F16, (0..n).map(|_| value())), None),
            WeightType::Split => {
                let low = (0..n).map(|_| (value() * 40_000.0) as i16).collect();
                (Floats::new(FloatType::Bf16, (0..n).map(|_| value())), Some(low))
            }
        };
        let g = Some(Floats::new(types.g, (0..n).map(|_| value())));
        let float = if types.state == StateType::Bf16 { FloatType::Bf16 } else { FloatType::F32 };
        let states = if types.state == StateType::Bits8 { 0 } else { config.states().len() };
        let state = (0..states).map(|_| Floats::new(float, (0..n).map(|_| value()))).collect();
        let codes = (types.state == StateType::Bits8).then(|| {
            let bytes = state_bytes(config, n).expect("a rule that fits");
            (0..bytes).map(|_| ((value() + 1.0) * 127.0) as u8).collect()
        });
        let copy = types.copy.map(|float| Floats::new(float, (0..n).map(|_| value())));
        Self { w, low, g, state, codes, copy, t: 0, first_element: 0, rows: None }
    }

    /// A table of `count` rows, of which some are stepped.
    pub fn table(
        config: &dyn Optimizer,
        count: usize,
        rows: OwnedRows,
        types: Types,
        mut value: impl FnMut() -> f32,
    ) -> Self {
        let mut table = Self::new(config, count * rows.row_length, types, &mut value);
        if config.states().iter().any(|state| state.kind == StateKind::Row) {
            table.state = vec![Floats::new(FloatType::F32, (0..count).map(|_| value().abs()))];
        }
        let elements = rows.rows.len() * rows.row_length;
        table.g = Some(Floats::new(types.g, (0..elements).map(|_| value())));
        table.rows = Some(rows);
        table
    }

    /// With states of zeros.
    pub fn fresh(mut self) -> Self {
        for state in &mut self.state {
            match state {
                Floats::F32(x) => x.fill(0.0),
                Floats::Bf16(x) => x.fill(bf16::ZERO),
                Floats::F16(x) => x.fill(f16::ZERO),
            }
        }
        self.codes.iter_mut().for_each(|codes| codes.fill(0));
        self
    }

    pub fn len(&self) -> usize {
        self.w.len()
    }

    /// To be passed; the gradient mutable if it is to be set to zero.
    pub fn tensor(&mut self, zero_grad: bool) -> Tensor<'_> {
        let w = match (&mut self.w, &mut self.low) {
            (Floats::Bf16(high), Some(low)) => Weights::Split { high, low },
            (w, _) => w.weights(),
        };
        let g = match &mut self.g {
            None => Gradient::Absent,
            Some(g) => {
                if zero_grad {
                    g.gradient_mut()
                } else {
                    g.gradient()
                }
            }
        };
        let state = match &mut self.codes {
            Some(codes) => States::Bits8(codes),
            None => states(&mut self.state),
        };
        let mut tensor = Tensor::new(w, g, state);
        if let Some(copy) = &mut self.copy {
            tensor.copy = copy.copy();
        }
        tensor.t = self.t;
        tensor.first_element = self.first_element;
        if let Some(owned) = &mut self.rows {
            let mut rows = Rows::new(owned.row_length, &owned.rows);
            rows.merge = owned.merge;
            rows.row_t = owned.row_t.as_deref_mut();
            tensor.rows = Some(rows);
        }
        tensor
    }

    /// A part, from and to multiples of 64 (or the end), numbered as in the whole.
    pub fn part(&self, states: usize, from: usize, to: usize) -> Self {
        let blocks = |n: usize| n.div_ceil(64);
        let codes = self.codes.as_ref().map(|bytes| {
            let all = states * 64 * blocks(self.len());
            let (codes, scales) = bytes.split_at(all);
            let codes = &codes[states * 64 * (from / 64)..states * 64 * blocks(to)];
            [codes, &scales[states * (from / 64)..states * blocks(to)]].concat()
        });
        Self {
            w: self.w.part(from, to),
            low: self.low.as_ref().map(|low| low[from..to].to_vec()),
            g: self.g.as_ref().map(|g| g.part(from, to)),
            state: self.state.iter().map(|state| state.part(from, to)).collect(),
            codes,
            copy: self.copy.as_ref().map(|copy| copy.part(from, to)),
            t: self.t,
            first_element: self.first_element + from as u64,
            rows: None,
        }
    }

    /// All floats, widened.
    pub fn floats(&self) -> impl Iterator<Item = Vec<f32>> {
        let all = [&self.w].into_iter().chain(&self.g).chain(&self.state).chain(&self.copy);
        all.map(Floats::wide)
    }

    /// Where bits differ, if any do. A NaN is like any other.
    pub fn difference(&self, other: &Self) -> Option<String> {
        for (k, (ours, theirs)) in self.floats().zip(other.floats()).enumerate() {
            assert_eq!(ours.len(), theirs.len());
            if let Some(i) = (0..ours.len()).find(|&i| !same(ours[i], theirs[i])) {
                return Some(format!("array {k}, element {i}: {:e}, not {:e}", ours[i], theirs[i]));
            }
        }
        // Below a NaN the lower halves are part of its payload.
        if let (Some(ours), Some(theirs)) = (&self.low, &other.low)
            && let Some(i) = (0..ours.len()).find(|&i| ours[i] != theirs[i])
        {
            return Some(format!("lower half {i}: {}, not {}", ours[i], theirs[i]));
        }
        if let (Some(ours), Some(theirs)) = (&self.codes, &other.codes)
            && let Some(i) = (0..ours.len()).find(|&i| ours[i] != theirs[i])
        {
            return Some(format!("byte {i} of the codes: {:#x}, not {:#x}", ours[i], theirs[i]));
        }
        let row_t = |table: &Self| table.rows.as_ref().and_then(|rows| rows.row_t.clone());
        if row_t(self) != row_t(other) {
            return Some(format!("`row_t` {:?}, not {:?}", row_t(self), row_t(other)));
        }
        None
    }
}

/// Arrays of states, all of one type.
fn states(arrays: &mut [Floats]) -> States<'_> {
    if let Some(Floats::Bf16(_)) = arrays.first() {
        let array = |floats| match floats {
            &mut Floats::Bf16(ref mut x) => &mut x[..],
            _ => unreachable!("all have one type"),
        };
        return arrays.iter_mut().map(array).collect();
    }
    let array = |floats| match floats {
        &mut Floats::F32(ref mut x) => &mut x[..],
        _ => unreachable!("all have one type"),
    };
    arrays.iter_mut().map(array).collect()
}

/// A group that owns all that it has.
#[derive(Debug)]
pub struct OwnedGroup {
    pub config: Rule,
    pub t: u64,
    pub rounding: Rounding,
    pub numbering: Numbering,
    /// From where to where weights are kept.
    pub clamp: [f64; 2],
    pub tensors: Vec<Owned>,
}

/// No bounds.
pub const UNBOUNDED: [f64; 2] = [f64::NEG_INFINITY, f64::INFINITY];

/// Calls `f` with these groups, the tensors of which are `tensors`.
pub fn with_groups<T>(
    groups: &[OwnedGroup],
    tensors: &mut [Vec<Owned>],
    zero_grad: bool,
    f: impl FnOnce(&mut [Group<'_, '_>]) -> T,
) -> T {
    let mut lists: Vec<Vec<Tensor<'_>>> = tensors
        .iter_mut()
        .map(|list| list.iter_mut().map(|tensor| tensor.tensor(zero_grad)).collect())
        .collect();
    let mut groups: Vec<Group<'_, '_>> = groups
        .iter()
        .zip(&mut lists)
        .map(|(group, list)| {
            let mut made = Group::new(&*group.config, group.t, list);
            (made.rounding, made.numbering) = (group.rounding, group.numbering);
            [made.clamp_low, made.clamp_high] = group.clamp;
            made
        })
        .collect();
    f(&mut groups)
}

/// A group with random rounding, numbered by place, without bounds.
pub fn one(config: Rule, t: u64, tensors: Vec<Owned>) -> OwnedGroup {
    let (rounding, numbering, clamp) = (Rounding::default(), Numbering::ByPlace, UNBOUNDED);
    OwnedGroup { config, t, rounding, numbering, clamp, tensors }
}

/// The tensors of the groups after a whole step by the kernels of an ISA or by the reference, and its
/// report.
pub fn stepped(
    groups: &[OwnedGroup],
    isa: Option<Isa>,
    extras: &Extras,
    threads: Threads<'_>,
) -> (Vec<Vec<Owned>>, Report) {
    let mut tensors: Vec<_> = groups.iter().map(|group| group.tensors.clone()).collect();
    let report = with_groups(groups, &mut tensors, extras.zero_grad, |groups| match isa {
        Some(isa) => step_on(isa, groups, extras, threads),
        None => reference::step(groups, extras),
    });
    (tensors, report.unwrap())
}

/// Fails if two lists of tensors, those of the same groups, differ in a bit.
#[track_caller]
pub fn assert_same(groups: &[OwnedGroup], ours: &[Vec<Owned>], theirs: &[Vec<Owned>], what: &str) {
    for (group, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
        assert_eq!(ours.len(), theirs.len());
        for (index, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
            if let Some(difference) = ours.difference(theirs) {
                let config = &groups[group].config;
                panic!("{what}: group {group} ({config:?}), tensor {index}: {difference}");
            }
        }
    }
}

/// A whole step must have the reference's bits and report, on every instruction set.
#[track_caller]
pub fn check(groups: &[OwnedGroup], extras: &Extras, threads: Threads<'_>) {
    let (expected, expected_report) = stepped(groups, None, extras, Threads::Caller);
    for isa in Isa::available() {
        let (tensors, report) = stepped(groups, Some(isa), extras, threads);
        assert_same(groups, &tensors, &expected, isa.name());
        assert!(same_report(&report, &expected_report), "{isa}: {report:?}, not {expected_report:?}");
    }
}
