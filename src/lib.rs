//! Fused optimizer steps on `f32` slices: SGD, momentum, Adam and their family, hand-vectorized, one pass over memory, and
//! the same bits on every CPU.
//!
//! ```
//! use downhill::{Adam, adam_step};
//!
//! let (mut w, mut m, mut v) = (vec![1.0; 1000], vec![0.0; 1000], vec![0.0; 1000]);
//! let config = Adam { lr: 0.1, ..Adam::default() };
//! for t in 1..=100 {
//!     let g = w.clone(); // the gradient of half the sum of squares
//!     adam_step(&mut w, &g, &mut m, &mut v, t, &config)?;
//! }
//! assert!(w.iter().all(|w| w.abs() < 0.1));
//! # Ok::<(), downhill::Error>(())
//! ```
//!
//! # Add it
//!
//! ```toml
//! [dependencies]
//! downhill = "0.1"
//!
//! # Without these two lines a debug build calls a function for every operation of a vector: Adam then takes 100 ns an
//! # element instead of 0.3. With them this crate, once built, is as fast as in a release; that build takes a minute.
//! [profile.dev.package.downhill]
//! opt-level = 3
//! ```
//!
//! The feature `rayon` (on by default) is for programs that have a rayon pool: [`Threads::Rayon`]. Without it the crate
//! needs `libc`, `libm` and `pulp`.
//!
//! # What there is
//!
//! | | one call for one set of arrays | many tensors in one call | states in 8 or 16 bits |
//! |---|---|---|---|
//! | a rule that is known | [`sgd_step`], [`momentum_step`], [`nesterov_step`], [`adagrad_step`], [`adadelta_step`], [`rmsprop_step`], [`adam_step`], [`adamw_step`], [`amsgrad_step`], [`adamax_step`], [`nadam_step`], [`lion_step`] | [`step_many`] | [`step_packed`] |
//! | any of them | [`Optimizer::step`] | [`Optimizer::step_many`] | [`PackedOptimizer`] |
//!
//! A whole step ([`step_many`]) also scales the gradients, clips them by their common norm, is skipped if one is not
//! finite, and sets them to zero ([`Extras`]), on the threads of a [`Pool`] if wanted.
//!
//! # What holds for every step
//!
//! - **The same bits** on every instruction set, at every length and alignment, with any number of threads, and however
//!   arrays are cut into calls. [`mod@reference`] has each rule as a plain loop; the kernels give its bits.
//! - **Numbers**: IEEE-754 binary32, each operation rounded on its own, in the order that the step's documentation writes.
//!   Hyper-parameters are `f64`; what is derived from them is rounded to `f32` once. A subnormal state is read as `+0`.
//! - **Errors** name the argument, its value and what is allowed, and nothing has been written. No step panics.
//! - **State** is the caller's: arrays that start as zeros, and `t`, which counts steps from 1. So resuming is exact.
//!
//! Configurations may gain fields: end a literal with `..Adam::default()`, as above, and it compiles with later releases.
//!
//! `DOWNHILL_ISA` in the environment names a lower instruction set for all steps ([`Isa`]), and `DOWNHILL_MIGRATE=0` keeps
//! a pool's workers where the system puts them ([`Pool::new`]).

mod check;
mod error;
mod formats;
mod hyperparameter;
mod isa;
mod lane;
mod norm;
mod optimizer;
mod power;
pub mod reference;
mod rule;
mod rules;
mod state;
mod step;
mod sweep;
mod sys;
mod tensor;
mod threads;

pub use error::Error;
pub use formats::{Rounding, Values, convert, pack, state_bytes, unpack};
pub use hyperparameter::{Hyperparameter, Range};
pub use isa::Isa;
pub use norm::grad_squares;
pub use optimizer::Optimizer;
pub use rules::*;
pub use state::{State, StateKind};
pub use step::{Extras, NonFinite, Report, step, step_on};
pub use tensor::{
    Arrays, Element, Gradient, Group, Numbering, StateElement, States, Tensor, WeightCopy, Weights,
};
pub use threads::{ParallelFor, Pool, Threads};

/// What else the package of the C libraries needs. It changes with any release, and is nobody else's to use.
#[doc(hidden)]
#[allow(missing_docs, reason = "nobody else uses it")]
pub mod abi {
    pub use crate::{
        check::step as check_step,
        norm::each_sum,
        rule::{Configuration, Engine},
        step::{Sizes, check_extras, check_number, step_checked},
        sys::{has_room, in_default_environment, with_room, without_cancellation},
        tensor::Foreign,
        threads::MOST_THREADS,
    };
}

/// The README's programs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
