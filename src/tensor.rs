//! The arrays of a whole step: tensors, their element types, and groups of them that share a
//! configuration.

use std::ops::Range;

use half::{bf16, f16};

use crate::{Numbering, Optimizer, Rounding, Rows, Values, formats::Bits8, optimizer::Around};

/// The most states that a rule has.
pub(crate) const MOST_STATES: usize = 4;

/// Weights, updated.
#[derive(Debug)]
#[non_exhaustive]
pub enum Weights<'a> {
    /// As they are in every plain step.
    F32(&'a mut [f32]),
    /// Rounded after the step, as [`Group::rounding`] says.
    Bf16(&'a mut [bf16]),
    /// The same.
    F16(&'a mut [f16]),
    /// `f32` in two halves: the nearest bfloat16 (ties away from zero), on which a model can run, and
    /// what is left of it. Nothing is lost: with `x` the bits of the `f32`, `high` is
    /// `(x + 0x8000) >> 16`, `low` is `x & 0xffff`, and `x` is `(high << 16) + low`, where `low` counts
    /// as signed. Of a NaN `high` has the upper half with the quiet bit set, and `low` is 0.
    Split {
        /// The bfloat16s.
        high: &'a mut [bf16],
        /// As many lower halves.
        low: &'a mut [i16],
    },
    /// How many there are of a tensor without a gradient, whose weights nobody looks at.
    #[doc(hidden)]
    Absent(usize),
}

/// A gradient. The `Mut` ones can be set to zero ([`Extras::zero_grad`](crate::Extras::zero_grad));
/// nothing else writes to a gradient.
#[derive(Debug)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the types say it")]
pub enum Gradient<'a> {
    /// There is none: the tensor is left alone. Nothing is decayed or copied either.
    Absent,
    F32(&'a [f32]),
    Bf16(&'a [bf16]),
    F16(&'a [f16]),
    F32Mut(&'a mut [f32]),
    Bf16Mut(&'a mut [bf16]),
    F16Mut(&'a mut [f16]),
}

/// The states of a rule, updated, in the order of [`Optimizer::states`]; zeros before the first step.
#[derive(Debug)]
#[non_exhaustive]
pub enum States<'a> {
    /// As they are in every plain step.
    F32(Arrays<'a, f32>),
    /// Rounded after the step, as [`Group::rounding`] says.
    Bf16(Arrays<'a, bf16>),
    /// All of them in [`state_bytes`](crate::state_bytes) bytes: codes of eight bits.
    Bits8(&'a mut [u8]),
    /// Those of what is between two blocks of a tensor.
    #[doc(hidden)]
    PartOfBits8(Bits8<'a>),
}

/// One array for each state.
///
/// Made from an array of slices, or by `collect`, where their number is known only at run time:
///
/// ```
/// use downhill::{Arrays, States};
///
/// let mut state = vec![vec![0.0_f32; 6]; 2]; // m and v
/// let arrays: Arrays<'_, f32> = state.iter_mut().map(|array| &mut array[..]).collect();
/// let states = States::F32(arrays);
/// ```
#[derive(Debug)]
pub struct Arrays<'a, E> {
    /// How many were passed. Those beyond [`MOST_STATES`] are dropped, and the checks refuse them.
    count: usize,
    arrays: [&'a mut [E]; MOST_STATES],
}

/// Where the new weights also go: as they are stored, rounded to the nearest number of this type, ties to
/// even.
#[derive(Debug, Default)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the types say it")]
pub enum WeightCopy<'a> {
    /// Nowhere.
    #[default]
    Absent,
    F32(&'a mut [f32]),
    Bf16(&'a mut [bf16]),
    F16(&'a mut [f16]),
}

/// The arrays of one tensor, all with as many elements as the weights.
///
/// Types can be mixed in any way: the step is that of `f32` numbers, to which everything is widened,
/// exactly, and the results are rounded to their types.
///
/// ```
/// use downhill::{Tensor, WeightCopy};
/// use half::bf16;
///
/// let (mut w, g) = ([1.0; 8], [bf16::ONE; 8]);
/// let (mut m, mut v, mut model) = ([0.0; 8], [0.0; 8], [bf16::ZERO; 8]);
/// let mut tensor = Tensor::new(&mut w, &g, [&mut m, &mut v]);
/// tensor.copy = WeightCopy::Bf16(&mut model);
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Tensor<'a> {
    /// Weights, updated.
    pub w: Weights<'a>,
    /// Gradient.
    pub g: Gradient<'a>,
    /// States, updated.
    pub state: States<'a>,
    /// Where the new weights also go. Absent from [`Tensor::new`].
    pub copy: WeightCopy<'a>,
    /// The number of this step for this tensor alone, for one that joined late or was frozen; 0, as from
    /// [`Tensor::new`], for the group's.
    pub t: u64,
    /// With [`Numbering::Given`] the number of the first element in the whole model, a multiple of 64,
    /// which random rounding depends on; else 0, as from [`Tensor::new`].
    pub first_element: u64,
    /// The rows that the gradient has, where the weights are a table; `None`, as from [`Tensor::new`],
    /// where it has all elements.
    pub rows: Option<Rows<'a>>,
}

/// Tensors that share a rule and its hyper-parameters.
#[derive(Debug)]
#[non_exhaustive]
pub struct Group<'a, 'b> {
    /// The rule.
    pub config: &'a dyn Optimizer,
    /// The number of this step. It counts from 1 for every rule.
    pub t: u64,
    /// How weights and states of less than 32 bits are rounded. Default random with seed 0, from
    /// [`Group::new`].
    pub rounding: Rounding,
    /// How the elements are numbered for that. Default by place, from [`Group::new`].
    pub numbering: Numbering,
    /// The least that a weight may be after the update: a new one that is less becomes this, before it is
    /// rounded to its type (which can go beyond, to a neighbour) or copied. A NaN stays one. Finite in
    /// `f32`, or minus infinity, the default: no bound. A plain step has no bounds; the same step of a
    /// group of one tensor has.
    pub clamp_low: f64,
    /// The most that it may be, at least `clamp_low`, and finite in `f32` or infinite. Default infinity.
    pub clamp_high: f64,
    pub(crate) tensors: Tensors<'a, 'b>,
}

/// Where the tensors of a group come from.
pub(crate) enum Tensors<'a, 'b> {
    Slice(&'a mut [Tensor<'b>]),
    Foreign(&'a mut dyn Foreign),
}

/// Tensors that are made one by one of what another language passed.
pub trait Foreign: Send {
    /// How many.
    fn count(&self) -> usize;

    /// Calls `f` for each, in order. They may all be kept.
    fn each<'a>(&'a mut self, f: &mut dyn FnMut(Tensor<'a>));

    /// The same where none is kept.
    fn each_mut(&mut self, f: &mut dyn FnMut(&mut Tensor<'_>));
}

impl<'a, 'b> Group<'a, 'b> {
    /// A group whose elements are numbered by place and rounded at random with seed 0.
    pub fn new(config: &'a dyn Optimizer, t: u64, tensors: &'a mut [Tensor<'b>]) -> Self {
        Self::of(config, t, Tensors::Slice(tensors))
    }

    /// The same for tensors from elsewhere.
    #[doc(hidden)]
    pub fn foreign(config: &'a dyn Optimizer, t: u64, tensors: &'a mut dyn Foreign) -> Self {
        Self::of(config, t, Tensors::Foreign(tensors))
    }

    fn of(config: &'a dyn Optimizer, t: u64, tensors: Tensors<'a, 'b>) -> Self {
        let (rounding, numbering) = (Rounding::default(), Numbering::default());
        let (clamp_low, clamp_high) = (f64::NEG_INFINITY, f64::INFINITY);
        Self { config, t, rounding, numbering, clamp_low, clamp_high, tensors }
    }

    /// What a step does around the rule's formula, if gradients are multiplied by `scale`.
    pub(crate) fn around(&self, scale: f32) -> Around {
        let (low, high) = (self.clamp_low, self.clamp_high);
        let is_clamped = low > f64::NEG_INFINITY || high < f64::INFINITY;
        Around { scale, clamp: is_clamped.then_some([low as f32, high as f32]) }
    }
}

impl Tensors<'_, '_> {
    pub fn len(&self) -> usize {
        match self {
            Self::Slice(tensors) => tensors.len(),
            Self::Foreign(tensors) => tensors.count(),
        }
    }

    /// Calls `f` for each, in order. Nothing is moved: to copy a tensor takes as long as to step a small
    /// one.
    #[inline]
    pub fn each_mut(&mut self, mut f: impl FnMut(&mut Tensor<'_>)) {
        match self {
            Self::Slice(tensors) => tensors.iter_mut().for_each(f),
            Self::Foreign(tensors) => tensors.each_mut(&mut f),
        }
    }

    /// Calls `f` with the gradient of each, in order: an empty one where there is none.
    pub fn each_gradient<'c>(&'c mut self, f: &mut dyn FnMut(Shared<'c>)) {
        match self {
            Self::Slice(tensors) => tensors.iter().for_each(|tensor| f(tensor.g.as_shared())),
            Self::Foreign(tensors) => tensors.each(&mut |tensor| f(tensor.g.shared())),
        }
    }

    /// Calls `f` for each, in order. They may all be kept.
    #[inline]
    pub fn each<'c>(&'c mut self, f: &mut dyn FnMut(Tensor<'c>)) {
        match self {
            Self::Slice(tensors) => tensors.iter_mut().for_each(|tensor| f(tensor.reborrow())),
            Self::Foreign(tensors) => tensors.each(f),
        }
    }
}

impl std::fmt::Debug for Tensors<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Slice(tensors) => tensors.fmt(f),
            Self::Foreign(tensors) => write!(f, "{} tensors", tensors.count()),
        }
    }
}

impl<'a> Tensor<'a> {
    /// A tensor without a copy, whose step has the group's number.
    pub fn new(
        w: impl Into<Weights<'a>>,
        g: impl Into<Gradient<'a>>,
        state: impl Into<States<'a>>,
    ) -> Self {
        let (w, g, state) = (w.into(), g.into(), state.into());
        Self { w, g, state, copy: WeightCopy::Absent, t: 0, first_element: 0, rows: None }
    }

    #[inline]
    pub(crate) fn reborrow(&mut self) -> Tensor<'_> {
        let Self { w, g, state, copy, t, first_element, rows } = self;
        Tensor {
            w: w.reborrow(),
            g: g.reborrow(),
            state: state.reborrow(),
            copy: copy.reborrow(),
            t: *t,
            first_element: *first_element,
            rows: rows.as_mut().map(Rows::reborrow),
        }
    }

    /// Before an element and from it on, of a tensor without rows that has `states` states.
    pub(crate) fn split_at(self, i: usize, states: usize) -> (Self, Self) {
        let Self { w, g, state, copy, t, first_element, .. } = self;
        let (w, w_rest) = w.split_at(i);
        let (g, g_rest) = g.split_at(i);
        let (state, state_rest) = state.split_at(i, states);
        let (copy, copy_rest) = copy.split_at(i);
        let part = |w, g, state, copy| Self { w, g, state, copy, t, first_element, rows: None };
        (part(w, g, state, copy), part(w_rest, g_rest, state_rest, copy_rest))
    }
}

impl Weights<'_> {
    /// How many.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::F32(w) => w.len(),
            Self::Bf16(w) | Self::Split { high: w, .. } => w.len(),
            Self::F16(w) => w.len(),
            Self::Absent(n) => *n,
        }
    }

    /// Bytes of an element.
    #[inline]
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::F32(_) | Self::Split { .. } => 4,
            Self::Bf16(_) | Self::F16(_) => 2,
            Self::Absent(_) => 0,
        }
    }

    #[inline]
    fn reborrow(&mut self) -> Weights<'_> {
        match self {
            Self::F32(w) => Weights::F32(w),
            Self::Bf16(w) => Weights::Bf16(w),
            Self::F16(w) => Weights::F16(w),
            Self::Split { high, low } => Weights::Split { high, low },
            Self::Absent(n) => Weights::Absent(*n),
        }
    }

    #[inline]
    pub(crate) fn split_at(self, i: usize) -> (Self, Self) {
        match self {
            Self::F32(w) => both(w.split_at_mut(i), Self::F32),
            Self::Bf16(w) => both(w.split_at_mut(i), Self::Bf16),
            Self::F16(w) => both(w.split_at_mut(i), Self::F16),
            Self::Split { high, low } => {
                let ((high, high_rest), (low, low_rest)) = (high.split_at_mut(i), low.split_at_mut(i));
                (Self::Split { high, low }, Self::Split { high: high_rest, low: low_rest })
            }
            Self::Absent(n) => (Self::Absent(i), Self::Absent(n - i)),
        }
    }

    /// To be read only.
    pub(crate) fn values(&self) -> Values<'_> {
        match self {
            Self::F32(w) => Values::F32(w),
            Self::Bf16(w) => Values::Bf16(w),
            Self::F16(w) => Values::F16(w),
            Self::Split { high, low } => Values::Split { high, low },
            Self::Absent(_) => Values::F32(&[]),
        }
    }

    /// These elements.
    #[inline]
    pub(crate) fn range(&mut self, range: Range<usize>) -> Weights<'_> {
        self.reborrow().split_at(range.end).0.split_at(range.start).1
    }
}

impl<'a> Gradient<'a> {
    /// How many elements; None if there is none.
    #[inline]
    pub(crate) fn len(&self) -> Option<usize> {
        match self {
            Self::Absent => None,
            Self::F32(g) => Some(g.len()),
            Self::Bf16(g) => Some(g.len()),
            Self::F16(g) => Some(g.len()),
            Self::F32Mut(g) => Some(g.len()),
            Self::Bf16Mut(g) => Some(g.len()),
            Self::F16Mut(g) => Some(g.len()),
        }
    }

    /// Bytes of an element.
    #[inline]
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Absent => 0,
            Self::F32(_) | Self::F32Mut(_) => 4,
            _ => 2,
        }
    }

    /// Can it be set to zero?
    #[inline]
    pub(crate) fn is_mutable(&self) -> bool {
        matches!(self, Self::F32Mut(_) | Self::Bf16Mut(_) | Self::F16Mut(_))
    }

    #[inline]
    fn reborrow(&mut self) -> Gradient<'_> {
        match self {
            Self::Absent => Gradient::Absent,
            Self::F32(g) => Gradient::F32(g),
            Self::Bf16(g) => Gradient::Bf16(g),
            Self::F16(g) => Gradient::F16(g),
            Self::F32Mut(g) => Gradient::F32Mut(g),
            Self::Bf16Mut(g) => Gradient::Bf16Mut(g),
            Self::F16Mut(g) => Gradient::F16Mut(g),
        }
    }

    /// To be read only.
    #[inline]
    pub(crate) fn shared(self) -> Shared<'a> {
        match self {
            Self::Absent => Shared::F32(&[]),
            Self::F32(g) => Shared::F32(g),
            Self::Bf16(g) => Shared::Bf16(g),
            Self::F16(g) => Shared::F16(g),
            Self::F32Mut(g) => Shared::F32(g),
            Self::Bf16Mut(g) => Shared::Bf16(g),
            Self::F16Mut(g) => Shared::F16(g),
        }
    }

    /// The same for a while.
    #[inline]
    pub(crate) fn as_shared(&self) -> Shared<'_> {
        match self {
            Self::Absent => Shared::F32(&[]),
            Self::F32(g) => Shared::F32(g),
            Self::Bf16(g) => Shared::Bf16(g),
            Self::F16(g) => Shared::F16(g),
            Self::F32Mut(g) => Shared::F32(g),
            Self::Bf16Mut(g) => Shared::Bf16(g),
            Self::F16Mut(g) => Shared::F16(g),
        }
    }

    #[inline]
    pub(crate) fn split_at(self, i: usize) -> (Self, Self) {
        match self {
            Self::Absent => (Self::Absent, Self::Absent),
            Self::F32(g) => both(g.split_at(i), Self::F32),
            Self::Bf16(g) => both(g.split_at(i), Self::Bf16),
            Self::F16(g) => both(g.split_at(i), Self::F16),
            Self::F32Mut(g) => both(g.split_at_mut(i), Self::F32Mut),
            Self::Bf16Mut(g) => both(g.split_at_mut(i), Self::Bf16Mut),
            Self::F16Mut(g) => both(g.split_at_mut(i), Self::F16Mut),
        }
    }
}

