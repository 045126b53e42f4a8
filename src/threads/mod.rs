//! Who works on a step over many tensors, and on which part of it.

#[cfg(feature = "rayon")]
mod on_rayon;
mod pool;
mod share;

pub use pool::{MOST_THREADS, ParallelFor, Pool, Threads};
pub(crate) use share::{Chunks, GRAIN, Piece};
