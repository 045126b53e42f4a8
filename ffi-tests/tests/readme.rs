//! The programs of the documents compile and do what is said of them.

use std::fs;

use ffi_tests::{
    Linking,
    Standard::{self, *},
    compile, directory, root, run,
};

/// What the program in this section of a document prints, linked in both ways.
fn printed(document: &str, heading: &str, language: &str, standard: Standard) -> [String; 2] {
    let source = directory("readme").join(heading.replace(' ', "-")).with_extension(language);
    fs::write(&source, format!("{}\n", block(document, heading, language))).unwrap();
    [Linking::Static, Linking::Shared].map(|linking| run(&compile(&source, standard, linking), &[]))
}

/// The first block of a language in a section.
fn block(document: &str, heading: &str, language: &str) -> String {
    let document = fs::read_to_string(root().join(document)).unwrap();
    let (_, section) = document.split_once(&format!("\n## {heading}\n")).expect("the heading");
    let (_, block) = section.split_once(&format!("\n```{language}\n")).expect("the block");
    block.split_once("\n```\n").expect("its end").0.to_owned()
}

#[test]
fn plain_steps_in_c_and_in_cpp() {
    let [c, cpp] = [printed("README.md", "C", "c", C99), printed("README.md", "C++", "cpp", Cxx17)];
    for printed in c.into_iter().chain(cpp) {
        let weights: Vec<f32> = printed.split_whitespace().map(|w| w.parse().unwrap()).collect();
        assert!(weights.len() == 3 && weights.iter().all(|w| w.abs() < 0.1), "{printed}");
    }
}

#[test]
fn whole_steps_print_what_is_said() {
    let programs = [("README.md", "A whole step in one call"), ("docs/formats.md", "An example")];
    for (document, heading) in programs {
        for printed in printed(document, heading, "c", C99) {
            assert_eq!(printed.trim_end(), block(document, heading, "text"));
        }
    }
}

/// Three batches with a gradient that is not finite: with the loop that the header prints, the first step that is made is
/// Adam's first, and moves each weight by `lr`. Counted as skipped ones, it would be 0.58 of that.
#[test]
fn the_headers_example_counts_no_skipped_step() {
    let header = fs::read_to_string(root().join("include/downhill.h")).unwrap();
    let (_, example) = header.split_once(" *     downhill_adam decayed").expect("the example");
    let (example, _) = example.split_once("\n *\n").expect("its end");
    let mut example = example.replace("\n * ", "\n");
    for (text, with) in [
        ("not_decayed.weight_decay = 0.0;", SETTINGS),
        ("... compute g0 and g1 ...", "batches++; g0[0] = 3.0f; g1[0] = batches <= 3 ? NAN : 4.0f;"),
    ] {
        assert!(example.contains(text), "{text}: {example}");
        example = example.replace(text, with);
    }
    let program = format!(
        "#include <downhill.h>\n#include <math.h>\n#include <stdio.h>\n\
         #pragma GCC diagnostic ignored \"-Wmissing-field-initializers\"\n\
         int main(void) {{\n\
         enum {{ n0 = 1, n1 = 1, steps = 1 }};\n\
         float w0[1] = {{1.0f}}, g0[1], m0[1] = {{0}}, v0[1] = {{0}};\n\
         float w1[1] = {{1.0f}}, g1[1], m1[1] = {{0}}, v1[1] = {{0}};\n\
         int batches = 0;\n\
         downhill_adam decayed{example}\n\
         downhill_pool_free(pool);\n\
         printf(\"%d %.5f %.5f\\n\", batches, w0[0], w1[0]);\n\
         return 0; }}\n"
    );
    let source = directory("readme").join("header.c");
    fs::write(&source, program).unwrap();
    assert_eq!(run(&compile(&source, C99, Linking::Static), &[]), "4 0.50000 0.50000\n");
}

/// With which Adam's first step is `lr`.
const SETTINGS: &str =
    "decayed.lr = 0.5; decayed.eps = 0.0; decayed.weight_decay = 0.0; not_decayed = decayed;";