/// A gradient that is read.
#[derive(Clone, Copy)]
pub(crate) enum Shared<'a> {
    F32(&'a [f32]),
    Bf16(&'a [bf16]),
    F16(&'a [f16]),
}

impl<'a> Shared<'a> {
    #[inline]
    pub fn len(self) -> usize {
        match self {
            Self::F32(g) => g.len(),
            Self::Bf16(g) => g.len(),
            Self::F16(g) => g.len(),
        }
    }

    #[inline]
    pub fn split_at(self, i: usize) -> (Self, Self) {
        match self {
            Self::F32(g) => both(g.split_at(i), Self::F32),
            Self::Bf16(g) => both(g.split_at(i), Self::Bf16),
            Self::F16(g) => both(g.split_at(i), Self::F16),
        }
    }

    /// These elements.
    #[inline]
    pub fn range(self, range: Range<usize>) -> Self {
        self.split_at(range.end).0.split_at(range.start).1
    }
}

impl<'a> From<Shared<'a>> for Gradient<'a> {
    #[inline]
    fn from(g: Shared<'a>) -> Self {
        match g {
            Shared::F32(g) => Self::F32(g),
            Shared::Bf16(g) => Self::Bf16(g),
            Shared::F16(g) => Self::F16(g),
        }
    }
}

impl<'a> WeightCopy<'a> {
    /// How many; None if there is none.
    #[inline]
    pub(crate) fn len(&self) -> Option<usize> {
        match self {
            Self::Absent => None,
            Self::F32(copy) => Some(copy.len()),
            Self::Bf16(copy) => Some(copy.len()),
            Self::F16(copy) => Some(copy.len()),
        }
    }

    /// Bytes of an element.
    #[inline]
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Absent => 0,
            Self::F32(_) => 4,
            Self::Bf16(_) | Self::F16(_) => 2,
        }
    }

    #[inline]
    fn reborrow(&mut self) -> WeightCopy<'_> {
        match self {
            Self::Absent => WeightCopy::Absent,
            Self::F32(copy) => WeightCopy::F32(copy),
            Self::Bf16(copy) => WeightCopy::Bf16(copy),
            Self::F16(copy) => WeightCopy::F16(copy),
        }
    }

    #[inline]
    pub(crate) fn split_at(self, i: usize) -> (Self, Self) {
        match self {
            Self::Absent => (Self::Absent, Self::Absent),
            Self::F32(copy) => both(copy.split_at_mut(i), Self::F32),
            Self::Bf16(copy) => both(copy.split_at_mut(i), Self::Bf16),
            Self::F16(copy) => both(copy.split_at_mut(i), Self::F16),
        }
    }

    /// These elements.
    #[inline]
    pub(crate) fn range(&mut self, range: Range<usize>) -> WeightCopy<'_> {
        self.reborrow().split_at(range.end).0.split_at(range.start).1
    }
}

