//! Whole steps: many tensors, threads, norm, clip, skip, zero.

use super::{
    arrays::check_pointer,
    boundary,
    pool::{downhill_pool, threads},
    read::{check_structure, invalid, read_structure},
    rules::{
        self, CRule, adadelta::*, adagrad::*, adam::*, adamax::*, lion::*, momentum::*, nadam::*,
        nesterov::*, rmsprop::*, sgd::*,
    },
    status::*,
    tensors::{gradients, list, slices},
};
use downhill::{
    Adadelta, Adagrad, Adam, Adamax, Adamw, Amsgrad, Extras, Isa, Lion, Momentum, Nadam, Nesterov,
    NonFinite, Report, RmspropForm, Sgd,
    abi::{Configuration, sum_of_squares},
    step_many,
};

/// A flag of downhill_extras: set the gradients to zero after the step, unless it is skipped.
pub const DOWNHILL_ZERO_GRAD: u32 = 1;
/// A flag of downhill_extras: if any gradient is NaN or infinite, or may become infinite when it is scaled (the norm times
/// what gradients are to be multiplied by is beyond the largest float), change nothing at all and return
/// DOWNHILL_STATUS_SKIPPED. The gradients are not set to zero then, not even with DOWNHILL_ZERO_GRAD.
///
/// A skipped step is not counted: the next call has the same t. If it were, Adam's bias correction would be for steps
/// that its moments have not seen, and after three skips its first step 0.58 of what it should be.
///
/// It does not see a finite gradient whose square overflows, 5.8e20 for Adam's (1-beta2)*g*g and 1.8e19 for Adagrad's
/// g*g: that makes v infinite, and its weight never moves again. max_norm prevents it.
pub const DOWNHILL_SKIP_NONFINITE: u32 = 2;

/// What a step over many tensors does besides the update. Start from downhill_extras_default().
#[repr(C)]
#[derive(Clone, Copy)]
pub struct downhill_extras {
    /// sizeof(downhill_extras), set by downhill_extras_default().
    pub struct_size: u32,
    /// DOWNHILL_ZERO_GRAD, DOWNHILL_SKIP_NONFINITE, both (with |) or none. Default 0.
    pub flags: u32,
    /// What gradients are multiplied by: the inverse of a loss scale, one over a number of samples, -1 to
    /// maximize. Finite. Default 1.
    pub grad_scale: f64,
    /// The norm of all scaled gradients together above which they are scaled down to it, finite and >= 0.
    /// Default 0: no clipping. A norm that is NaN makes all weights NaN, and an infinite one multiplies all
    /// gradients by 0, if DOWNHILL_SKIP_NONFINITE does not prevent it.
    pub max_norm: f64,
}

impl downhill_extras {
    fn decode(self) -> Result<Extras, Failure> {
        let Self { flags, grad_scale, max_norm, .. } = self;
        let known = DOWNHILL_ZERO_GRAD | DOWNHILL_SKIP_NONFINITE;
        if flags & !known != 0 {
            return Err(invalid(format!(
                "`flags` is {flags:#x}; it has bits that are not of {known:#x}"
            )));
        }
        let zero_grad = flags & DOWNHILL_ZERO_GRAD != 0;
        let skip_nonfinite = flags & DOWNHILL_SKIP_NONFINITE != 0;
        Ok(Extras { grad_scale, max_norm, zero_grad, skip_nonfinite, grad_norm: false })
    }
}

/// The arrays of one tensor. All have n elements; with n = 0 the pointers may be anything.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct downhill_tensor {
    /// Number of elements.
    pub n: usize,
    /// Weights, updated.
    pub w: *mut f32,
    /// Gradient; written only with DOWNHILL_ZERO_GRAD.
    pub g: *mut f32,
    /// States, updated, in the order of the rule's own step function; zeros before the first step. What
    /// the rule does not have is not looked at.
    pub state: [*mut f32; 3],
}

