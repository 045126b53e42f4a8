//! Every rule of the C interface, as the header has it, with any configuration, and the same in Rust.

use std::{array, ffi::c_void, mem::offset_of};

use arbitrary::{Arbitrary, Result, Unstructured};
use downhill::{Optimizer, Range, RowwiseAdagrad, StateKind};

use crate::{abi::*, check, check::Errors, input::*, memory::*};

/// How many states the whole step has room for.
pub const SLOTS: usize = 4;

/// A rule, read from the header.
#[derive(Debug)]
pub struct Rule {
    /// As in `downhill_R_step`.
    pub name: &'static str,
    tag: u32,
    /// Of its configuration.
    size: usize,
    fields: &'static [Field],
    /// The states that it may have, in the order of its plain step.
    pub states: &'static [&'static str],
    /// Has its plain step a `t`?
    pub counts_steps: bool,
    /// Its plain step.
    ///
    /// # Safety
    /// The preconditions at the top of the header.
    pub step:
        unsafe fn(usize, *mut f32, *const f32, [*mut f32; SLOTS], u64, *const c_void) -> downhill_status,
}

/// A field of a configuration.
#[derive(Debug)]
struct Field {
    name: &'static str,
    offset: usize,
    /// A `double`, or a `uint32_t`.
    is_number: bool,
}

#[allow(unused_variables, reason = "not every step takes `t`")]
static RULES: &[Rule] = &include!(concat!(env!("OUT_DIR"), "/rules.rs"));

impl Rule {
    /// With its defaults.
    fn optimizer(&self) -> Box<dyn Optimizer> {
        let by_row: Box<dyn Optimizer> = Box::new(RowwiseAdagrad::default());
        let mut all = downhill::rules().into_iter().chain([by_row]);
        all.find(|rule| rule.name() == self.name).expect("C and Rust have the same rules")
    }
}

/// Has a rule one state for all of a row?
pub fn is_by_row(rule: &dyn Optimizer) -> bool {
    rule.states().iter().any(|state| state.kind == StateKind::Row)
}

/// A configuration with any values, and how it is passed.
#[derive(Debug)]
pub struct Config {
    pub rule: &'static Rule,
    /// Now and then what `rule` says in place of its tag.
    tag: Option<u32>,
    size: Size,
    pointer: Pointer,
    /// Of each field.
    values: Vec<Value>,
}

#[derive(Clone, Copy, Debug)]
enum Value {
    /// That of a hyper-parameter.
    Of(f64),
    /// No hyper-parameter of the rule, for which there is only the default. Now and then something else.
    Fixed(Option<u32>),
}

impl<'a> Arbitrary<'a> for Config {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let rule = u.choose(RULES)?;
        let known = rule.optimizer().hyperparameters();
        let value = |u: &mut Unstructured<'a>, field: &Field| {
            Ok(match known.iter().find(|known| known.name == field.name).map(|known| known.range) {
                Some(Range::NonNegative | Range::Positive) => Value::Of(Magnitude::arbitrary(u)?.0),
                Some(Range::OneOf(names)) => Value::Of(Choice::arbitrary(u)?.below(names.len()).into()),
                Some(_) => Value::Of(Fraction::arbitrary(u)?.0),
                None => Value::Fixed(rarely(u)?),
            })
        };
        let values = rule.fields.iter().map(|field| value(u, field)).collect::<Result<_>>()?;
        let (tag, size, pointer) = (rarely(u)?, Size::arbitrary(u)?, Pointer::arbitrary(u)?);
        Ok(Self { rule, tag, size, pointer, values })
    }
}

impl Config {
    /// Puts it into memory, as a configuration of this rule only, or of any.
    pub fn put(&self, is_any_rule: bool, memory: &mut Memory, errors: &mut Errors) -> Array {
        let mut bytes = vec![0_u64; self.rule.size / 8];
        // SAFETY: aligned, and as long as it is said to be.
        let status =
            unsafe { downhill_config_default(self.rule.tag, bytes.as_mut_ptr().cast(), self.rule.size) };
        assert_eq!(status, DOWNHILL_STATUS_OK);
        let mut bytes: Vec<u8> = bytes.into_iter().flat_map(u64::to_ne_bytes).collect();
        for (field, value) in self.rule.fields.iter().zip(&self.values) {
            let place = &mut bytes[field.offset..];
            match *value {
                Value::Of(value) if field.is_number => write(place, value.to_ne_bytes()),
                Value::Of(value) => write(place, (value as u32).to_ne_bytes()),
                Value::Fixed(Some(word)) if !place.starts_with(&word.to_ne_bytes()) => {
                    write(place, word.to_ne_bytes());
                    errors.insert(DOWNHILL_STATUS_INVALID_CONFIG);
                }
                Value::Fixed(_) => {}
            }
        }
        let is_wrong = |tag: &u32| {
            *tag != self.rule.tag && !(is_any_rule && RULES.iter().any(|rule| rule.tag == *tag))
        };
        if let Some(tag) = self.tag.filter(is_wrong) {
            write(&mut bytes[4..], tag.to_ne_bytes());
            errors.insert(DOWNHILL_STATUS_INVALID_CONFIG);
        }
        check::structure(bytes, self.size, 8, self.pointer, memory, errors)
    }

    /// The rule in Rust, or None if it has no such choice. Which ranges numbers have is the library's
    /// own to say, and tested elsewhere.
    pub fn optimizer(&self, errors: &mut Errors) -> Option<Box<dyn Optimizer>> {
        let mut optimizer = self.rule.optimizer();
        for (field, value) in self.rule.fields.iter().zip(&self.values) {
            if let Value::Of(value) = *value
                && optimizer.set(field.name, value).is_err()
            {
                errors.insert(DOWNHILL_STATUS_INVALID_CONFIG);
                return None;
            }
        }
        Some(optimizer)
    }

    /// At which places of C's the rule has states.
    pub fn slots(&self, optimizer: Option<&dyn Optimizer>) -> [bool; SLOTS] {
        let is_there = |name| {
            optimizer.is_none_or(|optimizer| optimizer.states().iter().any(|state| state.name == name))
        };
        array::from_fn(|k| self.rule.states.get(k).copied().is_some_and(is_there))
    }
}

fn write<const N: usize>(place: &mut [u8], value: [u8; N]) {
    place[..N].copy_from_slice(&value);
}
