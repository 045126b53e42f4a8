//! Memory and threads that belong to others: the arrays of NumPy, PyTorch and whoever speaks DLPack or
//! has a buffer, and the OpenMP team of the process. The only `unsafe` of this package.
//!
//! Python's objects own the memory. A [`Held`] keeps the object, and the memory is looked up in the very
//! call that steps it, so that it is there and as large as it was said to be; or it is of a [`Block`] of
//! ours, which the [`Held`] keeps as well. While a step runs without
//! the GIL, no other Python thread may resize or free an array of it: NumPy and PyTorch ask the same of
//! whoever computes with an array.
#![allow(unsafe_code)]

use std::{
    alloc::{Layout, alloc_zeroed, dealloc},
    collections::HashMap,
    ffi::{CStr, c_char, c_int, c_uint, c_void},
    fmt,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    ptr::{self, NonNull},
    slice,
    sync::{
        Arc, Mutex, MutexGuard, Weak,
        atomic::{AtomicBool, AtomicI32, Ordering},
    },
};

use downhill::{Gradient, ParallelFor, Rows, States, Tensor, Values, WeightCopy, Weights};
use half::{bf16, f16};
use numpy::{
    PyArrayDescrMethods, PyUntypedArray, PyUntypedArrayMethods,
    npyffi::{NPY_ARRAY_C_CONTIGUOUS, NPY_ARRAY_WRITEABLE},
};
use pyo3::{
    exceptions::{PyMemoryError, PyValueError},
    ffi, intern,
    prelude::*,
    types::{PyCapsule, PyCapsuleMethods},
};

/// What the elements of an array are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    F32,
    Bf16,
    F16,
    I16,
    I64,
    U8,
    U64,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::Bf16 => "bfloat16",
            Self::F16 => "float16",
            Self::I16 => "int16",
            Self::I64 => "int64",
            Self::U8 => "uint8",
            Self::U64 => "uint64",
        }
    }

    fn size(self) -> usize {
        match self {
            Self::I64 | Self::U64 => 8,
            Self::F32 => 4,
            Self::Bf16 | Self::F16 | Self::I16 => 2,
            Self::U8 => 1,
        }
    }
}

/// A dense array in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    address: usize,
    len: usize,
    kind: Kind,
    is_writable: bool,
    /// 0 if the last dimension is the innermost one and so on; else which permutation it is.
    order: u64,
    /// A number that differs where shapes do.
    shape: u64,
    /// How long the rows of a matrix are.
    row_length: Option<usize>,
}

/// Why an object is no array to step with.
pub enum Refusal {
    Python(PyErr),
    /// What its elements are: "it is ...".
    Elements(String),
    /// What it should be: "must be ...; it is ...".
    Text(String),
}

impl From<PyErr> for Refusal {
    fn from(error: PyErr) -> Self {
        Self::Python(error)
    }
}

impl Refusal {
    /// The error of an argument whose elements should be floats.
    pub fn of(self, argument: &str) -> PyErr {
        self.of_elements(argument, "float32, bfloat16 or float16")
    }

    /// The error of an argument whose elements should be these.
    pub fn of_elements(self, argument: &str, allowed: &str) -> PyErr {
        match self {
            Self::Python(error) => error,
            Self::Elements(what) => {
                PyValueError::new_err(format!("`{argument}` must be {allowed}; {what}"))
            }
            Self::Text(text) => PyValueError::new_err(format!("`{argument}` {text}")),
        }
    }
}

impl Memory {
    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_writable(&self) -> bool {
        self.is_writable
    }

    pub fn is_c_contiguous(&self) -> bool {
        self.order == 0
    }

    pub fn has_shape_of(&self, other: &Self) -> bool {
        self.len == other.len && self.shape == other.shape
    }

    pub fn has_shape(&self, shape: &[usize]) -> bool {
        self.shape == number_of(shape.iter().map(|&n| n as u64))
    }

    /// How long the rows are, if it is a matrix.
    pub fn row_length(&self) -> Option<usize> {
        self.row_length
    }

    /// Are the elements of both in the same order?
    pub fn is_laid_out_as(&self, other: &Self) -> bool {
        self.has_shape_of(other) && self.order == other.order
    }

    fn end(&self) -> usize {
        self.address + self.len * self.kind.size()
    }

    /// # Safety
    /// The memory is there for as long as `'a`, has been written, and nobody else writes to it. `T` has
    /// the size of the kind.
    unsafe fn shared<'a, T>(self) -> &'a [T] {
        assert_eq!(size_of::<T>(), self.kind.size());
        if self.len == 0 {
            return &[];
        }
        // SAFETY: the caller guarantees it; the address is aligned and not null, which `new` has checked.
        unsafe { slice::from_raw_parts(self.address as *const T, self.len) }
    }

