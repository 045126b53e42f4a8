//! The whole step and the sums of squares of the C interface: any groups of any rules and types, with any arrays, structures, extras
//! and threads. What they do is what the reference does, or nothing at all and a status that is true.
#![no_main]

use std::{ffi::c_void, ptr, sync::OnceLock};

use arbitrary::{Arbitrary, Unstructured};
use downhill::{Extras, Numbering, Report, Rounding, reference, state_bytes};
use downhill_fuzz::{
    abi::*,
    check::{self, Errors},
    input::{Choice, Fields, Length, Number, Place, Pointer, Size, Step, Values, rarely},
    memory::{Array, Block, Contents, Element, Memory},
    owned::{Floats, Owned, OwnedGroup, with_groups},
    rules::{Configured, SLOTS},
};
use half::{bf16, f16};
use libfuzzer_sys::fuzz_target;

/// More elements than this take too long.
const MOST: usize = 400_000;

const MOST_GROUPS: usize = 4;
const MOST_TENSORS: usize = 5;

// ---- the input

#[derive(Arbitrary, Debug)]
struct Call {
    extras: Option<ExtrasInput>,
    report: Option<(Size, Pointer)>,
    threads: u8,
    list: Pointer,
    sums: Pointer,
    /// Of groups and of tensors, in steps of eight bytes.
    more_bytes: (More, More),
    groups: Vec<GroupInput>,
}

#[derive(Arbitrary, Debug)]
struct ExtrasInput {
    size: Size,
    pointer: Pointer,
    flags: Flags,
    scale: Number,
    is_negative: bool,
    max_norm: Number,
    norm_squared: Number,
}

#[derive(Debug)]
struct Flags(u32);

impl<'a> Arbitrary<'a> for Flags {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        Ok(Self(match u8::arbitrary(u)? {
            flags @ 0..=247 => (flags % 8).into(),
            248.. => u32::arbitrary(u)?,
        }))
    }
}

/// How much longer a structure is than this release's, and whether its last byte is not zero.
#[derive(Debug)]
struct More(usize, bool);

impl<'a> Arbitrary<'a> for More {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        Ok(match u8::arbitrary(u)? {
            0..=223 => Self(0, false),
            224..=239 => Self(8 * usize::from(u8::arbitrary(u)? % 70), false),
            240..=251 => Self(8 + 8 * usize::from(u8::arbitrary(u)? % 70), true),
            252.. => Self(usize::from(u8::arbitrary(u)?), false),
        })
    }
}

#[derive(Arbitrary, Debug)]
struct GroupInput {
    rule: u8,
    config: Fields,
    weight: Type,
    gradient: Type,
    state: Type,
    copy: Type,
    rounding: Choice,
    numbering: Choice,
    seed: u64,
    t: Step,
    list: Pointer,
    tensors: Vec<TensorInput>,
}

/// One of those that are allowed, by its place; or any number.
#[derive(Debug)]
enum Type {
    Place(u8),
    Any(u32),
}

impl<'a> Arbitrary<'a> for Type {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        Ok(match u8::arbitrary(u)? {
            251.. => Self::Any(u8::arbitrary(u)?.into()),
            place => Self::Place(place),
        })
    }
}

impl Type {
    fn of(&self, allowed: &[u32], errors: &mut Errors) -> u32 {
        let value = match *self {
            Self::Place(place) => allowed[usize::from(place) % allowed.len()],
            Self::Any(any) => any,
        };
        if !allowed.contains(&value) {
            errors.insert(DOWNHILL_STATUS_INVALID_CONFIG);
        }
        value
    }
}

#[derive(Debug)]
struct TensorInput {
    n: usize,
    has_gradient: bool,
    has_copy: bool,
    /// Are all pointers passed, those of arrays that there are not included?
    all: bool,
    places: [Place; ARRAYS],
    state_bytes: Option<usize>,
    t: u64,
    first_element: u64,
}

