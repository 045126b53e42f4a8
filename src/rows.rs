//! Which rows of a table a step touches: the list, its checks, and its order.

use std::{mem, ops::Range};

use crate::{Error, Optimizer, formats::BLOCK, sys::with_room};

/// The rows of a table that a step touches, for a [`Tensor`](crate::Tensor) whose weights are a table and
/// whose gradient has only these rows: row `k` of it is that of row `rows[k]` of the table. The other rows
/// of weights, states and copy are neither read nor written.
///
/// The step of a row has the bits that it has in a step of the whole table, and nothing depends on the
/// order of the list, but for the sums of [`merge`](Rows::merge). For a list that does not ascend memory is
/// allocated.
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
    /// Checks all of a table of `n` elements with a gradient of `g` elements, and says in which order its
    /// rows are stepped if they do not ascend. `has_one_array`: are the weights the
    /// only array with a row of numbers?
    pub(crate) fn check(
        self,
        n: usize,
        g: usize,
        is_bits8: bool,
        has_one_array: bool,
    ) -> Result<Option<Arranged>, Error> {
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
        if rows.is_sorted() {
            let distinct = check_distinct(rows, Order::Given(rows, 0));
            return if merge { Ok(None) } else { distinct.map(|()| None) };
        }
        if has_one_array && are_distinct(rows, count) {
            return Ok(Some(Arranged::AsListed));
        }
        let sorted = Sorted::new(rows)?;
        match check_distinct(rows, sorted.order()) {
            Ok(()) if has_one_array => Ok(Some(Arranged::AsListed)),
            Err(error) if !merge => Err(error),
            _ => Ok(Some(Arranged::Sorted(sorted))),
        }
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

/// Are all rows of a list distinct? In a table of `count` rows, with a bit for each: 2 ns for a row, where
/// sorting takes 7 (Zen 4). False also for a table that is much longer than the list, whose bits would take
/// longer to clear.
fn are_distinct(rows: &[i64], count: usize) -> bool {
    if count / 128 > rows.len() {
        return false;
    }
    let words = count.div_ceil(64);
    let Some(mut seen) = with_room::<u64>(words) else { return false };
    seen.resize(words, 0);
    let mut twice = 0;
    for &row in rows {
        let (word, bit) = (&mut seen[row as usize / 64], 1 << (row % 64));
        twice |= *word & bit;
        *word |= bit;
    }
    twice == 0
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

/// How the rows of a list are stepped that does not ascend.
#[derive(Debug)]
pub(crate) enum Arranged {
    /// As they are listed, each once. Where the weights are the only array of a table, SGD takes 0.8 of the
    /// time so, since the gradient is read from its beginning to its end. Adam, with three such arrays, takes
    /// 0.75 of the time when it walks through them in one direction.
    AsListed,
    Sorted(Sorted),
}

/// A list in ascending order: in each number the row, and in its lower bits the place in the list that was
/// given. So what is listed twice keeps its order.
#[derive(Debug)]
pub(crate) struct Sorted(Vec<u64>);

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
        Ok(Self(all))
    }

    pub fn order(&self) -> Order<'_> {
        let Self(all) = self;
        Order::Sorted(all, shift(all.len()))
    }
}

/// How many rows are sorted by digits: a long list takes 4 ns a row then (Zen 4), where the standard
/// library's sort takes 12; one of 256 longer than by it. Counts have 32 bits, for threads with little
/// stack.
const MANY: Range<usize> = 1 << 10..u32::MAX as usize;

/// The most bits of a digit: a count of each digit stays in the L1 cache.
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

/// A list partitioned by ranges of the table's rows, each part in the order of the list, so that each thread
/// steps one range of the table.
pub(crate) struct Parts {
    /// The place of each row in the list.
    places: Vec<u32>,
    /// Where each part ends: in `places`, and in the table.
    ends: Vec<(usize, usize)>,
}

impl Parts {
    /// Parts of about the same length of a list of rows below `count`. None if there is no memory for it, or
    /// if the list is too long for numbers of 32 bits.
    pub fn new(rows: &[i64], count: usize, parts: usize) -> Option<Self> {
        let len = u32::try_from(rows.len()).ok()?;
        // Slices of the table, of which each part has some.
        let shift = (usize::BITS - count.leading_zeros()).saturating_sub(SLICES.ilog2());
        let slice_of = |row: i64| (row as usize) >> shift;
        let mut counts = [0_u32; SLICES];
        rows.iter().for_each(|&row| counts[slice_of(row)] += 1);
        let (mut ends, mut next) = (with_room(parts)?, with_room(parts)?);
        let (mut part_of, mut before) = ([0_u32; SLICES], 0);
        for (slice, slice_count) in counts.into_iter().enumerate() {
            // Before the middle of this slice.
            let middle = u64::from(before) + u64::from(slice_count / 2);
            let part = (middle * parts as u64 / u64::from(len)).min(parts as u64 - 1) as u32;
            while next.len() <= part as usize {
                if !next.is_empty() {
                    ends.push((before as usize, (slice << shift).min(count)));
                }
                next.push(before);
            }
            part_of[slice] = part;
            before += slice_count;
        }
        ends.push((rows.len(), count));
        let mut places = with_room(rows.len())?;
        places.resize(rows.len(), 0);
        for (place, &row) in (0..).zip(rows) {
            let next = &mut next[part_of[slice_of(row)] as usize];
            places[*next as usize] = place;
            *next += 1;
        }
        Some(Self { places, ends })
    }

    /// The order of each part, and the row of the table where it ends.
    pub fn orders<'a>(&'a self, rows: &'a [i64]) -> impl Iterator<Item = (Order<'a>, usize)> {
        let mut start = 0;
        self.ends.iter().map(move |&(end, row)| {
            let places = &self.places[start..end];
            start = end;
            (Order::Part(rows, places), row)
        })
    }
}

