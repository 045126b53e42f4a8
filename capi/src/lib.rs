//! The C ABI of `downhill`, as the libraries `libdownhill.so` and `libdownhill.a`. Each function checks
//! its arguments, makes slices of them and makes one call. `include/downhill.h` is generated from these
//! files, comments included.
//!
//! What the checks cannot see is the C caller's promise, made at the top of the header: an array has
//! `n` elements, all initialized; `config` points to `struct_size` bytes; nobody else writes to an
//! array, or reads one that is updated, during the call. Every `SAFETY` comment here leans on it.
#![allow(unsafe_code, reason = "raw pointers from C become slices here and nowhere else")]
#![allow(non_camel_case_types, reason = "these are C's names")]

mod arrays;
mod boundary;
mod convert;
mod group;
#[cfg(test)]
mod header;
mod library;
mod overlap;
mod pool;
mod read;
mod rules;
mod status;
mod step;
