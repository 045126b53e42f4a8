//! Compiles and runs C and C++ programs against `downhill.h` and the libraries as they ship.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
    thread,
};

#[path = "../../tests/common/runner.rs"]
mod runner;

pub use runner::{command, is_brief, named_by, skip, skipped_in_emulator};

/// A language standard that the header promises to work in.
#[derive(Clone, Copy, Debug)]
pub enum Standard {
    /// C99
    C99,
    /// C11
    C11,
    /// C++11
    Cxx11,
    /// C++17
    Cxx17,
    /// C++20
    Cxx20,
}

impl Standard {
    /// The environment variable that names the compiler, the compiler if it does not, and the flags for
    /// the language and its version.
    pub fn compiler(self) -> (&'static str, &'static str, &'static str, &'static str) {
        match self {
            Self::C99 => ("CC", "cc", "c", "-std=c99"),
            Self::C11 => ("CC", "cc", "c", "-std=c11"),
            Self::Cxx11 => ("CXX", "c++", "c++", "-std=c++11"),
            Self::Cxx17 => ("CXX", "c++", "c++", "-std=c++17"),
            Self::Cxx20 => ("CXX", "c++", "c++", "-std=c++20"),
        }
    }
}

/// How a program is linked with the library.
#[derive(Clone, Copy, Debug)]
pub enum Linking {
    /// `libdownhill.a`
    Static,
    /// `libdownhill.so`
    Shared,
    /// Not at all: the program opens `libdownhill.so` itself.
    Opened,
}

/// Every warning is an error, and each operation is rounded on its own, as the library does.
/// Some start threads.
const FLAGS: [&str; 7] =
    ["-Wall", "-Wextra", "-pedantic", "-Werror", "-ffp-contract=off", "-O2", "-pthread"];

/// What `rustc --print native-static-libs` says a program needs beside `libdownhill.a`.
const NATIVE_LIBRARIES: [&str; 7] = ["-lgcc_s", "-lutil", "-lrt", "-lpthread", "-lm", "-ldl", "-lc"];

/// Compiles `source` and gives the program's path. What was compiled before is not compiled again, if
/// nothing of it has changed.
///
/// # Panics
/// If there is no compiler, or it does not accept the source; with what it said.
pub fn compile(source: &Path, standard: Standard, linking: Linking) -> PathBuf {
    compile_with(&[], source, standard, linking)
}

/// [`compile`] with more flags.
///
/// # Panics
/// As `compile` does.
pub fn compile_with(flags: &[&str], source: &Path, standard: Standard, linking: Linking) -> PathBuf {
    let name = source.file_stem().expect("a file").to_string_lossy();
    let program = directory("programs").join(format!("{name}-{standard:?}-{linking:?}"));
    let (variable, compiler, language, version) = standard.compiler();
    let mut command = named_by(variable).unwrap_or_else(|| Command::new(compiler));
    command.args(["-x", language, version]).args(FLAGS).args(flags).arg("-o").arg(&program);
    let folders = [root().join("include"), root().join("ffi-tests/c")];
    folders.iter().for_each(|folder| _ = command.arg("-I").arg(folder));
    command.arg(source);
    let mut read = vec![source.to_owned()];
    read.extend(folders.iter().flat_map(|folder| headers(folder)));
    read.extend(link(&mut command, linking));
    let (built_by, line) = (format!("{}.command", program.display()), format!("{command:?}"));
    if fs::read_to_string(&built_by).is_ok_and(|before| before == line) && is_newest(&program, &read) {
        return program;
    }
    // It says nothing of a program that is half written.
    _ = fs::remove_file(&built_by);
    let output = command.output().unwrap_or_else(|error| {
        panic!("cannot run {command:?} ({error}): the tests need a C and a C++ compiler; set {variable}")
    });
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
    fs::write(built_by, line).expect("the target directory can be written to");
    program
}

/// Tells a compiler with what to link, and gives our library if that is now.
fn link(command: &mut Command, linking: Linking) -> Option<PathBuf> {
    let library = match linking {
        Linking::Static => library("libdownhill.a"),
        Linking::Shared => library("libdownhill.so"),
        Linking::Opened => {
            command.args(["-ldl", "-lm"]);
            return None;
        }
    };
    command.args(["-x", "none"]).arg(&library);
    if let Linking::Static = linking {
        command.args(NATIVE_LIBRARIES);
    } else {
        let directory = library.parent().expect("a file").display();
        command.arg(format!("-Wl,-rpath,{directory}")).arg("-lm");
    }
    Some(library)
}