impl<'a> Arbitrary<'a> for TensorInput {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let n = match u8::arbitrary(u)? {
            0..=253 => Length::arbitrary(u)?.0,
            254.. => 60_000 + 4 * usize::from(u16::arbitrary(u)?),
        };
        let bits = u8::arbitrary(u)?;
        Ok(Self {
            n,
            has_gradient: bits % 8 != 7,
            has_copy: bits / 8 % 4 != 3,
            all: rarely(u)?,
            places: u.arbitrary()?,
            state_bytes: rarely(u)?.then(|| usize::arbitrary(u)).transpose()?,
            t: if bits / 32 == 7 { Step::arbitrary(u)?.0 } else { 0 },
            first_element: if rarely(u)? { u.arbitrary()? } else { 64 * u64::from(bits) },
        })
    }
}

// ---- the call

/// The arrays of a tensor.
const W: usize = 0;
const G: usize = 1;
const LOW: usize = 2;
const COPY: usize = 3;
const STATE: usize = 4;
const ARRAYS: usize = STATE + SLOTS;

/// A tensor whose arrays have their places; those that there are not are NULL.
struct Placed {
    n: usize,
    has_gradient: bool,
    arrays: [Array; ARRAYS],
    t: u64,
    first_element: u64,
}

/// A group in memory.
struct Group {
    configured: Configured,
    types: Types,
    t: u64,
    rounding: Rounding,
    numbering: Numbering,
    tensors: Vec<Placed>,
    /// Structures that must stay.
    _blocks: [Block; 2],
}

struct Types {
    weight: u32,
    gradient: u32,
    state: u32,
    copy: u32,
}

impl Types {
    fn float(value: u32) -> Option<Element> {
        match value {
            DOWNHILL_TYPE_F32 => Some(Element::F32),
            DOWNHILL_TYPE_BF16 => Some(Element::Bf16),
            DOWNHILL_TYPE_F16 => Some(Element::F16),
            _ => None,
        }
    }

    /// What each array is made of, if there is one.
    fn elements(&self, slots: [bool; SLOTS], state_bytes: usize) -> [Option<Element>; ARRAYS] {
        let is_split = self.weight == DOWNHILL_TYPE_SPLIT;
        let mut all = [None; ARRAYS];
        all[W] = if is_split { Some(Element::Bf16) } else { Self::float(self.weight) };
        all[G] = Self::float(self.gradient);
        all[LOW] = is_split.then_some(Element::I16);
        all[COPY] = Self::float(self.copy);
        if self.state == DOWNHILL_TYPE_8BIT {
            all[STATE] = (state_bytes > 0).then_some(Element::Byte);
        } else {
            for (k, is_there) in slots.into_iter().enumerate() {
                all[STATE + k] = Self::float(self.state).filter(|_| is_there);
            }
        }
        all
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Unstructured::new(bytes);
    if let Ok(mut call) = Call::arbitrary(&mut input) {
        call.groups.truncate(MOST_GROUPS);
        call.groups.iter_mut().for_each(|group| group.tensors.truncate(MOST_TENSORS));
        run(&call, &mut Values::new(input));
    }
});

fn run(call: &Call, values: &mut Values) {
    let lengths = call.groups.iter().flat_map(|group| &group.tensors).map(|tensor| tensor.n);
    if lengths
        .filter(|&n| n <= isize::MAX as usize / 4)
        .try_fold(0, usize::checked_add)
        .is_none_or(|n| n > MOST)
    {
        return; // Too much work, or numbers of elements beyond any.
    }
    let mut memory = Memory::new(values);
    let mut errors = Errors::new();
    let mut squares_errors = Errors::new();
    let mut words = Vec::new();
    let groups: Vec<Group> = call
        .groups
        .iter()
        .map(|input| {
            group(call, input, &mut memory, values, (&mut errors, &mut squares_errors), &mut words)
        })
        .collect();
    stride(
        &call.more_bytes.0,
        size_of::<downhill_group>(),
        groups.len(),
        &mut errors,
        &mut squares_errors,
    );
    let mut wrong = Errors::new();
    let (_list, list) = check::pointer(&words, call.list, &mut wrong);
    if !groups.is_empty() {
        errors.extend(&wrong);
        squares_errors.extend(&wrong);
    }
    let call =
        InMemory { call, groups: &groups, list: list.cast(), pool: pool(call.threads), memory: &memory };
    call.squares(squares_errors);
    call.step(errors);
}

