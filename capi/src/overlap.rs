//! Are all arrays of a whole step apart that have to be? What is written may overlap nothing; what is
//! only read may overlap what else is only read.

use std::ops::Range;

use super::status::*;
use downhill::abi::with_room;

/// An array or a structure, as C tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Array {
    pub name: &'static str,
    pub start: usize,
    pub bytes: usize,
    pub is_written: bool,
}

impl Array {
    /// One that is only read.
    pub fn read(name: &'static str, start: usize, bytes: usize) -> Self {
        Self { name, start, bytes, is_written: false }
    }

    fn end(&self) -> usize {
        self.start + self.bytes
    }

    pub fn range(&self) -> Range<usize> {
        self.start..self.end()
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.bytes > 0
            && other.bytes > 0
            && (self.is_written || other.is_written)
            && self.start < other.end()
            && other.start < self.end()
    }
}

/// An array with what it belongs to.
pub(super) type Placed = (Place, Array);

/// Calls its argument with all arrays.
pub(super) type Each<'a> = &'a mut dyn FnMut(&mut dyn FnMut(Placed));

/// Which group and tensor an array belongs to: none for the structures.
pub(super) type Place = Option<(usize, usize)>;

/// The kinds of arrays that a tensor has.
pub(super) const KINDS: usize = 10;

/// All arrays in the order in which they come by.
pub(super) struct Extents {
    kinds: [Extent; KINDS],
    /// Does each array end before the next one starts?
    ascending: bool,
    /// Where the last one ends.
    end: usize,
    count: usize,
}

/// Some of them.
#[derive(Clone, Copy)]
struct Extent {
    /// From the least start to the largest end.
    start: usize,
    end: usize,
    /// Does each end before the next one starts?
    ascending: bool,
    is_written: bool,
}

impl Extent {
    const EMPTY: Self = Self { start: usize::MAX, end: 0, ascending: true, is_written: false };

    #[inline(always)]
    fn push(&mut self, next: &Range<usize>) {
        self.ascending &= self.end <= next.start;
        self.start = self.start.min(next.start);
        self.end = self.end.max(next.end);
    }

    fn is_empty(&self) -> bool {
        self.end == 0
    }

    fn is_apart(&self, other: &Self) -> bool {
        self.end <= other.start || other.end <= self.start
    }
}

impl Extents {
    pub const EMPTY: Self = Self { kinds: [Extent::EMPTY; KINDS], ascending: true, end: 0, count: 0 };

    /// An array of a kind, which is not empty. All of a kind are written, or none.
    #[inline(always)]
    pub fn push(&mut self, kind: usize, array: Range<usize>, is_written: bool) {
        self.ascending &= self.end <= array.start;
        self.end = array.end;
        self.kinds[kind].push(&array);
        self.kinds[kind].is_written = is_written;
        self.count += 1;
    }

    /// As most programs have them: each tensor allocated after the other, or all weights in one large
    /// array, all gradients in another, and so on. Then nothing has to be sorted.
    fn are_apart(&self) -> bool {
        let kinds = &self.kinds;
        self.ascending
            || (0..KINDS).all(|i| {
                kinds[i].is_empty()
                    || (kinds[i].ascending || !kinds[i].is_written)
                        && kinds[..i].iter().all(|kind| kind.is_apart(&kinds[i]))
            })
    }

    /// Checks all arrays against one another and against the structures. `each` calls its argument with
    /// all of them.
    pub fn check(&self, structures: &[Array], each: Each<'_>) -> Result<(), Failure> {
        if !self.are_apart() {
            self.check_sorted(each)?;
        }
        self.check_structures(structures, each)
    }

    /// Sorts the arrays by address: 40,000 in any order take about a millisecond, and no memory but for
    /// the list.
    fn check_sorted(&self, each: Each<'_>) -> Result<(), Failure> {
        let mut spans = with_room(self.count).ok_or(Failure::OUT_OF_MEMORY)?;
        each(&mut |(_, array)| {
            if array.bytes > 0 {
                spans.push(Span::of(&array));
            }
        });
        sort(&mut spans);
        // What ends last so far; and of what is written.
        let (mut last, mut last_written) = (Span::EMPTY, Span::EMPTY);
        for span in spans {
            let before = if span.is_written() { last } else { last_written };
            if span.start < before.end() {
                return Err(shared_by(before, span, each));
            }
            if last.end() < span.end() {
                last = span;
            }
            if span.is_written() && last_written.end() < span.end() {
                last_written = span;
            }
        }
        Ok(())
    }

