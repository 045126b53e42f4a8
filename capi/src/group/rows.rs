//! The rows of a table: what a tensor's fields about them may be, and what they are in Rust.

use super::{
    super::{
        overlap::{Array, Extents},
        read::invalid,
        status::*,
    },
    DOWNHILL_ROWS_MERGE, Group, ROW_T, ROWS, STATE, StateType, Weight, array, array_mut, check_address,
    downhill_tensor, sized,
};
use downhill::{
    Error, Optimizer, Rows,
    abi::{ListedRows, Sizes, check_row_state},
};

impl Group {
    /// Are the fields about rows what they may be, whatever is in the arrays?
    #[inline]
    pub(super) fn check_row_fields(&self, tensor: &downhill_tensor) -> Result<(), Failure> {
        let downhill_tensor { n, row_count, row_length, row_t, row_flags, reserved, .. } = *tensor;
        if row_length == 0 {
            return without_length(tensor);
        }
        if row_flags & !DOWNHILL_ROWS_MERGE != 0 {
            let message = format!("`row_flags` is {row_flags:#x}; it must be 0 or DOWNHILL_ROWS_MERGE");
            return Err(invalid(message));
        }
        if reserved != 0 {
            return Err(invalid(format!("`reserved` is {reserved}; it must be 0")));
        }
        let bytes_of_row = row_length.saturating_mul(self.gradient.size());
        sized("row_count", row_count, bytes_of_row.max(size_of::<i64>()))?;
        if !row_t.is_null() && n / row_length > MOST_ROWS {
            let message = format!(
                "`n` is {n}, and with `row_length` {row_length}, `row_t` fills more than half the address space"
            );
            return Err(Failure::new(DOWNHILL_STATUS_INVALID_LENGTH, message));
        }
        if n == 0 && row_count > 0 {
            // The pointers may be anything.
            let message = format!("`row_count` is {row_count}; it must be 0, because `n` is 0");
            return Err(Failure::new(DOWNHILL_STATUS_INVALID_LENGTH, message));
        }
        Ok(())
    }

    /// Checks the rows of a table that has a gradient: where they are, and what they are.
    pub(super) fn check_rows(
        &self,
        tensor: &downhill_tensor,
        rule: &dyn Optimizer,
        sizes: &mut Sizes,
        extents: &mut Extents,
    ) -> Result<(), Failure> {
        let downhill_tensor { n, rows, row_count, row_length, row_t, row_flags, .. } = *tensor;
        if !n.is_multiple_of(row_length) {
            return Err(Error::RowLength { row_length, len: n }.into());
        }
        for (k, list) in lists(tensor) {
            if list.bytes > 0 {
                check_address(list.name, list.start, align_of::<u64>(), list.bytes)?;
                extents.push(k, list.range(), list.is_written);
            }
        }
        let is_bits8 = self.state == StateType::Bits8;
        if self.state == StateType::Bf16 {
            check_row_state(rule)?;
        }
        // SAFETY: not NULL and aligned, checked above; whoever had this group read promised the rest.
        let listed = unsafe {
            ListedRows {
                row_length,
                rows: array(rows, row_count),
                merge: row_flags & DOWNHILL_ROWS_MERGE != 0,
                row_t: (!row_t.is_null()).then(|| array(row_t.cast_const(), n / row_length)),
            }
        };
        let has_more = self.weight == Weight::Split || (self.copy.is_some() && !tensor.w_copy.is_null());
        Ok(sizes.arrange(listed, n, row_count * row_length, is_bits8, has_more, rule)?)
    }

    /// The bytes of array `k` that the rows of a table have.
    pub(super) fn bytes_of_rows(&self, tensor: &downhill_tensor, k: usize) -> usize {
        let is_codes = k == STATE && self.state == StateType::Bits8;
        let states = if is_codes { self.optimizer().states().len() } else { 1 };
        let elements = tensor.row_count.saturating_mul(tensor.row_length);
        elements.saturating_mul(states * usize::from(self.kinds[k].size))
    }
}

/// How many step counts an array can have.
const MOST_ROWS: usize = isize::MAX as usize / size_of::<u64>();

/// The list of rows, and `row_t` if there is one.
pub(super) fn lists(tensor: &downhill_tensor) -> impl Iterator<Item = (usize, Array)> {
    let downhill_tensor { n, rows, row_count, row_length, row_t, .. } = *tensor;
    let array = |name, start, count: usize, is_written| Array {
        name,
        start,
        bytes: count.saturating_mul(size_of::<u64>()),
        is_written,
    };
    let steps = array("row_t", row_t.addr(), n / row_length, true);
    let steps = (!row_t.is_null()).then_some((ROW_T, steps));
    [(ROWS, array("rows", rows.addr(), row_count, false))].into_iter().chain(steps)
}

/// The rows of a table.
///
/// # Safety
/// Its fields passed the checks, and what they point to is the caller's for `'a`.
pub(super) unsafe fn rows_of<'a>(tensor: &downhill_tensor) -> Rows<'a> {
    let downhill_tensor { n, rows, row_count, row_length, row_t, row_flags, .. } = *tensor;
    // SAFETY: this function's contract.
    let (list, row_t) = unsafe {
        (array(rows, row_count), (!row_t.is_null()).then(|| array_mut(row_t, n / row_length)))
    };
    let mut rows = Rows::new(row_length, list);
    (rows.merge, rows.row_t) = (row_flags & DOWNHILL_ROWS_MERGE != 0, row_t);
    rows
}

/// Is nothing said of rows? With `n` = 0 pointers may be anything.
#[inline]
fn without_length(tensor: &downhill_tensor) -> Result<(), Failure> {
    let downhill_tensor { n, rows, row_count, row_t, row_flags, reserved, .. } = *tensor;
    let pointers = if n == 0 { 0 } else { rows.addr() | row_t.addr() };
    // One branch: nearly all tensors of nearly all programs are no tables.
    if pointers | row_count | (row_flags | reserved) as usize == 0 {
        return Ok(());
    }
    Err(unexpected(tensor))
}

#[cold]
fn unexpected(tensor: &downhill_tensor) -> Failure {
    let downhill_tensor { n, rows, row_count, row_t, row_flags, reserved, .. } = *tensor;
    let pointer = |address: usize| if n == 0 { 0 } else { address };
    let fields = [
        ("rows", pointer(rows.addr())),
        ("row_count", row_count),
        ("row_t", pointer(row_t.addr())),
        ("row_flags", row_flags as usize),
        ("reserved", reserved as usize),
    ];
    let found = fields.into_iter().find(|(_, value)| *value != 0);
    let (name, value) = found.expect("whoever calls this has seen that one is not 0");
    invalid(format!("`{name}` is {value:#x}; it must be 0 or NULL, because `row_length` is 0"))
}