/// The stride of structures.
fn stride(more: &More, own: usize, count: usize, errors: &mut Errors, others: &mut Errors) {
    let size = own + more.0;
    if count > 0 && (size > check::MOST || !size.is_multiple_of(8) || more.1) {
        errors.insert(DOWNHILL_STATUS_INVALID_CONFIG);
        others.insert(DOWNHILL_STATUS_INVALID_CONFIG);
    }
}

/// Structures that follow each other, each longer than it is known to be; the last byte of the last one may be wrong.
fn longer(bytes: &[u8], own: usize, more: &More, is_last: bool) -> Vec<u8> {
    let mut longer = Vec::new();
    for structure in bytes.chunks(own) {
        longer.extend_from_slice(structure);
        longer.resize(longer.len() + more.0, 0);
    }
    if let Some(last) = longer.last_mut().filter(|_| is_last && more.1) {
        *last = 1;
    }
    longer
}

fn bytes_of<T>(structure: &T) -> &[u8] {
    // SAFETY: the header's structures have no bytes between their fields.
    unsafe { std::slice::from_raw_parts(ptr::from_ref(structure).cast(), size_of::<T>()) }
}

/// A group with all that belongs to it. Its own structure goes behind `words`.
fn group(
    call: &Call,
    input: &GroupInput,
    memory: &mut Memory,
    values: &mut Values,
    (errors, squares_errors): (&mut Errors, &mut Errors),
    words: &mut Vec<u8>,
) -> Group {
    let configured = Configured::new(input.rule, &input.config);
    let types = Types {
        weight: input.weight.of(&[1, 2, 3, 4], errors),
        gradient: input.gradient.of(&[1, 2, 3], errors),
        state: input.state.of(&[1, 2, 5], errors),
        copy: input.copy.of(&[0, 1, 2, 3], errors),
    };
    if Types::float(types.gradient).is_none() {
        squares_errors.insert(DOWNHILL_STATUS_INVALID_CONFIG);
    }
    if input.rounding.0 > 1 || input.numbering.0 > 1 {
        errors.insert(DOWNHILL_STATUS_INVALID_CONFIG);
    }
    if input.t.0 == 0 {
        errors.insert(DOWNHILL_STATUS_INVALID_STEP);
    }
    let (config, config_pointer) = check::configuration(&configured, &input.config, input.t.0, errors);
    let is_given = input.numbering.0 == 1;
    let mut list = Vec::new();
    let tensors: Vec<Placed> = input
        .tensors
        .iter()
        .map(|tensor| {
            let (placed, structure) = self::tensor(
                tensor,
                is_given,
                &configured,
                &types,
                memory,
                values,
                (errors, squares_errors),
            );
            list.extend_from_slice(bytes_of(&structure));
            placed
        })
        .collect();
    let own = size_of::<downhill_tensor>();
    let more = &call.more_bytes.1;
    let mut wrong = Errors::new();
    let list = longer(&list, own, more, true);
    let (block, pointer) = check::pointer(&list, input.list, &mut wrong);
    // The stride is looked at without tensors, too.
    stride(&More(more.0, more.1 && !tensors.is_empty()), own, 1, errors, squares_errors);
    if !tensors.is_empty() {
        errors.extend(&wrong);
        squares_errors.extend(&wrong);
    }
    let structure = downhill_group {
        struct_size: (size_of::<downhill_group>() + call.more_bytes.0.0) as u32,
        tensor_size: (own + more.0) as u32,
        weight_type: types.weight,
        gradient_type: types.gradient,
        state_type: types.state,
        copy_type: types.copy,
        rounding: input.rounding.0,
        numbering: input.numbering.0,
        seed: input.seed,
        t: input.t.0,
        config: config_pointer.cast(),
        count: tensors.len(),
        tensors: pointer.cast(),
    };
    words.extend(longer(bytes_of(&structure), size_of::<downhill_group>(), &call.more_bytes.0, true));
    Group {
        configured,
        types,
        t: input.t.0,
        rounding: if input.rounding.0 == 1 {
            Rounding::Nearest
        } else {
            Rounding::Stochastic { seed: input.seed }
        },
        numbering: if is_given { Numbering::Given } else { Numbering::ByPlace },
        tensors,
        _blocks: [config, block],
    }
}