/// What a whole step did. Written if the status is DOWNHILL_STATUS_OK or DOWNHILL_STATUS_SKIPPED. For the
/// norm the gradients are read once more, if no extra does so anyway.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct downhill_report {
    /// The norm of all scaled gradients together, before clipping: |grad_scale| times what
    /// downhill_grad_norm() gives.
    pub grad_norm: f64,
    /// What the gradients were multiplied by: grad_scale times the clipping factor, rounded to float. 0 if
    /// the step was skipped.
    pub applied_scale: f64,
    /// 1 if the step was skipped, else 0. A skipped step is not counted: the next call has the same t.
    pub skipped: u32,
}

/// What the functions below take besides the rule's own configuration.
#[derive(Clone, Copy)]
pub(super) struct Whole {
    pub t: u64,
    pub extras: *const downhill_extras,
    pub pool: *const downhill_pool,
    pub report: *mut downhill_report,
}

/// A whole step of any rule whose states stand at `slots` of a tensor's `state`; `rule` to choose among the
/// rules that one configuration serves.
///
/// # Safety
/// The preconditions at the top of the header.
unsafe fn many<C: CRule, R: Configuration<N>, const N: usize>(
    list: &[downhill_tensor],
    slots: [usize; N],
    config: *const C::Config,
    whole: Whole,
    rule: impl FnOnce(C) -> R,
) -> Result<(), Failure> {
    let Whole { t, extras, pool, report } = whole;
    // SAFETY: the caller promises what `read`, `slices` and `threads` ask for.
    let (config, mut tensors, threads) =
        unsafe { (rules::read::<C>(config)?, slices::<R, N>(list, slots)?, threads(pool)) };
    // SAFETY: the caller promises it.
    let extras = unsafe { checked_extras(extras, report)? };
    let done = step_many(&rule(config), &mut tensors, t, &extras, threads)?;
    // SAFETY: checked above; valid for writing by this function's contract.
    unsafe { tell(done, extras.grad_scale, report) }
}

/// The extras of a step that is to be reported on.
///
/// # Safety
/// `extras` is NULL or what [`read_structure`] asks for.
pub(super) unsafe fn checked_extras(
    extras: *const downhill_extras,
    report: *const downhill_report,
) -> Result<Extras, Failure> {
    let extras = if extras.is_null() {
        Extras::default()
    } else {
        check_structure("extras", extras)?;
        // SAFETY: not NULL and aligned, checked above; the rest is this function's contract.
        unsafe { read_structure("extras", extras) }?.decode()?
    };
    if !report.is_null() {
        check_pointer(("report", report), size_of::<downhill_report>())?;
    }
    Ok(Extras { grad_norm: !report.is_null(), ..extras })
}

/// Writes what was done, and says if the step was skipped.
///
/// # Safety
/// `report` is NULL, or passed [`checked_extras`] and is valid for writing.
pub(super) unsafe fn tell(
    done: Report,
    grad_scale: f64,
    report: *mut downhill_report,
) -> Result<(), Failure> {
    if !report.is_null() {
        // SAFETY: this function's contract.
        unsafe { report.write(done.into()) };
    }
    if done.skipped { Err(skipped(done, grad_scale)) } else { Ok(()) }
}

impl From<Report> for downhill_report {
    fn from(Report { grad_norm, applied_scale, skipped, .. }: Report) -> Self {
        // There always is a norm if there is a report.
        let grad_norm = grad_norm.unwrap_or(f64::NAN);
        Self { grad_norm, applied_scale, skipped: skipped.into() }
    }
}

#[cold]
fn skipped(done: Report, grad_scale: f64) -> Failure {
    let norm = done.grad_norm.unwrap_or(f64::NAN);
    let message = match done.nonfinite {
        Some(NonFinite { tensor, element, value }) => {
            format!("tensor {tensor}: `g` is {value} at element {element}; the step was skipped")
        }
        None => format!(
            "`grad_scale` is {grad_scale} and the norm of the scaled gradients {norm}: one of them could become infinite; \
             the step was skipped"
        ),
    };
    Failure::new(DOWNHILL_STATUS_SKIPPED, message)
}

