//! The declarations of `downhill.h`, for Rust; and of each rule in it what its configuration and its plain step look like, so that
//! the targets loop over the rules and name none.

use std::{env, fmt::Write as _, fs, path::PathBuf};

const HEADER: &str = "../include/downhill.h";

fn main() {
    println!("cargo::rerun-if-changed={HEADER}");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    bindgen::builder()
        .header(HEADER)
        .allowlist_item("downhill_.*|DOWNHILL_.*")
        .prepend_enum_name(false)
        .layout_tests(false)
        .generate()
        .expect("the header is C; bindgen says above what it misses (libclang, perhaps)")
        .write_to_file(out.join("abi.rs"))
        .expect("cargo's directory can be written to");
    let header = fs::read_to_string(HEADER).expect("the header is there");
    fs::write(out.join("rules.rs"), table(&header)).expect("cargo's directory can be written to");
}

/// A table of all rules, in the order of their tags.
fn table(header: &str) -> String {
    let tags = header.lines().filter_map(|line| line.strip_prefix("#define DOWNHILL_RULE_"));
    let rows: String =
        tags.map(|define| row(header, define.split(' ').next().expect("a name"))).collect();
    format!("/// Every rule, in the order of the tags.\npub const RULES: &[Rule] = &[\n{rows}];\n")
}

fn row(header: &str, tag: &str) -> String {
    let name = tag.to_lowercase();
    let arguments = between(header, &format!("downhill_status downhill_{name}_step("), ");");
    let arguments: Vec<&str> = arguments.split(',').map(str::trim).collect();
    let states: Vec<&str> = arguments.iter().filter_map(|a| a.strip_prefix("float *")).skip(1).collect();
    let counts_steps = arguments.contains(&"uint64_t t");
    let config =
        arguments.last().and_then(|a| a.split([' ', '*']).find(|word| word.starts_with("downhill_")));
    let config = config.expect("the last argument is the configuration");
    let body = between(header, &format!("typedef struct {config} {{\n"), "}");
    let (words, numbers): (Vec<_>, Vec<_>) = body
        .lines()
        .filter_map(|line| line.trim().strip_suffix(';')?.split_once(' '))
        .filter(|(_, name)| !["struct_size", "rule"].contains(name))
        .partition(|(kind, _)| *kind != "double");
    let names =
        |fields: &[(&str, &str)]| fields.iter().map(|field| field.1.to_owned()).collect::<Vec<_>>();
    let mut passed: String = (0..states.len()).map(|k| format!("s[{k}], ")).collect();
    if counts_steps {
        passed += "t, ";
    }
    let mut row = String::new();
    write!(
        row,
        "Rule {{ name: {name:?}, tag: DOWNHILL_RULE_{tag}, size: size_of::<{config}>(), words: &{:?}, numbers: &{:?}, \
         states: &{states:?}, counts_steps: {counts_steps}, \
         // SAFETY: what the caller of the field promises.\n\
         step: |n, w, g, s, t, config| unsafe {{ let _ = (s, t); downhill_{name}_step(n, w, g, {passed}config.cast()) }} }},\n",
        names(&words),
        names(&numbers),
    )
    .expect("a String");
    row
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let (_, rest) = text.split_once(start).unwrap_or_else(|| panic!("the header has no {start:?}"));
    rest.split_once(end).expect("its end").0
}
