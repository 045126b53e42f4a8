//! Memory of exact size, whose surroundings AddressSanitizer watches, and arrays in it.

use std::{
    alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error},
    ptr, slice,
};

use half::{bf16, f16};

use crate::input::{Place, Values};

/// A vector's length, so that every offset from a block's start is one from an aligned address.
const ALIGN: usize = 64;

/// Bytes of the block that arrays share.
const SHARED: usize = 1024;

/// The longest array that gets memory, in bytes.
const MOST: usize = 1 << 22;

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

/// What an array is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Element {
    F32,
    Bf16,
    F16,
    /// The lower halves of split weights.
    I16,
    Byte,
}

impl Element {
    pub fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 | Self::F16 | Self::I16 => 2,
            Self::Byte => 1,
        }
    }

    fn is_nan(self, bytes: &[u8]) -> bool {
        match self {
            Self::F32 => f32::from_ne_bytes(bytes.try_into().expect("four bytes")).is_nan(),
            Self::Bf16 => bf16::from_ne_bytes(bytes.try_into().expect("two bytes")).is_nan(),
            Self::F16 => f16::from_ne_bytes(bytes.try_into().expect("two bytes")).is_nan(),
            Self::I16 | Self::Byte => false,
        }
    }
}

/// An array as a call gets it.
#[derive(Clone, Copy, Debug)]
pub struct Array {
    pub pointer: *mut u8,
    pub element: Element,
    /// How many elements.
    pub n: usize,
    /// Its block, and the offset in it, if all of it is really there.
    home: Option<(usize, usize)>,
}

impl Array {
    pub const NULL: Self = Self { pointer: ptr::null_mut(), element: Element::Byte, n: 0, home: None };

    pub fn is_backed(&self) -> bool {
        self.n == 0 || self.home.is_some()
    }

    /// None if they are too many for any address space.
    pub fn bytes(&self) -> Option<usize> {
        self.n.checked_mul(self.element.size()).filter(|&bytes| isize::try_from(bytes).is_ok())
    }
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
    pub fn place(&mut self, place: Place, element: Element, n: usize, values: &mut Values) -> Array {
        let bytes = n.checked_mul(element.size()).filter(|&bytes| bytes <= MOST);
        let (block, offset) = match place {
            Place::Null => return Array { element, n, ..Array::NULL },
            Place::Nowhere(address) => {
                return Array { pointer: ptr::without_provenance_mut(address), element, n, home: None };
            }
            Place::Own(shift) => {
                self.blocks.push(filled(usize::from(shift) + bytes.unwrap_or(0), values));
                (self.blocks.len() - 1, usize::from(shift))
            }
            Place::Shared(offset) => (0, usize::from(offset) % SHARED),
        };
        let is_there = bytes.is_some_and(|bytes| offset + bytes <= self.blocks[block].len);
        let home = is_there.then_some((block, offset));
        Array { pointer: self.blocks[block].at(offset), element, n, home }
    }

    /// Is this what is everywhere? Where something was to be written, a NaN is like any other.
    pub fn check(&self, expected: &Contents, written: &[Array]) {
        let mut ours = self.contents();
        for array in written {
            let size = array.element.size();
            let (got, want) = (ours.bytes(array).to_vec(), expected.bytes(array).to_vec());
            for (i, (a, b)) in got.chunks(size).zip(want.chunks(size)).enumerate() {
                let same = a == b || (array.element.is_nan(a) && array.element.is_nan(b));
                assert!(same, "{:?} {i} of {}: {a:02x?}, not {b:02x?}", array.element, array.n);
            }
            ours.write(array, want);
        }
        assert!(ours == *expected, "something else was written");
    }

    /// What is everywhere now.
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

/// What was in memory once, or should be.
#[derive(Clone, PartialEq)]
pub struct Contents(Vec<Vec<u8>>);

impl Contents {
    /// Those of an array that is there; none if it has no elements.
    pub fn bytes(&self, array: &Array) -> &[u8] {
        let Some((block, offset)) = array.home.filter(|_| array.n > 0) else { return &[] };
        &self.0[block][offset..offset + array.n * array.element.size()]
    }

    pub fn write(&mut self, array: &Array, bytes: impl IntoIterator<Item = u8>) {
        let Some((block, offset)) = array.home.filter(|_| array.n > 0) else { return };
        self.0[block][offset..].iter_mut().zip(bytes).for_each(|(old, new)| *old = new);
    }

    /// The elements of an array of `f32`.
    pub fn floats(&self, array: &Array) -> Vec<f32> {
        let words = self.bytes(array).chunks_exact(4);
        words.map(|x| f32::from_ne_bytes(x.try_into().expect("four bytes"))).collect()
    }
}