fn tensor(
    input: &TensorInput,
    is_given: bool,
    configured: &Configured,
    types: &Types,
    memory: &mut Memory,
    values: &mut Values,
    (errors, squares_errors): (&mut Errors, &mut Errors),
) -> (Placed, downhill_tensor) {
    let n = input.n;
    let is_8bit = types.state == DOWNHILL_TYPE_8BIT;
    let bytes = configured.optimizer.as_ref().map_or(Ok(0), |optimizer| state_bytes(&**optimizer, n));
    let bytes = if is_8bit { bytes } else { Ok(0) };
    let elements = types.elements(configured.slots(), *bytes.as_ref().unwrap_or(&1));
    let mut arrays = [Array::NULL; ARRAYS];
    let mut passed = [ptr::null_mut::<u8>(); ARRAYS];
    for k in 0..ARRAYS {
        let length = if elements[k] == Some(Element::Byte) { *bytes.as_ref().unwrap_or(&65) } else { n };
        let is_there = elements[k].is_some() && (k != COPY || input.has_copy);
        if is_there || input.all {
            let array =
                memory.place(input.places[k], elements[k].unwrap_or(Element::F32), length, values);
            passed[k] = array.pointer;
            // A copy that is NULL is none.
            arrays[k] =
                if is_there && !(k == COPY && array.pointer.is_null()) { array } else { Array::NULL };
        }
    }
    if !input.has_gradient {
        passed[G] = ptr::null_mut();
    }
    let has_gradient = !passed[G].is_null();
    if !has_gradient {
        arrays = [Array::NULL; ARRAYS];
    }
    let first_element = if is_given || input.first_element % 64 != 0 { input.first_element } else { 0 };
    let passed_bytes = input.state_bytes.unwrap_or(*bytes.as_ref().unwrap_or(&65));

    check::length(n, errors);
    check::length(n, squares_errors);
    if input.t != 0 {
        check::refused(configured, input.t, errors);
    }
    if first_element % 64 != 0 || (!is_given && first_element != 0) {
        errors.insert(DOWNHILL_STATUS_INVALID_CONFIG);
    }
    if has_gradient {
        match bytes {
            Ok(bytes) if bytes == passed_bytes => {}
            Ok(_) => _ = errors.insert(DOWNHILL_STATUS_INVALID_LENGTH),
            Err(_) => errors.extend([DOWNHILL_STATUS_INVALID_CONFIG, DOWNHILL_STATUS_INVALID_LENGTH]),
        }
        for k in 0..ARRAYS {
            let unexpected = n > 0 && elements[k].is_none() && !passed[k].is_null();
            if unexpected {
                errors.insert(DOWNHILL_STATUS_INVALID_CONFIG);
            }
            check::array(&arrays[k], errors);
            // Where it is said to be and is NULL.
            if n > 0 && elements[k].is_some() && k != COPY && passed[k].is_null() {
                errors.insert(DOWNHILL_STATUS_NULL_POINTER);
            }
        }
        check::array(&arrays[G], squares_errors);
    }
    let [w, g, w_low, w_copy, state @ ..] = passed.map(|pointer| pointer.cast::<c_void>());
    let structure = downhill_tensor {
        n,
        w,
        g,
        state,
        w_low: w_low.cast(),
        w_copy,
        state_bytes: passed_bytes,
        t: input.t,
        first_element,
    };
    (Placed { n, has_gradient, arrays, t: input.t, first_element }, structure)
}

/// Nobody but the caller, or a pool that stays: of workers, or of a caller's function that calls the body never or twice.
fn pool(threads: u8) -> *mut downhill_pool {
    unsafe extern "C" fn never(
        _: *mut c_void,
        _: usize,
        _: Option<unsafe extern "C" fn(*mut c_void)>,
        _: *mut c_void,
    ) {
    }
    unsafe extern "C" fn twice(
        _: *mut c_void,
        _: usize,
        body: Option<unsafe extern "C" fn(*mut c_void)>,
        job: *mut c_void,
    ) {
        let body = body.expect("a body");
        // SAFETY: any number of times, while this function runs.
        unsafe {
            body(job);
            body(job);
        }
    }
    static POOLS: OnceLock<[usize; 5]> = OnceLock::new();
    let pools = POOLS.get_or_init(|| {
        // SAFETY: any number of threads, and functions that do what they should.
        let pools = unsafe {
            [
                downhill_pool_new(2),
                downhill_pool_new(3),
                downhill_pool_new(4),
                downhill_pool_from(3, Some(never), ptr::null_mut()),
                downhill_pool_from(3, Some(twice), ptr::null_mut()),
            ]
        };
        pools.map(|pool| pool.expose_provenance())
    });
    match usize::from(threads % 8).checked_sub(3) {
        None => ptr::null_mut(),
        Some(choice) => ptr::with_exposed_provenance_mut(pools[choice]),
    }
}

