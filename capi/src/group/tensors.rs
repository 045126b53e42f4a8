//! The tensors of a group that was checked, for Rust.

use std::array::from_fn;

use super::{
    Float, GRADIENT, Group, StateType, Weight, array, array_mut, downhill_tensor, rows::rows_of,
};
use downhill::{Arrays, Gradient, States, Tensor, WeightCopy, Weights, abi::Foreign};

/// A list of them.
pub(in super::super) struct CTensors<'a>(&'a Group);

impl<'a> CTensors<'a> {
    /// # Safety
    /// All that C passed is what the header says, and passed all checks.
    pub unsafe fn new(group: &'a Group) -> Self {
        Self(group)
    }
}

// SAFETY: the pointers are to what is the caller's alone during the call, whichever thread follows them.
unsafe impl Send for CTensors<'_> {}

impl Foreign for CTensors<'_> {
    fn count(&self) -> usize {
        self.0.count
    }

    fn each<'a>(&'a mut self, f: &mut dyn FnMut(Tensor<'a>)) {
        // SAFETY: whoever made `self` promised that all checks were passed: what is there is not NULL
        // and aligned, has as many elements, and is apart from all else if it is written.
        self.0.each_tensor(|_, tensor| f(unsafe { self.0.made(tensor) }));
    }

    fn each_mut(&mut self, f: &mut dyn FnMut(&mut Tensor<'_>)) {
        // SAFETY: the same.
        self.0.each_tensor(|_, tensor| f(&mut unsafe { self.0.made(tensor) }));
    }
}

impl Group {
    /// A tensor of C as one of Rust.
    ///
    /// # Safety
    /// The tensor passed all checks, and its arrays are the caller's for `'a`.
    #[inline(never)]
    unsafe fn made<'a>(&self, tensor: &downhill_tensor) -> Tensor<'a> {
        let n = tensor.n;
        // SAFETY: this function's contract.
        unsafe {
            let w = match self.weight {
                // Of a tensor without a gradient only the length is looked at, and its pointers may be
                // anything.
                _ if tensor.g.is_null() || !self.has_rule => Weights::Absent(n),
                Weight::F32 => Weights::F32(array_mut(tensor.w.cast(), n)),
                Weight::Bf16 => Weights::Bf16(array_mut(tensor.w.cast(), n)),
                Weight::F16 => Weights::F16(array_mut(tensor.w.cast(), n)),
                Weight::Split => Weights::Split {
                    high: array_mut(tensor.w.cast(), n),
                    low: array_mut(tensor.w_low, n),
                },
            };
            if tensor.g.is_null() {
                let mut absent = Tensor::new(w, Gradient::Absent, States::default());
                absent.first_element = tensor.first_element;
                return absent;
            }
            let of_g = if tensor.row_length == 0 { n } else { tensor.row_count * tensor.row_length };
            let g = match (self.gradient, self.kinds[GRADIENT].is_written) {
                (Float::F32, false) => Gradient::F32(array(tensor.g.cast(), of_g)),
                (Float::Bf16, false) => Gradient::Bf16(array(tensor.g.cast(), of_g)),
                (Float::F16, false) => Gradient::F16(array(tensor.g.cast(), of_g)),
                (Float::F32, true) => Gradient::F32Mut(array_mut(tensor.g.cast(), of_g)),
                (Float::Bf16, true) => Gradient::Bf16Mut(array_mut(tensor.g.cast(), of_g)),
                (Float::F16, true) => Gradient::F16Mut(array_mut(tensor.g.cast(), of_g)),
            };
            if !self.has_rule {
                return Tensor::new(w, g, States::default());
            }
            let state = match self.state {
                StateType::F32 => States::F32(self.states(tensor)),
                StateType::Bf16 => States::Bf16(self.states(tensor)),
                StateType::Bits8 => States::Bits8(array_mut(tensor.state[0].cast(), tensor.state_bytes)),
            };
            let mut made = Tensor::new(w, g, state);
            made.copy = match self.copy {
                Some(_) if tensor.w_copy.is_null() => WeightCopy::Absent,
                None => WeightCopy::Absent,
                Some(Float::F32) => WeightCopy::F32(array_mut(tensor.w_copy.cast(), n)),
                Some(Float::Bf16) => WeightCopy::Bf16(array_mut(tensor.w_copy.cast(), n)),
                Some(Float::F16) => WeightCopy::F16(array_mut(tensor.w_copy.cast(), n)),
            };
            (made.t, made.first_element) = (tensor.t, tensor.first_element);
            if tensor.row_length > 0 {
                made.rows = Some(rows_of(tensor));
            }
            made
        }
    }

    /// The states that are there.
    ///
    /// # Safety
    /// As for [`Group::made`], and states are made of `E`.
    #[inline(always)]
    unsafe fn states<'a, E>(&self, tensor: &downhill_tensor) -> Arrays<'a, E> {
        let n = if self.is_row_rule { tensor.n / tensor.row_length } else { tensor.n };
        let count = usize::from(self.states);
        let arrays = from_fn(|k| {
            let state = tensor.state[usize::from(self.places[k])];
            // SAFETY: this function's contract.
            unsafe { array_mut(state.cast(), if k < count { n } else { 0 }) }
        });
        Arrays::new(count, arrays)
    }
}
