//! A whole step on several threads: its tensors, cut up.

use super::{
    blocks::Scratch,
    checks::Sizes,
    is_left_alone, listed, number,
    one::{How, step_tensor, with_scratch, zero_gradient},
    own_step, states_of_element,
    table::{Table, Using},
};
use crate::{
    Group, Optimizer, Tensor, Threads,
    formats::Key,
    optimizer::Around,
    rows::{Arranged, Order, Parts},
    sys::with_room,
    threads::{self, Piece},
};

/// A tensor that has a gradient, or a part of one, with what it needs of its group.
struct Part<'a> {
    what: What<'a>,
    /// The group's index.
    group: usize,
    config: &'a dyn Optimizer,
    t: u64,
    around: Around,
}

enum What<'a> {
    Tensor(Tensor<'a>, Key),
    Table(Table<'a>),
}

/// Steps all tensors on several threads. None, and nothing is done, if there is no memory to cut them
/// up.
pub(super) fn share(
    groups: &mut [Group<'_, '_>],
    how: &How,
    threads: Threads<'_>,
    workers: usize,
    sizes: &Sizes,
) -> Option<()> {
    let parts = parts(groups, &sizes.arranged, workers)?;
    let (mut place, mut arranged, mut parts) = (0, sizes.arranged.iter(), parts.iter());
    let mut chunks = threads::Chunks::new(sizes.tensors + parts.len() * workers, sizes.moved, workers)?;
    for (index, group) in groups.iter_mut().enumerate() {
        let around = group.around(how.scale);
        let Group { config, t, rounding, numbering, tensors, .. } = group;
        tensors.each(&mut |tensor| {
            let number = number(&tensor, *numbering, &mut place);
            if is_left_alone(&tensor) {
                return;
            }
            let t = own_step(&tensor, *t);
            let mut push = |what| chunks.push(Part { what, group: index, config: *config, t, around });
            let Some((rows, arranged)) = listed(&tensor.rows, &mut arranged) else {
                return push(What::Tensor(tensor, Key::of(*rounding, t, number)));
            };
            let mut table = Table::new(tensor, Order::of(rows, arranged), t, *rounding, number);
            if let Some(Arranged::AsListed) = arranged {
                let states = states_of_element(*config);
                for (order, end) in parts.next().expect("one for each such list").orders(rows) {
                    let (part, rest) = table.split_rows(end, order, states);
                    push(What::Table(part));
                    table = rest;
                }
            } else {
                push(What::Table(table));
            }
        });
    }
    threads.run(workers, chunks, &|chunk: &mut [Part<'_>]| {
        with_scratch(how, |scratch| step_chunk(chunk, how, scratch));
    })?;
    if how.zero_grad {
        zero_tables(groups);
    }
    Some(())
}

/// The parts of each list that is stepped as it is listed: one for each thread, since in more of them the
/// gradient's rows would be farther apart. None if there is no memory for them.
fn parts(groups: &mut [Group<'_, '_>], arranged: &[Arranged], workers: usize) -> Option<Vec<Parts>> {
    if !arranged.iter().any(|arranged| matches!(arranged, Arranged::AsListed)) {
        return Some(Vec::new());
    }
    let mut all = with_room(arranged.len())?;
    let (mut arranged, mut is_room) = (arranged.iter(), true);
    for tensors in groups.iter_mut().map(|group| &mut group.tensors) {
        tensors.each_mut(|tensor| {
            if is_left_alone(tensor) {
                return;
            }
            if let Some((list, Some(Arranged::AsListed))) = listed(&tensor.rows, &mut arranged)
                && let Some(rows) = &tensor.rows
            {
                let parts = Parts::new(list, tensor.w.len() / rows.row_length, workers);
                is_room &= parts.is_some();
                all.extend(parts);
            }
        });
    }
    is_room.then_some(all)
}

/// Sets the gradients of tables to zero. (Those that were cut could only be read: their parts are not
/// in one piece.)
fn zero_tables(groups: &mut [Group<'_, '_>]) {
    for group in groups {
        group.tensors.each_mut(|tensor| {
            if tensor.rows.is_some()
                && let Some(len) = tensor.g.len()
            {
                zero_gradient(&mut tensor.g, 0..len);
            }
        });
    }
}

/// Steps the parts of a chunk.
fn step_chunk(chunk: &mut [Part<'_>], how: &How, mut scratch: Option<&mut Scratch>) {
    // The constants of a group's step are made once.
    for run in chunk.chunk_by_mut(|part, next| part.group == next.group && part.t == next.t) {
        let Part { config, t, around, .. } = run[0];
        let around = &around;
        config.with_constants(how.isa, t, around, &mut |step| {
            for Part { what, .. } in &mut *run {
                let scratch = scratch.as_deref_mut();
                match what {
                    What::Tensor(tensor, key) => {
                        step_tensor(tensor, step, config, || *key, how, scratch);
                    }
                    What::Table(table) => table.step(&Using::new(step, config, around, how), scratch),
                }
            }
        });
    }
}

impl Piece for Part<'_> {
    /// Elements, or rows.
    fn len(&self) -> usize {
        match &self.what {
            What::Tensor(tensor, _) => tensor.w.len(),
            What::Table(table) => table.len(),
        }
    }

    /// Bytes that are moved for one of them.
    fn cost(&self) -> usize {
        let (tensor, elements) = match &self.what {
            What::Tensor(tensor, _) => (tensor, 1),
            What::Table(table) => (table.tensor(), table.row_length()),
        };
        let Tensor { w, g, state, copy, .. } = tensor;
        elements * (g.size() + 2 * (w.size() + state.size(self.config.states().len())) + copy.size())
    }

    fn grain(&self) -> usize {
        match &self.what {
            What::Tensor(..) => threads::GRAIN,
            What::Table(table) => table.grain(),
        }
    }

    fn split_at(self, i: usize) -> (Self, Self) {
        let Self { what, group, config, t, around } = self;
        let states = config.states().len();
        let (what, rest) = match what {
            What::Tensor(tensor, key) => {
                let (tensor, rest) = tensor.split_at(i, states);
                (What::Tensor(tensor, key), What::Tensor(rest, key.after(i)))
            }
            What::Table(table) => {
                let (table, rest) = table.split_at(i, states_of_element(config));
                (What::Table(table), What::Table(rest))
            }
        };
        (Self { what, group, config, t, around }, Self { what: rest, group, config, t, around })
    }
}
