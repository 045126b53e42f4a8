//! States in eight bits, and arrays from one type to another.

use std::ffi::c_void;

use super::{
    arrays::{check_address, sized},
    boundary,
    group::{SLOTS, WEIGHTS, Weight, array, array_mut},
    overlap::{Array, Extents},
    read::{choice, invalid},
    rules::{AnyConfig, read_any},
    status::*,
};
use downhill::{Arrays, Values, Weights, convert, pack, state_bytes, unpack};

/// How many bytes the states of n elements take with DOWNHILL_TYPE_8BIT: 65 for each state and block of
/// 64 elements, the last of which may be shorter. They start as zeros. The bytes are the same on every
/// machine, and in every release of a SONAME.
///
/// @param config  a configuration of any rule
/// @param n       number of elements
/// @return the number of bytes; SIZE_MAX on an error, of which downhill_last_error() tells: also for a
///         rule whose states are not for eight bits
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_state_bytes(config: *const c_void, n: usize) -> usize {
    let mut bytes = usize::MAX;
    boundary::call(|| {
        // SAFETY: the C caller keeps the preconditions at the top of the header.
        bytes = state_bytes(unsafe { read_any(config)? }.optimizer(), n)?;
        Ok(())
    });
    bytes
}

/// Packs float states for DOWNHILL_TYPE_8BIT, each number rounded to the nearest code, ties away from
/// zero. To go on from a checkpoint bit by bit, keep the packed bytes themselves.
/// docs/formats.md has the layout.
///
/// @param config  a configuration of any rule
/// @param n       number of elements
/// @param states  the arrays at the places that they have in a tensor's state; four pointers
/// @param packed  written
/// @param bytes   how many: downhill_state_bytes()
/// @return DOWNHILL_STATUS_OK; or as for plain steps
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_pack(
    config: *const c_void,
    n: usize,
    states: *const *const f32,
    packed: *mut c_void,
    bytes: usize,
) -> downhill_status {
    boundary::call(|| {
        // SAFETY: the C caller keeps the preconditions at the top of the header.
        unsafe {
            let (rule, states) = checked_states(config, n, states, (packed, bytes), false)?;
            let arrays = states.iter().flatten().map(|state| array(*state, n));
            let mut all = [&[][..]; SLOTS];
            let mut count = 0;
            for state in arrays {
                all[count] = state;
                count += 1;
            }
            Ok(pack(rule.optimizer(), &all[..count], array_mut(packed.cast(), bytes))?)
        }
    })
}

/// Unpacks states to float: what the codes mean, exactly. Parameters as of downhill_pack(); states are
/// written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_unpack(
    config: *const c_void,
    n: usize,
    packed: *const c_void,
    bytes: usize,
    states: *const *mut f32,
) -> downhill_status {
    boundary::call(|| {
        // SAFETY: the C caller keeps the preconditions at the top of the header.
        unsafe {
            let (rule, states) = checked_states(config, n, states.cast(), (packed, bytes), true)?;
            let arrays = states.iter().flatten().map(|state| array_mut(state.cast_mut(), n));
            let mut arrays: Arrays<'_, f32> = arrays.collect();
            Ok(unpack(rule.optimizer(), array(packed.cast(), bytes), arrays.as_mut_slice())?)
        }
    })
}

/// The rule, and the states that it has.
///
/// # Safety
/// `config` and `states` are what the header says.
unsafe fn checked_states(
    config: *const c_void,
    n: usize,
    states: *const *const f32,
    (packed, bytes): (*const c_void, usize),
    unpacks: bool,
) -> Result<(AnyConfig, [Option<*const f32>; SLOTS]), Failure> {
    // SAFETY: this function's contract.
    let rule = unsafe { read_any(config)? };
    let slots: [Option<&str>; SLOTS] = std::array::from_fn(|k| rule.state_name(k));
    let expected = state_bytes(rule.optimizer(), n)?;
    if bytes != expected {
        let message = format!("`bytes` is {bytes}; it must be {expected}");
        return Err(Failure::new(DOWNHILL_STATUS_INVALID_LENGTH, message));
    }
    let mut arrays = [None; SLOTS];
    if n == 0 {
        return Ok((rule, slots.map(|slot| slot.map(|_| [].as_ptr()))));
    }
    let mut extents = Extents::EMPTY;
    let mut fields = [None; SLOTS + 1];
    check_address("states", states.addr(), align_of::<*const f32>(), SLOTS * size_of::<*const f32>())?;
    for (k, name) in slots.into_iter().enumerate() {
        // SAFETY: not NULL and aligned, checked above; there are four by this function's contract.
        let state = unsafe { states.add(k).read() };
        let Some(name) = name else {
            if state.is_null() {
                continue;
            }
            return Err(without_state(k, state.addr()));
        };
        let size = sized("n", n, size_of::<f32>())?;
        check_address(name, state.addr(), align_of::<f32>(), size)?;
        arrays[k] = Some(state);
        fields[k] = Some(Array { name, start: state.addr(), bytes: size, is_written: unpacks });
    }
    if bytes > 0 {
        check_address("packed", packed.addr(), 1, bytes)?;
        let array = Array { name: "packed", start: packed.addr(), bytes, is_written: !unpacks };
        fields[SLOTS] = Some(array);
    }
    for (k, field) in fields.iter().enumerate() {
        if let Some(array) = field {
            extents.push(k, array.range(), array.is_written);
        }
    }
    extents.check(&[], &mut |f| fields.iter().flatten().for_each(|array| f((None, *array))))?;
    Ok((rule, arrays))
}

