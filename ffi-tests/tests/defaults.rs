//! Defaults of the C configurations. Those of the header are written from the crate's; the C program
//! compares them with what the library gives.

use ffi_tests::{Linking::*, Standard::*, compile, root, run};

#[test]
fn the_headers_defaults_are_the_librarys() {
    for (standard, linking) in [(C99, Static), (C99, Shared), (Cxx11, Static), (Cxx17, Static)] {
        let program = compile(&root().join("ffi-tests/c/defaults.c"), standard, linking);
        println!("{standard:?} {linking:?}: {}", run(&program, &[]).trim());
    }
}
