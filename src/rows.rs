//! Which rows of a table a step touches: the list, its checks, and its order.

use std::{mem, ops::Range};

use crate::{Error, Optimizer, formats::BLOCK, sys::with_room};

/// The rows of a table that a step touches, for a [`Tensor`](crate::Tensor) whose weights are a table and
/// whose gradient has only these rows: row `k` of it is that of row `rows[k]` of the table. The other rows
/// of weights, states and copy are neither read nor written.
///
/// The step of a row has the bits that it has in a step of the whole table, and nothing depends on the
/// order of the list, but for the sums of [`merge`](Rows::merge). A list that does not ascend is sorted,
/// for which memory is allocated.
///
/// The rows take part in norm, clipping, skipping and zeroing as all elements of a gradient do: as they
/// are listed, before any are merged.
///
/// ```
/// use downhill::{Adagrad, Extras, Group, Rows, Tensor, Threads, step};
///
/// let (mut table, mut s) = ([1.0; 5 * 2], [0.0; 5 * 2]); // 5 rows of 2
/// let mut tensor = Tensor::new(&mut table, &[3.0, -3.0, 4.0, 4.0], [&mut s]);
/// tensor.rows = Some(Rows::new(2, &[3, 0]));
/// let config = Adagrad { lr: 0.5, ..Adagrad::default() };
/// step(&mut [Group::new(&config, 1, &mut [tensor])], &Extras::default(), Threads::Caller)?;
/// assert_eq!(table, [0.5, 0.5, 1.0, 1.0, 1.0, 1.0, 0.5, 1.5, 1.0, 1.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Rows<'a> {
    /// Elements of a row, at least 1. A table has a whole number of rows, one after another.
    pub row_length: usize,
    /// The rows, counted from 0, in any order.
    pub rows: &'a [i64],
    /// What becomes of a row that is listed more than once. True: its gradients are added in `f32`, in the
    /// order of the list, before they are scaled. False, as from [`Rows::new`]: the step is refused.
    pub merge: bool,
    /// The number of steps that each row of the table has had. A row that is touched has one more, which
    /// is its `t` in this step, in place of the tensor's and the group's. `None` from [`Rows::new`].
    pub row_t: Option<&'a mut [u64]>,
}

impl<'a> Rows<'a> {
    /// Rows that are listed once each, and have the group's `t`.
    pub fn new(row_length: usize, rows: &'a [i64]) -> Self {
        Self { row_length, rows, merge: false, row_t: None }
    }

    #[inline]
    pub(crate) fn reborrow(&mut self) -> Rows<'_> {
        let Self { row_length, rows, merge, row_t } = self;
        Rows { row_length: *row_length, rows, merge: *merge, row_t: row_t.as_deref_mut() }
    }

    pub(crate) fn listed(&self) -> Listed<'_> {
        let Self { row_length, rows, merge, row_t } = self;
        Listed { row_length: *row_length, rows, merge: *merge, row_t: row_t.as_deref() }
    }
}

/// [`Rows`] that are only looked at, with the same fields.
#[derive(Clone, Copy)]
#[allow(missing_docs, reason = "those of `Rows`")]
pub struct Listed<'a> {
    pub row_length: usize,
    pub rows: &'a [i64],
    pub merge: bool,
    pub row_t: Option<&'a [u64]>,
}

impl Listed<'_> {
    /// Checks all of a table of `n` elements with a gradient of `g` elements, and gives the list in
    /// ascending order if it is not.
    pub(crate) fn check(self, n: usize, g: usize, is_bits8: bool) -> Result<Option<Sorted>, Error> {
        let Self { row_length, rows, merge, row_t } = self;
        if row_length == 0 || !n.is_multiple_of(row_length) {
            return Err(Error::RowLength { row_length, len: n });
        }
        if is_bits8 && !row_length.is_multiple_of(BLOCK) {
            return Err(Error::RowInBits8 { row_length });
        }
        let count = n / row_length;
        // It cannot overflow where it is right.
        check_rows("g", g, rows.len().saturating_mul(row_length))?;
        if let Some(row_t) = row_t {
            check_rows("row_t", row_t.len(), count)?;
        }
        // A negative row is larger than any.
        if let Some(index) = rows.iter().position(|&row| row as u64 >= count as u64) {
            return Err(Error::Row { index, row: rows[index], count });
        }
        let mut sorted = if rows.is_sorted() { None } else { Some(Sorted::new(rows)?) };
        let distinct = check_distinct(rows, Order::of(rows, sorted.as_ref()));
        if let Some(sorted) = &mut sorted {
            sorted.is_distinct = distinct.is_ok();
        }
        if !merge {
            distinct?;
        }
        Ok(sorted)
    }

    /// Checks the configuration at the step of each row that has a number of its own, after `check`.
    pub(crate) fn check_steps(self, config: &dyn Optimizer) -> Result<(), Error> {
        let Some(row_t) = self.row_t else { return Ok(()) };
        // Rows that are touched again and again have numbers that come again and again.
        let mut checked = [0; 64];
        for &row in self.rows {
            let t = row_t[row as usize].saturating_add(1);
            let place = &mut checked[(t % 64) as usize];
            if *place != t {
                config.check_at(t)?;
                *place = t;
            }
        }
        Ok(())
    }
}