impl States<'_> {
    #[inline]
    fn reborrow(&mut self) -> States<'_> {
        match self {
            Self::F32(arrays) => States::F32(arrays.reborrow()),
            Self::Bf16(arrays) => States::Bf16(arrays.reborrow()),
            Self::Bits8(bytes) => States::Bits8(bytes),
            Self::PartOfBits8(part) => States::PartOfBits8(part.reborrow()),
        }
    }

    /// Bytes of an element, of which eight bits have `states` states.
    pub(crate) fn size(&self, states: usize) -> usize {
        match self {
            Self::F32(arrays) => 4 * arrays.count(),
            Self::Bf16(arrays) => 2 * arrays.count(),
            Self::Bits8(_) | Self::PartOfBits8(_) => states,
        }
    }

    /// At a multiple of a block.
    pub(crate) fn split_at(self, i: usize, states: usize) -> (Self, Self) {
        match self {
            Self::F32(arrays) => both(arrays.split_at(i), Self::F32),
            Self::Bf16(arrays) => both(arrays.split_at(i), Self::Bf16),
            Self::Bits8(bytes) => both(Bits8::new(bytes).split_at(i, states), Self::PartOfBits8),
            Self::PartOfBits8(part) => both(part.split_at(i, states), Self::PartOfBits8),
        }
    }

    /// Those of these elements.
    #[inline]
    pub(crate) fn range(&mut self, range: Range<usize>, states: usize) -> States<'_> {
        match self {
            Self::F32(arrays) => States::F32(arrays.range(range)),
            Self::Bf16(arrays) => States::Bf16(arrays.range(range)),
            _ => self.reborrow().split_at(range.end, states).0.split_at(range.start, states).1,
        }
    }
}

