//! The README's C and C++ programs compile and do what it says.

use std::fs;

use ffi_tests::{
    Linking,
    Standard::{self, *},
    compile, directory, root, run,
};

/// What the program in the README behind this heading prints, linked in both ways.
fn printed(heading: &str, language: &str, standard: Standard) -> [String; 2] {
    let source = directory("readme").join(heading.replace(' ', "-")).with_extension(language);
    fs::write(&source, format!("{}\n", block(heading, language))).unwrap();
    [Linking::Static, Linking::Shared].map(|linking| run(&compile(&source, standard, linking), &[]))
}

/// The first block of a language behind a heading.
fn block(heading: &str, language: &str) -> String {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let (_, section) = readme.split_once(&format!("\n## {heading}\n")).expect("the heading");
    let (_, block) = section.split_once(&format!("\n```{language}\n")).expect("the block");
    block.split_once("\n```\n").expect("its end").0.to_owned()
}

#[test]
fn thirty_seconds_of_c_and_of_cpp() {
    let [c, cpp] =
        [printed("Thirty seconds of C", "c", C99), printed("Thirty seconds of C++", "cpp", Cxx17)];
    for printed in c.into_iter().chain(cpp) {
        let weights: Vec<f32> = printed.split_whitespace().map(|w| w.parse().unwrap()).collect();
        assert!(weights.len() == 3 && weights.iter().all(|w| w.abs() < 0.1), "{printed}");
    }
}

#[test]
fn a_whole_step_in_one_call_and_one_on_packed_states() {
    for heading in ["A whole step in one call", "States in fewer bits"] {
        for printed in printed(heading, "c", C99) {
            assert_eq!(printed.trim_end(), block(heading, "text"));
        }
    }
}
