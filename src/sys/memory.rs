//! Memory that may not be there. Where it is not, Rust's collections abort the process.

use std::hint;

/// An empty vector with room for `count` elements, if there is memory.
pub fn with_room<T>(count: usize) -> Option<Vec<T>> {
    let mut vector = Vec::new();
    vector.try_reserve_exact(count).ok()?;
    Some(vector)
}

/// Is there memory for `bytes` bytes? For what aborts where there is not.
pub fn has_room(bytes: usize) -> bool {
    // Looked at, or the optimizer would leave out an allocation that nobody uses.
    hint::black_box(with_room::<u8>(bytes)).is_some()
}
