//! A list of tensors from C, checked and made into slices.

use std::slice;

use super::{
    arrays::{self, bytes, check_address, check_pointer, sized},
    many::downhill_tensor,
    packed::downhill_packed_tensor,
    status::*,
};
use downhill::{
    PackedTensor, Tensor,
    abi::{Configuration, with_room},
};

/// The list itself. With `count` = 0 the pointer may be anything.
///
/// # Safety
/// A pointer that passes the checks is valid for reading `count` tensors, initialized, during `'a`.
pub(super) unsafe fn list<'a, T>(count: usize, tensors: *const T) -> Result<&'a [T], Failure> {
    if count == 0 {
        return Ok(&[]);
    }
    check_pointer(("tensors", tensors), bytes::<T>("count", count)?)?;
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
    check_arrays(list, N + 2, |&downhill_tensor { n, w, g, state }, k| {
        let (name, array) = arrays::array(w, g, slots.map(|slot| state[slot]), &C::STATES, k);
        Array::new(name, array, ("n", n))
    })?;
    let mut tensors = room(list.len())?;
    tensors.extend(list.iter().map(|&downhill_tensor { n, w, g, state }| {
        // SAFETY: empty, or not NULL, aligned, not too long and apart from all other arrays, checked above; valid
        // for `n` elements by this function's contract.
        let array = |array| unsafe { array_mut(array, n) };
        Tensor { w: array(w), g: array(g), state: slots.map(|slot| array(state[slot])) }
    }));
    Ok(tensors)
}

/// Checks every array of every tensor with packed states.
///
/// # Safety
/// Each pointer that passes the checks is valid for its tensor's `n` elements or `state_bytes` bytes, for reading and
/// writing, during `'a`, and nobody else accesses them meanwhile.
pub(super) unsafe fn packed_slices<'a, E>(
    list: &[downhill_packed_tensor],
) -> Result<Vec<PackedTensor<'a, E>>, Failure> {
    check_arrays(list, 3, |tensor, k| match k {
        0 => Array::new("w", tensor.w.cast::<E>(), ("n", tensor.n)),
        1 => Array::new("g", tensor.g.cast::<E>(), ("n", tensor.n)),
        _ => Array::new("state", tensor.state, ("state_bytes", tensor.state_bytes)),
    })?;
    let mut tensors = room(list.len())?;
    tensors.extend(list.iter().map(|tensor| {
        let &downhill_packed_tensor { n, w, g, state, state_bytes, first_element } = tensor;
        // SAFETY: empty, or not NULL, aligned, not too long and apart from all other arrays, checked above; valid by this
        // function's contract.
        unsafe {
            PackedTensor {
                w: array_mut(w.cast(), n),
                g: array_mut(g.cast(), n),
                state: array_mut(state, state_bytes),
                first_element,
            }
        }
    }));
    Ok(tensors)
}

/// Checks arrays of `n` states and their packed form, which a function takes alone.
pub(super) fn check_states<C: Configuration<N>, const N: usize>(
    n: usize,
    states: [*const f32; N],
    (state, state_bytes): (*const u8, usize),
) -> Result<(), Failure> {
    let packed = Array::new("state", state, ("state_bytes", state_bytes));
    for k in 0..=N {
        let array = |k: usize| {
            if k == N { packed } else { Array::new(C::STATES[k], states[k], ("n", n)) }
        };
        let Some(range) = array(k).check()? else { continue };
        for other in (0..k).map(array).filter(|other| other.count.1 > 0) {
            if !range.is_apart(other.range()) {
                let said = |array: &Array| format!("`{}` at {:#x}", array.name, array.address);
                return Err(shared(said(&other), said(&array(k))));
            }
        }
    }
    Ok(())
}

/// # Safety
/// With `n` > 0, `array` is what [`slice::from_raw_parts`] asks for.
pub(super) unsafe fn array<'a, T>(array: *const T, n: usize) -> &'a [T] {
    if n == 0 {
        return &[];
    }
    // SAFETY: this function's contract.
    unsafe { slice::from_raw_parts(array, n) }
}

