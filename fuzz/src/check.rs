//! Which statuses a call may return, said once more from the header's introduction.

use std::{collections::BTreeSet, ffi::CStr, ptr};

use downhill::Optimizer;

use crate::{abi::*, input::*, memory::*, rules::Rule};

/// The statuses that a call may return: if there are none, it must succeed.
pub type Errors = BTreeSet<downhill_status>;

const MOST_BYTES: usize = isize::MAX as usize;

/// Pointer and size of each array by itself.
pub fn arrays(n: usize, arrays: &[Array], errors: &mut Errors) {
    if n == 0 {
        return;
    }
    let Some(bytes) = n.checked_mul(4).filter(|&bytes| bytes <= MOST_BYTES) else {
        errors.insert(DOWNHILL_STATUS_INVALID_LENGTH);
        return;
    };
    for array in arrays {
        let address = array.pointer.addr();
        if address == 0 {
            errors.insert(DOWNHILL_STATUS_NULL_POINTER);
        } else if address % 4 != 0 {
            errors.insert(DOWNHILL_STATUS_MISALIGNED);
        }
        if address.checked_add(bytes).is_none() {
            errors.insert(DOWNHILL_STATUS_INVALID_LENGTH);
        }
    }
}

/// Do any two arrays share memory?
pub fn overlaps<'a>(arrays: impl Iterator<Item = (usize, &'a Array)>, errors: &mut Errors) {
    let mut ranges: Vec<(usize, usize)> = arrays
        .filter(|(n, _)| *n > 0)
        .map(|(n, array)| {
            (array.pointer.addr(), array.pointer.addr().saturating_add(n.saturating_mul(4)))
        })
        .collect();
    ranges.sort_unstable();
    if ranges.windows(2).any(|pair| pair[1].0 < pair[0].1) {
        errors.insert(DOWNHILL_STATUS_OVERLAP);
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

/// A structure in memory that ends where it says that it ends.
pub fn structure(own: &[u8], size: Size, pointer: Pointer, errors: &mut Errors) -> (Block, *mut u8) {
    const MOST: usize = 4096;
    let declared = match size {
        Size::Own => own.len(),
        Size::Later(more) | Size::LaterInUse(more, _) => own.len() + usize::from(more),
        Size::Any(size) => size as usize,
    };
    // Of a structure whose size is wrong, only the size is looked at.
    let len = if declared > MOST { 4 } else { declared.max(4) };
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

/// The rule in Rust, or None if an enumeration's value is unknown. Which ranges hyper-parameters have is the
/// library's own to say here, and tested elsewhere.
pub fn configuration(
    rule: Rule,
    fields: &Fields,
    t: u64,
    slots: &[usize],
    errors: &mut Errors,
) -> Option<Box<dyn Optimizer>> {
    let optimizer = rule.optimizer(fields, slots);
    let mut states: Vec<&mut [f32]> = slots.iter().map(|_| Default::default()).collect();
    let refused = match &optimizer {
        Some(optimizer) => optimizer.reference_step(&mut [], &[], &mut states, t.max(1)).is_err(),
        None => true,
    };
    if refused {
        errors.insert(DOWNHILL_STATUS_INVALID_CONFIG);
    }
    if rule.counts_steps() && t == 0 {
        errors.insert(DOWNHILL_STATUS_INVALID_STEP);
    }
    optimizer
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