impl<'a, E> Arrays<'a, E> {
    /// The first `count` of these.
    #[doc(hidden)]
    #[inline(always)]
    pub fn new(count: usize, arrays: [&'a mut [E]; MOST_STATES]) -> Self {
        Self { count, arrays }
    }

    /// How many arrays were passed.
    #[inline]
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The arrays, one after another.
    #[inline]
    pub fn as_mut_slice(&mut self) -> &mut [&'a mut [E]] {
        &mut self.arrays[..self.count.min(MOST_STATES)]
    }

    #[inline]
    pub(crate) fn as_slice(&self) -> &[&'a mut [E]] {
        &self.arrays[..self.count.min(MOST_STATES)]
    }

    /// How long they are.
    pub(crate) fn lengths(&self) -> impl Iterator<Item = usize> + use<'_, 'a, E> {
        self.as_slice().iter().map(|array| array.len())
    }

    /// These elements of each.
    #[inline]
    pub(crate) fn range(&mut self, range: Range<usize>) -> Arrays<'_, E> {
        let mut part = Arrays { count: self.count, arrays: Default::default() };
        for (part, array) in part.arrays.iter_mut().zip(self.as_mut_slice()) {
            *part = &mut array[range.clone()];
        }
        part
    }

    #[inline]
    fn reborrow(&mut self) -> Arrays<'_, E> {
        Arrays { count: self.count, arrays: self.arrays.each_mut().map(|array| &mut **array) }
    }

    #[inline]
    pub(crate) fn split_at(self, i: usize) -> (Self, Self) {
        let Self { count, arrays } = self;
        let mut rest: [&mut [E]; MOST_STATES] = [&mut [], &mut [], &mut [], &mut []];
        let mut head: [&mut [E]; MOST_STATES] = [&mut [], &mut [], &mut [], &mut []];
        for (k, array) in arrays.into_iter().enumerate().take(count) {
            (head[k], rest[k]) = array.split_at_mut(i);
        }
        (Self { count, arrays: head }, Self { count, arrays: rest })
    }
}

