//! Groups of tensors for a whole step: any, in memory as C passes them, what is wrong with them, and the
//! same in Rust.

use std::{array, collections::BTreeSet, ptr};

use arbitrary::Arbitrary;
use downhill::{Gradient, Numbering, Optimizer, Rounding, States, Weights, reference, state_bytes};
use half::{bf16, f16};

use crate::{
    abi::*,
    check::{self, Errors},
    input::*,
    memory::{Array, Kind, Memory, bytes_of},
    rows::{Rows, Table},
    rules::{Config, SLOTS, is_by_row},
};

#[derive(Arbitrary, Debug)]
pub struct Group {
    config: Config,
    weight: Choice,
    gradient: Choice,
    state: Choice,
    copy: Choice,
    rounding: Choice,
    numbering: Choice,
    seed: u64,
    clamp: Bounds,
    t: Step,
    list: List,
    pub tensors: Vec<Tensor>,
    /// What a group but the first says of its size.
    #[arbitrary(with = rarely)]
    pub other_size: Option<u8>,
}

#[derive(Arbitrary, Debug)]
pub struct Tensor {
    #[arbitrary(with = elements)]
    pub n: usize,
    #[arbitrary(with = seldom)]
    has_no_gradient: bool,
    has_copy: bool,
    places: [Place; ARRAYS],
    #[arbitrary(with = rarely)]
    state_bytes: Option<usize>,
    t: Option<Step>,
    block: u16,
    #[arbitrary(with = rarely)]
    first_element: Option<u64>,
    #[arbitrary(with = at_times)]
    table: Option<Table>,
}

/// A list as it is passed.
#[derive(Arbitrary, Debug)]
pub struct List {
    pub size: Size,
    pointer: Pointer,
    /// More structures than memory has room for.
    #[arbitrary(with = rarely)]
    too_many: Option<usize>,
}

/// The places of a tensor's arrays.
const WEIGHT: usize = 0;
const GRADIENT: usize = 1;
const LOW: usize = 2;
const COPY: usize = 3;
const STATE: usize = 4;
const ROWS: usize = STATE + SLOTS;
const ROW_T: usize = ROWS + 1;
const ARRAYS: usize = ROW_T + 1;

/// A group in memory.
pub struct Placed {
    /// None if it has an unknown choice.
    optimizer: Option<Box<dyn Optimizer>>,
    c: downhill_group,
    /// What its arrays are made of, but for the lists of rows.
    kinds: [Option<Kind>; ARRAYS],
    tensors: Vec<PlacedTensor>,
    pub config: Array,
    pub list: Array,
}

struct PlacedTensor {
    c: downhill_tensor,
    kinds: [Option<Kind>; ARRAYS],
    arrays: [Array; ARRAYS],
}

/// What is wrong with groups.
#[derive(Default)]
pub struct GroupErrors {
    /// For a step.
    pub step: Errors,
    /// For the sums of squares, and so for a step too.
    pub sums: Errors,
}

impl List {
    /// How many structures there are said to be.
    pub fn count(&self, count: usize, size: usize) -> usize {
        self.too_many.filter(|_| count > 0).map_or(count, |wrong| wrong.max(check::too_many(size)))
    }

    /// Puts structures of so many bytes into memory.
    pub fn put(
        &self,
        structures: Vec<Vec<u8>>,
        size: usize,
        memory: &mut Memory,
        errors: &mut Errors,
    ) -> Array {
        let count = self.count(structures.len(), size);
        if count > structures.len() {
            errors.insert(DOWNHILL_STATUS_INVALID_LENGTH);
        }
        if count > 0 {
            check::pointer(self.pointer, errors);
        }
        memory.put(&check::list(structures, size, self.size, 8, 4, errors), self.pointer)
    }
}

