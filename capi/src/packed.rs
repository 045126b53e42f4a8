//! Steps on packed states.

use std::ffi::c_void;

use super::{
    boundary,
    many::{Whole, checked_extras, downhill_extras, downhill_report, tell},
    pool::{downhill_pool, threads},
    read::{check_structure, choice, read_structure},
    rules::{self, CRule, adam::*, lion::*, momentum::*},
    status::{Failure, downhill_status},
    tensors::{array, array_mut, check_states, list, packed_slices},
};
use downhill::{
    Adam, Adamw, Isa, Lion, Momentum, Packing, Rounding, StateFormat,
    abi::{How, Listed, Packable},
    pack, unpack,
};

/// How many bits a packed state has.
pub type downhill_state_format = u32;

/// A byte for each state of each element, and one for each state of 64 elements.
pub const DOWNHILL_STATE_FORMAT_BITS8: downhill_state_format = 0;
/// bfloat16.
pub const DOWNHILL_STATE_FORMAT_BF16: downhill_state_format = 1;

/// What weights and gradients beside packed states are.
pub type downhill_weight_format = u32;

/// float
pub const DOWNHILL_WEIGHT_FORMAT_F32: downhill_weight_format = 0;
/// bfloat16: the upper half of a float, as a uint16_t. Weights are rounded as states are.
pub const DOWNHILL_WEIGHT_FORMAT_BF16: downhill_weight_format = 1;

/// What becomes of the bits that a code has not.
pub type downhill_rounding = u32;

/// Up or down at random, and right on average: a state moves however small a step's part in it is.
pub const DOWNHILL_ROUNDING_STOCHASTIC: downhill_rounding = 0;
/// To the nearest code. A state that should move by less than half of the distance between two codes stays
/// where it is, and Adam's v ends up far from what it should be: to compare with, not to train with.
pub const DOWNHILL_ROUNDING_NEAREST: downhill_rounding = 1;

/// How states are packed. Start from downhill_packing_default().
#[repr(C)]
#[derive(Clone, Copy)]
pub struct downhill_packing {
    /// sizeof(downhill_packing), set by downhill_packing_default().
    pub struct_size: u32,
    /// A downhill_state_format. Default DOWNHILL_STATE_FORMAT_BITS8.
    pub state_format: u32,
    /// A downhill_weight_format. Default DOWNHILL_WEIGHT_FORMAT_F32.
    pub weight_format: u32,
    /// A downhill_rounding. Default DOWNHILL_ROUNDING_STOCHASTIC.
    pub rounding: u32,
    /// What random bits are made from, with t and the element's number. Default 0.
    pub seed: u64,
}

/// What weights and gradients beside packed states are.
#[derive(Clone, Copy)]
enum WeightFormat {
    F32,
    Bf16,
}

fn state_format(value: u32) -> Result<StateFormat, Failure> {
    let bits8 = (DOWNHILL_STATE_FORMAT_BITS8, StateFormat::Bits8);
    choice("state_format", value, [bits8, (DOWNHILL_STATE_FORMAT_BF16, StateFormat::Bf16)])
}

fn weight_format(value: u32) -> Result<WeightFormat, Failure> {
    let f32 = (DOWNHILL_WEIGHT_FORMAT_F32, WeightFormat::F32);
    choice("weight_format", value, [f32, (DOWNHILL_WEIGHT_FORMAT_BF16, WeightFormat::Bf16)])
}

impl downhill_packing {
    fn decode(self) -> Result<(Packing, WeightFormat), Failure> {
        let Self { rounding, seed, .. } = self;
        let stochastic = (DOWNHILL_ROUNDING_STOCHASTIC, Rounding::Stochastic { seed });
        let nearest = (DOWNHILL_ROUNDING_NEAREST, Rounding::Nearest);
        let rounding = choice("rounding", rounding, [stochastic, nearest])?;
        let format = state_format(self.state_format)?;
        Ok((Packing { format, rounding }, weight_format(self.weight_format)?))
    }
}

