//! The norm of all gradients: a sum of squares in `f64`, always in the same order.

use std::mem;

use crate::{
    Error, Isa, Threads,
    isa::Kernel,
    lane::Lanes,
    sys::with_room,
    threads::{BLOCK, Piece},
};

/// How many sums are kept side by side, which no instruction set has to add up in another order.
const SUMS: usize = 32;

/// Adding one element to the norm costs as much time as moving this many bytes in a step.
const NORM_BYTES_PER_ELEMENT: usize = 16;

/// The Euclidean norm of all gradients together, `√(Σ g²)`, in `f64`.
///
/// It is infinite or NaN if and only if an element is: no sum of squares of `f32` overflows an `f64`.
///
/// The order of additions is fixed, so that the bits do not depend on threads or instruction set: within a
/// block of 4,096 elements, counted from each array's start, element `i` is added to sum `i mod 32`; the
/// 32 sums are added pairwise (neighbours, then neighbouring pairs, ...); the blocks of the first array are
/// added up in order, then those of the second, and so on.
///
/// # Errors
/// [`Error::Isa`] if `DOWNHILL_ISA` is wrong.
///
/// # Example
/// ```
/// use downhill::{Threads, grad_norm};
///
/// assert_eq!(grad_norm(&[&[3.0], &[0.0, -4.0]], Threads::Caller)?, 5.0);
/// # Ok::<(), downhill::Error>(())
/// ```
pub fn grad_norm(gradients: &[&[f32]], threads: Threads<'_>) -> Result<f64, Error> {
    Ok(sum_of_squares(Isa::current()?, gradients.len(), &|i| gradients[i], threads).sqrt())
}

/// What a gradient is made of.
pub trait Value: Copy + Sync + 'static {
    fn float(self) -> f32;
}

impl Value for f32 {
    #[inline(always)]
    fn float(self) -> f32 {
        self
    }
}

/// The sum of squares of all elements of `count` gradients, of which `gradient` gives one.
pub fn sum_of_squares<'a, E: Value>(
    isa: Isa,
    count: usize,
    gradient: &dyn Fn(usize) -> &'a [E],
    threads: Threads<'_>,
) -> f64 {
    let elements: usize = (0..count).map(|i| gradient(i).len()).sum();
    let workers = threads.for_bytes(elements.saturating_mul(NORM_BYTES_PER_ELEMENT));
    if let Some(workers) = workers
        && let Some(sum) = by_threads(isa, count, gradient, elements, threads, workers)
    {
        return sum;
    }
    let blocks = (0..count).flat_map(|i| gradient(i).chunks(BLOCK));
    blocks.fold(0.0, |sum, block| sum + isa.run(BlockSum(block)))
}

/// The same by `workers` threads, if there is memory for the sums of all blocks.
fn by_threads<'a, E: Value>(
    isa: Isa,
    count: usize,
    gradient: &dyn Fn(usize) -> &'a [E],
    elements: usize,
    threads: Threads<'_>,
    workers: usize,
) -> Option<f64> {
    let blocks = (0..count).map(|i| gradient(i).len().div_ceil(BLOCK)).sum();
    let mut sums = with_room(blocks)?;
    sums.resize(blocks, 0.0);
    let mut rest = &mut sums[..];
    let list = (0..count).map(|i| {
        let g = gradient(i);
        let (sums, after) = mem::take(&mut rest).split_at_mut(g.len().div_ceil(BLOCK));
        rest = after;
        Blocks { g, sums }
    });
    threads.run(workers, list, elements, &|chunk| {
        for Blocks { g, sums } in chunk {
            for (block, sum) in g.chunks(BLOCK).zip(&mut **sums) {
                *sum = isa.run(BlockSum(block));
            }
        }
    })?;
    Some(sums.iter().fold(0.0, |sum, block| sum + block))
}

/// Blocks of a gradient, and where their sums go.
struct Blocks<'a, E> {
    g: &'a [E],
    sums: &'a mut [f64],
}

impl<E> Piece for Blocks<'_, E> {
    fn len(&self) -> usize {
        self.g.len()
    }

    fn split_at(self, element: usize) -> (Self, Self) {
        let (g, g_rest) = self.g.split_at(element);
        let (sums, sums_rest) = self.sums.split_at_mut(element / BLOCK);
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
            8 => block_sum::<S, E, 4>(s, self.0),
            4 => block_sum::<S, E, 8>(s, self.0),
            2 => block_sum::<S, E, 16>(s, self.0),
            _ => block_sum::<S, E, 32>(s, self.0),
        }
    }
}

/// How many elements are widened at a time: `pulp` has no conversion, but a loop of nothing else is one that
/// the compiler vectorizes. (It does not do so reliably for a loop with sums.)
const WIDENED: usize = 8 * SUMS;

/// With the sums in `K` vectors.
#[inline(always)]
fn block_sum<S: Lanes, E: Value, const K: usize>(s: S, block: &[E]) -> f64 {
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

fn pairwise(mut sums: [f64; SUMS]) -> f64 {
    let mut width = SUMS;
    while width > 1 {
        width /= 2;
        for i in 0..width {
            sums[i] = sums[2 * i] + sums[2 * i + 1];
        }
    }
    sums[0]
}
