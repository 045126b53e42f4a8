//! The whole step: groups of tensors of any types, threads, norm, clip, skip, zero.

use std::slice;

use super::{
    arrays::{check_pointer, sized},
    boundary,
    group::{CTensors, Group, Groups, Read, array_mut, downhill_group},
    overlap::{Array, Extents, Placed},
    pool::{downhill_pool, threads},
    read::{check_structure, invalid, read_structure},
    status::*,
};
use downhill::{
    Extras, Isa, NonFinite, Report, Threads,
    abi::{Sizes, check_extras, each_sum, step_checked, with_room},
};

/// A flag of downhill_extras: set the gradients to zero after the step, unless it is skipped.
pub const DOWNHILL_EXTRAS_ZERO_GRAD: u32 = 1;
/// A flag of downhill_extras: if any gradient is NaN or infinite, or may become infinite when it is
/// scaled (the norm times what gradients are to be multiplied by is beyond the largest float), change
/// nothing at all, gradients included, and return DOWNHILL_STATUS_SKIPPED.
///
/// A skipped step is not counted: the next call has the same t. If it were, Adam's bias correction would
/// assume steps that its moments have not seen: after three skips its first step would be 0.58 times what
/// it should be.
///
/// It does not see a finite gradient whose square overflows, 5.8e20 for Adam's (1-beta2)*g*g and 1.8e19
/// for g*g alone: that makes v infinite, and its weight never moves again. max_norm prevents it.
pub const DOWNHILL_EXTRAS_SKIP_NONFINITE: u32 = 2;
/// A flag of downhill_extras: norm_squared is given, because this call has only a part of the gradients.
pub const DOWNHILL_EXTRAS_NORM_GIVEN: u32 = 4;

const FLAGS: u32 =
    DOWNHILL_EXTRAS_ZERO_GRAD | DOWNHILL_EXTRAS_SKIP_NONFINITE | DOWNHILL_EXTRAS_NORM_GIVEN;

/// What a whole step does beside the update. Start from downhill_extras_default().
#[repr(C)]
#[derive(Clone, Copy)]
pub struct downhill_extras {
    /// sizeof(downhill_extras)
    pub struct_size: u32,
    /// DOWNHILL_EXTRAS_..., any of them, combined with |. Default 0.
    pub flags: u32,
    /// What gradients are multiplied by: the inverse of a loss scale, one over a number of samples, -1
    /// to maximize. Finite. Default 1.
    pub grad_scale: f64,
    /// The norm of all scaled gradients together above which they are scaled down to it, finite and >=
    /// 0. Default 0: no clipping. A norm that is NaN makes all weights NaN; with an infinite
    /// one finite gradients become 0 and infinite ones NaN. DOWNHILL_EXTRAS_SKIP_NONFINITE prevents both.
    pub max_norm: f64,
    /// With DOWNHILL_EXTRAS_NORM_GIVEN the sum of the squares of all gradients, before grad_scale: what
    /// downhill_grad_squares() gives, added from left to right. NaN and infinity mean that a gradient is
    /// not finite. Else 0.
    pub norm_squared: f64,
}

/// What a whole step did. Written if the status is DOWNHILL_STATUS_OK or DOWNHILL_STATUS_SKIPPED. For
/// the norm the gradients are read once more, if nothing else needs it. Start from
/// downhill_report_default().
#[repr(C)]
#[derive(Clone, Copy)]
pub struct downhill_report {
    /// sizeof(downhill_report)
    pub struct_size: u32,
    /// 1 if the step was skipped, else 0.
    pub skipped: u32,
    /// The norm of all scaled gradients together, before clipping.
    pub grad_norm: f64,
    /// What the gradients were multiplied by: grad_scale times the clipping factor, rounded to float. 0
    /// if the step was skipped.
    pub applied_scale: f64,
    /// How many tensors were updated: those that have a gradient, or none.
    pub tensors_updated: usize,
    /// If the step was skipped: the first element of a gradient of this call that is not finite.
    /// SIZE_MAX, all three, if there is none.
    pub group: usize,
    pub tensor: usize,
    pub element: usize,
}