    /// # Safety
    /// As [`shared`](Self::shared), and nobody else reads it.
    unsafe fn exclusive<'a, T>(self) -> &'a mut [T] {
        assert_eq!(size_of::<T>(), self.kind.size());
        if self.len == 0 {
            return &mut [];
        }
        // SAFETY: as above.
        unsafe { slice::from_raw_parts_mut(self.address as *mut T, self.len) }
    }

    fn new(
        address: usize,
        len: usize,
        kind: Kind,
        is_writable: bool,
        order: u64,
        shape: impl ExactSizeIterator<Item = u64> + Clone,
    ) -> Result<Self, Refusal> {
        if len > 0 && (address == 0 || !address.is_multiple_of(kind.size())) {
            let text = format!("is at address {address:#x}, which is not aligned for {}", kind.name());
            return Err(Refusal::Text(text));
        }
        if len.checked_mul(kind.size()).is_none_or(|bytes| address.checked_add(bytes).is_none()) {
            return Err(Refusal::Text(format!("has {len} elements, too many for memory")));
        }
        let row_length = if shape.len() == 2 { shape.clone().nth(1) } else { None };
        let (row_length, shape) = (row_length.map(|n| n as usize), number_of(shape));
        Ok(Self { address, len, kind, is_writable, order, shape, row_length })
    }
}

/// A number for a shape.
fn number_of(shape: impl Iterator<Item = u64>) -> u64 {
    shape
        .fold(0xcbf2_9ce4_8422_2325, |hash, n| (hash ^ n).wrapping_mul(0x0100_0000_01b3).rotate_left(23))
}

/// The number of the order in which dimensions are nested, 0 if it is the usual one; None if there are
/// gaps between elements or if some are the same.
fn order(shape: &[i64], strides: &[i64]) -> Option<u64> {
    let mut expected = 1;
    if shape.iter().zip(strides).rev().all(|(&length, &stride)| {
        let fits = length == 1 || stride == expected;
        expected *= length;
        fits
    }) {
        return Some(0);
    }
    let mut dimensions: Vec<usize> = (0..shape.len()).filter(|&k| shape[k] != 1).collect();
    dimensions.sort_by_key(|&k| strides[k]);
    let mut expected = 1;
    let mut number = 1;
    for k in dimensions {
        if strides[k] != expected {
            return None;
        }
        expected *= shape[k];
        number = number * 31 + k as u64 + 1;
    }
    Some(number)
}

// DLPack, as in its header of version 1: what a program may read is the same since version 0.6.

#[repr(C)]
struct DlTensor {
    data: *mut c_void,
    device_type: i32,
    device_id: i32,
    ndim: i32,
    code: u8,
    bits: u8,
    lanes: u16,
    shape: *const i64,
    strides: *const i64,
    byte_offset: u64,
}

#[repr(C)]
struct DlExchange {
    major: u32,
    minor: u32,
    previous: *const c_void,
    allocate: *const c_void,
    export: *const c_void,
    import: *const c_void,
    /// Fills a tensor that the caller has room for. 0, or -1 with a Python error.
    describe: Option<unsafe extern "C" fn(*mut c_void, *mut DlTensor) -> c_int>,
}

const DL_CPU: i32 = 1;
const DL_CUDA_HOST: i32 = 3;

impl DlTensor {
    const EMPTY: Self = Self {
        data: ptr::null_mut(),
        device_type: 0,
        device_id: 0,
        ndim: 0,
        code: 0,
        bits: 0,
        lanes: 0,
        shape: ptr::null(),
        strides: ptr::null(),
        byte_offset: 0,
    };

    /// # Safety
    /// The structure has been filled by its producer, whose object is still there.
    unsafe fn memory(&self) -> Result<Memory, Refusal> {
        if self.device_type != DL_CPU && self.device_type != DL_CUDA_HOST {
            let text = format!("must be on the CPU; its DLPack device type is {}", self.device_type);
            return Err(Refusal::Text(text));
        }
        let kind = match (self.code, self.bits, self.lanes) {
            (2, 32, 1) => Kind::F32,
            (4, 16, 1) | (1, 16, 1) => Kind::Bf16,
            (2, 16, 1) => Kind::F16,
            (0, 16, 1) => Kind::I16,
            (0, 64, 1) => Kind::I64,
            (1, 8, 1) => Kind::U8,
            (1, 64, 1) => Kind::U64,
            (code, bits, _) => {
                let names = ["int", "uint", "float", "opaque", "bfloat", "complex", "bool"];
                let name = names.get(usize::from(code)).unwrap_or(&"something of ");
                return Err(Refusal::Elements(format!("it is {name}{bits}")));
            }
        };
        let ndim = self.ndim.max(0) as usize;
        // SAFETY: DLPack says that `shape`, and `strides` where it is not null, have `ndim` numbers.
        let (shape, strides) = unsafe { (numbers(self.shape, ndim), numbers(self.strides, ndim)) };
        let len = shape.iter().try_fold(1_usize, |n, &length| n.checked_mul(length.max(0) as usize));
        let len = len.ok_or_else(|| Refusal::Text("has too many elements for memory".into()))?;
        let order = if len <= 1 || self.strides.is_null() { Some(0) } else { order(shape, strides) };
        let order = order.ok_or_else(|| Refusal::Text(NOT_DENSE.into()))?;
        let address = self.data as usize + self.byte_offset as usize;
        Memory::new(address, len, kind, true, order, shape.iter().map(|&n| n as u64))
    }
}

