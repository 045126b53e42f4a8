//! The groups and tensors of a whole step, as C has them, and what their fields mean.

mod rows;
mod tensors;

use std::{array, ffi::c_void, ops::Range, ptr, slice};

use super::{
    arrays::{check_address, is_address, sized},
    overlap::{Array, Extents, KINDS, Placed},
    read::{Choices, MOST, check_structure, choice, has_zero_tail, invalid, read_structure},
    rules::AnyConfig,
    status::*,
};
use downhill::{
    Numbering, Optimizer, Rounding,
    abi::{Sizes, check_clamp, check_has_rows, check_number, check_step},
    state_bytes,
};
pub(super) use tensors::CTensors;

// ---- types

/// What an array is made of.
pub type downhill_type = u32;

/// No array. Only for copy_type.
pub const DOWNHILL_TYPE_NONE: downhill_type = 0;
/// float
pub const DOWNHILL_TYPE_F32: downhill_type = 1;
/// bfloat16, the upper half of a float, as uint16_t.
pub const DOWNHILL_TYPE_BF16: downhill_type = 2;
/// IEEE half precision, as uint16_t.
pub const DOWNHILL_TYPE_F16: downhill_type = 3;
/// Weights that are floats in two halves: w has the nearest bfloat16 (ties away from zero), which a
/// model can run on, and w_low an int16_t that makes it exact. With x the bits of the float, w = (x +
/// 0x8000) >> 16, w_low = x & 0xffff, x = (w << 16) + w_low mod 2^32. (Of a NaN w has the upper half
/// with the quiet bit set, and w_low is 0.)
pub const DOWNHILL_TYPE_SPLIT: downhill_type = 4;
/// States in eight bits, all of a tensor in one buffer: for rules whose states are signed or averages of
/// squares. To the others (a sum, a maximum) downhill_state_bytes() says no.
pub const DOWNHILL_TYPE_8BIT: downhill_type = 5;

/// How weights of BF16 and F16, and states of BF16 and 8BIT, are rounded.
pub type downhill_rounding = u32;

/// Up or down at random, and right on average: a state moves however small a step's part in it is. (A
/// running maximum, v_max, is always rounded to nearest.)
pub const DOWNHILL_ROUNDING_STOCHASTIC: downhill_rounding = 0;
/// To nearest, ties to even (8BIT: away from zero). What should move by less than half of the
/// distance between two numbers never moves: to compare with, not to train with.
pub const DOWNHILL_ROUNDING_NEAREST: downhill_rounding = 1;

/// How elements are numbered, which random rounding depends on.
pub type downhill_numbering = u32;

/// All tensors of a call follow each other from 0, each from the next multiple of 64 on.
pub const DOWNHILL_NUMBERING_BY_PLACE: downhill_numbering = 0;
/// By first_element: for a model that is stepped in pieces, or by several ranks. Give each tensor
/// numbers of its own, and a part of a tensor (cut at a multiple of 64) those that it has in the whole;
/// then the bits are those of the whole.
pub const DOWNHILL_NUMBERING_GIVEN: downhill_numbering = 1;

/// A flag of a tensor's row_flags: a row may be listed more than once. Its gradients are then added up
/// in float, in the order of the list, before they are scaled.
pub const DOWNHILL_ROWS_MERGE: u32 = 1;

// ---- structures