/// The arrays of one tensor with packed states.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct downhill_packed_tensor {
    /// Number of elements. With 0 (and state_bytes 0) the pointers may be anything.
    pub n: usize,
    /// Weights, updated: n elements of float, or of uint16_t if weight_format is bfloat16.
    pub w: *mut c_void,
    /// Gradient, of the same; written only with DOWNHILL_ZERO_GRAD.
    pub g: *mut c_void,
    /// All states, updated; zeros before the first step.
    pub state: *mut u8,
    /// How many bytes that is: what downhill_packed_bytes() says.
    pub state_bytes: usize,
    /// The number of the first element in the whole model, a multiple of 64, which the random bits depend on.
    /// Give each tensor numbers of its own, and a part of a tensor those that it has in the whole: then the parts
    /// are stepped with the bits of the whole.
    pub first_element: u64,
}

/// How many bytes the packed states of a tensor take: in 8 bits 65 for each state of each block of 64 elements, in
/// bfloat16 128; the last block may have fewer elements and takes as many bytes. The layout is the
/// same in every release of a SONAME; downhill_R_pack() and downhill_R_unpack() convert it.
///
/// @param states  how many states the rule has: 1 for momentum and Lion, 2 for Adam and AdamW
/// @param n       number of elements
/// @param format  a downhill_state_format
/// @return the number of bytes, or SIZE_MAX if the address space has not as many or format is unknown
///
/// Threads: any number at once. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn downhill_packed_bytes(states: usize, n: usize, format: u32) -> usize {
    state_format(format).ok().and_then(|format| format.bytes(states, n)).unwrap_or(usize::MAX)
}

/// # Safety
/// `packing` is NULL or what [`read_structure`] asks for.
unsafe fn read_packing(packing: *const downhill_packing) -> Result<(Packing, WeightFormat), Failure> {
    check_structure("packing", packing)?;
    // SAFETY: not NULL and aligned, checked above; the rest is this function's contract.
    unsafe { read_structure("packing", packing) }?.decode()
}

/// A whole step of any rule over tensors with packed states.
///
/// # Safety
/// The preconditions at the top of the header.
unsafe fn packed<R: CRule + Packable<N>, const N: usize>(
    count: usize,
    tensors: *const downhill_packed_tensor,
    config: *const R::Config,
    packing: *const downhill_packing,
    whole: Whole,
) -> downhill_status {
    boundary::call_uncancelled(|| {
        // SAFETY: the C caller keeps the preconditions at the top of the header.
        unsafe {
            let (list, rule, (packing, weights)) =
                (list(count, tensors)?, rules::read::<R>(config)?, read_packing(packing)?);
            match weights {
                WeightFormat::F32 => step::<f32, R, N>(list, &rule, &packing, whole),
                WeightFormat::Bf16 => step::<u16, R, N>(list, &rule, &packing, whole),
            }
        }
    })
}

/// The same with weights and gradients of `E`.
///
/// # Safety
/// The preconditions at the top of the header.
unsafe fn step<E: Listed, R: Packable<N>, const N: usize>(
    list: &[downhill_packed_tensor],
    rule: &R,
    packing: &Packing,
    Whole { t, extras, pool, report }: Whole,
) -> Result<(), Failure> {
    // SAFETY: the C caller keeps the preconditions at the top of the header.
    let (mut tensors, threads, extras) =
        unsafe { (packed_slices::<E>(list)?, threads(pool), checked_extras(extras, report)?) };
    let how = How { isa: Isa::current()?, t, packing, extras: &extras, threads };
    let done = rule.step_packed_on(E::list(&mut tensors), how)?;
    // SAFETY: checked above; valid for writing, as the C caller promises.
    unsafe { tell(done, extras.grad_scale, report) }
}

/// The formula of downhill_momentum_step() for every element of every tensor, with g*s in place of g, on states that
/// are decoded before and encoded after. The introduction says what s is.
///
/// @param count    number of tensors
/// @param tensors  the tensors; one state: u
/// @param t        number of this step, which the random bits depend on; a skipped step is not counted
/// @param config   hyper-parameters, as from downhill_momentum_default()
/// @param packing  how states are packed, as from downhill_packing_default()
/// @param extras   what is done besides, as from downhill_extras_default(), or NULL: nothing
/// @param pool     who works, or NULL: this thread
/// @param report   what was done is written here, or NULL
/// @return DOWNHILL_STATUS_OK, _SKIPPED; or _NULL_POINTER, _MISALIGNED, _OVERLAP, _INVALID_LENGTH (state_bytes, too),
///         _INVALID_CONFIG (first_element, too), _OUT_OF_MEMORY, as the introduction says; _PANIC
///
/// Threads: any number at once, also with one pool, on different arrays. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_momentum_step_packed(
    count: usize,
    tensors: *const downhill_packed_tensor,
    t: u64,
    config: *const downhill_momentum,
    packing: *const downhill_packing,
    extras: *const downhill_extras,
    pool: *mut downhill_pool,
    report: *mut downhill_report,
) -> downhill_status {
    let whole = Whole { t, extras, pool, report };
    // SAFETY: the C caller keeps the preconditions at the top of the header.
    unsafe { packed::<Momentum, _>(count, tensors, config, packing, whole) }
}

