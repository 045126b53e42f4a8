//! Pointers and a length from C, checked and made into slices.

use std::slice;

use super::status::*;

/// The arrays of a step: weights, gradient, states.
pub(super) type Slices<'a, const N: usize> = (&'a mut [f32], &'a [f32], [&'a mut [f32]; N]);

/// Checks length, NULL, alignment and overlap. With `n` = 0 the pointers may be anything. `names` are
/// the states'.
///
/// Always inlined, as reading a configuration is: with arrays and names handed on through memory a call
/// takes 10 ns longer.
///
/// # Safety
/// Each pointer that passes the checks is valid for `n` elements, for writing too unless it is `g`,
/// for the lifetime that the caller picks, and nobody else accesses them meanwhile.
#[inline(always)]
pub(super) unsafe fn slices<'a, const N: usize>(
    n: usize,
    w: *mut f32,
    g: *const f32,
    state: [*mut f32; N],
    names: &'static [&'static str],
) -> Result<Slices<'a, N>, Failure> {
    if n == 0 {
        return Ok((&mut [], &[], [(); N].map(|()| Default::default())));
    }
    let bytes = bytes::<f32>("n", n)?;
    let array = |k| array(w, g, state, names, k);
    for i in 0..N + 2 {
        check_pointer(array(i), bytes)?;
        for j in 0..i {
            check_apart(array(j), array(i), bytes)?;
        }
    }
    // SAFETY: not NULL, aligned, not too long and apart from one another, all checked above; valid
    // for `n` elements by this function's contract.
    unsafe {
        Ok((
            slice::from_raw_parts_mut(w, n),
            slice::from_raw_parts(g, n),
            state.map(|array| slice::from_raw_parts_mut(array, n)),
        ))
    }
}

/// Array `k` of `w`, `g` and the states, and its name.
#[inline(always)]
pub(super) fn array<const N: usize>(
    w: *const f32,
    g: *const f32,
    state: [*mut f32; N],
    names: &'static [&'static str],
    k: usize,
) -> (&'static str, *const f32) {
    match k {
        0 => ("w", w),
        1 => ("g", g),
        _ => (names[k - 2], state[k - 2].cast_const()),
    }
}

/// The size of `n` elements, which must be one that memory can have.
#[inline]
pub(super) fn bytes<T>(name: &str, n: usize) -> Result<usize, Failure> {
    sized(name, n, size_of::<T>())
}

/// The same, of elements of this size.
#[inline]
pub(super) fn sized(name: &str, n: usize, size: usize) -> Result<usize, Failure> {
    let bytes = n.checked_mul(size).filter(|&bytes| isize::try_from(bytes).is_ok());
    bytes.ok_or_else(|| too_long(name, n, size))
}

#[inline]
pub(super) fn check_pointer<T>((name, array): (&str, *const T), bytes: usize) -> Result<(), Failure> {
    check_address(name, array.addr(), align_of::<T>(), bytes)
}

/// Would [`check_address`] be content? For where a name takes time to find.
#[inline(always)]
pub(super) fn is_address(address: usize, alignment: usize, bytes: usize) -> bool {
    address != 0 && is_aligned(address, alignment) && address.checked_add(bytes).is_some()
}

/// An alignment is a power of two; the compiler, which does not know it, would divide.
#[inline(always)]
fn is_aligned(address: usize, alignment: usize) -> bool {
    address & (alignment - 1) == 0
}

#[inline]
pub(super) fn check_address(
    name: &str,
    address: usize,
    alignment: usize,
    bytes: usize,
) -> Result<(), Failure> {
    if address == 0 {
        return Err(null(name));
    }
    if !is_aligned(address, alignment) {
        return Err(misaligned(name, address, alignment));
    }
    if address.checked_add(bytes).is_none() {
        return Err(past_the_end(name, address, bytes));
    }
    Ok(())
}

/// Both arrays have `bytes` bytes, so they are apart if their starts are at least as far apart.
#[inline]
fn check_apart(
    (name, array): (&str, *const f32),
    (other_name, other): (&str, *const f32),
    bytes: usize,
) -> Result<(), Failure> {
    if array.addr().abs_diff(other.addr()) < bytes {
        return Err(overlap(name, array.addr(), other_name, other.addr(), bytes));
    }
    Ok(())
}

/// Is one float outside an array of `n` floats?
pub(super) fn check_outside(
    (name, float): (&str, *const f32),
    (other_name, other): (&str, *const f32),
    n: usize,
) -> Result<(), Failure> {
    if float < other.wrapping_add(n) && other < float.wrapping_add(1) {
        let message = format!(
            "`{name}` at {:#x} is in `{other_name}`, which has {n} elements from {:#x} on",
            float.addr(),
            other.addr()
        );
        return Err(Failure::new(DOWNHILL_STATUS_OVERLAP, message));
    }
    Ok(())
}

#[cold]
pub(super) fn null(name: &str) -> Failure {
    Failure::new(DOWNHILL_STATUS_NULL_POINTER, format!("`{name}` is NULL"))
}

#[cold]
pub(super) fn misaligned(name: &str, address: usize, alignment: usize) -> Failure {
    let message = format!("`{name}` is {address:#x}; it must be a multiple of {alignment}");
    Failure::new(DOWNHILL_STATUS_MISALIGNED, message)
}

#[cold]
fn too_long(name: &str, n: usize, size: usize) -> Failure {
    let most = isize::MAX as usize / size;
    let message = format!("`{name}` is {n}; it must be at most {most}");
    Failure::new(DOWNHILL_STATUS_INVALID_LENGTH, message)
}

#[cold]
fn past_the_end(name: &str, address: usize, bytes: usize) -> Failure {
    let message = format!("`{name}` is {address:#x}; {bytes} bytes from there leave the address space");
    Failure::new(DOWNHILL_STATUS_INVALID_LENGTH, message)
}

#[cold]
fn overlap(name: &str, address: usize, other_name: &str, other: usize, bytes: usize) -> Failure {
    let message = format!(
        "`{name}` at {address:#x} and `{other_name}` at {other:#x} share memory; each has {bytes} bytes"
    );
    Failure::new(DOWNHILL_STATUS_OVERLAP, message)
}