const NOT_DENSE: &str = "must be dense: its elements are not all next to each other in memory";

/// # Safety
/// `first` is null or the first of `count` numbers, which stay.
unsafe fn numbers<'a>(first: *const i64, count: usize) -> &'a [i64] {
    // SAFETY: the caller guarantees it.
    if first.is_null() { &[] } else { unsafe { slice::from_raw_parts(first, count) } }
}

/// A way to look at objects of one type that costs a few nanoseconds: DLPack's table of C functions,
/// which PyTorch has from 2.10 on.
#[derive(Clone, Copy)]
pub struct Exchange(unsafe extern "C" fn(*mut c_void, *mut DlTensor) -> c_int);

impl Exchange {
    /// That of a type, if it has one.
    pub fn of(class: &Bound<'_, PyAny>) -> Option<Self> {
        const NAME: &CStr = c"dlpack_exchange_api";
        let table = class.getattr(intern!(class.py(), "__dlpack_c_exchange_api__")).ok()?;
        let table = table.cast_into::<PyCapsule>().ok()?;
        let table = table.pointer_checked(Some(NAME)).ok()?.cast::<DlExchange>();
        // SAFETY: the producer keeps the table of this name for ever, and its first two numbers are the
        // version; what follows is as declared above in all versions with the same major number.
        unsafe {
            let table = table.as_ref();
            if table.major == 1 { table.describe.map(Self) } else { None }
        }
    }

    /// `object` must be of the type that this was made of, or of one derived from it.
    fn memory(self, object: &Bound<'_, PyAny>) -> Result<Memory, Refusal> {
        let mut tensor = DlTensor::EMPTY;
        // SAFETY: the object is alive and we have the GIL; the producer checks its type. What it fills
        // in is read before anything else runs.
        unsafe {
            if (self.0)(object.as_ptr().cast(), &mut tensor) != 0 {
                return Err(PyErr::fetch(object.py()).into());
            }
            tensor.memory()
        }
    }
}

/// What a DLPack capsule says.
fn of_capsule(capsule: &Bound<'_, PyAny>) -> Result<Memory, Refusal> {
    let capsule = capsule.cast::<PyCapsule>().map_err(PyErr::from)?;
    let tensor: NonNull<DlTensor> = capsule.pointer_checked(Some(c"dltensor"))?.cast();
    // SAFETY: a capsule of this name has a `DLManagedTensor`, which begins with a `DLTensor`.
    unsafe { tensor.as_ref().memory() }
}

fn of_numpy(array: &Bound<'_, PyUntypedArray>) -> Result<Memory, Refusal> {
    let kind = kind_of_numpy(array)?;
    // SAFETY: the array is alive and we have the GIL.
    let (flags, data) = unsafe {
        let raw = &*array.as_array_ptr();
        (raw.flags, raw.data as usize)
    };
    if flags & NPY_ARRAY_C_CONTIGUOUS == 0 {
        let text = "must be contiguous (C order): its elements are not next to each other in order";
        return Err(Refusal::Text(text.into()));
    }
    let shape = array.shape().iter().map(|&n| n as u64);
    Memory::new(data, array.len(), kind, flags & NPY_ARRAY_WRITEABLE != 0, 0, shape)
}

fn kind_of_numpy(array: &Bound<'_, PyUntypedArray>) -> Result<Kind, Refusal> {
    /// The number that NumPy gave to the bfloat16 of `ml_dtypes` when that was imported.
    static BF16: AtomicI32 = AtomicI32::new(-1);
    let dtype = array.dtype();
    let number = dtype.num();
    if number == BF16.load(Ordering::Relaxed) {
        return Ok(Kind::Bf16);
    }
    let is_native = dtype.is_native_byteorder() != Some(false);
    match (dtype.kind(), dtype.itemsize()) {
        (b'f', 4) if is_native => return Ok(Kind::F32),
        (b'f', 2) if is_native => return Ok(Kind::F16),
        (b'u', 2) if is_native => return Ok(Kind::Bf16),
        (b'i', 2) if is_native => return Ok(Kind::I16),
        (b'i', 8) if is_native => return Ok(Kind::I64),
        (b'u', 1) => return Ok(Kind::U8),
        (b'u', 8) if is_native => return Ok(Kind::U64),
        _ => {}
    }
    let name = dtype.str()?.to_string();
    if name == "bfloat16" {
        BF16.store(number, Ordering::Relaxed);
        return Ok(Kind::Bf16);
    }
    Err(Refusal::Elements(format!("its dtype is {name}")))
}

