//! A language that has no C compiler to read the header with.

use std::{env, process::Command};

use ffi_tests::{library, named_by, root, skip, text};

#[test]
fn adam_through_ctypes() {
    if !cfg!(target_os = "linux") {
        return skip("step.py opens libdownhill.so");
    }
    if env::var_os("DOWNHILL_LIBRARY_DIR").is_some() {
        return skip("this library is for another machine than Python, or under a sanitizer");
    }
    let mut python = named_by("PYTHON").unwrap_or_else(|| Command::new("python3"));
    python.arg(root().join("ffi-tests/python/step.py")).arg(library("libdownhill.so"));
    let output = python.output().unwrap_or_else(|error| {
        panic!("cannot run {python:?} ({error}): the test needs Python 3; set PYTHON")
    });
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "two steps from Python\n");
}
