//! A list of tensors from C, checked and made into slices.

use std::slice;

use super::{
    arrays::{self, bytes, check_pointer},
    many::downhill_tensor,
    status::{Failure, downhill_status::*},
};
use crate::{
    Tensor,
    rule::Configuration,
    share::{has_room, with_room},
};

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
    let mut tensors = room(list.len())?;
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
    let mut gradients = room(list.len())?;
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
fn room<T>(count: usize) -> Result<Vec<T>, Failure> {
    with_room(count).ok_or(Failure::OUT_OF_MEMORY)
}

/// Where an array stands, or several.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Range {
    start: usize,
    end: usize,
}

/// Arrays in the order in which they come by.
#[derive(Clone, Copy)]
struct Row {
    /// From the first one's start to the last one's end.
    hull: Range,
    /// Does each end before the next one starts?
    ascending: bool,
}

impl Row {
    const EMPTY: Self = Self { hull: Range { start: usize::MAX, end: 0 }, ascending: true };

    fn push(&mut self, next: Range) {
        self.ascending &= self.hull.end <= next.start;
        self.hull = Range { start: self.hull.start.min(next.start), end: next.end };
    }
}

/// Are all pointers usable, and all arrays apart?
fn check_arrays<C: Configuration<N>, const N: usize>(
    list: &[downhill_tensor],
    slots: [usize; N],
) -> Result<(), Failure> {
    let mut all = Row::EMPTY;
    let mut kinds = [Row::EMPTY; 5];
    let kinds = &mut kinds[..N + 2];
    for (index, tensor) in list.iter().enumerate().filter(|(_, tensor)| tensor.n > 0) {
        let mut check = || {
            let bytes = bytes::<f32>("n", tensor.n)?;
            for (k, kind) in kinds.iter_mut().enumerate() {
                let (name, array) = array::<C, N>(tensor, slots, k);
                check_pointer((name, array), bytes)?;
                let range = range(tensor.n, array);
                all.push(range);
                kind.push(range);
            }
            Ok(())
        };
        check().map_err(|failure: Failure| failure.of_tensor(index))?;
    }
    // As most programs have them: each tensor allocated behind the other, or all weights in one large
    // array, all gradients in another, and so on. Then nothing has to be sorted.
    if all.ascending || are_columns(kinds) { Ok(()) } else { check_apart::<C, N>(list, slots) }
}

/// Does each row ascend, apart from all others?
fn are_columns(rows: &[Row]) -> bool {
    let apart = |a: Range, b: Range| a.end <= b.start || b.end <= a.start;
    (0..rows.len())
        .all(|i| rows[i].ascending && rows[..i].iter().all(|row| apart(row.hull, rows[i].hull)))
}

/// Sorts the arrays by address, digit by digit: 40,000 in any order take less than half a millisecond, and
/// twice to thrice as long by comparisons.
fn check_apart<C: Configuration<N>, const N: usize>(
    list: &[downhill_tensor],
    slots: [usize; N],
) -> Result<(), Failure> {
    let mut ranges = room(list.len() * (N + 2))?;
    for tensor in list.iter().filter(|tensor| tensor.n > 0) {
        ranges.extend((0..N + 2).map(|k| range(tensor.n, array::<C, N>(tensor, slots, k).1)));
    }
    // The sort takes as much again, and would abort where there is not.
    if !has_room(size_of_val(&ranges[..])) {
        return Err(Failure::OUT_OF_MEMORY);
    }
    radsort::sort_by_key(&mut ranges, |range: &Range| range.start);
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
    arrays::array::<C, N>(tensor.w, tensor.g, slots.map(|slot| tensor.state[slot]), k)
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