/// The array that is, or is inside, whatever has a buffer or DLPack.
pub fn array(object: &Bound<'_, PyAny>) -> Result<Held, Refusal> {
    let py = object.py();
    if let Ok(array) = object.cast::<PyUntypedArray>() {
        return Ok(Held::new(object, of_numpy(array)?));
    }
    let held = if let Some(exchange) = Exchange::of(object.get_type().as_any()) {
        Held::new(object, exchange.memory(object)?)
    } else if let Ok(export) = object.getattr(intern!(py, "__dlpack__")) {
        let capsule = export.call0()?;
        Held::new(&capsule, of_capsule(&capsule)?)
    } else {
        // SAFETY: the object is alive; what comes back is a new reference or null with an error.
        let view =
            unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyMemoryView_FromObject(object.as_ptr())) };
        let Ok(view) = view else {
            let text = format!(
                "must be an array: a NumPy array, a buffer or an object with `__dlpack__`; it is {}",
                object.get_type().name()?
            );
            return Err(Refusal::Text(text));
        };
        let array = py.import("numpy")?.call_method1("asarray", (view,))?;
        Held::new(&array, of_numpy(array.cast::<PyUntypedArray>().map_err(PyErr::from)?)?)
    };
    if held.memory.is_c_contiguous() {
        return Ok(held);
    }
    Err(Refusal::Text("must be contiguous (C order)".into()))
}

/// Memory of our own that tensors of PyTorch are made of.
struct Block {
    address: NonNull<u8>,
    layout: Layout,
}

// SAFETY: it is nothing but an address, which any thread may free.
unsafe impl Send for Block {}
// SAFETY: nothing is done with a shared one.
unsafe impl Sync for Block {}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: it was allocated with this layout, and nobody has it any more.
        unsafe { dealloc(self.address.as_ptr(), self.layout) }
    }
}

#[repr(C)]
struct DlManaged {
    tensor: DlTensor,
    context: *mut c_void,
    delete: Option<unsafe extern "C" fn(*mut DlManaged)>,
}

/// What a tensor of PyTorch that is made of a block has.
struct Lent {
    managed: DlManaged,
    shape: i64,
    _block: Arc<Block>,
    changed: Arc<AtomicBool>,
}

/// # Safety
/// `managed` is the first field of a [`Lent`] that was leaked, and is not used any more.
unsafe extern "C" fn take_back(managed: *mut DlManaged) {
    // SAFETY: its `context` is the whole, as `zeros` has written.
    let lent = unsafe { Box::from_raw((*managed).context.cast::<Lent>()) };
    lent.changed.store(true, Ordering::Release);
}

/// # Safety
/// Python calls it with a capsule of [`Watch::zeros`].
unsafe extern "C" fn drop_capsule(capsule: *mut ffi::PyObject) {
    // SAFETY: whoever takes the tensor renames the capsule; one that still has its name has the tensor.
    unsafe {
        if ffi::PyCapsule_IsValid(capsule, DL_NAME.as_ptr()) == 1 {
            take_back(ffi::PyCapsule_GetPointer(capsule, DL_NAME.as_ptr()).cast());
        }
    }
}

const DL_NAME: &CStr = c"dltensor";

/// Says whether the states of an optimizer may have changed: whether one was put in or taken out of its
/// dictionaries, or PyTorch has let go of the memory of one. As long as it does not, nobody has to look.
#[pyclass(frozen, module = "downhill")]
#[derive(Default)]
pub struct Watch {
    changed: Arc<AtomicBool>,
    blocks: Mutex<HashMap<usize, Weak<Block>>>,
}

#[pymethods]
impl Watch {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    /// Something may have changed.
    fn mark(&self) {
        self.changed.store(true, Ordering::Release);
    }

    /// A DLPack capsule with zeros, at least one: "float32", "bfloat16", "int16" or "uint8".
    fn zeros<'py>(&self, py: Python<'py>, len: usize, kind: &str) -> PyResult<Bound<'py, PyAny>> {
        let (kind, code) = match kind {
            "float32" => (Kind::F32, 2),
            "bfloat16" => (Kind::Bf16, 4),
            "int16" => (Kind::I16, 0),
            "uint8" => (Kind::U8, 1),
            _ => return Err(PyValueError::new_err(format!("`kind` is {kind:?}"))),
        };
        let bytes = len.checked_mul(kind.size()).filter(|&bytes| bytes > 0);
        let layout = bytes.and_then(|bytes| Layout::from_size_align(bytes, 64).ok());
        let layout = layout.ok_or_else(|| PyValueError::new_err(format!("`len` is {len}")))?;
        // SAFETY: the layout is not empty.
        let address = NonNull::new(unsafe { alloc_zeroed(layout) });
        let address = address.ok_or_else(|| PyMemoryError::new_err(format!("{len} numbers")))?;
        let block = Arc::new(Block { address, layout });
        let key = address.as_ptr() as usize;
        self.blocks().insert(key, Arc::downgrade(&block));
        let mut lent = Box::new(Lent {
            managed: DlManaged {
                tensor: DlTensor { data: address.as_ptr().cast(), ..DlTensor::EMPTY },
                context: ptr::null_mut(),
                delete: Some(take_back),
            },
            shape: len as i64,
            _block: block,
            changed: self.changed.clone(),
        });
        let tensor = &mut lent.managed.tensor;
        (tensor.device_type, tensor.ndim) = (DL_CPU, 1);
        (tensor.code, tensor.bits, tensor.lanes) = (code, 8 * kind.size() as u8, 1);
        let lent = Box::into_raw(lent);
        // SAFETY: it has just been leaked, and goes to the capsule and from there to who takes it, of whom
        // the last one calls `take_back`. A capsule that is not made takes nothing.
        unsafe {
            (*lent).managed.tensor.shape = &raw const (*lent).shape;
            (*lent).managed.context = lent.cast();
            let managed = &raw mut (*lent).managed;
            let capsule = ffi::PyCapsule_New(managed.cast(), DL_NAME.as_ptr(), Some(drop_capsule));
            Bound::from_owned_ptr_or_err(py, capsule).inspect_err(|_| take_back(managed))
        }
    }
}