impl Group {
    /// Puts all of it into memory but for its own structure.
    pub fn put(&self, memory: &mut Memory, values: &mut Values, errors: &mut GroupErrors) -> Placed {
        let optimizer = self.config.optimizer(&mut errors.step);
        let config = self.config.put(true, memory, &mut errors.step);
        let size = size_of::<downhill_tensor>();
        let c = downhill_group {
            struct_size: 0,
            tensor_size: self.list.size.of(size),
            weight_type: self.weight.of(&WEIGHTS),
            gradient_type: self.gradient.of(&FLOATS),
            state_type: self.state.of(&STATES),
            copy_type: self.copy.of(&COPIES),
            rounding: self.rounding.of(&ROUNDINGS),
            numbering: self.numbering.of(&NUMBERINGS),
            seed: self.seed,
            t: self.t.0,
            config: config.pointer.cast(),
            count: self.list.count(self.tensors.len(), size),
            tensors: ptr::null(),
            clamp_low: self.clamp.0[0],
            clamp_high: self.clamp.0[1],
        };
        let kinds = kinds(&c, self.config.slots(optimizer.as_deref()));
        let mut placed = Placed { optimizer, c, kinds, tensors: Vec::new(), config, list: Array::NULL };
        placed.check(errors);
        for tensor in &self.tensors {
            let tensor = placed.place(tensor, memory, values);
            placed.check_tensor(&tensor, errors);
            placed.tensors.push(tensor);
        }
        let structures = placed.tensors.iter().map(|tensor| bytes_of(&tensor.c)).collect();
        placed.list = self.list.put(structures, size, memory, &mut errors.sums);
        placed.c.tensors = placed.list.pointer.cast();
        placed
    }
}

const WEIGHTS: [u32; 4] =
    [DOWNHILL_TYPE_F32, DOWNHILL_TYPE_BF16, DOWNHILL_TYPE_F16, DOWNHILL_TYPE_SPLIT];
const FLOATS: [u32; 3] = [DOWNHILL_TYPE_F32, DOWNHILL_TYPE_BF16, DOWNHILL_TYPE_F16];
const STATES: [u32; 3] = [DOWNHILL_TYPE_F32, DOWNHILL_TYPE_BF16, DOWNHILL_TYPE_8BIT];
const COPIES: [u32; 4] = [DOWNHILL_TYPE_NONE, DOWNHILL_TYPE_F32, DOWNHILL_TYPE_BF16, DOWNHILL_TYPE_F16];
const ROUNDINGS: [u32; 2] = [DOWNHILL_ROUNDING_STOCHASTIC, DOWNHILL_ROUNDING_NEAREST];
const NUMBERINGS: [u32; 2] = [DOWNHILL_NUMBERING_BY_PLACE, DOWNHILL_NUMBERING_GIVEN];

fn kinds(group: &downhill_group, slots: [bool; SLOTS]) -> [Option<Kind>; ARRAYS] {
    let float = |of_type| match of_type {
        DOWNHILL_TYPE_F32 => Some(Kind::F32),
        DOWNHILL_TYPE_BF16 | DOWNHILL_TYPE_SPLIT => Some(Kind::Bf16),
        DOWNHILL_TYPE_F16 => Some(Kind::F16),
        _ => None,
    };
    // In eight bits all are in the first one.
    let is_8bit = group.state_type == DOWNHILL_TYPE_8BIT;
    let slots = if is_8bit { array::from_fn(|k| k == 0 && slots.contains(&true)) } else { slots };
    let mut kinds = [None; ARRAYS];
    kinds[WEIGHT] = float(group.weight_type);
    kinds[GRADIENT] = float(group.gradient_type);
    kinds[LOW] = (group.weight_type == DOWNHILL_TYPE_SPLIT).then_some(Kind::I16);
    kinds[COPY] = float(group.copy_type);
    for (k, _) in slots.iter().enumerate().filter(|(_, is_there)| **is_there) {
        kinds[STATE + k] = match group.state_type {
            DOWNHILL_TYPE_8BIT => Some(Kind::Byte),
            of_type => float(of_type),
        };
    }
    kinds
}