#[cold]
fn without_state(k: usize, address: usize) -> Failure {
    invalid(format!(
        "`states[{k}]` is {address:#x}; it must be NULL, because this configuration has no state there"
    ))
}

#[cold]
fn without_split(name: &str, pointer: *const c_void) -> Failure {
    invalid(format!(
        "`{name}` is {:#x}; it must be NULL, because its type is not DOWNHILL_TYPE_SPLIT",
        pointer.addr()
    ))
}

/// Converts numbers from one type to another: rounded to nearest, ties to even. DOWNHILL_TYPE_SPLIT is
/// exact.
///
/// @param n          number of elements
/// @param from_type  DOWNHILL_TYPE_F32, _BF16, _F16 or _SPLIT
/// @param from       the numbers
/// @param from_low   SPLIT: the lower halves, int16_t. Else NULL
/// @param to_type    as from_type
/// @param to         written
/// @param to_low     SPLIT: the lower halves, written. Else NULL
/// @return DOWNHILL_STATUS_OK; or as for plain steps
#[unsafe(no_mangle)]
pub unsafe extern "C" fn downhill_convert(
    n: usize,
    from_type: u32,
    from: *const c_void,
    from_low: *const c_void,
    to_type: u32,
    to: *mut c_void,
    to_low: *mut c_void,
) -> downhill_status {
    boundary::call(|| {
        let from_type = choice("from_type", from_type, WEIGHTS)?;
        let to_type = choice("to_type", to_type, WEIGHTS)?;
        sized("n", n, size_of::<f32>())?;
        let fields = [
            ("from", from, Some(from_type.size()), false),
            ("from_low", from_low, from_type.low_size(), false),
            ("to", to.cast_const(), Some(to_type.size()), true),
            ("to_low", to_low.cast_const(), to_type.low_size(), true),
        ];
        let mut arrays = [Array::read("", 0, 0); 4];
        let mut extents = Extents::EMPTY;
        for (k, (name, pointer, size, is_written)) in fields.into_iter().enumerate() {
            match size {
                Some(size) if n > 0 => {
                    arrays[k] = Array { name, start: pointer.addr(), bytes: n * size, is_written };
                    check_address(name, pointer.addr(), size, n * size)?;
                    extents.push(k, arrays[k].range(), is_written);
                }
                None if !pointer.is_null() => return Err(without_split(name, pointer)),
                _ => {}
            }
        }
        extents.check(&[], &mut |f| arrays.iter().for_each(|array| f((None, *array))))?;
        // SAFETY: not NULL, aligned and apart, checked above; the C caller passes `n` elements of each.
        unsafe {
            let from = match from_type {
                Weight::F32 => Values::F32(array(from.cast(), n)),
                Weight::Bf16 => Values::Bf16(array(from.cast(), n)),
                Weight::F16 => Values::F16(array(from.cast(), n)),
                Weight::Split => {
                    Values::Split { high: array(from.cast(), n), low: array(from_low.cast(), n) }
                }
            };
            let to = match to_type {
                Weight::F32 => Weights::F32(array_mut(to.cast(), n)),
                Weight::Bf16 => Weights::Bf16(array_mut(to.cast(), n)),
                Weight::F16 => Weights::F16(array_mut(to.cast(), n)),
                Weight::Split => {
                    Weights::Split { high: array_mut(to.cast(), n), low: array_mut(to_low.cast(), n) }
                }
            };
            Ok(convert(from, to)?)
        }
    })
}
