//! Where the codes are in a packed state, and the way from `f32` and back.

use super::{
    BLOCK, Packable, StateFormat,
    code::{Bf16, Bits8, Code},
};
use crate::Error;

/// The codes and the scales of a packed state of `blocks` blocks.
pub(super) fn split<C: Code, const N: usize>(
    state: &mut [u8],
    blocks: usize,
) -> (&mut [[C; N]], &mut [u8]) {
    let (codes, scales) = state.split_at_mut(N * blocks * size_of::<C>());
    (C::of_mut(codes).as_chunks_mut().0, scales)
}

/// Has a packed state as many bytes as it takes?
pub(crate) fn check_bytes(
    format: StateFormat,
    states: usize,
    n: usize,
    len: usize,
) -> Result<(), Error> {
    match format.bytes(states, n) {
        Some(expected) if expected == len => Ok(()),
        expected => Err(Error::PackedLength { len, expected: expected.unwrap_or(usize::MAX) }),
    }
}

/// Packs the states of a rule, in the order of its step function's arguments: each number rounded to the nearest code.
/// An average of squares should not be negative: in eight bits its absolute value is packed.
///
/// To go on from a checkpoint bit by bit, keep the packed bytes themselves: they are the same on every machine. What is
/// unpacked and packed again is the same in bfloat16, and in eight bits as near as a code is.
///
/// # Layout
/// Block by block of 64 elements, and in each the codes of the first state, then those of the second. Where the last block
/// has fewer elements, their codes are 0. In eight bits, four bytes are for elements that are 16 apart: element `i` of a
/// block has byte `4·(i mod 16) + ⌊i/16⌋`. In bfloat16, two numbers of two bytes each, in little-endian order, are for
/// elements that are 32 apart: element `i` has the bytes from `4·(i mod 32) + 2·⌊i/32⌋`. With eight bits, the scales of
/// all blocks follow, and for each block one byte for every state.
/// [`reference::step_packed`](crate::reference::step_packed) is the plain form of what the codes stand for.
///
/// # Errors
/// [`Error::StateLength`] if the states differ in length, [`Error::PackedLength`] if `packed` does not have
/// [`StateFormat::bytes`] for it. Nothing is written then.
///
/// # Example
/// ```
/// use downhill::{Adam, StateFormat, pack, unpack};
///
/// let (m, v) = ([0.5, -0.25, 0.0], [4.0, 1e-8, 0.0]);
/// let mut packed = vec![0; StateFormat::Bits8.bytes(2, 3).unwrap()];
/// pack(&Adam::default(), [&m, &v], StateFormat::Bits8, &mut packed)?;
/// let (mut m2, mut v2) = ([0.0; 3], [0.0; 3]);
/// unpack(&Adam::default(), &packed, StateFormat::Bits8, [&mut m2, &mut v2])?;
/// assert!((m2[0] - 0.5).abs() < 1e-4 && (m2[1] + 0.25).abs() < 1e-4 && m2[2] == 0.0);
/// assert!(v2[0] == 4.0 && (v2[1] / 1e-8 - 1.0).abs() < 0.07);
/// # Ok::<(), downhill::Error>(())
/// ```
pub fn pack<const N: usize, P: Packable<N>>(
    _rule: &P,
    states: [&[f32]; N],
    format: StateFormat,
    packed: &mut [u8],
) -> Result<(), Error> {
    check_lengths::<P, N>(states.map(<[f32]>::len), format, packed.len())?;
    match format {
        StateFormat::Bits8 => pack_in::<Bits8, P, N>(states, packed),
        StateFormat::Bf16 => pack_in::<Bf16, P, N>(states, packed),
    }
    Ok(())
}

/// Unpacks the states of a rule: what the codes stand for, exactly.
///
/// # Errors
/// As [`pack()`].
pub fn unpack<const N: usize, P: Packable<N>>(
    _rule: &P,
    packed: &[u8],
    format: StateFormat,
    states: [&mut [f32]; N],
) -> Result<(), Error> {
    check_lengths::<P, N>(states.each_ref().map(|state| state.len()), format, packed.len())?;
    match format {
        StateFormat::Bits8 => unpack_in::<Bits8, P, N>(packed, states),
        StateFormat::Bf16 => unpack_in::<Bf16, P, N>(packed, states),
    }
    Ok(())
}

/// Are all states as long as the first, and is there room for them?
fn check_lengths<P: Packable<N>, const N: usize>(
    lengths: [usize; N],
    format: StateFormat,
    packed: usize,
) -> Result<(), Error> {
    for (argument, len) in P::STATES.into_iter().zip(lengths) {
        if len != lengths[0] {
            return Err(Error::StateLength { argument, len, first: P::STATES[0], expected: lengths[0] });
        }
        check_bytes(format, N, len, packed)?;
    }
    Ok(())
}

fn pack_in<C: Code, P: Packable<N>, const N: usize>(states: [&[f32]; N], packed: &mut [u8]) {
    let n = states.first().map_or(0, |state| state.len());
    let (codes, scales) = split::<C, N>(packed, n.div_ceil(BLOCK));
    for (block, codes) in codes.iter_mut().enumerate() {
        let start = block * BLOCK;
        let end = n.min(start + BLOCK);
        for (k, codes) in codes.iter_mut().enumerate() {
            let mut x = [0.0; BLOCK];
            x[..end - start].copy_from_slice(&states[k][start..end]);
            let scale = codes.encode(P::KINDS[k], k, &mut x, &C::NEAREST);
            if C::SCALED {
                scales[N * block + k] = scale;
            }
        }
    }
}

fn unpack_in<C: Code, P: Packable<N>, const N: usize>(packed: &[u8], states: [&mut [f32]; N]) {
    let n = states.first().map_or(0, |state| state.len());
    let (codes, scales) = packed.split_at(N * n.div_ceil(BLOCK) * size_of::<C>());
    for (block, codes) in C::of(codes).as_chunks::<N>().0.iter().enumerate() {
        let start = block * BLOCK;
        let end = n.min(start + BLOCK);
        for (k, codes) in codes.iter().enumerate() {
            let scale = scales.get(N * block + k).copied().unwrap_or(0);
            let mut x = [0.0; BLOCK];
            codes.decode(P::KINDS[k], scale, &mut x);
            states[k][start..end].copy_from_slice(&x[..end - start]);
        }
    }
}
