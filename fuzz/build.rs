//! The declarations of `downhill.h`, for Rust.

use std::{env, path::PathBuf};

fn main() {
    let header = "../include/downhill.h";
    println!("cargo::rerun-if-changed={header}");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("abi.rs");
    bindgen::builder()
        .header(header)
        .allowlist_item("downhill_.*|DOWNHILL_.*")
        .prepend_enum_name(false)
        .layout_tests(false)
        .generate()
        .expect("the header is C; bindgen says above what it misses (libclang, perhaps)")
        .write_to_file(out)
        .expect("cargo's directory can be written to");
}