/// Has an array the length that the rows ask for?
pub(crate) fn check_rows(argument: &'static str, len: usize, expected: usize) -> Result<(), Error> {
    if len == expected { Ok(()) } else { Err(Error::RowCount { argument, len, expected }) }
}

fn check_distinct(rows: &[i64], order: Order<'_>) -> Result<(), Error> {
    let twice = (1..order.len()).find(|&k| order.row(k) == order.row(k - 1));
    match twice {
        None => Ok(()),
        Some(k) => {
            let (first, index) = (order.position(k - 1), order.position(k));
            Err(Error::RowTwice { index, first, row: rows[index] })
        }
    }
}

/// A list in ascending order: in each number the row, and in its lower bits the place in the list that was
/// given. So what is listed twice keeps its order.
#[derive(Debug)]
pub struct Sorted {
    all: Vec<u64>,
    /// Is each row listed once?
    is_distinct: bool,
}

impl Sorted {
    /// Of a list without negative rows.
    fn new(rows: &[i64]) -> Result<Self, Error> {
        let shift = shift(rows.len());
        let largest = rows.iter().copied().max().unwrap_or(0);
        if largest.leading_zeros() < shift {
            return Err(Error::UnsortedRows { len: rows.len(), largest });
        }
        let mut all =
            with_room(rows.len()).ok_or(Error::NoMemory { argument: "rows", len: rows.len() })?;
        all.extend(
            rows.iter().enumerate().map(|(position, &row)| (row as u64) << shift | position as u64),
        );
        let room = if MANY.contains(&rows.len()) { with_room(rows.len()) } else { None };
        match room {
            Some(room) => sort_by_digits(&mut all, room, shift, largest as u64),
            None => all.sort_unstable(),
        }
        Ok(Self { all, is_distinct: false })
    }
}

/// How many rows are sorted by digits: a long list takes 4 ns a row then (Zen 4), where the standard
/// library's sort takes 12; one of 256 longer than by it. Counts have 32 bits, for threads with little
/// stack.
const MANY: Range<usize> = 1 << 10..u32::MAX as usize;

/// The most bits of a digit: a count of each digit stays in the nearest cache.
const DIGIT: u32 = 11;

/// Sorts numbers by what is from bit `shift` on, which is at most `largest`: by its lowest digit, then by
/// the next, each time keeping the order of equal ones. `room` is for as many numbers.
fn sort_by_digits(all: &mut Vec<u64>, mut room: Vec<u64>, shift: u32, largest: u64) {
    let bits = u64::BITS - largest.leading_zeros();
    let digits = bits.div_ceil(DIGIT).max(1);
    let width = bits.div_ceil(digits);
    room.resize(all.len(), 0);
    for digit in 0..digits {
        let digit_of = |x: u64| (x >> (shift + digit * width)) as usize & ((1 << width) - 1);
        let mut next = [0_u32; 1 << DIGIT];
        all.iter().for_each(|&x| next[digit_of(x)] += 1);
        let mut start = 0;
        for next in &mut next {
            (*next, start) = (start, start + *next);
        }
        for &x in &*all {
            let next = &mut next[digit_of(x)];
            room[*next as usize] = x;
            *next += 1;
        }
        mem::swap(all, &mut room);
    }
}

/// How many bits a place in a list of `len` takes, at least one.
fn shift(len: usize) -> u32 {
    (u64::BITS - (len as u64).leading_zeros()).max(1)
}

