//! Memory of exact size, whose surroundings AddressSanitizer watches, and arrays in it.

use std::{
    alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error},
    ptr, slice,
};

use downhill::Optimizer;

use crate::input::{Place, Values};

/// A vector's length, so that every offset from a block's start is one from an aligned address.
const ALIGN: usize = 64;

/// Bytes of the block that arrays share.
const SHARED: usize = 1024;

/// The longest array that gets memory.
const MOST: usize = 1 << 19;

/// So many bytes, and not one more.
#[derive(Debug)]
pub struct Block {
    start: *mut u8,
    layout: Layout,
    len: usize,
}

impl Block {
    pub fn new(bytes: &[u8]) -> Self {
        let len = bytes.len();
        let layout = Layout::from_size_align(len.max(1), ALIGN).expect("not too large");
        // SAFETY: the layout's size is not zero.
        let start = unsafe { alloc_zeroed(layout) };
        if start.is_null() {
            handle_alloc_error(layout);
        }
        // SAFETY: so long at least, initialized, and nobody else knows it yet.
        unsafe { slice::from_raw_parts_mut(start, len) }.copy_from_slice(bytes);
        Self { start, layout, len }
    }

    pub fn at<T>(&self, offset: usize) -> *mut T {
        self.start.wrapping_add(offset).cast()
    }

    pub fn bytes(&self) -> &[u8] {
        // SAFETY: allocated with this length, initialized, and written only by calls that are over.
        unsafe { slice::from_raw_parts(self.start, self.len) }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout.
        unsafe { dealloc(self.start, self.layout) };
    }
}

/// An array as a call gets it.
#[derive(Clone, Copy, Debug)]
pub struct Array {
    pub pointer: *mut f32,
    /// Its block, and the offset in it, if all of it is really there.
    home: Option<(usize, usize)>,
}

impl Array {
    pub fn is_backed(&self) -> bool {
        self.home.is_some()
    }
}

/// Of `w`, `g` and states of `n` elements, those that a step writes.
pub fn written(used: &[Array], n: usize) -> impl Iterator<Item = (Array, usize)> {
    [&used[..1], &used[2..]].into_iter().flatten().map(move |&array| (array, n))
}

/// All arrays of a call.
#[derive(Debug)]
pub struct Memory {
    blocks: Vec<Block>,
}

impl Memory {
    pub fn new(values: &mut Values) -> Self {
        Self { blocks: vec![filled(SHARED, values)] }
    }

    /// An array of `n` elements.
    pub fn place(&mut self, place: Place, n: usize, values: &mut Values) -> Array {
        let bytes = if n <= MOST { 4 * n } else { 0 };
        match place {
            Place::Null => Array { pointer: ptr::null_mut(), home: None },
            Place::Nowhere(address) => {
                Array { pointer: ptr::without_provenance_mut(address), home: None }
            }
            Place::Own(shift) => {
                let shift = usize::from(shift);
                self.blocks.push(filled(shift + bytes, values));
                self.array(self.blocks.len() - 1, shift, n, bytes)
            }
            Place::Shared(offset) => self.array(0, usize::from(offset) % SHARED, n, bytes),
        }
    }

    fn array(&self, block: usize, offset: usize, n: usize, bytes: usize) -> Array {
        let is_there = n <= MOST && offset + bytes <= self.blocks[block].len;
        let home = is_there.then_some((block, offset));
        Array { pointer: self.blocks[block].at(offset), home }
    }

    /// Is this what stands everywhere? Where something was to be written, a NaN is like any other.
    pub fn check(&self, expected: &Contents, written: &[(Array, usize)]) {
        let mut ours = self.contents();
        for &(array, n) in written {
            let (got, want) = (ours.read(array, n), expected.read(array, n));
            for (i, (a, b)) in got.iter().zip(&want).enumerate() {
                let same = a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
                assert!(same, "element {i} of {n}: {a:e}, not {b:e}");
            }
            ours.write(array, &want);
        }
        assert!(ours == *expected, "something else was written");
    }

    /// What stands everywhere now.
    pub fn contents(&self) -> Contents {
        Contents(self.blocks.iter().map(|block| block.bytes().to_vec()).collect())
    }
}

fn filled(len: usize, values: &mut Values) -> Block {
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        bytes.extend_from_slice(values.next(len - bytes.len()));
    }
    Block::new(&bytes)
}

/// What stood in memory once, or should stand there.
#[derive(Clone, PartialEq)]
pub struct Contents(Vec<Vec<u8>>);

impl Contents {
    /// The elements of an array that is there.
    pub fn read(&self, array: Array, n: usize) -> Vec<f32> {
        let (block, offset) = array.home.expect("an array that is there");
        let bytes = &self.0[block][offset..offset + 4 * n];
        bytes.chunks_exact(4).map(|x| f32::from_ne_bytes([x[0], x[1], x[2], x[3]])).collect()
    }

    pub fn write(&mut self, array: Array, elements: &[f32]) {
        let (block, offset) = array.home.expect("an array that is there");
        let bytes = elements.iter().flat_map(|x| x.to_ne_bytes());
        self.0[block][offset..].iter_mut().zip(bytes).for_each(|(old, new)| *old = new);
    }

    /// The reference's step on arrays that stand here: `w`, `g` and the states.
    pub fn step(&mut self, rule: &dyn Optimizer, arrays: &[Array], n: usize, t: u64) {
        let mut elements: Vec<Vec<f32>> = arrays.iter().map(|&array| self.read(array, n)).collect();
        let [w, g, states @ ..] = &mut elements[..] else { unreachable!("two at least") };
        let mut states: Vec<&mut [f32]> = states.iter_mut().map(|array| &mut array[..]).collect();
        rule.reference_step(w, g, &mut states, t).expect("a configuration that was accepted");
        arrays.iter().zip(&elements).for_each(|(&array, elements)| self.write(array, elements));
    }
}