impl<'a, E> FromIterator<&'a mut [E]> for Arrays<'a, E> {
    #[inline]
    fn from_iter<I: IntoIterator<Item = &'a mut [E]>>(iter: I) -> Self {
        let mut all = Self { count: 0, arrays: [&mut [], &mut [], &mut [], &mut []] };
        for array in iter {
            if let Some(place) = all.arrays.get_mut(all.count) {
                *place = array;
            }
            all.count += 1;
        }
        all
    }
}

/// The two halves of what was split, each made the same thing of.
#[inline]
fn both<T, U>((head, rest): (T, T), make: impl Fn(T) -> U) -> (U, U) {
    (make(head), make(rest))
}

/// What weights, gradients and copies can be made of: `f32`, [`half::bf16`] or [`half::f16`].
pub trait Element: Sized + 'static {
    #[doc(hidden)]
    fn weights(w: &mut [Self]) -> Weights<'_>;
    #[doc(hidden)]
    fn gradient(g: &[Self]) -> Gradient<'_>;
    #[doc(hidden)]
    fn gradient_mut(g: &mut [Self]) -> Gradient<'_>;
    #[doc(hidden)]
    fn copy(copy: &mut [Self]) -> WeightCopy<'_>;
}

/// What states can be made of: `f32` or [`half::bf16`].
pub trait StateElement: Element {
    #[doc(hidden)]
    fn states(arrays: Arrays<'_, Self>) -> States<'_>;
}

impl Element for f32 {
    fn weights(w: &mut [Self]) -> Weights<'_> {
        Weights::F32(w)
    }