/// The formula of downhill_adam_step() for every element of every tensor, with g*s in place of g, on states that are
/// decoded before and encoded after. The introduction says what s is.
///
/// @param count    number of tensors
/// @param tensors  the tensors; two states: m, v
/// @param t        number of this step, counted from 1 by the caller; the random bits depend on it; a skipped step is not counted
/// @param config   hyper-parameters, as from downhill_adam_default()
/// @param packing  how states are packed, as from downhill_packing_default()
/// @param extras   what is done besides, as from downhill_extras_default(), or NULL: nothing
/// @param pool     who works, or NULL: this thread
/// @param report   what was done is written here, or NULL
/// @return DOWNHILL_STATUS_OK, _SKIPPED; or _NULL_POINTER, _MISALIGNED, _OVERLAP, _INVALID_LENGTH (state_bytes, too),
///         _INVALID_STEP, _INVALID_CONFIG (first_element, too), _OUT_OF_MEMORY, as the introduction says; _PANIC
///
/// Threads: any number at once, also with one pool, on different arrays. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_adam_step_packed(
    count: usize,
    tensors: *const downhill_packed_tensor,
    t: u64,
    config: *const downhill_adam,
    packing: *const downhill_packing,
    extras: *const downhill_extras,
    pool: *mut downhill_pool,
    report: *mut downhill_report,
) -> downhill_status {
    let whole = Whole { t, extras, pool, report };
    // SAFETY: the C caller keeps the preconditions at the top of the header.
    unsafe { packed::<Adam, _>(count, tensors, config, packing, whole) }
}

/// The formula of downhill_adamw_step() for every element of every tensor, with g*s in place of g, on states that are
/// decoded before and encoded after. The introduction says what s is.
///
/// @param count    number of tensors
/// @param tensors  the tensors; two states: m, v
/// @param t        number of this step, counted from 1 by the caller; the random bits depend on it; a skipped step is not counted
/// @param config   hyper-parameters, as from downhill_adamw_default()
/// @param packing  how states are packed, as from downhill_packing_default()
/// @param extras   what is done besides, as from downhill_extras_default(), or NULL: nothing
/// @param pool     who works, or NULL: this thread
/// @param report   what was done is written here, or NULL
/// @return DOWNHILL_STATUS_OK, _SKIPPED; or _NULL_POINTER, _MISALIGNED, _OVERLAP, _INVALID_LENGTH (state_bytes, too),
///         _INVALID_STEP, _INVALID_CONFIG (first_element, too), _OUT_OF_MEMORY, as the introduction says; _PANIC
///
/// Threads: any number at once, also with one pool, on different arrays. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_adamw_step_packed(
    count: usize,
    tensors: *const downhill_packed_tensor,
    t: u64,
    config: *const downhill_adam,
    packing: *const downhill_packing,
    extras: *const downhill_extras,
    pool: *mut downhill_pool,
    report: *mut downhill_report,
) -> downhill_status {
    let whole = Whole { t, extras, pool, report };
    // SAFETY: the C caller keeps the preconditions at the top of the header.
    unsafe { packed::<Adamw, _>(count, tensors, config, packing, whole) }
}

