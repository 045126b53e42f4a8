//! Which statuses a call may return, said once more from the header's introduction.

use std::{collections::BTreeSet, ffi::CStr, ptr};

use crate::{abi::*, input::*, memory::*, rules::Configured};

/// The statuses that a call may return: if there are none, it must succeed.
pub type Errors = BTreeSet<downhill_status>;

/// The largest `struct_size`.
pub const MOST: usize = 512;

/// Is there no such number of elements?
pub fn length(n: usize, errors: &mut Errors) {
    if n > isize::MAX as usize / 4 {
        errors.insert(DOWNHILL_STATUS_INVALID_LENGTH);
    }
}

/// Pointer and size of an array by itself.
pub fn array(array: &Array, errors: &mut Errors) {
    let Some(bytes) = array.bytes().filter(|_| array.n > 0) else { return };
    let address = array.pointer.addr();
    if address == 0 {
        errors.insert(DOWNHILL_STATUS_NULL_POINTER);
    } else if !address.is_multiple_of(array.element.size()) {
        errors.insert(DOWNHILL_STATUS_MISALIGNED);
    }
    if address.checked_add(bytes).is_none() {
        errors.insert(DOWNHILL_STATUS_INVALID_LENGTH);
    }
}

/// Do arrays share memory that must not: those that are written with any?
pub fn overlaps(arrays: &[(Array, bool)], errors: &mut Errors) {
    let mut ranges: Vec<_> = arrays
        .iter()
        .filter(|(array, _)| array.n > 0)
        .map(|(array, is_written)| {
            let start = array.pointer.addr();
            (start, start.saturating_add(array.n.saturating_mul(array.element.size())), *is_written)
        })
        .collect();
    ranges.sort_unstable();
    for (i, &(_, end, is_written)) in ranges.iter().enumerate() {
        let shared = ranges[i + 1..].iter().take_while(|next| next.0 < end);
        if shared.into_iter().any(|next| is_written || next.2) {
            errors.insert(DOWNHILL_STATUS_OVERLAP);
        }
    }
}

/// A pointer to so many bytes of memory, or a wrong one.
pub fn pointer(bytes: &[u8], pointer: Pointer, errors: &mut Errors) -> (Block, *mut u8) {
    match pointer {
        Pointer::Good => {
            let block = Block::new(bytes);
            let start = block.at(0);
            (block, start)
        }
        Pointer::Null => {
            errors.insert(DOWNHILL_STATUS_NULL_POINTER);
            (Block::new(&[]), ptr::null_mut())
        }
        Pointer::Misaligned(by) => {
            errors.insert(DOWNHILL_STATUS_MISALIGNED);
            let block = Block::new(&[&vec![0; by.into()], bytes].concat());
            let start = block.at(by.into());
            (block, start)
        }
    }
}

/// A structure in memory that ends where it says that it ends. Of one whose size is wrong, only `head` bytes are looked at.
pub fn structure(
    own: &[u8],
    head: usize,
    size: Size,
    pointer: Pointer,
    errors: &mut Errors,
) -> (Block, *mut u8) {
    let declared = match size {
        Size::Own => own.len(),
        Size::Later(more) | Size::LaterInUse(more, _) => own.len() + usize::from(more),
        Size::Any(size) => size as usize,
    };
    let len = if declared > MOST { head } else { declared.max(head) };
    let mut bytes = own.to_vec();
    bytes.resize(len, 0);
    bytes[..4].copy_from_slice(&(declared as u32).to_ne_bytes());
    if declared < own.len() || declared > MOST {
        errors.insert(DOWNHILL_STATUS_INVALID_CONFIG);
    } else if let Size::LaterInUse(more, at) = size {
        bytes[own.len() + usize::from(at % more)] = 1;
        errors.insert(DOWNHILL_STATUS_INVALID_CONFIG);
    }
    self::pointer(&bytes, pointer, errors)
}

/// A configuration in memory. Which ranges hyper-parameters have is the library's own to say here, and tested elsewhere.
pub fn configuration(
    configured: &Configured,
    fields: &Fields,
    t: u64,
    errors: &mut Errors,
) -> (Block, *mut u8) {
    refused(configured, t, errors);
    if fields.rule.is_some_and(|tag| tag != configured.rule.tag) {
        errors.insert(DOWNHILL_STATUS_INVALID_CONFIG);
    }
    structure(&configured.bytes, 8, fields.size, fields.pointer, errors)
}

/// Does the rule refuse its hyper-parameters, or what they come to at step `t`?
pub fn refused(configured: &Configured, t: u64, errors: &mut Errors) {
    let is_accepted = configured.optimizer.as_ref().is_some_and(|optimizer| {
        let mut states: Vec<&mut [f32]> =
            optimizer.states().iter().map(|_| Default::default()).collect();
        optimizer.reference_step(&mut [], &[], &mut states, t.max(1)).is_ok()
    });
    if !is_accepted {
        errors.insert(DOWNHILL_STATUS_INVALID_CONFIG);
    }
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