/// The arrays of a tensor. With n = 0 the pointers may be anything; without a gradient only n, t and
/// first_element are looked at.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct downhill_tensor {
    /// Number of elements.
    pub n: usize,
    /// Weights, updated: the group's weight_type.
    pub w: *mut c_void,
    /// Gradient: the group's gradient_type. Written only with DOWNHILL_EXTRAS_ZERO_GRAD. NULL: there is
    /// none, and the tensor is left alone; nothing is decayed or copied.
    pub g: *mut c_void,
    /// States, updated, in the order of the plain step (rmsprop: v, g_avg, u; adam: m, v), those that the
    /// configuration does not have NULL; zeros before the first step. 8BIT: state[0] is one buffer for
    /// all of them.
    pub state: [*mut c_void; 4],
    /// SPLIT: the lower halves of the weights. Else NULL.
    pub w_low: *mut i16,
    /// Where the new weights also go, in copy_type, rounded to nearest even; or NULL.
    pub w_copy: *mut c_void,
    /// 8BIT: what downhill_state_bytes() says. Else 0.
    pub state_bytes: usize,
    /// The number of this step for this tensor alone, for one that joined late or was frozen. 0: the
    /// group's.
    pub t: u64,
    /// With DOWNHILL_NUMBERING_GIVEN the number of the first element in the model, a multiple of 64.
    /// Else 0.
    pub first_element: u64,
    /// Where row_length is not 0: which rows of w, counted from 0, g has, one after another. Only these
    /// are stepped, each with the bits that it has in a step of all rows. For a list that does not
    /// ascend memory is allocated.
    pub rows: *const i64,
    /// How many rows are listed: g has row_count*row_length elements.
    pub row_count: usize,
    /// 0: g has all elements. Else w is a table whose rows have this many, which divides n. 8BIT: a
    /// multiple of 64.
    pub row_length: usize,
    /// The number of steps that each row of w has had, n/row_length of them; one more for a row that is
    /// touched, which is its t in this step. NULL: its t is the tensor's.
    pub row_t: *mut u64,
    /// 0, or DOWNHILL_ROWS_MERGE. Without it a row that is listed twice is an error.
    pub row_flags: u32,
    pub reserved: u32,
}

/// Tensors that share a configuration and types. Start from downhill_group_default(). All groups of a
/// call have the same struct_size and tensor_size.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct downhill_group {
    /// sizeof(downhill_group), which is how far apart groups are.
    pub struct_size: u32,
    /// sizeof(downhill_tensor), which is how far apart tensors are.
    pub tensor_size: u32,
    /// DOWNHILL_TYPE_F32, _BF16, _F16 or _SPLIT. Default F32.
    pub weight_type: downhill_type,
    /// DOWNHILL_TYPE_F32, _BF16 or _F16. Default F32.
    pub gradient_type: downhill_type,
    /// DOWNHILL_TYPE_F32, _BF16 or _8BIT. Default F32.
    pub state_type: downhill_type,
    /// DOWNHILL_TYPE_NONE, _F32, _BF16 or _F16. Default NONE.
    pub copy_type: downhill_type,
    /// A downhill_rounding. Default DOWNHILL_ROUNDING_STOCHASTIC.
    pub rounding: downhill_rounding,
    /// A downhill_numbering. Default DOWNHILL_NUMBERING_BY_PLACE.
    pub numbering: downhill_numbering,
    /// What random bits are made from, with t and the element's number. Default 0.
    pub seed: u64,
    /// The number of this step, from 1, for every rule. A skipped step is not counted.
    pub t: u64,
    /// A configuration of any rule. Groups may have different rules.
    pub config: *const c_void,
    /// How many tensors.
    pub count: usize,
    /// The tensors.
    pub tensors: *const downhill_tensor,
    /// From where to where new weights are kept, at most clamp_high: a weight that is beyond after the
    /// update becomes the bound, before it is rounded to its type (which can go beyond, to a neighbour)
    /// or copied; a NaN stays one. Finite as floats, or -INFINITY or INFINITY for no bound. Both 0, the
    /// default: no bounds. A plain step has none; a group of one tensor does the same with them.
    pub clamp_low: f64,
    pub clamp_high: f64,
}

/// What weights can be made of.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Weight {
    F32,
    Bf16,
    F16,
    Split,
}

/// What gradients and copies can be made of.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Float {
    F32,
    Bf16,
    F16,
}

/// What states can be made of.
#[derive(Clone, Copy, PartialEq)]
enum StateType {
    F32,
    Bf16,
    Bits8,
}