/// The formula of downhill_lion_step() for every element of every tensor, with g*s in place of g, on states that are
/// decoded before and encoded after. The introduction says what s is.
///
/// @param count    number of tensors
/// @param tensors  the tensors; one state: m
/// @param t        number of this step, which the random bits depend on; a skipped step is not counted
/// @param config   hyper-parameters, as from downhill_lion_default()
/// @param packing  how states are packed, as from downhill_packing_default()
/// @param extras   what is done besides, as from downhill_extras_default(), or NULL: nothing
/// @param pool     who works, or NULL: this thread
/// @param report   what was done is written here, or NULL
/// @return DOWNHILL_STATUS_OK, _SKIPPED; or _NULL_POINTER, _MISALIGNED, _OVERLAP, _INVALID_LENGTH (state_bytes, too),
///         _INVALID_CONFIG (first_element, too), _OUT_OF_MEMORY, as the introduction says; _PANIC
///
/// Threads: any number at once, also with one pool, on different arrays. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_lion_step_packed(
    count: usize,
    tensors: *const downhill_packed_tensor,
    t: u64,
    config: *const downhill_lion,
    packing: *const downhill_packing,
    extras: *const downhill_extras,
    pool: *mut downhill_pool,
    report: *mut downhill_report,
) -> downhill_status {
    let whole = Whole { t, extras, pool, report };
    // SAFETY: the C caller keeps the preconditions at the top of the header.
    unsafe { packed::<Lion, _>(count, tensors, config, packing, whole) }
}

/// An array of bytes, as C gives it.
type Bytes<P> = (P, usize);

/// Packs the states of a rule.
///
/// # Safety
/// The preconditions at the top of the header.
unsafe fn pack_states<R: Packable<N>, const N: usize>(
    rule: &R,
    n: usize,
    states: [*const f32; N],
    format: u32,
    (state, state_bytes): Bytes<*mut u8>,
) -> downhill_status {
    boundary::call_uncancelled(|| {
        let format = state_format(format)?;
        check_states::<R, N>(n, states, (state, state_bytes))?;
        // SAFETY: checked above; the C caller keeps the preconditions at the top of the header.
        let (states, state) =
            unsafe { (states.map(|states| array(states, n)), array_mut(state, state_bytes)) };
        Ok(pack(rule, states, format, state)?)
    })
}

/// Unpacks the states of a rule.
///
/// # Safety
/// The preconditions at the top of the header.
unsafe fn unpack_states<R: Packable<N>, const N: usize>(
    rule: &R,
    n: usize,
    states: [*mut f32; N],
    format: u32,
    (state, state_bytes): Bytes<*const u8>,
) -> downhill_status {
    boundary::call_uncancelled(|| {
        let format = state_format(format)?;
        check_states::<R, N>(n, states.map(|states| states.cast_const()), (state, state_bytes))?;
        // SAFETY: checked above; the C caller keeps the preconditions at the top of the header.
        let (states, state) =
            unsafe { (states.map(|states| array_mut(states, n)), array(state, state_bytes)) };
        Ok(unpack(rule, state, format, states)?)
    })
}

/// Packs the state of downhill_momentum_step(): each number is rounded to the nearest code.
///
/// @param n             number of elements
/// @param u             state
/// @param state_format  a downhill_state_format
/// @param state         the packed state, written
/// @param state_bytes   how many bytes that is: what downhill_packed_bytes() says
/// @return DOWNHILL_STATUS_OK; or _NULL_POINTER, _MISALIGNED, _OVERLAP, _INVALID_LENGTH (state_bytes, too),
///         _INVALID_CONFIG (state_format), as the introduction says; _PANIC
///
/// Threads: any number at once, on different arrays. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_momentum_pack(
    n: usize,
    u: *const f32,
    state_format: u32,
    state: *mut u8,
    state_bytes: usize,
) -> downhill_status {
    // SAFETY: the C caller keeps the preconditions at the top of the header.
    unsafe { pack_states(&Momentum::default(), n, [u], state_format, (state, state_bytes)) }
}

/// What the codes of downhill_momentum_step_packed() stand for, exactly.
///
/// @param n             number of elements
/// @param u             state, written
/// @param state_format  a downhill_state_format
/// @param state         the packed state
/// @param state_bytes   how many bytes that is: what downhill_packed_bytes() says
/// @return DOWNHILL_STATUS_OK; or _NULL_POINTER, _MISALIGNED, _OVERLAP, _INVALID_LENGTH (state_bytes, too),
///         _INVALID_CONFIG (state_format), as the introduction says; _PANIC
///
/// Threads: any number at once, on different arrays. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_momentum_unpack(
    n: usize,
    u: *mut f32,
    state_format: u32,
    state: *const u8,
    state_bytes: usize,
) -> downhill_status {
    // SAFETY: the C caller keeps the preconditions at the top of the header.
    unsafe { unpack_states(&Momentum::default(), n, [u], state_format, (state, state_bytes)) }
}

