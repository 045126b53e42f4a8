//! The modules of `src` import one way: each only from those before it, so that it can be read after them.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

const ORDER: [&str; 22] = [
    "sys",
    "power",
    "state",
    "rounding",
    "error",
    "lane",
    "isa",
    "check",
    "hyperparameter",
    "decay",
    "optimizer",
    "rule",
    "formats",
    "rows",
    "tensor",
    "convert",
    "threads",
    "norm",
    "sweep",
    "rules",
    "step",
    "reference",
];

/// A rule names its reference, which takes the rule's configuration.
const EXCEPT: (&str, &str) = ("rules", "reference");

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// What is between braces, up to the one that closes the first, cut at its own commas.
fn items(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut all) = (0, 0, Vec::new());
    for (i, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                all.push(&text[start..i]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                all.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    all
}

fn first_name(path: &str) -> &str {
    let path = path.trim_start();
    path.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap()
}

/// The names after each `crate::` of a source, without tests, comments, and what a macro writes elsewhere
/// (`$crate::`).
fn imported(source: &str) -> Vec<String> {
    let source = source.split("#[cfg(test)]\nmod tests").next().unwrap();
    let code: Vec<&str> = source.lines().map(|line| line.split("//").next().unwrap()).collect();
    let code = code.join("\n").replace("$crate::", "");
    let paths = code.split("crate::").skip(1).flat_map(|path| match path.strip_prefix('{') {
        Some(group) => items(group),
        None => vec![path],
    });
    paths.map(first_name).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[test]
fn each_module_imports_only_from_those_before_it() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let front = fs::read_to_string(src.join("lib.rs")).unwrap();
    let modules: Vec<&str> = front
        .lines()
        .filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';'))
        .collect();
    let listed = |module: &&&str| ORDER.contains(*module);
    assert_eq!(modules.iter().filter(listed).count(), ORDER.len(), "all in the list: {modules:?}");
    assert_eq!(modules.len(), ORDER.len(), "no other: {modules:?}");

    // Which module a public name is of. Those of `rules` come by a star.
    let mut homes = HashMap::new();
    for line in front.split("pub use ").skip(1).map(|line| line.split(';').next().unwrap()) {
        let Some((module, names)) = line.split_once("::").filter(|(m, _)| modules.contains(m)) else {
            continue;
        };
        let names = names.trim_matches(['{', '}']);
        homes.extend(names.split(',').map(|name| (name.trim(), module)));
    }
    let place = |module: &str| ORDER.iter().position(|known| *known == module).expect("a module");
    let mut seen = 0;
    for file in files(&src).into_iter().filter(|file| !file.ends_with("lib.rs")) {
        let inside = file.strip_prefix(&src).unwrap().to_str().unwrap();
        let own = first_name(inside);
        for name in imported(&fs::read_to_string(&file).unwrap()) {
            let from = match modules.iter().find(|module| **module == name) {
                Some(module) => module,
                None => homes.get(&name[..]).copied().unwrap_or("rules"),
            };
            seen += 1;
            let is_before = place(from) <= place(own) || (own, from) == EXCEPT;
            assert!(is_before, "{inside} imports `{name}` of {from}, which comes after {own}");
        }
    }
    assert!(seen > 200, "{seen} imports were found");
}