/// The same for a rule whose states stand one after another.
///
/// # Safety
/// The preconditions at the top of the header.
pub(super) unsafe fn many_in_order<C: CRule, R: Configuration<N>, const N: usize>(
    count: usize,
    tensors: *const downhill_tensor,
    config: *const C::Config,
    whole: Whole,
    rule: impl FnOnce(C) -> R,
) -> downhill_status {
    boundary::call_uncancelled(|| {
        // SAFETY: the C caller keeps the preconditions at the top of the header.
        unsafe { many(list(count, tensors)?, std::array::from_fn(|k| k), config, whole, rule) }
    })
}

/// The Euclidean norm of all gradients together, in double. It is infinite or NaN if and only if an element
/// is. The order of additions is fixed, so that the bits do not depend on pool or instruction set: within a
/// block of 4096 elements, counted from each gradient's start, element i is added to sum i mod 32; the 32
/// sums are added pairwise (neighbours, then neighbouring pairs, ...); the blocks of the first gradient are
/// added up in order, then those of the second, and so on.
///
/// @param count    number of tensors
/// @param tensors  the tensors, of which n and g are looked at
/// @param pool     who works, or NULL: this thread
/// @param norm     where the norm is written
/// @return DOWNHILL_STATUS_OK; or _NULL_POINTER, _MISALIGNED, _INVALID_LENGTH, _INVALID_CONFIG (DOWNHILL_ISA),
///         _OUT_OF_MEMORY, as the introduction says; _PANIC
///
/// Threads: any number at once, also with one pool and on the same gradients. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_grad_norm(
    count: usize,
    tensors: *const downhill_tensor,
    pool: *mut downhill_pool,
    norm: *mut f64,
) -> downhill_status {
    boundary::call_uncancelled(|| {
        check_pointer(("norm", norm.cast_const()), size_of::<f64>())?;
        // SAFETY: the C caller keeps the preconditions at the top of the header.
        let (gradients, threads) = unsafe { (gradients(list(count, tensors)?)?, threads(pool)) };
        let sum = sum_of_squares(Isa::current()?, gradients.len(), &|i| gradients[i], threads);
        // SAFETY: not NULL and aligned, checked above; valid for writing, as the C caller promises.
        unsafe { norm.write(sum.sqrt()) };
        Ok(())
    })
}

/// The formula of downhill_sgd_step() for every element of every tensor, with g*s in place of g. Without extras
/// s is 1; the introduction says what it is with them, and what they do besides.
///
/// @param count    number of tensors
/// @param tensors  the tensors; state is not looked at
/// @param config   hyper-parameters, as from downhill_sgd_default()
/// @param extras   what is done besides, as from downhill_extras_default(), or NULL: nothing
/// @param pool     who works, or NULL: this thread
/// @param report   what was done is written here, or NULL
/// @return DOWNHILL_STATUS_OK, _SKIPPED; or _NULL_POINTER, _MISALIGNED, _OVERLAP, _INVALID_LENGTH,
///         _INVALID_CONFIG, _OUT_OF_MEMORY, as the introduction says; _PANIC
///
/// Threads: any number at once, also with one pool, on different arrays. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_sgd_step_many(
    count: usize,
    tensors: *const downhill_tensor,
    config: *const downhill_sgd,
    extras: *const downhill_extras,
    pool: *mut downhill_pool,
    report: *mut downhill_report,
) -> downhill_status {
    let whole = Whole { t: 1, extras, pool, report };
    // SAFETY: the C caller keeps the preconditions at the top of the header.
    unsafe { many_in_order(count, tensors, config, whole, |rule: Sgd| rule) }
}