impl Placed {
    /// Its own structure, which says that it is so long.
    pub fn structure(&self, struct_size: u32) -> Vec<u8> {
        bytes_of(&downhill_group { struct_size, ..self.c })
    }

    fn is_by_row(&self) -> bool {
        self.optimizer.as_deref().is_some_and(is_by_row)
    }

    fn refuses(&self, t: u64) -> bool {
        self.optimizer.as_ref().is_some_and(|rule| check::refuses(&**rule, t))
    }

    /// Types, numbers and hyper-parameters.
    fn check(&self, errors: &mut GroupErrors) {
        let c = &self.c;
        let choices = [
            (c.weight_type, &WEIGHTS[..]),
            (c.state_type, &STATES),
            (c.copy_type, &COPIES),
            (c.rounding, &ROUNDINGS),
            (c.numbering, &NUMBERINGS),
        ];
        let is_bound = |x: f64, none: f64| x == none || (x as f32).is_finite();
        let (low, high) = (c.clamp_low, c.clamp_high);
        let are_bounds =
            is_bound(low, f64::NEG_INFINITY) && is_bound(high, f64::INFINITY) && low <= high;
        if choices.iter().any(|(choice, all)| !all.contains(choice))
            || !are_bounds
            || self.refuses(c.t.max(1))
        {
            errors.step.insert(DOWNHILL_STATUS_INVALID_CONFIG);
        }
        if !FLOATS.contains(&c.gradient_type) {
            errors.sums.insert(DOWNHILL_STATUS_INVALID_CONFIG);
        }
        if c.t == 0 {
            errors.step.insert(DOWNHILL_STATUS_INVALID_STEP);
        }
    }

    /// What its states have to be in bytes; None if that cannot be.
    fn state_bytes(&self, n: usize) -> Option<usize> {
        match &self.optimizer {
            Some(rule) if self.c.state_type == DOWNHILL_TYPE_8BIT => state_bytes(&**rule, n).ok(),
            _ => Some(0),
        }
    }

    fn place(&self, tensor: &Tensor, memory: &mut Memory, values: &mut Values) -> PlacedTensor {
        let rows = match &tensor.table {
            Some(table) => table.rows(tensor.n, self.c.state_type == DOWNHILL_TYPE_8BIT),
            None => Rows { n: tensor.n, ..Rows::default() },
        };
        let Rows { n, row_length, row_count, .. } = rows;
        let count = n.checked_div(row_length).unwrap_or(0);
        let state_bytes = tensor.state_bytes.or(self.state_bytes(n)).unwrap_or(0);
        let mut kinds = self.kinds;
        if row_length > 0 {
            kinds[ROWS..].fill(Some(Kind::U64));
        }
        let mut arrays = [Array::NULL; ARRAYS];
        for (k, array) in arrays.iter_mut().enumerate() {
            let place = match k {
                GRADIENT if tensor.has_no_gradient => Place::Null,
                COPY if !tensor.has_copy => Place::Null,
                ROW_T if row_length > 0 && !rows.has_row_t => Place::Null,
                ROWS | ROW_T => tensor.places[k].of_words(),
                _ => tensor.places[k],
            };
            let n = match k {
                _ if kinds[k] == Some(Kind::Byte) => state_bytes,
                GRADIENT if row_length > 0 => row_count.saturating_mul(row_length),
                ROWS => row_count,
                ROW_T => count,
                STATE.. if self.is_by_row() => count,
                _ => n,
            };
            *array = memory.place(place, kinds[k], n, values);
        }
        let list: Vec<u8> = rows.list.iter().flat_map(|row| row.to_ne_bytes()).collect();
        memory.write_list(arrays[ROWS], &list);
        let [w, g, w_low, w_copy, s0, s1, s2, s3, list, row_t] = arrays.map(|array| array.pointer);
        let is_given = self.c.numbering == DOWNHILL_NUMBERING_GIVEN;
        let first_element = if is_given { 64 * u64::from(tensor.block) } else { 0 };
        let c = downhill_tensor {
            n,
            w: w.cast(),
            g: g.cast(),
            state: [s0, s1, s2, s3].map(<*mut u8>::cast),
            w_low: w_low.cast(),
            w_copy: w_copy.cast(),
            state_bytes,
            t: tensor.t.map_or(0, |t| t.0),
            first_element: tensor.first_element.unwrap_or(first_element),
            rows: list.cast(),
            row_count,
            row_length,
            row_t: row_t.cast(),
            row_flags: rows.flags,
            reserved: rows.reserved,
        };
        PlacedTensor { c, kinds, arrays }
    }

