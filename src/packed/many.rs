//! A whole training step over tensors with packed states.

use super::{
    BLOCK, Kind, Packable, Packing, Rounding, StateFormat,
    code::{Bf16, Bits8, Code},
    layout,
    random::Key,
    sweep::{Element, Part, Plan, Scratch, Step},
};
use crate::{
    Error, Extras, Isa, Report, Threads,
    many::look,
    rule::{Update, check_length},
    sweep::is_far,
    threads::Piece,
};

/// The arrays of one tensor with packed states. `E` is `f32`, or `u16` for the bits of bfloat16.
#[derive(Debug)]
pub struct PackedTensor<'a, E> {
    /// Weights, updated. Those of bfloat16 are rounded as [`Packing::rounding`] says.
    pub w: &'a mut [E],
    /// Gradient, as long as `w`. Only [`Extras::zero_grad`] writes to it.
    pub g: &'a mut [E],
    /// All states of the rule, updated: [`StateFormat::bytes`] bytes, zeros before the first step.
    pub state: &'a mut [u8],
    /// The number of the first element in the whole model, a multiple of 64, which the random bits depend on. Give each
    /// tensor numbers of its own, and a part of a tensor those that it has in the whole: then the parts are stepped with
    /// the bits of the whole.
    pub first_element: u64,
}

/// Tensors of either kind.
pub enum List<'a, 'b> {
    F32(&'a mut [PackedTensor<'b, f32>]),
    Bf16(&'a mut [PackedTensor<'b, u16>]),
}

/// What weights and gradients can be made of.
pub trait Listed: Sized {
    /// The tensors as one of the two kinds.
    fn list<'a, 'b>(tensors: &'a mut [PackedTensor<'b, Self>]) -> List<'a, 'b>;
}

impl Listed for f32 {
    fn list<'a, 'b>(tensors: &'a mut [PackedTensor<'b, Self>]) -> List<'a, 'b> {
        List::F32(tensors)
    }
}

impl Listed for u16 {
    fn list<'a, 'b>(tensors: &'a mut [PackedTensor<'b, Self>]) -> List<'a, 'b> {
        List::Bf16(tensors)
    }
}

/// One step over many tensors, or one, whose states are packed in 8 or 16 bits: [`step_many`](crate::step_many) with
/// less memory to read and write, which is what a step on large arrays waits for.
///
/// For [`Momentum`](crate::Momentum), [`Adam`](crate::Adam), [`Adamw`](crate::Adamw) and [`Lion`](crate::Lion). Each
/// block of 64 elements is decoded, stepped by the rule's own formula in `f32`, and encoded. Nothing depends on
/// `threads`, on the instruction set, or on which tensors are stepped together, but for the norm. Without threads
/// nothing is allocated.
///
/// Eight bits hold a number to an eighth of itself (of either sign near zero: evenly spaced), and bfloat16 to 1/128. Rounded at random, a state is right on average,
/// so that small steps are not lost; but it is rounded in every step, and errors add up over the steps that it is an
/// average of: with `beta2` = 0.999, Adam's `v` in eight bits is off by a fifth or so, and as steps go with `1/√v` they
/// come out 2 % longer on average. `cargo run --release --example packed` shows what that does to training. A state that
/// is NaN or infinite spoils the others of its block: [`Extras::skip_nonfinite`] keeps out gradients that are not finite, and
/// [`Extras::max_norm`] those whose squares are not. An average of squares that is less than about 2^-31 of the largest in
/// its block is taken for so much, and its weight then moves less than it would.
///
/// *8-bit Optimizers via Block-wise Quantization* (Dettmers, Lewis, Shleifer & Zettlemoyer, 2022) for the idea; *Deep
/// Learning with Limited Numerical Precision* (Gupta, Agrawal, Gopalakrishnan & Narayanan, 2015) for the rounding.
///
/// # Errors
/// [`Error::Tensor`] with [`Error::Length`] if `g` is not as long as `w`, [`Error::PackedLength`] if `state` does not have
/// [`StateFormat::bytes`], [`Error::FirstElement`]; and what [`step_many`](crate::step_many) returns. Nothing is written
/// then.
///
/// # Example
/// ```
/// use downhill::{Adam, Extras, PackedTensor, Packing, Threads, step_packed};
///
/// let packing = Packing::default();
/// let (mut w, mut g) = ([1.0; 1000], [0.0; 1000]);
/// let mut state = vec![0; packing.format.bytes(2, w.len()).unwrap()]; // Adam has two states
/// assert_eq!(state.len(), 2080);
/// for t in 1..=100 {
///     g.copy_from_slice(&w); // the gradient of w²/2
///     let mut tensors = [PackedTensor { w: &mut w, g: &mut g, state: &mut state, first_element: 0 }];
///     let config = Adam { lr: 0.01, ..Adam::default() };
///     step_packed(&config, &mut tensors, t, &packing, &Extras::default(), Threads::Caller)?;
/// }
/// assert!(w.iter().all(|w| *w < 0.5));
/// # Ok::<(), downhill::Error>(())
/// ```
pub fn step_packed<E: Listed, const N: usize>(
    config: &impl Packable<N>,
    tensors: &mut [PackedTensor<'_, E>],
    t: u64,
    packing: &Packing,
    extras: &Extras,
    threads: Threads<'_>,
) -> Result<Report, Error> {
    config.step_packed_on(E::list(tensors), How { isa: Isa::current()?, t, packing, extras, threads })
}

/// What a whole step takes beside the rule and the tensors.
#[derive(Clone, Copy)]
#[allow(missing_docs, reason = "the arguments of `step_packed`")]
pub struct How<'a> {
    pub isa: Isa,
    pub t: u64,
    pub packing: &'a Packing,
    pub extras: &'a Extras,
    pub threads: Threads<'a>,
}

