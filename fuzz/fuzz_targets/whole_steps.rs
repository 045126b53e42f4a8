//! The whole step of the C interface, and the sums of squares: groups of any rules and types, tensors of
//! any length and placement, any extras, any number of threads. What it does is what the reference does,
//! or nothing at all and a status that is true.
#![no_main]

use std::{ffi::c_void, ptr, sync::OnceLock};

use arbitrary::{Arbitrary, Unstructured};
use downhill::reference;
use downhill_fuzz::{
    abi::*,
    check::{self, Errors},
    groups::{Group, GroupErrors, List, Placed},
    input::{Choice, Magnitude, Pointer, Size, Values, rarely},
    memory::{Array, Kind, MOST, Memory, bytes_of},
};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Call {
    extras: Option<Extras>,
    report: Option<Structure>,
    pool: u8,
    sums: Pointer,
    list: List,
    groups: Vec<Group>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
struct Structure {
    size: Size,
    pointer: Pointer,
}

#[derive(Arbitrary, Debug)]
struct Extras {
    structure: Structure,
    flags: Choice,
    scale: Magnitude,
    is_negative: bool,
    max_norm: Magnitude,
    norm_squared: Magnitude,
    #[arbitrary(with = rarely)]
    is_unasked: Option<()>,
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Unstructured::new(bytes);
    if let Ok(call) = Call::arbitrary(&mut input) {
        run(&call, &mut Values::new(input));
    }
});

fn run(call: &Call, values: &mut Values) {
    let tensors = || call.groups.iter().flat_map(|group| &group.tensors);
    if tensors().map(|tensor| tensor.n).filter(|&n| n <= MOST).sum::<usize>() > MOST {
        return;
    }
    let mut memory = Memory::new(values);
    let mut errors = GroupErrors::default();
    let groups: Vec<Placed> =
        call.groups.iter().map(|group| group.put(&mut memory, values, &mut errors)).collect();
    let list = put_list(call, &groups, &mut memory, &mut errors.sums);
    errors.step.extend(&errors.sums);
    let pool = pool(call.pool);
    let case = Case { call, groups, list, pool };
    case.sums(&mut memory, errors.sums);
    case.step(&mut memory, errors.step);
}

/// The groups' own structures. Without groups nothing is looked at.
fn put_list(call: &Call, groups: &[Placed], memory: &mut Memory, errors: &mut Errors) -> Array {
    let size = size_of::<downhill_group>();
    let mut list_errors = Errors::new();
    let structures = groups.iter().zip(&call.groups).enumerate().map(|(k, (placed, group))| {
        let other = group.other_size.filter(|_| k > 0).map(|other| u32::from(other) % size as u32);
        if other.is_some() {
            list_errors.insert(DOWNHILL_STATUS_INVALID_CONFIG);
        }
        placed.structure(other.unwrap_or(call.list.size.of(size)))
    });
    let structures = structures.collect();
    let list = call.list.put(structures, size, memory, &mut list_errors);
    if !groups.is_empty() {
        errors.append(&mut list_errors);
    }
    list
}

/// Nobody but the caller, or a pool that stays.
fn pool(choice: u8) -> *mut downhill_pool {
    static POOLS: OnceLock<[usize; 4]> = OnceLock::new();
    let pools = POOLS.get_or_init(|| {
        // SAFETY: they take any number, and the function has no context.
        let foreign = unsafe { downhill_pool_from(3, Some(one_after_another), ptr::null_mut()) };
        // SAFETY: the same.
        let [two, three, four] = [2, 3, 4].map(|threads| unsafe { downhill_pool_new(threads) });
        [foreign, two, three, four].map(<*mut downhill_pool>::expose_provenance)
    });
    match choice % 8 {
        0..4 => ptr::null_mut(),
        choice => ptr::with_exposed_provenance_mut(pools[usize::from(choice) - 4]),
    }
}

unsafe extern "C" fn one_after_another(
    _: *mut c_void,
    parts: usize,
    body: Option<unsafe extern "C" fn(*mut c_void)>,
    job: *mut c_void,
) {
    // SAFETY: the library says that it may be called any number of times.
    (0..parts).for_each(|_| unsafe { body.expect("a function")(job) });
}

/// Everything in its place for a call.
struct Case<'a> {
    call: &'a Call,
    groups: Vec<Placed>,
    list: Array,
    pool: *mut downhill_pool,
}