impl Watch {
    pub fn has_changed(&self) -> bool {
        self.changed.load(Ordering::Acquire)
    }

    /// Somebody is about to look.
    pub fn reset(&self) {
        self.changed.store(false, Ordering::Release);
        self.blocks().retain(|_, block| block.strong_count() > 0);
    }

    fn blocks(&self) -> MutexGuard<'_, HashMap<usize, Weak<Block>>> {
        self.blocks.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// A state, with the memory if it is ours: then that stays, whatever becomes of the tensor.
    pub fn hold(&self, tensor: &Bound<'_, PyAny>, memory: Memory) -> Held {
        let block = self.blocks().get(&memory.address).and_then(Weak::upgrade);
        let block = block.filter(|block| memory.end() - memory.address <= block.layout.size());
        Held { block, ..Held::new(tensor, memory) }
    }
}

/// How the tensors of PyTorch are looked at.
pub struct Reader {
    exchange: Option<Exchange>,
    /// What older releases have instead.
    to_dlpack: Py<PyAny>,
}

impl Reader {
    /// `class` is `torch.Tensor`, and `to_dlpack` a function that makes a capsule of one.
    pub fn new(class: &Bound<'_, PyAny>, to_dlpack: Py<PyAny>) -> Self {
        Self { exchange: Exchange::of(class), to_dlpack }
    }

    pub fn memory(&self, tensor: &Bound<'_, PyAny>) -> Result<Memory, Refusal> {
        match self.exchange {
            Some(exchange) => exchange.memory(tensor),
            None => of_capsule(&self.to_dlpack.bind(tensor.py()).call1((tensor,))?),
        }
    }
}

/// An array, and the object that owns its memory or keeps who does.
pub struct Held {
    /// Only to keep it.
    _owner: Py<PyAny>,
    /// The same, where the memory is ours.
    block: Option<Arc<Block>>,
    pub memory: Memory,
}

impl Held {
    /// Is the memory ours, and there as long as this is?
    pub fn is_ours(&self) -> bool {
        self.block.is_some()
    }

    pub fn new(object: &Bound<'_, PyAny>, memory: Memory) -> Self {
        Self { _owner: object.clone().unbind(), block: None, memory }
    }
}

/// Which rows of a table a gradient has.
pub struct RowList {
    pub rows: Held,
    pub row_length: usize,
    pub merge: bool,
    pub row_t: Option<Held>,
}

/// The arrays of one tensor of a step.
pub struct Slot {
    pub w: Held,
    /// The low halves of split weights.
    pub low: Option<Held>,
    pub g: Option<Held>,
    /// One for each state, or all of them packed in one of [`Kind::U8`].
    pub states: Vec<Held>,
    /// Where the new weights also go.
    pub copy: Option<Held>,
    pub t: u64,
    pub first_element: u64,
    /// Where `w` is a table.
    pub rows: Option<RowList>,
}

impl Slot {
    /// What is written, but for a gradient.
    fn written(&self) -> impl Iterator<Item = &Memory> {
        let states = self.states.iter().map(|held| &held.memory);
        let row_t = self.rows.as_ref().and_then(|rows| rows.row_t.as_ref());
        let others = [Some(&self.w), self.low.as_ref(), self.copy.as_ref(), row_t];
        states.chain(others.into_iter().flatten().map(|held| &held.memory)).filter(|m| m.len > 0)
    }