/// Everything in its place for a call.
struct InMemory<'a> {
    call: &'a Call,
    groups: &'a [Group],
    list: *const downhill_group,
    pool: *mut downhill_pool,
    memory: &'a Memory,
}

impl InMemory<'_> {
    fn tensors(&self) -> impl Iterator<Item = &Placed> {
        self.groups.iter().flat_map(|group| &group.tensors)
    }

    fn squares(&self, mut errors: Errors) {
        let count = self.tensors().count();
        let before = vec![1; 8 * count];
        let mut wrong = Errors::new();
        let (block, sums) = check::pointer(&before, self.call.sums, &mut wrong);
        if count > 0 {
            errors.append(&mut wrong);
        }
        let is_backed = |placed: &Placed| placed.n == 0 || placed.arrays[G].is_backed();
        if errors.is_empty() && !self.tensors().all(is_backed) {
            return; // The caller promises memory.
        }
        let start = self.memory.contents();
        // SAFETY: all gradients are there, or the call is to fail; structures are as long as they say.
        let status =
            unsafe { downhill_grad_squares(self.groups.len(), self.list, self.pool, sums.cast()) };
        check::status(status, &errors);
        if errors.is_empty() && count > 0 {
            for (got, placed) in block.bytes().chunks(8).zip(self.tensors()) {
                let got = f64::from_ne_bytes(got.try_into().expect("eight bytes"));
                let g = gradient(&start, placed).map_or(Vec::new(), |g| g.wide());
                let expected = reference::squares(&g);
                assert!(same(got, expected), "a sum of {got:e}, not {expected:e}");
            }
        } else {
            assert!(block.bytes().ends_with(&before), "sums that were not to be written");
        }
        self.memory.check(&start, &[]);
    }

    fn step(&self, mut errors: Errors) {
        let extras = extras(self.call.extras.as_ref(), &mut errors);
        let report = downhill_report { tensors_updated: 77, ..empty_report() };
        let (size, pointer) = self.call.report.unwrap_or((Size::Own, Pointer::Null));
        let has_report = !matches!(pointer, Pointer::Null);
        let (report_block, report_pointer) = if has_report {
            check::structure(bytes_of(&report), 4, size, pointer, &mut errors)
        } else {
            (Block::new(&[]), ptr::null_mut())
        };
        let before = report_block.bytes().to_vec();
        let zero_grad = extras.rust.zero_grad;
        let used: Vec<(Array, bool)> = self
            .tensors()
            .flat_map(|placed| {
                placed.arrays.iter().enumerate().map(|(k, array)| (*array, k != G || zero_grad))
            })
            .collect();
        check::overlaps(&used, &mut errors);
        if errors.is_empty() && !used.iter().all(|(array, _)| array.is_backed()) {
            return; // The caller promises memory.
        }

        let mut expected = self.memory.contents();
        let rust = Extras { grad_norm: has_report, ..extras.rust };
        let outcome = errors.is_empty().then(|| reference_step(self.groups, &rust, &mut expected));
        if outcome.is_some_and(|report| report.skipped) {
            errors.insert(DOWNHILL_STATUS_SKIPPED);
        }
        // SAFETY: all arrays are there, or the call is to fail before it looks at any; every structure is as long as it says;
        // nobody else is here.
        let status = unsafe {
            downhill_step(
                self.groups.len(),
                self.list,
                extras.pointer.cast(),
                self.pool,
                report_pointer.cast(),
            )
        };
        check::status(status, &errors);
        let written: Vec<Array> =
            used.iter().filter(|(_, is_written)| *is_written).map(|(array, _)| *array).collect();
        self.memory.check(&expected, if outcome.is_some() { &written } else { &[] });
        match outcome {
            Some(outcome) if has_report => check_report(report_block.bytes(), &outcome),
            _ => assert!(report_block.bytes() == before, "a report that was not to be written"),
        }
    }
}