    fn gradient(g: &[Self]) -> Gradient<'_> {
        Gradient::F32(g)
    }

    fn gradient_mut(g: &mut [Self]) -> Gradient<'_> {
        Gradient::F32Mut(g)
    }

    fn copy(copy: &mut [Self]) -> WeightCopy<'_> {
        WeightCopy::F32(copy)
    }
}

impl Element for bf16 {
    fn weights(w: &mut [Self]) -> Weights<'_> {
        Weights::Bf16(w)
    }

    fn gradient(g: &[Self]) -> Gradient<'_> {
        Gradient::Bf16(g)
    }

    fn gradient_mut(g: &mut [Self]) -> Gradient<'_> {
        Gradient::Bf16Mut(g)
    }

    fn copy(copy: &mut [Self]) -> WeightCopy<'_> {
        WeightCopy::Bf16(copy)
    }
}

impl Element for f16 {
    fn weights(w: &mut [Self]) -> Weights<'_> {
        Weights::F16(w)
    }

    fn gradient(g: &[Self]) -> Gradient<'_> {
        Gradient::F16(g)
    }

    fn gradient_mut(g: &mut [Self]) -> Gradient<'_> {
        Gradient::F16Mut(g)
    }

    fn copy(copy: &mut [Self]) -> WeightCopy<'_> {
        WeightCopy::F16(copy)
    }
}

