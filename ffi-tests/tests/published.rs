//! What is published: the pages that `cargo doc` makes, and the package.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use ffi_tests::{directory, root, text};

/// What cargo prints.
fn cargo(arguments: &[&str]) -> String {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root()).args(arguments).arg("--locked");
    let output = cargo.output().expect("cargo runs these tests");
    assert!(output.status.success(), "{cargo:?}\n{}", text(&output.stderr));
    text(&output.stdout)
}

/// The values of an attribute on a page.
fn values<'a>(page: &'a str, attribute: &str) -> Vec<&'a str> {
    let start = format!(" {attribute}=\"");
    page.split(&start[..]).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

/// The pages below a folder.
fn pages(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let html = files.into_iter().filter(|path| path.extension().is_some_and(|end| end == "html"));
    html.chain(folders.iter().flat_map(|folder| pages(folder))).collect()
}

/// Links and pictures of a page that lead nowhere: to no file, or to no place in it.
fn dead_ends(page: &Path) -> Vec<String> {
    let html = fs::read_to_string(page).unwrap();
    let targets = values(&html, "href").into_iter().chain(values(&html, "src"));
    let is_dead = |target: &&str| {
        let (file, place) = target.split_once('#').unwrap_or((target, ""));
        let file = if file.is_empty() { page.to_owned() } else { page.parent().unwrap().join(file) };
        let Ok(html) = fs::read(&file) else { return true };
        // Lines of source have numbers that a script makes.
        let is_source = file.components().any(|part| part.as_os_str() == "src");
        !place.is_empty() && !is_source && !values(&text(&html), "id").contains(&place)
    };
    let ours = targets.filter(|target| {
        // A script is asked for wherever a trait is, and there only if it is implemented.
        !target.starts_with("https://") && !target.starts_with("data:") && !target.ends_with(".js")
    });
    ours.filter(is_dead).map(str::to_owned).collect()
}

/// The pages as docs.rs makes them, with all features, but for those of the dependencies.
#[test]
fn no_link_or_picture_of_the_rust_pages_leads_nowhere() {
    cargo(&["doc", "--no-deps", "--all-features", "--package", "downhill"]);
    let metadata = cargo(&["metadata", "--no-deps", "--format-version=1"]);
    let metadata: serde_json::Value = serde_json::from_str(&metadata).unwrap();
    let target = Path::new(metadata["target_directory"].as_str().unwrap());
    let pages = pages(&target.join("doc/downhill"));
    let dead: Vec<_> =
        pages.iter().map(|page| (page, dead_ends(page))).filter(|(_, dead)| !dead.is_empty()).collect();
    assert!(dead.is_empty(), "{dead:#?}");

    let front = fs::read_to_string(target.join("doc/downhill/index.html")).unwrap();
    let links: BTreeSet<_> = values(&front, "href").into_iter().collect();
    assert!(links.contains("fn.adam_step.html") && pages.len() > 50, "{links:?} {}", pages.len());
}

/// The test above would find nothing wrong if it saw no links.
#[test]
fn dead_ends_are_found() {
    let page = directory("published").join("page.html");
    fs::write(
        &page,
        "<a id=\"here\" href=\"page.html#here\"><a href=\"#there\"><a class=\"x\" href=\"docs/rules.md\">\
         <img src=\"docs/valley.svg\"><a href=\"https://example.org\"><a href=\"page.html\">",
    )
    .unwrap();
    assert_eq!(dead_ends(&page), ["#there", "docs/rules.md", "docs/valley.svg"]);
}

#[test]
fn the_package_has_what_it_needs_and_no_data() {
    let listed = cargo(&["package", "--list", "--allow-dirty", "--package", "downhill"]);
    let files: Vec<&str> = listed.lines().collect();
    for file in
        ["Cargo.toml", "README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE", "src/lib.rs"]
    {
        assert!(files.contains(&file), "{file} is missing: {files:?}");
    }
    // Cargo makes the others itself.
    for file in files.iter().filter(|file| root().join(file).exists()) {
        let bytes = fs::metadata(root().join(file)).unwrap().len();
        assert!(bytes <= 100 << 10, "{file} has {bytes} bytes");
        let is_wanted = file.starts_with("src/") || !file.contains('/');
        assert!(is_wanted, "{file} is for nobody who uses the crate");
    }

    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let (package, _) = manifest.split_once("\n[features]").unwrap();
    for key in ["description", "license", "readme", "keywords", "categories", "rust-version"] {
        let has = |line: &str| {
            line.starts_with(&format!("{key} =")) || line.starts_with(&format!("{key}.workspace"))
        };
        assert!(package.lines().any(has), "Cargo.toml has no {key}");
    }
}