impl Case<'_> {
    fn count(&self) -> usize {
        self.call.list.count(self.groups.len(), size_of::<downhill_group>())
    }

    fn sums(&self, memory: &mut Memory, mut errors: Errors) {
        let count: usize = self.call.groups.iter().map(|group| group.tensors.len()).sum();
        let sums = memory.put(&vec![1; 8 * count], self.call.sums).of(Kind::F64);
        let gradients: Vec<Array> = self.groups.iter().flat_map(Placed::gradients).collect();
        if count > 0 {
            check::pointer(self.call.sums, &mut errors);
        }
        let lists = self.groups.iter().map(|group| group.list).chain([self.list]);
        let read: Vec<Array> = lists.chain(gradients.iter().copied()).collect();
        check::overlaps(&[sums], &read, &mut errors);
        if errors.is_empty() && !gradients.iter().all(Array::is_there) {
            return; // The caller promises memory.
        }

        let mut expected = memory.clone();
        // SAFETY: all gradients are there, or the call is to fail; lists and sums have their pointers.
        let status = unsafe {
            let groups = self.list.pointer.cast();
            downhill_grad_squares(self.count(), groups, self.pool, sums.pointer.cast())
        };
        check::status(status, &errors);
        if status == DOWNHILL_STATUS_OK {
            let squares = self.groups.iter().flat_map(|group| group.squares(memory));
            expected.write(sums, &squares.flat_map(f64::to_ne_bytes).collect::<Vec<u8>>());
        }
        memory.check(&expected, &[sums]);
    }

    fn step(&self, memory: &mut Memory, mut errors: Errors) {
        let (extras, told) = extras(self.call, memory, &mut errors);
        let report = report(self.call, memory, &mut errors);
        let told = downhill::Extras { grad_norm: !report.pointer.is_null(), ..told };
        let gradients = self.groups.iter().flat_map(Placed::gradients);
        let arrays = self.groups.iter().flat_map(Placed::written);
        let structures = self.groups.iter().flat_map(|group| [group.config, group.list]);
        let rows = self.groups.iter().flat_map(Placed::rows);
        let mut read: Vec<Array> = structures.chain([extras, self.list]).chain(rows).collect();
        let mut written: Vec<Array> = arrays.chain([report]).collect();
        (if told.zero_grad { &mut written } else { &mut read }).extend(gradients);
        check::overlaps(&written, &read, &mut errors);
        if !self.groups.iter().all(Placed::has_lists) {
            return; // The caller promises memory.
        }
        // SAFETY: they are there.
        self.groups.iter().for_each(|group| unsafe { group.check_lists(memory, &mut errors) });
        if errors.is_empty() && !read.iter().chain(&written).all(Array::is_there) {
            return; // The same.
        }

        let mut expected = memory.clone();
        if errors.is_empty() {
            let done = self.reference(&expected, &told);
            if done.skipped {
                errors.insert(DOWNHILL_STATUS_SKIPPED);
            }
            tell(&done, report, &mut expected);
        }
        // SAFETY: all arrays are there, or the call is to fail before it looks at any; every structure
        // is as long as it says; nobody else is here.
        let status = unsafe {
            let (groups, extras) = (self.list.pointer.cast(), extras.pointer.cast());
            downhill_step(self.count(), groups, extras, self.pool, report.pointer.cast())
        };
        check::status(status, &errors);
        memory.check(&expected, &written);
    }

    /// The step by the reference in this memory, of a call that has no errors.
    fn reference(&self, memory: &Memory, extras: &downhill::Extras) -> downhill::Report {
        // SAFETY: all arrays are there, aligned and apart.
        let tensors = |group: &Placed| unsafe { group.tensors(memory, extras.zero_grad) };
        let mut lists: Vec<_> = self.groups.iter().map(tensors).collect();
        let groups = self.groups.iter().zip(&mut lists);
        let mut groups: Vec<_> = groups.map(|(group, list)| group.group(list)).collect();
        reference::step(&mut groups, extras).expect("a call without errors")
    }
}

/// The extras in memory, and in Rust.
fn extras(call: &Call, memory: &mut Memory, errors: &mut Errors) -> (Array, downhill::Extras) {
    let nothing = downhill::Extras::default();
    let Some(extras) = call.extras.as_ref().filter(|extras| !extras.structure.is_null()) else {
        return (Array::NULL, nothing);
    };
    let flags = extras.flags.below(8);
    let is_given = flags & DOWNHILL_EXTRAS_NORM_GIVEN != 0;
    let is_passed = is_given || extras.is_unasked.is_some();
    let norm_squared = if is_passed { extras.norm_squared.0 } else { 0.0 };
    let told = downhill::Extras {
        grad_scale: if extras.is_negative { -extras.scale.0 } else { extras.scale.0 },
        max_norm: extras.max_norm.0,
        zero_grad: flags & DOWNHILL_EXTRAS_ZERO_GRAD != 0,
        skip_nonfinite: flags & DOWNHILL_EXTRAS_SKIP_NONFINITE != 0,
        norm_squared: is_given.then_some(norm_squared),
        ..nothing
    };
    let is_refused = reference::step(&mut [], &told).is_err();
    if flags >= 8 || is_refused || !(is_given || norm_squared == 0.0) {
        errors.insert(DOWNHILL_STATUS_INVALID_CONFIG);
    }
    let (grad_scale, max_norm) = (told.grad_scale, told.max_norm);
    let c = downhill_extras { struct_size: 0, flags, grad_scale, max_norm, norm_squared };
    (extras.structure.put(bytes_of(&c), memory, errors), told)
}

/// Where the report is to go.
fn report(call: &Call, memory: &mut Memory, errors: &mut Errors) -> Array {
    match call.report.filter(|structure| !structure.is_null()) {
        Some(structure) => {
            structure.put(vec![1; size_of::<downhill_report>()], memory, errors).of(Kind::F64)
        }
        None => Array::NULL,
    }
}

impl Structure {
    fn is_null(self) -> bool {
        matches!(self.pointer, Pointer::Null)
    }

    fn put(self, bytes: Vec<u8>, memory: &mut Memory, errors: &mut Errors) -> Array {
        check::structure(bytes, self.size, 4, self.pointer, memory, errors)
    }
}

/// Writes what a report is to say, behind its size.
fn tell(done: &downhill::Report, report: Array, memory: &mut Memory) {
    let place = |of: fn(downhill::NonFinite) -> usize| done.nonfinite.map_or(usize::MAX, of);
    let c = downhill_report {
        struct_size: 0,
        skipped: done.skipped.into(),
        grad_norm: done.grad_norm.unwrap_or(0.0),
        applied_scale: done.applied_scale,
        tensors_updated: done.tensors_updated,
        group: place(|nonfinite| nonfinite.group),
        tensor: place(|nonfinite| nonfinite.tensor),
        element: place(|nonfinite| nonfinite.element),
    };
    memory.write(report, &bytes_of(&c)[4..]);
}
