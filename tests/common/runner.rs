//! How tests start programs.
#![allow(dead_code, reason = "each test program uses its part")]

use std::{
    env,
    io::{self, Write},
    path::Path,
    process::Command,
};

/// Says that something was not tested. Not by `eprintln!`, of which nobody hears in a test that passes.
pub fn skip(what: &str) {
    writeln!(io::stderr(), "SKIPPED: {what}").expect("an error stream");
}

/// Says so if this process runs in an emulator (qemu), whose threads and memory the system sees
/// differently.
pub fn skipped_in_emulator(what: &str) -> bool {
    let emulated = env::var("DOWNHILL_TEST_RUNNER").is_ok_and(|runner| runner.contains("qemu"));
    if emulated {
        skip(&format!("{what}, in an emulator"));
    }
    emulated
}

/// Is what takes long to be done less often, as where everything is slow: in emulators and under
/// sanitizers?
pub fn is_brief() -> bool {
    env::var_os("DOWNHILL_TEST_BRIEFLY").is_some()
}

/// A program that was compiled for the tests: run through the emulator that `DOWNHILL_TEST_RUNNER` names
/// with its arguments ("qemu-x86_64 -cpu Nehalem"), if there is one.
pub fn command(program: &Path) -> Command {
    match named_by("DOWNHILL_TEST_RUNNER") {
        Some(mut emulator) => {
            emulator.arg(program);
            emulator
        }
        None => Command::new(program),
    }
}

/// The program that an environment variable names, with its arguments.
pub fn named_by(variable: &str) -> Option<Command> {
    let value = env::var(variable).ok()?;
    let mut words = value.split_whitespace();
    let mut command = Command::new(words.next()?);
    command.args(words);
    Some(command)
}