/// How many slices a table is counted in: a power of two, so few that their counts stay in the L1 cache.
const SLICES: usize = 1 << 10;

/// The rows of a list from one to another, and where the gradient of each is. Those of one row follow each
/// other; and if the table is to be cut, they ascend.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Order<'a> {
    /// As they were given, of which the first has this position.
    Given(&'a [i64], usize),
    /// Sorted, with so many bits for the position.
    Sorted(&'a [u64], u32),
    /// Those at some places of a list, as they were given, each once.
    Part(&'a [i64], &'a [u32]),
}

impl<'a> Order<'a> {
    /// That of a list. It can be cut unless `arranged` is [`Arranged::AsListed`].
    pub fn of(rows: &'a [i64], arranged: Option<&'a Arranged>) -> Self {
        match arranged {
            None | Some(Arranged::AsListed) => Self::Given(rows, 0),
            Some(Arranged::Sorted(sorted)) => sorted.order(),
        }
    }

    #[inline]
    pub fn len(self) -> usize {
        match self {
            Self::Given(rows, _) => rows.len(),
            Self::Sorted(rows, _) => rows.len(),
            Self::Part(_, places) => places.len(),
        }
    }

    #[inline]
    pub fn row(self, k: usize) -> usize {
        match self {
            Self::Given(rows, _) => rows[k] as usize,
            Self::Sorted(rows, shift) => (rows[k] >> shift) as usize,
            Self::Part(rows, places) => rows[places[k] as usize] as usize,
        }
    }

    /// Where in the list that was given.
    #[inline]
    pub fn position(self, k: usize) -> usize {
        match self {
            Self::Given(_, first) => first + k,
            Self::Sorted(rows, shift) => (rows[k] & ((1 << shift) - 1)) as usize,
            Self::Part(_, places) => places[k] as usize,
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
            Self::Part(..) => unreachable!("what does not ascend is not cut"),
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
        let order = sorted.order();
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
                let order = sorted.order();
                let ours: Vec<_> = (0..len).map(|k| (order.row(k) as i64, order.position(k))).collect();
                assert_eq!(ours, expected, "{len} rows up to {largest}");
            }
        }
    }

    /// Spread evenly, nearly all in one place, and more parts than rows.
    #[test]
    fn parts_are_of_the_list_and_of_the_table() {
        let mut rng = Pcg64Mcg::seed_from_u64(2);
        for (count, len) in [(3, 2), (1000, 700), (5000, 5000), (1 << 20, 3000), (usize::MAX >> 8, 500)]
        {
            for skewed in [false, true] {
                let mut rows: Vec<_> = (0..len)
                    .map(|_| {
                        let below = if skewed { count.div_ceil(100) } else { count };
                        rng.random_range(0..below as u64) as i64
                    })
                    .collect();
                rows[0] = count as i64 - 1;
                for parts in 1..=9 {
                    let cut = Parts::new(&rows, count, parts).unwrap();
                    let (mut places, mut start) = (Vec::new(), 0);
                    for (order, end) in cut.orders(&rows) {
                        let of_part: Vec<_> = (0..order.len()).map(|k| order.position(k)).collect();
                        assert!(of_part.is_sorted(), "{count} {len} {parts}");
                        assert!((0..order.len()).all(|k| (start..end).contains(&order.row(k))));
                        assert!(
                            of_part.iter().enumerate().all(|(k, &p)| rows[p] as usize == order.row(k))
                        );
                        if !skewed && len >= 500 {
                            assert!(order.len().abs_diff(len / parts) <= len / 10, "{}", order.len());
                        }
                        places.extend(of_part);
                        start = end;
                    }
                    places.sort_unstable();
                    assert_eq!((places, start), ((0..len).collect(), count));
                }
            }
        }
    }

    /// By a bit for each row of the table, or sorted if it has too many.
    #[test]
    fn a_list_stays_as_it_is_only_if_its_rows_are_distinct() {
        for count in [100, usize::MAX >> 1] {
            let arranged = |rows: &[i64], merge, has_one_array| {
                let listed = Listed { row_length: 1, rows, merge, row_t: None };
                listed.check(count, rows.len(), false, has_one_array)
            };
            let (distinct, twice) = ([7, 99, 3, 64, 63], [7, 99, 3, 7, 63]);
            assert!(matches!(arranged(&distinct, false, true), Ok(Some(Arranged::AsListed))));
            assert!(matches!(arranged(&distinct, true, true), Ok(Some(Arranged::AsListed))));
            assert!(matches!(arranged(&distinct, false, false), Ok(Some(Arranged::Sorted(_)))));
            assert!(matches!(arranged(&twice, true, true), Ok(Some(Arranged::Sorted(_)))));
            let error = Error::RowTwice { index: 3, first: 0, row: 7 };
            assert_eq!(arranged(&twice, false, true).unwrap_err(), error);
        }
    }

    #[test]
    fn what_is_listed_twice_keeps_its_order() {
        let rows = [5, 3, 5, 3, 5];
        let sorted = Sorted::new(&rows).unwrap();
        let order = sorted.order();
        let positions: Vec<_> = (0..5).map(|k| order.position(k)).collect();
        assert_eq!(positions, [1, 3, 0, 2, 4]);
        assert_eq!([order.end_of_row(0), order.end_of_row(2)], [2, 5]);
        let (head, rest) = order.split_at(2);
        assert_eq!((head.len(), rest.len(), rest.row(0), rest.position(0)), (2, 3, 5, 0));
    }
}