pub(super) const WEIGHTS: Choices<Weight, 4> = [
    (DOWNHILL_TYPE_F32, Weight::F32),
    (DOWNHILL_TYPE_BF16, Weight::Bf16),
    (DOWNHILL_TYPE_F16, Weight::F16),
    (DOWNHILL_TYPE_SPLIT, Weight::Split),
];
const FLOATS: Choices<Float, 3> = [
    (DOWNHILL_TYPE_F32, Float::F32),
    (DOWNHILL_TYPE_BF16, Float::Bf16),
    (DOWNHILL_TYPE_F16, Float::F16),
];
const STATES: Choices<StateType, 3> = [
    (DOWNHILL_TYPE_F32, StateType::F32),
    (DOWNHILL_TYPE_BF16, StateType::Bf16),
    (DOWNHILL_TYPE_8BIT, StateType::Bits8),
];
const COPIES: Choices<Option<Float>, 4> = [
    (DOWNHILL_TYPE_NONE, None),
    (DOWNHILL_TYPE_F32, Some(Float::F32)),
    (DOWNHILL_TYPE_BF16, Some(Float::Bf16)),
    (DOWNHILL_TYPE_F16, Some(Float::F16)),
];
const NUMBERINGS: Choices<Numbering, 2> =
    [(DOWNHILL_NUMBERING_BY_PLACE, Numbering::ByPlace), (DOWNHILL_NUMBERING_GIVEN, Numbering::Given)];

impl Weight {
    /// Bytes of an element of `w`.
    pub fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 | Self::F16 | Self::Split => 2,
        }
    }

    /// And of `w_low`, if there is one.
    pub fn low_size(self) -> Option<usize> {
        (self == Self::Split).then_some(2)
    }
}

impl Float {
    fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 | Self::F16 => 2,
        }
    }
}

/// The list of groups, whose structures may be a later release's.
#[derive(Clone, Copy)]
pub(super) struct Groups {
    count: usize,
    groups: *const downhill_group,
    /// How far apart they are.
    stride: usize,
}

impl Groups {
    /// # Safety
    /// `groups` is NULL, or `count` groups are there, whose first field says how long each is.
    pub unsafe fn new(count: usize, groups: *const downhill_group) -> Result<Self, Failure> {
        if count == 0 {
            return Ok(Self { count, groups, stride: size_of::<downhill_group>() });
        }
        check_structure("groups", groups)?;
        // SAFETY: not NULL and aligned, checked above; there is a group, by this function's contract.
        let stride = unsafe { (*groups).struct_size } as usize;
        check_stride::<downhill_group>("struct_size", stride)?;
        check_address(
            "groups",
            groups.addr(),
            align_of::<downhill_group>(),
            sized("group_count", count, stride)?,
        )?;
        Ok(Self { count, groups, stride })
    }

    pub fn len(self) -> usize {
        self.count
    }

    /// The memory of the list.
    pub fn array(self) -> Array {
        Array::read("groups", self.groups.addr(), self.count * self.stride)
    }

    /// Reads a group, everything or what its gradients take, to `read`: a result that holds it would be
    /// copied on its way.
    ///
    /// # Safety
    /// As for [`Groups::new`], of which this is the list, and `index` is in it.
    pub unsafe fn read(self, index: usize, what: Read, read: &mut Group) -> Result<(), Failure> {
        // SAFETY: the group is in the list, by this function's contract.
        let (group, size) = unsafe {
            let group = self.groups.byte_add(index * self.stride);
            (group, (*group).struct_size as usize)
        };
        // First, because a larger size would be read beyond the list.
        if size != self.stride {
            return Err(invalid(format!(
                "`struct_size` is {size}; it must be that of the first group, {}",
                self.stride
            )));
        }
        // SAFETY: this function's contract.
        let group = unsafe { read_structure("groups", group)? };
        read.read_gradients(&group)?;
        match what {
            // SAFETY: the same.
            Read::Everything { zero_grad } => unsafe { read.read_rest(&group, zero_grad) },
            Read::Gradients => Ok(()),
        }
    }
}

/// What is read of a group.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Read {
    Everything {
        /// Are gradients written?
        zero_grad: bool,
    },
    Gradients,
}

/// How far structures are apart. Each is aligned as the first one is: to 8 bytes, on 32-bit x86 to 4.
fn check_stride<S>(name: &str, stride: usize) -> Result<(), Failure> {
    let (own, alignment) = (size_of::<S>(), align_of::<S>());
    if (own..=MOST).contains(&stride) && stride.is_multiple_of(alignment) {
        return Ok(());
    }
    Err(invalid(format!(
        "`{name}` is {stride}; it must be {own}, or a later release's, a multiple of {alignment} up to {MOST}"
    )))
}

