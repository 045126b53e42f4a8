//! Rows of a table, as a tensor has them: any list of any of them.

use std::collections::BTreeSet;

use arbitrary::Arbitrary;

use crate::input::*;

/// What a tensor is to have rows of.
#[derive(Arbitrary, Debug)]
pub struct Table {
    #[arbitrary(with = row_length)]
    row_length: usize,
    /// Does the length stay, whatever fits the elements and states?
    #[arbitrary(with = seldom)]
    is_odd: bool,
    rows: Vec<u16>,
    /// Do all the others follow?
    #[arbitrary(with = seldom)]
    has_all: bool,
    is_distinct: bool,
    is_sorted: bool,
    #[arbitrary(with = rarely)]
    last: Option<i64>,
    #[arbitrary(with = rarely)]
    count: Option<usize>,
    has_row_t: bool,
    flags: Choice,
    #[arbitrary(with = rarely)]
    reserved: Option<u32>,
}

/// What a tensor says of its rows, and how many elements it has.
#[derive(Default)]
pub struct Rows {
    pub n: usize,
    pub row_length: usize,
    /// How many it says that are listed.
    pub row_count: usize,
    pub list: Vec<i64>,
    pub has_row_t: bool,
    pub flags: u32,
    pub reserved: u32,
}

/// The most rows that follow those that are listed one by one. More takes too long.
const MOST: usize = 4096;

impl Table {
    /// Those of a tensor of about `n` elements.
    pub fn rows(&self, n: usize, has_blocks: bool) -> Rows {
        let (mut n, mut row_length) = (n, self.row_length);
        if has_blocks && !self.is_odd {
            row_length = row_length.checked_next_multiple_of(64).unwrap_or(row_length);
        }
        let count = n.checked_div(row_length).unwrap_or(0);
        if n > 0 && row_length > 0 && !self.is_odd {
            n = row_length * count.max(1);
        }
        let list = self.list(n.checked_div(row_length).unwrap_or(0));
        Rows {
            n,
            row_length,
            row_count: self.count.unwrap_or(list.len()),
            list,
            has_row_t: self.has_row_t,
            flags: self.flags.below(2),
            reserved: self.reserved.unwrap_or(0),
        }
    }

    /// Of a table of `count` rows.
    fn list(&self, count: usize) -> Vec<i64> {
        let some = self.rows.iter().map(|&row| usize::from(row) % count.max(1));
        let others = if self.has_all { count.min(MOST) } else { 0 };
        let mut list: Vec<i64> = some.chain(0..others).map(|row| row as i64).collect();
        if self.is_distinct {
            let mut seen = BTreeSet::new();
            list.retain(|&row| seen.insert(row));
        }
        if self.is_sorted {
            list.sort_unstable();
        }
        if let (Some(row), Some(last)) = (self.last, list.last_mut()) {
            *last = row;
        }
        list
    }
}
