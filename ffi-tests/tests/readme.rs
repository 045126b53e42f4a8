//! The programs of the documents compile and do what is said of them.

use std::fs;

use ffi_tests::{
    Linking,
    Standard::{self, *},
    compile, directory, root, run,
};

/// What the program in this section of a document prints, linked in both ways.
fn printed(document: &str, heading: &str, language: &str, standard: Standard) -> [String; 2] {
    let name = format!("{document}-{heading}").replace([' ', '.', '/'], "-");
    let source = directory("readme").join(format!("{name}.{language}"));
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
    let programs = [
        ("README.md", "A whole step in one call"),
        ("docs/formats.md", "An example"),
        ("docs/rows.md", "An example"),
        ("docs/recipes.md", "Gradient accumulation"),
        ("docs/recipes.md", "Loss scaling that skips and backs off"),
        ("docs/recipes.md", "Frozen layers"),
        ("docs/recipes.md", "From llm.c"),
        ("docs/recipes.md", "From DeepSpeed's offload"),
    ];
    for (document, heading) in programs {
        for printed in printed(document, heading, "c", C99) {
            assert_eq!(printed.trim_end(), block(document, heading, "text"));
        }
    }
}

/// Three batches with a gradient that is not finite: with the loops that the headers print, the first
/// step that is made is Adam's first, and moves each weight by `lr`. Counted as the fourth, it would be
/// 0.58 of that. One of the weights decays before.
const DECAYED_AND_NOT: &str = "4 0.25000 0.50000\n";

#[test]
fn the_c_headers_example_counts_no_skipped_step() {
    let example = example(
        "downhill.h",
        "    downhill_adam decayed",
        "... compute g0 and g1 ...",
        "g0[0]",
        "g1[0]",
    );
    let (configurations, rest) = example.split_once("    downhill_tensor weight").expect("the tensors");
    let program = format!(
        "#include <downhill.h>\n#include <math.h>\n#include <stdio.h>\n\
         int main(void) {{\n\
         enum {{ n0 = 1, n1 = 1, steps = 1 }};\n\
         float w0[1] = {{1.0f}}, g0[1], m0[1] = {{0}}, v0[1] = {{0}};\n\
         float w1[1] = {{1.0f}}, g1[1], m1[1] = {{0}}, v1[1] = {{0}};\n\
         int batches = 0;\n\
         {configurations}\
         decayed.lr = not_decayed.lr = decayed.weight_decay = 0.5;\n\
         decayed.eps = not_decayed.eps = 0.0;\n\
         downhill_tensor weight{rest}\
         downhill_pool_free(pool);\n\
         printf(\"%d %.5f %.5f\\n\", batches, w0[0], w1[0]);\n\
         return 0; }}\n"
    );
    check_example("header.c", &program, C99);
}

#[test]
fn the_cpp_headers_example_counts_no_skipped_step() {
    let first = "    downhill::adamw config;\n";
    let example = example("downhill.hpp", first, "... compute the gradients ...", "g[0]", "bias_g[0]");
    let program = format!(
        "#include <downhill.hpp>\n#include <cmath>\n#include <cstdio>\n\
         int main() {{\n\
         const std::uint64_t n = 1, steps = 1;\n\
         std::vector<float> w{{1.0f}}, g(1), m(1), v(1);\n\
         float bias[1] = {{1.0f}}, bias_g[1], bias_m[1] = {{}}, bias_v[1] = {{}};\n\
         int batches = 0;\n\
         {first}config.lr = config.weight_decay = 0.5; config.eps = 0.0;\n{rest}\
         std::printf(\"%d %.5f %.5f\\n\", batches, w[0], bias[0]); }}\n",
        rest = example.strip_prefix(first).expect("its first line"),
    );
    check_example("header.cpp", &program, Cxx17);
}

/// The example of a header from its first line on, which computes the gradients 3 and 4, or NaN for the
/// second in the first three batches.
fn example(header: &str, first: &str, compute: &str, g0: &str, g1: &str) -> String {
    let header = fs::read_to_string(root().join("include").join(header)).unwrap();
    let start = header.find(&format!("\n * {first}")).expect("the example");
    let (example, _) = header[start..].split_once("\n *\n").expect("its end");
    let example = example.replace("\n * ", "\n") + "\n";
    assert!(example.contains(compute), "{example}");
    let gradients = format!("batches++; {g0} = 3.0f; {g1} = batches <= 3 ? (float)NAN : 4.0f;");
    example[1..].replace(compute, &gradients)
}

fn check_example(name: &str, program: &str, standard: Standard) {
    let source = directory("readme").join(name);
    fs::write(&source, program).unwrap();
    assert_eq!(run(&compile(&source, standard, Linking::Static), &[]), DECAYED_AND_NOT);
}

/// No program of the recipes is left out: Rust's are doc tests, and C's are tested above.
#[test]
fn every_recipe_in_c_is_tested() {
    let recipes = fs::read_to_string(root().join("docs/recipes.md")).unwrap();
    let tested = fs::read_to_string(root().join("ffi-tests/tests/readme.rs")).unwrap();
    let sections: Vec<&str> = recipes.split("\n## ").filter(|text| text.contains("\n```c\n")).collect();
    for section in &sections {
        let heading = section.lines().next().unwrap();
        assert_eq!(section.matches("\n```c\n").count(), 1, "{heading}: only the first is tested");
        assert!(tested.contains(&format!("(\"docs/recipes.md\", \"{heading}\")")), "{heading}");
    }
    assert!(sections.len() > 3, "{sections:?}");
}
