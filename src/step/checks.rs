//! Everything that is checked before a whole step writes anything, and the sizes that are found meanwhile.

use super::{Extras, states_of_element};
use crate::{
    Error, Gradient, Group, Numbering, Optimizer, StateKind, Tensor, WeightCopy, Weights, check,
    formats::{BLOCK, check_bytes},
    optimizer::check_states,
    rows::{Arranged, Listed, check_rows},
    rule::check_length,
    tensor::{Arrays, States},
};

/// What all tensors that have a gradient come to.
#[derive(Default)]
pub struct Sizes {
    /// How many.
    pub tensors: usize,
    /// Bytes of all arrays.
    pub held: usize,
    /// The same, and once more what is written back.
    pub moved: usize,
    /// Is any of them not `f32` alone, or copied?
    pub is_mixed: bool,
    /// How the lists of rows are stepped that do not ascend, in order.
    pub(super) arranged: Vec<Arranged>,
}

/// All checks of a step.
pub(crate) fn check_all(
    groups: &mut [Group<'_, '_>],
    extras: &Extras,
    sizes: &mut Sizes,
) -> Result<(), Error> {
    extras.check()?;
    for (index, group) in groups.iter_mut().enumerate() {
        check_group(group, extras.zero_grad, sizes).map_err(|error| error.of_group(index))?;
    }
    Ok(())
}

fn check_group(group: &mut Group<'_, '_>, zero_grad: bool, sizes: &mut Sizes) -> Result<(), Error> {
    let Group { config, t, numbering, clamp_low, clamp_high, tensors, .. } = group;
    check::step(*t)?;
    check::clamp(*clamp_low, *clamp_high)?;
    config.check_at(*t)?;
    let (mut result, mut index) = (Ok(()), 0);
    tensors.each_mut(|tensor| {
        if result.is_ok() {
            let checked = check_tensor(tensor, *config, *t, *numbering, zero_grad, sizes);
            result = checked.map_err(|error| error.of_tensor(index));
            index += 1;
        }
    });
    result
}

#[inline]
fn check_tensor(
    tensor: &Tensor<'_>,
    config: &dyn Optimizer,
    t: u64,
    numbering: Numbering,
    zero_grad: bool,
    sizes: &mut Sizes,
) -> Result<(), Error> {
    check_number(tensor.first_element, tensor.w.len(), numbering)?;
    let Some(len) = tensor.g.len() else { return Ok(()) };
    if tensor.t != 0 && tensor.t != t {
        config.check_at(tensor.t)?;
    }
    let n = tensor.w.len();
    if let Weights::Split { low, .. } = &tensor.w {
        check_length("low", low.len(), n)?;
    }
    let states_are_bits8 = matches!(tensor.state, States::Bits8(_));
    let (elements, states) = match &tensor.rows {
        None => {
            check_has_rows(config, false)?;
            check_length("g", len, n)?;
            (n, n)
        }
        Some(rows) => {
            let has_more = matches!(tensor.w, Weights::Split { .. }) || tensor.copy.len().is_some();
            sizes.arrange(rows.listed(), n, len, states_are_bits8, has_more, config)?;
            (len, if config.row_rule().is_some() { n / rows.row_length } else { n })
        }
    };
    if zero_grad && !tensor.g.is_mutable() {
        return Err(Error::SharedGradient);
    }
    match &tensor.state {
        States::F32(arrays) => check_arrays(config, arrays, states)?,
        States::Bf16(arrays) => {
            check_row_state(config)?;
            check_arrays(config, arrays, states)?;
        }
        States::Bits8(bytes) => check_bytes("state", config, n, bytes.len())?,
        // Nobody but the sharing of work makes one.
        States::PartOfBits8(_) => {}
    }
    if let Some(len) = tensor.copy.len() {
        check_length("copy", len, n)?;
    }
    sizes.tensors += 1;
    sizes.is_mixed |= is_mixed(tensor);
    let of_state = tensor.state.size(config.states().len());
    sizes.add(elements.saturating_mul(tensor.g.size() + tensor.copy.size()), false);
    sizes.add(elements.saturating_mul(tensor.w.size() + of_state), true);
    Ok(())
}

/// Does it have to be widened and narrowed?
fn is_mixed(tensor: &Tensor<'_>) -> bool {
    let Tensor { w, g, state, copy, .. } = tensor;
    let is_plain = matches!(
        (w, g, state, copy),
        (Weights::F32(_), Gradient::F32(_) | Gradient::F32Mut(_), States::F32(_), WeightCopy::Absent)
    );
    !is_plain
}

impl Sizes {
    /// An array of this many bytes, which is read and written or not.
    #[inline]
    pub fn add(&mut self, bytes: usize, is_updated: bool) {
        self.held = self.held.saturating_add(bytes);
        self.moved = self.moved.saturating_add(if is_updated { bytes.saturating_mul(2) } else { bytes });
    }

    /// Checks the rows of a table, and keeps their order for the step. `has_more`: are there lower halves of
    /// weights, or a copy?
    pub fn arrange(
        &mut self,
        rows: Listed<'_>,
        n: usize,
        g: usize,
        states_are_bits8: bool,
        has_more: bool,
        config: &dyn Optimizer,
    ) -> Result<(), Error> {
        let has_one_array = !has_more && states_of_element(config) == 0;
        let arranged = rows.check(n, g, states_are_bits8, has_one_array)?;
        rows.check_steps(config)?;
        if let Some(arranged) = arranged {
            let no_memory = |_| Error::NoMemory { argument: "rows", len: rows.rows.len() };
            self.arranged.try_reserve(1).map_err(no_memory)?;
            self.arranged.push(arranged);
        }
        Ok(())
    }
}

/// Is the number of the first of `n` elements right?
#[inline]
pub fn check_number(number: u64, n: usize, numbering: Numbering) -> Result<(), Error> {
    let is_right = match numbering {
        Numbering::ByPlace => number == 0,
        Numbering::Given => {
            number.is_multiple_of(BLOCK as u64)
                && number.checked_add(n.saturating_sub(1) as u64).is_some()
        }
    };
    if is_right { Ok(()) } else { Err(Error::FirstElement { number, numbering }) }
}

/// Are there rows, if the rule needs them?
#[inline]
pub fn check_has_rows(config: &dyn Optimizer, has_rows: bool) -> Result<(), Error> {
    if has_rows || config.row_rule().is_none() {
        return Ok(());
    }
    Err(Error::NeedsRows { rule: config.name() })
}

/// Can the states be in fewer bits?
#[inline]
pub fn check_row_state(config: &dyn Optimizer) -> Result<(), Error> {
    if config.row_rule().is_none() {
        return Ok(());
    }
    Err(Error::RowState { argument: config.states()[0].name, rule: config.name() })
}

#[inline]
fn check_arrays<E>(config: &dyn Optimizer, arrays: &Arrays<'_, E>, n: usize) -> Result<(), Error> {
    check_states(config, arrays.count())?;
    for (state, len) in config.states().iter().zip(arrays.lengths()) {
        match state.kind {
            StateKind::Row => check_rows(state.name, len, n)?,
            _ => check_length(state.name, len, n)?,
        }
    }
    Ok(())
}