/// [`step_packed`] on a named instruction set, to be called by every [`Packable`].
pub(crate) fn step<const N: usize, C: Packable<N>>(
    config: &C,
    list: List<'_, '_>,
    how: How<'_>,
) -> Result<Report, Error> {
    match list {
        List::F32(tensors) => step_of(config, tensors, how),
        List::Bf16(tensors) => step_of(config, tensors, how),
    }
}

fn step_of<E: Element, const N: usize, C: Packable<N>>(
    config: &C,
    tensors: &mut [PackedTensor<'_, E>],
    how: How<'_>,
) -> Result<Report, Error> {
    how.extras.check()?;
    for (index, tensor) in tensors.iter().enumerate() {
        tensor.check(how.packing.format, N).map_err(|error| error.of_tensor(index))?;
    }
    config.check(how.t)?;
    let update = Update::new(config, how.t);
    update.check(config)?;
    let report = look(how.isa, tensors.len(), &|i| &*tensors[i].g, how.extras, how.threads);
    if report.skipped {
        return Ok(report);
    }
    let update = update.scaled(report.applied_scale as f32);
    let step: Step<'_, N> = &|w, g, state| update.sweep(how.isa, w, g, state, false);
    match how.packing.format {
        StateFormat::Bits8 => each::<Bits8, E, N>(tensors, how, C::KINDS, step),
        StateFormat::Bf16 => each::<Bf16, E, N>(tensors, how, C::KINDS, step),
    }
    Ok(report)
}

impl<E> PackedTensor<'_, E> {
    fn check(&self, format: StateFormat, states: usize) -> Result<(), Error> {
        check_length("g", self.g.len(), self.w.len())?;
        layout::check_bytes(format, states, self.w.len(), self.state.len())?;
        check_first_element(self.first_element)
    }
}

pub(crate) fn check_first_element(number: u64) -> Result<(), Error> {
    if number.is_multiple_of(BLOCK as u64) { Ok(()) } else { Err(Error::FirstElement(number)) }
}

/// Steps every tensor or part of one.
fn each<C: Code, E: Element, const N: usize>(
    tensors: &mut [PackedTensor<'_, E>],
    how: How<'_>,
    kinds: [Kind; N],
    step: Step<'_, N>,
) {
    let How { isa, t, packing, extras, threads } = how;
    let elements: usize = tensors.iter().map(|tensor| tensor.w.len()).sum();
    let key = match packing.rounding {
        Rounding::Stochastic { seed } => Some(Key::new(seed, t)),
        Rounding::Nearest => None,
    };
    let of_codes = N * size_of::<C>() / BLOCK;
    // What is there, and what moves, some of it there and back.
    let held = elements.saturating_mul(2 * size_of::<E>() + of_codes);
    let moved = elements.saturating_mul(3 * size_of::<E>() + 2 * of_codes);
    let plan = Plan { isa, kinds, step, key, zero_grad: extras.zero_grad, far: is_far(held) };
    let by_threads = threads.for_bytes(moved).and_then(|workers| {
        let list = tensors.iter_mut().map(PackedTensor::part::<C, N>);
        threads.run(workers, list, elements, &|chunk| {
            let mut scratch = Scratch::new();
            chunk.iter_mut().for_each(|part| part.step(&plan, &mut scratch));
        })
    });
    if by_threads.is_none() {
        let mut scratch = Scratch::new();
        tensors.iter_mut().for_each(|tensor| tensor.part::<C, N>().step(&plan, &mut scratch));
    }
}

impl<E> PackedTensor<'_, E> {
    fn part<C: Code, const N: usize>(&mut self) -> Part<'_, C, E, N> {
        let (codes, scales) = layout::split(self.state, self.w.len().div_ceil(BLOCK));
        Part { w: self.w, g: self.g, codes, scales, first_block: self.first_element / BLOCK as u64 }
    }
}

impl<C: Code, E, const N: usize> Piece for Part<'_, C, E, N> {
    fn len(&self) -> usize {
        self.w.len()
    }

    fn split_at(self, element: usize) -> (Self, Self) {
        let block = element / BLOCK;
        let (w, w_rest) = self.w.split_at_mut(element);
        let (g, g_rest) = self.g.split_at_mut(element);
        let (codes, codes_rest) = self.codes.split_at_mut(block);
        let (scales, scales_rest) = self.scales.split_at_mut(if C::SCALED { N * block } else { 0 });
        let first_block = self.first_block;
        let rest = Self {
            w: w_rest,
            g: g_rest,
            codes: codes_rest,
            scales: scales_rest,
            first_block: first_block + block as u64,
        };
        (Self { w, g, codes, scales, first_block }, rest)
    }
}
