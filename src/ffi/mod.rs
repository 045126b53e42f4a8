//! The C ABI, and the only `unsafe` in the crate. Each function checks its arguments, makes slices of
//! them and makes one call. `include/downhill.h` is generated from these files, comments included.
//!
//! What the checks cannot see is the C caller's promise, made at the top of the header: an array has
//! `n` elements, all initialized; `config` points to `struct_size` bytes; nobody else writes to an
//! array, or reads one that is updated, during the call. Every `SAFETY` comment here leans on it.
#![allow(unsafe_code, reason = "raw pointers from C become slices here and nowhere else")]
#![allow(non_camel_case_types, reason = "these are C's names")]

mod arrays;
mod boundary;
mod config;
mod cpu;
mod decode;
mod environment;
mod fork;
mod library;
mod many;
mod packed;
mod pool;
mod prefetch;
mod read;
mod signals;
mod status;
mod steps;
mod tensors;

pub(crate) use cpu::{current_cpu, leave_cpu};
pub(crate) use environment::in_default_environment;
pub(crate) use fork::forks;
pub(crate) use prefetch::prefetch;
pub(crate) use signals::with_signals_blocked;
