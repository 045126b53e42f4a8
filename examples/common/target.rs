//! Where an example writes unless told otherwise.

use std::path::{Path, PathBuf};

/// `file` in the target directory, which is where cargo put this program:
/// `<target>/<profile>/examples/<program>`.
pub fn in_target(file: &str) -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    program.ancestors().nth(3).unwrap_or(Path::new(".")).join(file)
}
