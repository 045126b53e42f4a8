//! Hyper-parameters by name: what a configuration's fields are called, and what values they may take.

use crate::{
    Error,
    check::{at_most_one, below_one, non_negative, positive},
};

/// One of the hyper-parameters of a rule:
/// [`Optimizer::hyperparameters`](crate::Optimizer::hyperparameters).
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Hyperparameter {
    /// The name of the configuration's field.
    pub name: &'static str,
    /// Its value; of a choice the place in its list, counted from 0.
    pub value: f64,
    /// What it may be.
    pub range: Range,
}

/// What values a hyper-parameter may take. Each also has to be finite in `f32`, and what is derived from
/// it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Range {
    /// At least 0.
    NonNegative,
    /// Above 0.
    Positive,
    /// At least 0 and below 1.
    BelowOne,
    /// From 0 to 1.
    UpToOne,
    /// One of these, which an enumeration or a `bool` has. Their places are the values of the C
    /// constants.
    OneOf(&'static [&'static str]),
}

impl Range {
    /// The value that a text means, from a command line or a file: a number, or a choice by its name.
    ///
    /// ```
    /// use downhill::Range;
    ///
    /// assert_eq!(Range::NonNegative.parse("1e-3"), Some(1e-3));
    /// assert_eq!(Range::OneOf(&["false", "true"]).parse("true"), Some(1.0));
    /// assert_eq!(Range::OneOf(&["false", "true"]).parse("maybe"), None);
    /// ```
    pub fn parse(self, text: &str) -> Option<f64> {
        match self {
            Self::OneOf(names) => names.iter().position(|name| *name == text).map(|place| place as f64),
            _ => text.parse().ok(),
        }
    }
}

/// A configuration whose fields can be visited. Each rule says here, and only here, what its numbers may
/// be.
pub trait Fields: Copy {
    /// Passes each field, in order, to `visitor`, and gives the configuration that is made of the results;
    /// or the first error. Fields are passed by value: references would be to those of a copy, which the
    /// compiler would keep in memory in each step.
    fn map(&self, visitor: &mut impl Visitor) -> Result<Self, Error>;
}

/// What is done with the fields of a configuration.
pub trait Visitor {
    fn number(&mut self, name: &'static str, range: Range, value: f64) -> Result<f64, Error>;
    fn choice<C: Choice>(&mut self, name: &'static str, value: C) -> Result<C, Error>;
}

/// An enumeration or a `bool`.
pub trait Choice: Copy + PartialEq + 'static {
    const ALL: &'static [Self];
    /// Of each value, in the same order.
    const NAMES: &'static [&'static str];
}

impl Choice for bool {
    const ALL: &'static [Self] = &[false, true];
    const NAMES: &'static [&'static str] = &["false", "true"];
}

/// Refuses numbers that are not in their ranges.
pub struct Checked;

impl Visitor for Checked {
    #[inline(always)]
    fn number(&mut self, name: &'static str, range: Range, value: f64) -> Result<f64, Error> {
        match range {
            Range::NonNegative => non_negative(name, value)?,
            Range::Positive => positive(name, value)?,
            Range::BelowOne => below_one(name, value)?,
            Range::UpToOne => at_most_one(name, value)?,
            Range::OneOf(_) => {}
        }
        Ok(value)
    }

    #[inline(always)]
    fn choice<C: Choice>(&mut self, _name: &'static str, value: C) -> Result<C, Error> {
        Ok(value)
    }
}

/// Puts what the function gives in place of each value.
pub struct Replaced<'a>(pub &'a mut dyn FnMut(Hyperparameter) -> Result<f64, Error>);

impl Visitor for Replaced<'_> {
    fn number(&mut self, name: &'static str, range: Range, value: f64) -> Result<f64, Error> {
        (self.0)(Hyperparameter { name, value, range })
    }

    fn choice<C: Choice>(&mut self, name: &'static str, value: C) -> Result<C, Error> {
        let place = C::ALL.iter().position(|choice| *choice == value).expect("all are listed");
        let value =
            (self.0)(Hyperparameter { name, value: place as f64, range: Range::OneOf(C::NAMES) })?;
        let chosen = C::ALL.iter().enumerate().find(|(place, _)| *place as f64 == value);
        let allowed = "the place of a choice in its list, counted from 0";
        let error = Error::Hyperparameter { argument: name, value, allowed };
        chosen.map(|(_, choice)| *choice).ok_or(error)
    }
}