/// The formula of downhill_momentum_step() for every element of every tensor, with g*s in place of g. Without extras
/// s is 1; the introduction says what it is with them, and what they do besides.
///
/// @param count    number of tensors
/// @param tensors  the tensors; state: u
/// @param config   hyper-parameters, as from downhill_momentum_default()
/// @param extras   what is done besides, as from downhill_extras_default(), or NULL: nothing
/// @param pool     who works, or NULL: this thread
/// @param report   what was done is written here, or NULL
/// @return DOWNHILL_STATUS_OK, _SKIPPED; or _NULL_POINTER, _MISALIGNED, _OVERLAP, _INVALID_LENGTH,
///         _INVALID_CONFIG, _OUT_OF_MEMORY, as the introduction says; _PANIC
///
/// Threads: any number at once, also with one pool, on different arrays. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_momentum_step_many(
    count: usize,
    tensors: *const downhill_tensor,
    config: *const downhill_momentum,
    extras: *const downhill_extras,
    pool: *mut downhill_pool,
    report: *mut downhill_report,
) -> downhill_status {
    let whole = Whole { t: 1, extras, pool, report };
    // SAFETY: the C caller keeps the preconditions at the top of the header.
    unsafe { many_in_order(count, tensors, config, whole, |rule: Momentum| rule) }
}

/// The formula of downhill_nesterov_step() for every element of every tensor, with g*s in place of g. Without extras
/// s is 1; the introduction says what it is with them, and what they do besides.
///
/// @param count    number of tensors
/// @param tensors  the tensors; state: u
/// @param config   hyper-parameters, as from downhill_nesterov_default()
/// @param extras   what is done besides, as from downhill_extras_default(), or NULL: nothing
/// @param pool     who works, or NULL: this thread
/// @param report   what was done is written here, or NULL
/// @return DOWNHILL_STATUS_OK, _SKIPPED; or _NULL_POINTER, _MISALIGNED, _OVERLAP, _INVALID_LENGTH,
///         _INVALID_CONFIG, _OUT_OF_MEMORY, as the introduction says; _PANIC
///
/// Threads: any number at once, also with one pool, on different arrays. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_nesterov_step_many(
    count: usize,
    tensors: *const downhill_tensor,
    config: *const downhill_nesterov,
    extras: *const downhill_extras,
    pool: *mut downhill_pool,
    report: *mut downhill_report,
) -> downhill_status {
    let whole = Whole { t: 1, extras, pool, report };
    // SAFETY: the C caller keeps the preconditions at the top of the header.
    unsafe { many_in_order(count, tensors, config, whole, |rule: Nesterov| rule) }
}

/// The formula of downhill_adagrad_step() for every element of every tensor, with g*s in place of g. Without extras
/// s is 1; the introduction says what it is with them, and what they do besides.
///
/// @param count    number of tensors
/// @param tensors  the tensors; state: s
/// @param config   hyper-parameters, as from downhill_adagrad_default()
/// @param extras   what is done besides, as from downhill_extras_default(), or NULL: nothing
/// @param pool     who works, or NULL: this thread
/// @param report   what was done is written here, or NULL
/// @return DOWNHILL_STATUS_OK, _SKIPPED; or _NULL_POINTER, _MISALIGNED, _OVERLAP, _INVALID_LENGTH,
///         _INVALID_CONFIG, _OUT_OF_MEMORY, as the introduction says; _PANIC
///
/// Threads: any number at once, also with one pool, on different arrays. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_adagrad_step_many(
    count: usize,
    tensors: *const downhill_tensor,
    config: *const downhill_adagrad,
    extras: *const downhill_extras,
    pool: *mut downhill_pool,
    report: *mut downhill_report,
) -> downhill_status {
    let whole = Whole { t: 1, extras, pool, report };
    // SAFETY: the C caller keeps the preconditions at the top of the header.
    unsafe { many_in_order(count, tensors, config, whole, |rule: Adagrad| rule) }
}

