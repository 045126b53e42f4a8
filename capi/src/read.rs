//! A pointer to a configuration, or to extras, from C, checked and read.

use std::slice;

use super::{
    arrays::{misaligned, null},
    decode::CConfig,
    status::{Failure, downhill_status::*},
};

/// The largest `struct_size` that is taken for a later release's.
const MOST: usize = 4096;

/// Reads a configuration of this release, or a later release's whose additions are all zero.
///
/// Always inlined, like the decoding: handing a configuration on through memory costs a call 12 to 20 ns,
/// half of what a step of Adam on a short array takes.
///
/// # Safety
/// `config` is NULL, or points to a `u32` that says how many initialized bytes stand there.
#[inline(always)]
pub(super) unsafe fn read<C: CConfig>(config: *const C) -> Result<C::Config, Failure> {
    if config.is_null() {
        return Err(null(C::ARGUMENT));
    }
    if !config.is_aligned() {
        return Err(misaligned(C::ARGUMENT, config.addr(), align_of::<C>()));
    }
    let own = size_of::<C>();
    // SAFETY: not NULL and aligned, checked above; `struct_size` is there by this function's contract.
    let size = unsafe { config.cast::<u32>().read() } as usize;
    if size < own || size > MOST {
        return Err(wrong_size(C::ARGUMENT, size, own));
    }
    // SAFETY: `size` bytes stand at `config` by this function's contract, and `size >= own`.
    let unknown = unsafe { slice::from_raw_parts(config.add(1).cast::<u8>(), size - own) };
    if unknown.iter().any(|&byte| byte != 0) {
        return Err(unknown_fields(C::ARGUMENT, size, own));
    }
    // SAFETY: at least `own` bytes stand at `config`, and every bit pattern is a `C`.
    unsafe { config.read() }.decode()
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

#[cold]
pub(super) fn invalid(message: String) -> Failure {
    Failure::new(DOWNHILL_STATUS_INVALID_CONFIG, message)
}
