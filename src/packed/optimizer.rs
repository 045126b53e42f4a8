//! Rules with packed states as one type.

use std::fmt;

use super::{
    Packable, PackedTensor, Packing, StateFormat,
    many::{How, Listed},
    pack, unpack,
};
use crate::{Error, Extras, Isa, Report, Threads, reference};

/// A rule that steps packed states, whatever its number of states: what [`packed_optimizer`] makes.
pub trait PackedOptimizer: fmt::Debug + Send + Sync {
    /// The states' names, in the order in which they are packed.
    fn state_names(&self) -> &'static [&'static str];

    /// [`step_packed`](crate::step_packed) on a named instruction set.
    fn step_on(
        &self,
        isa: Isa,
        tensors: &mut [PackedTensor<'_, f32>],
        t: u64,
        packing: &Packing,
        extras: &Extras,
        threads: Threads<'_>,
    ) -> Result<Report, Error>;

    /// The same with weights and gradients of bfloat16.
    fn step_bf16_on(
        &self,
        isa: Isa,
        tensors: &mut [PackedTensor<'_, u16>],
        t: u64,
        packing: &Packing,
        extras: &Extras,
        threads: Threads<'_>,
    ) -> Result<Report, Error>;

    /// The scalar reference's step, without extras.
    fn reference_step(
        &self,
        tensor: &mut PackedTensor<'_, f32>,
        t: u64,
        packing: &Packing,
    ) -> Result<(), Error>;

    /// The same with weights and gradient of bfloat16.
    fn reference_step_bf16(
        &self,
        tensor: &mut PackedTensor<'_, u16>,
        t: u64,
        packing: &Packing,
    ) -> Result<(), Error>;

    /// [`pack()`]
    fn pack(&self, states: &[&[f32]], format: StateFormat, packed: &mut [u8]) -> Result<(), Error>;

    /// [`unpack()`]
    fn unpack(&self, packed: &[u8], format: StateFormat, states: &mut [&mut [f32]])
    -> Result<(), Error>;
}

/// The rule that a configuration makes, as an object beside other rules with packed states.
///
/// ```
/// use downhill::{Adam, Lion, StateFormat, packed_optimizer};
///
/// for rule in [packed_optimizer(Adam::default()), packed_optimizer(Lion::default())] {
///     let states = rule.state_names();
///     let bytes = StateFormat::Bits8.bytes(states.len(), 1 << 20).unwrap();
///     println!("{rule:?}: {states:?} in {bytes} bytes");
/// }
/// ```
pub fn packed_optimizer<const N: usize>(config: impl Packable<N>) -> Box<dyn PackedOptimizer> {
    Box::new(Configured(config))
}

/// Carries `N` in its type, which a trait object cannot.
struct Configured<C, const N: usize>(C);

impl<C: Packable<N>, const N: usize> Configured<C, N> {
    fn reference<F: reference::Float>(
        &self,
        tensor: &mut PackedTensor<'_, F>,
        t: u64,
        packing: &Packing,
    ) -> Result<(), Error> {
        let PackedTensor { w, g, state, first_element } = tensor;
        reference::step_packed(&self.0, w, g, state, *first_element, t, packing)
    }
}

impl<C: Packable<N>, const N: usize> PackedOptimizer for Configured<C, N> {
    fn state_names(&self) -> &'static [&'static str] {
        &C::STATES
    }

    fn step_on(
        &self,
        isa: Isa,
        tensors: &mut [PackedTensor<'_, f32>],
        t: u64,
        packing: &Packing,
        extras: &Extras,
        threads: Threads<'_>,
    ) -> Result<Report, Error> {
        self.0.step_packed_on(f32::list(tensors), How { isa, t, packing, extras, threads })
    }

    fn step_bf16_on(
        &self,
        isa: Isa,
        tensors: &mut [PackedTensor<'_, u16>],
        t: u64,
        packing: &Packing,
        extras: &Extras,
        threads: Threads<'_>,
    ) -> Result<Report, Error> {
        self.0.step_packed_on(u16::list(tensors), How { isa, t, packing, extras, threads })
    }

    fn reference_step(
        &self,
        tensor: &mut PackedTensor<'_, f32>,
        t: u64,
        packing: &Packing,
    ) -> Result<(), Error> {
        self.reference(tensor, t, packing)
    }

    fn reference_step_bf16(
        &self,
        tensor: &mut PackedTensor<'_, u16>,
        t: u64,
        packing: &Packing,
    ) -> Result<(), Error> {
        self.reference(tensor, t, packing)
    }

    fn pack(&self, states: &[&[f32]], format: StateFormat, packed: &mut [u8]) -> Result<(), Error> {
        let count = states.len();
        let states = states.try_into().map_err(|_| Error::StateCount { count, expected: &C::STATES })?;
        pack::<N, C>(&self.0, states, format, packed)
    }

    fn unpack(
        &self,
        packed: &[u8],
        format: StateFormat,
        states: &mut [&mut [f32]],
    ) -> Result<(), Error> {
        unpack::<N, C>(&self.0, packed, format, crate::optimizer::arrays::<C, N>(states)?)
    }
}

impl<C: fmt::Debug, const N: usize> fmt::Debug for Configured<C, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
