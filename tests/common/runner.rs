//! How tests start programs.
#![allow(dead_code, reason = "each test program uses its part")]

use std::{env, path::Path, process::Command};

/// Does this process run in an emulator (qemu)? What takes long may then be done less often.
pub fn is_emulated() -> bool {
    env::var("DOWNHILL_TEST_RUNNER").is_ok_and(|runner| runner.contains("qemu"))
}

/// Says so if this process runs in an emulator, whose threads and memory the system sees differently.
pub fn skipped_in_emulator(what: &str) -> bool {
    if is_emulated() {
        eprintln!("SKIPPED in an emulator: {what}");
    }
    is_emulated()
}

/// A program that was compiled for the tests: run through the emulator that `DOWNHILL_TEST_RUNNER` names with
/// its arguments ("qemu-x86_64 -cpu Nehalem"), if there is one.
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
