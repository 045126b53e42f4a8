//! What a rule keeps for each element.

/// One of the states of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct State {
    /// Its name in the step function's arguments.
    pub name: &'static str,
    /// What values it takes.
    pub kind: StateKind,
}

/// What values a state takes. It decides how the state may be held in fewer bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StateKind {
    /// Of either sign: an average or a sum of gradients.
    Signed,
    /// An average of squares, which is not negative.
    Squares,
    /// A sum that only grows. Not for 8 bits: it would have to keep portions that are far below its
    /// spacing.
    Sum,
    /// A maximum whose old value decays: `max(β·u, x)`. Not for 8 bits.
    DecayingMaximum,
    /// The largest so far. Not for 8 bits, and in 16 bits always rounded to nearest: a maximum would
    /// keep whatever random rounding added.
    Maximum,
    /// One sum for each row of a table, and not for each weight. Always `f32`.
    Row,
}

impl State {
    pub(crate) const fn signed(name: &'static str) -> Self {
        Self { name, kind: StateKind::Signed }
    }

    pub(crate) const fn squares(name: &'static str) -> Self {
        Self { name, kind: StateKind::Squares }
    }

    pub(crate) const fn new(name: &'static str, kind: StateKind) -> Self {
        Self { name, kind }
    }
}
