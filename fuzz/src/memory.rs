//! Memory of exact size, whose surroundings AddressSanitizer watches, and arrays in it.

use std::{
    alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error},
    ptr, slice,
};

use half::{bf16, f16};

use crate::input::{Place, Pointer, Values};

/// A vector's length, so that every offset from a block's start is one from an aligned address.
const ALIGN: usize = 64;

/// Bytes of the block that arrays share, behind which structures may share it too.
const SHARED: usize = 2048;
const SHARED_BY_STRUCTURES: usize = 1024;

/// The longest array that gets memory. More takes too long.
pub const MOST: usize = 400_000;

/// What an array is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    F32,
    Bf16,
    F16,
    I16,
    Byte,
    F64,
    U64,
}

impl Kind {
    pub fn size(self) -> usize {
        match self {
            Self::Byte => 1,
            Self::Bf16 | Self::F16 | Self::I16 => 2,
            Self::F32 => 4,
            Self::F64 | Self::U64 => 8,
        }
    }

    /// Adds an element that is this number, or any element for any bits.
    fn push(self, x: f32, bytes: &mut Vec<u8>) {
        let upper = (x.to_bits() >> 16) as u16;
        match self {
            Self::F32 => bytes.extend(x.to_ne_bytes()),
            Self::Bf16 => bytes.extend(upper.to_ne_bytes()),
            Self::F16 if x.abs() <= 4.0 => bytes.extend(f16::from_f32(x).to_ne_bytes()),
            Self::F16 => bytes.extend(upper.to_ne_bytes()),
            Self::I16 => bytes.extend((x.to_bits() as u16).to_ne_bytes()),
            Self::Byte => bytes.push((x * 60.0 + 127.0) as u8),
            Self::F64 => bytes.extend(f64::from(x).to_ne_bytes()),
            Self::U64 => bytes.extend(((x.abs() * 4.0) as u64).to_ne_bytes()),
        }
    }

    fn is_nan(self, bytes: &[u8]) -> bool {
        match (self, bytes) {
            (Self::F32, &[a, b, c, d]) => f32::from_ne_bytes([a, b, c, d]).is_nan(),
            (Self::Bf16, &[a, b]) => bf16::from_ne_bytes([a, b]).is_nan(),
            (Self::F16, &[a, b]) => f16::from_ne_bytes([a, b]).is_nan(),
            (Self::F64, bytes) => f64::from_ne_bytes(bytes.try_into().expect("eight bytes")).is_nan(),
            _ => false,
        }
    }
}

/// So many bytes, and not one more.
#[derive(Debug)]
struct Block {
    start: *mut u8,
    layout: Layout,
    len: usize,
}

impl Block {
    fn new(bytes: &[u8]) -> Self {
        let len = bytes.len();
        let layout = Layout::from_size_align(len.max(1), ALIGN).expect("not too large");
        // SAFETY: the layout's size is not zero.
        let start = unsafe { alloc_zeroed(layout) };
        if start.is_null() {
            handle_alloc_error(layout);
        }
        let mut block = Self { start, layout, len };
        block.bytes_mut().copy_from_slice(bytes);
        block
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: allocated with this length, initialized, and written only by calls that are over.
        unsafe { slice::from_raw_parts(self.start, self.len) }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: the same.
        unsafe { slice::from_raw_parts_mut(self.start, self.len) }
    }
}

impl Clone for Block {
    fn clone(&self) -> Self {
        Self::new(self.bytes())
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout.
        unsafe { dealloc(self.start, self.layout) };
    }
}

/// An array or a structure as a call gets it.
#[derive(Clone, Copy, Debug)]
pub struct Array {
    pub pointer: *mut u8,
    pub kind: Kind,
    /// How many elements it is said to have.
    pub n: usize,
    /// Its block, and the offset in it, if all of it is really there.
    home: Option<(usize, usize)>,
}

impl Array {
    pub const NULL: Self = Self { pointer: ptr::null_mut(), kind: Kind::Byte, n: 0, home: None };

    pub fn is_there(&self) -> bool {
        self.n == 0 || self.home.is_some()
    }

    /// Its bytes, or as many as there are numbers for.
    pub fn bytes(&self) -> usize {
        self.n.saturating_mul(self.kind.size())
    }

    /// The same bytes as elements of another kind.
    pub fn of(self, kind: Kind) -> Self {
        Self { kind, n: self.bytes() / kind.size(), ..self }
    }

    /// No more than the first `n` elements.
    pub fn cut(self, n: usize) -> Self {
        Self { n: self.n.min(n), ..self }
    }
}

/// The bytes of a structure of C.
pub fn bytes_of<T: Copy>(structure: &T) -> Vec<u8> {
    // SAFETY: the header's structures have no padding, so all bytes are initialized.
    unsafe { slice::from_raw_parts(ptr::from_ref(structure).cast(), size_of::<T>()) }.to_vec()
}

/// All memory that a call is told of.
#[derive(Clone, Debug)]
pub struct Memory {
    blocks: Vec<Block>,
    /// Where the next structure has its place in the block that is shared.
    next: usize,
}

impl Memory {
    pub fn new(values: &mut Values) -> Self {
        let shared = values.take(SHARED / 4).flat_map(f32::to_ne_bytes).collect::<Vec<u8>>();
        Self { blocks: vec![Block::new(&shared)], next: SHARED_BY_STRUCTURES }
    }

