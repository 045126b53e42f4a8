//! `downhill.hpp`, in each way that it can be compiled.

use std::{fs, process::Command};

use downhill::Isa;
use ffi_tests::{
    Linking::*, Standard::*, compile_with, directory, is_brief, named_by, root, run, text, try_all,
};

#[test]
fn every_call_is_cs_call() {
    let source = root().join("ffi-tests/cpp/wrapper.cpp");
    let ways: [(_, &[&str]); 2] = [(Cxx17, &[]), (Cxx20, &["-O0", "-fno-exceptions", "-fno-rtti"])];
    let ways = if is_brief() { &ways[..1] } else { &ways };
    try_all(ways, |(standard, flags)| {
        let program = compile_with(flags, &source, standard, Shared);
        for isa in Isa::available() {
            let printed = run(&program, &[("DOWNHILL_ISA", isa.name())]);
            println!("{standard:?} {flags:?} {isa}: {}", printed.trim());
        }
    });
}

/// Programs that include a header twice and use a little of it, with more warnings than the tests have.
#[test]
fn headers_are_free_of_warnings() {
    let c = "downhill_sgd config = downhill_sgd_default(); return config.lr > 1.0;";
    let cpp = "float w[2] = {}; const std::vector<float> g(2); \
               downhill::group group{downhill::sgd()}; group.add(w, g); \
               return !downhill::step(w, g, downhill::sgd()) || !downhill::step({group}, 1);";
    for (header, body, standards) in
        [("downhill.h", c, &[C99, C11, Cxx11, Cxx17, Cxx20][..]), ("downhill.hpp", cpp, &[Cxx17, Cxx20])]
    {
        let source = directory("headers").join(header).with_extension("alone");
        let program = format!("#include <{header}>\n#include <{header}>\nint main(void) {{ {body} }}\n");
        fs::write(&source, program).unwrap();
        for &standard in standards {
            let mut flags = vec!["-Wconversion", "-Wsign-conversion", "-Wshadow"];
            let is_cpp = matches!(standard, Cxx11 | Cxx17 | Cxx20);
            flags.push(if is_cpp { "-Wold-style-cast" } else { "-Wc++-compat" });
            run(&compile_with(&flags, &source, standard, Shared), &[]);
        }
    }
}

/// Whether a step was skipped decides whether it is counted, so a program must look.
#[test]
fn a_skip_that_nobody_looks_at_is_a_warning() {
    let source = directory("headers").join("skip.cpp");
    let compiles = |call: &str| {
        let program = format!(
            "#include <downhill.hpp>\nvoid f() {{ std::vector<float> w, g; downhill::sgd config; \
             downhill::group group(config); {call} }}\n"
        );
        fs::write(&source, program).unwrap();
        let mut compiler = named_by("CXX").unwrap_or_else(|| Command::new("c++"));
        compiler
            .args(["-std=c++17", "-Werror", "-fsyntax-only", "-I"])
            .arg(root().join("include"))
            .arg(&source);
        compiler.output().unwrap().status.success()
    };
    for call in [
        "if (downhill::step({group}, 1).or_throw()) return;",
        "group.add(w, g);",
        "downhill::step(w, g, config).or_throw();",
    ] {
        assert!(compiles(call), "{call}");
    }
    for call in [
        "downhill::step({group}, 1).or_throw();",
        "downhill::step({group}, 1);",
        "downhill::step(w, g, config);",
    ] {
        assert!(!compiles(call), "{call}");
    }
}

/// What cannot be right does not compile, and the compiler says what would be.
#[test]
fn arrays_that_are_no_arrays_of_the_rule_are_compile_errors() {
    let source = directory("headers").join("wrong.cpp");
    let error = |call: &str| {
        let program = format!(
            "#include <downhill.hpp>\n\
             void f(float *p, const std::vector<float> constant, std::uint8_t *bytes) {{\n\
             std::vector<float> w, g, m, v; std::vector<double> d; std::vector<std::uint16_t> u;\n\
             downhill::group<downhill::adam> group; downhill::adam adam;\n\
             (void)p, (void)bytes; {call} }}\n"
        );
        fs::write(&source, program).unwrap();
        let mut compiler = named_by("CXX").unwrap_or_else(|| Command::new("c++"));
        compiler.args(["-std=c++17", "-fsyntax-only", "-I"]).arg(root().join("include")).arg(&source);
        let output = compiler.output().unwrap();
        (!output.status.success()).then(|| text(&output.stderr))
    };
    for (call, reason) in [
        ("(void)downhill::step(w, g, m, v, adam);", "a rule's step takes w, g"),
        ("(void)downhill::step(w, g, m, 1, adam);", "a rule's step takes w, g"),
        ("(void)downhill::step(w, g, m, d, 1, adam);", "a rule's step takes w, g"),
        ("(void)downhill::step(w, g, constant, v, 1, adam);", "a rule's step takes w, g"),
        ("(void)downhill::step(p, p, p, p, 1, adam);", "before pointers"),
        ("group.add(p, g, m, v);", "before pointers"),
        ("group.add(w, g, m, v, v);", "the rule has fewer states"),
        ("group.add(w, g, bytes);", "give its length"),
        ("group.add(d, g, m, v);", "arrays are of float"),
        ("group.add(u, g, m, v);", "arrays are of float"),
        ("group.add(w, std::vector<float>(3), m, v);", "gone when it is needed"),
        ("group.add(constant, g, m, v);", "array<void>"),
        ("group.add(w, g, constant, v);", "array<void>"),
        ("group.add(w, g, m, v).copy_to(constant);", "array<void>"),
    ] {
        let said = error(call).unwrap_or_else(|| panic!("{call} compiles"));
        assert!(said.contains(reason), "{call}: {said}");
    }
    for call in [
        "(void)downhill::step(w, constant, m, v, 1, adam);",
        "group.add(w, constant, m, v);",
        "group.add(3, p, nullptr, p, p);",
        "group.add(downhill::as<downhill::bf16>(u), g, m, v);",
    ] {
        assert_eq!(error(call), None, "{call}");
    }
}
