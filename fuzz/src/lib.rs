//! What the fuzz targets share: the C interface by its own header, memory of exact size, every rule with any
//! configuration, and which statuses a call may return.

#[allow(
    non_camel_case_types,
    non_upper_case_globals,
    missing_docs,
    reason = "generated from the header"
)]
pub mod abi {
    include!(concat!(env!("OUT_DIR"), "/abi.rs"));
}
#[allow(dead_code, missing_docs, reason = "its functions are called by name, as from C")]
#[path = "../../capi/src/lib.rs"]
mod capi;
pub mod check;
pub mod input;
pub mod memory;
#[allow(dead_code, missing_docs, reason = "shared with the crate's own tests")]
#[path = "../../tests/common/owned.rs"]
pub mod owned;
pub mod rules;

use downhill::{Optimizer, Report};

/// What the tests call a rule with any configuration.
type Rule = Box<dyn Optimizer>;

/// The same bits; a NaN is like any other.
fn same(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

/// Reports are compared as C has them, not here.
fn same_report(a: &Report, b: &Report) -> bool {
    a == b
}