/// No bounds of weights.
const UNBOUNDED: [f64; 2] = [f64::NEG_INFINITY, f64::INFINITY];

/// A group, read.
#[derive(Clone, Copy)]
pub(super) struct Group {
    /// Was the rule read, and not the gradients alone?
    has_rule: bool,
    rule: AnyConfig,
    pub t: u64,
    pub rounding: Rounding,
    pub numbering: Numbering,
    /// From where to where weights are kept.
    pub clamp: [f64; 2],
    kinds: [Kind; KINDS],
    weight: Weight,
    gradient: Float,
    state: StateType,
    /// At which places of a tensor of C there are states.
    places: [u8; SLOTS],
    /// How many there are.
    states: u8,
    copy: Option<Float>,
    /// Has a row one state for all its elements?
    is_row_rule: bool,
    /// Are all arrays floats, and the states at the first places?
    is_plain: bool,
    config: *const c_void,
    count: usize,
    tensors: *const downhill_tensor,
    /// How far apart they are.
    stride: usize,
}

impl Group {
    /// Before it is read.
    pub const UNREAD: Self = Self {
        has_rule: false,
        rule: AnyConfig::UNREAD,
        t: 0,
        rounding: Rounding::Nearest,
        numbering: Numbering::ByPlace,
        clamp: UNBOUNDED,
        kinds: [Kind::NONE; KINDS],
        weight: Weight::F32,
        gradient: Float::F32,
        state: StateType::F32,
        places: [0; SLOTS],
        states: 0,
        copy: None,
        is_row_rule: false,
        is_plain: false,
        config: ptr::null(),
        count: 0,
        tensors: ptr::null(),
        stride: 0,
    };

    /// Reads the gradients alone.
    fn read_gradients(&mut self, group: &downhill_group) -> Result<(), Failure> {
        let downhill_group { count, tensors, .. } = *group;
        let stride = group.tensor_size as usize;
        check_stride::<downhill_tensor>("tensor_size", stride)?;
        self.gradient = choice("gradient_type", group.gradient_type, FLOATS)?;
        if count > 0 {
            let bytes = sized("count", count, stride)?;
            check_address("tensors", tensors.addr(), align_of::<downhill_tensor>(), bytes)?;
        }
        self.kinds[GRADIENT] = Kind::read(self.gradient.size());
        (self.count, self.tensors, self.stride) = (count, tensors, stride);
        Ok(())
    }

    /// Reads everything else.
    ///
    /// # Safety
    /// `config` is what the header says of it.
    unsafe fn read_rest(&mut self, group: &downhill_group, zero_grad: bool) -> Result<(), Failure> {
        let downhill_group { seed, t, config, clamp_low, clamp_high, .. } = *group;
        let roundings = [
            (DOWNHILL_ROUNDING_STOCHASTIC, Rounding::Stochastic { seed }),
            (DOWNHILL_ROUNDING_NEAREST, Rounding::Nearest),
        ];
        self.weight = choice("weight_type", group.weight_type, WEIGHTS)?;
        self.state = choice("state_type", group.state_type, STATES)?;
        self.copy = choice("copy_type", group.copy_type, COPIES)?;
        self.rounding = choice("rounding", group.rounding, roundings)?;
        self.numbering = choice("numbering", group.numbering, NUMBERINGS)?;
        if clamp_low != 0.0 || clamp_high != 0.0 {
            self.clamp = [clamp_low, clamp_high];
        }
        // SAFETY: this function's contract.
        unsafe { self.rule.read(config)? };
        self.is_row_rule = self.rule.optimizer().row_rule().is_some();
        self.set_kinds(zero_grad);
        (self.has_rule, self.t, self.config) = (true, t, config);
        Ok(())
    }