/// The rows of a list from one to another, and where the gradient of each is. Those of one row follow each
/// other; and if the table is to be cut, they ascend.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Order<'a> {
    /// As they were given, of which the first has this position.
    Given(&'a [i64], usize),
    /// Sorted, with so many bits for the position.
    Sorted(&'a [u64], u32),
}

impl<'a> Order<'a> {
    /// A list as it is, if each row is listed once, and else as `of` has it. Not for a table that is cut.
    pub fn as_listed(rows: &'a [i64], sorted: Option<&'a Sorted>) -> Self {
        Self::of(rows, sorted.filter(|sorted| !sorted.is_distinct))
    }

    /// That of a list, which `sorted` is unless it ascends by itself.
    pub fn of(rows: &'a [i64], sorted: Option<&'a Sorted>) -> Self {
        match sorted {
            None => Self::Given(rows, 0),
            Some(Sorted { all, .. }) => Self::Sorted(all, shift(rows.len())),
        }
    }

    #[inline]
    pub fn len(self) -> usize {
        match self {
            Self::Given(rows, _) => rows.len(),
            Self::Sorted(rows, _) => rows.len(),
        }
    }

    #[inline]
    pub fn row(self, k: usize) -> usize {
        match self {
            Self::Given(rows, _) => rows[k] as usize,
            Self::Sorted(rows, shift) => (rows[k] >> shift) as usize,
        }
    }

    /// Where in the list that was given.
    #[inline]
    pub fn position(self, k: usize) -> usize {
        match self {
            Self::Given(_, first) => first + k,
            Self::Sorted(rows, shift) => (rows[k] & ((1 << shift) - 1)) as usize,
        }
    }

    /// Where the row of entry `k` ends.
    #[inline]
    pub fn end_of_row(self, k: usize) -> usize {
        let row = self.row(k);
        let mut end = k + 1;
        while end < self.len() && self.row(end) == row {
            end += 1;
        }
        end
    }

    pub fn split_at(self, k: usize) -> (Self, Self) {
        match self {
            Self::Given(rows, first) => {
                let (head, rest) = rows.split_at(k);
                (Self::Given(head, first), Self::Given(rest, first + k))
            }
            Self::Sorted(rows, shift) => {
                let (head, rest) = rows.split_at(k);
                (Self::Sorted(head, shift), Self::Sorted(rest, shift))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64Mcg;

    use super::*;

    /// No table here has so many rows.
    #[test]
    fn a_row_and_its_place_have_64_bits() {
        let last = (1 << 62) - 1;
        let rows = [last, 0];
        let sorted = Sorted::new(&rows).unwrap();
        let order = Order::of(&rows, Some(&sorted));
        assert_eq!([order.row(0), order.row(1)], [0, last as usize]);
        assert_eq!([order.position(0), order.position(1)], [1, 0]);
        let error = Sorted::new(&[last + 1, 0]).unwrap_err().to_string();
        assert!(
            error.starts_with("`rows` has 2 elements up to 4611686018427387904, too many"),
            "{error}"
        );
    }

    /// By the standard library and by digits, of small and of large numbers.
    #[test]
    fn lists_of_any_length_are_sorted() {
        for len in [2, MANY.start - 1, MANY.start, 5000] {
            for largest in [1, 2047, 2048, (1 << 22) + 1, (1 << 50) - 1] {
                let mut rng = Pcg64Mcg::seed_from_u64(1);
                let mut rows: Vec<_> = (0..len).map(|_| rng.random_range(0..=largest)).collect();
                rows[len / 2] = largest;
                let sorted = Sorted::new(&rows).unwrap();
                let mut expected: Vec<_> = (0..len).map(|place| (rows[place], place)).collect();
                expected.sort_unstable();
                let order = Order::of(&rows, Some(&sorted));
                let ours: Vec<_> = (0..len).map(|k| (order.row(k) as i64, order.position(k))).collect();
                assert_eq!(ours, expected, "{len} rows up to {largest}");
            }
        }
    }

    #[test]
    fn what_is_listed_twice_keeps_its_order() {
        let rows = [5, 3, 5, 3, 5];
        let sorted = Sorted::new(&rows).unwrap();
        let order = Order::of(&rows, Some(&sorted));
        let positions: Vec<_> = (0..5).map(|k| order.position(k)).collect();
        assert_eq!(positions, [1, 3, 0, 2, 4]);
        assert_eq!([order.end_of_row(0), order.end_of_row(2)], [2, 5]);
        let (head, rest) = order.split_at(2);
        assert_eq!((head.len(), rest.len(), rest.row(0), rest.position(0)), (2, 3, 5, 0));
    }
}