// ---- extras and report

/// Extras in memory, and in Rust.
struct Given {
    _block: Block,
    pointer: *mut u8,
    rust: Extras,
}

fn extras(input: Option<&ExtrasInput>, errors: &mut Errors) -> Given {
    let nothing =
        || Given { _block: Block::new(&[]), pointer: ptr::null_mut(), rust: Extras::default() };
    let Some(input) = input.filter(|input| !matches!(input.pointer, Pointer::Null)) else {
        return nothing();
    };
    let positive = |number: Number| number.of(downhill::Range::NonNegative);
    let flags = input.flags.0;
    let grad_scale = if input.is_negative { -positive(input.scale) } else { positive(input.scale) };
    let (max_norm, is_given) = (positive(input.max_norm), flags & DOWNHILL_EXTRAS_NORM_GIVEN != 0);
    let norm_squared = if is_given { positive(input.norm_squared) } else { 0.0 };
    let all = DOWNHILL_EXTRAS_ZERO_GRAD | DOWNHILL_EXTRAS_SKIP_NONFINITE | DOWNHILL_EXTRAS_NORM_GIVEN;
    if flags & !all != 0
        || !(grad_scale as f32).is_finite()
        || !(max_norm >= 0.0 && (max_norm as f32).is_finite())
        || norm_squared < 0.0
    {
        errors.insert(DOWNHILL_STATUS_INVALID_CONFIG);
    }
    let struct_size = size_of::<downhill_extras>() as u32;
    let structure = downhill_extras { struct_size, flags, grad_scale, max_norm, norm_squared };
    let (block, pointer) = check::structure(bytes_of(&structure), 4, input.size, input.pointer, errors);
    let rust = Extras {
        grad_scale,
        max_norm,
        zero_grad: flags & DOWNHILL_EXTRAS_ZERO_GRAD != 0,
        skip_nonfinite: flags & DOWNHILL_EXTRAS_SKIP_NONFINITE != 0,
        grad_norm: false,
        norm_squared: is_given.then_some(norm_squared),
    };
    Given { _block: block, pointer, rust }
}

fn empty_report() -> downhill_report {
    downhill_report {
        struct_size: size_of::<downhill_report>() as u32,
        skipped: 0,
        grad_norm: 0.0,
        applied_scale: 0.0,
        tensors_updated: 0,
        group: usize::MAX,
        tensor: usize::MAX,
        element: usize::MAX,
    }
}

fn check_report(bytes: &[u8], expected: &Report) {
    // It may be at any multiple of four bytes.
    let start = bytes.len() - bytes.len() / 8 * 8;
    // SAFETY: so many bytes, of which any are a report.
    let got = unsafe { bytes.as_ptr().add(start).cast::<downhill_report>().read_unaligned() };
    assert_eq!(got.skipped, u32::from(expected.skipped));
    let norm = expected.grad_norm.expect("a report needs it");
    assert!(same(got.grad_norm, norm), "norm {:e}, not {norm:e}", got.grad_norm);
    assert!(same(got.applied_scale, expected.applied_scale), "scale {:e}", got.applied_scale);
    assert_eq!(got.tensors_updated, expected.tensors_updated);
    let place = expected.nonfinite.map(|place| (place.group, place.tensor, place.element));
    assert_eq!(
        (got.group, got.tensor, got.element),
        place.unwrap_or((usize::MAX, usize::MAX, usize::MAX))
    );
}

fn same(a: f64, b: f64) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

// ---- the reference

fn floats(contents: &Contents, array: &Array) -> Floats {
    let bytes = contents.bytes(array);
    let pairs = || bytes.chunks_exact(2).map(|x| [x[0], x[1]]);
    match array.element {
        Element::Bf16 => Floats::Bf16(pairs().map(bf16::from_ne_bytes).collect()),
        Element::F16 => Floats::F16(pairs().map(f16::from_ne_bytes).collect()),
        _ => Floats::F32(contents.floats(array)),
    }
}

