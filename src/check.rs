//! What values a hyper-parameter may take. Each check gives the value back, rounded to `f32`.

use crate::Error;

fn within(argument: &'static str, value: f64, ok: bool, allowed: &'static str) -> Result<f32, Error> {
    // Rounding could still overflow: 1e300 is finite, and infinite as an `f32`.
    if ok && (value as f32).is_finite() {
        Ok(value as f32)
    } else {
        Err(Error::Hyperparameter { argument, value, allowed })
    }
}

/// Either sign.
pub(crate) fn finite(argument: &'static str, value: f64) -> Result<f32, Error> {
    within(argument, value, true, "finite in f32")
}

#[inline]
pub(crate) fn non_negative(argument: &'static str, value: f64) -> Result<f32, Error> {
    within(argument, value, value >= 0.0, "at least 0 and finite in f32")
}

#[inline]
pub(crate) fn below_one(argument: &'static str, value: f64) -> Result<f32, Error> {
    within(argument, value, (0.0..1.0).contains(&value), "at least 0 and below 1")
}

#[inline]
pub(crate) fn at_most_one(argument: &'static str, value: f64) -> Result<f32, Error> {
    within(argument, value, (0.0..=1.0).contains(&value), "from 0 to 1")
}

/// A rate derived from `lr`, rounded once.
#[inline]
pub(crate) fn rate(rate: f64, lr: f64) -> Result<f32, Error> {
    derived(rate, "lr", lr, "so small that what is derived from it (lr/c1) is finite in f32")
}

/// What was derived in `f64` from the hyper-parameter `argument`, rounded once.
#[inline]
pub(crate) fn derived(
    constant: f64,
    argument: &'static str,
    value: f64,
    allowed: &'static str,
) -> Result<f32, Error> {
    let rounded = constant as f32;
    if rounded.is_finite() {
        Ok(rounded)
    } else {
        Err(Error::Hyperparameter { argument, value, allowed })
    }
}

/// Steps are counted from 1.
#[inline]
pub(crate) fn step(t: u64) -> Result<(), Error> {
    if t == 0 { Err(Error::Step) } else { Ok(()) }
}
