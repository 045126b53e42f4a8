//! The norm of all gradients: a sum of squares in `f64`, always in the same order.

use std::mem;

use crate::{
    Error, Group, Isa, Threads,
    formats::Value,
    isa::Kernel,
    lane::Lanes,
    rule::Prelude,
    sys::with_room,
    tensor::Shared,
    threads::{Chunks, GRAIN, Piece},
};

/// How many sums are kept side by side, which no instruction set has to add up in another order.
pub(crate) const SUMS: usize = 32;

/// Adding one element to the norm costs as much time as moving this many bytes in a step.
const NORM_BYTES_PER_ELEMENT: usize = 16;

/// An element of a gradient that is NaN or infinite.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct NonFinite {
    /// Its group, counted from 0.
    pub group: usize,
    /// Its tensor in the group.
    pub tensor: usize,
    /// Its place in the tensor.
    pub element: usize,
    /// Its value.
    pub value: f32,
}

/// The sum of the squares of each tensor's gradient, in the order of groups and tensors; 0 for one
/// without a gradient. Nothing else in the groups is read.
///
/// Whoever steps whole tensors in pieces (layer by layer, rank by rank) gathers these sums, adds them
/// from left to right, and hands the total to each [`step`](crate::step())
/// ([`Extras::norm_squared`](crate::Extras::norm_squared)): the norm, and so the bits, are those of one
/// call.
///
/// A sum is infinite or NaN if and only if an element is: no sum of squares of `f32` overflows an `f64`.
/// The order of additions is fixed, so that the bits do not depend on threads or instruction set: within
/// a block of 4,096 elements, counted from each array's start, element `i` is added to sum `i mod 32`;
/// the 32 sums are added pairwise (neighbours, then neighbouring pairs, ...); the blocks of a tensor are
/// added up in order.
///
/// # Errors
/// [`Error::Isa`] if `DOWNHILL_ISA` is wrong.
///
/// # Example
/// ```
/// use downhill::{Group, Sgd, States, Tensor, Threads, grad_squares};
///
/// let (config, mut w) = (Sgd::default(), [0.0; 3]);
/// let (w0, w1) = w.split_at_mut(1);
/// let mut tensors = [
///     Tensor::new(w0, &[3.0], States::default()),
///     Tensor::new(w1, &[0.0, -4.0], States::default()),
/// ];
/// let sums = grad_squares(&mut [Group::new(&config, 1, &mut tensors)], Threads::Caller)?;
/// assert_eq!(sums, [9.0, 16.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
pub fn grad_squares(groups: &mut [Group<'_, '_>], threads: Threads<'_>) -> Result<Vec<f64>, Error> {
    let mut sums = Vec::with_capacity(groups.iter().map(|group| group.tensors.len()).sum());
    each_sum(Isa::current()?, groups, threads, &mut |sum| sums.push(sum));
    Ok(sums)
}

/// The sum of all squares: those of the tensors from left to right.
pub(crate) fn sum_of_squares(isa: Isa, groups: &mut [Group<'_, '_>], threads: Threads<'_>) -> f64 {
    let mut total = 0.0;
    each_sum(isa, groups, threads, &mut |sum| total += sum);
    total
}

/// Calls `f` with the sum of each tensor, in order.
pub fn each_sum(isa: Isa, groups: &mut [Group<'_, '_>], threads: Threads<'_>, f: &mut dyn FnMut(f64)) {
    let (mut elements, mut tensors, mut blocks) = (0_usize, 0, 0);
    each_gradient(groups, &mut |g| {
        elements = elements.saturating_add(g.len());
        tensors += 1;
        blocks += g.len().div_ceil(GRAIN);
    });
    let cost = elements.saturating_mul(NORM_BYTES_PER_ELEMENT);
    if let Some(workers) = threads.for_bytes(cost)
        && let Some(sums) = sums_of_blocks(isa, groups, threads, workers, [tensors, blocks, cost])
    {
        let mut rest = &sums[..];
        each_gradient(groups, &mut |g| {
            let (of_tensor, after) = rest.split_at(g.len().div_ceil(GRAIN));
            rest = after;
            f(of_tensor.iter().fold(0.0, |sum, block| sum + block));
        });
        return;
    }
    each_gradient(groups, &mut |g| f(sum(isa, g)));
}