    fn check_tensor(&self, tensor: &PlacedTensor, errors: &mut GroupErrors) {
        let PlacedTensor { c, kinds, arrays } = tensor;
        if c.n >= check::too_many(4) {
            errors.sums.insert(DOWNHILL_STATUS_INVALID_LENGTH);
        }
        let multiple = if self.c.numbering == DOWNHILL_NUMBERING_GIVEN { 64 } else { 0 };
        if !c.first_element.is_multiple_of(multiple) || (c.t != 0 && self.refuses(c.t)) {
            errors.step.insert(DOWNHILL_STATUS_INVALID_CONFIG);
        }
        if c.g.is_null() {
            return;
        }
        match self.state_bytes(c.n) {
            None => errors.step.insert(DOWNHILL_STATUS_INVALID_CONFIG),
            Some(bytes) if bytes != c.state_bytes => errors.step.insert(DOWNHILL_STATUS_INVALID_LENGTH),
            Some(_) => false,
        };
        self.check_table(c, errors);
        for (k, array) in arrays.iter().enumerate().filter(|_| c.n > 0) {
            let of_kind = if k == GRADIENT { &mut errors.sums } else { &mut errors.step };
            match kinds[k] {
                None if array.pointer.is_null() => {}
                None if k >= ROWS => _ = errors.sums.insert(DOWNHILL_STATUS_INVALID_CONFIG),
                None => _ = errors.step.insert(DOWNHILL_STATUS_INVALID_CONFIG),
                Some(_) if array.n == 0 => {}
                Some(_) if [COPY, ROW_T].contains(&k) && array.pointer.is_null() => {}
                Some(_) => check::array(array, of_kind),
            }
        }
    }

    /// What is said of rows, but for the lists.
    fn check_table(&self, c: &downhill_tensor, errors: &mut GroupErrors) {
        if c.row_length == 0 {
            if (c.row_count, c.row_flags, c.reserved) != (0, 0, 0) {
                errors.sums.insert(DOWNHILL_STATUS_INVALID_CONFIG);
            }
            if self.is_by_row() {
                errors.step.insert(DOWNHILL_STATUS_INVALID_CONFIG);
            }
            return;
        }
        if c.row_flags > DOWNHILL_ROWS_MERGE || c.reserved != 0 {
            errors.sums.insert(DOWNHILL_STATUS_INVALID_CONFIG);
        }
        let of_gradient = c.row_length.saturating_mul(self.kinds[GRADIENT].map_or(1, Kind::size));
        if c.row_count >= check::too_many(of_gradient.max(8)) || (c.n == 0 && c.row_count > 0) {
            errors.sums.insert(DOWNHILL_STATUS_INVALID_LENGTH);
        }
        let multiple = if self.c.state_type == DOWNHILL_TYPE_8BIT { 64 } else { 1 };
        if !c.n.is_multiple_of(c.row_length) || !c.row_length.is_multiple_of(multiple) {
            errors.step.insert(DOWNHILL_STATUS_INVALID_LENGTH);
        }
        if self.is_by_row() && self.c.state_type == DOWNHILL_TYPE_BF16 {
            errors.step.insert(DOWNHILL_STATUS_INVALID_CONFIG);
        }
    }