impl StateElement for f32 {
    fn states(arrays: Arrays<'_, Self>) -> States<'_> {
        States::F32(arrays)
    }
}

impl StateElement for bf16 {
    fn states(arrays: Arrays<'_, Self>) -> States<'_> {
        States::Bf16(arrays)
    }
}

/// No states, as SGD has.
impl Default for States<'_> {
    fn default() -> Self {
        Self::F32([].into_iter().collect())
    }
}

impl<'a, E: StateElement> FromIterator<&'a mut [E]> for States<'a> {
    fn from_iter<I: IntoIterator<Item = &'a mut [E]>>(iter: I) -> Self {
        E::states(iter.into_iter().collect())
    }
}

impl<'a, E: StateElement, const N: usize> From<[&'a mut [E]; N]> for States<'a> {
    fn from(arrays: [&'a mut [E]; N]) -> Self {
        arrays.into_iter().collect()
    }
}

impl<'a, E: StateElement, const L: usize, const N: usize> From<[&'a mut [E; L]; N]> for States<'a> {
    fn from(arrays: [&'a mut [E; L]; N]) -> Self {
        arrays.into_iter().map(|array| &mut array[..]).collect()
    }
}

impl<'a, E: StateElement, const N: usize> From<[&'a mut Vec<E>; N]> for States<'a> {
    fn from(arrays: [&'a mut Vec<E>; N]) -> Self {
        arrays.into_iter().map(|array| &mut array[..]).collect()
    }
}

/// Codes of eight bits.
impl<'a> From<&'a mut [u8]> for States<'a> {
    fn from(bytes: &'a mut [u8]) -> Self {
        Self::Bits8(bytes)
    }
}

/// Codes of eight bits.
impl<'a> From<&'a mut Vec<u8>> for States<'a> {
    fn from(bytes: &'a mut Vec<u8>) -> Self {
        Self::Bits8(bytes)
    }
}

impl<'a, E: Element> From<&'a mut [E]> for Weights<'a> {
    fn from(array: &'a mut [E]) -> Self {
        E::weights(array)
    }
}

impl<'a, E: Element, const L: usize> From<&'a mut [E; L]> for Weights<'a> {
    fn from(array: &'a mut [E; L]) -> Self {
        E::weights(array)
    }
}

impl<'a, E: Element> From<&'a mut Vec<E>> for Weights<'a> {
    fn from(array: &'a mut Vec<E>) -> Self {
        E::weights(array)
    }
}

impl<'a, E: Element> From<&'a mut [E]> for WeightCopy<'a> {
    fn from(array: &'a mut [E]) -> Self {
        E::copy(array)
    }
}

impl<'a, E: Element, const L: usize> From<&'a mut [E; L]> for WeightCopy<'a> {
    fn from(array: &'a mut [E; L]) -> Self {
        E::copy(array)
    }
}

impl<'a, E: Element> From<&'a mut Vec<E>> for WeightCopy<'a> {
    fn from(array: &'a mut Vec<E>) -> Self {
        E::copy(array)
    }
}

impl<'a, E: Element> From<&'a mut [E]> for Gradient<'a> {
    fn from(array: &'a mut [E]) -> Self {
        E::gradient_mut(array)
    }
}

impl<'a, E: Element, const L: usize> From<&'a mut [E; L]> for Gradient<'a> {
    fn from(array: &'a mut [E; L]) -> Self {
        E::gradient_mut(array)
    }
}

impl<'a, E: Element> From<&'a mut Vec<E>> for Gradient<'a> {
    fn from(array: &'a mut Vec<E>) -> Self {
        E::gradient_mut(array)
    }
}

impl<'a, E: Element> From<&'a [E]> for Gradient<'a> {
    fn from(array: &'a [E]) -> Self {
        E::gradient(array)
    }
}

impl<'a, E: Element, const L: usize> From<&'a [E; L]> for Gradient<'a> {
    fn from(array: &'a [E; L]) -> Self {
        E::gradient(array)
    }
}

impl<'a, E: Element> From<&'a Vec<E>> for Gradient<'a> {
    fn from(array: &'a Vec<E>) -> Self {
        E::gradient(array)
    }
}
