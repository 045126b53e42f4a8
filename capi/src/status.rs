//! Status values, and the text of a thread's last error.

use std::{
    cell::Cell,
    ffi::{CStr, c_char},
};

use downhill::Error;

/// What a function returns. A value never changes its meaning and is never used for something else.
pub type downhill_status = u32;

/// The step was made.
pub const DOWNHILL_STATUS_OK: downhill_status = 0;
/// A pointer is NULL that may not be.
pub const DOWNHILL_STATUS_NULL_POINTER: downhill_status = 1;
/// A pointer is not aligned to its type.
pub const DOWNHILL_STATUS_MISALIGNED: downhill_status = 2;
/// What is written shares memory with something else.
pub const DOWNHILL_STATUS_OVERLAP: downhill_status = 3;
/// An array of n elements does not fit in the address space, or a list of count structures; or
/// state_bytes is not what downhill_state_bytes() says, or row_length does not fit n or 8BIT.
pub const DOWNHILL_STATUS_INVALID_LENGTH: downhill_status = 4;
/// t is 0. Steps are counted from 1.
pub const DOWNHILL_STATUS_INVALID_STEP: downhill_status = 5;
/// A configuration is not the rule's, a field is out of its range, a value is unknown, struct_size is
/// wrong, an array is there that the configuration does not ask for, first_element is not a multiple of
/// 64, a row is not in the table or listed twice, or DOWNHILL_ISA in the environment names no instruction set of this CPU.
pub const DOWNHILL_STATUS_INVALID_CONFIG: downhill_status = 6;
/// The step was skipped, as DOWNHILL_EXTRAS_SKIP_NONFINITE asks for: a gradient is NaN or infinite, or
/// could become so when it is scaled. Nothing has changed.
pub const DOWNHILL_STATUS_SKIPPED: downhill_status = 7;
/// There is no memory for a list of groups, arrays or rows.
pub const DOWNHILL_STATUS_OUT_OF_MEMORY: downhill_status = 8;
/// A bug in this library. The arrays may have been written in part.
pub const DOWNHILL_STATUS_PANIC: downhill_status = 99;

/// Why a call failed. `None` means out of memory: there is then no room for a message either. A thin
/// pointer, so that a `Result` of it stays in registers on the way up: in memory, results cost a call on
/// a short array more than its arithmetic.
pub(super) struct Failure(Option<Box<Reason>>);

struct Reason {
    status: downhill_status,
    /// For `downhill_last_error`.
    message: String,
}

impl Failure {
    pub const OUT_OF_MEMORY: Self = Self(None);

    #[cold]
    pub fn new(status: downhill_status, message: String) -> Self {
        Self(Some(Box::new(Reason { status, message })))
    }

    /// Adds the group's index.
    #[cold]
    pub fn of_group(self, index: usize) -> Self {
        let Some(reason) = self.0 else { return self };
        Self::new(reason.status, format!("group {index}: {}", reason.message))
    }

    /// The same, said of one of many tensors.
    #[cold]
    pub fn of_tensor(self, index: usize) -> Self {
        let Some(reason) = self.0 else { return self };
        Self::new(reason.status, format!("tensor {index}: {}", reason.message))
    }
}

impl From<Error> for Failure {
    #[cold]
    fn from(error: Error) -> Self {
        if let Error::NoMemory { .. } = error {
            return Self::OUT_OF_MEMORY;
        }
        Self::new(status(&error), error.to_string())
    }
}

fn status(error: &Error) -> downhill_status {
    match error {
        Error::Length { .. }
        | Error::PackedLength { .. }
        | Error::StateCount { .. }
        | Error::UnequalLength { .. }
        | Error::RowLength { .. }
        | Error::RowCount { .. }
        | Error::RowInBits8 { .. } => DOWNHILL_STATUS_INVALID_LENGTH,
        Error::Group { error, .. } | Error::Tensor { error, .. } => status(error),
        Error::Step => DOWNHILL_STATUS_INVALID_STEP,
        // A hyper-parameter, a first element, a CPU, an instruction set.
        _ => DOWNHILL_STATUS_INVALID_CONFIG,
    }
}

/// The longest text that is kept of an error, with the NUL after it.
const MOST: usize = 512;

thread_local! {
    /// Has no destructor, so that it stays when those of other variables run, at a thread's end and in
    /// `atexit`.
    static LAST_ERROR: Cell<[u8; MOST]> = const { Cell::new([0; MOST]) };
}

/// Keeps the text for `downhill_last_error` and gives the status back.
#[cold]
pub(super) fn report(failure: Failure) -> downhill_status {
    let (status, message) = match &failure.0 {
        Some(reason) => (reason.status, &reason.message[..]),
        None => (DOWNHILL_STATUS_OUT_OF_MEMORY, "no memory for lists of arrays, or for a pool"),
    };
    let mut end = message.len().min(MOST - 1);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    let mut text = [0; MOST];
    text[..end].copy_from_slice(&message.as_bytes()[..end]);
    LAST_ERROR.set(text);
    status
}

/// What a status value means, in one sentence.
///
/// @param status  any value; one that no function returns gets "unknown status"
/// @return a string that lives as long as the program
#[unsafe(no_mangle)]
pub extern "C" fn downhill_status_message(status: u32) -> *const c_char {
    message(status).as_ptr()
}

fn message(status: u32) -> &'static CStr {
    const ALL: [(downhill_status, &CStr); 10] = [
        (DOWNHILL_STATUS_OK, c"ok"),
        (DOWNHILL_STATUS_NULL_POINTER, c"a pointer is NULL"),
        (DOWNHILL_STATUS_MISALIGNED, c"a pointer is not aligned to its type"),
        (DOWNHILL_STATUS_OVERLAP, c"two arrays share memory"),
        (DOWNHILL_STATUS_INVALID_LENGTH, c"a length is wrong"),
        (DOWNHILL_STATUS_INVALID_STEP, c"t is 0; steps are counted from 1"),
        (DOWNHILL_STATUS_INVALID_CONFIG, c"the configuration is invalid"),
        (DOWNHILL_STATUS_SKIPPED, c"gradients are not finite; the step was skipped, and is not counted"),
        (DOWNHILL_STATUS_OUT_OF_MEMORY, c"out of memory"),
        (DOWNHILL_STATUS_PANIC, c"a bug in downhill"),
    ];
    ALL.iter().find(|(known, _)| *known == status).map_or(c"unknown status", |(_, text)| text)
}

/// Which argument was wrong in the last call of this thread that failed, its value and what is
/// allowed. A call that succeeds leaves it as it is.
///
/// @return a string of at most 511 bytes that lives until the next failing call in this thread, or the
///         thread's end (in the first thread also in atexit() handlers and static destructors); "" if no
///         call has failed
#[unsafe(no_mangle)]
pub extern "C" fn downhill_last_error() -> *const c_char {
    LAST_ERROR.with(|last| last.as_ptr().cast::<c_char>().cast_const())
}
