//! The step of some rows of a table: each as a tensor of its own, while the rows after it are asked for.

use std::ops::Range;

use super::one::{How, step_tensor, zero_gradient};
use crate::{
    Gradient, Optimizer, Rounding, Tensor, WeightCopy, Weights,
    formats::{BLOCK, Key, Scratch, Value},
    rows::Order,
    rule::Step,
    sys::prefetch,
    tensor::{Shared, States},
};

/// Gradients of a row that is listed more than once are added up this many elements at a time: a multiple
/// of [`BLOCK`].
const MERGED: usize = 8 * BLOCK;

/// How many bytes of the rows that come next are asked for, and how many of each array of a row. What
/// comes after that the hardware asks for by itself.
const AHEAD: usize = 8 << 10;
const AHEAD_OF_ARRAY: usize = 1 << 10;

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
        let first_rest = if order_rest.len() == 0 { first } else { order_rest.row(0) };
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
        let how = How { far: false, ..how };
        let ahead = (AHEAD / self.bytes_of_row(config).max(1)).max(1);
        (0..ahead).for_each(|k| self.ask(k));
        let mut entry = 0;
        while entry < self.order.len() {
            let entries = entry..self.order.end_of_row(entry);
            entries.clone().for_each(|k| self.ask(k + ahead));
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
        let mut step_part = |part: Range<usize>, g: Gradient<'_>| {
            let range = here + part.start..here + part.end;
            let mut tensor = Tensor::new(w.range(range.clone()), g, state.range(range.clone(), states));
            tensor.copy = copy.range(range);
            let key = || Key::of(self.rounding, t, self.number + (in_table + part.start) as u64);
            step_tensor(&mut tensor, step, config, key, how, scratch.as_deref_mut());
        };
        let gradient = |entry| {
            let start = self.order.position(entry) * row_length;
            start..start + row_length
        };
        if entries.len() == 1 {
            return step_part(0..row_length, g.range(gradient(entries.start)));
        }
        let mut sum = [0.0; MERGED];
        let mut start = 0;
        while start < row_length {
            let end = row_length.min((in_table + start) / MERGED * MERGED + MERGED - in_table);
            let sum = &mut sum[..end - start];
            for entry in entries.clone() {
                let g = g.as_shared().range(gradient(entry)).range(start..end);
                add(sum, g, entry == entries.start);
            }
            step_part(start..end, Gradient::F32(sum));
            start = end;
        }
        if how.zero_grad {
            entries.for_each(|entry| zero_gradient(g, gradient(entry)));
        }
    }

    /// Bytes of all arrays of a row.
    fn bytes_of_row(&self, config: &dyn Optimizer) -> usize {
        let Tensor { w, g, state, copy, .. } = &self.tensor;
        self.row_length * (w.size() + g.size() + state.size(config.states().len()) + copy.size())
    }

    /// Asks for the memory of an entry's row, if there is such an entry.
    fn ask(&self, entry: usize) {
        if entry >= self.order.len() {
            return;
        }
        let Self { tensor: Tensor { w, g, state, copy, .. }, row_length, .. } = self;
        let start = (self.order.row(entry) - self.first) * row_length;
        let row = start..start + row_length;
        match w {
            Weights::F32(w) => ask_for(w, &row),
            Weights::Bf16(w) => ask_for(w, &row),
            Weights::F16(w) => ask_for(w, &row),
            Weights::Split { high, low } => {
                ask_for(high, &row);
                ask_for(low, &row);
            }
            Weights::Absent(_) => {}
        }
        match state {
            States::F32(arrays) => arrays.as_slice().iter().for_each(|array| ask_for(array, &row)),
            States::Bf16(arrays) => arrays.as_slice().iter().for_each(|array| ask_for(array, &row)),
            States::Bits8(_) | States::PartOfBits8(_) => {}
        }
        match copy {
            WeightCopy::Absent => {}
            WeightCopy::F32(copy) => ask_for(copy, &row),
            WeightCopy::Bf16(copy) => ask_for(copy, &row),
            WeightCopy::F16(copy) => ask_for(copy, &row),
        }
        let start = self.order.position(entry) * row_length;
        let row = start..start + row_length;
        match g.as_shared() {
            Shared::F32(g) => ask_for(g, &row),
            Shared::Bf16(g) => ask_for(g, &row),
            Shared::F16(g) => ask_for(g, &row),
        }
    }
}

/// Asks for the first lines of a range.
#[inline]
fn ask_for<E>(array: &[E], range: &Range<usize>) {
    let end = range.end.min(range.start + AHEAD_OF_ARRAY / size_of::<E>());
    (range.start..end).step_by(LINE / size_of::<E>()).for_each(|i| prefetch(array, i));
    // It may begin in the middle of a line.
    prefetch(array, end - 1);
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