    /// An array of `n` elements. Where there is to be none it is NULL, or wrongly something else.
    pub fn place(&mut self, place: Place, kind: Option<Kind>, n: usize, values: &mut Values) -> Array {
        let nowhere = |address, n| {
            let pointer = ptr::without_provenance_mut(address);
            Array { pointer, kind: kind.unwrap_or(Kind::Byte), n, home: None }
        };
        let (kind, home) = match (kind, place) {
            (None, Place::Nowhere(address)) => return nowhere(address, 0),
            (None, _) => return Array::NULL,
            (_, Place::Null) => return nowhere(0, n),
            (_, Place::Nowhere(address)) => return nowhere(address, n),
            (Some(kind), Place::Own(shift)) => {
                let mut bytes = vec![0; shift.into()];
                if n <= MOST {
                    values.take(n).for_each(|x| kind.push(x, &mut bytes));
                }
                self.blocks.push(Block::new(&bytes));
                (kind, (self.blocks.len() - 1, shift.into()))
            }
            (Some(kind), Place::Shared(offset)) => (kind, (0, usize::from(offset) % SHARED)),
        };
        let array = Array { pointer: self.at(home), kind, n, home: Some(home) };
        let is_there = array.bytes() <= self.blocks[home.0].len - home.1;
        Array { home: array.home.filter(|_| is_there), ..array }
    }

    /// Bytes of a structure, at a pointer that is good, or else told of here.
    pub fn put(&mut self, bytes: &[u8], pointer: Pointer) -> Array {
        let shift = match pointer {
            Pointer::Null => return Array::NULL,
            Pointer::Misaligned(by) => by.into(),
            Pointer::Shared if self.next + bytes.len() <= SHARED => {
                let home = (0, self.next);
                self.next = (self.next + bytes.len()).next_multiple_of(8);
                return self.put_at(home, bytes);
            }
            Pointer::Shared | Pointer::Good => 0,
        };
        self.blocks.push(Block::new(&vec![0; shift + bytes.len()]));
        self.put_at((self.blocks.len() - 1, shift), bytes)
    }

    fn put_at(&mut self, home: (usize, usize), bytes: &[u8]) -> Array {
        let array = Array { pointer: self.at(home), kind: Kind::Byte, n: bytes.len(), home: Some(home) };
        self.write(array, bytes);
        array
    }

    fn at(&self, (block, offset): (usize, usize)) -> *mut u8 {
        self.blocks[block].start.wrapping_add(offset)
    }

    fn bytes_mut(&mut self, array: Array) -> &mut [u8] {
        let Some((block, offset)) = array.home.filter(|_| array.n > 0) else { return &mut [] };
        &mut self.blocks[block].bytes_mut()[offset..offset + array.bytes()]
    }

    /// Writes to the array's end, if it is there.
    pub fn write(&mut self, array: Array, bytes: &[u8]) {
        let all = self.bytes_mut(array);
        if let Some(start) = all.len().checked_sub(bytes.len()) {
            all[start..].copy_from_slice(bytes);
        }
    }

    /// Writes what a list of rows says, but never over a structure that may be in the same memory: such a
    /// list says what is there.
    pub fn write_list(&mut self, list: Array, bytes: &[u8]) {
        let is_apart = |(block, offset)| block != 0 || offset + list.bytes() <= SHARED_BY_STRUCTURES;
        if list.home.is_some_and(is_apart) {
            self.write(list, bytes);
        }
    }

    /// The elements of an array that is there, as they are in this memory, which may be a copy.
    pub fn elements<T>(&self, array: Array) -> *mut [T] {
        assert_eq!(array.kind.size(), size_of::<T>());
        match array.home.filter(|_| array.n > 0) {
            Some(home) => ptr::slice_from_raw_parts_mut(self.at(home).cast(), array.n),
            None => ptr::slice_from_raw_parts_mut(ptr::dangling_mut(), 0),
        }
    }

    /// The elements of a gradient that is there.
    pub fn numbers(&self, array: Array) -> Vec<f32> {
        // SAFETY: in a block, which was checked when it was placed, and aligned, as a call has found.
        unsafe {
            match array.kind {
                Kind::F32 => (*self.elements::<f32>(array)).to_vec(),
                Kind::Bf16 => (*self.elements::<bf16>(array)).iter().map(|x| x.to_f32()).collect(),
                _ => (*self.elements::<f16>(array)).iter().map(|x| x.to_f32()).collect(),
            }
        }
    }

    /// Is this what is expected everywhere? In arrays that were to be written, a NaN is like any other.
    pub fn check(&self, expected: &Self, written: &[Array]) {
        let mut ours = self.clone();
        let mut expected = expected.clone();
        for &array in written {
            let size = array.kind.size();
            let (got, want) = (ours.bytes_mut(array), expected.bytes_mut(array));
            for (i, (a, b)) in got.chunks_mut(size).zip(want.chunks(size)).enumerate() {
                if array.kind.is_nan(a) && array.kind.is_nan(b) {
                    a.copy_from_slice(b);
                }
                assert!(a == b, "element {i} of {} {:?}: {a:x?}, not {b:x?}", array.n, array.kind);
            }
        }
        let same = ours.blocks.iter().zip(&expected.blocks).all(|(a, b)| a.bytes() == b.bytes());
        assert!(same, "something else was written");
    }
}
