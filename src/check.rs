//! What values a hyper-parameter may take.

use crate::Error;

fn within(argument: &'static str, value: f64, ok: bool, allowed: &'static str) -> Result<(), Error> {
    // Rounding could still overflow: 1e300 is finite, and infinite as an `f32`.
    if ok && (value as f32).is_finite() {
        Ok(())
    } else {
        Err(Error::Hyperparameter { argument, value, allowed })
    }
}

/// Either sign.
pub(crate) fn any_finite(argument: &'static str, value: f64) -> Result<(), Error> {
    within(argument, value, true, "finite in f32")
}

#[inline(always)]
pub(crate) fn non_negative(argument: &'static str, value: f64) -> Result<(), Error> {
    within(argument, value, value >= 0.0, "at least 0 and finite in f32")
}

#[inline(always)]
pub(crate) fn positive(argument: &'static str, value: f64) -> Result<(), Error> {
    within(argument, value, value > 0.0, "above 0 and finite in f32")
}

#[inline(always)]
pub(crate) fn below_one(argument: &'static str, value: f64) -> Result<(), Error> {
    within(argument, value, (0.0..1.0).contains(&value), "at least 0 and below 1")
}

#[inline(always)]
pub(crate) fn at_most_one(argument: &'static str, value: f64) -> Result<(), Error> {
    within(argument, value, (0.0..=1.0).contains(&value), "from 0 to 1")
}

/// May weights be kept from `low` to `high`?
pub fn clamp(low: f64, high: f64) -> Result<(), Error> {
    if low != f64::NEG_INFINITY {
        within("clamp_low", low, true, "finite in f32, or minus infinity")?;
    }
    if high != f64::INFINITY {
        within("clamp_high", high, true, "finite in f32, or infinity")?;
    }
    let allowed = "at most clamp_high";
    if low <= high {
        Ok(())
    } else {
        Err(Error::Hyperparameter { argument: "clamp_low", value: low, allowed })
    }
}

/// Is what was derived from the hyper-parameter `argument` finite?
#[inline(always)]
pub(crate) fn finite(
    constant: f32,
    argument: &'static str,
    value: f64,
    allowed: &'static str,
) -> Result<(), Error> {
    if constant.is_finite() { Ok(()) } else { Err(Error::Hyperparameter { argument, value, allowed }) }
}

/// Steps are counted from 1.
#[inline(always)]
pub fn step(t: u64) -> Result<(), Error> {
    if t == 0 { Err(Error::Step) } else { Ok(()) }
}
