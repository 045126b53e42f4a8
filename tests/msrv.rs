//! The Rust version that `Cargo.toml` promises is one that every dependency accepts. That our own code
//! does is what clippy's `incompatible_msrv` looks after.

use std::process::Command;

use serde_json::Value;

fn version(text: &str) -> [u32; 2] {
    let mut parts = text.split('.').map(|part| part.parse().expect("a version"));
    [parts.next().expect("a major version"), parts.next().unwrap_or(0)]
}

/// Names of the packages that users build, from this package down.
fn used(metadata: &Value) -> Vec<&str> {
    let nodes = metadata["resolve"]["nodes"].as_array().expect("cargo's format");
    let mut used = vec![metadata["resolve"]["root"].as_str().expect("this package")];
    let mut next = 0;
    while let Some(&id) = used.get(next) {
        let node = nodes.iter().find(|node| node["id"] == id).expect("every package");
        for dependency in node["deps"].as_array().expect("cargo's format") {
            let kinds = dependency["dep_kinds"].as_array().expect("cargo's format");
            let package = dependency["pkg"].as_str().expect("cargo's format");
            if kinds.iter().any(|kind| kind["kind"] != "dev") && !used.contains(&package) {
                used.push(package);
            }
        }
        next += 1;
    }
    used
}

#[test]
fn every_dependency_accepts_our_rust_version() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .output()
        .expect("cargo runs this test");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let ours = version(env!("CARGO_PKG_RUST_VERSION"));
    let used = used(&metadata);
    assert!(used.len() > 10, "{used:?}");
    for package in metadata["packages"].as_array().expect("cargo's format") {
        let id = package["id"].as_str().expect("cargo's format");
        if let (true, Some(theirs)) = (used.contains(&id), package["rust_version"].as_str()) {
            assert!(version(theirs) <= ours, "{id} needs Rust {theirs}");
        }
    }
    println!("{} packages", used.len());
}
