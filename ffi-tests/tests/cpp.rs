//! `downhill.hpp`, in every way that it can be compiled.

use downhill::Isa;
use ffi_tests::{Linking::*, Standard::*, compile_with, root, run};

/// With these, no conversion or hidden name goes unseen.
const STRICT: [&str; 2] = ["-Wconversion", "-Wshadow"];

#[test]
fn every_call_is_cs_call() {
    let source = root().join("ffi-tests/cpp/wrapper.cpp");
    for standard in [Cxx17, Cxx20] {
        for flags in [&[][..], &["-fno-exceptions", "-fno-rtti"]] {
            let program = compile_with(flags, &source, standard, Shared);
            for isa in Isa::available() {
                let printed = run(&program, &[("DOWNHILL_ISA", isa.name())]);
                println!("{standard:?} {flags:?} {isa}: {}", printed.trim());
            }
        }
    }
}

/// A program of every header alone, with more warnings than the tests have.
#[test]
fn headers_are_free_of_warnings() {
    for (header, standards) in
        [("downhill.h", &[C99, C11, Cxx11, Cxx17, Cxx20][..]), ("downhill.hpp", &[Cxx17, Cxx20])]
    {
        let source = ffi_tests::directory("headers").join(header).with_extension("alone");
        let twice =
            format!("#include <{header}>\n#include <{header}>\nint main(void) {{ return 0; }}\n");
        std::fs::write(&source, twice).unwrap();
        for &standard in standards {
            run(&compile_with(&STRICT, &source, standard, Shared), &[]);
        }
    }
}
