//! A list of tensors from C, checked and made into slices.

use std::slice;

use super::{
    arrays::{bytes, check_pointer},
    many::downhill_tensor,
    status::{Failure, downhill_status::*},
};
use crate::{Tensor, rule::Configuration};

/// The list itself. With `count` = 0 the pointer may be anything.
///
/// # Safety
/// A pointer that passes the checks is valid for reading `count` tensors, initialized, during `'a`.
pub(super) unsafe fn list<'a>(
    count: usize,
    tensors: *const downhill_tensor,
) -> Result<&'a [downhill_tensor], Failure> {
    if count == 0 {
        return Ok(&[]);
    }
    check_pointer(("tensors", tensors), bytes::<downhill_tensor>("count", count)?)?;
    // SAFETY: not NULL, aligned and not too long, checked above; the rest is this function's contract.
    Ok(unsafe { slice::from_raw_parts(tensors, count) })
}

/// Checks every array of every tensor. `slots` says where in `state` the rule's states stand.
///
/// # Safety
/// Each pointer that passes the checks is valid for its tensor's `n` elements, for reading and writing,
/// during `'a`, and nobody else accesses them meanwhile.
pub(super) unsafe fn slices<'a, C: Configuration<N>, const N: usize>(
    list: &[downhill_tensor],
    slots: [usize; N],
) -> Result<Vec<Tensor<'a, N>>, Failure> {
    check_arrays::<C, N>(list, slots)?;
    let mut tensors = with_room(list.len())?;
    tensors.extend(list.iter().map(|&downhill_tensor { n, w, g, state }| {
        if n == 0 {
            return Tensor { w: &mut [], g: &mut [], state: [(); N].map(|()| Default::default()) };
        }
        // SAFETY: not NULL, aligned, not too long and apart from all other arrays, checked above; valid for
        // `n` elements by this function's contract.
        let array = |array| unsafe { slice::from_raw_parts_mut(array, n) };
        Tensor { w: array(w), g: array(g), state: slots.map(|slot| array(state[slot])) }
    }));
    Ok(tensors)
}

/// The gradients alone.
///
/// # Safety
/// Each `g` that passes the checks is valid for reading its tensor's `n` elements during `'a`.
pub(super) unsafe fn gradients<'a>(list: &[downhill_tensor]) -> Result<Vec<&'a [f32]>, Failure> {
    let mut gradients = with_room(list.len())?;
    for (index, &downhill_tensor { n, g, .. }) in list.iter().enumerate() {
        let g = g.cast_const();
        if n == 0 {
            continue;
        }
        let checked = bytes::<f32>("n", n).and_then(|bytes| check_pointer(("g", g), bytes));
        checked.map_err(|failure| failure.of_tensor(index))?;
        // SAFETY: not NULL, aligned and not too long, checked above; the rest is this function's contract.
        gradients.push(unsafe { slice::from_raw_parts(g, n) });
    }
    Ok(gradients)
}

/// An empty list, or a status where memory is short.
fn with_room<T>(count: usize) -> Result<Vec<T>, Failure> {
    let mut list = Vec::new();
    match list.try_reserve_exact(count) {
        Ok(()) => Ok(list),
        Err(_) => Err(no_room(count.saturating_mul(size_of::<T>()))),
    }
}

#[cold]
fn no_room(bytes: usize) -> Failure {
    let message = format!("no memory for a list of {bytes} bytes");
    Failure::new(DOWNHILL_STATUS_OUT_OF_MEMORY, message)
}

/// Where an array stands.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Range {
    start: usize,
    end: usize,
}

/// Are all pointers usable, and all arrays apart?
fn check_arrays<C: Configuration<N>, const N: usize>(
    list: &[downhill_tensor],
    slots: [usize; N],
) -> Result<(), Failure> {
    // Lists often are in the order of memory, and nothing has to be sorted then.
    let mut ascending = true;
    let mut last = 0;
    for (index, tensor) in list.iter().enumerate().filter(|(_, tensor)| tensor.n > 0) {
        let mut check = || {
            let bytes = bytes::<f32>("n", tensor.n)?;
            for k in 0..N + 2 {
                let (name, array) = array::<C, N>(tensor, slots, k);
                check_pointer((name, array), bytes)?;
                ascending &= last <= array.addr();
                last = array.addr() + bytes;
            }
            Ok(())
        };
        check().map_err(|failure: Failure| failure.of_tensor(index))?;
    }
    if ascending { Ok(()) } else { check_apart::<C, N>(list, slots) }
}

/// Sorts the arrays by address, all `w` first, then all `g`, ...: as a rule few ascending runs, which the
/// sort merges.
fn check_apart<C: Configuration<N>, const N: usize>(
    list: &[downhill_tensor],
    slots: [usize; N],
) -> Result<(), Failure> {
    let mut ranges = with_room(list.len() * (N + 2))?;
    for k in 0..N + 2 {
        let arrays = list.iter().filter(|tensor| tensor.n > 0);
        ranges.extend(arrays.map(|tensor| range(tensor.n, array::<C, N>(tensor, slots, k).1)));
    }
    ranges.sort_by_key(|range| range.start);
    match ranges.windows(2).find(|pair| pair[1].start < pair[0].end) {
        None => Ok(()),
        Some(pair) => Err(name_overlap::<C, N>(list, slots, pair)),
    }
}

/// Array `k` of a tensor, and its name.
fn array<C: Configuration<N>, const N: usize>(
    tensor: &downhill_tensor,
    slots: [usize; N],
    k: usize,
) -> (&'static str, *const f32) {
    match k {
        0 => ("w", tensor.w.cast_const()),
        1 => ("g", tensor.g.cast_const()),
        _ => (C::STATES[k - 2], tensor.state[slots[k - 2]].cast_const()),
    }
}

fn range(n: usize, array: *const f32) -> Range {
    Range { start: array.addr(), end: array.addr() + n * size_of::<f32>() }
}

/// Says which arrays of which tensors stand at the two ranges.
#[cold]
fn name_overlap<C: Configuration<N>, const N: usize>(
    list: &[downhill_tensor],
    slots: [usize; N],
    pair: &[Range],
) -> Failure {
    let mut culprits = Vec::new();
    for (index, tensor) in list.iter().enumerate().filter(|(_, tensor)| tensor.n > 0) {
        for k in 0..N + 2 {
            let (name, array) = array::<C, N>(tensor, slots, k);
            if pair.contains(&range(tensor.n, array)) {
                culprits.push(format!("`{name}` of tensor {index} at {:#x}", array.addr()));
            }
        }
    }
    // More than two have the same memory, all of it; any two will do.
    let message = format!("{} and {} share memory", culprits[0], culprits[1]);
    Failure::new(DOWNHILL_STATUS_OVERLAP, message)
}