fn bytes(floats: &Floats) -> Vec<u8> {
    match floats {
        Floats::F32(x) => x.iter().flat_map(|x| x.to_ne_bytes()).collect(),
        Floats::Bf16(x) => x.iter().flat_map(|x| x.to_ne_bytes()).collect(),
        Floats::F16(x) => x.iter().flat_map(|x| x.to_ne_bytes()).collect(),
    }
}

/// None if there is none.
fn gradient(contents: &Contents, placed: &Placed) -> Option<Floats> {
    placed.has_gradient.then(|| floats(contents, &placed.arrays[G]))
}

/// A tensor with copies of its arrays.
fn owned(group: &Group, placed: &Placed, contents: &Contents) -> Owned {
    let Types { weight, state, copy, .. } = group.types;
    let is_split = weight == DOWNHILL_TYPE_SPLIT;
    let low = contents.bytes(&placed.arrays[LOW]).chunks_exact(2);
    let states = placed.arrays[STATE..].iter().zip(group.configured.slots());
    let states =
        states.filter(|(_, is_there)| *is_there).map(|(array, _)| floats_or(array, state, contents));
    let is_8bit = state == DOWNHILL_TYPE_8BIT;
    let mut owned = Owned {
        w: floats_or(&placed.arrays[W], if is_split { DOWNHILL_TYPE_BF16 } else { weight }, contents),
        low: is_split.then(|| low.map(|x| i16::from_ne_bytes([x[0], x[1]])).collect()),
        g: gradient(contents, placed),
        state: if is_8bit { Vec::new() } else { states.collect() },
        codes: is_8bit.then(|| contents.bytes(&placed.arrays[STATE]).to_vec()),
        copy: (copy != DOWNHILL_TYPE_NONE && !placed.arrays[COPY].pointer.is_null())
            .then(|| floats_or(&placed.arrays[COPY], copy, contents)),
        t: placed.t,
        first_element: placed.first_element,
    };
    if !placed.has_gradient {
        // Only its length is looked at.
        owned.w = Floats::F32(vec![0.0; placed.n]);
        owned.low = None;
    }
    owned
}

/// The elements of an array, of this type if it has none.
fn floats_or(array: &Array, of: u32, contents: &Contents) -> Floats {
    let mut array = *array;
    array.element = Types::float(of).unwrap_or(array.element);
    floats(contents, &array)
}

fn reference_step(groups: &[Group], extras: &Extras, contents: &mut Contents) -> Report {
    let mut tensors: Vec<Vec<Owned>> = groups
        .iter()
        .map(|group| group.tensors.iter().map(|placed| owned(group, placed, contents)).collect())
        .collect();
    let made: Vec<OwnedGroup> = groups
        .iter()
        .map(|group| OwnedGroup {
            config: group.configured.optimizer.clone().expect("accepted"),
            t: group.t,
            rounding: group.rounding,
            numbering: group.numbering,
            tensors: Vec::new(),
        })
        .collect();
    let report =
        with_groups(&made, &mut tensors, extras.zero_grad, |groups| reference::step(groups, extras));
    for (group, tensors) in groups.iter().zip(&tensors) {
        for (placed, owned) in
            group.tensors.iter().zip(tensors).filter(|(placed, _)| placed.has_gradient)
        {
            store(group, placed, owned, contents);
        }
    }
    report.expect("groups that were accepted")
}

fn store(group: &Group, placed: &Placed, owned: &Owned, contents: &mut Contents) {
    let arrays = &placed.arrays;
    contents.write(&arrays[W], bytes(&owned.w));
    if let Some(g) = &owned.g {
        contents.write(&arrays[G], bytes(g));
    }
    if let Some(low) = &owned.low {
        contents.write(&arrays[LOW], low.iter().flat_map(|x| x.to_ne_bytes()));
    }
    if let Some(copy) = &owned.copy {
        contents.write(&arrays[COPY], bytes(copy));
    }
    if let Some(codes) = &owned.codes {
        contents.write(&arrays[STATE], codes.iter().copied());
    }
    let present = arrays[STATE..].iter().zip(group.configured.slots()).filter(|(_, is_there)| *is_there);
    for ((array, _), state) in present.zip(&owned.state) {
        contents.write(array, bytes(state));
    }
}