/// One whole training step: for every tensor of every group the formula of its rule's plain step, bit by
/// bit, with g*s in place of g. What is not float is widened to it, exactly, before and rounded after. s
/// is grad_scale*min(1, max_norm/(norm + 1e-6)), rounded to float, and norm that of all scaled gradients
/// of all groups together; with s = 1 there is no multiplication.
///
/// No result depends on the pool. Which tensors are stepped together affects only the norm
/// (DOWNHILL_EXTRAS_NORM_GIVEN) and random rounding (DOWNHILL_NUMBERING_GIVEN).
///
/// @param group_count  number of groups
/// @param groups       the groups
/// @param extras       what else is done, or NULL: nothing
/// @param pool         who works, or NULL: this thread
/// @param report       what was done is written here, or NULL
/// @return DOWNHILL_STATUS_OK, _SKIPPED; or as for plain steps, _OUT_OF_MEMORY, too. The first
///         error is told, in this order: extras, report, each group with its tensors, overlap
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_step(
    group_count: usize,
    groups: *const downhill_group,
    extras: *const downhill_extras,
    pool: *mut downhill_pool,
    report: *mut downhill_report,
) -> downhill_status {
    boundary::call_sharing(!pool.is_null(), || {
        // SAFETY: the C caller keeps the preconditions at the top of the header.
        unsafe {
            let structures =
                [of_structure("extras", extras, false), of_structure("report", report, true)];
            let (extras, report) = (read_extras(extras)?, checked_report(report)?);
            let extras = Extras { grad_norm: report.is_some(), ..extras };
            let groups = Groups::new(group_count, groups)?;
            let done = step(groups, &extras, threads(pool), structures)?;
            if let Some(report) = report {
                tell(report, &done);
            }
            if done.skipped { Err(skipped(&done, extras.grad_scale)) } else { Ok(()) }
        }
    })
}

/// The memory of a structure that may be NULL.
fn of_structure<S>(name: &'static str, structure: *const S, is_written: bool) -> Array {
    let bytes = if structure.is_null() { 0 } else { size_of::<S>() };
    Array { name, start: structure.addr(), bytes, is_written }
}

/// # Safety
/// `extras` is NULL, or what the header says.
unsafe fn read_extras(extras: *const downhill_extras) -> Result<Extras, Failure> {
    if extras.is_null() {
        return Ok(Extras::default());
    }
    check_structure("extras", extras)?;
    // SAFETY: checked; the rest is this function's contract.
    let extras = unsafe { read_structure("extras", extras)? };
    let downhill_extras { flags, grad_scale, max_norm, norm_squared, .. } = extras;
    if flags & !FLAGS != 0 {
        return Err(invalid(format!(
            "`flags` is {flags:#x}; it must be made of DOWNHILL_EXTRAS_..., at most {FLAGS:#x}"
        )));
    }
    let is_given = flags & DOWNHILL_EXTRAS_NORM_GIVEN != 0;
    if !is_given && norm_squared != 0.0 {
        return Err(invalid(format!(
            "`norm_squared` is {norm_squared}; it must be 0 without DOWNHILL_EXTRAS_NORM_GIVEN"
        )));
    }
    let extras = Extras {
        grad_scale,
        max_norm,
        zero_grad: flags & DOWNHILL_EXTRAS_ZERO_GRAD != 0,
        skip_nonfinite: flags & DOWNHILL_EXTRAS_SKIP_NONFINITE != 0,
        grad_norm: false,
        norm_squared: is_given.then_some(norm_squared),
    };
    check_extras(&extras)?;
    Ok(extras)
}

