//! `downhill.hpp`, in every way that it can be compiled.

use std::{fs, process::Command};

use downhill::Isa;
use ffi_tests::{Linking::*, Standard::*, compile_with, directory, is_brief, named_by, root, run};

#[test]
fn every_call_is_cs_call() {
    let source = root().join("ffi-tests/cpp/wrapper.cpp");
    let standards = if is_brief() { &[Cxx17][..] } else { &[Cxx17, Cxx20] };
    for &standard in standards {
        for flags in [&[][..], &["-fno-exceptions", "-fno-rtti"]] {
            let program = compile_with(flags, &source, standard, Shared);
            for isa in Isa::available() {
                let printed = run(&program, &[("DOWNHILL_ISA", isa.name())]);
                println!("{standard:?} {flags:?} {isa}: {}", printed.trim());
            }
        }
    }
}

/// Programs that include a header twice and use a little of it, with more warnings than the tests have.
#[test]
fn headers_are_free_of_warnings() {
    let c = "downhill_sgd config = downhill_sgd_default(); return config.lr > 1.0;";
    let cpp =
        "float w[2] = {}; const std::vector<float> g(2); return !downhill::step(w, g, downhill::sgd());";
    for (header, body, standards) in
        [("downhill.h", c, &[C99, C11, Cxx11, Cxx17, Cxx20][..]), ("downhill.hpp", cpp, &[Cxx17, Cxx20])]
    {
        let source = directory("headers").join(header).with_extension("alone");
        let program = format!("#include <{header}>\n#include <{header}>\nint main(void) {{ {body} }}\n");
        fs::write(&source, program).unwrap();
        for &standard in standards {
            let mut flags = vec!["-Wconversion", "-Wsign-conversion", "-Wshadow"];
            flags.extend(matches!(standard, Cxx11 | Cxx17 | Cxx20).then_some("-Wold-style-cast"));
            run(&compile_with(&flags, &source, standard, Shared), &[]);
        }
    }
}

/// Whether a step was skipped decides whether it is counted, so a program must look.
#[test]
fn a_skip_that_nobody_looks_at_is_a_warning() {
    let source = directory("headers").join("skip.cpp");
    let compiles = |call: &str| {
        let program =
            format!("#include <downhill.hpp>\nvoid f() {{ downhill::tensors list; {call} }}\n");
        fs::write(&source, program).unwrap();
        let mut compiler = named_by("CXX").unwrap_or_else(|| Command::new("c++"));
        compiler
            .args(["-std=c++17", "-Werror", "-fsyntax-only", "-I"])
            .arg(root().join("include"))
            .arg(&source);
        compiler.output().unwrap().status.success()
    };
    assert!(compiles("if (downhill::step_many(list, 1, downhill::adam()).or_throw()) return;"));
    assert!(!compiles("downhill::step_many(list, 1, downhill::adam()).or_throw();"));
    assert!(!compiles("downhill::step_many(list, 1, downhill::adam());"));
    assert!(compiles("downhill::step({}, {}, downhill::sgd()).or_throw();"));
    assert!(!compiles("downhill::step({}, {}, downhill::sgd());"));
}
