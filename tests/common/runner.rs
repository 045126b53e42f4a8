//! How tests start programs.

use std::{env, path::Path, process::Command};

/// Says so if this process runs in an emulator (qemu), whose threads and memory the system sees differently.
pub fn skipped_in_emulator(what: &str) -> bool {
    let emulated = env::var("DOWNHILL_TEST_RUNNER").is_ok_and(|runner| runner.contains("qemu"));
    if emulated {
        eprintln!("SKIPPED in an emulator: {what}");
    }
    emulated
}

/// A program that was compiled for the tests: run through the emulator that `DOWNHILL_TEST_RUNNER` names with
/// its arguments ("qemu-x86_64 -cpu Nehalem"), if there is one.
pub fn command(program: &Path) -> Command {
    let runner = env::var("DOWNHILL_TEST_RUNNER").unwrap_or_default();
    let mut words = runner.split_whitespace();
    let Some(emulator) = words.next() else { return Command::new(program) };
    let mut command = Command::new(emulator);
    command.args(words).arg(program);
    command
}