/// # Safety
/// `report` is NULL, or what the header says.
unsafe fn checked_report<'a>(
    report: *mut downhill_report,
) -> Result<Option<&'a mut downhill_report>, Failure> {
    if report.is_null() {
        return Ok(None);
    }
    check_structure("report", report)?;
    // SAFETY: checked; the rest is this function's contract.
    unsafe {
        read_structure("report", report)?;
        Ok(Some(&mut *report))
    }
}

fn tell(report: &mut downhill_report, done: &Report) {
    let place = |of: fn(NonFinite) -> usize| done.nonfinite.map_or(usize::MAX, of);
    report.skipped = done.skipped.into();
    // There always is a norm if there is a report.
    report.grad_norm = done.grad_norm.unwrap_or(f64::NAN);
    report.applied_scale = done.applied_scale;
    report.tensors_updated = done.tensors_updated;
    report.group = place(|place| place.group);
    report.tensor = place(|place| place.tensor);
    report.element = place(|place| place.element);
}

#[cold]
fn skipped(done: &Report, grad_scale: f64) -> Failure {
    let norm = done.grad_norm.unwrap_or(f64::NAN);
    let message = match done.nonfinite {
        Some(NonFinite { group, tensor, element, value, .. }) => format!(
            "group {group}: tensor {tensor}: `g` is {value} at element {element}; the step was skipped"
        ),
        None => format!(
            "`grad_scale` is {grad_scale} and the norm of the scaled gradients {norm}: one of them is not finite or could \
             become infinite; the step was skipped"
        ),
    };
    Failure::new(DOWNHILL_STATUS_SKIPPED, message)
}

/// Checks the groups and makes the step.
///
/// # Safety
/// The preconditions at the top of the header.
unsafe fn step(
    list: Groups,
    extras: &Extras,
    threads: Threads<'_>,
    structures: [Array; 2],
) -> Result<Report, Failure> {
    let what = Read::Everything { zero_grad: extras.zero_grad };
    let isa = Isa::current()?;
    // SAFETY: this function's contract.
    unsafe {
        with_checked(
            list,
            what,
            |_| Ok(structures),
            |groups, sizes| {
                with_rust(groups, |groups| Ok(step_checked(isa, groups, extras, threads, &sizes)))
            },
        )
    }
}

/// Reads and checks all groups, and calls `f` with them. `others` are structures that are apart from all of
/// theirs. One group alone needs no list of groups.
///
/// # Safety
/// The preconditions at the top of the header.
unsafe fn with_checked<T>(
    list: Groups,
    what: Read,
    others: impl FnOnce(&[Group]) -> Result<[Array; 2], Failure>,
    f: impl FnOnce(&[Group], Sizes) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let (mut sizes, mut extents) = (Sizes::default(), Extents::EMPTY);
    let mut checked = |index, group: &mut Group| {
        // SAFETY: this function's contract.
        let checked = unsafe {
            list.read(index, what, group).and_then(|()| group.check(&mut sizes, &mut extents))
        };
        checked.map_err(|failure| failure.of_group(index))
    };
    if list.len() == 1 {
        let mut group = Group::UNREAD;
        checked(0, &mut group)?;
        let [config, tensors] = group.structures();
        let [one, other] = others(slice::from_ref(&group))?;
        check_apart(&extents, &[one, other, list.array(), config, tensors], slice::from_ref(&group))?;
        return f(slice::from_ref(&group), sizes);
    }
    let mut groups = with_room(list.len()).ok_or(Failure::OUT_OF_MEMORY)?;
    groups.resize(list.len(), Group::UNREAD);
    for (index, group) in groups.iter_mut().enumerate() {
        checked(index, group)?;
    }
    let mut structures = with_room(3 + 2 * groups.len()).ok_or(Failure::OUT_OF_MEMORY)?;
    structures.extend(others(&groups)?);
    structures.push(list.array());
    structures.extend(groups.iter().flat_map(Group::structures));
    check_apart(&extents, &structures, &groups)?;
    f(&groups, sizes)
}

