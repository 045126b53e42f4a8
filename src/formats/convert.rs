//! Arrays from one type to another.

use half::{bf16, f16};

use super::narrow::{Narrow, joined, split};
use crate::{Error, Weights, rule::check_length};

/// Numbers that are read.
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
    fn len(&self) -> usize {
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

/// Converts numbers from one type to another, to the nearest, of two to the even one; into split weights
/// without a loss.
///
/// ```
/// use downhill::{Values, Weights, convert};
/// use half::bf16;
///
/// let w = [1.0 / 3.0];
/// let (mut high, mut low) = ([bf16::ZERO], [0]);
/// convert(Values::F32(&w), Weights::Split { high: &mut high, low: &mut low })?;
/// assert_eq!(high[0], bf16::from_f32(w[0]));
/// let mut back = [0.0];
/// convert(Values::Split { high: &high, low: &low }, Weights::F32(&mut back))?;
/// assert_eq!(back, w);
/// # Ok::<(), downhill::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] if arrays differ in length. Nothing is written then.
pub fn convert(from: Values<'_>, to: Weights<'_>) -> Result<(), Error> {
    check_length("from", from.len(), to.len())?;
    if let Values::Split { high, low } = from {
        check_length("low", low.len(), high.len())?;
    }
    if let Weights::Split { high, low } = &to {
        check_length("low", low.len(), high.len())?;
    }
    let numbers = (0..from.len()).map(|i| from.get(i));
    match to {
        Weights::Absent(_) => {}
        Weights::F32(to) => to.iter_mut().zip(numbers).for_each(|(to, x)| *to = x),
        Weights::Bf16(to) => to.iter_mut().zip(numbers).for_each(|(to, x)| *to = bf16::nearest(x)),
        Weights::F16(to) => to.iter_mut().zip(numbers).for_each(|(to, x)| *to = f16::nearest(x)),
        Weights::Split { high, low } => {
            for ((high, low), x) in high.iter_mut().zip(low).zip(numbers) {
                (*high, *low) = split(x);
            }
        }
    }
    Ok(())
}