    /// What the types say of the arrays, and the rule of the states' places.
    fn set_kinds(&mut self, zero_grad: bool) {
        self.kinds[WEIGHT] = Kind::written(self.weight.size());
        self.kinds[GRADIENT].is_written = zero_grad;
        self.kinds[LOW] = Kind::written(self.weight.low_size().unwrap_or(0));
        self.kinds[COPY] = Kind::written(self.copy.map_or(0, Float::size));
        let slots = self.rule.slots();
        for place in (0..SLOTS).filter(|&place| slots[place]) {
            self.places[usize::from(self.states)] = place as u8;
            self.states += 1;
        }
        self.is_plain =
            !self.is_mixed() && (0..SLOTS).all(|place| slots[place] == (place < self.states.into()));
        let (size, slots) = match self.state {
            StateType::F32 => (4, slots),
            StateType::Bf16 => (2, slots),
            // All are in the first one.
            StateType::Bits8 => (1, array::from_fn(|place| place == 0 && self.states > 0)),
        };
        for (place, is_there) in slots.into_iter().enumerate() {
            self.kinds[STATE + place] = Kind::written(if is_there { size } else { 0 });
        }
    }

    /// The rule; none that steps anything if only the gradients were read.
    pub fn optimizer(&self) -> &dyn Optimizer {
        self.rule.optimizer()
    }

    /// How many tensors.
    pub fn len(&self) -> usize {
        self.count
    }

    /// The memory of its structures.
    pub fn structures(&self) -> [Array; 2] {
        let size = if self.has_rule { self.rule.size() } else { 0 };
        let config = Array::read("config", self.config.addr(), size);
        [config, Array::read("tensors", self.tensors.addr(), self.count * self.stride)]
    }

    /// Checks everything but overlap, and adds the arrays up.
    ///
    /// # Safety
    /// The tensors are there, as the header says.
    pub unsafe fn check(&self, sizes: &mut Sizes, extents: &mut Extents) -> Result<(), Failure> {
        let rule = self.has_rule.then(|| self.rule.optimizer());
        if let Some(rule) = rule {
            check_step(self.t)?;
            check_clamp(self.clamp[0], self.clamp[1])?;
            rule.check_at(self.t)?;
        }
        for index in 0..self.count {
            // SAFETY: this function's contract.
            let checked = unsafe { self.tensor(index) }
                .and_then(|tensor| self.check_tensor(tensor, rule, sizes, extents));
            checked.map_err(|failure| failure.of_tensor(index))?;
        }
        sizes.is_mixed |= self.is_mixed();
        Ok(())
    }

    /// Calls `f` with each tensor.
    fn each_tensor(&self, mut f: impl FnMut(usize, &downhill_tensor)) {
        for index in 0..self.count {
            // SAFETY: whoever had this group read promised that its tensors are there.
            f(index, unsafe { &*self.tensors.byte_add(index * self.stride) });
        }
    }

    /// Reads a tensor, and checks that a later release's has nothing that this one does not know.
    ///
    /// # Safety
    /// There is such a tensor.
    #[inline]
    unsafe fn tensor(&self, index: usize) -> Result<&downhill_tensor, Failure> {
        // SAFETY: this function's contract.
        let tensor = unsafe { self.tensors.byte_add(index * self.stride) };
        let own = size_of::<downhill_tensor>();
        // SAFETY: the same.
        if self.stride > own && !unsafe { has_zero_tail(tensor, self.stride) } {
            return Err(invalid(format!(
                "`tensor_size` is {} and this release knows {own} bytes; a field past them is not zero",
                self.stride
            )));
        }
        // SAFETY: the same.
        Ok(unsafe { &*tensor })
    }

    #[inline]
    fn check_tensor(
        &self,
        tensor: &downhill_tensor,
        rule: Option<&dyn Optimizer>,
        sizes: &mut Sizes,
        extents: &mut Extents,
    ) -> Result<(), Failure> {
        let n = tensor.n;
        sized("n", n, size_of::<f32>())?;
        if let Some(rule) = rule {
            if tensor.t != 0 && tensor.t != self.t {
                rule.check_at(tensor.t)?;
            }
            check_number(tensor.first_element, n, self.numbering)?;
        }
        if tensor.g.is_null() {
            return Ok(());
        }
        self.check_row_fields(tensor)?;
        if let Some(rule) = rule {
            self.check_state_bytes(tensor, rule)?;
        }
        sizes.tensors += 1;
        match rule {
            Some(rule) if tensor.row_length > 0 => self.check_rows(tensor, rule, sizes, extents)?,
            // What is asked of the rule for each tensor is known of the group.
            Some(rule) if self.is_row_rule => check_has_rows(rule, false)?,
            _ => {}
        }
        if n == 0 {
            return Ok(());
        }
        if self.add_floats(tensor, sizes, extents) {
            return Ok(());
        }
        self.check_arrays(tensor, sizes, extents)
    }