/// # Safety
/// With `n` > 0, `array` is what [`slice::from_raw_parts_mut`] asks for.
pub(super) unsafe fn array_mut<'a, T>(array: *mut T, n: usize) -> &'a mut [T] {
    if n == 0 {
        return &mut [];
    }
    // SAFETY: this function's contract.
    unsafe { slice::from_raw_parts_mut(array, n) }
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
        Array::new("g", g, ("n", n)).check().map_err(|failure| failure.of_tensor(index))?;
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

impl Range {
    fn is_apart(self, other: Self) -> bool {
        self.end <= other.start || other.end <= self.start
    }
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

/// An array of a tensor, as C tells of it.
#[derive(Clone, Copy)]
struct Array {
    name: &'static str,
    address: usize,
    align: usize,
    /// The size of an element.
    size: usize,
    /// How many elements, and the name of that.
    count: (&'static str, usize),
}

impl Array {
    #[inline(always)]
    fn new<T>(name: &'static str, array: *const T, count: (&'static str, usize)) -> Self {
        Self { name, address: array.addr(), align: align_of::<T>(), size: size_of::<T>(), count }
    }

    /// Where it stands, if it can. Without elements nothing is said of it.
    #[inline(always)]
    fn check(&self) -> Result<Option<Range>, Failure> {
        let (name, count) = self.count;
        if count == 0 {
            return Ok(None);
        }
        check_address(self.name, self.address, self.align, sized(name, count, self.size)?)?;
        Ok(Some(self.range()))
    }

    /// Of one that was checked.
    #[inline(always)]
    fn range(&self) -> Range {
        Range { start: self.address, end: self.address + self.count.1 * self.size }
    }
}

/// Are all pointers usable, and all arrays apart? `array` gives array `k` of a tensor, of so many.
#[inline(always)]
fn check_arrays<T>(
    list: &[T],
    arrays: usize,
    array: impl Fn(&T, usize) -> Array,
) -> Result<(), Failure> {
    let mut all = Row::EMPTY;
    let mut kinds = [Row::EMPTY; 5];
    let kinds = &mut kinds[..arrays];
    for (index, tensor) in list.iter().enumerate() {
        for (k, kind) in kinds.iter_mut().enumerate() {
            let checked = array(tensor, k).check().map_err(|failure| failure.of_tensor(index))?;
            if let Some(range) = checked {
                all.push(range);
                kind.push(range);
            }
        }
    }
    // As most programs have them: each tensor allocated behind the other, or all weights in one large
    // array, all gradients in another, and so on. Then nothing has to be sorted.
    if all.ascending || are_columns(kinds) { Ok(()) } else { check_apart(list, arrays, array) }
}

/// Does each row ascend, apart from all others?
fn are_columns(rows: &[Row]) -> bool {
    (0..rows.len())
        .all(|i| rows[i].ascending && rows[..i].iter().all(|row| row.hull.is_apart(rows[i].hull)))
}

/// Sorts the arrays by address: 40,000 in any order take about a millisecond, and no memory.
fn check_apart<T>(list: &[T], arrays: usize, array: impl Fn(&T, usize) -> Array) -> Result<(), Failure> {
    let of_tensor = |tensor| {
        let array = &array;
        (0..arrays).map(move |k| array(tensor, k)).filter(|array| array.count.1 > 0)
    };
    let mut ranges = room(list.len() * arrays)?;
    list.iter().for_each(|tensor| ranges.extend(of_tensor(tensor).map(|array| array.range())));
    ranges.sort_unstable_by_key(|range: &Range| range.start);
    match ranges.windows(2).find(|pair| pair[1].start < pair[0].end) {
        None => Ok(()),
        Some(pair) => {
            let arrays = list.iter().enumerate();
            Err(overlap(
                pair,
                arrays.flat_map(|(index, tensor)| of_tensor(tensor).map(move |array| (index, array))),
            ))
        }
    }
}

/// Says which arrays of which tensors stand at the two ranges.
#[cold]
fn overlap(pair: &[Range], arrays: impl Iterator<Item = (usize, Array)>) -> Failure {
    let mut culprits = arrays
        .filter(|(_, array)| pair.contains(&array.range()))
        .map(|(index, array)| format!("`{}` of tensor {index} at {:#x}", array.name, array.address));
    // More than two have the same memory, all of it; any two will do.
    let mut next = || culprits.next().unwrap_or_default();
    shared(next(), next())
}

#[cold]
fn shared(one: String, other: String) -> Failure {
    Failure::new(DOWNHILL_STATUS_OVERLAP, format!("{one} and {other} share memory"))
}
