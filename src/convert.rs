//! Arrays from one type to another.

use half::{bf16, f16};

use crate::{
    Error, Values, Weights,
    formats::{
        check_equal,
        narrow::{Narrow, split},
    },
};

/// Converts numbers from one type to another: rounded to nearest, ties to even. Split weights are exact.
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
/// [`Error::UnequalLength`] if `from` and `to`, or the two halves of split weights, differ in length. Nothing
/// is written then.
pub fn convert(from: Values<'_>, to: Weights<'_>) -> Result<(), Error> {
    check_equal(("from", from.len()), ("to", to.len()))?;
    if let Values::Split { high, low } = from {
        check_equal(("low", low.len()), ("high", high.len()))?;
    }
    if let Weights::Split { high, low } = &to {
        check_equal(("low", low.len()), ("high", high.len()))?;
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