fn check_apart(extents: &Extents, structures: &[Array], groups: &[Group]) -> Result<(), Failure> {
    extents.check(structures, &mut |f: &mut dyn FnMut(Placed)| {
        for (index, group) in groups.iter().enumerate() {
            group.each_array(index, f);
        }
    })
}

/// Calls `f` with the groups as those of Rust.
///
/// # Safety
/// The groups were checked.
unsafe fn with_rust<T>(
    groups: &[Group],
    f: impl FnOnce(&mut [downhill::Group<'_, '_>]) -> Result<T, Failure>,
) -> Result<T, Failure> {
    // SAFETY: this function's contract.
    let tensors = |group| unsafe { CTensors::new(group) };
    if let [group] = groups {
        return f(&mut [made(group, &mut tensors(group))]);
    }
    let mut lists = with_room(groups.len()).ok_or(Failure::OUT_OF_MEMORY)?;
    lists.extend(groups.iter().map(tensors));
    let mut all = with_room(groups.len()).ok_or(Failure::OUT_OF_MEMORY)?;
    all.extend(groups.iter().zip(&mut lists).map(|(group, list)| made(group, list)));
    f(&mut all)
}

/// A group of C as one of Rust.
fn made<'a, 'b>(group: &'a Group, tensors: &'a mut CTensors<'_>) -> downhill::Group<'a, 'b> {
    let mut made = downhill::Group::foreign(group.optimizer(), group.t, tensors);
    (made.rounding, made.numbering) = (group.rounding, group.numbering);
    [made.clamp_low, made.clamp_high] = group.clamp;
    made
}

/// The sum of the squares of each tensor's gradient, in double, in the order of groups and tensors; 0
/// for one without a gradient. Whoever steps whole tensors in pieces, layer by layer or rank by rank,
/// gathers these sums, adds them from left to right and passes the total to each downhill_step() as
/// norm_squared: the bits are those of one call. (A tensor that is itself cut over ranks has another
/// total in its last bits; what counts is that every rank passes the same one.) NaN and infinity are no
/// error.
///
/// The order of additions: within a block of 4,096 elements, counted from each gradient's start, element
/// i goes to sum i mod 32; the 32 are added pairwise (neighbours, then neighbouring pairs, ...); the
/// blocks of a tensor in order.
///
/// @param group_count  number of groups
/// @param groups       the groups, of which the sizes, gradient_type, count and tensors are read, and of
///                     tensors n and g and, for how long g is, row_count and row_length
/// @param pool         who works, or NULL: this thread
/// @param sums         as many as there are tensors in all groups, written
/// @return as downhill_step()
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_grad_squares(
    group_count: usize,
    groups: *const downhill_group,
    pool: *mut downhill_pool,
    sums: *mut f64,
) -> downhill_status {
    boundary::call_sharing(!pool.is_null(), || {
        // SAFETY: the C caller keeps the preconditions at the top of the header.
        unsafe {
            let nothing = Array::read("", 0, 0);
            let list = Groups::new(group_count, groups)?;
            let count = |groups: &[Group]| groups.iter().map(Group::len).sum();
            let others = |groups: &[Group]| match count(groups) {
                0 => Ok([nothing, nothing]),
                count => {
                    let bytes = sized("count", count, size_of::<f64>())?;
                    check_pointer(("sums", sums), bytes)?;
                    let written = Array { name: "sums", start: sums.addr(), bytes, is_written: true };
                    Ok([written, nothing])
                }
            };
            let isa = Isa::current()?;
            with_checked(list, Read::Gradients, others, |groups, _| {
                let mut places = array_mut(sums, count(groups)).iter_mut();
                with_rust(groups, |groups| {
                    each_sum(isa, groups, threads(pool), &mut |sum| {
                        *places.next().expect("as many as tensors") = sum;
                    });
                    Ok(())
                })
            })
        }
    })
}
