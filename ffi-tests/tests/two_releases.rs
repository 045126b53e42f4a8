//! What Rust programs link: two releases of the crate at once, and a shared library of their own that
//! exports none of our names.

use std::{env, fs, path::Path, process::Command};

use ffi_tests::{directory, root, skip, text, tool};

const MANIFEST: &str = r#"
[package]
name = "two-releases"
version = "0.0.0"
edition = "2024"

[lib]
crate-type = ["cdylib", "rlib"]

[dependencies]
downhill = { path = "ROOT" }
other = { package = "downhill", path = "../other" }

[workspace]

[profile.dev]
debug = false
"#;

const LIBRARY: &str = r#"
#[unsafe(no_mangle)]
pub extern "C" fn step(w: &mut f32) {
    downhill::sgd_step(std::slice::from_mut(w), &[1.0], &downhill::Sgd::default()).unwrap();
    other::sgd_step(std::slice::from_mut(w), &[1.0], &other::Sgd::default()).unwrap();
    // Of a tensor without elements, by a trait object.
    let adam: Box<dyn downhill::Optimizer> = downhill::Adam::default().into();
    let (mut w, g, mut m, mut v): ([f32; 0], [f32; 0], [f32; 0], [f32; 0]) = ([], [], [], []);
    let mut tensors = [downhill::Tensor::new(&mut w, &g, [&mut m, &mut v])];
    let mut groups = [downhill::Group::new(&*adam, 1, &mut tensors)];
    downhill::step(&mut groups, &downhill::Extras::default(), downhill::Threads::Caller).unwrap();
}
"#;

const PROGRAM: &str = r#"
fn main() {
    let mut w = 1.0;
    two_releases::step(&mut w);
    let (pool, others) = (downhill::Pool::new(2), other::Pool::new(2));
    println!("{w} {} {}", pool.threads(), others.threads());
}
"#;

/// The crate's sources as another release, in a folder of their own.
fn copy_as(version: &str, to: &Path) {
    copy(&root().join("src"), &to.join("src"));
    put(&to.join("README.md"), fs::read(root().join("README.md")).unwrap());
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let (package, rest) = manifest.split_once("[workspace]\n").expect("it is a workspace");
    let (_, rest) = rest.split_once("[workspace.package]\n").expect("what members inherit");
    let (inherited, _) = rest.split_once("[profile").expect("profiles");
    let (_, after) = inherited.split_once("version = \"").expect("a version");
    let ours = after.split('"').next().expect("its end");
    let inherited = inherited.replacen(ours, version, 1);
    put(&to.join("Cargo.toml"), format!("{package}[workspace]\n[workspace.package]\n{inherited}"));
}

/// Writes a file, unless it is there: cargo builds again what is newer than what it has built.
fn put(file: &Path, text: impl AsRef<[u8]>) {
    if !fs::read(file).is_ok_and(|before| before == text.as_ref()) {
        fs::write(file, text).unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            put(&to, fs::read(from).unwrap());
        }
    }
}

#[test]
fn two_releases_in_one_program() {
    if env::var_os("DOWNHILL_LIBRARY_DIR").is_some() {
        return skip("only the C libraries are for another machine, or under a sanitizer");
    }
    let folder = directory("two-releases/program");
    copy_as("0.0.7", &folder.join("../other"));
    fs::create_dir_all(folder.join("src")).unwrap();
    let here = fs::canonicalize(root()).unwrap();
    put(&folder.join("Cargo.toml"), MANIFEST.replace("ROOT", &here.display().to_string()));
    put(&folder.join("src/lib.rs"), LIBRARY);
    put(&folder.join("src/main.rs"), PROGRAM);
    fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();

    let mut cargo = Command::new(env!("CARGO"));
    // What was built for the tests is all there is to build this with.
    cargo.current_dir(&folder).args(["run", "--quiet", "--offline", "--target-dir", "target"]);
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "0.998 2 2\n");

    if cfg!(target_os = "linux") {
        let shared = folder.join("target/debug/libtwo_releases.so");
        let exported = tool("NM", "nm", &["-D", "--defined-only"], &shared);
        let names: Vec<_> = exported.lines().filter_map(|line| line.split(' ').next_back()).collect();
        assert_eq!(names, ["step"], "what a Rust library exports that uses the crate");
        // A kernel in a user's crate would be compiled there again, and by the user's profile.
        let ours = tool("NM", "nm", &["-C"], &folder.join("target/debug/libtwo_releases.rlib"));
        assert!(ours.contains(" T step") && ours.contains("downhill::step::step"), "{ours}");
        assert!(!ours.contains("vectorize") && !ours.contains("downhill::sweep"), "{ours}");
    } else {
        skip("`nm -D` reads Linux's libraries");
    }
}
