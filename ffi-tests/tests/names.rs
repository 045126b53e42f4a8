//! The headers take no name from a program that does not begin with theirs.

use std::{fs, process::Command};

use ffi_tests::{
    Linking::*,
    Standard::{self, *},
    compile, compile_with, directory, named_by, root, run, skip,
};

#[test]
fn every_name_of_the_c_header_begins_with_downhill() {
    for standard in [C99, Cxx17] {
        let (macros, text) = preprocessed("downhill.h", standard);
        let names = declared(&text);
        for name in [
            "downhill_adam",
            "downhill_adam_step",
            "downhill_pool",
            "downhill_status",
            "downhill_sgd_default",
        ] {
            assert!(names.iter().any(|found| found == name), "{name} is not among {names:?}");
        }
        for name in ["DOWNHILL_VERSION_MAJOR", "DOWNHILL_STATUS_OK", "DOWNHILL_DECAY_L2"] {
            assert!(macros.iter().any(|found| found == name), "{name} is not among {macros:?}");
        }
        for name in names.iter().chain(&macros) {
            assert!(has_prefix(name), "{standard:?}: `{name}` is any program's name");
        }
    }
}

#[test]
fn every_name_of_the_cpp_header_is_in_its_namespace_or_begins_with_downhill() {
    let (macros, text) = preprocessed("downhill.hpp", Cxx17);
    let names = declared(&text);
    assert!(names.iter().any(|name| name == "namespace downhill"), "{names:?}");
    for name in names.iter().chain(&macros) {
        assert!(has_prefix(name), "`{name}` is any program's name");
    }
}

/// The test above would find nothing wrong if it saw no names.
#[test]
fn names_are_found_wherever_they_are_declared() {
    let text = "typedef struct Failure Failure; struct A { int b; }; enum C { D = 1, E }; typedef uint32_t F; \
                extern \"C\" { G *h(I j, int k); static inline int l(void) { int m; return m; } } \
                namespace n { int o; } typedef int (*p)(int q, int (*s)(int t)); extern int r[3];";
    let expected =
        ["Failure", "Failure", "A", "C", "D", "E", "F", "G", "h", "l", "namespace n", "p", "r"];
    assert_eq!(declared(text), expected);
}

#[test]
fn a_program_keeps_its_own_names() {
    for standard in [C99, C11, Cxx11, Cxx17] {
        println!("{}", run(&compile(&root().join("ffi-tests/c/names.c"), standard, Static), &[]).trim());
    }
}

/// Programs define short names before they include headers: `N`, `T`, `min`, `I` of complex.h, `near` of
/// Windows.
#[test]
fn a_program_keeps_its_own_macros() {
    let letters = ('A'..='Z').map(|letter| letter.to_string());
    let others =
        ["min", "max", "small", "near", "far", "interface", "TRUE", "OK", "ERROR", "STATES", "STEP"];
    let names: Vec<String> = letters.chain(others.map(str::to_owned)).collect();
    // The system's headers have names like these themselves, so they come first.
    let program = |header: &str, body: &str, system: &str| {
        let undefined: String = names.iter().map(|name| format!("#undef {name}\n")).collect();
        let defined: String = names.iter().map(|name| format!("#define {name} +\n")).collect();
        format!("{system}\n{defined}#include <{header}>\n{undefined}int main(void) {{ {body} }}\n")
    };
    let c = "return downhill_sgd_default().lr == 1e-3 ? 0 : 1;";
    let system = "#include <stddef.h>\n#include <stdint.h>";
    let cpp_system = "#include <array>\n#include <cstddef>\n#include <cstdint>\n#include <cstdio>\n#include <initializer_list>\n\
                      #include <memory>\n#include <stdexcept>\n#include <type_traits>\n#include <utility>\n#include <vector>\n#if __cplusplus >= 202002L\n#include <span>\n#include <version>\n#endif";
    for (header, body, system, standard) in [
        ("downhill.h", c, system, C99),
        ("downhill.h", c, system, Cxx11),
        ("downhill.hpp", c, cpp_system, Cxx17),
        ("downhill.hpp", c, cpp_system, Cxx20),
    ] {
        let source = directory("names").join(format!("macros-{header}-{standard:?}.c"));
        fs::write(&source, program(header, body, system)).unwrap();
        run(&compile(&source, standard, Static), &[]);
    }
}

/// A header that is imported as a module may not call functions that each file has for itself.
#[test]
fn the_cpp_header_is_a_header_unit() {
    let directory = directory("header-unit");
    let compiler = || {
        let mut command = named_by("CXX").unwrap_or_else(|| Command::new("c++"));
        command.current_dir(&directory).args([
            "-std=c++20",
            "-fmodules-ts",
            "-Wall",
            "-Wextra",
            "-Werror",
        ]);
        command.arg("-I").arg(root().join("include"));
        command
    };
    fs::write(directory.join("nothing.hpp"), "inline int nothing() { return 0; }\n").unwrap();
    let can = compiler().args(["-x", "c++-header", "nothing.hpp"]).output().unwrap();
    if !can.status.success() {
        return skip("this C++ compiler makes no header units with -fmodules-ts");
    }
    let header = root().join("include/downhill.hpp");
    let unit = compiler().args(["-x", "c++-header"]).arg(header).output().unwrap();
    assert!(unit.status.success(), "{}", String::from_utf8_lossy(&unit.stderr));
}