    /// # Safety
    /// Nothing that is written overlaps anything of this or another slot of the call.
    unsafe fn tensor<'a>(&self, zero_grad: bool) -> Tensor<'a> {
        // SAFETY: the memory is that of an object which is held, looked up in this call. The caller
        // guarantees that exclusive slices are exclusive, and the kinds choose the types.
        unsafe {
            let w = self.w.memory;
            let weights = match (w.kind, &self.low) {
                (Kind::Bf16, Some(low)) => {
                    Weights::Split { high: w.exclusive(), low: low.memory.exclusive() }
                }
                (Kind::Bf16, None) => Weights::Bf16(w.exclusive()),
                (Kind::F16, _) => Weights::F16(w.exclusive()),
                _ => Weights::F32(w.exclusive()),
            };
            let states = match self.states.first().map(|held| held.memory.kind) {
                Some(Kind::U8) => States::from(self.states[0].memory.exclusive::<u8>()),
                Some(Kind::Bf16) => self.states.iter().map(|s| s.memory.exclusive::<bf16>()).collect(),
                _ => self.states.iter().map(|s| s.memory.exclusive::<f32>()).collect(),
            };
            let gradient = self.g.as_ref().map_or(Gradient::Absent, |g| gradient(g.memory, zero_grad));
            let mut tensor = Tensor::new(weights, gradient, states);
            if let Some(copy) = &self.copy {
                let copy = copy.memory;
                tensor.copy = match copy.kind {
                    Kind::Bf16 => WeightCopy::Bf16(copy.exclusive()),
                    Kind::F16 => WeightCopy::F16(copy.exclusive()),
                    _ => WeightCopy::F32(copy.exclusive()),
                };
            }
            (tensor.t, tensor.first_element) = (self.t, self.first_element);
            tensor.rows = self.rows.as_ref().map(|list| {
                let mut rows = Rows::new(list.row_length, list.rows.memory.shared());
                rows.merge = list.merge;
                rows.row_t = list.row_t.as_ref().map(|row_t| row_t.memory.exclusive());
                rows
            });
            tensor
        }
    }
}

/// # Safety
/// As [`Slot::tensor`].
unsafe fn gradient<'a>(g: Memory, is_written: bool) -> Gradient<'a> {
    // SAFETY: the caller guarantees it.
    unsafe {
        match (g.kind, is_written) {
            (Kind::Bf16, true) => Gradient::Bf16Mut(g.exclusive::<bf16>()),
            (Kind::F16, true) => Gradient::F16Mut(g.exclusive::<f16>()),
            (_, true) => Gradient::F32Mut(g.exclusive()),
            (Kind::Bf16, false) => Gradient::Bf16(g.shared::<bf16>()),
            (Kind::F16, false) => Gradient::F16(g.shared::<f16>()),
            (_, false) => Gradient::F32(g.shared()),
        }
    }
}

/// All tensors of a step.
#[derive(Default)]
pub struct Slots {
    slots: Vec<Slot>,
    /// Where what is written begins and ends, but for gradients, in order; and the slot.
    written: Vec<Range>,
    /// What `written` is of.
    is_sorted: bool,
    /// The gradients that were checked last.
    gradients: Vec<Option<Memory>>,
    /// Are the gradients those, or fewer, and were they to be written?
    checked: Option<bool>,
}

/// Two slots whose arrays overlap, one of which would be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overlap {
    pub one: usize,
    pub other: usize,
    /// What of `one`.
    pub what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Gradient,
    Rows,
    Written,
}

impl Slots {
    pub fn new(slots: Vec<Slot>) -> Self {
        Self { slots, ..Self::default() }
    }

    pub fn as_slice(&self) -> &[Slot] {
        &self.slots
    }

    /// Sets the numbers of the steps.
    pub fn set_t(&mut self, slot: usize, t: u64) {
        self.slots[slot].t = t;
    }

    /// Sets a gradient.
    pub fn set_gradient(&mut self, slot: usize, g: Option<Held>) {
        let known = self.gradients.get(slot).copied().flatten();
        if g.as_ref().is_some_and(|g| known != Some(g.memory)) {
            self.checked = None;
        }
        self.slots[slot].g = g;
    }

    /// Lets go of all gradients, whose memory can then be used for something else.
    pub fn drop_gradients(&mut self) {
        self.slots.iter_mut().for_each(|slot| slot.g = None);
    }

    /// Does anything that is written overlap anything?
    pub fn check(&mut self, zero_grad: bool) -> Result<(), Overlap> {
        self.check_written()?;
        if self.checked.is_some_and(|checked| checked || !zero_grad) {
            return Ok(());
        }
        let gradients = self.slots.iter().map(|slot| slot.g.as_ref().map(|g| g.memory));
        let rows = self.slots.iter().map(|slot| slot.rows.as_ref().map(|list| list.rows.memory));
        check_apart(gradients.clone(), &self.written, What::Gradient)?;
        check_apart(rows.clone(), &self.written, What::Rows)?;
        if zero_grad {
            let ranges = gradients.enumerate().filter_map(|(k, g)| Some((g?.address, g?.end(), k)));
            let ranges = sorted(ranges.filter(|(start, end, _)| start < end))
                .map_err(|(one, other)| Overlap { one, other, what: What::Gradient })?;
            check_apart(rows, &ranges, What::Rows)?;
        }
        self.gradients.clear();
        self.gradients.extend(self.slots.iter().map(|slot| slot.g.as_ref().map(|g| g.memory)));
        self.checked = Some(zero_grad);
        Ok(())
    }

