//! A pointer to a structure from C that says how long it is, checked and read.

use std::slice;

use super::{
    arrays::{misaligned, null},
    status::{DOWNHILL_STATUS_INVALID_CONFIG, Failure},
};

/// The largest `struct_size` that is taken for a later release's.
pub(super) const MOST: usize = 512;

/// Is `argument` a pointer to a structure of C at all?
#[inline(always)]
pub(super) fn check_structure<S>(argument: &str, structure: *const S) -> Result<(), Failure> {
    if structure.is_null() {
        return Err(null(argument));
    }
    if !structure.is_aligned() {
        return Err(misaligned(argument, structure.addr(), align_of::<S>()));
    }
    Ok(())
}

/// Reads a structure of this release, or of a later release whose additions are all zero. (There is no
/// earlier release, whose structures would be shorter.)
///
/// Always inlined, like the decoding: handing a configuration on through memory costs a call 12 to 20
/// ns, half of what a step of Adam on a short array takes.
///
/// # Safety
/// `structure` passed [`check_structure`]. Every bit pattern is an `S`, and its first field is a `u32`
/// that says how many initialized bytes start at `structure`.
#[inline(always)]
pub(super) unsafe fn read_structure<S>(argument: &str, structure: *const S) -> Result<S, Failure> {
    let own = size_of::<S>();
    // SAFETY: not NULL and aligned, and `struct_size` is there, by this function's contract.
    let size = unsafe { structure.cast::<u32>().read() } as usize;
    if size < own || size > MOST {
        return Err(wrong_size(argument, size, own));
    }
    // SAFETY: `size` bytes start at `structure` by this function's contract, and `size >= own`.
    if !unsafe { has_zero_tail(structure, size) } {
        return Err(unknown_fields(argument, size, own));
    }
    // SAFETY: at least `own` bytes start at `structure`, and every bit pattern is an `S`.
    Ok(unsafe { structure.read() })
}

/// Is all zero that a later release has in a structure of `size` bytes after what this one knows?
///
/// # Safety
/// `size` initialized bytes start at `structure`, at least those of an `S`.
#[inline(always)]
pub(super) unsafe fn has_zero_tail<S>(structure: *const S, size: usize) -> bool {
    // SAFETY: this function's contract.
    let tail = unsafe { slice::from_raw_parts(structure.add(1).cast::<u8>(), size - size_of::<S>()) };
    tail.iter().all(|&byte| byte == 0)
}

#[cold]
fn wrong_size(argument: &str, size: usize, own: usize) -> Failure {
    invalid(format!(
        "`struct_size` of `{argument}` is {size}; it must be {own}, or up to {MOST} if all that follows is \
         zero: start from the structure's downhill_..._default()"
    ))
}

#[cold]
fn unknown_fields(argument: &str, size: usize, own: usize) -> Failure {
    invalid(format!(
        "`struct_size` of `{argument}` is {size} and this release knows {own} bytes; a field past them is \
         not zero"
    ))
}

/// What the values of an enumeration of C mean.
pub(super) type Choices<T, const K: usize> = [(u32, T); K];

/// What an enumeration's value means.
#[inline(always)]
pub(super) fn choice<T: Copy, const K: usize>(
    name: &str,
    value: u32,
    all: Choices<T, K>,
) -> Result<T, Failure> {
    all.iter().find(|(known, _)| *known == value).map(|(_, choice)| *choice).ok_or_else(|| {
        let allowed = all.map(|(known, _)| known.to_string()).join(", ");
        invalid(format!("`{name}` is {value}; it must be one of {allowed}"))
    })
}

#[cold]
pub(super) fn invalid(message: String) -> Failure {
    Failure::new(DOWNHILL_STATUS_INVALID_CONFIG, message)
}