    fn check_structures(&self, structures: &[Array], each: Each<'_>) -> Result<(), Failure> {
        for (i, structure) in structures.iter().enumerate().filter(|(_, array)| array.is_written) {
            let mut others = structures.iter().enumerate().filter(|(k, _)| *k != i);
            if let Some((_, other)) = others.find(|(_, other)| structure.overlaps(other)) {
                return Err(shared((None, *other), (None, *structure)));
            }
        }
        let mut all = Extent::EMPTY;
        self.kinds.iter().for_each(|kind| all.push(&(kind.start..kind.end)));
        let is_near =
            |array: &&Array| array.bytes > 0 && array.start < all.end && all.start < array.end();
        let count = structures.iter().filter(is_near).count();
        if count == 0 {
            return Ok(());
        }
        let mut near = with_room(count).ok_or(Failure::OUT_OF_MEMORY)?;
        near.extend(structures.iter().filter(is_near).map(Span::of));
        sort(&mut near);
        // Those that share memory, which are only read, as one: then ends are in the order of starts.
        near.dedup_by(|next, last| {
            let is_shared = next.start < last.end();
            if is_shared && last.end() < next.end() {
                last.bytes = 2 * (next.end() - last.start);
            }
            is_shared
        });
        let mut found = None;
        each(&mut |placed| {
            let array = Span::of(&placed.1);
            let first = near.partition_point(|structure| structure.end() <= array.start);
            let mut others = near[first..].iter().take_while(|structure| structure.start < array.end());
            if array.bytes > 1 && others.any(|other| array.is_written() || other.is_written()) {
                found.get_or_insert(placed);
            }
        });
        let Some(placed) = found else { return Ok(()) };
        let structure = structures.iter().find(|structure| structure.overlaps(&placed.1));
        Err(shared((None, *structure.expect("one of them does")), placed))
    }
}

/// Where an array is, and whether it is written, in two words. To sort [`Placed`] itself takes three times
/// as long.
#[derive(Clone, Copy, PartialEq)]
struct Span {
    start: usize,
    /// 2·bytes, plus 1 if the array is written. An array has no more than `isize::MAX` bytes, or the checks
    /// of its length would have refused it.
    bytes: usize,
}

impl Span {
    const EMPTY: Self = Self { start: 0, bytes: 0 };

    fn of(array: &Array) -> Self {
        Self { start: array.start, bytes: 2 * array.bytes + usize::from(array.is_written) }
    }

    fn end(self) -> usize {
        self.start + self.bytes / 2
    }

    fn is_written(self) -> bool {
        self.bytes % 2 == 1
    }
}

/// By where they start. A function, because it is 4 KB of code.
fn sort(spans: &mut [Span]) {
    spans.sort_unstable_by_key(|span| span.start);
}

/// The error for two spans that overlap, which names the arrays that they were made from.
#[cold]
fn shared_by(one: Span, other: Span, each: Each<'_>) -> Failure {
    let (mut first, mut second) = (None, None);
    each(&mut |placed| {
        let span = Span::of(&placed.1);
        if first.is_none() && span == one {
            first = Some(placed);
        } else if second.is_none() && span == other {
            // The same span as the first, if an array was given twice.
            second = Some(placed);
        }
    });
    let found = "both were among the arrays before";
    shared(first.expect(found), second.expect(found))
}

#[cold]
fn shared(one: Placed, other: Placed) -> Failure {
    let said = |(place, array): Placed| match place {
        Some((group, tensor)) => {
            format!("`{}` of group {group}, tensor {tensor} at {:#x}", array.name, array.start)
        }
        None => format!("`{}` at {:#x}", array.name, array.start),
    };
    let message = format!("{} and {} share memory", said(one), said(other));
    Failure::new(DOWNHILL_STATUS_OVERLAP, message)
}

#[cfg(test)]
mod tests {
    use std::ffi::CStr;

    use super::*;

    const NAMES: [&str; 6] = ["`a`", "`b`", "`c`", "`d`", "`e`", "`f`"];

    /// Few arrays in little memory, which meet in all ways, empty ones among them, against a look at each
    /// pair: of one that shares memory it is told.
    #[test]
    fn arrays_are_apart_if_each_pair_is() {
        let mut seed = 1_u64;
        let mut below = |most: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            ((seed >> 33) % most) as usize
        };
        let mut seen = [0, 0];
        for _ in 0..30_000 {
            let arrays: Vec<Array> = NAMES[..2 + below(5)]
                .iter()
                .map(|name| Array {
                    name,
                    start: 1000 + below(60),
                    bytes: below(12),
                    is_written: below(2) == 1,
                })
                .collect();
            let mut extents = Extents::EMPTY;
            for array in arrays.iter().filter(|array| array.bytes > 0) {
                // A kind for what is written, and one for the rest.
                extents.push(array.is_written.into(), array.range(), array.is_written);
            }
            let each = &mut |f: &mut dyn FnMut(Placed)| {
                arrays.iter().enumerate().for_each(|(i, array)| f((Some((0, i)), *array)));
            };
            let checked = extents.check(&[], each).map_err(report);
            let pairs = arrays.iter().enumerate().flat_map(|(i, one)| {
                arrays[..i]
                    .iter()
                    .filter(|other| one.overlaps(other))
                    .map(|other| [one.name, other.name])
            });
            match &checked {
                Ok(()) => assert_eq!(pairs.count(), 0, "{arrays:?}"),
                Err(_) => {
                    // SAFETY: a string that stays until this thread's next error, of which there is none
                    // meanwhile.
                    let told = unsafe { CStr::from_ptr(downhill_last_error()) }.to_string_lossy();
                    let is_told = |pair: [&str; 2]| pair.iter().all(|name| told.contains(name));
                    assert!({ pairs }.any(is_told), "{told} of {arrays:?}");
                }
            }
            seen[usize::from(checked.is_ok())] += 1;
        }
        assert!(seen[0] > 1000 && seen[1] > 1000, "{seen:?}");
    }
}