/// Calls `f` with the gradient of each tensor, in order: an empty one where there is none.
fn each_gradient<'a>(groups: &'a mut [Group<'_, '_>], f: &mut dyn FnMut(Shared<'a>)) {
    for group in groups {
        group.tensors.each_gradient(f);
    }
}

/// The first element of a gradient that is not finite.
#[cold]
pub(crate) fn first_nonfinite(groups: &mut [Group<'_, '_>]) -> Option<NonFinite> {
    let mut first = None;
    for (group, Group { tensors, .. }) in groups.iter_mut().enumerate() {
        let mut tensor = 0;
        tensors.each_gradient(&mut |g| {
            if first.is_none()
                && let Some((element, value)) = nonfinite(g)
            {
                first = Some(NonFinite { group, tensor, element, value });
            }
            tensor += 1;
        });
    }
    first
}

fn nonfinite(g: Shared<'_>) -> Option<(usize, f32)> {
    fn of<E: Value>(g: &[E]) -> Option<(usize, f32)> {
        let mut values = g.iter().map(|value| value.float()).enumerate();
        values.find(|(_, value)| !value.is_finite())
    }
    match g {
        Shared::F32(g) => of(g),
        Shared::Bf16(g) => of(g),
        Shared::F16(g) => of(g),
    }
}

/// The sums of all blocks of all gradients by `workers` threads, if there is memory for them.
fn sums_of_blocks(
    isa: Isa,
    groups: &mut [Group<'_, '_>],
    threads: Threads<'_>,
    workers: usize,
    [tensors, blocks, cost]: [usize; 3],
) -> Option<Vec<f64>> {
    let mut sums = with_room(blocks)?;
    sums.resize(blocks, 0.0);
    let mut rest = &mut sums[..];
    let mut chunks = Chunks::new(tensors, cost, workers)?;
    each_gradient(groups, &mut |g| {
        let (sums, after) = mem::take(&mut rest).split_at_mut(g.len().div_ceil(GRAIN));
        rest = after;
        chunks.push(Blocks { g, sums });
    });
    threads.run(workers, chunks, &|chunk: &mut [Blocks<'_, '_>]| {
        for Blocks { g, sums } in chunk {
            let mut g = *g;
            for sum in sums.iter_mut() {
                let (block, rest) = g.split_at(g.len().min(GRAIN));
                *sum = block_sum(isa, block);
                g = rest;
            }
        }
    })?;
    Some(sums)
}

/// The sum of squares of a gradient.
fn sum(isa: Isa, mut g: Shared<'_>) -> f64 {
    let mut sum = 0.0;
    while g.len() > 0 {
        let (block, rest) = g.split_at(g.len().min(GRAIN));
        sum += block_sum(isa, block);
        g = rest;
    }
    sum
}

fn block_sum(isa: Isa, block: Shared<'_>) -> f64 {
    match block {
        Shared::F32(g) => isa.run(BlockSum(g)),
        Shared::Bf16(g) => isa.run(BlockSum(g)),
        Shared::F16(g) => isa.run(BlockSum(g)),
    }
}

/// Adds the squares of a part of a row, of which element `i` goes to sum `i mod 32`, after what `prelude`
/// does to a gradient. `w` is looked at for L2 only.
pub(crate) fn add_squares<E: Value>(
    isa: Isa,
    prelude: Prelude,
    w: &[f32],
    g: &[E],
    sums: &mut [f64; SUMS],
) {
    isa.run(Squares { prelude, w, g, sums });
}

struct Squares<'a, E> {
    prelude: Prelude,
    w: &'a [f32],
    g: &'a [E],
    sums: &'a mut [f64; SUMS],
}

