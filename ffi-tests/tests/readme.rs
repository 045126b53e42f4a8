//! The README's C program compiles and does what it says.

use std::fs;

use ffi_tests::{Linking, Standard, compile, directory, root, run};

#[test]
fn thirty_seconds_of_c() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let (_, from_program) = readme.split_once("\n```c\n").expect("a C program");
    let (program, _) = from_program.split_once("\n```\n").expect("its end");
    let source = directory("readme").join("example.c");
    fs::write(&source, format!("{program}\n")).unwrap();
    for linking in [Linking::Static, Linking::Shared] {
        let printed = run(&compile(&source, Standard::C99, linking), &[]);
        let weights: Vec<f32> = printed.split_whitespace().map(|w| w.parse().unwrap()).collect();
        assert!(weights.len() == 3 && weights.iter().all(|w| w.abs() < 0.1), "{printed}");
    }
}