    fn check_written(&mut self) -> Result<(), Overlap> {
        if !self.is_sorted {
            let all = self.slots.iter().enumerate().flat_map(|(k, slot)| {
                slot.written().map(move |memory| (memory.address, memory.end(), k))
            });
            self.written =
                sorted(all).map_err(|(one, other)| Overlap { one, other, what: What::Written })?;
            (self.is_sorted, self.checked) = (true, None);
        }
        Ok(())
    }

    /// The tensors, in order.
    ///
    /// # Panics
    /// Unless [`check`](Self::check) has succeeded for this `zero_grad` since the last change.
    pub fn tensors(&mut self, zero_grad: bool) -> Vec<Tensor<'_>> {
        let is_checked = self.is_sorted && self.checked.is_some_and(|checked| checked || !zero_grad);
        assert!(is_checked, "arrays are checked before they are stepped");
        // SAFETY: `check` has seen that nothing that is written overlaps anything else, and nothing has
        // changed since.
        self.slots.iter().map(|slot| unsafe { slot.tensor(zero_grad) }).collect()
    }
}

/// From one address to another, and the slot.
type Range = (usize, usize, usize);

/// Does any of these, one for each slot, overlap a range? Ranges are in order.
fn check_apart(
    all: impl Iterator<Item = Option<Memory>>,
    ranges: &[Range],
    what: What,
) -> Result<(), Overlap> {
    for (one, memory) in all.enumerate() {
        let Some(memory) = memory.filter(|memory| memory.len > 0) else { continue };
        // The last one that begins before this ends.
        let before = ranges.partition_point(|&(start, ..)| start < memory.end());
        if before > 0 && ranges[before - 1].1 > memory.address {
            return Err(Overlap { one, other: ranges[before - 1].2, what });
        }
    }
    Ok(())
}

/// Sorts ranges, no two of which may overlap.
fn sorted(ranges: impl Iterator<Item = Range>) -> Result<Vec<Range>, (usize, usize)> {
    let mut ranges: Vec<_> = ranges.collect();
    ranges.sort_unstable();
    for pair in ranges.windows(2) {
        if pair[1].0 < pair[0].1 {
            let (one, other) = (pair[0].2, pair[1].2);
            return Err((one.max(other), one.min(other)));
        }
    }
    Ok(ranges)
}

/// Arrays of a plain step or a conversion: none of those that are written overlaps another one. Gives
/// the places of two that do.
fn overlapping(written: &[Memory], read: &[Memory]) -> Option<(usize, usize)> {
    let all = written.iter().chain(read);
    for (i, one) in written.iter().enumerate() {
        for (j, other) in all.clone().enumerate().skip(i + 1) {
            if one.len > 0 && other.len > 0 && one.address < other.end() && other.address < one.end() {
                return Some((i, j));
            }
        }
    }
    None
}

/// Calls `f` with the arrays of a plain step as slices: those that are written, and the gradient. All are
/// [`Kind::F32`]; the objects that own them are alive while this runs, and nobody else writes to them.
///
/// # Errors
/// The places of two that overlap, the gradient behind the others.
pub fn with_plain<T>(
    written: &[Memory],
    g: Memory,
    f: impl FnOnce(&mut [&mut [f32]], &[f32]) -> T,
) -> Result<T, (usize, usize)> {
    assert!(written.iter().chain([&g]).all(|memory| memory.kind == Kind::F32));
    if let Some(places) = overlapping(written, &[g]) {
        return Err(places);
    }
    let mut empty: [&mut [f32]; 8] = Default::default();
    let slices = &mut empty[..written.len()];
    for (slice, memory) in slices.iter_mut().zip(written) {
        // SAFETY: no two overlap, as just checked, and callers hold the objects.
        *slice = unsafe { memory.exclusive() };
    }
    // SAFETY: it overlaps nothing that is written.
    Ok(f(slices, unsafe { g.shared() }))
}

/// Calls `f` with arrays of `f32` that are read and bytes that are written. The objects that own them are
/// alive while this runs.
///
/// # Errors
/// The places of two that overlap, the bytes before the others.
pub fn with_packing<T>(
    states: &[Memory],
    packed: Memory,
    f: impl FnOnce(&[&[f32]], &mut [u8]) -> T,
) -> Result<T, (usize, usize)> {
    assert!(packed.kind == Kind::U8 && states.iter().all(|state| state.kind == Kind::F32));
    if let Some(places) = overlapping(&[packed], states) {
        return Err(places);
    }
    // SAFETY: callers hold the objects, and what is written overlaps nothing.
    unsafe {
        let states: Vec<&[f32]> = states.iter().map(|state| state.shared()).collect();
        Ok(f(&states, packed.exclusive()))
    }
}