/// The formula of downhill_adadelta_step() for every element of every tensor, with g*s in place of g. Without extras
/// s is 1; the introduction says what it is with them, and what they do besides.
///
/// @param count    number of tensors
/// @param tensors  the tensors; state: v, u
/// @param config   hyper-parameters, as from downhill_adadelta_default()
/// @param extras   what is done besides, as from downhill_extras_default(), or NULL: nothing
/// @param pool     who works, or NULL: this thread
/// @param report   what was done is written here, or NULL
/// @return DOWNHILL_STATUS_OK, _SKIPPED; or _NULL_POINTER, _MISALIGNED, _OVERLAP, _INVALID_LENGTH,
///         _INVALID_CONFIG, _OUT_OF_MEMORY, as the introduction says; _PANIC
///
/// Threads: any number at once, also with one pool, on different arrays. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_adadelta_step_many(
    count: usize,
    tensors: *const downhill_tensor,
    config: *const downhill_adadelta,
    extras: *const downhill_extras,
    pool: *mut downhill_pool,
    report: *mut downhill_report,
) -> downhill_status {
    let whole = Whole { t: 1, extras, pool, report };
    // SAFETY: the C caller keeps the preconditions at the top of the header.
    unsafe { many_in_order(count, tensors, config, whole, |rule: Adadelta| rule) }
}

/// The formula of downhill_rmsprop_step() for every element of every tensor, with g*s in place of g. Without extras
/// s is 1; the introduction says what it is with them, and what they do besides.
///
/// @param count    number of tensors
/// @param tensors  the tensors; state: v, g_avg or NULL, u or NULL
///                 (g_avg for all tensors or for none, and so u)
/// @param config   hyper-parameters, as from downhill_rmsprop_default()
/// @param extras   what is done besides, as from downhill_extras_default(), or NULL: nothing
/// @param pool     who works, or NULL: this thread
/// @param report   what was done is written here, or NULL
/// @return DOWNHILL_STATUS_OK, _SKIPPED; or _NULL_POINTER, _MISALIGNED, _OVERLAP, _INVALID_LENGTH,
///         _INVALID_CONFIG, _OUT_OF_MEMORY, as the introduction says; _PANIC
///
/// Threads: any number at once, also with one pool, on different arrays. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_rmsprop_step_many(
    count: usize,
    tensors: *const downhill_tensor,
    config: *const downhill_rmsprop,
    extras: *const downhill_extras,
    pool: *mut downhill_pool,
    report: *mut downhill_report,
) -> downhill_status {
    let whole = Whole { t: 1, extras, pool, report };
    boundary::call_uncancelled(|| {
        // SAFETY: the C caller keeps the preconditions at the top of the header.
        unsafe {
            let list = list(count, tensors)?;
            match (all_have(list, 1, "g_avg")?, all_have(list, 2, "u")?) {
                (false, false) => many(list, [0], config, whole, form::<false>),
                (false, true) => many(list, [0, 2], config, whole, form::<false>),
                (true, false) => many(list, [0, 1], config, whole, form::<true>),
                (true, true) => many(list, [0, 1, 2], config, whole, form::<true>),
            }
        }
    })
}

fn form<const CENTERED: bool>(rule: Rmsprop) -> RmspropForm<CENTERED> {
    RmspropForm(rule.config)
}

/// Do all tensors have an optional state? Some alone must not. Without any elements no pointer says
/// anything: they have it then, which no configuration contradicts.
fn all_have(list: &[downhill_tensor], slot: usize, name: &str) -> Result<bool, Failure> {
    let find =
        |null| list.iter().position(|tensor| tensor.n > 0 && tensor.state[slot].is_null() == null);
    match (find(true), find(false)) {
        (None, _) => Ok(true),
        (Some(_), None) => Ok(false),
        (Some(index), Some(_)) => {
            let message =
                format!("`{name}` is NULL, but not for all tensors: pass it for all or for none");
            Err(Failure::new(DOWNHILL_STATUS_NULL_POINTER, message).of_tensor(index))
        }
    }
}