/// Packs the states of downhill_adam_step(), and of downhill_adamw_step(): each number is rounded to the nearest code.
///
/// @param n             number of elements
/// @param m             state
/// @param v             state
/// @param state_format  a downhill_state_format
/// @param state         the packed states, written
/// @param state_bytes   how many bytes that is: what downhill_packed_bytes() says
/// @return DOWNHILL_STATUS_OK; or _NULL_POINTER, _MISALIGNED, _OVERLAP, _INVALID_LENGTH (state_bytes, too),
///         _INVALID_CONFIG (state_format), as the introduction says; _PANIC
///
/// Threads: any number at once, on different arrays. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_adam_pack(
    n: usize,
    m: *const f32,
    v: *const f32,
    state_format: u32,
    state: *mut u8,
    state_bytes: usize,
) -> downhill_status {
    // SAFETY: the C caller keeps the preconditions at the top of the header.
    unsafe { pack_states(&Adam::default(), n, [m, v], state_format, (state, state_bytes)) }
}

/// What the codes of downhill_adam_step_packed(), and of downhill_adamw_step_packed(), stand for, exactly.
///
/// @param n             number of elements
/// @param m             state, written
/// @param v             state, written
/// @param state_format  a downhill_state_format
/// @param state         the packed states
/// @param state_bytes   how many bytes that is: what downhill_packed_bytes() says
/// @return DOWNHILL_STATUS_OK; or _NULL_POINTER, _MISALIGNED, _OVERLAP, _INVALID_LENGTH (state_bytes, too),
///         _INVALID_CONFIG (state_format), as the introduction says; _PANIC
///
/// Threads: any number at once, on different arrays. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_adam_unpack(
    n: usize,
    m: *mut f32,
    v: *mut f32,
    state_format: u32,
    state: *const u8,
    state_bytes: usize,
) -> downhill_status {
    // SAFETY: the C caller keeps the preconditions at the top of the header.
    unsafe { unpack_states(&Adam::default(), n, [m, v], state_format, (state, state_bytes)) }
}

/// Packs the state of downhill_lion_step(): each number is rounded to the nearest code.
///
/// @param n             number of elements
/// @param m             state
/// @param state_format  a downhill_state_format
/// @param state         the packed state, written
/// @param state_bytes   how many bytes that is: what downhill_packed_bytes() says
/// @return DOWNHILL_STATUS_OK; or _NULL_POINTER, _MISALIGNED, _OVERLAP, _INVALID_LENGTH (state_bytes, too),
///         _INVALID_CONFIG (state_format), as the introduction says; _PANIC
///
/// Threads: any number at once, on different arrays. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_lion_pack(
    n: usize,
    m: *const f32,
    state_format: u32,
    state: *mut u8,
    state_bytes: usize,
) -> downhill_status {
    // SAFETY: the C caller keeps the preconditions at the top of the header.
    unsafe { pack_states(&Lion::default(), n, [m], state_format, (state, state_bytes)) }
}

/// What the codes of downhill_lion_step_packed() stand for, exactly.
///
/// @param n             number of elements
/// @param m             state, written
/// @param state_format  a downhill_state_format
/// @param state         the packed state
/// @param state_bytes   how many bytes that is: what downhill_packed_bytes() says
/// @return DOWNHILL_STATUS_OK; or _NULL_POINTER, _MISALIGNED, _OVERLAP, _INVALID_LENGTH (state_bytes, too),
///         _INVALID_CONFIG (state_format), as the introduction says; _PANIC
///
/// Threads: any number at once, on different arrays. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_lion_unpack(
    n: usize,
    m: *mut f32,
    state_format: u32,
    state: *const u8,
    state_bytes: usize,
) -> downhill_status {
    // SAFETY: the C caller keeps the preconditions at the top of the header.
    unsafe { unpack_states(&Lion::default(), n, [m], state_format, (state, state_bytes)) }
}