/// The other way round: the bytes are read and behind the others.
pub fn with_unpacking<T>(
    packed: Memory,
    states: &[Memory],
    f: impl FnOnce(&[u8], &mut [&mut [f32]]) -> T,
) -> Result<T, (usize, usize)> {
    assert!(packed.kind == Kind::U8 && states.iter().all(|state| state.kind == Kind::F32));
    if let Some(places) = overlapping(states, &[packed]) {
        return Err(places);
    }
    // SAFETY: callers hold the objects, and what is written overlaps nothing.
    unsafe {
        let mut states: Vec<&mut [f32]> = states.iter().map(|state| state.exclusive()).collect();
        Ok(f(packed.shared(), &mut states))
    }
}

/// Calls `f` with what is converted and where it goes; `low` are the low halves of split weights.
pub fn with_conversion<T>(
    (from, from_low): (Memory, Option<Memory>),
    (to, to_low): (Memory, Option<Memory>),
    f: impl FnOnce(Values<'_>, Weights<'_>) -> T,
) -> Result<T, (usize, usize)> {
    let read: Vec<_> = [Some(from), from_low].into_iter().flatten().collect();
    let written: Vec<_> = [Some(to), to_low].into_iter().flatten().collect();
    if let Some(places) = overlapping(&written, &read) {
        return Err(places);
    }
    // SAFETY: what is written overlaps nothing, and callers hold the objects. The kinds choose the types.
    unsafe {
        let values = match (from.kind, from_low) {
            (Kind::Bf16, Some(low)) => Values::Split { high: from.shared(), low: low.shared() },
            (Kind::Bf16, None) => Values::Bf16(from.shared()),
            (Kind::F16, _) => Values::F16(from.shared()),
            _ => Values::F32(from.shared()),
        };
        let weights = match (to.kind, to_low) {
            (Kind::Bf16, Some(low)) => Weights::Split { high: to.exclusive(), low: low.exclusive() },
            (Kind::Bf16, None) => Weights::Bf16(to.exclusive()),
            (Kind::F16, _) => Weights::F16(to.exclusive()),
            _ => Weights::F32(to.exclusive()),
        };
        Ok(f(values, weights))
    }
}

type Parallel = unsafe extern "C" fn(unsafe extern "C" fn(*mut c_void), *mut c_void, c_uint, c_uint);

/// The OpenMP team that the calling thread has: with PyTorch, the one that its operations run on. Its
/// threads spin for a while after each of them, and other threads beside it would compete with that.
pub struct OpenMp {
    parallel: Parallel,
    threads: usize,
}

impl fmt::Debug for OpenMp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenMp").field("threads", &self.threads).finish_non_exhaustive()
    }
}

impl OpenMp {
    /// None if this process has not loaded GNU's OpenMP.
    pub fn new(threads: usize) -> Option<Self> {
        let symbol = |library: *mut c_void| {
            // SAFETY: the name ends with a zero; the handle is one that `dlopen` gave or the default one.
            NonNull::new(unsafe { libc::dlsym(library, c"GOMP_parallel".as_ptr()) })
        };
        let name: *const c_char = c"libgomp.so.1".as_ptr();
        // SAFETY: as above. What has been loaded stays so: the handle is never closed.
        let loaded = unsafe { libc::dlopen(name, libc::RTLD_LAZY | libc::RTLD_NOLOAD) };
        let parallel = if loaded.is_null() { symbol(libc::RTLD_DEFAULT) } else { symbol(loaded) }?;
        // SAFETY: this function has had this signature since gcc 4.9.
        let parallel = unsafe { std::mem::transmute::<*mut c_void, Parallel>(parallel.as_ptr()) };
        Some(Self { parallel, threads })
    }
}

/// What the threads of a team are given.
struct Job<'a> {
    body: &'a (dyn Fn() + Sync),
    panic: Mutex<Option<Box<dyn std::any::Any + Send>>>,
}

/// # Safety
/// `job` is a [`Job`] that stays until all calls have returned.
unsafe extern "C" fn work(job: *mut c_void) {
    // SAFETY: the caller guarantees it.
    let job = unsafe { &*job.cast::<Job<'_>>() };
    // A panic may not go through C.
    if let Err(panic) = catch_unwind(AssertUnwindSafe(job.body)) {
        job.panic.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).replace(panic);
    }
}

impl ParallelFor for OpenMp {
    fn threads(&self) -> usize {
        self.threads
    }

    fn run(&self, parts: usize, body: &(dyn Fn() + Sync)) {
        let job = Job { body, panic: Mutex::new(None) };
        let threads = parts.min(self.threads) as c_uint;
        // SAFETY: GOMP_parallel calls `work` on each thread of the team, and returns when all have
        // returned; until then `job` stays, and what it refers to is `Sync`.
        unsafe { (self.parallel)(work, (&raw const job).cast_mut().cast(), threads, 0) };
        if let Some(panic) = job.panic.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()) {
            resume_unwind(panic);
        }
    }
}
