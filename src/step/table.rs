//! The step of some rows of a table: each as a tensor of its own, while the rows after it are asked for.

use std::ops::Range;

use super::one::{How, step_tensor, zero_gradient};
use crate::{
    Optimizer, Rounding, Tensor, WeightCopy, Weights,
    formats::{BLOCK, Key, Scratch, Value},
    rows::Order,
    rule::Step,
    sys::prefetch_at,
    tensor::{MOST_STATES, Shared, States},
};

/// Gradients of a row that is listed more than once are added up this many elements at a time: a multiple
/// of [`BLOCK`].
const MERGED: usize = 8 * BLOCK;

/// How many bytes of the rows that come next are asked for, and how many of each array of a row. What
/// comes after that the hardware asks for by itself.
const AHEAD: usize = 4 << 10;
const AHEAD_OF_ARRAY: usize = 1 << 10;

/// How many rows are begun at a time. A CPU waits for a page that it has to look for, and so looks for that
/// of one row after that of the other, where a whole step is between them.
const BATCH: usize = 8;

/// Bytes of a cache line.
const LINE: usize = 64;

/// A tensor of which only rows are stepped, or what is between two of its rows.
pub(super) struct Table<'a> {
    /// Weights, states and copy from row `first` on, and the gradient of all that is listed.
    tensor: Tensor<'a>,
    row_length: usize,
    first: usize,
    /// The rows that are stepped here.
    order: Order<'a>,
    row_t: Option<&'a mut [u64]>,
    /// The number of the step of rows that have none of their own.
    t: u64,
    rounding: Rounding,
    /// The number of the first element of the whole table.
    number: u64,
}

impl<'a> Table<'a> {
    /// A tensor that has rows.
    pub fn new(
        mut tensor: Tensor<'a>,
        order: Order<'a>,
        t: u64,
        rounding: Rounding,
        number: u64,
    ) -> Self {
        let (row_length, row_t) = match tensor.rows.take() {
            Some(rows) => (rows.row_length, rows.row_t),
            None => unreachable!("a table has rows"),
        };
        Self { tensor, row_length, first: 0, order, row_t, t, rounding, number }
    }

