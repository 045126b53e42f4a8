//! The rules of the C interface: how a configuration lies in memory, the plain step, and the rule in Rust.

use std::ffi::c_void;

use downhill::{Optimizer, Range, rules};

use crate::{abi::*, input::Fields};

include!(concat!(env!("OUT_DIR"), "/rules.rs"));

/// What a tensor of C has room for.
pub const SLOTS: usize = 4;

/// A rule as the header has it.
#[derive(Debug)]
pub struct Rule {
    pub name: &'static str,
    pub tag: u32,
    /// Of its configuration.
    pub size: usize,
    /// The configuration's fields behind `struct_size` and `rule`: those of four bytes, then the doubles.
    pub words: &'static [&'static str],
    pub numbers: &'static [&'static str],
    /// All states that it may have.
    pub states: &'static [&'static str],
    pub counts_steps: bool,
    /// The plain step.
    ///
    /// # Safety
    /// The preconditions at the top of the header.
    pub step: PlainStep,
}

/// Length, weights, gradient, states, number of the step, configuration.
type PlainStep =
    unsafe fn(usize, *mut f32, *const f32, [*mut f32; SLOTS], u64, *const c_void) -> downhill_status;

/// A rule with any configuration.
#[derive(Debug)]
pub struct Configured {
    pub rule: &'static Rule,
    /// The configuration in memory.
    pub bytes: Vec<u8>,
    /// The rule in Rust; None if a value is none of an enumeration's.
    pub optimizer: Option<Box<dyn Optimizer>>,
}

impl Configured {
    pub fn new(which: u8, fields: &Fields) -> Self {
        let rule = &RULES[usize::from(which) % RULES.len()];
        let mut optimizer =
            rules().into_iter().find(|one| one.name() == rule.name).expect("in the list");
        let known = optimizer.hyperparameters();
        let mut bytes = rule.default_bytes();
        bytes[4..8].copy_from_slice(&fields.rule.unwrap_or(rule.tag).to_ne_bytes());
        let mut accepted = true;
        for (k, (name, word)) in rule.words.iter().zip(fields.words).enumerate() {
            let place = &mut bytes[8 + 4 * k..][..4];
            let usual = u32::from_ne_bytes(place[..].try_into().expect("four bytes"));
            let is_known = known.iter().any(|one| one.name == *name);
            // What the rule in Rust does not have can have one value only.
            let value = if is_known || word.0 > 2 { word.0 } else { usual };
            place.copy_from_slice(&value.to_ne_bytes());
            accepted &=
                if is_known { optimizer.set(name, value.into()).is_ok() } else { value == usual };
        }
        for (k, (name, number)) in rule.numbers.iter().zip(fields.numbers).enumerate() {
            let range =
                known.iter().find(|one| one.name == *name).map_or(Range::NonNegative, |one| one.range);
            let value = number.of(range);
            bytes[16 + 8 * k..][..8].copy_from_slice(&value.to_ne_bytes());
            optimizer.set(name, value).expect("a number");
        }
        Self { rule, bytes, optimizer: accepted.then_some(optimizer) }
    }

    /// Which states there are, by their places. Of a configuration that is refused, any.
    pub fn slots(&self) -> [bool; SLOTS] {
        let states = self.optimizer.as_ref().map(|optimizer| optimizer.states());
        let mut slots = [false; SLOTS];
        for (slot, name) in slots.iter_mut().zip(self.rule.states) {
            *slot = states.is_none_or(|states| states.iter().any(|state| state.name == *name));
        }
        slots
    }
}

impl Rule {
    fn default_bytes(&self) -> Vec<u8> {
        let mut words = vec![0_u64; self.size / 8];
        // SAFETY: so many bytes, aligned.
        let status = unsafe { downhill_config_default(self.tag, words.as_mut_ptr().cast(), self.size) };
        assert_eq!(status, DOWNHILL_STATUS_OK);
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }
}