fn headers(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder of the project").map(Result::unwrap);
    let is_header = |path: &PathBuf| path.extension().is_some_and(|end| end == "h" || end == "hpp");
    entries.map(|entry| entry.path()).filter(is_header).collect()
}

/// Is a program newer than all that it was made of?
fn is_newest(program: &Path, read: &[PathBuf]) -> bool {
    let time = |path: &Path| fs::metadata(path).and_then(|file| file.modified()).ok();
    time(program).is_some_and(|built| read.iter().all(|path| time(path).is_some_and(|of| of < built)))
}

/// Tries all ways of building a program at once.
///
/// # Panics
/// If one of them does.
pub fn try_all<W: Copy + Send>(ways: &[W], try_one: impl Fn(W) + Sync) {
    let try_one = &try_one;
    thread::scope(|scope| {
        for &way in ways {
            scope.spawn(move || try_one(way));
        }
    });
}

/// Does the C compiler make a program with this flag?
pub fn has_flag(flag: &str) -> bool {
    let source = directory("flags").join("main.c");
    fs::write(&source, "int main(void) { return 0; }\n")
        .expect("the target directory can be written to");
    let mut compiler = named_by("CC").unwrap_or_else(|| Command::new("cc"));
    let output = compiler.arg(flag).arg("-o").arg(source.with_extension("out")).arg(source).output();
    output.is_ok_and(|output| output.status.success())
}

/// Runs a program with these environment variables and gives what it printed. What it says that it
/// skipped is said.
///
/// # Panics
/// If it fails; with what it said.
pub fn run(program: &Path, variables: &[(&str, &str)]) -> String {
    let output = start(program, variables);
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{program:?} {variables:?}: {}\n{stdout}{stderr}", output.status);
    stdout.lines().filter_map(|line| line.strip_prefix("SKIPPED: ")).for_each(skip);
    stdout
}

/// Runs a program with these environment variables, whether or not it succeeds.
pub fn start(program: &Path, variables: &[(&str, &str)]) -> Output {
    command(program).envs(variables.iter().copied()).output().expect("the program was just compiled")
}

/// What a tool prints that comes with the C compiler: `name`, or what the environment's `variable`
/// names.
///
/// # Panics
/// If it cannot be run.
pub fn tool(variable: &str, name: &str, arguments: &[&str], file: &Path) -> String {
    let mut command = named_by(variable).unwrap_or_else(|| Command::new(name));
    let output = command.args(arguments).arg(file).output().unwrap_or_else(|error| {
        panic!("cannot run {command:?} ({error}), which comes with the C compiler; set {variable}")
    });
    text(&output.stdout)
}

/// What a program printed.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The project's top directory.
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// A directory for what the tests make.
pub fn directory(name: &str) -> PathBuf {
    let directory = beside_this_test().join("ffi-tests").join(name);
    fs::create_dir_all(&directory).expect("the target directory can be written to");
    directory
}

/// One of the C libraries, built as it ships. `cargo test` builds no C libraries, so this does, once.
/// `DOWNHILL_LIBRARY_DIR` names a folder with others to test: for another machine, under a sanitizer,
/// installed.
///
/// # Panics
/// If it cannot be built, or is not there.
pub fn library(name: &str) -> PathBuf {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    let directory = DIRECTORY.get_or_init(|| {
        env::var_os("DOWNHILL_LIBRARY_DIR")
            .map_or_else(build_libraries, |directory| root().join(directory))
    });
    let path = directory.join(name);
    assert!(path.exists(), "{path:?} is not there");
    path
}

/// Builds both, where `cargo build --release --package downhill-capi` does, and says where that is.
fn build_libraries() -> PathBuf {
    let target = beside_this_test().join("../..");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root()).args(["build", "--locked", "--release", "--package", "downhill-capi"]);
    let output = cargo.arg("--target-dir").arg(&target).output().expect("cargo runs these tests");
    assert!(output.status.success(), "{cargo:?}\n{}", text(&output.stderr));
    target.join("release")
}

/// The folder of this test's own program, `target/debug/deps` or the like.
fn beside_this_test() -> PathBuf {
    let test = env::current_exe().expect("a test knows its own path");
    test.parent().expect("a file").to_owned()
}

/// The programs of docs/rows.md that are in Rust; `tests/readme.rs` has those in C.
#[cfg(doctest)]
#[doc = include_str!("../../docs/rows.md")]
struct RowsOfATable;

/// The programs of docs/recipes.md that are in Rust; `tests/readme.rs` has those in C.
#[cfg(doctest)]
#[doc = include_str!("../../docs/recipes.md")]
struct Recipes;