    /// Adds up the arrays of a tensor as most are: floats, each where it should be, and no other. Was it
    /// such a one? If not, [`Group::check_arrays`] does it, which checks any tensor and says what is wrong.
    /// It takes 15 ns longer, 8 % of a step of SGD on 512 elements.
    #[inline(always)]
    fn add_floats(&self, tensor: &downhill_tensor, sizes: &mut Sizes, extents: &mut Extents) -> bool {
        let [w, g, low, copy, states @ ..] = pointers(tensor);
        let (count, bytes) = (usize::from(self.states), tensor.n * size_of::<f32>());
        let is_array = |pointer: *const c_void| is_address(pointer.addr(), align_of::<f32>(), bytes);
        let is_state = |place: usize| match place < count {
            true => is_array(states[place]),
            false => states[place].is_null(),
        };
        let is_right = self.is_plain && tensor.row_length == 0 && is_array(w) && is_array(g);
        if !(is_right && low.is_null() && copy.is_null() && (0..SLOTS).all(is_state)) {
            return false;
        }
        sizes.add(bytes, false);
        sizes.add((1 + count).saturating_mul(bytes), true);
        let range = |pointer: *const c_void| pointer.addr()..pointer.addr() + bytes;
        extents.push(WEIGHT, range(w), true);
        extents.push(GRADIENT, range(g), self.kinds[GRADIENT].is_written);
        for (place, state) in states[..count].iter().enumerate() {
            extents.push(STATE + place, range(*state), true);
        }
        true
    }

    /// Checks the arrays of any tensor that has elements and a gradient, and adds them up.
    fn check_arrays(
        &self,
        tensor: &downhill_tensor,
        sizes: &mut Sizes,
        extents: &mut Extents,
    ) -> Result<(), Failure> {
        for (k, pointer) in pointers(tensor).into_iter().enumerate() {
            let Some(range) = self.range(tensor, k, pointer) else {
                if self.has_rule && !pointer.is_null() {
                    return Err(unexpected(k, self.name(k), pointer.addr()));
                }
                continue;
            };
            // The gradient of a table of which no row is listed. (Not `is_empty`: an end may be past the
            // address space, and so before its start.)
            if range.start == range.end {
                continue;
            }
            let Kind { size, is_written } = self.kinds[k];
            let (start, bytes) = (range.start, range.end.wrapping_sub(range.start));
            if !is_address(start, size.into(), bytes) {
                // Says why.
                return check_address(self.name(k), start, size.into(), bytes);
            }
            let moved = if tensor.row_length == 0 { bytes } else { self.bytes_of_rows(tensor, k) };
            sizes.add(moved, k != GRADIENT && k != COPY);
            extents.push(k, range, is_written);
        }
        Ok(())
    }

    /// Where array `k` of a tensor is that has elements and a gradient; None if there is none.
    #[inline(always)]
    fn range(&self, tensor: &downhill_tensor, k: usize, pointer: *const c_void) -> Option<Range<usize>> {
        let size = usize::from(self.kinds[k].size);
        if size == 0 || (k == COPY && pointer.is_null()) {
            return None;
        }
        let is_codes = k == STATE && self.state == StateType::Bits8;
        let bytes = match k {
            _ if is_codes => tensor.state_bytes,
            _ if tensor.row_length == 0 => tensor.n * size,
            GRADIENT => tensor.row_count * tensor.row_length * size,
            _ if k >= STATE && self.is_row_rule => tensor.n / tensor.row_length * size,
            _ => tensor.n * size,
        };
        Some(pointer.addr()..pointer.addr().wrapping_add(bytes))
    }

