//! What the fuzz targets share: the C interface by its own header, memory of exact size, every rule with
//! any configuration, and which statuses a call may return.

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
pub mod groups;
pub mod input;
pub mod memory;
pub mod rows;
pub mod rules;