    /// How many rows are listed.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    pub fn row_length(&self) -> usize {
        self.row_length
    }

    pub fn tensor(&self) -> &Tensor<'a> {
        &self.tensor
    }

    /// Before an entry of the list, and from it on; if that is for the same row as the one before, then
    /// from the next row on.
    pub fn split_at(self, entry: usize, states: usize) -> (Self, Self) {
        let Self { tensor, row_length, first, order, row_t, t, rounding, number } = self;
        let entry = if entry == 0 { 0 } else { order.end_of_row(entry - 1) };
        let (order, order_rest) = order.split_at(entry);
        // What comes after may have no rows at all.
        let first_rest = if order.len() == 0 { first } else { order.row(order.len() - 1) + 1 };
        let rows = first_rest - first;
        let (row_t, row_t_rest) = row_t.map(|row_t| row_t.split_at_mut(rows)).unzip();
        let element = rows * row_length;
        let (w, w_rest) = tensor.w.split_at(element);
        let (state, state_rest) = tensor.state.split_at(element, states);
        let (copy, copy_rest) = tensor.copy.split_at(element);
        let g = tensor.g.shared();
        let part = |w, state, copy, first, order, row_t| {
            let tensor = Tensor { w, g: g.into(), state, copy, t: 0, first_element: 0, rows: None };
            Self { tensor, row_length, first, order, row_t, t, rounding, number }
        };
        (
            part(w, state, copy, first, order, row_t),
            part(w_rest, state_rest, copy_rest, first_rest, order_rest, row_t_rest),
        )
    }

    /// Steps all rows, by `step` those that have no number of their own.
    pub fn step(
        &mut self,
        step: &dyn Step,
        config: &dyn Optimizer,
        how: How,
        mut scratch: Option<&mut Scratch>,
    ) {
        let memory = self.memory();
        let ahead = (AHEAD / memory.bytes_of_row()).max(1);
        (0..ahead).for_each(|k| self.ask(&memory, k));
        let (mut entry, mut begun) = (0, ahead);
        while entry < self.order.len() {
            if entry + ahead >= begun {
                self.begin(&memory, begun..begun + BATCH);
                begun += BATCH;
            }
            let entries = entry..self.order.end_of_row(entry);
            entries.clone().for_each(|k| self.ask(&memory, k + ahead));
            entry = entries.end;
            let t = self.count(entries.start);
            if t == self.t {
                self.step_row(entries, t, step, config, how, scratch.as_deref_mut());
            } else {
                config.with_constants(how.isa, t, how.scale, &mut |step| {
                    self.step_row(entries.clone(), t, step, config, how, scratch.as_deref_mut());
                });
            }
        }
    }

    /// The number of the step of an entry's row, which is counted.
    fn count(&mut self, entry: usize) -> u64 {
        let Some(row_t) = &mut self.row_t else { return self.t };
        let t = &mut row_t[self.order.row(entry) - self.first];
        *t = t.saturating_add(1);
        *t
    }

    /// Steps the row of these entries.
    fn step_row(
        &mut self,
        entries: Range<usize>,
        t: u64,
        step: &dyn Step,
        config: &dyn Optimizer,
        how: How,
        mut scratch: Option<&mut Scratch>,
    ) {
        let Self { tensor: Tensor { w, g, state, copy, .. }, row_length, .. } = self;
        let (row_length, states) = (*row_length, config.states().len());
        let row = self.order.row(entries.start);
        let in_table = row * row_length;
        let here = (row - self.first) * row_length;
        let mut step_part = |part: Range<usize>, g: Shared<'_>| {
            let range = here + part.start..here + part.end;
            if let (Weights::F32(w), Shared::F32(g), States::F32(state), WeightCopy::Absent) =
                (&mut *w, g, &mut *state, &mut *copy)
            {
                let state = &mut state.range(range.clone());
                return step.plain(&mut w[range], g, state.as_mut_slice(), false);
            }
            let mut tensor = Tensor::new(w.range(range.clone()), g, state.range(range.clone(), states));
            tensor.copy = copy.range(range);
            let key = || Key::of(self.rounding, t, self.number + (in_table + part.start) as u64);
            let how = How { far: false, zero_grad: false, ..how };
            step_tensor(&mut tensor, step, config, key, how, scratch.as_deref_mut());
        };
        let gradient = |entry| {
            let start = self.order.position(entry) * row_length;
            start..start + row_length
        };
        if entries.len() == 1 {
            step_part(0..row_length, g.as_shared().range(gradient(entries.start)));
        } else {
            let sum = &mut [0.0; MERGED];
            let mut start = 0;
            while start < row_length {
                let end = row_length.min((in_table + start) / MERGED * MERGED + MERGED - in_table);
                let sum = &mut sum[..end - start];
                for entry in entries.clone() {
                    let g = g.as_shared().range(gradient(entry)).range(start..end);
                    add(sum, g, entry == entries.start);
                }
                step_part(start..end, Shared::F32(sum));
                start = end;
            }
        }
        if how.zero_grad {
            entries.for_each(|entry| zero_gradient(g, gradient(entry)));
        }
    }

    /// Where the memory of rows is.
    fn memory(&self) -> Memory {
        let Self { tensor: Tensor { w, g, state, copy, .. }, row_length, .. } = self;
        let of_g = match g.as_shared() {
            Shared::F32(g) => Array::new(g, *row_length),
            Shared::Bf16(g) => Array::new(g, *row_length),
            Shared::F16(g) => Array::new(g, *row_length),
        };
        let mut memory = Memory { of_g, tables: [of_g; MOST_TABLES], count: 0 };
        match w {
            Weights::F32(w) => memory.push(w, *row_length),
            Weights::Bf16(w) => memory.push(w, *row_length),
            Weights::F16(w) => memory.push(w, *row_length),
            Weights::Split { high, low } => {
                memory.push(high, *row_length);
                memory.push(low, *row_length);
            }
            Weights::Absent(_) => {}
        }
        match state {
            States::F32(all) => all.as_slice().iter().for_each(|array| memory.push(array, *row_length)),
            States::Bf16(all) => all.as_slice().iter().for_each(|array| memory.push(array, *row_length)),
            States::Bits8(_) | States::PartOfBits8(_) => {}
        }
        match copy {
            WeightCopy::Absent => {}
            WeightCopy::F32(copy) => memory.push(copy, *row_length),
            WeightCopy::Bf16(copy) => memory.push(copy, *row_length),
            WeightCopy::F16(copy) => memory.push(copy, *row_length),
        }
        memory
    }

    /// Asks for the first line of the rows of these entries, if there are so many: all at a time, so that
    /// the CPU looks for their pages at a time.
    fn begin(&self, memory: &Memory, entries: Range<usize>) {
        let end = entries.end.min(self.order.len());
        for table in &memory.tables[..memory.count] {
            for entry in entries.start..end {
                let row = self.order.row(entry) - self.first;
                prefetch_at(table.address + row * table.bytes_of_row);
            }
        }
    }

    /// Asks for the memory of an entry's row, if there is such an entry.
    #[inline]
    fn ask(&self, memory: &Memory, entry: usize) {
        if entry < self.order.len() {
            let row = self.order.row(entry) - self.first;
            memory.tables[..memory.count].iter().for_each(|table| table.ask(row));
            memory.of_g.ask(self.order.position(entry));
        }
    }
}

