//! How a list of arrays is cut up among threads: each has one contiguous part of the whole list, in
//! chunks, and whoever has finished takes chunks from the far end of another's part.

use std::{
    mem, slice,
    sync::{Mutex, PoisonError},
};

use crate::sys::with_room;

/// Every cut of an array is a multiple of this many elements from its start. It is the norm's block, and
/// a multiple of every vector's length.
pub(crate) const GRAIN: usize = 4096;

/// About how many bytes are moved for what is taken at a time: a few microseconds of work.
const CHUNK: usize = 448 << 10;

/// An array, or several of the same length, that can be cut in two.
pub(crate) trait Piece: Sized {
    fn len(&self) -> usize;

    /// How much an element costs, in bytes that are moved.
    fn cost(&self) -> usize;

    /// Every cut is a multiple of this many elements from the start.
    fn grain(&self) -> usize {
        GRAIN
    }

    fn split_at(self, element: usize) -> (Self, Self);
}

/// A list cut into chunks of about the same cost.
pub(crate) struct Chunks<P> {
    pieces: Vec<P>,
    /// Where in `pieces` each chunk ends.
    ends: Vec<usize>,
    /// How many chunks there will be.
    count: usize,
    /// What all pieces cost, and those so far.
    total: usize,
    before: usize,
}

impl<P: Piece> Chunks<P> {
    /// For a list of at most `pieces` pieces that cost `total`, to be cut so that each of `threads` has
    /// the same number of chunks. None if there is no memory for it.
    pub fn new(pieces: usize, total: usize, threads: usize) -> Option<Self> {
        let count = total.div_ceil(CHUNK.saturating_mul(threads)).max(1) * threads;
        let pieces = with_room(pieces.checked_add(count)?)?;
        Some(Self { pieces, ends: with_room(count)?, count, total, before: 0 })
    }

    /// Adds the next piece of the list.
    pub fn push(&mut self, mut piece: P) {
        let (cost, grain) = (piece.cost().max(1), piece.grain());
        while self.ends.len() + 1 < self.count {
            // What comes before the end of this chunk, were it not for blocks.
            let end = (self.ends.len() + 1) as u128 * self.total as u128 / self.count as u128;
            let room = nearest((end as usize).saturating_sub(self.before) / cost, grain);
            if piece.len() <= room {
                break;
            }
            if room > 0 {
                let (head, rest) = piece.split_at(room);
                self.before += head.len() * cost;
                self.pieces.push(head);
                piece = rest;
            }
            self.ends.push(self.pieces.len());
        }
        if piece.len() > 0 {
            self.before += piece.len() * cost;
            self.pieces.push(piece);
        }
    }

    /// The pieces of each chunk. None if there is no memory for it.
    pub fn slices(&mut self) -> Option<Vec<&mut [P]>> {
        self.ends.resize(self.count, self.pieces.len());
        let mut slices = with_room(self.ends.len())?;
        let mut rest = &mut self.pieces[..];
        let mut start = 0;
        for &end in &self.ends {
            let (slice, after) = mem::take(&mut rest).split_at_mut(end - start);
            slices.push(slice);
            (start, rest) = (end, after);
        }
        Some(slices)
    }
}

/// The chunks that each thread begins with.
pub(crate) struct Queues<'a, P>(Vec<Mutex<Queue<'a, P>>>);

type Queue<'a, P> = slice::IterMut<'a, &'a mut [P]>;

impl<'a, P> Queues<'a, P> {
    /// None if there is no memory for it.
    pub fn new(chunks: &'a mut [&'a mut [P]], threads: usize) -> Option<Self> {
        let each = chunks.len() / threads;
        let mut queues = with_room(threads)?;
        queues.extend(chunks.chunks_mut(each).map(|chunks| Mutex::new(chunks.iter_mut())));
        Some(Self(queues))
    }

    /// Works on all of `own` queue from its beginning, then on what is left of the others' from their
    /// ends.
    pub fn work(&self, own: usize, f: impl Fn(&mut [P])) {
        let Self(queues) = self;
        for turn in 0..queues.len() {
            let queue = &queues[(own + turn) % queues.len()];
            let next = || {
                // Nothing panics while it holds a lock.
                let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
                if turn == 0 { queue.next() } else { queue.next_back() }
            };
            while let Some(chunk) = next() {
                f(chunk);
            }
        }
    }
}

