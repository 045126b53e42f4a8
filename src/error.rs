//! What can be wrong with a call, said with the argument's name, its value and what is allowed.

use std::fmt;

use crate::{rounding::Numbering, state::State};

/// Why a step was refused. Nothing has been written when a function returns one.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// An array is not as long as `w`.
    Length {
        /// The array's name, as in the function's signature.
        argument: &'static str,
        /// How many elements it has.
        len: usize,
        /// How many `w` has.
        expected: usize,
    },
    /// A list of state arrays does not have as many arrays as the rule has states.
    StateCount {
        /// How many arrays were passed.
        count: usize,
        /// The states that the rule has, in order.
        expected: &'static [State],
    },
    /// An optional state was passed although this configuration has none, or is missing.
    OptionalState {
        /// The state.
        argument: &'static str,
        /// Was it passed?
        is_passed: bool,
        /// When it is there.
        condition: &'static str,
    },
    /// What is wrong with one group of a whole step.
    Group {
        /// Which one, counted from 0.
        index: usize,
        /// What is wrong with it.
        error: Box<Error>,
    },
    /// What is wrong with one tensor of a group.
    Tensor {
        /// Which one, counted from 0.
        index: usize,
        /// What is wrong with it.
        error: Box<Error>,
    },
    /// Packed states do not have as many bytes as their elements take.
    PackedLength {
        /// The packed states.
        argument: &'static str,
        /// How many bytes it has.
        len: usize,
        /// How many it takes.
        expected: usize,
    },
    /// Two arrays of a conversion differ in length.
    UnequalLength {
        /// The array.
        argument: &'static str,
        /// How many elements it has.
        len: usize,
        /// The other array.
        other: &'static str,
        /// How many elements that has.
        expected: usize,
    },
    /// The number of a tensor's first element is not a multiple of 64, or so large that the last element's
    /// number exceeds 64 bits, or is not 0 where elements are numbered by place.
    FirstElement {
        /// The number.
        number: u64,
        /// How elements are numbered.
        numbering: Numbering,
    },
    /// A gradient that is to be set to zero is a shared slice.
    SharedGradient,
    /// A state has values that eight bits are not for.
    NotInBits8 {
        /// The state.
        argument: &'static str,
        /// The rule.
        rule: &'static str,
    },
    /// A table does not have a whole number of rows of this length.
    RowLength {
        /// Elements of a row.
        row_length: usize,
        /// Elements of the table.
        len: usize,
    },
    /// Rows of this length cannot have states in eight bits, which are for blocks of 64 elements.
    RowInBits8 {
        /// Elements of a row.
        row_length: usize,
    },
    /// An array does not have the length that a table's rows ask for.
    RowCount {
        /// The array.
        argument: &'static str,
        /// How many elements it has.
        len: usize,
        /// How many it should have.
        expected: usize,
    },
    /// A table does not have a row that is listed.
    Row {
        /// Its place in the list.
        index: usize,
        /// The row.
        row: i64,
        /// How many rows the table has.
        count: usize,
    },
    /// A row is listed more than once.
    RowTwice {
        /// Its place in the list.
        index: usize,
        /// Its place before that.
        first: usize,
        /// The row.
        row: i64,
    },
    /// A rule has a state for each row, and a tensor has no rows.
    NeedsRows {
        /// The rule.
        rule: &'static str,
    },
    /// The state of a row is `f32` and nothing else.
    RowState {
        /// The state.
        argument: &'static str,
        /// The rule.
        rule: &'static str,
    },
    /// A list has so many rows, and so large ones, that a row and its place do not fit into 64 bits
    /// together. It has to ascend.
    UnsortedRows {
        /// How many rows are listed.
        len: usize,
        /// The largest row.
        largest: i64,
    },
    /// There is no memory to sort a list.
    NoMemory {
        /// The list.
        argument: &'static str,
        /// Its length.
        len: usize,
    },
    /// An array is too long for memory.
    TooLong {
        /// The length's name.
        argument: &'static str,
        /// The length.
        len: usize,
    },
    /// `t` is 0. Steps are counted from 1.
    Step,
    /// A hyper-parameter is out of its range.
    Hyperparameter {
        /// The field's name.
        argument: &'static str,
        /// Its value.
        value: f64,
        /// What is allowed.
        allowed: &'static str,
    },
    /// A rule has no hyper-parameter of a name.
    NoHyperparameter {
        /// The rule.
        rule: &'static str,
        /// The name.
        name: String,
        /// The names that it has, separated by commas.
        known: String,
    },
    /// A pool was to be made on this many CPUs, none or too many.
    CpuCount(usize),
    /// No worker can run on a CPU.
    Cpu {
        /// The CPU's place in the list.
        index: usize,
        /// Its number.
        cpu: usize,
        /// What the system says.
        reason: String,
    },
    /// The name of an instruction set is unknown, or this CPU lacks it.
    Isa {
        /// `DOWNHILL_ISA` for the environment variable, else `isa`.
        argument: &'static str,
        /// The name that was given.
        name: String,
        /// The names that work here, separated by commas.
        available: String,
    },
}