/// The most arrays of a table: weights in two halves, states, and a copy.
const MOST_TABLES: usize = 3 + MOST_STATES;

/// Where the arrays of a table are that are asked for early. What to ask for is then found fast: while it
/// is looked for, the CPU cannot look at the rows before.
struct Memory {
    of_g: Array,
    tables: [Array; MOST_TABLES],
    count: usize,
}

/// An array by its address.
#[derive(Clone, Copy)]
struct Array {
    address: usize,
    bytes_of_row: usize,
}

impl Memory {
    fn push<E>(&mut self, array: &[E], row_length: usize) {
        self.tables[self.count] = Array::new(array, row_length);
        self.count += 1;
    }

    /// Bytes of all arrays of a row.
    fn bytes_of_row(&self) -> usize {
        self.of_g.bytes_of_row
            + self.tables[..self.count].iter().map(|table| table.bytes_of_row).sum::<usize>()
    }
}

impl Array {
    fn new<E>(array: &[E], row_length: usize) -> Self {
        Self { address: array.as_ptr().addr(), bytes_of_row: row_length * size_of::<E>() }
    }

    /// Asks for the first lines of a row.
    #[inline(always)]
    fn ask(self, row: usize) {
        let start = self.address + row * self.bytes_of_row;
        let end = start + self.bytes_of_row.min(AHEAD_OF_ARRAY);
        // It may begin in the middle of a line.
        let mut line = start / LINE * LINE;
        while line < end {
            prefetch_at(line);
            line += LINE;
        }
    }
}

/// Adds a gradient to a sum, or begins it.
fn add(sum: &mut [f32], g: Shared<'_>, is_first: bool) {
    fn of<E: Value>(sum: &mut [f32], g: &[E], is_first: bool) {
        for (sum, g) in sum.iter_mut().zip(g) {
            *sum = if is_first { g.float() } else { *sum + g.float() };
        }
    }
    match g {
        Shared::F32(g) => of(sum, g, is_first),
        Shared::Bf16(g) => of(sum, g, is_first),
        Shared::F16(g) => of(sum, g, is_first),
    }
}