/// The multiple of `grain` that is nearest to `elements`.
fn nearest(elements: usize, grain: usize) -> usize {
    elements.saturating_add(grain / 2) / grain * grain
}

#[cfg(test)]
mod tests {
    use super::*;

    const COST: usize = 28;

    /// Elements of a chunk.
    const ELEMENTS: usize = CHUNK / COST;

    /// The elements from one to another of an array.
    #[derive(Clone, Debug, PartialEq)]
    struct Range {
        array: usize,
        from: usize,
        to: usize,
    }

    impl Piece for Range {
        fn len(&self) -> usize {
            self.to - self.from
        }

        fn cost(&self) -> usize {
            COST
        }

        fn split_at(self, element: usize) -> (Self, Self) {
            let middle = self.from + element;
            assert!(middle <= self.to);
            (Self { to: middle, ..self.clone() }, Self { from: middle, ..self })
        }
    }

    fn arrays(lengths: &[usize]) -> Vec<Range> {
        lengths.iter().enumerate().map(|(array, &to)| Range { array, from: 0, to }).collect()
    }

    fn chunks(list: Vec<Range>, threads: usize) -> Chunks<Range> {
        let elements: usize = list.iter().map(Piece::len).sum();
        let mut chunks = Chunks::new(list.len(), COST * elements, threads).unwrap();
        list.into_iter().for_each(|piece| chunks.push(piece));
        chunks
    }

    /// What the parts have, put together again.
    fn joined(parts: &[Vec<Range>]) -> Vec<Range> {
        let mut whole: Vec<Range> = Vec::new();
        for piece in parts.iter().flatten() {
            match whole.last_mut() {
                Some(last) if last.array == piece.array && last.to == piece.from => last.to = piece.to,
                _ => whole.push(piece.clone()),
            }
        }
        whole
    }

    #[test]
    fn every_thread_has_its_contiguous_part_of_the_whole() {
        let lists: [&[usize]; 9] = [
            &[],
            &[0],
            &[1],
            &[GRAIN - 1, 0, GRAIN, GRAIN + 1],
            &[7 * ELEMENTS + 100],
            &[3, 1_000_000, 0, 0, 5, 70_000, 0],
            &[512; 1000],
            &[ELEMENTS; 64],
            &[GRAIN / 2 - 1, 10 * GRAIN, 1],
        ];
        for lengths in lists {
            for threads in 1..=5 {
                let whole = arrays(lengths);
                let elements: usize = lengths.iter().sum();
                let mut chunks = chunks(whole.clone(), threads);
                let mut slices = chunks.slices().unwrap();
                let queues = Queues::new(&mut slices, threads).unwrap();
                assert_eq!(queues.0.len(), threads);
                let part = |queue: &Mutex<Queue<Range>>| {
                    queue.lock().unwrap().as_slice().iter().flat_map(|chunk| chunk.to_vec()).collect()
                };
                let parts: Vec<Vec<Range>> = queues.0.iter().map(part).collect();
                let all: Vec<_> = whole.into_iter().filter(|range| range.len() > 0).collect();
                assert_eq!(joined(&parts), all);
                for part in &parts {
                    assert!(part.iter().all(|range| range.len() > 0 && range.from % GRAIN == 0));
                    let size: usize = part.iter().map(Piece::len).sum();
                    assert!(
                        size.abs_diff(elements / threads) <= GRAIN + 1,
                        "{lengths:?} {threads} {size}"
                    );
                }
            }
        }
    }

    #[test]
    fn one_who_is_late_finds_no_work() {
        let mut chunks = chunks(arrays(&[10 * ELEMENTS]), 3);
        let mut slices = chunks.slices().unwrap();
        let queues = Queues::new(&mut slices, 3).unwrap();
        let done = Mutex::new(Vec::new());
        queues.work(1, |chunk| done.lock().unwrap().extend_from_slice(chunk));
        queues.work(0, |_| panic!("work is left"));
        let done = done.into_inner().unwrap();
        assert_eq!(done.iter().map(Piece::len).sum::<usize>(), 10 * ELEMENTS);
        assert!(done[0].from > 0 && done[1].from == done[0].to, "its own part first, in order");
        let stolen = done.iter().position(|range| range.to == 10 * ELEMENTS).unwrap();
        assert!(done[stolen + 1].to == done[stolen].from, "another's from its end");
    }
}