/// The formula of downhill_adam_step() for every element of every tensor, with g*s in place of g. Without extras
/// s is 1; the introduction says what it is with them, and what they do besides.
///
/// @param count    number of tensors
/// @param tensors  the tensors; state: m, v
/// @param t        number of this step, counted from 1 by the caller; a skipped step is not counted
/// @param config   hyper-parameters, as from downhill_adam_default()
/// @param extras   what is done besides, as from downhill_extras_default(), or NULL: nothing
/// @param pool     who works, or NULL: this thread
/// @param report   what was done is written here, or NULL
/// @return DOWNHILL_STATUS_OK, _SKIPPED; or _NULL_POINTER, _MISALIGNED, _OVERLAP, _INVALID_LENGTH, _INVALID_STEP,
///         _INVALID_CONFIG, _OUT_OF_MEMORY, as the introduction says; _PANIC
///
/// Threads: any number at once, also with one pool, on different arrays. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_adam_step_many(
    count: usize,
    tensors: *const downhill_tensor,
    t: u64,
    config: *const downhill_adam,
    extras: *const downhill_extras,
    pool: *mut downhill_pool,
    report: *mut downhill_report,
) -> downhill_status {
    let whole = Whole { t, extras, pool, report };
    // SAFETY: the C caller keeps the preconditions at the top of the header.
    unsafe { many_in_order(count, tensors, config, whole, |rule: Adam| rule) }
}

/// The formula of downhill_adamw_step() for every element of every tensor, with g*s in place of g. Without extras
/// s is 1; the introduction says what it is with them, and what they do besides.
///
/// @param count    number of tensors
/// @param tensors  the tensors; state: m, v
/// @param t        number of this step, counted from 1 by the caller; a skipped step is not counted
/// @param config   hyper-parameters, as from downhill_adamw_default()
/// @param extras   what is done besides, as from downhill_extras_default(), or NULL: nothing
/// @param pool     who works, or NULL: this thread
/// @param report   what was done is written here, or NULL
/// @return DOWNHILL_STATUS_OK, _SKIPPED; or _NULL_POINTER, _MISALIGNED, _OVERLAP, _INVALID_LENGTH, _INVALID_STEP,
///         _INVALID_CONFIG, _OUT_OF_MEMORY, as the introduction says; _PANIC
///
/// Threads: any number at once, also with one pool, on different arrays. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_adamw_step_many(
    count: usize,
    tensors: *const downhill_tensor,
    t: u64,
    config: *const downhill_adam,
    extras: *const downhill_extras,
    pool: *mut downhill_pool,
    report: *mut downhill_report,
) -> downhill_status {
    let whole = Whole { t, extras, pool, report };
    // SAFETY: the C caller keeps the preconditions at the top of the header.
    unsafe { many_in_order(count, tensors, config, whole, |rule: Adamw| rule) }
}

/// The formula of downhill_amsgrad_step() for every element of every tensor, with g*s in place of g. Without extras
/// s is 1; the introduction says what it is with them, and what they do besides.
///
/// @param count    number of tensors
/// @param tensors  the tensors; state: m, v, v_max
/// @param t        number of this step, counted from 1 by the caller; a skipped step is not counted
/// @param config   hyper-parameters, as from downhill_amsgrad_default()
/// @param extras   what is done besides, as from downhill_extras_default(), or NULL: nothing
/// @param pool     who works, or NULL: this thread
/// @param report   what was done is written here, or NULL
/// @return DOWNHILL_STATUS_OK, _SKIPPED; or _NULL_POINTER, _MISALIGNED, _OVERLAP, _INVALID_LENGTH, _INVALID_STEP,
///         _INVALID_CONFIG, _OUT_OF_MEMORY, as the introduction says; _PANIC
///
/// Threads: any number at once, also with one pool, on different arrays. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_amsgrad_step_many(
    count: usize,
    tensors: *const downhill_tensor,
    t: u64,
    config: *const downhill_adam,
    extras: *const downhill_extras,
    pool: *mut downhill_pool,
    report: *mut downhill_report,
) -> downhill_status {
    let whole = Whole { t, extras, pool, report };
    // SAFETY: the C caller keeps the preconditions at the top of the header.
    unsafe { many_in_order(count, tensors, config, whole, |rule: Amsgrad| rule) }
}