/// Two files of one program that include the header have one definition of each default.
#[test]
fn defaults_are_one_function_in_cpp() {
    let folder = directory("names");
    let other = folder.join("other.hpp.cpp");
    fs::write(
        &other,
        "#include <downhill.h>\nvoid *other() { return (void *)&downhill_adam_default; }\n",
    )
    .unwrap();
    let source = folder.join("defaults.cpp");
    let program = "#include <downhill.h>\nvoid *other();\n\
                   int main() { return other() == (void *)&downhill_adam_default ? 0 : 1; }\n";
    fs::write(&source, program).unwrap();
    run(&compile_with(&[other.to_str().expect("UTF-8")], &source, Cxx17, Static), &[]);
}

fn has_prefix(name: &str) -> bool {
    let name = name.strip_prefix("namespace ").unwrap_or(name);
    name == "downhill" || name.starts_with("downhill_") || name.starts_with("DOWNHILL_")
}

/// The macros that a header defines, and what the compiler sees of it; nothing of what it includes.
fn preprocessed(header: &str, standard: Standard) -> (Vec<String>, String) {
    let source = directory("names").join(format!("{header}-{standard:?}.c"));
    fs::write(&source, format!("#include <{header}>\n")).unwrap();
    let (variable, compiler, language, version) = standard.compiler();
    let mut command = named_by(variable).unwrap_or_else(|| Command::new(compiler));
    command.args(["-E", "-dD", "-x", language, version, "-I"]).arg(root().join("include")).arg(&source);
    let output = command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    assert!(output.status.success(), "{command:?}");
    let all = String::from_utf8(output.stdout).unwrap();
    let (mut macros, mut text, mut ours) = (Vec::new(), String::new(), false);
    for line in all.lines() {
        if let Some(define) = line.strip_prefix("#define ") {
            let name = define.split([' ', '(']).next().unwrap();
            macros.extend(ours.then(|| name.to_owned()));
        } else if let Some(marker) = line.strip_prefix("# ") {
            // `# 12 "file" flags`
            ours = marker.split('"').nth(1).is_some_and(|file| file.ends_with(&format!("/{header}")));
        } else if ours && !line.starts_with('#') {
            text += line;
            text += "\n";
        }
    }
    (macros, text)
}

/// What is between a pair of braces.
#[derive(Clone, Copy, PartialEq)]
enum Braces {
    /// Declarations like those outside: `extern "C"`.
    Same,
    Enumerators,
    /// Members, a function's body, a namespace.
    Inside,
}

/// Every name that C code declares for the whole program: types, tags, enumerators, functions,
/// variables, namespaces.
fn declared(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut open: Vec<Braces> = Vec::new();
    // Parentheses hold parameters, but for the name in `(*p)(int)`.
    let (mut parentheses, mut brackets) = (0, 0);
    let mut before = [String::new(), String::new()];
    // Of the declaration so far.
    let mut head = Vec::new();
    let mut may_be_enumerator = false;
    for token in tokens(text) {
        let is_name = token.starts_with(|c: char| c.is_alphabetic() || c == '_');
        let inside = open.contains(&Braces::Inside);
        let in_enum = open.last() == Some(&Braces::Enumerators);
        match &token[..] {
            "{" => open.push(match &head[..] {
                _ if inside => Braces::Inside,
                [.., external, language] if external == "extern" && language == "\"C\"" => Braces::Same,
                head if head.iter().any(|token| token == "enum") => Braces::Enumerators,
                _ => Braces::Inside,
            }),
            "}" => drop(open.pop()),
            "(" => parentheses += 1,
            ")" => parentheses -= 1,
            "[" => brackets += 1,
            "]" => brackets -= 1,
            _ if !is_name || inside || brackets > 0 => {}
            _ if in_enum => names.extend(may_be_enumerator.then(|| token.clone())),
            _ if parentheses > 1 || (parentheses == 1 && before != ["(", "*"]) => {}
            name if before[1] == "namespace" => names.push(format!("namespace {name}")),
            name => names.extend((!is_languages(name)).then(|| token.clone())),
        }
        may_be_enumerator = token == "{" || token == ",";
        if ["{", "}", ";"].contains(&&token[..]) {
            head.clear();
        } else {
            head.push(token.clone());
        }
        before = [std::mem::take(&mut before[1]), token];
    }
    names
}

/// Identifiers, numbers, strings; everything else one by one.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let end = match first {
            '"' => 2 + rest[1..].find('"').expect("a string ends"),
            c if is_word(c) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            c => c.len_utf8(),
        };
        tokens.push(rest[..end].to_owned());
        rest = rest[end..].trim_start();
    }
    tokens
}

fn is_languages(name: &str) -> bool {
    const NAMES: [&str; 26] = [
        "auto",
        "char",
        "class",
        "const",
        "constexpr",
        "double",
        "enum",
        "extern",
        "float",
        "inline",
        "int",
        "int16_t",
        "int64_t",
        "int8_t",
        "long",
        "namespace",
        "size_t",
        "static",
        "struct",
        "typedef",
        "uint16_t",
        "uint32_t",
        "uint64_t",
        "uint8_t",
        "unsigned",
        "void",
    ];
    NAMES.contains(&name)
}