impl Error {
    /// Adds the group's index.
    #[cold]
    pub(crate) fn of_group(self, index: usize) -> Self {
        Self::Group { index, error: Box::new(self) }
    }

    /// Adds the tensor's index.
    #[cold]
    pub(crate) fn of_tensor(self, index: usize) -> Self {
        Self::Tensor { index, error: Box::new(self) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { argument, len, expected } => write!(
                f,
                "`{argument}` has {len} elements and `w` has {expected}; they must be equally long"
            ),
            Self::StateCount { count, expected } => write!(
                f,
                "{count} state arrays were passed; this rule has {}: {:?}",
                expected.len(),
                expected.iter().map(|state| state.name).collect::<Vec<_>>()
            ),
            Self::OptionalState { argument, is_passed, condition } => write!(
                f,
                "`{argument}` was {}passed; it is a state if and only if {condition}",
                if *is_passed { "" } else { "not " }
            ),
            Self::PackedLength { argument, len, expected } => {
                write!(f, "`{argument}` has {len} bytes; in eight bits it takes {expected}")
            }
            Self::UnequalLength { argument, len, other, expected } => write!(
                f,
                "`{argument}` has {len} elements and `{other}` has {expected}; they must be equally long"
            ),
            Self::FirstElement { number, numbering } => write!(
                f,
                "`first_element` is {number}; it must be {}",
                match numbering {
                    Numbering::ByPlace => "0, because elements are numbered by place",
                    Numbering::Given => "a multiple of 64, and the last element's number below 2^64",
                }
            ),
            Self::SharedGradient => write!(
                f,
                "`g` is a shared slice, and `zero_grad` is true; a gradient that is to be set to zero must be mutable"
            ),
            Self::NotInBits8 { argument, rule } => write!(
                f,
                "`{argument}` of {rule} cannot be held in eight bits: it is neither a signed value nor an average of squares"
            ),
            Self::RowLength { row_length, len } => write!(
                f,
                "`row_length` is {row_length}; it must be at least 1 and divide the {len} elements of `w`"
            ),
            Self::RowInBits8 { row_length } => write!(
                f,
                "`row_length` is {row_length}; with states in eight bits it must be a multiple of 64"
            ),
            Self::RowCount { argument, len, expected } => {
                write!(f, "`{argument}` has {len} elements; with these rows it must have {expected}")
            }
            Self::Row { index, row, count } => {
                write!(
                    f,
                    "`rows[{index}]` is {row}; it must be at least 0 and below {count}, the table's rows"
                )
            }
            Self::RowTwice { index, first, row } => write!(
                f,
                "`rows[{index}]` is {row}, as `rows[{first}]` is; a row may be listed once, unless rows are merged"
            ),
            Self::NeedsRows { rule } => {
                write!(f, "`rows` is missing; {rule} has a state for each row, and steps rows only")
            }
            Self::RowState { argument, rule } => {
                write!(f, "`{argument}` of {rule} must be f32: it has one number for each row")
            }
            Self::UnsortedRows { len, largest } => write!(
                f,
                "`rows` has {len} elements up to {largest}, too many for them to be sorted here: let them ascend"
            ),
            Self::NoMemory { argument, len } => {
                write!(f, "there is no memory to sort `{argument}`, which has {len} elements")
            }
            Self::TooLong { argument, len } => write!(f, "`{argument}` is {len}, too many for memory"),
            Self::Group { index, error } => write!(f, "group {index}: {error}"),
            Self::Tensor { index, error } => write!(f, "tensor {index}: {error}"),
            Self::Step => write!(f, "`t` is 0; steps are counted from 1"),
            Self::Hyperparameter { argument, value, allowed } => {
                write!(f, "`{argument}` is {value:?}; it must be {allowed}")
            }
            Self::NoHyperparameter { rule, name, known } => {
                write!(f, "`{name}` is no hyper-parameter of {rule}, which has {known}")
            }
            Self::CpuCount(count) => write!(f, "`cpus` lists {count} CPUs; it must list 1 to 1024"),
            Self::Cpu { index, cpu, reason } => {
                write!(f, "`cpus[{index}]` is {cpu}; no worker can run there: {reason}")
            }
            Self::Isa { argument, name, available } => {
                write!(f, "`{argument}` is \"{name}\"; on this CPU it must be one of {available}")
            }
        }
    }
}

impl std::error::Error for Error {}
