//! What compiled programs rely on: exported names, sizes and offsets, versions.

use std::{collections::BTreeSet, fs};

use ffi_tests::{Linking::*, Standard::*, compile, library, root, run, skip, tool};

#[test]
fn exactly_the_headers_functions_are_exported() {
    if !cfg!(target_os = "linux") {
        return skip("`nm -D` reads Linux's libraries");
    }
    let path = library("libdownhill.so");
    let exported = tool("NM", "nm", &["-D", "--defined-only"], &path);
    let exported: BTreeSet<_> =
        exported.lines().filter_map(|line| line.split(' ').next_back()).collect();
    let header = fs::read_to_string(root().join("include/downhill.h")).unwrap();
    let declared = functions(&header);
    assert!(declared.contains("downhill_adam_step") && !declared.contains("downhill_adam_default"));
    assert_eq!(exported, declared);
}

/// The names of the functions that a header declares without defining them.
fn functions(header: &str) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    let mut comment = false;
    for line in header.lines() {
        comment |= line.trim_start().starts_with("/*");
        if !comment && line.starts_with("DOWNHILL_API ") {
            names.extend(line.split_once('(').map(|(declaration, _)| last_word(declaration)));
        }
        comment &= !line.contains("*/");
    }
    names
}

fn last_word(declaration: &str) -> &str {
    declaration.rsplit([' ', '*']).next().expect("there is always a last one")
}

#[test]
fn sizes_and_offsets_are_as_they_were() {
    for standard in [C11, Cxx11] {
        println!(
            "{}",
            run(&compile(&root().join("ffi-tests/c/layout.c"), standard, Static), &[]).trim()
        );
    }
}

#[test]
fn header_library_and_crate_have_one_version() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let (_, rest) = manifest.split_once("\nversion = \"").unwrap();
    let version = rest.split('"').next().unwrap();
    let parts: Vec<u32> = version.split('.').map(|part| part.parse().unwrap()).collect();
    let number = parts[0] * 10_000 + parts[1] * 100 + parts[2];
    for linking in [Static, Shared] {
        let program = compile(&root().join("ffi-tests/c/version.c"), C99, linking);
        assert_eq!(run(&program, &[]), format!("{version} {number}\n{version} {number}\n"));
    }
}
