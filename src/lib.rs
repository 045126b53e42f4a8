//! Fused optimizer steps for training on a CPU, from SGD to Adam, Lion and FTRL: hand-vectorized, in one
//! pass over memory, and with the same bits on every CPU.
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
//! # Usage
//!
//! ```toml
//! [dependencies]
//! downhill = "0.1"
//!
//! # Without these two lines a debug build calls a function for every operation of a vector: Adam then
//! # takes 100 ns per element instead of 0.3. With them this crate is as fast as in a release build; it
//! # is then compiled once, in about a minute.
//! [profile.dev.package.downhill]
//! opt-level = 3
//! ```
//!
//! The feature `rayon` (on by default) is for programs that have a rayon pool: [`Threads::Rayon`].
//! Without it the crate needs `half`, `libc`, `libm` and `pulp`.
//!
//! # Overview
//!
//! | | |
//! |---|---|
//! | a step with a rule that is known | [`adam_step`], [`sgd_step`], and one such function for every rule: [functions](#functions) |
//! | with any of them | [`Optimizer`], which every configuration is; [`rules()`] lists them |
//! | one call for all tensors of a model | [`step()`], with [`Group`], [`Tensor`], [`Extras`] and [`Report`]; [`grad_squares`] for a model in pieces |
//! | on several threads | [`Pool`], or threads of your own: [`Threads`] |
//! | with fewer bits | the arrays of a [`Tensor`]: bfloat16, half precision, [split](Weights::Split), [8 bits](States::Bits8); [`convert`], [`pack()`], [`unpack`] |
//! | to compare with | [`mod@reference`] |
//!
//! A whole step can scale the gradients, clip them by their common norm, skip the step if one is not
//! finite, update, write a copy of the weights in another type, and set the gradients to zero. Groups have
//! different hyper-parameters or rules:
//!
//! ```
//! use downhill::{Adamw, Extras, Group, Pool, Tensor, Threads, step};
//!
//! let (mut w, mut g, mut m, mut v) = (vec![1.0; 600], vec![0.5; 600], vec![0.0; 600], vec![0.0; 600]);
//! let (mut bias, mut bias_g, mut bias_m, mut bias_v) = ([0.0; 6], [0.5; 6], [0.0; 6], [0.0; 6]);
//! let decayed = Adamw::default();
//! let not_decayed = Adamw { weight_decay: 0.0, ..decayed };
//! let extras = Extras { max_norm: 1.0, zero_grad: true, skip_nonfinite: true, ..Extras::default() };
//! let pool = Pool::new(0); // once; 0: a thread for each CPU
//! let mut t = 1;
//! while t <= 3 {
//!     // ... compute the gradients ...
//!     let mut weights = [Tensor::new(&mut w, &mut g, [&mut m, &mut v])]; // and hundreds more
//!     let mut biases = [Tensor::new(&mut bias, &mut bias_g, [&mut bias_m, &mut bias_v])];
//!     let mut groups =
//!         [Group::new(&decayed, t, &mut weights), Group::new(&not_decayed, t, &mut biases)];
//!     let report = step(&mut groups, &extras, Threads::Pool(&pool))?;
//!     t += u64::from(!report.skipped); // a skipped step is not counted
//! }
//! assert!(g.iter().all(|&g| g == 0.0));
//! # Ok::<(), downhill::Error>(())
//! ```
//!
//! # What holds for every step
//!
//! - **The same bits** on every instruction set, at every length and alignment, with any number of
//!   threads, and however arrays are cut into calls. [`mod@reference`] has each rule as a plain loop;
//!   the kernels give its bits.
//! - **Numbers**: IEEE-754 binary32, each operation rounded on its own, in the order that the step's
//!   documentation writes. Hyper-parameters are `f64`; what is derived from them is rounded to `f32`
//!   once. A subnormal state is read as `+0`.
//! - **Errors** name the argument, its value and what is allowed, and nothing has been written. No step
//!   panics.
//! - **State** is the caller's: arrays that start as zeros, and `t`, which counts steps from 1. So
//!   resuming is exact.
//!
//! Configurations and [`Extras`] may gain fields: end a literal with `..Adam::default()`, as above, and
//! it compiles with later releases.
//!
//! `DOWNHILL_ISA` in the environment names a lower instruction set for all steps ([`Isa`]), and
//! `DOWNHILL_MIGRATE=0` keeps a pool's workers where the system puts them ([`Pool::new`]).

mod check;
mod convert;
mod decay;
mod error;
mod formats;
mod hyperparameter;
mod isa;
mod lane;
mod norm;
mod optimizer;
mod power;
pub mod reference;
mod rounding;
mod rows;
mod rule;
mod rules;
mod state;
mod step;
mod sweep;
mod sys;
mod tensor;
mod threads;

pub use convert::convert;
pub use decay::Decay;
pub use error::Error;
pub use formats::{Values, pack, state_bytes, unpack};
pub use hyperparameter::{Hyperparameter, Range};
pub use isa::Isa;
pub use norm::{NonFinite, grad_squares};
pub use optimizer::Optimizer;
pub use rounding::{Numbering, Rounding};
pub use rows::Rows;
pub use rules::*;
pub use state::{State, StateKind};
pub use step::{Extras, Report, step, step_on};
pub use tensor::{Arrays, Element, Gradient, Group, StateElement, States, Tensor, WeightCopy, Weights};
pub use threads::{ParallelFor, Pool, Threads};

/// What else the package of the C libraries needs. It changes with any release, and is nobody else's to
/// use.
#[doc(hidden)]
#[allow(missing_docs, reason = "nobody else uses it")]
pub mod abi {
    pub use crate::{
        check::{clamp as check_clamp, step as check_step},
        norm::each_sum,
        optimizer::Engine,
        rows::Listed as ListedRows,
        rule::Configuration,
        step::{Sizes, check_extras, check_has_rows, check_number, check_row_state, step_checked},
        sys::{has_room, in_default_environment, with_room, without_cancellation},
        tensor::Foreign,
        threads::MOST_THREADS,
    };
}

/// The README's programs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
