//! The step of some rows of a table: each as a tensor of its own, while the rows after it are prefetched.

use std::ops::Range;

use super::{
    blocks::Scratch,
    one::{How, step_tensor, zero_gradient},
    states_of_element,
};
use crate::{
    Optimizer, Rounding, Tensor, WeightCopy, Weights,
    formats::{BLOCK, Key, Value},
    norm::{SUMS, add_squares, pairwise},
    optimizer::{Around, RowRule, Step},
    rows::Order,
    rule::Prelude,
    sys::{LINE, prefetch_at, prefetch_to_l2},
    tensor::{MOST_STATES, Shared, States},
    threads,
};

/// Gradients of a row that is listed more than once are added up this many elements at a time: a multiple
/// of [`BLOCK`].
const MERGED: usize = 8 * BLOCK;

/// How many bytes of the rows that come next are prefetched, and how many of each array of a row. The
/// hardware prefetches what follows.
const AHEAD: usize = 8 << 10;
const AHEAD_OF_ARRAY: usize = 1 << 10;

/// How many rows are begun at a time. A TLB miss stalls the CPU, and those of consecutive rows do not overlap
/// where a whole step lies between them. Adam on a Zen 4, rows of 128 elements: 220 ns a row with 32, 205 with
/// 128.
const BATCH: usize = 128;

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

    /// Every cut is a multiple of this many rows from the start. What does not ascend is not cut.
    pub fn grain(&self) -> usize {
        match self.order {
            Order::Part(..) => self.len().max(1),
            Order::Given(..) | Order::Sorted(..) => threads::GRAIN.div_ceil(self.row_length),
        }
    }

    pub fn tensor(&self) -> &Tensor<'a> {
        &self.tensor
    }

    /// Splits at an entry of the list, or at the next row's first entry if the entry before is for the same
    /// row. `states`: how many an element has, 0 if there is one for each row.
    pub fn split_at(self, entry: usize, states: usize) -> (Self, Self) {
        let order = self.order;
        let entry = if entry == 0 { 0 } else { order.end_of_row(entry - 1) };
        let (order, order_rest) = order.split_at(entry);
        // What comes after may have no rows at all.
        let end = if order.len() == 0 { self.first } else { order.row(order.len() - 1) + 1 };
        let (part, rest) = self.split_rows(end, order, states);
        (part, Self { order: order_rest, ..rest })
    }

    /// Before a row of the table, of which this is the order, and from it on.
    pub fn split_rows(self, end: usize, order: Order<'a>, states: usize) -> (Self, Self) {
        let Self { tensor, row_length, first, order: order_rest, row_t, t, rounding, number } = self;
        let (rows, first_rest) = (end - first, end);
        let (row_t, row_t_rest) = row_t.map(|row_t| row_t.split_at_mut(rows)).unzip();
        let element = rows * row_length;
        let (w, w_rest) = tensor.w.split_at(element);
        let of_state = if states == 0 { rows } else { element };
        let (state, state_rest) = tensor.state.split_at(of_state, states);
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

    /// Steps all rows, by `using.step` those that have no number of their own.
    pub fn step(&mut self, using: &Using<'_>, mut scratch: Option<&mut Scratch>) {
        let memory = self.memory(using.row_rule.is_some());
        let ahead = (AHEAD / memory.bytes_of_row()).max(1);
        (0..ahead).for_each(|k| self.prefetch(&memory, k));
        // The gradient's rows follow each other, one after the other: the CPU sees that too late for the first
        // lines of each. SGD with AVX-512 on a Zen 4: 80 ns a row, with this 64. Where they do not, Adam takes
        // 209 ns with this and 174 without.
        let is_dense = matches!(self.order, Order::Given(..));
        let (mut entry, mut begun) = (0, ahead);
        while entry < self.order.len() {
            if entry + ahead >= begun {
                self.begin(&memory, begun..begun + BATCH);
                begun += BATCH;
            }
            let entries = entry..self.order.end_of_row(entry);
            entries.clone().for_each(|k| self.prefetch(&memory, k + ahead));
            if is_dense && entries.end < self.order.len() {
                memory.of_g.each_line(self.order.position(entries.end), prefetch_at);
            }
            entry = entries.end;
            let t = self.count(entries.start);
            if t == self.t {
                self.step_row(entries, t, using, scratch.as_deref_mut());
            } else {
                using.config.with_constants(using.how.isa, t, using.around, &mut |step| {
                    let using = &Using { step, ..*using };
                    self.step_row(entries.clone(), t, using, scratch.as_deref_mut());
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
        using: &Using<'_>,
        scratch: Option<&mut Scratch>,
    ) {
        let Some(rule) = using.row_rule else {
            return self.step_elements(entries, t, using, scratch);
        };
        let rate = self.rate(entries.clone(), rule, using.how);
        let mut scratch = scratch;
        rule.with_rate(using.how.isa, rate, using.around, &mut |step| {
            let using = &Using { step, ..*using };
            self.step_elements(entries.clone(), t, using, scratch.as_deref_mut());
        });
    }

    /// Updates the state of a row that has one for all its elements, and gives the rate of its step.
    fn rate(&mut self, entries: Range<usize>, rule: &dyn RowRule, how: &How) -> f32 {
        let Self { tensor: Tensor { w, g, state, .. }, row_length, order, .. } = self;
        let (row_length, prelude) = (*row_length, Prelude::new(rule.decay()).scaled(how.scale));
        let row = order.row(entries.start) - self.first;
        let gradient = RowGradient { g: g.as_shared(), order: *order, row_length, entries };
        let (mut sums, mut sum, mut wide) = ([0.0; SUMS], [0.0; MERGED], [0.0; MERGED]);
        for start in (0..row_length).step_by(MERGED) {
            let part = start..row_length.min(start + MERGED);
            if prelude.is_l2() {
                let places = row * row_length + part.start..;
                wide[..part.len()]
                    .iter_mut()
                    .zip(places)
                    .for_each(|(wide, i)| *wide = w.values().get(i));
            }
            match gradient.part(part, &mut sum) {
                Shared::F32(g) => add_squares(how.isa, prelude, &wide, g, &mut sums),
                Shared::Bf16(g) => add_squares(how.isa, prelude, &wide, g, &mut sums),
                Shared::F16(g) => add_squares(how.isa, prelude, &wide, g, &mut sums),
            }
        }
        let States::F32(arrays) = state else { unreachable!("the checks want f32") };
        rule.advance(pairwise(sums), row_length, &mut arrays.as_mut_slice()[0][row])
    }

    /// Steps the row of an entry that is listed once, if all is `f32`, as it is in most tables: by the shortest
    /// way, because the CPU looks ahead to a number of instructions, and should see the next row. Was it so?
    #[inline]
    fn step_floats(&mut self, entry: usize, using: &Using<'_>) -> bool {
        let Self { tensor: Tensor { w, g, state, copy, .. }, row_length, first, order, .. } = self;
        let (Weights::F32(w), Shared::F32(all), States::F32(arrays), WeightCopy::Absent) =
            (w, g.as_shared(), state, copy)
        else {
            return false;
        };
        let start = (order.row(entry) - *first) * *row_length;
        let row = start..start + *row_length;
        let mut state: [&mut [f32]; MOST_STATES] = Default::default();
        let state = &mut state[..using.states];
        for (state, array) in state.iter_mut().zip(arrays.as_mut_slice()) {
            *state = &mut array[row.clone()];
        }
        let start = order.position(entry) * *row_length;
        let of_g = start..start + *row_length;
        using.step.plain(&mut w[row], &all[of_g.clone()], state, false);
        if using.how.zero_grad {
            zero_gradient(g, of_g);
        }
        true
    }

    /// Steps all elements of the row of these entries.
    fn step_elements(
        &mut self,
        entries: Range<usize>,
        t: u64,
        using: &Using<'_>,
        mut scratch: Option<&mut Scratch>,
    ) {
        if entries.len() == 1 && self.step_floats(entries.start, using) {
            return;
        }
        let Using { step, config, how, states, .. } = *using;
        let Self { tensor: Tensor { w, g, state, copy, .. }, row_length, order, .. } = self;
        let row_length = *row_length;
        let row = order.row(entries.start);
        let (in_table, here) = (row * row_length, (row - self.first) * row_length);
        let mut step_part = |part: Range<usize>, g: Shared<'_>| {
            let range = here + part.start..here + part.end;
            let state = match states {
                0 => States::default(),
                _ => state.range(range.clone(), states),
            };
            let mut tensor = Tensor::new(w.range(range.clone()), g, state);
            tensor.copy = copy.range(range);
            let key = || Key::of(self.rounding, t, self.number + (in_table + part.start) as u64);
            let how = &How { far: false, zero_grad: false, ..*how };
            step_tensor(&mut tensor, step, config, key, how, scratch.as_deref_mut());
        };
        let gradient =
            RowGradient { g: g.as_shared(), order: *order, row_length, entries: entries.clone() };
        if entries.len() == 1 {
            step_part(0..row_length, gradient.part(0..row_length, &mut []));
        } else {
            let (mut start, mut sum) = (0, [0.0; MERGED]);
            while start < row_length {
                // Where a block ends.
                let end = row_length.min((in_table + start) / MERGED * MERGED + MERGED - in_table);
                step_part(start..end, gradient.part(start..end, &mut sum));
                start = end;
            }
        }
        if how.zero_grad {
            for entry in entries {
                let start = order.position(entry) * row_length;
                zero_gradient(g, start..start + row_length);
            }
        }
    }

    /// Where the memory of rows is.
    fn memory(&self, is_row_rule: bool) -> Memory {
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
            // A cache line has the states of many rows: not worth a prefetch.
            States::F32(_) if is_row_rule => {}
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

    /// Prefetches the first line of each of these rows together, so that their TLB misses overlap. Entries
    /// beyond the list are left out.
    fn begin(&self, memory: &Memory, entries: Range<usize>) {
        let end = entries.end.min(self.order.len());
        for table in &memory.tables[..memory.count] {
            for entry in entries.start..end {
                let row = self.order.row(entry) - self.first;
                prefetch_to_l2(table.address + row * table.bytes_of_row);
            }
        }
    }

    /// Prefetches the memory of an entry's row, if there is such an entry.
    #[inline]
    fn prefetch(&self, memory: &Memory, entry: usize) {
        if entry < self.order.len() {
            let row = self.order.row(entry) - self.first;
            memory.tables[..memory.count].iter().for_each(|table| table.each_line(row, prefetch_to_l2));
            memory.of_g.each_line(self.order.position(entry), prefetch_to_l2);
        }
    }
}

/// What rows are stepped by.
#[derive(Clone, Copy)]
pub(super) struct Using<'a> {
    step: &'a dyn Step,
    config: &'a dyn Optimizer,
    around: &'a Around,
    how: &'a How,
    /// The rule, if it has one state for each row.
    row_rule: Option<&'a dyn RowRule>,
    /// How many states each element has.
    states: usize,
}

impl<'a> Using<'a> {
    pub fn new(step: &'a dyn Step, config: &'a dyn Optimizer, around: &'a Around, how: &'a How) -> Self {
        let (row_rule, states) = (config.row_rule(), states_of_element(config));
        Self { step, config, around, how, row_rule, states }
    }
}

/// The gradient of a row, as it is listed: once, or several times.
struct RowGradient<'a> {
    g: Shared<'a>,
    order: Order<'a>,
    row_length: usize,
    entries: Range<usize>,
}

impl<'a> RowGradient<'a> {
    /// A part of it: where it is, or what there is room for in `sum`.
    fn part<'b>(&self, part: Range<usize>, sum: &'b mut [f32]) -> Shared<'b>
    where
        'a: 'b,
    {
        let of_entry = |entry| {
            let start = self.order.position(entry) * self.row_length;
            self.g.range(start + part.start..start + part.end)
        };
        if self.entries.len() == 1 {
            return of_entry(self.entries.start);
        }
        let sum = &mut sum[..part.len()];
        for entry in self.entries.clone() {
            add(sum, of_entry(entry), entry == self.entries.start);
        }
        Shared::F32(sum)
    }
}

/// The most arrays of a table: weights in two halves, states, and a copy.
const MOST_TABLES: usize = 3 + MOST_STATES;

/// Where the arrays of a table are that are prefetched. What to prefetch is then found fast: meanwhile the
/// CPU cannot look at the rows before.
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

    /// Calls `f` with the address of each of the first lines of a row.
    #[inline(always)]
    fn each_line(self, row: usize, f: impl Fn(usize)) {
        let start = self.address + row * self.bytes_of_row;
        let end = start + self.bytes_of_row.min(AHEAD_OF_ARRAY);
        // It may begin in the middle of a line.
        let mut line = start / LINE * LINE;
        while line < end {
            f(line);
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