    /// What is in the lists of rows.
    ///
    /// # Safety
    /// They are there, or there is something wrong with their pointers.
    pub unsafe fn check_lists(&self, memory: &Memory, errors: &mut Errors) {
        for PlacedTensor { c, arrays, .. } in self.updated().filter(|tensor| tensor.c.row_length > 0) {
            let good = |k| Some(arrays[k]).filter(check::is_array).unwrap_or(Array::NULL.of(Kind::U64));
            // SAFETY: this function's contract; aligned.
            let (rows, row_t): (&[i64], &[u64]) =
                unsafe { (&*memory.elements(good(ROWS)), &*memory.elements(good(ROW_T))) };
            let count = (c.n / c.row_length) as i64;
            let listed: BTreeSet<i64> = rows.iter().copied().collect();
            let is_out = listed.iter().any(|row| !(0..count).contains(row));
            let is_twice = listed.len() < rows.len() && c.row_flags & DOWNHILL_ROWS_MERGE == 0;
            let counted = listed.iter().filter_map(|&row| row_t.get(row as usize));
            let steps: BTreeSet<u64> = counted.map(|t| t.saturating_add(1)).collect();
            if is_out || is_twice || steps.into_iter().any(|t| self.refuses(t)) {
                errors.insert(DOWNHILL_STATUS_INVALID_CONFIG);
            }
        }
    }

    /// Can all lists of rows be looked at that have good pointers?
    pub fn has_lists(&self) -> bool {
        let mut lists = self.updated().flat_map(|tensor| &tensor.arrays[ROWS..]);
        lists.all(|list| list.is_there() || !check::is_array(list))
    }

    /// All lists of rows that are looked at.
    pub fn rows(&self) -> impl Iterator<Item = Array> {
        self.updated().map(|tensor| tensor.arrays[ROWS])
    }

    /// All gradients that are looked at.
    pub fn gradients(&self) -> impl Iterator<Item = Array> {
        self.updated().map(|tensor| tensor.arrays[GRADIENT])
    }

    /// All other arrays that are, which are written.
    pub fn written(&self) -> impl Iterator<Item = Array> {
        let others = self.updated().flat_map(|tensor| tensor.arrays.into_iter().enumerate());
        let is_written =
            |(k, array): &(usize, Array)| ![GRADIENT, ROWS].contains(k) && !array.pointer.is_null();
        others.filter(is_written).map(|(_, array)| array)
    }

    /// The sum of the squares of each gradient.
    pub fn squares(&self, memory: &Memory) -> impl Iterator<Item = f64> {
        self.tensors.iter().map(|tensor| match tensor.c {
            c if c.n == 0 || c.g.is_null() => 0.0,
            _ => reference::squares(&memory.numbers(tensor.arrays[GRADIENT])),
        })
    }

    fn updated(&self) -> impl Iterator<Item = &PlacedTensor> {
        self.tensors.iter().filter(|tensor| tensor.c.n > 0 && !tensor.c.g.is_null())
    }

    /// The tensors for Rust, in this memory, which may be a copy.
    ///
    /// # Safety
    /// All arrays are there, aligned, and apart if they are written. The tensors are used while the
    /// memory lives.
    pub unsafe fn tensors<'a>(&self, memory: &Memory, zero_grad: bool) -> Vec<downhill::Tensor<'a>> {
        // SAFETY: the same.
        self.tensors.iter().map(|tensor| unsafe { self.tensor(tensor, memory, zero_grad) }).collect()
    }