    /// The name of array `k`.
    fn name(&self, k: usize) -> &'static str {
        match k.checked_sub(STATE) {
            None => ["w", "g", "w_low", "w_copy"][k],
            Some(k) if self.state != StateType::Bits8 => self.rule.state_name(k).unwrap_or("state"),
            Some(_) => "state",
        }
    }

    /// Do tensors have to be widened and narrowed?
    fn is_mixed(&self) -> bool {
        let Self { weight, gradient, state, copy, .. } = *self;
        (weight, gradient, state, copy) != (Weight::F32, Float::F32, StateType::F32, None)
    }

    fn check_state_bytes(&self, tensor: &downhill_tensor, rule: &dyn Optimizer) -> Result<(), Failure> {
        let expected = match self.state {
            StateType::Bits8 => state_bytes(rule, tensor.n)?,
            StateType::F32 | StateType::Bf16 => 0,
        };
        if tensor.state_bytes == expected {
            return Ok(());
        }
        let message = format!("`state_bytes` is {}; it must be {expected}", tensor.state_bytes);
        Err(Failure::new(DOWNHILL_STATUS_INVALID_LENGTH, message))
    }

    /// Calls `f` with all arrays of all tensors, which were checked.
    pub fn each_array(&self, group: usize, f: &mut dyn FnMut(Placed)) {
        self.each_tensor(|index, tensor| {
            if tensor.n == 0 || tensor.g.is_null() {
                return;
            }
            if tensor.row_length > 0 && self.has_rule {
                rows::lists(tensor).for_each(|(_, list)| f((Some((group, index)), list)));
            }
            for (k, pointer) in pointers(tensor).into_iter().enumerate() {
                if let Some(Range { start, end }) = self.range(tensor, k, pointer) {
                    let (name, is_written) = (self.name(k), self.kinds[k].is_written);
                    f((Some((group, index)), Array { name, start, bytes: end - start, is_written }));
                }
            }
        });
    }
}

/// What arrays of a group's tensors are.
#[derive(Clone, Copy)]
struct Kind {
    /// Bytes of an element, which is also the alignment; 0 if there is no such array.
    size: u8,
    is_written: bool,
}

impl Kind {
    const NONE: Self = Self::read(0);

    const fn read(size: usize) -> Self {
        Self { size: size as u8, is_written: false }
    }

    const fn written(size: usize) -> Self {
        Self { size: size as u8, is_written: true }
    }
}

/// The arrays of a tensor, in the order of [`pointers`].
const WEIGHT: usize = 0;
const GRADIENT: usize = 1;
const LOW: usize = 2;
const COPY: usize = 3;
const STATE: usize = 4;

/// How many states a tensor has room for.
pub(super) const SLOTS: usize = 4;

/// After them the lists of rows, which are not in [`pointers`]: few tensors have some.
const ROWS: usize = STATE + SLOTS;
const ROW_T: usize = ROWS + 1;

#[inline(always)]
fn pointers(tensor: &downhill_tensor) -> [*const c_void; ROWS] {
    let downhill_tensor { w, g, state: [s0, s1, s2, s3], w_low, w_copy, .. } = *tensor;
    [w, g, w_low.cast(), w_copy, s0, s1, s2, s3].map(|pointer: *mut c_void| pointer.cast_const())
}

#[cold]
fn unexpected(kind: usize, name: &str, address: usize) -> Failure {
    let name = match kind.checked_sub(STATE) {
        Some(k) => format!("state[{k}]"),
        None => name.to_owned(),
    };
    let reason = match kind {
        COPY => "`copy_type` is DOWNHILL_TYPE_NONE",
        LOW => "`weight_type` is not DOWNHILL_TYPE_SPLIT",
        _ => "this configuration has no state there",
    };
    invalid(format!("`{name}` is {address:#x}; it must be NULL, because {reason}"))
}

/// # Safety
/// With `n` > 0, `array` is what [`slice::from_raw_parts`] asks for.
#[inline]
pub(super) unsafe fn array<'a, T>(array: *const T, n: usize) -> &'a [T] {
    if n == 0 {
        return &[];
    }
    // SAFETY: this function's contract.
    unsafe { slice::from_raw_parts(array, n) }
}

/// # Safety
/// With `n` > 0, `array` is what [`slice::from_raw_parts_mut`] asks for.
#[inline]
pub(super) unsafe fn array_mut<'a, T>(array: *mut T, n: usize) -> &'a mut [T] {
    if n == 0 {
        return &mut [];
    }
    // SAFETY: this function's contract.
    unsafe { slice::from_raw_parts_mut(array, n) }
}