impl<E: Value> Kernel for Squares<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Lanes>(&mut self, _: S) {
        let Self { prelude, w, g, sums } = self;
        let (rows, rest) = g.as_chunks::<SUMS>();
        for (k, g) in rows.iter().enumerate() {
            let mut x = [0.0; SUMS];
            for i in 0..SUMS {
                x[i] = g[i].float();
            }
            add_row(*prelude, w.as_chunks().0.get(k), x, sums);
        }
        let mut x = [0.0; SUMS];
        for (x, g) in x.iter_mut().zip(rest) {
            *x = g.float();
        }
        let mut last = [0.0; SUMS];
        let from = if prelude.is_l2() { &w[g.len() - rest.len()..g.len()] } else { &[] };
        for (last, w) in last.iter_mut().zip(from) {
            *last = *w;
        }
        // What fills the row up is zero, and adds nothing.
        add_row(*prelude, Some(&last), x, sums);
    }
}

/// Adds the square of one element to each sum. Without `w` there is no L2.
#[inline(always)]
fn add_row(prelude: Prelude, w: Option<&[f32; SUMS]>, g: [f32; SUMS], sums: &mut [f64; SUMS]) {
    let w = w.filter(|_| prelude.is_l2()).unwrap_or(&[0.0; SUMS]);
    for i in 0..SUMS {
        let x = prelude.gradient(w[i], g[i]);
        // The square of an `f32` is exact in `f64`.
        sums[i] += f64::from(x) * f64::from(x);
    }
}

/// Blocks of a gradient, and where their sums go.
struct Blocks<'a, 'b> {
    g: Shared<'a>,
    sums: &'b mut [f64],
}

impl Piece for Blocks<'_, '_> {
    fn len(&self) -> usize {
        self.g.len()
    }

    fn cost(&self) -> usize {
        NORM_BYTES_PER_ELEMENT
    }

    fn split_at(self, element: usize) -> (Self, Self) {
        let (g, g_rest) = self.g.split_at(element);
        let (sums, sums_rest) = self.sums.split_at_mut(element / GRAIN);
        (Self { g, sums }, Self { g: g_rest, sums: sums_rest })
    }
}

/// The sum of squares of a block.
struct BlockSum<'a, E>(&'a [E]);

impl<E: Value> Kernel for BlockSum<'_, E> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Lanes>(&mut self, s: S) -> f64 {
        // Vectors that hold the sums together.
        match S::F64_LANES {
            8 => vector_sum::<S, E, 4>(s, self.0),
            4 => vector_sum::<S, E, 8>(s, self.0),
            2 => vector_sum::<S, E, 16>(s, self.0),
            _ => vector_sum::<S, E, 32>(s, self.0),
        }
    }
}

/// How many elements are widened at a time: `pulp` has no conversion, but a loop of nothing else is one
/// that the compiler vectorizes. (It does not do so reliably for a loop with sums.)
const WIDENED: usize = 8 * SUMS;

/// With the sums in `K` vectors.
#[inline(always)]
fn vector_sum<S: Lanes, E: Value, const K: usize>(s: S, block: &[E]) -> f64 {
    let mut sums = [s.splat_f64s(0.0); K];
    let mut wide = [0.0; WIDENED];
    for part in block.chunks(WIDENED) {
        for (wide, g) in wide.iter_mut().zip(part) {
            *wide = f64::from(g.float());
        }
        let end = part.len().next_multiple_of(SUMS);
        // Zeros add nothing.
        wide[part.len()..end].fill(0.0);
        let (vectors, _) = S::as_simd_f64s(&wide[..end]);
        for row in vectors.as_chunks::<K>().0 {
            for k in 0..K {
                // The square of an `f32` is exact in `f64`.
                sums[k] = s.add_f64s(sums[k], s.mul_f64s(row[k], row[k]));
            }
        }
    }
    let mut all = [0.0; SUMS];
    S::as_mut_simd_f64s(&mut all).0.copy_from_slice(&sums);
    pairwise(all)
}

/// The sum of the sums: neighbours, then neighbouring pairs, and so on.
pub(crate) fn pairwise(mut sums: [f64; SUMS]) -> f64 {
    let mut width = SUMS;
    while width > 1 {
        width /= 2;
        for i in 0..width {
            sums[i] = sums[2 * i] + sums[2 * i + 1];
        }
    }
    sums[0]
}
