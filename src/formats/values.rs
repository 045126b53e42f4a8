//! Numbers of one of the types, to be read as `f32`.

use half::{bf16, f16};

use super::narrow::{Narrow, joined};

/// The input of [`convert`](crate::convert): an array of one type, or split weights.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
#[allow(missing_docs, reason = "as in `Weights`")]
pub enum Values<'a> {
    F32(&'a [f32]),
    Bf16(&'a [bf16]),
    F16(&'a [f16]),
    Split { high: &'a [bf16], low: &'a [i16] },
}

impl Values<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::F32(x) => x.len(),
            Self::Bf16(x) | Self::Split { high: x, .. } => x.len(),
            Self::F16(x) => x.len(),
        }
    }

    pub(crate) fn get(&self, i: usize) -> f32 {
        match self {
            Self::F32(x) => x[i],
            Self::Bf16(x) => x[i].wide(),
            Self::F16(x) => x[i].wide(),
            Self::Split { high, low } => joined(high[i], low[i]),
        }
    }
}