/// The formula of downhill_adamax_step() for every element of every tensor, with g*s in place of g. Without extras
/// s is 1; the introduction says what it is with them, and what they do besides.
///
/// @param count    number of tensors
/// @param tensors  the tensors; state: m, u
/// @param t        number of this step, counted from 1 by the caller; a skipped step is not counted
/// @param config   hyper-parameters, as from downhill_adamax_default()
/// @param extras   what is done besides, as from downhill_extras_default(), or NULL: nothing
/// @param pool     who works, or NULL: this thread
/// @param report   what was done is written here, or NULL
/// @return DOWNHILL_STATUS_OK, _SKIPPED; or _NULL_POINTER, _MISALIGNED, _OVERLAP, _INVALID_LENGTH, _INVALID_STEP,
///         _INVALID_CONFIG, _OUT_OF_MEMORY, as the introduction says; _PANIC
///
/// Threads: any number at once, also with one pool, on different arrays. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_adamax_step_many(
    count: usize,
    tensors: *const downhill_tensor,
    t: u64,
    config: *const downhill_adamax,
    extras: *const downhill_extras,
    pool: *mut downhill_pool,
    report: *mut downhill_report,
) -> downhill_status {
    let whole = Whole { t, extras, pool, report };
    // SAFETY: the C caller keeps the preconditions at the top of the header.
    unsafe { many_in_order(count, tensors, config, whole, |rule: Adamax| rule) }
}

/// The formula of downhill_nadam_step() for every element of every tensor, with g*s in place of g. Without extras
/// s is 1; the introduction says what it is with them, and what they do besides.
///
/// @param count    number of tensors
/// @param tensors  the tensors; state: m, v
/// @param t        number of this step, counted from 1 by the caller; a skipped step is not counted
/// @param config   hyper-parameters, as from downhill_nadam_default()
/// @param extras   what is done besides, as from downhill_extras_default(), or NULL: nothing
/// @param pool     who works, or NULL: this thread
/// @param report   what was done is written here, or NULL
/// @return DOWNHILL_STATUS_OK, _SKIPPED; or _NULL_POINTER, _MISALIGNED, _OVERLAP, _INVALID_LENGTH, _INVALID_STEP,
///         _INVALID_CONFIG, _OUT_OF_MEMORY, as the introduction says; _PANIC
///
/// Threads: any number at once, also with one pool, on different arrays. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_nadam_step_many(
    count: usize,
    tensors: *const downhill_tensor,
    t: u64,
    config: *const downhill_nadam,
    extras: *const downhill_extras,
    pool: *mut downhill_pool,
    report: *mut downhill_report,
) -> downhill_status {
    let whole = Whole { t, extras, pool, report };
    // SAFETY: the C caller keeps the preconditions at the top of the header.
    unsafe { many_in_order(count, tensors, config, whole, |rule: Nadam| rule) }
}

/// The formula of downhill_lion_step() for every element of every tensor, with g*s in place of g. Without extras
/// s is 1; the introduction says what it is with them, and what they do besides.
///
/// @param count    number of tensors
/// @param tensors  the tensors; state: m
/// @param config   hyper-parameters, as from downhill_lion_default()
/// @param extras   what is done besides, as from downhill_extras_default(), or NULL: nothing
/// @param pool     who works, or NULL: this thread
/// @param report   what was done is written here, or NULL
/// @return DOWNHILL_STATUS_OK, _SKIPPED; or _NULL_POINTER, _MISALIGNED, _OVERLAP, _INVALID_LENGTH,
///         _INVALID_CONFIG, _OUT_OF_MEMORY, as the introduction says; _PANIC
///
/// Threads: any number at once, also with one pool, on different arrays. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_lion_step_many(
    count: usize,
    tensors: *const downhill_tensor,
    config: *const downhill_lion,
    extras: *const downhill_extras,
    pool: *mut downhill_pool,
    report: *mut downhill_report,
) -> downhill_status {
    let whole = Whole { t: 1, extras, pool, report };
    // SAFETY: the C caller keeps the preconditions at the top of the header.
    unsafe { many_in_order(count, tensors, config, whole, |rule: Lion| rule) }
}
