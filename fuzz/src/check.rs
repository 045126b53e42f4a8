//! Which statuses a call may return, said once more from the header.

use std::{collections::BTreeSet, ffi::CStr};

use downhill::Optimizer;

use crate::{abi::*, input::*, memory::*, rules::is_by_row};

/// The statuses that a call may return: if there are none, it must succeed.
pub type Errors = BTreeSet<downhill_status>;

/// The largest `struct_size`.
const MOST: usize = 512;

/// How many elements of so many bytes have no place in memory, at least.
pub fn too_many(size: usize) -> usize {
    isize::MAX as usize / size + 1
}

/// Pointer and length of an array that has elements.
pub fn array(array: &Array, errors: &mut Errors) {
    let (address, len) = (array.pointer.addr(), array.bytes());
    if array.n >= too_many(array.kind.size()) || address.checked_add(len).is_none() {
        errors.insert(DOWNHILL_STATUS_INVALID_LENGTH);
    }
    if address == 0 {
        errors.insert(DOWNHILL_STATUS_NULL_POINTER);
    } else if address % array.kind.size() != 0 {
        errors.insert(DOWNHILL_STATUS_MISALIGNED);
    }
}

/// Has [`array`] nothing against it?
pub fn is_array(given: &Array) -> bool {
    let mut errors = Errors::new();
    array(given, &mut errors);
    errors.is_empty()
}

/// Does the rule refuse its configuration for a step of this number?
pub fn refuses(rule: &dyn Optimizer, t: u64) -> bool {
    let mut of_row = [0.0];
    let mut states: Vec<&mut [f32]> = match is_by_row(rule) {
        true => vec![&mut of_row],
        false => rule.states().iter().map(|_| Default::default()).collect(),
    };
    rule.reference_step(&mut [], &[], &mut states, t).is_err()
}

/// Does anything that is written share memory with something else?
pub fn overlaps(written: &[Array], read: &[Array], errors: &mut Errors) {
    let share = |a: &Array, b: &Array| {
        let (a_start, b_start) = (a.pointer.addr(), b.pointer.addr());
        a.bytes() > 0
            && b.bytes() > 0
            && a_start < b_start.saturating_add(b.bytes())
            && b_start < a_start.saturating_add(a.bytes())
    };
    for (k, array) in written.iter().enumerate() {
        if written[..k].iter().chain(read).any(|other| share(array, other)) {
            errors.insert(DOWNHILL_STATUS_OVERLAP);
        }
    }
}

/// Is a pointer to a structure good?
pub fn pointer(pointer: Pointer, errors: &mut Errors) {
    match pointer {
        Pointer::Good | Pointer::Shared => false,
        Pointer::Null => errors.insert(DOWNHILL_STATUS_NULL_POINTER),
        Pointer::Misaligned(_) => errors.insert(DOWNHILL_STATUS_MISALIGNED),
    };
}

/// Puts a structure that starts with its size into memory that ends where it says that it ends, or after
/// the `head` bytes that are looked at if that is wrong. What is given is as long as this release's,
/// even so.
pub fn structure(
    bytes: Vec<u8>,
    size: Size,
    head: usize,
    at: Pointer,
    memory: &mut Memory,
    errors: &mut Errors,
) -> Array {
    let own = bytes.len();
    let mut bytes = list(vec![bytes], own, size, 1, head, errors);
    bytes[..4].copy_from_slice(&size.of(own).to_ne_bytes());
    pointer(at, errors);
    memory.put(&bytes, at).cut(own)
}

/// A list of structures of `own` bytes, as far apart as `size` says, which is to be a multiple of
/// something; or the `head` of the first.
pub fn list(
    structures: Vec<Vec<u8>>,
    own: usize,
    size: Size,
    multiple: usize,
    head: usize,
    errors: &mut Errors,
) -> Vec<u8> {
    let stride = size.of(own) as usize;
    if !(own..=MOST).contains(&stride) || !stride.is_multiple_of(multiple) {
        errors.insert(DOWNHILL_STATUS_INVALID_CONFIG);
        return structures.concat().into_iter().take(head).collect();
    }
    let longer = |mut bytes: Vec<u8>| {
        bytes.resize(stride, 0);
        bytes
    };
    let mut bytes: Vec<u8> = structures.into_iter().flat_map(longer).collect();
    if let (Size::LaterInUse(more, at), Some(last)) = (size, bytes.len().checked_sub(1)) {
        bytes[last - usize::from(at % more)] = 1;
        errors.insert(DOWNHILL_STATUS_INVALID_CONFIG);
    }
    bytes
}

/// Is this status one of the errors, if there are any, and is it explained?
pub fn status(status: downhill_status, errors: &Errors) {
    if errors.is_empty() {
        assert_eq!(status, DOWNHILL_STATUS_OK, "{}", last_error());
    } else {
        assert!(errors.contains(&status), "{status}, none of {errors:?}: {}", last_error());
    }
    if status != DOWNHILL_STATUS_OK {
        // SAFETY: a string that lives as long as the program.
        let message = unsafe { CStr::from_ptr(downhill_status_message(status)) };
        assert_ne!(message, c"unknown status");
        assert!(!last_error().is_empty());
    }
}

fn last_error() -> String {
    // SAFETY: a string that lives until the next call.
    unsafe { CStr::from_ptr(downhill_last_error()) }.to_string_lossy().into_owned()
}
