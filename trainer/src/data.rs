//! A training set as two slices, and what can be wrong with it.

use std::fmt;

use crate::models::Model;

/// Samples one after another: the inputs of the first, of the second, ... and their targets likewise.
#[derive(Clone, Copy, Debug)]
pub struct Data<'a, T> {
    /// [`Model::inputs`] values for each sample.
    pub inputs: &'a [f32],
    /// [`Model::targets`] values for each sample: what to predict, or one class.
    pub targets: &'a [T],
}

impl<T> Data<'_, T> {
    /// The number of samples, if this is data for `model`.
    ///
    /// # Errors
    /// [`InputError`] if there is no sample, a sample is incomplete, `inputs` and `targets` disagree
    /// about the number of samples, or a target is none of the model's.
    pub fn check<M: Model<Target = T>>(&self, model: &M) -> Result<usize, InputError> {
        let (len, inputs) = (self.inputs.len(), model.inputs());
        if len == 0 {
            return Err(InputError::Zero { argument: "the length of `inputs`" });
        }
        if !len.is_multiple_of(inputs) {
            return Err(InputError::Incomplete { len, inputs });
        }
        let samples = len / inputs;
        check_length("targets", self.targets.len(), samples * model.targets())?;
        model.check_targets(self.targets)?;
        Ok(samples)
    }
}

/// Why a model cannot be built or trained as asked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InputError {
    /// A number that must be at least 1 is 0.
    Zero {
        /// What it counts.
        argument: &'static str,
    },
    /// An array does not have the length that the model or the number of samples asks for.
    Length {
        /// The array's name.
        argument: &'static str,
        /// How many elements it has.
        len: usize,
        /// How many it must have.
        expected: usize,
    },
    /// `inputs` is not a whole number of samples.
    Incomplete {
        /// How many elements `inputs` has.
        len: usize,
        /// How many each sample has.
        inputs: usize,
    },
    /// A class that the model does not have.
    Class {
        /// Which sample, counted from 0.
        sample: usize,
        /// Its class.
        class: usize,
        /// How many classes the model has.
        classes: usize,
    },
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zero { argument } => write!(f, "{argument} is 0; it must be at least 1"),
            Self::Length { argument, len, expected } => {
                write!(f, "`{argument}` has {len} elements; it must have {expected}")
            }
            Self::Incomplete { len, inputs } => write!(
                f,
                "`inputs` has {len} elements; it must be a multiple of {inputs}, the inputs of a sample"
            ),
            Self::Class { sample, class, classes } => write!(
                f,
                "`targets[{sample}]` is class {class}; it must be below {classes}, the number of classes"
            ),
        }
    }
}

impl std::error::Error for InputError {}

pub(super) fn check_positive(argument: &'static str, value: usize) -> Result<(), InputError> {
    if value == 0 { Err(InputError::Zero { argument }) } else { Ok(()) }
}

pub(super) fn check_length(
    argument: &'static str,
    len: usize,
    expected: usize,
) -> Result<(), InputError> {
    if len == expected { Ok(()) } else { Err(InputError::Length { argument, len, expected }) }
}

pub(super) fn check_classes(targets: &[usize], classes: usize) -> Result<(), InputError> {
    match targets.iter().position(|&class| class >= classes) {
        None => Ok(()),
        Some(sample) => Err(InputError::Class { sample, class: targets[sample], classes }),
    }
}