    /// # Safety
    /// As of `tensors`.
    unsafe fn tensor<'a>(
        &self,
        PlacedTensor { c, arrays, .. }: &PlacedTensor,
        memory: &Memory,
        zero_grad: bool,
    ) -> downhill::Tensor<'a> {
        let states =
            || (0..SLOTS).filter(|k| self.kinds[STATE + k].is_some()).map(|k| arrays[STATE + k]);
        // SAFETY: this function's contract.
        unsafe {
            if c.g.is_null() {
                let mut tensor =
                    downhill::Tensor::new(Weights::Absent(c.n), Gradient::Absent, States::default());
                tensor.first_element = c.first_element;
                return tensor;
            }
            let w = match self.c.weight_type {
                DOWNHILL_TYPE_SPLIT => Weights::Split {
                    high: &mut *memory.elements(arrays[WEIGHT]),
                    low: &mut *memory.elements(arrays[LOW]),
                },
                _ => updated(memory, arrays[WEIGHT]),
            };
            let g = if zero_grad {
                updated(memory, arrays[GRADIENT])
            } else {
                read(memory, arrays[GRADIENT])
            };
            let state = match self.c.state_type {
                DOWNHILL_TYPE_8BIT => States::Bits8(&mut *memory.elements(arrays[STATE])),
                DOWNHILL_TYPE_BF16 => states().map(|k| &mut *memory.elements::<bf16>(k)).collect(),
                _ => states().map(|k| &mut *memory.elements::<f32>(k)).collect(),
            };
            let mut tensor = downhill::Tensor::new(w, g, state);
            if !c.w_copy.is_null() {
                tensor.copy = updated(memory, arrays[COPY]);
            }
            (tensor.t, tensor.first_element) = (c.t, c.first_element);
            if c.row_length > 0 {
                let mut rows = downhill::Rows::new(c.row_length, &*memory.elements(arrays[ROWS]));
                rows.merge = c.row_flags & DOWNHILL_ROWS_MERGE != 0;
                rows.row_t = (!c.row_t.is_null()).then(|| &mut *memory.elements(arrays[ROW_T]));
                tensor.rows = Some(rows);
            }
            tensor
        }
    }

    /// The group for Rust.
    pub fn group<'a, 'b>(&'a self, tensors: &'a mut [downhill::Tensor<'b>]) -> downhill::Group<'a, 'b> {
        let optimizer = self.optimizer.as_ref().expect("no unknown choice");
        let mut group = downhill::Group::new(&**optimizer, self.c.t, tensors);
        if self.c.numbering == DOWNHILL_NUMBERING_GIVEN {
            group.numbering = Numbering::Given;
        }
        group.rounding = match self.c.rounding {
            DOWNHILL_ROUNDING_STOCHASTIC => Rounding::Stochastic { seed: self.c.seed },
            _ => Rounding::Nearest,
        };
        if (self.c.clamp_low, self.c.clamp_high) != (0.0, 0.0) {
            (group.clamp_low, group.clamp_high) = (self.c.clamp_low, self.c.clamp_high);
        }
        group
    }
}

/// What is made of an array that is written.
///
/// # Safety
/// As of [`Placed::tensors`].
unsafe fn updated<'a, T>(memory: &Memory, array: Array) -> T
where
    T: From<&'a mut [f32]> + From<&'a mut [bf16]> + From<&'a mut [f16]>,
{
    // SAFETY: this function's contract.
    unsafe {
        match array.kind {
            Kind::F32 => (&mut *memory.elements::<f32>(array)).into(),
            Kind::Bf16 => (&mut *memory.elements::<bf16>(array)).into(),
            _ => (&mut *memory.elements::<f16>(array)).into(),
        }
    }
}

/// A gradient that is only read.
///
/// # Safety
/// As of [`Placed::tensors`].
unsafe fn read<'a>(memory: &Memory, array: Array) -> Gradient<'a> {
    // SAFETY: this function's contract.
    unsafe {
        match array.kind {
            Kind::F32 => (&*memory.elements::<f32>(array)).into(),
            Kind::Bf16 => (&*memory.elements::<bf16>(array)).into(),
            _ => (&*memory.elements::<f16>(array)).into(),
        }
    }
}
